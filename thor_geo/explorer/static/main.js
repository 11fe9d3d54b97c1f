// The page: its controls, the findings, and drawing them on the map.

import { ask, askArrays, download } from "./api.js";
import { listen, under } from "./brush.js";
import { coloured, drawScale, opaque, quantile } from "./colour.js";
import { Composite } from "./composite.js";
import { Examples } from "./examples.js";
import { MapView } from "./map.js";
import { degrees, fill } from "./neighbours.js";
import { classed, Descriptions, fillCard, fillClasses } from "./describe.js";
import { Atlas, Places } from "./places.js";
import { Dots, Points } from "./points.js";

const $ = (id) => document.getElementById(id);
const view = new MapView($("map"));
const composite = new Composite(view);
/** By unit: places, pictures of them, and what is found. */
const units = new Map();
const descriptions = new Descriptions();
let now = null;
let asking = new AbortController();
let probing = new AbortController();

const chosen = (name) => document.querySelector(`input[name="${name}"]:checked`)?.value;
const option = (name, value) => document.querySelector(`input[name="${name}"][value="${value}"]`);
function choose(name, value) {
  const input = option(name, value);
  if (!input || input.disabled || input.checked) return;
  input.checked = true;
  input.dispatchEvent(new Event("change", { bubbles: true }));
}

let quiet = 0;
function say(text, { error = false, stays = false } = {}) {
  $("toast").textContent = text;
  $("toast").classList.toggle("error", error);
  clearTimeout(quiet);
  if (text && !stays) quiet = setTimeout(() => say(""), error ? 9000 : 2500);
}
const failed = (error) => say(error.message, { error: true });
const number = (value) => value.toLocaleString("en");
const count = (n) => {
  const word = now.places.points ? "places" : now.places.unit;
  return `${number(n)} ${n === 1 ? word.slice(0, -1) : word}`;
};
/** A picture of RGBA values of places. */
const painted = (places, rgba) => new (places.points ? Dots : Atlas)(places).paint(rgba);

/** Wait for an answer, and say meanwhile how many shards the server has read for it. */
async function patiently(answer, what) {
  let done = false;
  let said = false;
  const waiting = setInterval(async () => {
    const { read, total } = await ask("progress");
    if (done || read >= total) return;
    said = true;
    say(`Reading ${what}: ${number(read)} of ${number(total)} shards …`, { stays: true });
  }, 500);
  try {
    return await answer;
  } finally {
    done = true;
    clearInterval(waiting);
    if (said) say("");
  }
}

async function load(unit) {
  if (units.has(unit)) return units.get(unit);
  const answer = await patiently(askArrays("places", { unit }), unit);
  const places = new (answer.points ? Points : Places)(answer);
  const embeddings = painted(places, opaque(places.rgb));
  const found = { places, embeddings, examples: new Examples(), neighbours: [], query: null };
  units.set(unit, found);
  return found;
}

// Drawing -----------------------------------------------------------------------------------------

function drawBase(context) {
  const base = chosen("base");
  if (base === "composite") composite.draw(context, now.places);
  else view.drawAtlas(context, { observations: now.observations, column: now.classes }[base]?.picture || now.embeddings);
  $("composite-why").hidden = !(base === "composite" ? composite.tooSmall : composite.why);
  $("composite-why").textContent = composite.why
    ? `No ${now.places.points ? "pictures of chips" : "composite"}: ${composite.why}`
    : "Zoom in to see the composite.";
}

function drawOverlay(context) {
  const atlas = { similarity: now.similarity, probe: now.scores }[chosen("overlay")];
  if (atlas) view.drawAtlas(context, atlas.picture, Number($("opacity").value));
}

function drawMarks(context) {
  const { places, examples, neighbours, query } = now;
  if (chosen("overlay") !== "probe" || chosen("tool") === "similar") {
    for (let k = neighbours.length - 1; k >= 0; k--) {
      view.outline(context, places, neighbours[k].place, { colour: "#ffffff", width: 1.8, word: `${k + 1}` });
    }
    if (query && places.points) view.outline(context, places, query.place, { colour: "#ffd400", width: 2, chip: true });
    if (query) view.outline(context, places, query.place, { colour: "#ffd400", width: 3 });
  }
  for (const [place, label] of examples.labels) {
    view.outline(context, places, place, {
      colour: label ? "#c9b3ff" : "#ffb25c",
      halo: label ? "#3c1f77" : "#7a3e00",
      width: 2.5,
      dot: 2.5,
      word: label ? "+" : "−",
    });
  }
}

