// The places of a table: points in web Mercator, and dots that show them, however many there are.

// Most columns and rows of the index, and points in a cell of it where they are spread evenly.
const MOST = 1024;
const PER_CELL = 8;
// How far from a point, in pixels, a pointer still means it.
const REACH = 10;
const RADIUS_OF_EARTH = 6378137;

export class Points {
  constructor(answer) {
    Object.assign(this, answer);
    const { x, y, n } = this;
    this.main = new Uint8Array(n).fill(1);
    this.extent = [Infinity, Infinity, -Infinity, -Infinity];
    for (let i = 0; i < n; i++) {
      if (x[i] < this.extent[0]) this.extent[0] = x[i];
      if (y[i] < this.extent[1]) this.extent[1] = y[i];
      if (x[i] > this.extent[2]) this.extent[2] = x[i];
      if (y[i] > this.extent[3]) this.extent[3] = y[i];
    }
    const [west, south, east, north] = this.extent;
    this.cells = Math.max(1, Math.min(MOST, Math.ceil(Math.sqrt(n / PER_CELL))));
    this.across = Math.max(east - west, 1) / this.cells;
    this.down = Math.max(north - south, 1) / this.cells;
    // A counting sort: the points of a cell are `order` from its start to that of the next cell.
    const cell = new Uint32Array(n);
    this.start = new Uint32Array(this.cells ** 2 + 1);
    for (let i = 0; i < n; i++) {
      cell[i] = this.row(y[i]) * this.cells + this.col(x[i]);
      this.start[cell[i] + 1]++;
    }
    for (let c = 0; c < this.cells ** 2; c++) this.start[c + 1] += this.start[c];
    const next = this.start.slice();
    this.order = new Uint32Array(n);
    for (let i = 0; i < n; i++) this.order[next[cell[i]]++] = i;
    // In that order, too: a frame reads a million of them, one after the other.
    this.sorted = { x: Float64Array.from(this.order, (i) => x[i]), y: Float64Array.from(this.order, (i) => y[i]) };
  }

  col(x) {
    return Math.max(0, Math.min(this.cells - 1, Math.floor((x - this.extent[0]) / this.across)));
  }

  row(y) {
    return Math.max(0, Math.min(this.cells - 1, Math.floor((y - this.extent[1]) / this.down)));
  }

  /** First and end in `order`, row by row of the index, of the cells that meet a box. */
  *runs(west, south, east, north) {
    const [left, right] = [this.col(west), this.col(east)];
    for (let row = this.row(south); row <= this.row(north); row++) {
      yield [this.start[row * this.cells + left], this.start[row * this.cells + right + 1]];
    }
  }

  /** West, south, east, north of all places, with the ground of a chip around them. */
  get box() {
    const room = this.chip(this.extent[3]);
    const [west, south, east, north] = this.extent;
    return [west - room, south - room, east + room, north + room];
  }

  /** Side of a chip in metres of Mercator, which stretches everything by 1 / cos(latitude). */
  chip(y) {
    return this.side_m * Math.cosh(y / RADIUS_OF_EARTH);
  }

  /** Area of a chip, for how far to zoom in. */
  get km2() {
    return (this.side_m / 1000) ** 2;
  }

  centre(place) {
    return [this.x[place], this.y[place]];
  }

  /** The corners of a place's chip, clockwise from the north-west; its zone's north is not turned. */
  corners(place) {
    const [x, y] = this.centre(place);
    const half = this.chip(y) / 2;
    return [[x - half, y + half], [x + half, y + half], [x + half, y - half], [x - half, y - half]];
  }

  /** The place nearest to a point and not farther than some metres of Mercator, or -1. */
  nearest(px, py, reach) {
    let [best, found] = [reach * reach, -1];
    for (const [from, end] of this.runs(px - reach, py - reach, px + reach, py + reach)) {
      for (let k = from; k < end; k++) {
        const i = this.order[k];
        const d = (this.x[i] - px) ** 2 + (this.y[i] - py) ** 2;
        // Of places at one point, the first.
        if (d < best || (d === best && i < found)) [best, found] = [d, i];
      }
    }
    return found;
  }

  /** The place under a point, -1 where there is none; *scale* is pixels for a metre of Mercator. */
  find(px, py, scale) {
    return this.nearest(px, py, REACH / scale);
  }

