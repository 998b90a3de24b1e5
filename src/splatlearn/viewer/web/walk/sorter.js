// The order of painting, far to near, found in a worker so that the page never waits for it.

/** What the worker runs; it stands alone, since its text is all that the worker is given. */
function sortingWorker() {
  let means = null;
  let keys, order, other, floats;
  const counts = new Uint32Array(65536);

  function byDigit(count, from, to, shift) {
    counts.fill(0);
    for (let place = 0; place < count; place++) counts[(keys[from[place]] >>> shift) & 65535]++;
    let sum = 0;
    for (let digit = 0; digit < 65536; digit++) [counts[digit], sum] = [sum, sum + counts[digit]];
    for (let place = 0; place < count; place++) to[counts[(keys[from[place]] >>> shift) & 65535]++] = from[place];
  }

  /** Indices of what lies beyond `near`, far to near; equal depths in reverse, as the nearer of them comes first. */
  function sorted([x, y, z, shift], near) {
    let count = 0;
    for (let index = 0; index < floats.length; index++) {
      const depth = x * means[3 * index] + y * means[3 * index + 1] + z * means[3 * index + 2] + shift;
      if (!(depth >= near)) continue;
      // The bits of positive floats rise as they do.
      floats[index] = depth;
      order[count++] = index;
    }
    byDigit(count, order, other, 0);
    byDigit(count, other, order, 16);
    return order.slice(0, count).reverse();
  }

  return (message) => {
    if (message.means) {
      means = message.means;
      floats = new Float32Array(means.length / 3);
      keys = new Uint32Array(floats.buffer);
      [order, other] = [new Uint32Array(floats.length), new Uint32Array(floats.length)];
      return null;
    }
    return { order: sorted(message.row, message.near), row: message.row };
  };
}

/** Sorts means for the newest view that was asked for. `found(order, row)` is called with each result. */
class Sorter {
  constructor(means, found) {
    this.means = means;
    this.found = found;
    this.busy = false;
    this.next = null;
    this.post = this.worker() ?? this.here();
    this.post({ means });
  }

  /** A worker; null where the browser allows none, as some do for pages that are opened from a disk. */
  worker() {
    const text =
      `const handle = (${sortingWorker})();\n` +
      "onmessage = ({ data }) => { const r = handle(data); if (r) postMessage(r, [r.order.buffer]); };";
    try {
      const worker = new Worker(URL.createObjectURL(new Blob([text], { type: "text/javascript" })));
      worker.onmessage = ({ data }) => this.answer(data);
      worker.onerror = () => {
        this.post = this.here();
        this.post({ means: this.means });
        this.busy = false;
        if (this.last) this.sort(...this.last);
      };
      return (message) => worker.postMessage(message);
    } catch {
      return null;
    }
  }

  here() {
    const handle = sortingWorker();
    return (message) => {
      const result = handle(message);
      if (result) setTimeout(() => this.answer(result));
    };
  }

  sort(row, near) {
    this.last = [row, near];
    if (this.busy) this.next = { row, near };
    else {
      this.busy = true;
      this.post({ row, near });
    }
  }

  answer({ order, row }) {
    this.busy = false;
    const next = this.next;
    this.next = null;
    if (next) this.sort(next.row, next.near);
    this.found(order, row);
  }
}
