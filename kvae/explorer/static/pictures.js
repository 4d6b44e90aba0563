// Drawing examples: images as pixels, series and feature vectors as lines.

const COLORS = ["#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#1b2430", "#92dadd"];
const [LINE_WIDTH, LINE_HEIGHT] = [240, 160];

/** Draws examples of one shape, given as arrays of numbers. */
class Painter {
  constructor({ shape, low, high }) {
    Object.assign(this, { shape, low, high, isImage: shape.length === 3 });
  }

  draw(canvas, values) {
    if (this.isImage) this.drawImage(canvas, values);
    else this.drawLines(canvas, values);
  }

  drawImage(canvas, values) {
    const [height, width, channels] = this.shape;
    resize(canvas, width, height);
    const context = canvas.getContext("2d");
    const image = context.createImageData(width, height);
    for (let i = 0; i < height * width; i++) {
      for (let c = 0; c < 3; c++) {
        const value = values[i * channels + (channels === 1 ? 0 : c)];
        image.data[4 * i + c] = (255 * (value - this.low)) / (this.high - this.low) + 0.5;
      }
      image.data[4 * i + 3] = 255;
    }
    context.putImageData(image, 0, 0);
  }

  drawLines(canvas, values) {
    const [length, channels = 1] = this.shape;
    resize(canvas, LINE_WIDTH, LINE_HEIGHT);
    canvas.style.imageRendering = "auto";
    const context = canvas.getContext("2d");
    const across = (i) => 6 + ((LINE_WIDTH - 12) * (i + 0.5)) / length;
    const down = (value) => LINE_HEIGHT - 6 - ((LINE_HEIGHT - 12) * (value - this.low)) / (this.high - this.low);
    context.fillStyle = "#fff";
    context.fillRect(0, 0, LINE_WIDTH, LINE_HEIGHT);
    context.fillStyle = "#b0b0b0";
    context.fillRect(0, down(0), LINE_WIDTH, 1);
    context.lineWidth = 4;
    for (let c = 0; c < channels; c++) {
      context.strokeStyle = COLORS[c % COLORS.length];
      context.beginPath();
      for (let i = 0; i < length; i++) context.lineTo(across(i), down(values[i * channels + c]));
      context.stroke();
    }
  }
}

/** Many examples in the page: tiles of one picture, or arrays of numbers. */
class Store {
  constructor(data, painter, ready) {
    Object.assign(this, { data, painter });
    if (data.url) {
      this.picture = new Image();
      this.picture.onload = ready;
      this.picture.src = data.url;
    } else {
      this.values = unpack(data.values);
      this.size = painter.shape.reduce((a, b) => a * b);
    }
  }

  draw(canvas, index) {
    if (this.values) {
      this.painter.draw(canvas, this.values.subarray(index * this.size, (index + 1) * this.size));
      return;
    }
    const { columns, height, width } = this.data;
    resize(canvas, width, height);
    const [left, top] = [(index % columns) * width, Math.floor(index / columns) * height];
    canvas.getContext("2d").drawImage(this.picture, left, top, width, height, 0, 0, width, height);
  }
}

function resize(canvas, width, height) {
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
}

const color = (label) => (label < 0 ? "#d0d0d0" : COLORS[label % COLORS.length]);

/** An element with attributes and children; text is never read as HTML. */
function make(tag, attributes = {}, ...children) {
  const element = Object.assign(document.createElement(tag), attributes);
  element.append(...children);
  return element;
}
