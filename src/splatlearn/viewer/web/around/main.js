// The page of panoramas: its state, and what happens when it changes.

const FIRST_LOOK = { longitude: 0, latitude: 0, angle: 1.2 };
const COMPARISONS = { none: 0, photograph: 1, error: 2 };
const KEY_LOOK = Math.PI / 36; // radians of a key
const KEY_ZOOM = 1.15;

const { panoramas } = JSON.parse(document.getElementById("data").textContent);
const element = (id) => document.getElementById(id);
const decodedPictures = new Map(); // by panorama and kind
const state = { number: 0, look: FIRST_LOOK, compare: "none", wipe: 0.5 };
let lookPainter = null;
let isAsked = false;

const stage = new Stage(document.querySelector(".stage"), {
  orbit: (across, down) => drag(across, down),
  look: (across, down) => drag(across, down),
  shift: (right, down) => change({ look: lookedOn(state.look, right * state.look.angle, -down * state.look.angle) }),
  zoom: (factor) => change({ look: zoomed(state.look, factor) }),
  wipe: (share) => change({ wipe: share }),
  pick: () => {},
});

/** What is under the pointer stays there: the picture goes along. */
function drag(across, down) {
  const perRadian = state.look.angle / (stage.canvas.getBoundingClientRect().height * RADIANS_PER_PIXEL);
  change({ look: lookedOn(state.look, -across * perRadian, down * perRadian) });
}

function change(parts) {
  Object.assign(state, parts);
  if (!isAsked) requestAnimationFrame(redraw);
  isAsked = true;
  delete document.documentElement.dataset.settled;
}

/** The picture of a panorama, "rendering" or "photograph", once it is decoded; null until then. */
function pictureOf(number, kind) {
  const key = `${number} ${kind}`;
  if (!decodedPictures.has(key)) {
    decodedPictures.set(key, null);
    const image = new Image();
    image.src = `data:image/jpeg;base64,${panoramas[number][kind]}`;
    image.decode().then(() => {
      decodedPictures.set(key, image);
      change({});
    }, stop);
  }
  return decodedPictures.get(key);
}

function redraw() {
  isAsked = false;
  const panorama = panoramas[state.number];
  const compare = panorama.photograph ? state.compare : "none";
  const rendering = pictureOf(state.number, "rendering");
  const photograph = panorama.photograph ? pictureOf(state.number, "photograph") : rendering;
  tell(panorama, compare);
  if (!rendering || !photograph) return;
  lookPainter.hold(0, rendering);
  lookPainter.hold(1, photograph);
  lookPainter.draw(stage.fit(), state.look, COMPARISONS[compare], state.wipe);
  stage.mark(compare === "photograph" ? state.wipe : null);
  document.documentElement.dataset.drawn = "true";
  document.documentElement.dataset.settled = "true";
}

function tell(panorama, compare) {
  const facts = [panorama.heldOut ? "held out" : "fitted"];
  if (panorama.psnr !== null) facts.push(`${panorama.psnr.toFixed(2)} dB`);
  const degrees = (radians) => `${Math.round((radians * 180) / Math.PI)}°`;
  facts.push(`${degrees(state.look.longitude)} right, ${degrees(state.look.latitude)} up`);
  element("name").textContent = panorama.name;
  element("facts").textContent = facts.join(" · ");
  element("photo").value = String(state.number);
  element("compare").value = compare;
  element("compare").disabled = !panorama.photograph;
  element("wipe-row").hidden = compare !== "photograph";
  element("error-key").hidden = compare !== "error";
  element("wipe").value = String(state.wipe);
}

function next(step) {
  change({ number: (state.number + step + panoramas.length) % panoramas.length });
}

const KEYS = {
  ArrowLeft: () => change({ look: lookedOn(state.look, -KEY_LOOK, 0) }),
  ArrowRight: () => change({ look: lookedOn(state.look, KEY_LOOK, 0) }),
  ArrowUp: () => change({ look: lookedOn(state.look, 0, KEY_LOOK) }),
  ArrowDown: () => change({ look: lookedOn(state.look, 0, -KEY_LOOK) }),
  Equal: () => change({ look: zoomed(state.look, 1 / KEY_ZOOM) }),
  NumpadAdd: () => change({ look: zoomed(state.look, 1 / KEY_ZOOM) }),
  Minus: () => change({ look: zoomed(state.look, KEY_ZOOM) }),
  NumpadSubtract: () => change({ look: zoomed(state.look, KEY_ZOOM) }),
  Home: () => change({ look: FIRST_LOOK }),
  Comma: () => next(-1),
  Period: () => next(1),
};

/** Says why nothing is drawn, and shows the panorama as it is. */
function stop(error) {
  document.documentElement.classList.add("no-drawing");
  element("reason").textContent = error.message;
  const instead = element("instead");
  instead.src = `data:image/jpeg;base64,${panoramas[state.number].rendering}`;
  instead.hidden = false;
  document.documentElement.dataset.drawn = "true";
}

stage.canvas.addEventListener("keydown", (event) => {
  if (!KEYS[event.code] || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  KEYS[event.code]();
});
element("photo").addEventListener("change", (event) => change({ number: Number(event.target.value) }));
element("compare").addEventListener("change", (event) => change({ compare: event.target.value }));
element("wipe").addEventListener("input", (event) => change({ wipe: Number(event.target.value) }));
element("home").addEventListener("click", () => change({ look: FIRST_LOOK }));
element("previous").addEventListener("click", () => next(-1));
element("next").addEventListener("click", () => next(1));
window.addEventListener("resize", () => change({}));
try {
  lookPainter = new LookPainter(stage.canvas);
  stage.canvas.addEventListener("webglcontextlost", () => stop(new Error("it lost the graphics card")));
  change({});
} catch (error) {
  stop(error);
}
