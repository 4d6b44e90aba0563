// The decoder: steps over flat arrays of numbers, as kvae/explorer/steps.py writes them.

/** Numbers from base64: half-precision floats times a scale, or whole numbers of 32 bits. */
function unpack({ kind, data, scale }) {
  const text = atob(data);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  if (kind === "int32") return new Int32Array(bytes.buffer);
  if (kind === "float32") return new Float32Array(bytes.buffer);
  const halves = new Uint16Array(bytes.buffer);
  const numbers = new Float32Array(halves.length);
  for (let i = 0; i < halves.length; i++) {
    const exponent = (halves[i] >> 10) & 31;
    const fraction = halves[i] & 1023;
    const size = exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24;
    numbers[i] = (halves[i] >> 15 ? -size : size) * scale;
  }
  return numbers;
}

/** A function from the code, and the parts of the condition, to pixel means. */
function compile(program) {
  const steps = program.steps.map((step) =>
    Object.fromEntries(Object.entries(step).map(([name, value]) => [name, value?.data ? unpack(value) : value])),
  );
  return (...inputs) => {
    const values = inputs.slice();
    for (const step of steps) values[step.output] = STEPS[step.op](step, ...step.inputs.map((i) => values[i]));
    return values[program.output];
  };
}

const STEPS = {
  constant: ({ values }) => values,

  dense({ kernel, bias, size: [width, units] }, x) {
    const y = filled(bias, (x.length / width) * units, units);
    for (let place = 0; place * width < x.length; place++) {
      addProduct(y, place * units, units, x, place * width, width, kernel, 0);
    }
    return y;
  },

  conv({ kernel, bias, size, source, target, strides, before }, x) {
    const [[height, width, channels], [rows, columns, filters]] = [source, target];
    const y = filled(bias, rows * columns * filters, filters);
    eachTap(rows, columns, size, strides, before, height, width, (small, large, tap) => {
      addProduct(y, small * filters, filters, x, large * channels, channels, kernel, tap * channels * filters);
    });
    return y;
  },

  convTranspose({ kernel, bias, size, source, target, strides, before }, x) {
    const [[height, width, channels], [rows, columns, filters]] = [source, target];
    const y = filled(bias, rows * columns * filters, filters);
    eachTap(height, width, size, strides, before, rows, columns, (small, large, tap) => {
      addProduct(y, large * filters, filters, x, small * channels, channels, kernel, tap * channels * filters);
    });
    return y;
  },

  affine({ scale, shift }, x) {
    const y = new Float32Array(x.length);
    for (let start = 0; start < x.length; start += scale.length) {
      for (let c = 0; c < scale.length; c++) y[start + c] = x[start + c] * scale[c] + shift[c];
    }
    return y;
  },

  apply({ function: name, parameters, width }, x) {
    const y = new Float32Array(x.length);
    if (!name.endsWith("softmax")) {
      const [each, [first, second]] = [FUNCTIONS[name], parameters];
      for (let i = 0; i < x.length; i++) y[i] = each(x[i], first, second);
      return y;
    }
    for (let start = 0; start < x.length; start += width) {
      const part = x.subarray(start, start + width);
      const top = part.reduce((a, b) => Math.max(a, b));
      const total = part.reduce((sum, v) => sum + Math.exp(v - top), 0);
      y.set(part.map((v) => v - top - Math.log(total)), start);
    }
    return name === "softmax" ? y.map(Math.exp) : y;
  },

  combine({ function: name }, x, other) {
    const each = COMBINED[name];
    return x.map((v, i) => each(v, other[i]));
  },

  concatenate({ lengths }, ...parts) {
    const total = lengths.reduce((a, b) => a + b);
    const y = new Float32Array((parts[0].length / lengths[0]) * total);
    let start = 0;
    parts.forEach((part, k) => {
      for (let from = 0, to = start; from < part.length; from += lengths[k], to += total) {
        y.set(part.subarray(from, from + lengths[k]), to);
      }
      start += lengths[k];
    });
    return y;
  },

  gather({ places }, x) {
    const y = new Float32Array(places.length);
    for (let i = 0; i < places.length; i++) y[i] = places[i] < 0 ? 0 : x[places[i]];
    return y;
  },

  resample({ source: [, width, channels], rows, columns }, x) {
    const between = new Float32Array(rows.length * width * channels);
    rows.forEach(([first, weights], i) => {
      const row = width * channels;
      weights.forEach((weight, k) => addRow(between, i * row, x, (first + k) * row, row, weight));
    });
    const y = new Float32Array(rows.length * columns.length * channels);
    for (let i = 0; i < rows.length; i++) {
      columns.forEach(([first, weights], j) => {
        const to = (i * columns.length + j) * channels;
        weights.forEach((weight, k) => addRow(y, to, between, (i * width + first + k) * channels, channels, weight));
      });
    }
    return y;
  },

  quantize({ codebook, quantizers, codes, size }, x) {
    const y = new Float32Array(x.length);
    const left = x.slice();
    for (let start = 0; start < x.length; start += size) {
      for (let q = 0; q < quantizers; q++) {
        let [best, nearest] = [Infinity, 0];
        for (let k = q * codes; k < (q + 1) * codes; k++) {
          let distance = 0;
          for (let i = 0; i < size; i++) distance += (left[start + i] - codebook[k * size + i]) ** 2;
          if (distance < best) [best, nearest] = [distance, k];
        }
        addRow(y, start, codebook, nearest * size, size, 1);
        addRow(left, start, codebook, nearest * size, size, -1);
      }
    }
    return y;
  },
};

