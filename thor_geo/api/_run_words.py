"""A run in words: a few lines for a terminal, a small page for a notebook."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from thor_geo.errors import RunDirectoryError, first_line
from thor_geo.ground.lattice import zone_name
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.runs.overview import Overview, read_overview
from thor_geo.runs.vectors import EMBEDDING, vector_length
from thor_geo.storage import StorePath
from thor_geo.storage.files import readable
from thor_geo.support.redact import redact
from thor_geo.support.words import counted

# Zones that are named.
_ZONES = 4
# Runs of more shards are not counted each time they are shown: reading markers takes its time.
_COUNTED = 2000
# Shards among which one that is done is looked for, to say how long vectors are.
_LOOKED_AT = 64
# Side of the quicklook in a notebook, pixels.
_PICTURE = 900


def run_text(opened: OpenedRun) -> str:
    """Return what a run is, how much of it is done, and what it holds, in a few lines.

    Args:
        opened: The run; it may be unfinished.
    """
    lines = [f"{name}: {text}" for name, text in _facts(opened)]
    head = f"<thor_geo.Run {str(opened.run.path)!r}: {_ground(opened)}"
    return redact("\n    ".join([head, *lines])) + ">"


def run_html(opened: OpenedRun) -> str:
    """Return the same as HTML that loads nothing: the quicklook is in it.

    Args:
        opened: The run; it may be unfinished.
    """
    from thor_geo.pictures.thumbnail import thumbnail_uri

    run, picture, files = opened.run, "", _files(opened)
    if run.quicklook.exists():
        try:
            uri = thumbnail_uri(run.quicklook, _PICTURE)
            picture = (
                f'<img src="{uri}" alt="Quicklook of the run" style="max-width: 100%; '
                'border: 1px solid #cbd5e1; border-radius: 4px">'
            )
        except OSError as error:
            files += f"; quicklook.png cannot be read ({first_line(error)})"
    facts = [("ground", _ground(opened)), *_facts(opened), ("files", files)]
    rows = "".join(
        f'<tr><th style="text-align: left; vertical-align: top">{escape(name)}</th>'
        f'<td style="text-align: left">{escape(redact(text))}</td></tr>'
        for name, text in facts
    )
    name = escape(redact(str(run.path)))
    head = f"<p><strong>thor_geo.Run</strong> <code>{name}</code></p>"
    return f"<div>{head}{picture}<table>{rows}</table></div>"


def _ground(opened: OpenedRun) -> str:
    """Return how many tiles or places, and where."""
    plan = opened.plan
    zones = [zone_name(lattice.epsg) for lattice in plan.lattices]
    more = f" and {len(zones) - _ZONES} more" if len(zones) > _ZONES else ""
    what = counted(len(plan), "place" if opened.places else "tile")
    return f"{what} in {', '.join(zones[:_ZONES])}{more}"


def _files(opened: OpenedRun) -> str:
    """Return where the files are, and which of those for readers are there."""
    run = opened.run
    files = {
        run.run_json: True,
        run.plan_parquet: True,
        run.pooled: run.has_pooled,
        run.grid: run.has_grid,
        run.place_store: run.has_place_store,
        run.quicklook: run.quicklook.exists(),
    }
    return f"{run.path}: " + ", ".join(path.name for path, there in files.items() if there)


def _facts(opened: OpenedRun) -> list[tuple[str, str]]:
    """Return what else is known, by name."""
    from thor_geo.pictures.caption import format_days, run_caption

    caption = run_caption(opened.run, opened.plan)
    model = f"{caption.title}; {caption.weights}" if caption.weights else caption.title
    facts = [("model", model), ("time", format_days(opened.span))]
    if len(opened.windows) > 1:
        spans = [f"{k}: {format_days(span)}" for k, span in enumerate(opened.windows)]
        facts[-1] = ("windows", "; ".join(spans))
    length: int | None
    try:
        overview = _overview(opened)
        if overview is None:
            done, length = _done(opened), _length(opened) if opened.pooled else None
        else:
            done, length = _drawn(opened, overview), overview.dimension
    except RunDirectoryError as error:
        done, length = first_line(error), None
    facts.append(("done", done))
    if opened.pooled:
        facts.append(("vectors", _vectors(opened, length)))
    if opened.grid:
        store = opened.run.place_store if opened.places else opened.run.grid
        facts.append(("maps", f"{opened.dtype} in {store.name}"))
    return facts


def _overview(opened: OpenedRun) -> Overview | None:
    """Return the overview of a run in a store, where each marker is a request."""
    if not isinstance(opened.run.path, StorePath):
        return None
    return read_overview(opened.run, opened.plan)


def _vectors(opened: OpenedRun, length: int | None) -> str:
    size = opened.dtype if length is None else f"{length} x {opened.dtype}"
    return f"{size} in {opened.run.pooled.name}/" + (" (pooled and centre)" * opened.centre)


def _length(opened: OpenedRun) -> int | None:
    """Return the length of a vector; None if none of the first shards is done."""
    import pyarrow.parquet as pq

    shards = opened.plan.shards
    for k in range(min(len(shards), _LOOKED_AT)):
        if opened.marker(shards[k]) is not None:
            path = opened.run.pooled_path(shards[k])
            try:
                return vector_length(pq.read_schema(readable(path)), EMBEDDING)
            except (OSError, ValueError):
                return None  # `X` says what is wrong with the file
    return None


def _done(opened: OpenedRun) -> str:
    """Return how far the run is, and how many of its tiles have an embedding."""
    from thor_geo.checks.tally import count_markers

    if len(opened.plan.shards) > _COUNTED:
        return f"{len(opened.plan.shards):,} shards; run.status() counts those that are done"
    counts = count_markers(opened)
    states = {"ok": counts.ok, "empty": counts.empty, "failed": counts.failed, "left": counts.left}
    return f"{_states(opened, states)}; {counts.headline}"


def _drawn(opened: OpenedRun, overview: Overview) -> str:
    """Return the same of a run with an overview, which only a complete one has."""
    counts = overview.counts()
    noun = "places" if opened.places else "tiles"
    complete = f"complete, except for failed {noun}" if counts["failed"] else "complete"
    return f"{_states(opened, counts)}; {complete}"


def _states(opened: OpenedRun, counts: Mapping[str, int]) -> str:
    parts = [f"{number:,} {word}" for word, number in counts.items() if number or word == "ok"]
    if opened.table is not None and opened.table[1]:
        parts.append(f"{opened.table[1]:,} of {opened.table[0]:,} rows skipped")
    return ", ".join(parts)
