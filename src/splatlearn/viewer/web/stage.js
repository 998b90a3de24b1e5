// The picture on the page: its size, what lies over it, and what pointers do to it.

const LEAST_HEIGHT = { wide: 0.6, narrow: 0.45 }; // of the window's
const CAPTION = 60; // pixels below the picture
const NARROW = "(max-width: 56rem)";
const MOST_PIXELS = 1600; // a side of the canvas
const DEGREES_PER_PIXEL = 0.3;
const STILL = 5; // pixels a pointer may move and still be a click

class Stage {
  /** `act`: functions tilt(across, down), pick(x, y) in the picture's pixels, wipe(percent). */
  constructor(root, act) {
    this.root = root;
    this.act = act;
    this.canvas = root.querySelector("canvas");
    this.picture = root.querySelector("img");
    this.mark = root.querySelector("svg");
    this.handle = root.querySelector(".handle");
    this.labels = root.querySelectorAll(".side");
    this.canvas.addEventListener("pointerdown", (event) => this.press(event));
    this.handle.addEventListener("pointerdown", (event) => this.hold(event));
  }

  /** Gives the picture its size on the page; returns that of the canvas in device pixels. */
  fit({ width, height }, pixels) {
    const room = this.root.parentElement.clientWidth;
    const tall = this.roomBelow();
    const density = window.devicePixelRatio || 1;
    let scale = Math.min(room / width, Math.max(tall, 160) / height);
    // Whole blocks of the screen's pixels, unless the picture has more than the screen has room for.
    if (pixels && scale * density >= 1) scale = Math.floor(scale * density) / density;
    const shown = [Math.max(1, Math.floor(width * scale)), Math.max(1, Math.floor(height * scale))];
    this.root.style.width = `${pixels ? width * scale : shown[0]}px`;
    this.root.style.height = `${pixels ? height * scale : shown[1]}px`;
    this.root.classList.toggle("pixels", pixels);
    this.size = { width, height };
    this.mark.setAttribute("viewBox", `0 0 ${width} ${height}`);
    if (pixels) return { width, height };
    const limit = Math.min(density, MOST_PIXELS / Math.max(...shown));
    return { width: Math.max(1, Math.round(shown[0] * limit)), height: Math.max(1, Math.round(shown[1] * limit)) };
  }

  /** Height that lets a person see the whole picture before scrolling, where there is enough of it. */
  roomBelow() {
    const narrow = matchMedia(NARROW).matches;
    const least = window.innerHeight * (narrow ? LEAST_HEIGHT.narrow : LEAST_HEIGHT.wide);
    // Of the grid, not of the sticky column, whose place changes with scrolling.
    const top = narrow ? window.innerHeight : document.querySelector("main").offsetTop;
    return Math.max(least, window.innerHeight - top - CAPTION);
  }

  /** Shows the picture to compare with, to the right of the wipe, or none. */
  compare(source, label, percent) {
    this.root.classList.toggle("comparing", source !== null);
    if (source === null) return;
    if (this.picture.src !== source) this.picture.src = source;
    this.picture.style.clipPath = `inset(0 0 0 ${percent}%)`;
    this.handle.style.left = `${percent}%`;
    this.labels[1].textContent = label;
    this.labels[0].style.opacity = percent < 18 ? 0 : 1;
    this.labels[1].style.opacity = percent > 82 ? 0 : 1;
  }

  /** Outlines one Gaussian at one and two sigma; null for none. */
  outline(ellipse) {
    this.root.classList.toggle("marking", ellipse !== null);
    if (ellipse === null) return;
    this.mark.querySelectorAll("ellipse").forEach((element) => {
      const sigmas = Number(element.dataset.sigmas);
      element.setAttribute("rx", sigmas * ellipse.first);
      element.setAttribute("ry", sigmas * ellipse.second);
      element.setAttribute("transform", `translate(${ellipse.x} ${ellipse.y}) rotate(${ellipse.angle})`);
    });
  }

  press(event) {
    if (event.button !== 0) return;
    let last = [event.clientX, event.clientY];
    let travelled = 0;
    this.follow(this.canvas, event, (move) => {
      const [across, down] = [move.clientX - last[0], move.clientY - last[1]];
      last = [move.clientX, move.clientY];
      travelled += Math.hypot(across, down);
      if (travelled >= STILL) this.act.tilt(across * DEGREES_PER_PIXEL, down * DEGREES_PER_PIXEL);
    }, () => {
      if (travelled < STILL) this.act.pick(...this.placeOf(event));
    });
  }

  hold(event) {
    event.preventDefault();
    this.follow(this.handle, event, (move) => {
      const box = this.canvas.getBoundingClientRect();
      this.act.wipe(Math.min(Math.max((100 * (move.clientX - box.left)) / box.width, 0), 100));
    }, () => {});
  }

  /** Listens to one pointer until it is lifted, or until the browser scrolls with it. */
  follow(element, event, moved, lifted) {
    const ending = new AbortController();
    const options = { signal: ending.signal };
    element.setPointerCapture(event.pointerId);
    element.addEventListener("pointermove", moved, options);
    element.addEventListener("pointercancel", () => ending.abort(), options);
    element.addEventListener("pointerup", () => {
      ending.abort();
      lifted();
    }, options);
  }

  placeOf(event) {
    const box = this.canvas.getBoundingClientRect();
    return [
      ((event.clientX - box.left) / box.width) * this.size.width,
      ((event.clientY - box.top) / box.height) * this.size.height,
    ];
  }
}
