// The page's state, and what happens when it changes: everything is drawn anew from it.

const ERROR_MOST = 0.25; // difference at which the map of errors ends
const FRUSTUM = 0.06; // of the scene's radius
const FLIGHT = 0.5; // of the scene's radius a second
const KEY_TURN = 1.2; // radians a second
const WAYS = { photograph: 1, error: 2 };
const FLYING = {
  KeyW: [0, 0, 1], KeyS: [0, 0, -1], KeyA: [-1, 0, 0], KeyD: [1, 0, 0], KeyQ: [0, 1, 0], KeyE: [0, -1, 0],
};
const TURNING = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

const data = JSON.parse(document.getElementById("data").textContent);
const { cameras, snapshots, scene } = data;
const bundleBytes = bytesOf(scene.bundle);
const decoded = new Map(); // pictures of the page by their number
const held = new Set(); // keys that are down
const state = { photo: -1, compare: "none", wipe: 0.5, cameras: false, snapshot: snapshots.length, size: 1, discs: false };
let pose = null;
let free = null; // focal length over height, of views that are no photograph's
let painter = null;
let sorter = null;
let lens = null;
let sortedRow = null; // the row of the view that the order belongs to
let asked = false;
let clock = null;

const stage = new Stage(document.querySelector(".stage"), {
  orbit: (across, down) => walk(turned(pose, scene.up, -across, -down, true)),
  look: (across, down) => walk(turned(pose, scene.up, across, down, false)),
  shift: (right, down) => {
    const unitLength = (reach(pose) * lens.height) / lens.fy;
    walk(moved(pose, right * unitLength, down * unitLength, 0));
  },
  zoom: (factor) => walk(closer(pose, factor, scene.radius)),
  wipe: (share) => change({ wipe: share }),
  pick: (x, y, density) => {
    if (!state.cameras) return;
    const found = cameraAt(cameras, pose, lens, x, y, CLOSE * density);
    if (found >= 0) visit(found);
  },
});
const element = (id) => document.getElementById(id);
const controls = document.querySelectorAll("[data-state]");

function change(parts) {
  Object.assign(state, parts);
  if (!asked) requestAnimationFrame(redraw);
  asked = true;
  delete document.documentElement.dataset.settled;
}

/** Leaves the photograph's view, if it was one. */
function walk(next) {
  // The photograph's enlargement stays, so that nothing jumps.
  if (state.photo >= 0 && lens) free = lens.fy / lens.height;
  pose = next;
  change({ photo: -1, snapshot: snapshots.length });
}

/** Goes to where a photograph was taken. */
function visit(number) {
  const camera = cameras[number];
  const { eye, turn } = poseOf(camera.view, 1);
  const ahead = dot(minus(scene.pivot, eye), row(turn, 2));
  pose = poseOf(camera.view, Math.max(ahead, 0.2 * scene.radius));
  change({ photo: number, snapshot: snapshots.length });
}

function goHome() {
  if (scene.homeCamera >= 0) return visit(scene.homeCamera);
  walk(poseOf(scene.home.view, scene.homeDepth));
  free = scene.home.fy / scene.home.height;
}

/** The lens of the canvas: a photograph's, as large as it fits, or one with its centre in the middle. */
function lensOf(width, height) {
  const near = scene.near;
  if (state.photo < 0) {
    const focal = free * height;
    const tangents = [width, height].map((side) => (data.formula.jacobianLimit * side) / 2 / focal);
    const grown = focal / scene.focal;
    return { fx: focal, fy: focal, cx: width / 2, cy: height / 2, width, height, near, tangents, ...filterOf(grown) };
  }
  const camera = cameras[state.photo];
  const scale = Math.min(width / camera.width, height / camera.height);
  const [left, top] = [(width - scale * camera.width) / 2, (height - scale * camera.height) / 2].map(Math.round);
  return {
    fx: scale * camera.fx, fy: scale * camera.fy, cx: scale * camera.cx + left, cy: scale * camera.cy + top,
    width, height, near, ...filterOf(scale),
    tangents: [camera.width / camera.fx, camera.height / camera.fy].map((side) => (data.formula.jacobianLimit * side) / 2),
    frame: [left, top, scale * camera.width, scale * camera.height],
  };
}

