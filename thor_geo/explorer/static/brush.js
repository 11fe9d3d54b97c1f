// Clicks and strokes on the map.

// A pointer that moved less was held still, pixels.
const STILL = 4;
// Points of a brush that are looked at, at most.
const MOST = 400;

/**
 * Tell of clicks, and of strokes while a brush is in use.
 * @param {import("./map.js").MapView} view
 * @param {{painting: () => boolean, click: (x: number, y: number) => void,
 *   begin: () => void, stroke: (points: number[][]) => void, end: () => void,
 *   hover: (x: number | null, y?: number) => void}} told
 */
export function listen(view, told) {
  const element = view.leaflet.getContainer();
  const at = (event) => {
    const box = element.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const onControl = (event) => event.target.closest(".leaflet-control") !== null;
  let down = null;
  let painting = false;

  element.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || onControl(event)) return;
    down = at(event);
    painting = told.painting();
    if (!painting) return;
    element.setPointerCapture(event.pointerId);
    told.begin();
    told.stroke([down]);
  });
  element.addEventListener("pointermove", (event) => {
    element.classList.remove("keys");
    const point = at(event);
    told.hover(...(onControl(event) ? [null] : point));
    if (!painting || !down) return;
    // A fast pointer leaves gaps.
    const steps = Math.max(1, Math.ceil(Math.hypot(point[0] - down[0], point[1] - down[1]) / 3));
    const between = (k) => [0, 1].map((i) => down[i] + ((point[i] - down[i]) * k) / steps);
    told.stroke(Array.from({ length: steps }, (_, k) => between(k + 1)));
    down = point;
  });
  element.addEventListener("pointerup", (event) => {
    if (painting) told.end();
    else if (down && Math.hypot(at(event)[0] - down[0], at(event)[1] - down[1]) < STILL) told.click(...down);
    [down, painting] = [null, false];
  });
  element.addEventListener("pointercancel", () => {
    if (painting) told.end();
    [down, painting] = [null, false];
  });
  element.addEventListener("pointerleave", () => told.hover(null));
  element.addEventListener("keydown", (event) => {
    // Where Enter clicks is shown to who moves the map by keys.
    if (event.key.startsWith("Arrow") || event.key === "Enter") element.classList.add("keys");
    if (event.key !== "Enter" || event.target !== element) return;
    event.preventDefault();
    const middle = [view.width / 2, view.height / 2];
    if (!told.painting()) return told.click(...middle);
    told.begin();
    told.stroke([middle]);
    told.end();
  });
}

/** The places under a round brush at some points of the map; radius in pixels, 0 for a point. */
export function under(view, places, points, radius) {
  const found = new Set();
  const spacing = Math.max(2, radius * Math.sqrt(Math.PI / MOST));
  for (const [x, y] of points) {
    for (let dy = -radius; dy <= radius; dy += spacing) {
      for (let dx = -radius; dx <= radius; dx += spacing) {
        if (dx * dx + dy * dy > radius * radius) continue;
        const place = places.find(...view.mercator(x + dx, y + dy));
        if (place >= 0) found.add(place);
      }
    }
    if (radius) {
      const place = places.find(...view.mercator(x, y));
      if (place >= 0) found.add(place);
    }
  }
  return found;
}
