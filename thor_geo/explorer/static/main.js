// The page: its controls, the findings, and drawing them on the map.

import { ask, askArrays, download } from "./api.js";
import { listen, under } from "./brush.js";
import { coloured, drawScale, opaque, quantile } from "./colour.js";
import { Composite } from "./composite.js";
import { Examples } from "./examples.js";
import { MapView } from "./map.js";
import { degrees, fill } from "./neighbours.js";
import { Atlas, Places } from "./places.js";

const $ = (id) => document.getElementById(id);
const view = new MapView($("map"));
const composite = new Composite(view);
/** By unit: places, pictures of them, and what is found. */
const units = new Map();
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
const count = (n) => `${number(n)} ${n === 1 ? now.places.unit.slice(0, -1) : now.places.unit}`;

async function load(unit) {
  if (units.has(unit)) return units.get(unit);
  const waiting = setInterval(async () => {
    const { read, total } = await ask("progress");
    if (total) say(`Reading cells: ${number(read)} of ${number(total)} shards …`, { stays: true });
  }, 500);
  try {
    const places = new Places(await askArrays("places", { unit }));
    const embeddings = new Atlas(places).paint(opaque(places.rgb));
    const found = { places, embeddings, examples: new Examples(), neighbours: [], query: null };
    units.set(unit, found);
    return found;
  } finally {
    clearInterval(waiting);
    say("");
  }
}

// Drawing -----------------------------------------------------------------------------------------

function drawBase(context) {
  const base = chosen("base");
  if (base === "composite") composite.draw(context, now.places);
  else view.drawAtlas(context, (base === "observations" && now.observations?.picture) || now.embeddings);
  $("composite-why").hidden = !(base === "composite" ? composite.tooSmall : composite.why);
  $("composite-why").textContent = composite.why
    ? `No composite: ${composite.why}`
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
  kept.picture = new Atlas(now.places).paint(coloured(values, how));
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
    const answer = await askArrays("similar", { unit, place, k: Number($("count").value) }, signal);
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
    const { values } = await askArrays("probe", examples, probing.signal);
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
  $("above").textContent = `${count(n)} at or above ${least.toFixed(2)}: ${area} km²`;
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
  $("download").textContent = now.places.unit === "tiles" ? "Download as GeoPackage" : "Download as GeoTIFF";
  examplesTold();
  aboveTold();
  legend();
  view.redraw();
}

function hover(x, y) {
  const point = x === null ? null : view.mercator(x, y);
  const place = point && now ? now.places.find(...point) : -1;
  if (!point) return ($("under").textContent = "");
  const [lon, lat] = view.lonlat(point);
  const parts = [`${degrees(lat, "N", "S")}, ${degrees(lon, "E", "W")}`];
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

async function show(unit) {
  now = await load(unit);
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
    const base = { 1: "embeddings", 2: "composite", 3: "observations" }[event.key];
    if (base) choose("base", base);
  });
  listen(view, {
    painting: () => chosen("tool") !== "similar",
    click: (x, y) => {
      const place = now ? now.places.find(...view.mercator(x, y)) : -1;
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
  option("unit", run.units[0]).checked = true;
  now = await load(run.units[0]);
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
