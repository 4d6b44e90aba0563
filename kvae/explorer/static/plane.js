// The plane: points, axes and the place where one is.

class Plane {
  constructor(canvas, space, { moved, selected }) {
    Object.assign(this, { canvas, space, moved, selected, ends: [] });
    canvas.addEventListener("pointerdown", (event) => this.press(event));
    canvas.addEventListener("pointermove", (event) => event.buttons && this.drag(event));
    canvas.addEventListener("pointerup", (event) => this.release(event));
    canvas.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.forget()).observe(canvas);
  }

  press(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.pressed = [event.offsetX, event.offsetY];
    this.drag(event);
  }

  drag(event) {
    const [across, up] = this.space.axes;
    const [x, y] = this.place(event);
    this.space.move(across, this.value(across, x / this.width));
    this.space.move(up, this.value(up, 1 - y / this.width));
    this.moved();
  }

  release(event) {
    const [x, y] = this.place(event);
    const still = this.pressed && Math.hypot(event.offsetX - this.pressed[0], event.offsetY - this.pressed[1]) < 5;
    this.pressed = null;
    const found = still ? this.nearest(x, y, event.pointerType === "touch" ? 24 : 12) : -1;
    if (found >= 0) this.selected(found);
  }

  key(event) {
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    const [across, up] = this.space.axes;
    if (steps) {
      const size = event.shiftKey ? 10 : 60;
      [across, up].forEach((k, i) => {
        if (k >= 0) this.space.move(k, this.space.u[k] + (steps[i] * (this.space.high[k] - this.space.low[k])) / size);
      });
      this.moved();
    } else if (event.key === "Enter" || event.key === " ") {
      const found = this.nearest(this.x(this.space.u), this.y(this.space.u), Infinity);
      if (found >= 0) this.selected(found);
    } else if (event.key === "Home") {
      this.space.home();
      this.moved();
    } else if (/^\d$/.test(event.key) && this.space.byClass && +event.key < this.space.condition.classes) {
      this.space.label = +event.key;
      this.moved();
    } else return;
    event.preventDefault();
  }

  /** The pointer's place in the pixels of the page, inside the border. */
  place(event) {
    return [event.offsetX, event.offsetY];
  }

  value(k, share) {
    return k < 0 ? 0 : this.space.low[k] + share * (this.space.high[k] - this.space.low[k]);
  }

  x(u) {
    return this.along(this.space.axes[0], u);
  }

  y(u) {
    return this.space.axes[1] < 0 ? this.width / 2 : this.width - this.along(this.space.axes[1], u);
  }

  along(k, u) {
    return (this.width * (u[k] - this.space.low[k])) / (this.space.high[k] - this.space.low[k]);
  }

  get width() {
    return this.canvas.clientWidth;
  }

  /** The point that is nearest to a place, within a distance; −1 for none. */
  nearest(x, y, within) {
    let [found, best] = [-1, within];
    for (let i = 0; i < this.space.count; i++) {
      const u = this.coordinates(i);
      const distance = Math.hypot(this.x(u) - x, this.y(u) - y);
      if (distance < best) [found, best] = [i, distance];
    }
    return found;
  }

  coordinates(i) {
    const length = this.space.names.length;
    return this.space.places.subarray(i * length, (i + 1) * length);
  }

  /** Draws the points anew the next time: the axes or the size have changed. */
  forget() {
    this.background = null;
    this.moved();
  }

  draw() {
    const scale = window.devicePixelRatio || 1;
    const side = Math.round(this.width * scale);
    resize(this.canvas, side, side);
    if (!this.background) this.background = this.drawBackground(side, scale);
    const context = this.canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, side, side);
    context.drawImage(this.background, 0, 0);
    context.scale(scale, scale);
    this.drawEnds(context);
    const [x, y] = [this.x(this.space.u), this.y(this.space.u)];
    for (const [width, style] of [[9, "#fff"], [5, "#111"]]) {
      context.lineWidth = width;
      context.strokeStyle = style;
      context.beginPath();
      context.arc(x, y, 13, 0, 7);
      context.stroke();
    }
  }

  drawBackground(side, scale) {
    const canvas = make("canvas", { width: side, height: side });
    const context = canvas.getContext("2d");
    context.scale(scale, scale);
    this.drawAxes(context);
    const radius = Math.max(2.5, this.width / (this.space.count > 500 ? 180 : 120));
    context.lineWidth = 0.6;
    context.strokeStyle = "#404040";
    for (let i = 0; i < this.space.count; i++) {
      const u = this.coordinates(i);
      context.fillStyle = this.space.labels ? color(this.space.labels[i]) : COLORS[0];
      context.beginPath();
      context.arc(this.x(u), this.y(u), radius, 0, 7);
      context.fill();
      context.stroke();
    }
    return canvas;
  }

  drawAxes(context) {
    const [across, up] = this.space.axes;
    const size = Math.max(13, this.width / 36);
    context.font = `${size}px system-ui, sans-serif`;
    context.fillStyle = "#111";
    const name = this.space.names[across];
    context.fillText(`${name} →`, this.width - context.measureText(`${name} →`).width - 6, this.width - size - 10);
    if (up >= 0) context.fillText(`↑ ${this.space.names[up]}`, 6, size + 4);
    for (const k of [across, up]) {
      if (k < 0) continue;
      const isAcross = k === across;
      for (const tick of ticks(this.space.low[k], this.space.high[k])) {
        const share = (tick - this.space.low[k]) / (this.space.high[k] - this.space.low[k]);
        const at = this.width * (isAcross ? share : 1 - share);
        context.fillStyle = tick === 0 ? "#8a8a8a" : "#dcdcdc";
        context.fillRect(isAcross ? at : 0, isAcross ? 0 : at, isAcross ? 1 : this.width, isAcross ? this.width : 1);
        context.fillStyle = "#404040";
        if (share < 0.06 || share > 0.94) continue; // the names are there
        if (isAcross) context.fillText(number(tick, 0), at + 3, this.width - 5);
        else context.fillText(number(tick, 0), 4, at - 3);
      }
    }
  }

  drawEnds(context) {
    context.lineWidth = 3;
    context.strokeStyle = context.fillStyle = "#111";
    const places = this.ends.map((i) => [this.x(this.coordinates(i)), this.y(this.coordinates(i))]);
    context.beginPath();
    for (const place of places) context.lineTo(...place);
    context.stroke();
    context.font = `bold ${Math.max(16, this.width / 26)}px system-ui, sans-serif`;
    places.forEach(([x, y], i) => {
      context.lineWidth = 5;
      context.strokeStyle = "#fff";
      context.strokeText("AB"[i], x + 14, y - 10);
      context.fillText("AB"[i], x + 14, y - 10);
    });
  }
}

/** Round numbers between two others. */
function ticks(low, high) {
  const rough = (high - low) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((each) => each * power >= rough);
  const found = [];
  for (let i = Math.ceil(low / step); i * step <= high; i++) found.push(+(i * step).toPrecision(6));
  return found;
}

function number(value, digits = 2) {
  const text = digits || Number.isInteger(value) ? value.toFixed(digits) : String(value);
  return text.replace("-", "−");
}
