// The page: one place in the latent space, drawn everywhere once per frame.

const space = new Space(JSON.parse(find("data").textContent), () => changed());
const plane = new Plane(find("plane"), space, { moved: () => changed(), selected: select });
const labels = new Labels(space, () => changed(true));
const point = new Point(space);
const morph = new Morph(space, () => changed());
const sliders = new Sliders(space, plane, () => changed());
const SLOW = 12; // milliseconds of drawing per frame, beyond which all but the image waits for a pause

let [waiting, pause, milliseconds] = [null, null, 0];

/** Draws again with the next frame. */
function changed() {
  waiting ??= requestAnimationFrame(draw);
}

function draw() {
  waiting = null;
  plane.draw();
  sliders.draw();
  space.draw(find("decoded"), space.z);
  find("where").textContent = where();
  clearTimeout(pause);
  if (milliseconds < SLOW) drawOthers();
  pause = setTimeout(() => {
    if (milliseconds >= SLOW) drawOthers();
    find("spoken").textContent = where();
  }, 150);
}

/** What takes many passes of the decoder. */
function drawOthers() {
  const start = performance.now();
  labels.draw(space.z);
  point.draw();
  morph.draw();
  milliseconds = performance.now() - start;
}

function where() {
  const values = space.axes.filter((k) => k >= 0).map((k) => `${space.names[k]} = ${number(space.u[k])}`);
  return [...values, ...(space.byClass ? [`label ${space.classes[space.label]}`] : [])].join(", ");
}

/** Goes to a point, under its own label. */
function select(index) {
  const label = space.labels?.[index] ?? -1;
  if (space.byClass && label >= 0) space.label = label;
  if (!space.byClass) space.conditionOf = index;
  space.goTo(space.code(index));
  point.index = index;
  morph.add(index);
  plane.ends = morph.ends;
  changed();
}

find("home").addEventListener("click", () => {
  morph.stop();
  space.home();
  changed();
});
find("plane").addEventListener("pointerdown", () => morph.stop());
changed();
window.space = space; // for the console: space.decode(Float32Array.of(0, 0), 7)
