"""The vectors that a probe compares, read and joined before anything is fitted."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from thor_geo.errors import ConfigError
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.probe.beside import ARGUMENT, Beside, BesideVectors
from thor_geo.probe.beside_join import SampleIds, join_vectors, sample_lonlat
from thor_geo.probe.beside_run import area_vectors, placed_run, probed_span
from thor_geo.probe.beside_table import PlacedVectors, read_placed_vectors, texts_of
from thor_geo.probe.place_vectors import read_done
from thor_geo.probe.samples import PlaceSamples, Samples
from thor_geo.probe.spec import ProbeSpec
from thor_geo.runs.opened_run import OpenedRun, read_run
from thor_geo.runs.place_reading import id_column
from thor_geo.runs.pooled import window_name
from thor_geo.support.arrays import BoolArray, Float64Array

_FILE = "run.json"


def read_besides(
    opened: OpenedRun, samples: Samples, spec: ProbeSpec, *, progress: bool = False
) -> tuple[BesideVectors, ...]:
    """Read the vectors to compare with, and join them to the samples.

    Args:
        opened: The run that is probed.
        samples: Its samples.
        spec: Settings.
        progress: Whether to draw progress bars on standard error, where that is a terminal.

    Raises:
        ConfigError: If some cannot be used, or no sample has one.
        RunDirectoryError: If a file of a run cannot be read.
    """
    found = tuple(_read(opened, samples, each, spec, progress) for each in spec.besides)
    for each in found:
        # A single one is no fault of the vectors: the labels are said to be too few.
        if each.has.sum() > 1 and each.distinct == 1:
            raise ConfigError(
                ARGUMENT,
                f"{each.name}={each.source}",
                f"all {each.has.sum():,} {samples.unit} that it covers have the same vector",
                "Give vectors that differ by place.",
            )
    return found


def in_all(samples: Samples, besides: tuple[BesideVectors, ...]) -> BoolArray:
    """Return which samples have a vector in every one, so that all sides have the same samples.

    Args:
        samples: The samples.
        besides: What they are compared with.

    Raises:
        ConfigError: If there are none.
    """
    every: BoolArray = np.ones(len(samples), dtype=np.bool_)
    for each in besides:
        every = every & each.has
    if not every.any():
        counts = ", ".join(f"{each.name} {each.has.sum():,}" for each in besides)
        raise ConfigError(
            ARGUMENT,
            ", ".join(f"{each.name}={each.source}" for each in besides),
            f"no sample has a vector in each of them (of {len(samples):,} {samples.unit}: "
            f"{counts})",
            "Compare them one at a time.",
        )
    return every


def match_words(beside: BesideVectors, unit: str) -> str:
    """Return how many samples have a vector, e.g. ``312 of 1,948 cells have a vector in aef``.

    Args:
        beside: The vectors.
        unit: What samples are.
    """
    count = int(beside.has.sum())
    have = "has" if count == 1 else "have"
    return f"{count:,} of {len(beside.has):,} {unit} {have} a vector in {beside.name}"


def sample_ids(opened: OpenedRun, samples: Samples, window: int | None = None) -> SampleIds:
    """Return the ids of samples, by the names of columns in which tables may have them.

    Args:
        opened: Their run.
        samples: The samples; cells have no ids.
        window: Which of the run's time windows they are of; needed only if there are several.
    """
    if samples.unit == "cells":
        return {}
    plan = opened.plan
    if isinstance(samples, PlaceSamples):
        place: list[tuple[str, ...]] = [(str(number),) for number in samples.place.tolist()]
        own = id_column(opened.run)
        if own is None:
            return {"place": place}
        rows = read_done(opened, [own])
        texts = texts_of(rows.columns[own])[np.searchsorted(rows.index, samples.tile)]
        found: list[tuple[str, ...]] = [
            (text,) if text is not None else () for text in texts.tolist()
        ]
        return {own: found, **({} if own == "id" else {"id": found}), "place": place}
    assert not isinstance(plan, PlacePlan)
    tiles = [tile.id for tile in plan.tiles(samples.tile.tolist())]
    # A row of another window is of the same ground, but not of the same time.
    name = window_name(list(opened.windows)[opened.time_index(window) or 0])
    return {
        "tile_id": [(tile,) for tile in tiles],
        "id": [(tile, f"{tile}_{name}") for tile in tiles],
    }


def _read(
    opened: OpenedRun, samples: Samples, beside: Beside, spec: ProbeSpec, progress: bool
) -> BesideVectors:
    path = beside.path.expanduser()
    if not path.exists():
        raise ConfigError(
            ARGUMENT, f"{beside.name}={path}", "no such file or run", "Check the path."
        )
    try:
        return _joined(opened, samples, beside, path, spec, progress)
    except ConfigError as error:
        # Those that read files know the path, but not the name that was given with it.
        if (error.argument, error.value) != (ARGUMENT, str(path)):
            raise
        raise ConfigError(ARGUMENT, f"{beside.name}={path}", error.problem, error.remedy) from error


def _joined(
    opened: OpenedRun,
    samples: Samples,
    beside: Beside,
    path: Path,
    spec: ProbeSpec,
    progress: bool,
) -> BesideVectors:
    """Read the vectors at a path, and join them to the samples."""
    ids, where = sample_ids(opened, samples, spec.window), ""
    remedy = (
        "Check that it covers the run's ground and states the right CRS, or give the ids of the "
        "run."
    )
    doubt = ""
    other = read_run(path) if (path / _FILE).is_file() else None
    if path.is_dir() and other is None and path.suffix.lower() != ".gdb":
        raise ConfigError(
            ARGUMENT,
            f"{beside.name}={path}",
            f"a folder without {_FILE}, so not a run",
            "Give a run directory, or a table.",
        )
    if other is not None and not other.places:
        span = probed_span(opened, samples, spec.window)
        columns, rows, joined = area_vectors(other, samples, span, progress=progress)
        left_out: dict[str, int] = {}
    else:
        if other is not None:
            placed = placed_run(other, samples, progress=progress)
        else:
            placed = read_placed_vectors(path, ids)
        joined = join_vectors(placed, samples, ids, _reach(opened, samples))
        columns, rows, left_out = placed.found.words, len(placed), placed.found.left_out
        doubt = placed.found.doubt
        if not joined.has.any():
            where = _where(placed)
            if _exchanged(placed, samples):
                remedy = "They would meet with longitude and latitude exchanged: swap the two."
    if not joined.has.any():
        raise ConfigError(
            ARGUMENT,
            f"{beside.name}={path}",
            f"none of the {len(samples):,} {samples.unit} has a vector in it (joined "
            f"{joined.how}; {rows:,} rows{where}; the samples lie at "
            f"{_extent(*sample_lonlat(samples))})",
            remedy,
        )
    return BesideVectors(
        name=beside.name,
        source=str(path),
        columns=columns,
        joined=joined.how,
        vectors=joined.vectors,
        has=joined.has,
        rows=rows,
        left_out=left_out,
        doubt=doubt,
    )


def _exchanged(placed: PlacedVectors, samples: Samples) -> bool:
    """Return whether rows meet the samples with longitude and latitude exchanged, and only so."""
    rows = placed.placed
    if placed.lon is None or placed.lat is None or not rows.any():
        return False
    lon, lat = sample_lonlat(samples)

    def meets(x: Float64Array, y: Float64Array) -> bool:
        return all(a.min() <= b.max() and b.min() <= a.max() for a, b in ((x, lon), (y, lat)))

    x, y = placed.lon[rows], placed.lat[rows]
    return meets(y, x) and not meets(x, y)


def _where(placed: PlacedVectors) -> str:
    """Return where the rows with a vector lie; empty if no row has a position."""
    if placed.lon is None or placed.lat is None:
        return ""
    rows = placed.placed
    if not rows.any():
        places, vectors = np.isfinite(placed.lon).sum(), placed.found.usable.sum()
        return f", {places:,} with a place and {vectors:,} with a vector, none with both"
    return f" at {_extent(placed.lon[rows], placed.lat[rows])}"


def _extent(lon: Float64Array, lat: Float64Array) -> str:
    """Return where points lie, e.g. ``10.6000 to 10.8000 E, 59.8500 to 59.9700 N``."""
    return f"{lon.min():.4f} to {lon.max():.4f} E, {lat.min():.4f} to {lat.max():.4f} N"


def _reach(opened: OpenedRun, samples: Samples) -> float:
    """Return how far from a place its point in a table may be: half a cell, metres."""
    if isinstance(samples, PlaceSamples) and samples.kind == "centre":
        return samples.side / 2
    lattice = opened.plan.lattices[0]
    patch = opened.document["settings"]["model"].get("patch_size", 1)
    return float(patch * lattice.resolution) / 2
