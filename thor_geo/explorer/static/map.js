// The map: Leaflet moves it, and one canvas over it is repainted at every movement.

const L = window.L;
const { SphericalMercator } = L.Projection;
// Places narrower than this on the screen, in pixels, are marked with a dot.
const SMALL = 9;
// A patch wider than this, in pixels, is drawn in parts, because it is bent.
const PART = 200;

export class MapView {
  /** @param {HTMLElement} element */
  constructor(element) {
    this.leaflet = L.map(element, {
      attributionControl: false,
      zoomAnimation: false,
      fadeAnimation: false,
      zoomSnap: 0.25,
      zoomDelta: 0.5,
      wheelPxPerZoomLevel: 100,
      doubleClickZoom: false,
      boxZoom: false,
      minZoom: 1,
      maxZoom: 19,
      zoomControl: false,
    });
    L.control.zoom({ position: "topleft" }).addTo(this.leaflet);
    L.control.scale({ imperial: false, position: "bottomright", maxWidth: 140 }).addTo(this.leaflet);
    this.canvas = document.createElement("canvas");
    this.canvas.className = "map-canvas";
    element.append(this.canvas);
    this.scratch = document.createElement("canvas");
    /** Called with the context and this view, one after the other. */
    this.layers = [];
    this.leaflet.on("move zoom resize viewreset", () => this.redraw());
    this.waiting = 0;
    /** Told after every frame. */
    this.onDrawn = () => {};
  }

  /** Show west, south, east, north of web Mercator. */
  fit([west, south, east, north]) {
    const corner = (x, y) => SphericalMercator.unproject(L.point(x, y));
    this.leaflet.fitBounds([corner(west, south), corner(east, north)], { padding: [24, 24], animate: false });
  }

  /** Move to a point of web Mercator, and nearer if a place would be too small there to be seen. */
  go([x, y], metres) {
    const zoom = Math.max(this.leaflet.getZoom(), Math.log2((24 / metres) * ((2 * Math.PI * SphericalMercator.R) / 256)));
    this.leaflet.setView(SphericalMercator.unproject(L.point(x, y)), Math.min(zoom, 19), { animate: false });
  }

  redraw() {
    if (!this.waiting) this.waiting = requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.waiting = 0;
    const size = this.leaflet.getSize();
    const ratio = window.devicePixelRatio || 1;
    const { canvas } = this;
    if (canvas.width !== Math.round(size.x * ratio) || canvas.height !== Math.round(size.y * ratio)) {
      [canvas.width, canvas.height] = [Math.round(size.x * ratio), Math.round(size.y * ratio)];
    }
    const centre = SphericalMercator.project(this.leaflet.getCenter());
    /** Pixels for a metre of Mercator, and the point at the upper left corner. */
    this.scale = (256 * 2 ** this.leaflet.getZoom()) / (2 * Math.PI * SphericalMercator.R);
    this.left = centre.x - size.x / 2 / this.scale;
    this.top = centre.y + size.y / 2 / this.scale;
    this.width = size.x;
    this.height = size.y;
    this.ratio = ratio;
    const context = canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    for (const layer of this.layers) {
      context.save();
      layer(context, this);
      context.restore();
    }
    this.onDrawn();
  }

  /** Pixels on the map of a point of Mercator. */
  screen([x, y]) {
    return [(x - this.left) * this.scale, (this.top - y) * this.scale];
  }

  /** The point of Mercator under a pixel of the map. */
  mercator(x, y) {
    return [this.left + x / this.scale, this.top - y / this.scale];
  }

  /** Longitude and latitude of a point of Mercator. */
  lonlat([x, y]) {
    const { lng, lat } = SphericalMercator.unproject(L.point(x, y));
    return [((((lng + 180) % 360) + 360) % 360) - 180, lat];
  }

  /** Patches that are in sight, in the order to be drawn. */
  *inSight(places) {
    const [east, south] = this.mercator(this.width, this.height);
    for (let p = 0, b = 0; p < places.patches; p++, b += 4) {
      const { boxes } = places;
      if (boxes[b] < east && boxes[b + 2] > this.left && boxes[b + 1] < this.top && boxes[b + 3] > south) yield p;
    }
  }

  /** How wide a patch is on the screen, pixels. */
  breadth(places, patch) {
    return (places.boxes[4 * patch + 2] - places.boxes[4 * patch]) * this.scale;
  }

