// The page of sets: what is seen of an object, what a model makes of it, and the whole of it turn together.

const TURN = 0.6; // radians a second
const KEY_TURN = Math.PI / 18; // radians of a key
const MOST_SIDE = 900; // device pixels of a canvas

const data = JSON.parse(document.getElementById("data").textContent);
const { objects } = data;
const element = (id) => document.getElementById(id);
const controls = document.querySelectorAll("[data-state]");
const state = { object: 0, turning: !matchMedia("(prefers-reduced-motion: reduce)").matches, discs: false };
let pose = null;
let shown = -1; // number of the object that the painters hold
let isAsked = false;
let clock = null;

const acts = {
  orbit: (across, down) => turnTo(turned(pose, objects[state.object].up, -across, -down, true)),
  look: (across, down) => acts.orbit(across, down),
  shift: () => {},
  zoom: (factor) => turnTo(closer(pose, factor, objects[state.object].radius)),
  wipe: () => {},
  pick: () => {},
};
const parts = [...document.querySelectorAll("[data-part]")].map((root) => {
  const stage = new Stage(root.querySelector(".stage"), acts);
  return { name: root.dataset.part, count: root.querySelector(".count"), stage, painter: null, sorter: null, row: null };
});

function change(changed) {
  Object.assign(state, changed);
  ask();
}

function ask() {
  if (!isAsked) requestAnimationFrame(redraw);
  isAsked = true;
  delete document.documentElement.dataset.settled;
}

/** Takes a view that a person chose: the object stands still then. */
function turnTo(next) {
  pose = next;
  change({ turning: false });
}

function goHome() {
  const object = objects[state.object];
  pose = poseOf(object.view, object.away);
  ask();
}

/** The lens of a canvas that is as high as it is wide. */
function lensOf(stage, object) {
  const side = stage.root.clientWidth;
  const density = Math.min(window.devicePixelRatio || 1, MOST_SIDE / Math.max(1, side));
  const pixels = Math.max(1, Math.round(side * density));
  const focal = object.focal * pixels;
  const tangent = (data.formula.jacobianLimit * pixels) / 2 / focal;
  return {
    fx: focal, fy: focal, cx: pixels / 2, cy: pixels / 2, width: pixels, height: pixels, near: object.near,
    tangents: [tangent, tangent], eps2d: data.formula.eps2d, compensates: false,
  };
}

function redraw(now) {
  isAsked = false;
  const object = objects[state.object];
  if (state.turning) {
    const seconds = clock === null ? 0 : Math.min((now - clock) / 1000, 0.1);
    pose = turned(pose, object.up, TURN * seconds, 0, true);
  }
  clock = state.turning ? now : null;
  const line = [...row(pose.turn, 2), shiftOf(pose)[2]];
  let isSorted = true;
  for (const part of parts) {
    if (!part.painter) continue;
    const lens = lensOf(part.stage, object);
    const fits = part.row !== null && line.every((value, place) => value === part.row[place]);
    if (!fits) part.sorter.sort(line, lens.near);
    isSorted &&= fits;
    const drawn = { background: data.background, beside: null, hasLines: false };
    part.painter.draw(pose, lens, { ...drawn, grown: 1, discs: state.discs });
  }
  for (const each of controls) {
    if (each.type === "checkbox") each.checked = state[each.dataset.state];
    else each.value = state[each.dataset.state];
  }
  element("says").textContent = object.says;
  document.documentElement.dataset.drawn = Number(document.documentElement.dataset.drawn ?? 0) + 1;
  if (shown === state.object && isSorted && !state.turning) document.documentElement.dataset.settled = "true";
  if (state.turning) ask();
}

/** Gives the painters the sets of an object. */
async function show(number) {
  const object = objects[number];
  for (const part of parts) {
    const set = object.sets[part.name];
    const bundle = await openBundle(bytesOf(set.bundle));
    if (state.object !== number) return;
    bundle.exponents = null;
    const painter = new WalkPainter(part.stage.canvas, bundle, data.formula, data.ramp);
    painter.outline(new Float32Array(0));
    Object.assign(part, { painter, row: null });
    part.sorter = new Sorter(painter.means, (order, line) => {
      if (part.painter !== painter) return;
      painter.arrange(order);
      part.row = line;
      ask();
    });
    part.count.textContent = `${set.count.toLocaleString("en")} Gaussians`;
  }
  shown = number;
  ask();
}

function chosen(number) {
  state.object = number;
  goHome();
  show(number).catch(stop);
}

function stop(error) {
  document.body.classList.add("no-drawing");
  element("reason").textContent = error.message;
}

const KEYS = {
  ArrowLeft: () => acts.orbit(-KEY_TURN, 0),
  ArrowRight: () => acts.orbit(KEY_TURN, 0),
  ArrowUp: () => acts.orbit(0, -KEY_TURN),
  ArrowDown: () => acts.orbit(0, KEY_TURN),
  Home: goHome,
  Space: () => change({ turning: !state.turning }),
};

function listen() {
  for (const { stage } of parts) {
    stage.canvas.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || !KEYS[event.code]) return;
      event.preventDefault();
      KEYS[event.code]();
    });
    stage.canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    stage.canvas.addEventListener("webglcontextrestored", () => show(state.object).catch(stop));
    new ResizeObserver(() => ask()).observe(stage.root);
  }
  for (const each of controls)
    each.addEventListener("input", () => {
      if (each.dataset.state === "object") chosen(Number(each.value));
      else change({ [each.dataset.state]: each.checked });
    });
  element("home").addEventListener("click", goHome);
}

listen();
chosen(0);