view.layers = [(c) => now && drawBase(c), (c) => now && drawOverlay(c), (c) => now && drawMarks(c)];

function legend() {
  const overlay = chosen("overlay");
  const base = chosen("base");
  const found = { similarity: now.similarity, probe: now.scores }[overlay];
  const scale = found ?? (base === "observations" ? now.observations : null);
  $("legend").hidden = !scale;
  if (!scale) return;
  $("legend-title").textContent = scale.title;
  drawScale($("legend-scale"), scale.scale);
  const ends = [scale.low, (scale.low + scale.high) / 2, scale.high];
  [...$("legend-ends").children].forEach((span, k) => (span.textContent = ends[k].toFixed(scale.digits)));
}

/** Colour values and keep how. */
function picture(values, how) {
  const kept = { values, ...how };
  kept.picture = painted(now.places, coloured(values, how));
  return kept;
}

// Similar places ----------------------------------------------------------------------------------

async function similar(place) {
  asking.abort();
  asking = new AbortController();
  const { signal } = asking;
  const at = now;
  const unit = at.places.unit;
  try {
    const question = { unit, place, k: Number($("count").value) };
    const answer = await patiently(askArrays("similar", question, signal), "vectors");
    if (at !== now) return;
    Object.assign(at, { query: answer.query, neighbours: answer.neighbours });
    at.similarity = picture(answer.values, {
      scale: "sequential",
      low: quantile(answer.values, 0.02),
      high: answer.neighbours[0]?.cosine ?? 1,
      digits: 2,
      title: "Cosine similarity to the place",
    });
    option("overlay", "similarity").disabled = false;
    choose("overlay", "similarity");
    showFound();
  } catch (error) {
    if (error.name !== "AbortError") failed(error);
  }
}

function showFound() {
  const { query, neighbours, places } = now;
  $("query").textContent = query
    ? `to ${degrees(query.lat, "N", "S")} ${degrees(query.lon, "E", "W")}`
    : "Click a place on the map.";
  $("query").title = query?.id ?? "";
  $("card").hidden = !(query && places.points);
  if (query && places.points) {
    $("query").textContent = `to ${query.label}`;
    const how = { unit: places.unit, pictures: composite.state === "ready", signal: asking.signal };
    fillCard($("card"), query, how).catch((error) => error.name !== "AbortError" && failed(error));
  }
  fill($("neighbours"), neighbours, {
    unit: places.unit,
    places,
    pictures: composite.state === "ready",
    signal: asking.signal,
    go: (place) => view.go(places.centre(place), Math.sqrt(places.km2) * 1000),
    failed,
  });
  update();
}

// Examples and the probe --------------------------------------------------------------------------

const LABELS = { positive: 1, negative: 0, erase: undefined };

function stroke(points) {
  const label = LABELS[chosen("tool")];
  for (const place of under(view, now.places, points, Number($("brush").value))) now.examples.paint(place, label);
  view.redraw();
}

async function probe() {
  probing.abort();
  probing = new AbortController();
  const at = now;
  const { positive, negative } = at.examples;
  update();
  if (!positive.length || !negative.length) {
    at.scores = undefined;
    if (chosen("overlay") === "probe") choose("overlay", at.similarity ? "similarity" : "none");
    return update();
  }
  try {
    const examples = { unit: at.places.unit, positive, negative };
    const { values } = await patiently(askArrays("probe", examples, probing.signal), "vectors");
    if (at !== now) return;
    at.scores = { values };
    colourScores();
    option("overlay", "probe").disabled = false;
    choose("overlay", "probe");
    update();
  } catch (error) {
    if (error.name !== "AbortError") failed(error);
  }
}

function colourScores() {
  if (!now.scores) return;
  now.scores = picture(now.scores.values, {
    scale: "diverging",
    low: 0,
    high: 1,
    least: $("only").checked ? Number($("threshold").value) : -Infinity,
    digits: 1,
    title: "Probe: probability of “positive”",
  });
}

