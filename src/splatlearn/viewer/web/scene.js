// What the page was given: Gaussians, cameras and pictures, as splatlearn.viewer.contents packs them.

const NUMBERS = 14; // mean 0–2, scales 3–5, quaternion 6–9 (w first), colour 10–12, opacity 13

/** The scene of one packed image; `formula` holds the renderer's constants. */
function unpackScene(packed, formula) {
  const text = atob(packed.gaussians);
  const bytes = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
  const numbers = new Float32Array(bytes.buffer);
  const scene = { ...packed, formula, numbers, count: numbers.length / NUMBERS };
  // Ranks are those of the model's own view: what is hidden stays hidden when the view tilts.
  scene.nearToFar = depthOrder(project(scene, FRONT).depth);
  scene.rank = new Uint32Array(scene.count);
  scene.nearToFar.forEach((index, rank) => (scene.rank[index] = rank));
  scene.colours = {};
  return scene;
}

/** The numbers of one Gaussian by name. */
function numbersOf(scene, index) {
  const at = (from, count) => Array.from(scene.numbers.subarray(index * NUMBERS + from, index * NUMBERS + from + count));
  return { mean: at(0, 3), scales: at(3, 3), quaternion: at(6, 4), colour: at(10, 3), opacity: at(13, 1)[0] };
}

/** Which Gaussians are shown, as one byte each. */
function shownOf(scene, state) {
  const shown = new Uint8Array(scene.count);
  for (let index = 0; index < scene.count; index++) {
    const rank = scene.rank[index];
    const inside = rank >= state.hideNear && rank < scene.count - state.hideFar;
    shown[index] = inside && placeInOrder(scene, index, state.order) < state.painted ? 1 : 0;
  }
  return shown;
}

function placeInOrder(scene, index, order) {
  if (order === "index") return index;
  return order === "near" ? scene.rank[index] : scene.count - 1 - scene.rank[index];
}
