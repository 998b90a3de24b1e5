// The scene as a PLY file of 3D Gaussian splatting, from the bytes of the bundle.

/** A Blob of the file. */
function plyOf(painter) {
  const { meta, count, degree, images } = painter.bundle;
  const terms = degree * (degree + 2);
  const names = ["x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2"];
  for (let rest = 0; rest < 3 * terms; rest++) names.push(`f_rest_${rest}`);
  names.push("opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3");
  const { exponents } = painter.bundle;
  if (exponents) names.push("shape_0");
  const header =
    "ply\nformat binary_little_endian 1.0\n" +
    (meta.model === "antialiased" ? "comment SplatRenderMode: mip\n" : "") +
    (exponents ? "comment Primitive: ges\n" : "") +
    `element vertex ${count}\n` +
    names.map((name) => `property float ${name}\n`).join("") +
    "end_header\n";
  const part = Object.fromEntries(Object.keys(images).map((name) => [name, painter.bytesOf(name)]));
  const values = new Float32Array(count * names.length);
  const wide = degree ? images.centroids.width : 0;
  for (let index = 0; index < count; index++) {
    const at = 4 * index;
    const label = degree ? part.labels[at] + 256 * part.labels[at + 1] : 0;
    const first = degree ? (label >> 6) * wide + (label & 63) * terms : 0;
    let place = index * names.length;
    for (let axis = 0; axis < 3; axis++) values[place++] = painter.means[3 * index + axis];
    for (let channel = 0; channel < 3; channel++) values[place++] = meta.sh0.codebook[part.sh0[at + channel]];
    for (let channel = 0; channel < 3; channel++)
      for (let term = 0; term < terms; term++)
        values[place++] = meta.shN.codebook[part.centroids[4 * (first + term) + channel]];
    values[place++] = logit(part.sh0[at + 3] / 255);
    for (let axis = 0; axis < 3; axis++) values[place++] = meta.scales.codebook[part.scales[at + axis]];
    values.set(quaternionOf(part.quats, at), place);
    if (exponents) values[place + 4] = exponents[index];
  }
  return new Blob([header, values], { type: "application/octet-stream" });
}

/** Finite for 0 and 1, which 8 bits hold for opacities near them. */
function logit(value) {
  const inside = Math.min(Math.max(value, 1e-4), 1 - 1e-4);
  return Math.log(inside / (1 - inside));
}

/** w, x, y, z of a pixel. */
function quaternionOf(bytes, at) {
  const largest = bytes[at + 3] - 252;
  if (largest < 0) return [1, 0, 0, 0];
  const three = [0, 1, 2].map((place) => (bytes[at + place] / 127.5 - 1) * Math.SQRT1_2);
  three.splice(largest, 0, Math.sqrt(Math.max(0, 1 - dot(three, three))));
  return three;
}

/** Offers a file to keep. */
function keep(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}
