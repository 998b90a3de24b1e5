// The picture on the page: its size, and what pointers do to it.

const LEAST_HEIGHT = { wide: 0.6, narrow: 0.55 }; // of the window's
const CAPTION = 60; // pixels below the picture
const NARROW = "(max-width: 56rem)";
const MOST_PIXELS = 1600; // a side of the canvas
const RADIANS_PER_PIXEL = 0.006;
const STILL = 5; // pixels a pointer may move and still be a click
const WHEEL = 0.0015; // of the distance, for each pixel of the wheel

class Stage {
  /** `act`: functions orbit(across, down), look(across, down), shift(right, down), zoom(factor), wipe(share), pick(x, y). */
  constructor(root, act) {
    this.root = root;
    this.act = act;
    this.canvas = root.querySelector("canvas");
    this.handle = root.querySelector(".handle");
    this.pointers = new Map();
    this.canvas.addEventListener("pointerdown", (event) => this.press(event));
    this.canvas.addEventListener("pointermove", (event) => this.drag(event));
    for (const name of ["pointerup", "pointercancel"])
      this.canvas.addEventListener(name, (event) => this.lift(event, name === "pointerup"));
    this.canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    this.canvas.addEventListener("wheel", (event) => this.turnWheel(event), { passive: false });
    this.handle.addEventListener("pointerdown", (event) => this.hold(event));
  }

  /** Gives the picture its size on the page; returns that of the canvas in device pixels. */
  fit() {
    const width = Math.max(1, Math.floor(this.root.parentElement.clientWidth));
    const narrow = matchMedia(NARROW).matches;
    const least = window.innerHeight * (narrow ? LEAST_HEIGHT.narrow : LEAST_HEIGHT.wide);
    const top = narrow ? window.innerHeight : document.querySelector("main").offsetTop;
    const height = Math.max(1, Math.floor(Math.max(least, window.innerHeight - top - CAPTION)));
    this.root.style.width = `${width}px`;
    this.root.style.height = `${height}px`;
    const density = Math.min(window.devicePixelRatio || 1, MOST_PIXELS / Math.max(width, height));
    return { width: Math.max(1, Math.round(width * density)), height: Math.max(1, Math.round(height * density)) };
  }

  /** Shows the handle of the wipe at a share of the picture's width; null for none. */
  mark(share) {
    this.handle.hidden = share === null;
    if (share !== null) this.handle.style.left = `${100 * share}%`;
  }

  press(event) {
    this.canvas.focus();
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
    this.travelled = this.pointers.size > 1 ? STILL : 0;
  }

  drag(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const now = [event.clientX, event.clientY];
    const [across, down] = [now[0] - before[0], now[1] - before[1]];
    this.travelled += Math.hypot(across, down);
    const others = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
    this.pointers.set(event.pointerId, now);
    if (this.travelled < STILL) return;
    if (others.length) return this.pinch(before, now, others[0]);
    if (event.shiftKey || event.buttons & 6) return this.act.shift(...this.shares(-across, -down));
    const way = event.ctrlKey || event.altKey ? this.act.look : this.act.orbit;
    way(across * RADIANS_PER_PIXEL, down * RADIANS_PER_PIXEL);
  }

  pinch(before, now, other) {
    const length = (place) => Math.max(Math.hypot(place[0] - other[0], place[1] - other[1]), 1);
    this.act.zoom(length(before) / length(now));
    this.act.shift(...this.shares((before[0] - now[0]) / 2, (before[1] - now[1]) / 2));
  }

  lift(event, isUp) {
    if (!this.pointers.delete(event.pointerId) || !isUp || this.travelled >= STILL) return;
    this.act.pick(...this.placeOf(event));
  }

  turnWheel(event) {
    event.preventDefault();
    const pixels = event.deltaY * (event.deltaMode === 1 ? 16 : 1);
    this.act.zoom(Math.exp(Math.min(Math.max(pixels, -200), 200) * WHEEL));
  }

  hold(event) {
    event.preventDefault();
    this.handle.setPointerCapture(event.pointerId);
    const move = (each) => {
      const box = this.canvas.getBoundingClientRect();
      this.act.wipe(Math.min(Math.max((each.clientX - box.left) / box.width, 0), 1));
    };
    const ending = new AbortController();
    this.handle.addEventListener("pointermove", move, { signal: ending.signal });
    for (const name of ["pointerup", "pointercancel"])
      this.handle.addEventListener(name, () => ending.abort(), { signal: ending.signal });
  }

  /** Pixels of the page as shares of the picture's height. */
  shares(across, down) {
    const { height } = this.canvas.getBoundingClientRect();
    return [across / height, down / height];
  }

  /** A place in pixels of the canvas, and how many of them a pixel of the page has. */
  placeOf(event) {
    const box = this.canvas.getBoundingClientRect();
    const density = this.canvas.width / box.width;
    return [(event.clientX - box.left) * density, (event.clientY - box.top) * density, density];
  }
}
