// Positions of places. A shard is a square in its UTM zone and slightly bent on the map: nine of its
// points are known in web Mercator, and a biquadratic through them is exact to millimetres.

/** Weights of the three points of an edge at 0, 1/2 and 1. */
const weights = (t) => [(2 * t - 1) * (t - 1), 4 * t * (1 - t), t * (2 * t - 1)];

/** The places of one unit. A patch is a shard's raster of `side` x `side` places. */
export class Places {
  constructor(answer) {
    Object.assign(this, answer);
    const { side, shard, mesh, n } = this;
    this.patches = shard.length;
    const area = side * side;
    /** Place of each pixel of each patch, -1 where there is none. */
    this.at = new Int32Array(this.patches * area).fill(-1);
    for (let i = 0; i < n; i++) this.at[this.patch[i] * area + this.pixel[i]] = i;
    /** West, south, east, north of each patch, with room for its bent edges. */
    this.boxes = new Float64Array(this.patches * 4);
    for (let p = 0; p < this.patches; p++) {
      const box = [Infinity, Infinity, -Infinity, -Infinity];
      for (let k = 18 * p; k < 18 * (p + 1); k += 2) {
        box[0] = Math.min(box[0], mesh[k]);
        box[1] = Math.min(box[1], mesh[k + 1]);
        box[2] = Math.max(box[2], mesh[k]);
        box[3] = Math.max(box[3], mesh[k + 1]);
      }
      const room = (box[2] - box[0]) * 0.01;
      this.boxes.set([box[0] - room, box[1] - room, box[2] + room, box[3] + room], 4 * p);
    }
    this.last = 0;
  }

  /** West, south, east, north of all places. */
  get box() {
    const box = [Infinity, Infinity, -Infinity, -Infinity];
    const { side } = this;
    for (let p = 0; p < this.patches; p++) {
      // First and end of the columns and rows of the patch that have a place.
      const used = [side, side, 0, 0];
      for (let k = 0; k < side * side; k++) {
        if (this.at[p * side * side + k] < 0) continue;
        const [col, row] = [k % side, Math.floor(k / side)];
        used[0] = Math.min(used[0], col);
        used[1] = Math.min(used[1], row);
        used[2] = Math.max(used[2], col + 1);
        used[3] = Math.max(used[3], row + 1);
      }
      for (const [i, j] of [[0, 1], [0, 3], [2, 1], [2, 3]]) {
        const [x, y] = this.point(p, used[i] / side, used[j] / side);
        box[0] = Math.min(box[0], x);
        box[1] = Math.min(box[1], y);
        box[2] = Math.max(box[2], x);
        box[3] = Math.max(box[3], y);
      }
    }
    return box;
  }

  /** Mercator x and y of a point of a patch: u from west to east, v from north to south, 0 to 1. */
  point(patch, u, v) {
    const a = weights(u);
    const b = weights(v);
    let [x, y] = [0, 0];
    for (let i = 0; i < 3; i++) {
      for (let j = 0; j < 3; j++) {
        const k = 18 * patch + 6 * i + 2 * j;
        x += a[j] * b[i] * this.mesh[k];
        y += a[j] * b[i] * this.mesh[k + 1];
      }
    }
    return [x, y];
  }

  /** The corners of a place, clockwise from the north-west. */
  corners(place) {
    const [patch, pixel, side] = [this.patch[place], this.pixel[place], this.side];
    const [col, row] = [pixel % side, Math.floor(pixel / side)];
    return [[0, 0], [1, 0], [1, 1], [0, 1]].map(([c, r]) => this.point(patch, (col + c) / side, (row + r) / side));
  }

  /** Mercator x and y of a place's centre. */
  centre(place) {
    const [pixel, side] = [this.pixel[place], this.side];
    return this.point(this.patch[place], ((pixel % side) + 0.5) / side, (Math.floor(pixel / side) + 0.5) / side);
  }

  /** The place at a point, -1 where there is none. Those in their zone's own strip go first. */
  find(x, y) {
    let found = this.findIn(this.last, x, y);
    if (found >= 0 && this.main[found]) return found;
    for (let p = this.patches - 1; p >= 0; p--) {
      found = this.findIn(p, x, y);
      if (found >= 0) {
        this.last = p;
        return found;
      }
    }
    return -1;
  }

  findIn(patch, x, y) {
    const b = 4 * patch;
    const { boxes, side } = this;
    if (x < boxes[b] || y < boxes[b + 1] || x > boxes[b + 2] || y > boxes[b + 3]) return -1;
    // Newton's method from the middle; a shard is nearly a parallelogram.
    let [u, v] = [0.5, 0.5];
    for (let turn = 0; turn < 3; turn++) {
      const [px, py] = this.point(patch, u, v);
      const d = 1e-3;
      const [ux, uy] = this.point(patch, u + d, v);
      const [vx, vy] = this.point(patch, u, v + d);
      const [a, c, e, f] = [(ux - px) / d, (vx - px) / d, (uy - py) / d, (vy - py) / d];
      const determinant = a * f - c * e;
      u += (f * (x - px) - c * (y - py)) / determinant;
      v += (a * (y - py) - e * (x - px)) / determinant;
    }
    if (u < 0 || v < 0 || u >= 1 || v >= 1) return -1;
    return this.at[patch * side * side + Math.floor(v * side) * side + Math.floor(u * side)];
  }
}

/** A picture of values of places: every patch has its square of pixels in one canvas. */
export class Atlas {
  constructor(places) {
    this.places = places;
    this.columns = Math.ceil(Math.sqrt(places.patches));
    this.canvas = document.createElement("canvas");
    this.canvas.width = this.columns * places.side;
    this.canvas.height = Math.ceil(places.patches / this.columns) * places.side;
  }

  /** Paint places with RGBA, four bytes each. */
  paint(rgba) {
    const { places, columns, canvas } = this;
    const { side, patch, pixel, n } = places;
    const context = canvas.getContext("2d");
    const image = context.createImageData(canvas.width, canvas.height);
    const from = new Uint32Array(rgba.buffer, rgba.byteOffset, n);
    const to = new Uint32Array(image.data.buffer);
    for (let i = 0; i < n; i++) {
      const row = Math.floor(patch[i] / columns) * side + Math.floor(pixel[i] / side);
      const col = (patch[i] % columns) * side + (pixel[i] % side);
      to[row * canvas.width + col] = from[i];
    }
    context.putImageData(image, 0, 0);
    return this;
  }

  /** Column and row of a patch's upper left pixel. */
  corner(patch) {
    return [(patch % this.columns) * this.places.side, Math.floor(patch / this.columns) * this.places.side];
  }
}
