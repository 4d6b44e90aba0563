// What stands beside the plane: labels, a clicked point, the way between two of them, sliders.

const STEPS_BETWEEN = 8;
const find = (id) => document.getElementById(id);

/** Tiles that show the present style with every label, to choose the one to decode under. */
class Labels {
  constructor(space, changed) {
    this.space = space;
    this.tiles = [];
    if (!space.byClass) {
      if (space.classes && space.labels) this.addLegend();
      return;
    }
    find("labels").hidden = find("digits").hidden = false;
    for (const label of space.condition.tiles) {
      const canvas = make("canvas");
      const input = make("input", { type: "radio", name: "label", value: label });
      input.addEventListener("change", () => this.choose(label, changed));
      find("tiles").append(make("label", { className: "tile" }, input, canvas, swatch(label), space.classes[label]));
      this.tiles.push({ label, canvas, input });
    }
    if (space.condition.classes > this.tiles.length && space.program) this.addList(changed);
  }

  addLegend() {
    find("legend").hidden = false;
    const most = this.space.classes.slice(0, 40);
    find("legend").append(...most.map((name, label) => make("li", {}, swatch(label), name)));
  }

  addList(changed) {
    find("others").hidden = false;
    this.list = find("label");
    this.list.append(...this.space.classes.map((name, label) => make("option", { value: label }, name)));
    this.list.addEventListener("change", () => this.choose(+this.list.value, changed));
  }

  choose(label, changed) {
    this.space.label = label;
    changed();
  }

  draw(z) {
    for (const { label, canvas, input } of this.tiles) {
      input.checked = label === this.space.label;
      this.space.draw(canvas, z, label);
    }
    if (this.list) this.list.value = this.space.label;
  }
}

function swatch(label) {
  const element = make("span", { className: "swatch" });
  element.style.background = color(label);
  return element;
}

/** The original and the reconstruction of a clicked point. */
class Point {
  constructor(space) {
    this.space = space;
    find("point").hidden = space.count === 0;
    this.index = -1;
  }

  draw() {
    const i = this.index;
    find("point").querySelector(".row").hidden = i < 0;
    if (i < 0) return;
    const label = this.space.labels?.[i] ?? -1;
    find("which").textContent = label < 0 ? `Training example ${i + 1}` : `A training example of ${this.space.classes[label]}`;
    this.space.originals.draw(find("original"), i);
    this.space.drawReconstruction(find("again"), i);
  }
}

/** The images on the line between the last two clicked points, and a slider along it. */
class Morph {
  constructor(space, changed) {
    Object.assign(this, { space, changed, ends: [] });
    find("morph").hidden = space.count < 2;
    this.canvases = Array.from({ length: STEPS_BETWEEN }, (_, i) =>
      make("canvas", { role: "img", ariaLabel: `Image ${i + 1} of ${STEPS_BETWEEN} between A and B` }),
    );
    find("between").append(...this.canvases.map((canvas) => make("figure", {}, canvas)));
    find("share").addEventListener("input", () => this.go(find("share").value / 100));
    find("play").addEventListener("click", () => (this.timer ? this.stop() : this.play()));
  }

  add(index) {
    this.stop();
    this.ends = [...this.ends.slice(-1), index];
    find("share").value = 100;
  }

  /** The code at a share of the way. */
  code(share) {
    const [a, b] = this.ends.map((i) => this.space.code(i));
    return a.map((v, d) => v + share * (b[d] - v));
  }

  go(share) {
    this.space.goTo(this.code(share));
    this.changed();
  }

  play() {
    let [share, step] = [0, 0.02];
    find("play").textContent = "Stop";
    this.timer = setInterval(() => {
      share = Math.min(Math.max(share + step, 0), 1);
      if (share === 0 || share === 1) step = -step;
      find("share").value = 100 * share;
      this.go(share);
    }, 40);
  }

  stop() {
    clearInterval(this.timer);
    this.timer = null;
    find("play").textContent = "Play";
  }

  draw() {
    const ready = this.ends.length === 2;
    find("between").hidden = find("path").hidden = !ready;
    find("ends").hidden = ready;
    if (!ready) return;
    this.canvases.forEach((canvas, i) => this.space.draw(canvas, this.code(i / (STEPS_BETWEEN - 1))));
  }
}

/** A slider for each direction that the plane does not show, and the choice of those that it does. */
class Sliders {
  constructor(space, plane, changed) {
    this.space = space;
    const count = space.names.length;
    const fixed = count < 3 || !space.program;
    for (const each of document.querySelectorAll(".axes")) each.hidden = fixed;
    this.rows = [];
    if (fixed) return;
    find("rest").hidden = false;
    ["across", "up"].forEach((id, axis) => {
      const list = find(id);
      list.append(...space.names.map((name, k) => make("option", { value: k }, name)));
      list.addEventListener("change", () => {
        const [k, other] = [+list.value, 1 - axis];
        if (space.axes[other] === k) space.axes[other] = space.axes[axis];
        space.axes[axis] = k;
        plane.forget();
      });
    });
    this.rows = space.names.map((name, k) => {
      const [low, high] = [space.low[k], space.high[k]];
      const input = make("input", { type: "range", min: low, max: high, step: (high - low) / 200 });
      const output = make("output");
      input.addEventListener("input", () => {
        space.move(k, +input.value);
        changed();
      });
      return { row: make("label", {}, name, input, output), input, output };
    });
    find("sliders").append(...this.rows.map(({ row }) => row));
  }

  draw() {
    this.rows.forEach(({ row, input, output }, k) => {
      row.hidden = this.space.axes.includes(k);
      input.value = this.space.u[k];
      output.textContent = number(this.space.u[k]);
    });
    if (this.rows.length) [find("across").value, find("up").value] = this.space.axes;
  }
}
