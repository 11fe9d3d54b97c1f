"""Places of a table that are similar to given ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from thor_geo.errors import ConfigError, RunDirectoryError
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.pictures.caption import SEPARATOR, run_caption
from thor_geo.pictures.marks import Marks
from thor_geo.pictures.place_map import PlaceGround
from thor_geo.pictures.place_sheet import draw_place_values
from thor_geo.results.cosine import Cosine, largest
from thor_geo.results.place_parts import nearest_place, no_place_error
from thor_geo.results.place_table import place_frame
from thor_geo.results.similarity import LonLat, mean_direction
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.runs.place_reading import (
    PlaceRows,
    PlaceVectors,
    id_column,
    own_columns,
    read_place_rows,
)
from thor_geo.support.arrays import Float32Array, Int64Array

if TYPE_CHECKING:
    import geopandas
    import pyarrow as pa
    from matplotlib.figure import Figure

#: What is compared of places: the vectors of their chips, or of the cells that hold them.
PlaceUnit = Literal["chips", "centres"]
#: By unit: the column of its vectors.
VECTORS: dict[PlaceUnit, PlaceVectors] = {"chips": "embedding", "centres": "centre"}


@dataclass(frozen=True, kw_only=True, eq=False)
class RankedPlaces:
    """Places, the most similar first.

    Attributes:
        plan: The plan.
        index: Their indices in it, (n,).
        cosine: (n,) float32.
        columns: The table's columns, n rows: that of ids first, if there is one.
        queries: The places that were asked for, in words.
        query_index: Their indices in the plan.
        compared: Number of places that were compared.
        all_index: Indices of all places with an embedding, (N,).
        all_cosine: Their cosines, (N,) float32.
    """

    plan: PlacePlan
    index: Int64Array
    cosine: Float32Array
    columns: pa.Table
    queries: tuple[str, ...]
    query_index: Int64Array
    compared: int
    all_index: Int64Array = field(repr=False)
    all_cosine: Float32Array = field(repr=False)

    def table(self) -> geopandas.GeoDataFrame:
        """Return the places as points; see `place_frame`."""
        return place_frame(
            self.plan,
            self.index,
            self.columns,
            {"rank": np.arange(1, len(self.index) + 1), "cosine": self.cosine},
        )


def embedded_rows(
    opened: OpenedRun, unit: PlaceUnit, *, progress: bool = True
) -> tuple[PlaceRows, Int64Array]:
    """Return the rows of a run of places, and the positions of those with an embedding.

    Args:
        opened: The run.
        unit: Which vectors to read.
        progress: Whether to show progress on standard error.

    Raises:
        RunDirectoryError: If no place has an embedding, or a file cannot be read.
        ConfigError: If the run has no vectors of that kind.
    """
    run, plan = opened.run, opened.plan
    assert isinstance(plan, PlacePlan)
    if not opened.pooled:
        raise RunDirectoryError(
            f"`{run.path}` has no pooled vectors (output.pooled=false). Use a run with "
            "output.pooled=true."
        )
    rows = read_place_rows(
        run, plan, vectors=VECTORS[unit], columns=own_columns(run), progress=progress
    )
    valid = np.flatnonzero(rows.embedded)
    if not len(valid):
        why = (
            f" yet ({rows.missing:,} of {len(plan):,} are not done)"
            if rows.missing
            else ": all of them are empty or failed"
        )
        raise RunDirectoryError(
            f"`{run.path}` has no place with an embedding{why}. `thor-geo status {run.path}` shows "
            "more."
        )
    return rows, valid


def similar_places(
    opened: OpenedRun,
    k: int,
    *,
    at: Sequence[LonLat] = (),
    places: Sequence[int] = (),
    ids: Sequence[str] = (),
    unit: PlaceUnit = "chips",
) -> RankedPlaces:
    """Find the places most similar to the mean direction of some, which are skipped.

    Args:
        opened: A run of places.
        k: How many to find.
        at: Longitude and latitude in degrees of points; the nearest place is meant, if its chip
            holds the point.
        places: Rows of the table, from 0.
        ids: Values of its column of ids.
        unit: What to compare.

    Raises:
        ConfigError: If there is no such place, or it has no embedding.
        RunDirectoryError: If the run has no vectors, or they cannot be read.
    """
    plan = opened.plan
    assert isinstance(plan, PlacePlan)
    rows, valid = embedded_rows(opened, unit)
    index = rows.index[valid]
    queries = [
        *(_holding(plan, index, point) for point in at),
        *(_numbered(opened, plan, rows, valid, place) for place in places),
        *_named(opened, rows, valid, ids),
    ]
    assert rows.vectors is not None
    vectors = rows.vectors if len(valid) == len(rows) else rows.vectors[valid]
    similarity = Cosine(vectors).similarity(mean_direction(vectors[queries]))
    candidate = np.ones(len(index), dtype=np.bool_)
    candidate[queries] = False
    candidates = np.flatnonzero(candidate)
    order = largest(similarity, candidates, k)
    columns = rows.columns.take(valid[order])
    own = id_column(opened.run)
    words = [f"place {plan.place[index[q]]}" for q in queries]
    if own is not None:
        named = rows.columns[own].take(valid[queries]).to_pylist()
        words = [f"{word} ({name})" for word, name in zip(words, named, strict=True)]
    return RankedPlaces(
        plan=plan,
        index=index[order],
        cosine=similarity[order],
        columns=columns,
        queries=tuple(words),
        query_index=index[queries],
        compared=len(candidates),
        all_index=index,
        all_cosine=similarity,
    )


def _holding(plan: PlacePlan, index: Int64Array, point: LonLat) -> int:
    """Return the position of the nearest place, if its chip holds a point."""
    among = np.zeros(len(plan), dtype=np.bool_)
    among[index] = True
    best, metres = nearest_place(plan, point, among)
    chip = plan.lattices[0]
    if metres > chip.tile_size * chip.resolution / 2:
        raise no_place_error(plan, point, "--at", among)
    return int(np.searchsorted(index, best))


def _numbered(
    opened: OpenedRun, plan: PlacePlan, rows: PlaceRows, valid: Int64Array, place: int
) -> int:
    found = np.flatnonzero(plan.place[rows.index[valid]] == place)
    if len(found):
        return int(found[0])
    if place in set(plan.place.tolist()):
        raise ConfigError(
            "--place",
            place,
            "this row has no embedding",
            f"`thor-geo status {opened.run.path}` shows which have none.",
        )
    _refuse_skipped(opened, "--place", place, "place")
    raise ConfigError(
        "--place",
        place,
        "the run has no such row of the table",
        "Rows are counted from 0: see the column `place` of pooled/*.parquet.",
    )


def _refuse_skipped(opened: OpenedRun, argument: str, value: int | str, column: str) -> None:
    """Refuse a row of the table that the run skipped, with the reason."""
    import pyarrow.parquet as pq

    if not opened.run.skipped.exists():
        return
    rows = pq.read_table(opened.run.skipped, columns=[column, "error"])
    reasons = {str(key): why for key, why in zip(*rows.to_pydict().values(), strict=True)}
    if str(value) in reasons:
        raise ConfigError(
            argument,
            value,
            f"this row was skipped: {reasons[str(value)]}",
            "Give one that has an embedding, or a point near it with --at.",
        )


def _named(opened: OpenedRun, rows: PlaceRows, valid: Int64Array, ids: Sequence[str]) -> list[int]:
    if not ids:
        return []
    own = id_column(opened.run)
    if own is None:
        raise ConfigError(
            "--id",
            ids[0],
            f"the table of `{opened.run.path}` has no column of ids (data.places.id)",
            "Give its row: --place.",
        )
    number = {str(name): k for k, name in enumerate(rows.columns[own].take(valid).to_pylist())}
    for name in ids:
        if name not in number:
            _refuse_skipped(opened, "--id", name, own)
            few = ", ".join(list(number)[:3])
            raise ConfigError(
                "--id", name, f"no place with an embedding has this {own}", f"Give one, e.g. {few}."
            )
    return [number[name] for name in ids]


def draw_similar_places(opened: OpenedRun, similar: RankedPlaces, unit: PlaceUnit) -> Figure:
    """Draw a map of similar places: the cosine of each, and the most similar ones with ranks.

    Args:
        opened: The run.
        similar: The places.
        unit: What was compared.
    """
    plan, shown = similar.plan, similar.all_index
    lattice = plan.lattices[0]
    ground = PlaceGround.around(
        plan.lon[shown], plan.lat[shown], least_m=4.0 * lattice.tile_size * lattice.resolution
    )
    low, high = np.percentile(similar.all_cosine, (2, 100)).tolist()
    caption = run_caption(opened.run, plan)
    return draw_place_values(
        ground,
        similar.all_cosine,
        Marks(
            ground.ranked(np.searchsorted(shown, similar.index)),
            ground.points(np.searchsorted(shown, similar.query_index)),
        ),
        title="Similarity",
        label=f"cosine similarity of {unit} to the place with the star",
        cmap="viridis",
        limits=(low, high),
        caption=replace(
            caption,
            title=f"{len(similar.index):,} most similar places",
            subtitle=f"{caption.title}{SEPARATOR}{caption.subtitle}",
        ),
    )
