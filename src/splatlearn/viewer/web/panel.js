// The controls: each element with data-state is bound to that part of the state.

class Panel {
  /** `change`: takes the parts of the state that a person has changed. */
  constructor(root, change) {
    this.root = root;
    this.bound = root.querySelectorAll("[data-state]");
    this.bound.forEach((element) =>
      element.addEventListener("input", () => change({ [element.dataset.state]: valueOf(element) })),
    );
  }

  /** Sets the ends of the sliders that count Gaussians. */
  limit(count) {
    this.root.querySelectorAll("[data-counts]").forEach((element) => (element.max = count));
    this.root.querySelector("#picked").max = count - 1;
  }

  /** Makes the controls say what the state is. */
  show(scene, state, palettes) {
    this.bound.forEach((element) => {
      // What is being typed is left alone.
      if (element === document.activeElement && element.type === "number") return;
      if (element.type === "checkbox") element.checked = state[element.dataset.state];
      else element.value = state[element.dataset.state] ?? "";
    });
    this.root.querySelectorAll("[data-says]").forEach((element) => {
      element.textContent = SAYS[element.dataset.says](state, scene);
    });
    this.root.querySelector("#play").textContent = state.playing ? "Pause" : "Play";
    this.root.querySelector("#wipe-row").hidden = state.compare === "none";
    this.showKey(scene, state, palettes);
  }

  /** Lists the numbers of the picked Gaussian. */
  read(rows) {
    const list = this.root.querySelector("#readings");
    list.replaceChildren(...(rows ?? []).map(([name, value]) => described(name, value)));
    this.root.querySelector("#hint").hidden = rows !== null;
  }

  showKey(scene, state, palettes) {
    const root = this.root.querySelector("#key");
    const named = `${state.image} ${state.colour}`;
    if (root.dataset.named === named) return;
    root.dataset.named = named;
    const key = keyOf(scene, state.colour, palettes);
    root.hidden = key === null;
    if (key === null) return;
    root.replaceChildren(...(key.ends ? rampElements(key) : key.swatches.map(swatchElement)));
  }
}

const SAYS = {
  across: (state) => `${state.across.toFixed(0).replace("-", "−")}°`,
  down: (state) => `${state.down.toFixed(0).replace("-", "−")}°`,
  stretch: (state) => `× ${state.stretch}`,
  size: (state) => `${Math.round(100 * state.size)} %`,
  hideNear: (state, scene) => `${state.hideNear} of ${scene.count}`,
  hideFar: (state, scene) => `${state.hideFar} of ${scene.count}`,
  painted: (state, scene) => `${state.painted} of ${scene.count}`,
  wipe: (state) => `${Math.round(state.wipe)} %`,
  share: (state) => (state.share === null ? "" : `paints ${Math.round(100 * state.share)} % of the place you chose`),
};

function valueOf(element) {
  if (element.type === "checkbox") return element.checked;
  if (element.type === "number") return element.value === "" ? null : Number(element.value);
  return element.type === "range" ? Number(element.value) : element.value;
}

function element(name, className, text) {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

function described(name, value) {
  const row = element("div", "", "");
  row.append(element("dt", "", name), element("dd", "", value));
  return row;
}

function rampElements(key) {
  const bar = element("span", "ramp", "");
  bar.style.backgroundImage = `linear-gradient(to right, ${key.ramp.map(cssColour).join(", ")})`;
  return [element("span", "", key.ends[0]), bar, element("span", "", key.ends[1])];
}

function swatchElement({ label, colour }) {
  const made = element("span", "swatch", label);
  made.style.setProperty("--swatch", cssColour(colour));
  return made;
}