/**
 * The filter of a picture `grown` times as large as the photographs: splats stay as thick in it as in these, unless
 * opacities make up for their thickness.
 */
function filterOf(grown) {
  const compensates = scene.filter === "mip";
  return { eps2d: data.formula.eps2d * (compensates ? 1 : Math.max(1, grown * grown)), compensates };
}

function redraw() {
  asked = false;
  const size = stage.fit();
  lens = lensOf(size.width, size.height);
  const line = [...row(pose.turn, 2), shiftOf(pose)[2]];
  const isSorted = sortedRow !== null && line.every((value, place) => value === sortedRow[place]);
  if (!isSorted && painter) sorter.sort(line, lens.near);
  const beside = besideOf();
  stage.mark(beside?.way === WAYS.photograph && !beside.isWhole ? state.wipe : null);
  if (painter) {
    painter.outline(frustaOf(cameras, FRUSTUM * scene.radius, state.photo));
    const drawn = { background: scene.background, beside, hasLines: state.cameras && !beside };
    painter.draw(pose, lens, { ...drawn, grown: state.size, discs: state.discs });
  }
  say();
  document.documentElement.dataset.drawn = Number(document.documentElement.dataset.drawn ?? 0) + 1;
  if ((isSorted || !painter) && !isWaiting()) document.documentElement.dataset.settled = "true";
}

/** What is shown beside the drawing: a photograph, its errors, or a picture of the training; null for nothing. */
function besideOf() {
  if (state.photo < 0) return null;
  const past = snapshots[state.snapshot];
  if (past) {
    const image = imageOf(past.picture);
    return image && { image, way: 1, isWhole: true, frame: lens.frame, wipe: 0, most: ERROR_MOST };
  }
  if (state.compare === "none" || cameras[state.photo].picture === null) return null;
  const image = imageOf(cameras[state.photo].picture);
  const wipe = state.wipe * lens.width;
  return image && { image, way: WAYS[state.compare], isWhole: false, frame: lens.frame, wipe, most: ERROR_MOST };
}

/** A decoded picture of the page; null until it is. */
function imageOf(number) {
  if (!decoded.has(number)) {
    decoded.set(number, null);
    decode(bytesOf(data.pictures[number]), "image/jpeg", { colorSpaceConversion: "none" }).then((image) => {
      decoded.set(number, image);
      change({});
    });
  }
  return decoded.get(number);
}

function isWaiting() {
  return [...decoded.values()].includes(null);
}

/** Makes the controls and the texts say what the state is. */
function say() {
  for (const each of controls) {
    if (each.type === "checkbox") each.checked = state[each.dataset.state];
    else each.value = state[each.dataset.state];
  }
  const camera = cameras[state.photo];
  const hasPicture = camera !== undefined && camera.picture !== null;
  element("compare").disabled = !hasPicture;
  element("wipe-row").hidden = !(hasPicture && state.compare === "photograph");
  element("error-key").hidden = !(hasPicture && state.compare === "error");
  element("name").textContent = camera ? camera.name : "free view";
  const quality = camera && camera.psnr !== null ? ` · ${camera.psnr.toFixed(2)}\u00a0dB` : "";
  const role = camera ? (camera.heldOut ? "held out" : "fitted") : "";
  element("facts").textContent = camera ? `${camera.width}\u00a0×\u00a0${camera.height}\u00a0px · ${role}${quality}` : "";
  if (!snapshots.length) return;
  const past = snapshots[state.snapshot];
  element("snapshot-says").textContent = past ? past.label : "the finished scene";
}

