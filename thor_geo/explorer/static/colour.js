// Colours of values. Both scales keep their order in grey and for colour-blind readers.

// matplotlib's viridis and PuOr (from ColorBrewer, Cynthia Brewer), at even steps.
const SCALES = {
  sequential: ["440154", "482878", "3e4989", "31688e", "26828e", "1f9e89", "35b779", "6ece58", "b5de2b", "fde725"],
  diverging: ["b35806", "e08214", "fdb863", "fee0b6", "f7f7f7", "d8daeb", "b2abd2", "8073ac", "542788"],
};

/** 256 colours of a scale: red, green, blue, one after the other. */
export const TABLES = Object.fromEntries(
  Object.entries(SCALES).map(([name, stops]) => {
    const table = new Uint8Array(256 * 3);
    const rgb = stops.map((hex) => [0, 2, 4].map((k) => parseInt(hex.slice(k, k + 2), 16)));
    for (let i = 0; i < 256; i++) {
      const at = (i / 255) * (rgb.length - 1);
      const k = Math.min(Math.floor(at), rgb.length - 2);
      for (let c = 0; c < 3; c++) table[3 * i + c] = Math.round(rgb[k][c] + (at - k) * (rgb[k + 1][c] - rgb[k][c]));
    }
    return [name, table];
  }),
);

/**
 * Colour values: RGBA for each, transparent where a value is NaN or below `least`.
 * @param {Float32Array} values
 * @param {{scale: string, low: number, high: number, least?: number}} how
 */
export function coloured(values, { scale, low, high, least = -Infinity }) {
  const table = TABLES[scale];
  const out = new Uint8ClampedArray(values.length * 4);
  const factor = high > low ? 255 / (high - low) : 0;
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    if (!(value >= least)) continue;
    const k = 3 * Math.max(0, Math.min(255, Math.round((value - low) * factor)));
    out[4 * i] = table[k];
    out[4 * i + 1] = table[k + 1];
    out[4 * i + 2] = table[k + 2];
    out[4 * i + 3] = 255;
  }
  return out;
}

/** RGB bytes as opaque RGBA. */
export function opaque(rgb) {
  const out = new Uint8ClampedArray((rgb.length / 3) * 4);
  for (let i = 0, j = 0; i < rgb.length; i += 3, j += 4) {
    out[j] = rgb[i];
    out[j + 1] = rgb[i + 1];
    out[j + 2] = rgb[i + 2];
    out[j + 3] = 255;
  }
  return out;
}

/** The value below which a share of the finite values lies, from 10,000 of them at most. */
export function quantile(values, share) {
  const step = Math.max(1, Math.floor(values.length / 10_000));
  const sample = [];
  for (let i = 0; i < values.length; i += step) if (Number.isFinite(values[i])) sample.push(values[i]);
  if (!sample.length) return 0;
  return Float32Array.from(sample).sort()[Math.floor(share * (sample.length - 1))];
}

/** Draw a scale from left to right over a canvas. */
export function drawScale(canvas, scale) {
  const context = canvas.getContext("2d");
  const strip = context.createImageData(256, 1);
  for (let i = 0; i < 256; i++) {
    strip.data.set(TABLES[scale].subarray(3 * i, 3 * i + 3), 4 * i);
    strip.data[4 * i + 3] = 255;
  }
  [canvas.width, canvas.height] = [256, 1];
  context.putImageData(strip, 0, 0);
}
