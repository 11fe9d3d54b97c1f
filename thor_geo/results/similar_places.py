"""Places of a table that are similar to given ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from thor_geo.errors import RunDirectoryError
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.pictures.caption import SEPARATOR, run_caption
from thor_geo.pictures.marks import Marks
from thor_geo.pictures.place_map import PlaceGround
from thor_geo.pictures.place_sheet import draw_place_values
from thor_geo.results.cosine import Cosine, largest
from thor_geo.results.index_search import NeighbourIndex
from thor_geo.results.place_question import PlaceQuestion
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
        compared: Number of places that were compared, or that are in the index.
        all_index: Indices of all places with an embedding, (N,); none if an index answered.
        all_cosine: Their cosines, (N,) float32; none likewise.
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
    index: NeighbourIndex | None = None,
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
        index: The index of these vectors; without it, all of them are read.

    Raises:
        ConfigError: If there is no such place, or it has no embedding.
        RunDirectoryError: If the run has no vectors, or they cannot be read.
    """
    if index is not None:
        return _from_index(opened, index, k, PlaceQuestion(at, places, ids), unit)
    plan = opened.plan
    assert isinstance(plan, PlacePlan)
    rows, valid = embedded_rows(opened, unit)
    embedded = rows.index[valid]
    queries = np.searchsorted(
        embedded, PlaceQuestion(at, places, ids).find(opened, rows, valid)
    ).tolist()
    assert rows.vectors is not None
    vectors = rows.vectors if len(valid) == len(rows) else rows.vectors[valid]
    similarity = Cosine(vectors).similarity(mean_direction(vectors[queries]))
    candidate = np.ones(len(embedded), dtype=np.bool_)
    candidate[queries] = False
    candidates = np.flatnonzero(candidate)
    order = largest(similarity, candidates, k)
    return RankedPlaces(
        plan=plan,
        index=embedded[order],
        cosine=similarity[order],
        columns=rows.columns.take(valid[order]),
        queries=places_in_words(opened, embedded[queries], rows.columns.take(valid[queries])),
        query_index=embedded[queries],
        compared=len(candidates),
        all_index=embedded,
        all_cosine=similarity,
    )


def _from_index(
    opened: OpenedRun,
    index: NeighbourIndex,
    k: int,
    question: PlaceQuestion,
    unit: PlaceUnit,
) -> RankedPlaces:
    """Find similar places in an index; of the run, few files are read."""
    plan = opened.plan
    assert isinstance(plan, PlacePlan)
    asked = question.look_up(opened)
    vectors = _rows_of(opened, asked, VECTORS[unit])
    assert vectors.rows.vectors is not None
    direction = mean_direction(vectors.rows.vectors[vectors.at])
    found, cosine = index.nearest(direction, k, set(asked.tolist()))
    rows, queries = _rows_of(opened, found), _rows_of(opened, asked)
    return RankedPlaces(
        plan=plan,
        index=found,
        cosine=cosine,
        columns=rows.rows.columns.take(rows.at),
        queries=places_in_words(opened, asked, queries.rows.columns.take(queries.at)),
        query_index=asked,
        compared=index.searched - len(np.unique(asked)),
        all_index=found[:0],
        all_cosine=cosine[:0],
    )


class _Rows(NamedTuple):
    """Rows of some shards, and the positions among them of the places that were wanted."""

    rows: PlaceRows
    at: Int64Array


def _rows_of(opened: OpenedRun, index: Int64Array, vectors: PlaceVectors | None = None) -> _Rows:
    """Return rows of places by their indices in the plan."""
    plan = opened.plan
    assert isinstance(plan, PlacePlan)
    shards = np.unique(np.searchsorted(plan.shards.starts, index, side="right") - 1).tolist()
    columns = own_columns(opened.run)
    rows = read_place_rows(opened.run, plan, vectors=vectors, columns=columns, shards=shards)
    return _Rows(rows, np.searchsorted(rows.index, index))


def places_in_words(opened: OpenedRun, index: Int64Array, columns: pa.Table) -> tuple[str, ...]:
    """Return places by row and, if the table has a column of ids, by id.

    Args:
        opened: A run of places.
        index: Their indices in the plan, (n,).
        columns: Columns of the table, n rows.
    """
    plan = opened.plan
    assert isinstance(plan, PlacePlan)
    words = [f"place {place}" for place in plan.place[index].tolist()]
    own = id_column(opened.run)
    if own is None:
        return tuple(words)
    names = columns[own].to_pylist()
    return tuple(f"{word} ({name})" for word, name in zip(words, names, strict=True))


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