  /** All places within a distance of a point. */
  around(px, py, reach) {
    const found = [];
    for (const [from, end] of this.runs(px - reach, py - reach, px + reach, py + reach)) {
      for (let k = from; k < end; k++) {
        const i = this.order[k];
        if ((this.x[i] - px) ** 2 + (this.y[i] - py) ** 2 <= reach * reach) found.push(i);
      }
    }
    return found;
  }
}

/** Offsets of a disc's pixels: dx, dy, and whether a pixel is on its edge. */
function disc(radius) {
  const pixels = [];
  const reach = Math.ceil(radius);
  for (let dy = -reach; dy <= reach; dy++) {
    for (let dx = -reach; dx <= reach; dx++) {
      const far = Math.hypot(dx, dy);
      if (far <= radius) pixels.push(dx, dy, radius > 2 && far > radius - 1 ? 1 : 0);
    }
  }
  return Int16Array.from(pixels);
}

/** A picture of values of places: each is a dot, and of those that would hide each other one. */
export class Dots {
  constructor(places) {
    this.places = places;
    this.canvas = document.createElement("canvas");
  }

  /** Paint places with RGBA, four bytes each; transparent ones have no dot. */
  paint(rgba) {
    this.rgba = new Uint32Array(rgba.buffer, rgba.byteOffset, this.places.n);
    return this;
  }

  /** Radius of a dot in pixels: the more places are in sight, the smaller. */
  static radius(seen) {
    return Math.max(2, 6.5 - 0.8 * Math.log10(Math.max(1, seen / 10)));
  }

  draw(view, context, alpha) {
    const { places, canvas, rgba } = this;
    const { ratio } = view;
    const [width, height] = [view.canvas.width, view.canvas.height];
    if (canvas.width !== width || canvas.height !== height || !this.image) {
      [canvas.width, canvas.height] = [width, height];
      this.image = canvas.getContext("2d").createImageData(width, height);
    }
    const pixels = new Uint32Array(this.image.data.buffer);
    pixels.fill(0);
    const [east, south] = view.mercator(view.width, view.height);
    const [west, north] = [view.left, view.top];
    const runs = [...places.runs(west, south, east, north)];
    this.seen = runs.reduce((sum, [from, end]) => sum + end - from, 0);
    const radius = Dots.radius(this.seen);
    const stamp = disc(radius * ratio);
    // Squares that hold one dot hang from the map, not from the window: a dot stays when it moves.
    const scale = view.scale * ratio;
    const side = 1.2 * radius * ratio;
    const [col0, row0] = [Math.floor((west * scale) / side), Math.floor((-north * scale) / side)];
    const columns = Math.ceil(width / side) + 2;
    const taken = new Uint8Array(columns * (Math.ceil(height / side) + 2));
    const { sorted, order } = places;
    const [dx, dy] = [(west * scale) / side - col0, (-north * scale) / side - row0];
    this.drawn = 0;
    for (const [from, end] of runs) {
      for (let k = from; k < end; k++) {
        const fx = (sorted.x[k] - west) * scale;
        const fy = (north - sorted.y[k]) * scale;
        if (fx < 0 || fy < 0 || fx >= width || fy >= height) continue;
        // Numbers are positive here, of which `| 0` takes the whole part.
        const at = ((fy / side + dy) | 0) * columns + ((fx / side + dx) | 0);
        if (taken[at]) continue;
        const colour = rgba[order[k]];
        if (!colour) continue;
        taken[at] = 1;
        this.drawn++;
        const [px, py] = [fx | 0, fy | 0];
        // Half as bright, and opaque: a rim that separates dots of like colours.
        const rim = (((colour >>> 1) & 0x7f7f7f) | 0xff000000) >>> 0;
        for (let s = 0; s < stamp.length; s += 3) {
          const cx = px + stamp[s];
          const cy = py + stamp[s + 1];
          if (cx < 0 || cy < 0 || cx >= width || cy >= height) continue;
          pixels[cy * width + cx] = stamp[s + 2] ? rim : colour;
        }
      }
    }
    canvas.getContext("2d").putImageData(this.image, 0, 0);
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.globalAlpha = alpha;
    context.drawImage(canvas, 0, 0);
  }
}
