// A SOG bundle: a ZIP archive of stored files, whose lossless images hold Gaussians.

/** The bytes of base64 text. */
function bytesOf(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

/** The files of an archive without compression, by name. */
function unzip(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let end = bytes.length - 22;
  while (end >= 0 && view.getUint32(end, true) !== 0x06054b50) end--;
  if (end < 0) throw new Error("the scene of this page is damaged: its archive has no end");
  const files = {};
  let at = view.getUint32(end + 16, true);
  for (let left = view.getUint16(end + 10, true); left > 0; left--) {
    const [named, extra, comment] = [28, 30, 32].map((place) => view.getUint16(at + place, true));
    const name = new TextDecoder().decode(bytes.subarray(at + 46, at + 46 + named));
    const local = view.getUint32(at + 42, true);
    const begin = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
    files[name] = bytes.subarray(begin, begin + view.getUint32(at + 24, true));
    at += 46 + named + extra + comment;
  }
  return files;
}

/** Decodes an image whose bytes are numbers: neither its alpha nor its colour space may change them. */
function decodeNumbers(bytes) {
  return decode(bytes, "image/webp", { premultiplyAlpha: "none", colorSpaceConversion: "none" });
}

function decode(bytes, type, options = {}) {
  return createImageBitmap(new Blob([bytes], { type }), options);
}

/** The description of a bundle and its decoded images, by the part that they hold. */
async function openBundle(bytes) {
  const files = unzip(bytes);
  const meta = JSON.parse(new TextDecoder().decode(files["meta.json"]));
  const names = {
    meansLow: meta.means.files[0], meansHigh: meta.means.files[1], scales: meta.scales.files[0],
    quats: meta.quats.files[0], sh0: meta.sh0.files[0],
  };
  if (meta.shN) Object.assign(names, { centroids: meta.shN.files[0], labels: meta.shN.files[1] });
  const decoded = await Promise.all(Object.values(names).map((name) => decodeNumbers(files[name])));
  const images = Object.fromEntries(Object.keys(names).map((part, place) => [part, decoded[place]]));
  return { meta, images, count: meta.count, degree: meta.shN ? meta.shN.bands : 0 };
}

/** Means, three floats each, from the two images of their bytes. */
function meansOf(meta, low, high) {
  const means = new Float32Array(3 * meta.count);
  for (let index = 0; index < meta.count; index++)
    for (let axis = 0; axis < 3; axis++) {
      const step = (low[4 * index + axis] + 256 * high[4 * index + axis]) / 65535;
      const log = meta.means.mins[axis] + (meta.means.maxs[axis] - meta.means.mins[axis]) * step;
      means[3 * index + axis] = Math.sign(log) * Math.expm1(Math.abs(log));
    }
  return means;
}
