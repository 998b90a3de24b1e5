// The page's state, and what happens when it changes: everything is drawn anew from it.

const PLAYING_SECONDS = 6;
const MOST_TILT = 60; // degrees
const KEY_TILT = 3;
const NEW_PICTURE = { hideNear: 0, hideFar: 0, picked: null, share: null, playing: false };
const LABELS = { input: "input", reconstruction: "reconstruction" };

const data = JSON.parse(document.getElementById("data").textContent);
const scenes = [];
const state = {
  image: 0, across: 0, down: 0, stretch: 1, size: 1, order: "near", painted: 0,
  colour: "own", shape: "soft", pixels: false, compare: "none", wipe: 50, ...NEW_PICTURE,
};
const stage = new Stage(document.querySelector(".stage"), {
  tilt: (across, down) => change({ across: state.across + across, down: state.down + down }),
  wipe: (percent) => change({ wipe: percent }),
  pick: (x, y) => pick(x, y),
});
const panel = new Panel(document.querySelector("main"), change);
const thumbnails = document.querySelectorAll(".gallery button");
let painter = null;
let drawn = null; // scene, splats, order and shown of the last drawing
let asked = false;
let plays = 0;

function sceneAt(image) {
  scenes[image] ??= unpackScene(data.images[image], data.formula);
  return scenes[image];
}

function change(parts) {
  if ("painted" in parts) parts = { playing: false, ...parts };
  if ("picked" in parts) parts = { share: null, ...parts };
  Object.assign(state, parts);
  const count = sceneAt(state.image).count;
  for (const angle of ["across", "down"]) state[angle] = clamp(state[angle], -MOST_TILT, MOST_TILT);
  state.painted = clamp(state.painted, 0, count);
  if (state.picked !== null) state.picked = clamp(Math.round(state.picked), 0, count - 1);
  if (!asked) requestAnimationFrame(redraw);
  asked = true;
}

function redraw() {
  asked = false;
  const scene = sceneAt(state.image);
  const splats = project(scene, state);
  drawn = { scene, splats, order: depthOrder(splats.depth), shown: shownOf(scene, state) };
  const size = stage.fit(scene.camera, state.pixels);
  const colours = coloursOf(scene, state.colour, data.palettes);
  painter?.draw(scene, splats, { ...drawn, ...size, colours, discs: state.shape === "discs" });
  // Without WebGL2 the reconstruction stands where the drawing would be.
  const compare = painter ? state.compare : "reconstruction";
  stage.compare(compare === "none" ? null : scene[compare], LABELS[compare], painter ? state.wipe : 0);
  stage.outline(state.picked === null ? null : ellipseOf(splats, state.picked));
  panel.show(scene, state, data.palettes);
  panel.read(state.picked === null ? null : readingsOf(scene, splats, state.picked));
  document.documentElement.dataset.drawn = Number(document.documentElement.dataset.drawn ?? 0) + 1;
}

function open(image) {
  const scene = sceneAt(image);
  panel.limit(scene.count);
  const { width, height } = scene.camera;
  const quality = scene.psnr === null ? "exactly the input" : `${scene.psnr.toFixed(1)}\u00a0dB to the input`;
  document.getElementById("name").textContent = scene.name;
  document.getElementById("facts").textContent = `${scene.count} Gaussians · ${width}\u00a0×\u00a0${height}\u00a0px · ${quality}`;
  document.getElementById("clamped").hidden = !painter?.clamps || scene.clamping === null;
  document.getElementById("lost").textContent = scene.clamping?.toFixed(2);
  thumbnails.forEach((button, number) => button.setAttribute("aria-pressed", number === image));
  change({ ...NEW_PICTURE, image, painted: scene.count });
}

function pick(x, y) {
  const found = pickAt(drawn.scene, drawn.splats, drawn.order, drawn.shown, x, y);
  change(found ? { picked: found.index, share: found.share } : { picked: null });
}

/** Picks the next shown Gaussian along the model's depth order: +1 is farther, −1 nearer. */
function step(direction) {
  const { scene, shown } = drawn;
  let rank = state.picked === null ? (direction > 0 ? -1 : scene.count) : scene.rank[state.picked];
  do rank += direction;
  while (rank >= 0 && rank < scene.count && !shown[scene.nearToFar[rank]]);
  if (rank >= 0 && rank < scene.count) change({ picked: scene.nearToFar[rank] });
}

function play() {
  const { count } = sceneAt(state.image);
  if (state.playing) return change({ playing: false });
  change({ painted: state.painted >= count ? 0 : state.painted, playing: true });
  let [last, exact] = [null, state.painted];
  const run = (plays += 1);
  requestAnimationFrame(function advance(now) {
    // Another run may have begun before this one saw its end.
    if (!state.playing || run !== plays) return;
    exact += last === null ? 0 : ((now - last) / 1000 / PLAYING_SECONDS) * count;
    last = now;
    change({ painted: Math.floor(exact), playing: exact < count });
    requestAnimationFrame(advance);
  });
}

function face() {
  change({ across: 0, down: 0, stretch: 1 });
}

function clamp(value, low, high) {
  return Math.min(Math.max(value, low), high);
}

const KEYS = {
  ArrowLeft: () => change({ across: state.across - KEY_TILT }),
  ArrowRight: () => change({ across: state.across + KEY_TILT }),
  ArrowUp: () => change({ down: state.down - KEY_TILT }),
  ArrowDown: () => change({ down: state.down + KEY_TILT }),
  Home: face,
  " ": play,
  Enter: () => pick(drawn.scene.camera.width / 2, drawn.scene.camera.height / 2),
  ",": () => step(-1),
  ".": () => step(1),
  Escape: () => change({ picked: null }),
};

function start() {
  stage.canvas.addEventListener("keydown", (event) => {
    if (!KEYS[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    KEYS[event.key]();
  });
  stage.canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
  stage.canvas.addEventListener("webglcontextrestored", () => {
    painter.start();
    change({});
  });
  document.getElementById("play").addEventListener("click", play);
  document.getElementById("face").addEventListener("click", face);
  document.getElementById("nearer").addEventListener("click", () => step(-1));
  document.getElementById("farther").addEventListener("click", () => step(1));
  thumbnails.forEach((button, number) => {
    button.querySelector("img").src = data.images[number].input;
    button.addEventListener("click", () => open(number));
  });
  new ResizeObserver(() => change({})).observe(stage.root.parentElement);
  window.addEventListener("resize", () => change({}));
  try {
    painter = new Painter(stage.canvas);
  } catch (error) {
    document.body.classList.add("no-drawing");
    document.getElementById("reason").textContent = error.message;
  }
  open(0);
}

start();
