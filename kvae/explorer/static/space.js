// Where in the latent space one is, and what is decoded there.

class Space {
  constructor(data, ready) {
    this.names = data.latent.names;
    this.low = data.latent.low;
    this.high = data.latent.high;
    this.start = data.latent.start;
    this.basis = unpack(data.latent.basis);
    this.origin = unpack(data.latent.origin);
    this.size = this.origin.length;
    this.classes = data.classes;
    this.condition = data.condition;
    this.painter = new Painter(data.example);
    this.axes = [0, this.names.length > 1 ? 1 : -1];
    this.label = 0;
    this.readPoints(data.points, ready);
    if (data.program) {
      this.program = compile(data.program);
      this.parts = (data.condition?.parts ?? []).map(({ size, values }) => ({ size, values: unpack(values) }));
    } else {
      this.sheet = data.sheet;
      this.images = data.sheet.images.map((each) => new Store(each, this.painter, ready));
    }
    this.conditionOf = 0;
    this.home();
  }

  readPoints(points, ready) {
    this.codes = points ? unpack(points.codes) : new Float32Array(0);
    this.count = this.codes.length / this.size;
    this.labels = points?.labels ?? null;
    this.originals = points && new Store(points.originals, this.painter, ready);
    this.reconstructions = points?.reconstructions && new Store(points.reconstructions, this.painter, ready);
    this.places = new Float32Array(this.count * this.names.length);
    for (let i = 0; i < this.count; i++) this.places.set(this.project(this.code(i)).u, i * this.names.length);
  }

  /** The code of a point. */
  code(i) {
    return this.codes.subarray(i * this.size, (i + 1) * this.size);
  }

  /** Coordinates of a code along the directions, and what they leave out of it. */
  project(code) {
    const u = new Float32Array(this.names.length);
    const rest = code.map((v, d) => v - this.origin[d]);
    for (let k = 0; k < u.length; k++) {
      for (let d = 0; d < this.size; d++) u[k] += (code[d] - this.origin[d]) * this.basis[k * this.size + d];
      for (let d = 0; d < this.size; d++) rest[d] -= u[k] * this.basis[k * this.size + d];
    }
    return { u, rest };
  }

  home() {
    this.u = Float32Array.from(this.start);
    this.rest = new Float32Array(this.size);
  }

  goTo(code) {
    Object.assign(this, this.project(code));
  }

  /** Moves along a direction, within what is shown. */
  move(k, value) {
    if (k >= 0) this.u[k] = Math.min(Math.max(value, this.low[k]), this.high[k]);
  }

  get z() {
    const z = this.origin.map((v, d) => v + this.rest[d]);
    this.u.forEach((step, k) => addRow(z, 0, this.basis, k * this.size, this.size, step));
    return z;
  }

  /** Whether one of several classes is chosen to decode under. */
  get byClass() {
    return this.condition?.classes !== undefined;
  }

  /** Pixel means of a code under a label, or under the condition of a point. */
  decode(z, label = this.label, point = this.conditionOf) {
    if (this.byClass) {
      const given = new Float32Array(this.condition.classes);
      given[label] = 1;
      return this.program(z, given);
    }
    return this.program(z, ...this.parts.map(({ size, values }) => values.subarray(point * size, (point + 1) * size)));
  }

  draw(canvas, z, label = this.label, point = this.conditionOf) {
    if (this.program) {
      this.painter.draw(canvas, this.decode(z, label, point));
      return;
    }
    const { u } = this.project(z);
    const last = this.sheet.side - 1;
    const cell = (k) => {
      const share = ((u[k] ?? this.low[0]) - this.low[k]) / (this.high[k] - this.low[k]);
      return Math.round(Math.min(Math.max(share, 0), 1) * last);
    };
    const row = this.names.length > 1 ? last - cell(1) : 0;
    const sheet = this.byClass ? Math.max(this.condition.tiles.indexOf(label), 0) : 0;
    this.images[sheet].draw(canvas, row * (last + 1) + cell(0));
  }

  /** A point's reconstruction, from its own code under its own condition. */
  drawReconstruction(canvas, i) {
    if (this.reconstructions) this.reconstructions.draw(canvas, i);
    else this.draw(canvas, this.code(i), Math.max(this.labels?.[i] ?? 0, 0), i);
  }
}
