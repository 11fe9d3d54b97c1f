// The composite: pictures of the visible shards, at the resolution of the screen.

import { ask, askPicture } from "./api.js";

const SIDES = [32, 64, 128, 256, 512, 1024];
// Least width of a shard on the screen, in pixels, to be drawn: or hundreds would be read at once.
const LEAST = 24;
const AT_ONCE = 3;
// Pixels to keep of shards that are out of sight.
const KEPT = 32e6;

export class Composite {
  constructor(view) {
    this.view = view;
    /** closed, opening, ready or missing. */
    this.state = "closed";
    this.why = "";
    /** By shard: the side it was asked with, and the canvas; null where there are no pixels. */
    this.pictures = new Map();
    this.asked = new Set();
    this.onChange = () => {};
  }

  /** Open the composites, and wait until they are there or known to be unreadable. */
  async open() {
    for (;;) {
      const { state, why } = await ask("composite");
      [this.state, this.why] = [state, why];
      this.onChange();
      if (state === "ready" || state === "missing") return;
      await new Promise((go) => setTimeout(go, 400));
    }
  }

  /** Draw what is there, and ask for what is not. */
  draw(context, places) {
    const { view } = this;
    context.imageSmoothingEnabled = true;
    const wanted = [];
    const seen = new Set();
    this.tooSmall = false;
    for (const patch of view.inSight(places)) {
      const shard = places.shard[patch];
      if (seen.has(shard)) continue;
      seen.add(shard);
      const found = this.pictures.get(shard);
      if (found?.canvas) view.drawPatch(context, places, patch, found.canvas, [0, 0], found.canvas.width);
      const breadth = view.breadth(places, patch) * view.ratio;
      if (breadth < LEAST) {
        this.tooSmall = true;
        continue;
      }
      const side = SIDES.find((one) => one >= breadth) ?? SIDES.at(-1);
      if (!found || (found.canvas && found.side < side)) {
        const [x, y] = view.screen(places.point(patch, 0.5, 0.5));
        wanted.push({ shard, side, far: Math.hypot(x - view.width / 2, y - view.height / 2) });
      }
    }
    this.wanted = wanted.sort((a, b) => a.far - b.far);
    this.forget(seen);
    this.next();
  }

  /** Ask for those in the middle first. */
  next() {
    while (this.state === "ready" && this.asked.size < AT_ONCE) {
      const one = this.wanted?.find(({ shard }) => !this.asked.has(shard));
      if (!one) return;
      this.wanted.splice(this.wanted.indexOf(one), 1);
      this.asked.add(one.shard);
      askPicture("picture", { shard: one.shard, side: one.side })
        .then((canvas) => this.pictures.set(one.shard, { side: one.side, canvas }))
        .catch((error) => {
          [this.state, this.why] = ["missing", error.message];
          this.onChange();
        })
        .finally(() => {
          this.asked.delete(one.shard);
          this.view.redraw();
        });
    }
  }

  forget(seen) {
    let pixels = 0;
    for (const { canvas } of this.pictures.values()) pixels += canvas ? canvas.width ** 2 : 0;
    for (const [shard, { canvas }] of this.pictures) {
      if (pixels <= KEPT) return;
      if (seen.has(shard)) continue;
      pixels -= canvas ? canvas.width ** 2 : 0;
      this.pictures.delete(shard);
    }
  }
}