/** An array of zeros, or of a bias that repeats. */
function filled(bias, length, width) {
  const y = new Float32Array(length);
  if (bias) for (let start = 0; start < length; start += width) y.set(bias, start);
  return y;
}

/** Adds a row of x times a matrix to a row of y: y[to + j] += Σ_i x[from + i] · kernel[first + i · units + j]. */
function addProduct(y, to, units, x, from, width, kernel, first) {
  if (units < 4) {
    for (let j = 0; j < units; j++) {
      let sum = y[to + j];
      for (let i = 0, k = first + j; i < width; i++, k += units) sum += x[from + i] * kernel[k];
      y[to + j] = sum;
    }
    return;
  }
  for (let i = 0, row = first; i < width; i++, row += units) {
    const value = x[from + i];
    if (value === 0) continue; // half of the numbers after a ReLU
    for (let j = 0; j < units; j++) y[to + j] += value * kernel[row + j];
  }
}

/** y[to + j] += value · row[from + j] for j < length. */
function addRow(y, to, row, from, length, value) {
  for (let j = 0; j < length; j++) y[to + j] += value * row[from + j];
}

/** Calls `each` for every pair of places that a convolution joins, with the number of the kernel's tap. */
function eachTap(height, width, [down, across], strides, before, largeHeight, largeWidth, each) {
  for (let i = 0; i < height; i++) {
    for (let j = 0; j < width; j++) {
      for (let tap = 0; tap < down * across; tap++) {
        const row = i * strides[0] - before[0] + Math.floor(tap / across);
        const column = j * strides[1] - before[1] + (tap % across);
        if (row < 0 || row >= largeHeight || column < 0 || column >= largeWidth) continue;
        each(i * width + j, row * largeWidth + column, tap);
      }
    }
  }
}

const COMBINED = {
  add: (a, b) => a + b,
  subtract: (a, b) => a - b,
  multiply: (a, b) => a * b,
  divide: (a, b) => a / b,
};

const sigmoid = (v) => 1 / (1 + Math.exp(-v));

const FUNCTIONS = {
  abs: Math.abs,
  clip: (v, low, high) => Math.min(Math.max(v, low), high),
  elu: (v, alpha) => (v > 0 ? v : alpha * Math.expm1(v)),
  exp: (v) => Math.exp(v),
  gelu: (v, tanh) => (tanh ? v * sigmoid(1.5957691216 * (v + 0.044715 * v ** 3)) : 0.5 * v * (1 + erf(v / Math.SQRT2))),
  hard_sigmoid: (v) => Math.min(Math.max(v / 6 + 0.5, 0), 1),
  leaky_relu: (v, slope) => (v > 0 ? v : slope * v),
  log: (v) => Math.log(v),
  negative: (v) => -v,
  relu: (v) => (v > 0 ? v : 0),
  relu6: (v) => Math.min(Math.max(v, 0), 6),
  selu: (v) => 1.0507009873554805 * (v > 0 ? v : 1.6732632423543772 * Math.expm1(v)),
  sigmoid,
  silu: (v) => v * sigmoid(v),
  softplus: (v) => Math.max(v, 0) + Math.log1p(Math.exp(-Math.abs(v))),
  softsign: (v) => v / (1 + Math.abs(v)),
  sqrt: (v) => Math.sqrt(v),
  square: (v) => v * v,
  tanh: (v) => Math.tanh(v),
};

/** The error function within 1.5e-7: Abramowitz and Stegun 1964, formula 7.1.26. */
function erf(v) {
  const t = 1 / (1 + 0.3275911 * Math.abs(v));
  const poly = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
  return Math.sign(v) * (1 - poly * Math.exp(-v * v));
}
