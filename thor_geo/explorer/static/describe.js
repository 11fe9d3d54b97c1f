// What is known of a place of a table: beside the pointer, and on a card when it is clicked.

import { ask, askPicture } from "./api.js";

const SIDE = 256;
// Milliseconds that a pointer rests before a place is asked about.
const REST = 60;
// Places whose description is kept.
const KEPT = 500;

/** Asks about places once, and about one under a moving pointer when it rests. */
export class Descriptions {
  constructor() {
    this.known = new Map();
    this.waiting = 0;
  }

  key(unit, place) {
    return `${unit} ${place}`;
  }

  /** What is known already, or undefined. */
  get(unit, place) {
    return this.known.get(this.key(unit, place));
  }

  keep(unit, one) {
    if (this.known.size >= KEPT) this.known.delete(this.known.keys().next().value);
    this.known.set(this.key(unit, one.place), one);
  }

  /** Ask when the pointer has rested, and tell. */
  rest(unit, place, tell) {
    clearTimeout(this.waiting);
    this.waiting = setTimeout(async () => {
      this.keep(unit, await ask("describe", { unit, place }));
      tell();
    }, REST);
  }

  leave() {
    clearTimeout(this.waiting);
  }
}

/** Fill the card of a place: its picture, id, columns, window and offset. */
export async function fillCard(card, one, { unit, pictures, signal }) {
  const canvas = document.createElement("canvas");
  canvas.hidden = true;
  const list = document.createElement("dl");
  const row = (name, value) => {
    const [term, text] = [document.createElement("dt"), document.createElement("dd")];
    [term.textContent, text.textContent] = [name, value];
    list.append(term, text);
  };
  row("place", one.row);
  for (const [name, value] of Object.entries(one.columns)) row(name, value);
  row("window", one.window);
  row("offset", `${one.offset_m} m`);
  row("observations", one.observations ?? "–");
  card.replaceChildren(canvas, list);
  card.hidden = false;
  if (!pictures) return;
  const picture = await askPicture("thumbnail", { unit, place: one.place, side: SIDE }, signal);
  if (!picture) return;
  [canvas.width, canvas.height] = [SIDE, SIDE];
  canvas.getContext("2d").drawImage(picture, 0, 0);
  canvas.hidden = false;
}

/** List the classes of a column with their colours and counts. */
export function fillClasses(list, { names, colours, counts }) {
  list.replaceChildren(
    ...names.map((name, k) => {
      const item = document.createElement("li");
      const swatch = document.createElement("canvas");
      [swatch.width, swatch.height] = [1, 1];
      const context = swatch.getContext("2d");
      context.fillStyle = colours[k];
      context.fillRect(0, 0, 1, 1);
      const [word, count] = [document.createElement("span"), document.createElement("span")];
      [word.textContent, count.textContent] = [name, counts[k].toLocaleString("en")];
      count.className = "count";
      item.append(swatch, word, count);
      return item;
    }),
  );
}

/** RGBA of each place by its class. */
export function classed(codes, colours) {
  const table = colours.map((hex) => [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16)));
  const out = new Uint8ClampedArray(codes.length * 4);
  for (let i = 0; i < codes.length; i++) out.set([...table[codes[i]], 255], 4 * i);
  return out;
}
