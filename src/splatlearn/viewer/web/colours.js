// What Gaussians are coloured by, and the key that says so.

/** Three floats a Gaussian. Computed once for each way of colouring. */
function coloursOf(scene, way, palettes) {
  scene.colours[way] ??= paintBy(scene, way, palettes);
  return scene.colours[way];
}

function paintBy(scene, way, palettes) {
  const colours = new Float32Array(3 * scene.count);
  const value = wayOf(scene, way);
  for (let index = 0; index < scene.count; index++)
    colours.set(colourOf(scene, index, way, value, palettes), 3 * index);
  return colours;
}

function colourOf(scene, index, way, value, palettes) {
  if (way === "own") return numbersOf(scene, index).colour;
  if (way === "group") return palettes.groups[scene.groups[index]];
  return onRamp(palettes.ramp, value(index));
}

/** A function from a Gaussian's index to its place in 0 … 1 along the ramp. */
function wayOf(scene, way) {
  const last = Math.max(1, scene.count - 1);
  if (way === "index") return (index) => index / last;
  if (way === "opacity") return (index) => numbersOf(scene, index).opacity;
  // The rank rather than the depth: a few stragglers would leave one colour to all others.
  return (index) => scene.rank[index] / last;
}

function onRamp(stops, value) {
  const place = Math.min(Math.max(value, 0), 1) * (stops.length - 1);
  const below = Math.min(Math.floor(place), stops.length - 2);
  return stops[below].map((low, channel) => low + (place - below) * (stops[below + 1][channel] - low));
}

/** What stands beside the colours: two ends of a ramp, or the groups; nothing for the Gaussians' own. */
function keyOf(scene, way, palettes) {
  if (way === "own") return null;
  if (way === "group") {
    const used = [...new Set(scene.groups)].sort((i, j) => i - j);
    return { swatches: used.map((group) => ({ label: String(group + 1), colour: palettes.groups[group] })) };
  }
  const ends = { depth: ["nearest", "farthest"], index: ["first", "last"], opacity: ["clear", "opaque"] }[way];
  return { ends, ramp: palettes.ramp };
}

function cssColour(colour) {
  return `rgb(${colour.map((value) => Math.round(255 * Math.min(Math.max(value, 0), 1))).join(" ")})`;
}
