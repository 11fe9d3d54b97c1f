// Clicks and strokes on the map.

// A pointer that moves less than this, in pixels, clicks.
const STILL = 4;
// Most points of a brush that are looked up.
const MOST = 400;

/**
 * Tell of clicks, and of strokes while a brush is in use.
 * @param {import("./map.js").MapView} view
 * @param {{painting: () => boolean, click: (x: number, y: number) => void,
 *   begin: () => void, stroke: (points: number[][]) => void, end: () => void,
 *   hover: (x: number | null, y?: number) => void}} handlers
 */
export function listen(view, handlers) {
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
    painting = handlers.painting();
    if (!painting) return;
    element.setPointerCapture(event.pointerId);
    handlers.begin();
    handlers.stroke([down]);
  });
  element.addEventListener("pointermove", (event) => {
    element.classList.remove("keys");
    const point = at(event);
    handlers.hover(...(onControl(event) ? [null] : point));
    if (!painting || !down) return;
    // Fills the gaps that a fast pointer leaves.
    const steps = Math.max(1, Math.ceil(Math.hypot(point[0] - down[0], point[1] - down[1]) / 3));
    const between = (k) => [0, 1].map((i) => down[i] + ((point[i] - down[i]) * k) / steps);
    handlers.stroke(Array.from({ length: steps }, (_, k) => between(k + 1)));
    down = point;
  });
  element.addEventListener("pointerup", (event) => {
    if (painting) handlers.end();
    else if (down && Math.hypot(at(event)[0] - down[0], at(event)[1] - down[1]) < STILL) handlers.click(...down);
    [down, painting] = [null, false];
  });
  element.addEventListener("pointercancel", () => {
    if (painting) handlers.end();
    [down, painting] = [null, false];
  });
  element.addEventListener("pointerleave", () => handlers.hover(null));
  element.addEventListener("keydown", (event) => {
    // Shows where Enter clicks when the map is moved by keys.
    if (event.key.startsWith("Arrow") || event.key === "Enter") element.classList.add("keys");
    if (event.key !== "Enter" || event.target !== element) return;
    event.preventDefault();
    const middle = [view.width / 2, view.height / 2];
    if (!handlers.painting()) return handlers.click(...middle);
    handlers.begin();
    handlers.stroke([middle]);
    handlers.end();
  });
}

/** The places under a round brush at some points of the map; radius in pixels, 0 for a point. */
export function under(view, places, points, radius) {
  const found = new Set();
  if (places.around && radius) {
    for (const [x, y] of points) {
      for (const place of places.around(...view.mercator(x, y), radius / view.scale)) found.add(place);
    }
    return found;
  }
  const spacing = Math.max(2, radius * Math.sqrt(Math.PI / MOST));
  for (const [x, y] of points) {
    for (let dy = -radius; dy <= radius; dy += spacing) {
      for (let dx = -radius; dx <= radius; dx += spacing) {
        if (dx * dx + dy * dy > radius * radius) continue;
        const place = places.find(...view.mercator(x + dx, y + dy), view.scale);
        if (place >= 0) found.add(place);
      }
    }
    if (radius) {
      const place = places.find(...view.mercator(x, y), view.scale);
      if (place >= 0) found.add(place);
    }
  }
  return found;
}
