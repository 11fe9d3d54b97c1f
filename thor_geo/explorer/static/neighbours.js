// The list of the most similar places, with small pictures.

import { askPicture } from "./api.js";

const THUMBNAIL = 128;

/**
 * Fill the list.
 * @param {HTMLElement} list
 * @param {{place: number, lon: number, lat: number, id: string | null, cosine: number}[]} neighbours
 * @param {{unit: string, places: object, pictures: boolean, signal: AbortSignal,
 *   go: (place: number) => void, failed: (error: Error) => void}} how
 */
export async function fill(list, neighbours, { unit, places, pictures, signal, go, failed }) {
  const canvases = neighbours.map(() => document.createElement("canvas"));
  list.replaceChildren(
    ...neighbours.map((one, k) => {
      const item = document.createElement("li");
      const button = document.createElement("button");
      button.type = "button";
      button.dataset.place = one.place;
      const part = (name, text) => {
        const span = document.createElement("span");
        [span.className, span.textContent] = [name, text];
        return span;
      };
      const where = part("where", `${degrees(one.lat, "N", "S")} ${degrees(one.lon, "E", "W")}`);
      // A place of a table has its own words: its id, and the values of its columns.
      if (one.label) where.prepend(part("label", one.label));
      if (one.id) button.title = one.id;
      paintColour(canvases[k], places.rgb.subarray(3 * one.place, 3 * one.place + 3));
      button.append(part("rank", k + 1), canvases[k], where, part("cosine", one.cosine.toFixed(4)));
      button.addEventListener("click", () => {
        for (const other of list.querySelectorAll(".current")) other.classList.remove("current");
        button.classList.add("current");
        go(one.place);
      });
      item.append(button);
      return item;
    }),
  );
  list.scrollTop = 0;
  if (!pictures) return;
  try {
    for (const [k, one] of neighbours.entries()) {
      const picture = await askPicture("thumbnail", { unit, place: one.place, side: THUMBNAIL }, signal);
      if (!picture) continue;
      [canvases[k].width, canvases[k].height] = [THUMBNAIL, THUMBNAIL];
      canvases[k].getContext("2d").drawImage(picture, 0, 0);
    }
  } catch (error) {
    // Another place has been clicked meanwhile.
    if (error.name !== "AbortError") failed(error);
  }
}

/** Degrees with four decimals, 11 m on the ground, and the half of the Earth. */
export function degrees(value, above, below) {
  return `${Math.abs(value).toFixed(4)}° ${value < 0 ? below : above}`;
}

function paintColour(canvas, [red, green, blue]) {
  [canvas.width, canvas.height] = [1, 1];
  const context = canvas.getContext("2d");
  context.fillStyle = `rgb(${red}, ${green}, ${blue})`;
  context.fillRect(0, 0, 1, 1);
}