  /**
   * Draw a square image over a patch.
   * @param {CanvasImageSource} image
   * @param {[number, number]} corner Its upper left pixel in the image.
   * @param {number} side Its pixels a side.
   */
  drawPatch(context, places, patch, image, [left, top], side) {
    const parts = Math.max(1, Math.min(side, Math.ceil(this.breadth(places, patch) / PART)));
    const cuts = Array.from({ length: parts + 1 }, (_, k) => Math.floor((k * side) / parts));
    const points = cuts.map((row) => cuts.map((col) => this.screen(places.point(patch, col / side, row / side))));
    for (let i = 0; i < parts; i++) {
      for (let j = 0; j < parts; j++) {
        const [nw, ne, sw, se] = [points[i][j], points[i][j + 1], points[i + 1][j], points[i + 1][j + 1]];
        const xs = [nw[0], ne[0], sw[0], se[0]];
        const ys = [nw[1], ne[1], sw[1], se[1]];
        if (Math.max(...xs) < 0 || Math.min(...xs) > this.width) continue;
        if (Math.max(...ys) < 0 || Math.min(...ys) > this.height) continue;
        const [columns, rows] = [cuts[j + 1] - cuts[j], cuts[i + 1] - cuts[i]];
        // The parallelogram nearest to the four corners.
        const a = (ne[0] - nw[0] + se[0] - sw[0]) / 2 / columns;
        const b = (ne[1] - nw[1] + se[1] - sw[1]) / 2 / columns;
        const c = (sw[0] - nw[0] + se[0] - ne[0]) / 2 / rows;
        const d = (sw[1] - nw[1] + se[1] - ne[1]) / 2 / rows;
        const x = (xs[0] + xs[1] + xs[2] + xs[3]) / 4 - (a * columns + c * rows) / 2;
        const y = (ys[0] + ys[1] + ys[2] + ys[3]) / 4 - (b * columns + d * rows) / 2;
        const r = this.ratio;
        context.setTransform(a * r, b * r, c * r, d * r, x * r, y * r);
        // Half a pixel more on each side hides the seams between patches.
        const [m, n] = [0.5 / Math.hypot(a, b) / r, 0.5 / Math.hypot(c, d) / r];
        context.drawImage(image, left + cuts[j], top + cuts[i], columns, rows, -m, -n, columns + 2 * m, rows + 2 * n);
      }
    }
  }

  /** Draw an atlas. */
  drawAtlas(context, atlas, alpha = 1) {
    if (atlas.draw) return atlas.draw(this, context, alpha);
    if (alpha < 1) {
      // As a whole: drawn one by one, overlapping patches would be less transparent.
      const { scratch, canvas } = this;
      [scratch.width, scratch.height] = [canvas.width, canvas.height];
      this.drawAtlas(scratch.getContext("2d"), atlas);
      context.globalAlpha = alpha;
      context.drawImage(scratch, 0, 0);
      return;
    }
    context.imageSmoothingEnabled = false;
    for (const patch of this.inSight(atlas.places)) {
      this.drawPatch(context, atlas.places, patch, atlas.canvas, atlas.corner(patch), atlas.places.side);
    }
  }

  /**
   * Outline a place and write a word into it. Where it is small, mark it with a ring, or with a dot
   * of a radius, which leaves more of the map to be seen among many. A place of a table is a ring,
   * unless its chip is asked for.
   */
  outline(context, places, place, { colour, width = 2, word = "", dot = 0, chip = false, halo = "rgba(10, 20, 30, .85)" }) {
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    const corners = places.corners(place).map((corner) => this.screen(corner));
    const [x, y] = this.screen(places.centre(place));
    if (x < -50 || y < -50 || x > this.width + 50 || y > this.height + 50) return;
    const ring = places.points && !chip;
    const breadth = ring ? 0 : Math.hypot(corners[1][0] - corners[0][0], corners[1][1] - corners[0][1]);
    context.beginPath();
    if (dot && breadth < SMALL) {
      context.arc(x, y, dot, 0, 2 * Math.PI);
      context.fillStyle = halo;
      context.fill();
      return;
    }
    if (breadth < SMALL) {
      context.arc(x, y, (places.points ? 6 : 4) + width / 2, 0, 2 * Math.PI);
    } else {
      corners.forEach((corner, k) => (k ? context.lineTo(...corner) : context.moveTo(...corner)));
      context.closePath();
    }
    context.lineJoin = "round";
    for (const [style, line] of [[halo, width + 2.5], [colour, width]]) {
      [context.strokeStyle, context.lineWidth] = [style, line];
      context.stroke();
    }
    // Beside a ring, where that is all of a place that there is to see.
    const beside = places.points && breadth <= 18 ? 12 : 0;
    if (word && (beside || breadth > 18)) {
      context.font = "600 11px system-ui, sans-serif";
      [context.textAlign, context.textBaseline] = ["center", "middle"];
      [context.strokeStyle, context.lineWidth] = [halo, 3];
      context.strokeText(word, x + beside, y - beside);
      context.fillStyle = colour;
      context.fillText(word, x + beside, y - beside);
    }
  }
}
