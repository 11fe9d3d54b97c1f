"""The samples of a run of places: the vectors of labelled places."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from thor_geo.errors import ConfigError, RunDirectoryError
from thor_geo.ground.meeting import tile_bounds
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.probe.joining import JoinableLabels, Labels, Squares
from thor_geo.probe.kept import KeptLabels, as_series
from thor_geo.probe.place_vectors import place_vectors, read_done, read_vectors
from thor_geo.probe.samples import Counts, LabelTally, PlaceSamples, thinned
from thor_geo.probe.spec import ProbeSpec, Vectors
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.runs.place_reading import chosen_column
from thor_geo.support.arrays import BoolArray, Float64Array, Int64Array, ObjectArray
from thor_geo.support.progress import track
from thor_geo.support.words import counted


class Ground(NamedTuple):
    """The squares of ground that the vectors of places stand for.

    Attributes:
        x: Easting of the centres, metres, (n,).
        y: Northing of the centres, metres, (n,).
        side: Their side, metres.
    """

    x: Float64Array
    y: Float64Array
    side: float


def ground_of(opened: OpenedRun, kind: Vectors) -> Ground:
    """Return the ground of all places of a plan: their chips, or their cells for ``centre``.

    Args:
        opened: A run of places.
        kind: Which vectors.

    Raises:
        RunDirectoryError: If run.json does not say how many cells a chip has.
    """
    plan = opened.plan
    assert isinstance(plan, PlacePlan)
    left, top = np.empty(len(plan)), np.empty(len(plan))
    for k, lattice in enumerate(plan.lattices):
        chosen = plan.zone == k
        left[chosen], _, _, top[chosen] = tile_bounds(lattice, plan.col[chosen], plan.row[chosen])
    chip = float(plan.lattices[0].tile_size * plan.lattices[0].resolution)
    if kind != "centre":
        return Ground(left + chip / 2, top - chip / 2, chip)
    cell = chip / _cells_per_side(opened)
    # As the model picks the cell: `models.at_place.centre_cells`.
    col, row = np.floor((plan.x - left) / cell), np.floor((top - plan.y) / cell)
    return Ground(left + (col + 0.5) * cell, top - (row + 0.5) * cell, cell)


def _reach(plan: PlacePlan) -> float:
    """Return the distance of places on the ground from which on chips share no pixel, metres.

    In any direction, so the diagonal; a chip's centre is up to half the coarsest band's pixel from
    its place in x and in y, and UTM's scale is 0.9996 or more.
    """
    lattice = plan.lattices[0]
    pixels = lattice.tile_size + lattice.step
    return math.sqrt(2) * pixels * lattice.resolution / 0.9996


def _cells_per_side(opened: OpenedRun) -> int:
    info = opened.document.get("info", {}).get("model", {})
    sides = info.get("group_grid_side")
    side = max(sides.values()) if sides else info.get("grid_side")
    if side is None:
        raise RunDirectoryError(
            f"`{opened.run.run_json}` does not say how many cells a chip's map has (info.model), "
            "so the ground of `centre` is not known. Use --vectors pooled."
        )
    return int(side)


def place_samples(
    opened: OpenedRun, labels: Labels, spec: ProbeSpec, progress: bool
) -> PlaceSamples:
    """Return the places of a run that have a label and a vector.

    Args:
        opened: A run of places.
        labels: `KeptLabels` of this run; or `JoinableLabels`, of the places' chips or cells.
        spec: Settings.
        progress: Whether to draw a progress bar.

    Raises:
        ConfigError: If the run does not have such vectors, or no column of the group's name.
        RunDirectoryError: If a file of the run cannot be read.
    """
    plan, table = opened.plan, opened.table
    assert isinstance(plan, PlacePlan)
    assert table is not None
    kind, (rows, _) = place_vectors(opened, spec), table
    ground = ground_of(opened, kind)
    done = read_done(opened)
    index = done.index[done.embedded]
    thin, tied = 0, np.zeros(len(index), dtype=np.bool_)
    if isinstance(labels, KeptLabels):
        values = labels.codes[index]
        usable: BoolArray = np.isfinite(values)
        unlabelled = int((~usable).sum())
    else:
        values, usable, tied, tally = _joined(plan, ground, index, labels, spec, progress)
        unlabelled, thin = tally.unlabelled, tally.thin
    group, grouped = None, np.ones(len(index), dtype=np.bool_)
    if spec.group is not None:
        group, grouped = _groups(opened, index, labels, spec.group)
    labelled = np.flatnonzero(usable & grouped)
    used = labelled[thinned(len(labelled), spec)]
    chosen = index[used]
    found, vectors = read_vectors(opened, kind, chosen, progress=progress)
    if not np.array_equal(found, chosen):
        raise RunDirectoryError(
            f"{counted(len(chosen) - len(found), 'place')} of `{opened.run.path}` with status ok "
            f"have no vector. `thor-geo validate {opened.run.path}` shows what is wrong."
        )
    spans = [(window.start, window.end) for window in plan.windows]
    times = np.array(
        [[_microseconds(time) for time in span] for span in spans], dtype=np.int64
    ).reshape(-1, 2)[plan.window[chosen]]
    epsg = np.array([lattice.epsg for lattice in plan.lattices], dtype=np.int64)
    return PlaceSamples(
        unit="places",
        kind=kind,
        side=ground.side,
        reach_m=_reach(plan),
        vectors=vectors,
        values=values[used],
        tile=chosen,
        epsg=epsg[plan.zone[chosen]],
        x=ground.x[chosen],
        y=ground.y[chosen],
        tied=tied[used],
        lon=plan.lon[chosen],
        lat=plan.lat[chosen],
        place=plan.place[chosen],
        starts=times[:, 0],
        ends=times[:, 1],
        group=None if group is None else group[used],
        counts=Counts(
            labelled=len(labelled),
            unlabelled=unlabelled,
            thin=thin,
            without_embedding=rows - len(index),
            thinned=len(labelled) - len(used),
            without_group=int((usable & ~grouped).sum()),
        ),
    )


def _microseconds(time: Any) -> int:
    return int(np.datetime64(time.replace(tzinfo=None), "us").astype(np.int64))


def _joined(
    plan: PlacePlan,
    ground: Ground,
    index: Int64Array,
    labels: Any,
    spec: ProbeSpec,
    progress: bool,
) -> tuple[Float64Array, BoolArray, BoolArray, LabelTally]:
    """Return labels of the places' ground, which are usable, which are ties, and the others."""
    joinable: JoinableLabels = labels
    values, tied = np.full(len(index), np.nan), np.zeros(len(index), dtype=np.bool_)
    usable, tally = np.zeros(len(index), dtype=np.bool_), LabelTally(spec.min_cover)
    half, one = ground.side / 2, np.ones((1, 1), dtype=np.bool_)
    for k, place in enumerate(track(index.tolist(), "places", label="labels", shown=progress)):
        epsg = plan.lattices[plan.zone[place]].epsg
        left, top = ground.x[place] - half, ground.y[place] + half
        joined = joinable.join(Squares(epsg, float(left), float(top), ground.side, 1, 1))
        usable[k] = tally.accept(joined, one)[0, 0]
        values[k], tied[k] = joined.value[0, 0], joined.tied[0, 0]
    return values, usable, tied, tally


def _groups(
    opened: OpenedRun, index: Int64Array, labels: Labels, name: str
) -> tuple[ObjectArray, BoolArray]:
    """Return the group of each place as text, and which have one."""
    column = chosen_column(opened.run, name, "--group")
    if isinstance(labels, KeptLabels) and column == labels.name:
        raise ConfigError(
            "--group",
            name,
            "it is the target: no group would have two different labels",
            "Choose another column.",
        )
    rows = read_done(opened, [column])
    series = as_series(rows.columns[column])
    known = ~series.isna().to_numpy(dtype=np.bool_)
    at = np.searchsorted(rows.index, index)
    groups: ObjectArray = series.astype(str).to_numpy(dtype=object)[at]
    return groups, known[at]
