"""``index.html``: a run for people. It needs nothing but the files beside it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from string import Template

from thor_geo.publish.collection import description, random_warning
from thor_geo.publish.credits import (
    THOR_PAPER,
    attribution,
    citation,
    is_thor,
    software,
    title_of,
)
from thor_geo.publish.facts import RunFacts
from thor_geo.publish.items import ItemPart
from thor_geo.publish.stac import ITEMS, VERSION
from thor_geo.publish.terms import Terms
from thor_geo.support.antimeridian import bounding_box
from thor_geo.support.words import size_of

# Items that the table of files names.
_NAMED_ITEMS = 20


def page(facts: RunFacts, parts: Sequence[ItemPart], terms: Terms) -> str:
    """Return the page.

    Args:
        facts: The run.
        parts: What the items of the collection describe.
        terms: What the publisher says.
    """
    template = Template((files(__package__) / "page.html").read_text(encoding="utf-8"))
    picture = '<img src="quicklook.png" alt="Quicklook: embeddings of the run in colours">'
    warning = f'<p class="warning">{escape(random_warning())}</p>'
    return template.substitute(
        title=escape(title_of(facts, terms)),
        warning=warning if facts.random_weights else "",
        description=escape(terms.description or description(facts)),
        picture=picture if facts.quicklook else "",
        facts=_table(_facts(facts, parts, terms)),
        code=escape(_code(facts, parts, terms)),
        files=_table(_files(facts, parts)),
        licence=_licence(facts, terms),
        citation=_citations(facts, terms),
        stac=VERSION,
    )


def _table(rows: Iterable[tuple[str, str]]) -> str:
    """Return rows of a table; the second texts are HTML."""
    return "\n".join(f"<tr><th>{escape(name)}</th><td>{text}</td></tr>" for name, text in rows)


def _facts(facts: RunFacts, parts: Sequence[ItemPart], terms: Terms) -> Iterable[tuple[str, str]]:
    about, model = facts.about, facts.model
    west, south, east, north = bounding_box(part.geometry for part in parts)
    yield "Ground", f"{west:.4f} to {east:.4f} E, {south:.4f} to {north:.4f} N"
    windows = facts.opened.windows
    spans = [f"{span.start:%Y-%m-%d} to {span.end:%Y-%m-%d}" for span in windows]
    yield "Dates", f"{'; '.join(spans)} (the last day is not part of it)"
    yield (
        "Embeddings",
        (
            f"{int(facts.embedded.sum()):,}, of {about['dimensions']} dimensions, "
            f"{escape(str(about['data_type']))}"
        ),
    )
    yield "Model", escape(str(model.get("model_key", "see run.json")))
    if "weights" in model:
        yield "Weights", escape(str(model["weights"]))
    if "weights_sha256" in model:
        yield "Their sha256", f"<code>{escape(str(model['weights_sha256']))}</code>"
    yield "Computed from", "<br>".join(_address(source) for source in about["source_data"])
    version = facts.opened.run.build_version
    made = "thor-geo" if version is None else f"thor-geo {escape(version)}"
    yield "Computed with", f"{made}, finished on {facts.finished:%Y-%m-%d}"
    if terms.provider is not None:
        yield "Given by", escape(terms.provider)


def _address(uri: str) -> str:
    text = escape(uri)
    return f'<a href="{text}">{text}</a>' if uri.startswith("http") else f"<code>{text}</code>"


def _code(facts: RunFacts, parts: Sequence[ItemPart], terms: Terms) -> str:
    opened = facts.opened
    address = terms.url or "."
    window = "" if len(opened.windows) == 1 else ", window=0"
    lines = [
        f'ADDRESS = "{address}"'
        + ("" if terms.url else "  # the folder of this page, or its https:// address"),
        "",
        "import thor_geo  # pip install 'thor-geo[cloud]'",
        "",
        f"run = thor_geo.open_run(ADDRESS{window})",
    ]
    zone = parts[0].id.partition("_")[0]
    if opened.pooled:
        lines.append("run.vectors()  # a GeoDataFrame, and run.X its vectors as a matrix")
    if facts.maps:
        lines.append(f'run.grid("{zone}")  # an xarray.DataArray (band, y, x)')
    elif opened.grid:
        lines.append("run.places()  # the maps as an xarray.DataArray (place, band, y, x)")
    lines += ["", "# Without thor-geo. Over HTTP: pip install fsspec aiohttp"]
    if opened.pooled:
        file = f'geopandas.read_parquet(f"{{ADDRESS}}/{facts.vectors[0]}")'
        lines += ["import geopandas", "", f"tiles = {file}"]
    if opened.grid:
        store = opened.run.grid if facts.maps else opened.run.place_store
        group = f', group="{zone}"' if facts.maps else ""
        lines += [
            *([""] if opened.pooled else []),
            "import xarray",
            "",
            f'maps = xarray.open_zarr(f"{{ADDRESS}}/{store.name}"{group}).embeddings',
        ]
    return "\n".join(lines)


def _files(facts: RunFacts, parts: Sequence[ItemPart]) -> Iterable[tuple[str, str]]:
    opened = facts.opened
    size = sum(file.size for file in facts.files.values())
    if opened.pooled:
        yield "pooled/", f"GeoParquet, {len(facts.vectors):,} files: the vectors"
    if opened.grid:
        name = opened.run.grid.name if facts.maps else opened.run.place_store.name
        what = "a group for each UTM zone" if facts.maps else "a map for each place"
        yield f"{name}/", f"Zarr version 3, {what}: the maps"
    yield "plan.parquet", f"every {'place' if opened.places else 'tile'}, its shard and footprint"
    yield "run.json", '<a href="run.json">all settings</a>, weights and versions'
    if facts.overview:
        yield "overview.parquet", "colour and state of every row, for a first map"
    if facts.quicklook:
        yield "quicklook.png", '<a href="quicklook.png">the picture</a>'
    named = [f'<a href="{ITEMS}/{part.id}.json">{part.id}</a>' for part in parts[:_NAMED_ITEMS]]
    rest = "" if len(parts) <= _NAMED_ITEMS else f", and {len(parts) - _NAMED_ITEMS} more"
    yield f"{ITEMS}/", f"STAC items: {', '.join(named)}{rest}"
    yield "In all", f"{len(facts.files):,} files of embeddings, {size_of(size)}"


def _licence(facts: RunFacts, terms: Terms) -> str:
    if terms.licence is None:
        said = "None is stated. Ask whoever gives you these files before you use them."
        text = f"<p>{said}</p>"
    else:
        text = f'<p><a href="{terms.licence_page}">{escape(terms.licence)}</a></p>'
    notice = attribution(facts)
    return text if notice is None else f"{text}\n<p>{escape(notice)}</p>"


def _citations(facts: RunFacts, terms: Terms) -> str:
    texts = [citation(facts, terms), *([THOR_PAPER] if is_thor(facts) else []), software(facts)]
    return "\n".join(f"<p>{escape(text)}</p>" for text in texts)