function examplesTold() {
  const [p, n] = [now.examples.positive.length, now.examples.negative.length];
  $("examples").innerHTML = "";
  if (!p && !n) return $("examples").append("No examples yet. Paint a few of each kind.");
  const part = (name, text) => {
    const bold = document.createElement("b");
    [bold.className, bold.textContent] = [name, text];
    return bold;
  };
  $("examples").append(part("positive", `${number(p)} positive`), ", ", part("negative", `${number(n)} negative`));
  if (!p || !n) $("examples").append(`; paint a ${p ? "negative" : "positive"} one too.`);
}

function aboveTold() {
  if (!now.scores) return;
  const least = Number($("threshold").value);
  const { values } = now.scores;
  const { main, km2 } = now.places;
  let n = 0;
  for (let i = 0; i < values.length; i++) n += main[i] && values[i] >= least;
  const area = (n * km2).toLocaleString("en", { maximumSignificantDigits: 4 });
  // Chips of places may overlap: they have no area together.
  const ground = now.places.points ? "" : `: ${area} km²`;
  $("above").textContent = `${count(n)} at or above ${least.toFixed(2)}${ground}`;
}

// The controls of the page ------------------------------------------------------------------------

function update() {
  const { examples, query, scores } = now;
  const painting = chosen("tool") !== "similar";
  $("brush-row").hidden = !painting;
  $("brush-size").textContent = $("brush").value === "0" ? "one place" : `${2 * $("brush").value} px`;
  $("map").classList.toggle("paint", painting);
  view.leaflet.dragging[painting ? "disable" : "enable"]();
  option("overlay", "similarity").disabled = !now.similarity;
  option("overlay", "probe").disabled = !scores;
  $("probe-more").hidden = !scores;
  $("threshold-value").textContent = Number($("threshold").value).toFixed(2);
  $("undo").disabled = !examples.strokes.length;
  $("clear").disabled = !examples.labels.size;
  $("download").disabled = !query && !examples.labels.size;
  $("download").textContent = `Download as ${now.places.unit === "cells" ? "GeoTIFF" : "GeoPackage"}`;
  const classes = chosen("base") === "column" ? now.classes : null;
  $("column-row").hidden = $("classes").hidden = !classes;
  if (classes) fillClasses($("classes"), classes);
  examplesTold();
  aboveTold();
  legend();
  view.redraw();
}

function hover(x, y) {
  const point = x === null ? null : view.mercator(x, y);
  const place = point && now ? now.places.find(...point, view.scale) : -1;
  descriptions.leave();
  if (!point) return ($("under").textContent = "");
  const [lon, lat] = view.lonlat(point);
  const parts = [`${degrees(lat, "N", "S")}, ${degrees(lon, "E", "W")}`];
  if (place >= 0 && now.places.points) {
    const { unit } = now.places;
    const one = descriptions.get(unit, place);
    if (one) parts[0] = [`place ${one.row}`, ...Object.entries(one.columns).map((pair) => pair.join(" "))].join("   ·   ");
    else descriptions.rest(unit, place, () => unit === now.places.unit && hover(x, y));
    if (one) parts.push(one.window, `offset ${one.offset_m} m`);
  }
  if (place >= 0 && now.similarity) parts.push(`cosine ${now.similarity.values[place].toFixed(3)}`);
  if (place >= 0 && now.scores) parts.push(`probe ${now.scores.values[place].toFixed(3)}`);
  $("under").textContent = parts.join("   ·   ");
}

async function observations() {
  const at = now;
  if (chosen("base") !== "observations" || at.observations) return;
  const { values } = await askArrays("observations", { unit: at.places.unit });
  if (at !== now) return;
  const high = Math.max(1, Math.ceil(quantile(values, 1)));
  const title = "Clear observations, mean of each tile";
  at.observations = picture(values, { scale: "sequential", low: 0, high, digits: 1, title });
}

/** Ask for the classes of a column, and colour the places by them. */
async function column(name) {
  const at = now;
  if (!at.places.points || !name || at.classes?.column === name) return;
  const { unit } = at.places;
  const { codes, ...classes } = await askArrays("column", { unit, name });
  if (at !== now) return;
  at.classes = { ...classes, picture: painted(at.places, classed(codes, classes.colours)) };
}

/** Offer what a table has in place of what a map has. */
function offerColumns({ columns, column: first }) {
  option("base", "composite").closest("label").hidden = true;
  $("base-column").hidden = !columns.length;
  $("column").replaceChildren(
    ...columns.map((name) => {
      const one = document.createElement("option");
      one.textContent = name;
      one.selected = name === first;
      return one;
    }),
  );
}

