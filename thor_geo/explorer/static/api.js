// Requests to the server, and the arrays in its answers (thor_geo/explorer/frames.py).

const TYPES = {
  float32: Float32Array,
  float64: Float64Array,
  int32: Int32Array,
  uint8: Uint8Array,
  uint32: Uint32Array,
};

async function post(question, values, signal) {
  const answer = await fetch(`api/${question}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(values),
    signal,
  });
  if (!answer.ok) {
    const problem = await answer.json().catch(() => ({}));
    throw new Error(problem.error ?? `The server answered ${answer.status}.`);
  }
  return answer;
}

/** Ask for JSON. */
export async function ask(question, values = {}) {
  return (await post(question, values)).json();
}

/** Ask for arrays: an object of the header's values and one typed array for each name. */
export async function askArrays(question, values = {}, signal = undefined) {
  const buffer = await (await post(question, values, signal)).arrayBuffer();
  const length = new DataView(buffer).getUint32(0, true);
  const start = 4 + length;
  const { arrays, ...header } = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  for (const { name, dtype, offset, n } of arrays) {
    header[name] = new TYPES[dtype](buffer, start + offset, n);
  }
  return header;
}

/** Ask for a picture, drawn on a canvas of its own; null where there are no pixels. */
export async function askPicture(question, values, signal) {
  const { width, height, rgba } = await askArrays(question, values, signal);
  if (!width) return null;
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const pixels = new ImageData(new Uint8ClampedArray(rgba.buffer, rgba.byteOffset, rgba.length), width, height);
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  return canvas;
}

/** Ask for a file, and hand it to the browser's downloads. */
export async function download(values) {
  const answer = await post("download", values);
  const name = /filename="([^"]+)"/.exec(answer.headers.get("Content-Disposition"))[1];
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await answer.blob());
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  return name;
}