/** Moves on while keys are down. */
function fly(now) {
  const seconds = clock === null ? 0 : Math.min((now - clock) / 1000, 0.1);
  clock = now;
  if (!held.size) {
    clock = null;
    return;
  }
  let next = pose;
  const speed = FLIGHT * scene.radius * seconds * (held.has("ShiftLeft") || held.has("ShiftRight") ? 3 : 1);
  for (const key of held) {
    if (FLYING[key]) next = moved(next, ...FLYING[key].map((part) => part * speed));
    if (TURNING[key]) next = turned(next, scene.up, ...TURNING[key].map((part) => part * KEY_TURN * seconds), false);
  }
  if (next !== pose) walk(next);
  requestAnimationFrame(fly);
}

function step(direction) {
  if (!cameras.length) return;
  const from = state.photo < 0 ? (direction > 0 ? -1 : cameras.length) : state.photo;
  visit((from + direction + cameras.length) % cameras.length);
}

const KEYS = {
  Home: goHome,
  KeyL: () => walk(levelled(pose, scene.up)),
  KeyC: () => change({ cameras: !state.cameras }),
  Comma: () => step(-1),
  Period: () => step(1),
  Equal: () => walk(closer(pose, 0.9, scene.radius)),
  Minus: () => walk(closer(pose, 1 / 0.9, scene.radius)),
};

function listen() {
  const stops = data.ramp.map((colour) => `rgb(${colour.map((value) => Math.round(255 * value)).join(" ")})`);
  for (const bar of document.querySelectorAll("#error-key i"))
    bar.style.background = `linear-gradient(to right, ${stops.join(", ")})`;
  stage.canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (KEYS[event.code]) {
      event.preventDefault();
      KEYS[event.code]();
    } else if (FLYING[event.code] || TURNING[event.code] || event.code.startsWith("Shift")) {
      event.preventDefault();
      held.add(event.code);
      if (clock === null) {
        clock = performance.now();
        requestAnimationFrame(fly);
      }
    }
  });
  stage.canvas.addEventListener("keyup", (event) => held.delete(event.code));
  stage.canvas.addEventListener("blur", () => held.clear());
  stage.canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
  stage.canvas.addEventListener("webglcontextrestored", () => {
    painter.start();
    sortedRow = null;
    change({});
  });
  for (const each of controls)
    each.addEventListener("input", () => {
      const name = each.dataset.state;
      const value = each.type === "checkbox" ? each.checked : each.tagName === "INPUT" ? Number(each.value) : each.value;
      if (name === "photo") return Number(value) < 0 ? walk(pose) : visit(Number(value));
      if (name === "snapshot" && Number(value) < snapshots.length) visit(scene.snapshotCamera);
      change({ [name]: value });
    });
  element("home").addEventListener("click", goHome);
  element("level").addEventListener("click", KEYS.KeyL);
  element("previous").addEventListener("click", () => step(-1));
  element("next").addEventListener("click", () => step(1));
  element("keep-ply").addEventListener("click", () => keep(plyOf(painter), `${scene.name}.ply`));
  element("keep-sog").addEventListener("click", () => keep(new Blob([bundleBytes]), `${scene.name}.sog`));
  new ResizeObserver(() => change({})).observe(stage.root.parentElement);
  window.addEventListener("resize", () => change({}));
}

async function start() {
  try {
    const bundle = await openBundle(bundleBytes);
    bundle.exponents = scene.exponents ? new Float32Array(bytesOf(scene.exponents).buffer) : null;
    // SOG holds no exponents.
    element("keep-sog").hidden = bundle.exponents !== null;
    painter = new WalkPainter(stage.canvas, bundle, data.formula, data.ramp);
    sorter = new Sorter(painter.means, (order, line) => {
      painter.arrange(order);
      sortedRow = line;
      change({});
    });
  } catch (error) {
    document.body.classList.add("no-drawing");
    element("reason").textContent = error.message;
    painter = null;
    if (scene.fallback !== null) {
      element("instead").src = `data:image/jpeg;base64,${data.pictures[scene.fallback]}`;
      element("instead").hidden = false;
    }
  }
  listen();
  goHome();
}

start();