async function show(unit) {
  now = await load(unit);
  if (now.places.points && chosen("base") === "column") await column($("column").value);
  if (chosen("overlay") !== "none") option("overlay", "none").checked = true;
  if (now.similarity) option("overlay", "similarity").checked = true;
  if (now.scores) option("overlay", "probe").checked = true;
  await observations();
  showFound();
  const { n, step, shards, missing } = now.places;
  const every = step > 1 ? `, every ${step}th along each side` : "";
  const left = missing ? `; ${number(missing)} of ${number(shards)} shards are not done` : "";
  $("map").setAttribute("aria-description", `${number(n)} ${unit}${every}${left}`);
  if (every || left) say(`${count(n)}${every}${left}`, { stays: false });
}

function wire() {
  document.addEventListener("change", async ({ target }) => {
    try {
      if (target.name === "unit") await show(target.value);
      if (target.name === "base") await observations();
      if (chosen("base") === "column") await column($("column").value);
      if (target.id === "count" && now.query) await similar(now.query.place);
      if (target.id === "only") colourScores();
      update();
    } catch (error) {
      failed(error);
    }
  });
  $("opacity").addEventListener("input", () => view.redraw());
  $("brush").addEventListener("input", update);
  $("threshold").addEventListener("input", () => {
    if ($("only").checked) colourScores();
    update();
  });
  const undo = () => {
    now.examples.undo();
    probe();
  };
  $("undo").addEventListener("click", undo);
  $("clear").addEventListener("click", () => {
    now.examples.clear();
    probe();
  });
  $("download").addEventListener("click", async () => {
    const { positive, negative } = now.examples;
    const query = { unit: now.places.unit, place: now.query?.place ?? null, k: Number($("count").value) };
    say("Writing the file …", { stays: true });
    try {
      const threshold = Number($("threshold").value);
      say(`${await download({ ...query, positive, negative, threshold })} is in your downloads.`);
    } catch (error) {
      failed(error);
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.target.matches("select") || event.altKey) return;
    if (event.ctrlKey || event.metaKey) {
      if (event.key === "z" && !$("undo").disabled) undo();
      return;
    }
    const tool = { s: "similar", p: "positive", n: "negative", e: "erase" }[event.key.toLowerCase()];
    if (tool) choose("tool", tool);
    const second = now.places.points ? "column" : "composite";
    const base = { 1: "embeddings", 2: second, 3: "observations" }[event.key];
    if (base) choose("base", base);
  });
  listen(view, {
    painting: () => chosen("tool") !== "similar",
    click: (x, y) => {
      const place = now ? now.places.find(...view.mercator(x, y), view.scale) : -1;
      if (place >= 0) similar(place);
    },
    begin: () => now.examples.begin(),
    stroke,
    end: () => {
      now.examples.end();
      probe();
    },
    hover,
  });
}

async function start() {
  const run = await ask("run");
  document.title = `${run.title} · thor-geo`;
  $("title").textContent = run.title;
  $("subtitle").textContent = run.subtitle;
  $("subtitle").title = run.path;
  $("notice").hidden = !run.notice;
  $("notice").textContent = run.notice;
  option("base", "composite").nextElementSibling.title = run.picture;
  $("unit").hidden = run.units.length < 2;
  document.querySelectorAll('input[name="unit"]').forEach((input, k) => {
    if (k >= run.units.length) return;
    input.value = run.units[k];
    input.nextElementSibling.textContent = run.units[k][0].toUpperCase() + run.units[k].slice(1);
  });
  option("unit", run.units[0]).checked = true;
  now = await load(run.units[0]);
  if (now.places.points) offerColumns(now.places);
  view.fit(now.places.box);
  wire();
  await show(run.units[0]);
  // For tests, and for use from the console.
  window.explorer = { view, composite, get now() { return now; } };
  view.onDrawn = () => {
    view.onDrawn = () => {};
    performance.mark("first-map");
    document.documentElement.dataset.ready = "yes";
  };
  view.redraw();
  composite.onChange = () => {
    option("base", "composite").disabled = composite.state !== "ready";
    view.redraw();
  };
  await composite.open();
  if (composite.state === "ready" && now.neighbours.length) showFound();
}

start().catch(failed);
