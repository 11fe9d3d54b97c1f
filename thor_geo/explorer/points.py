"""The places of a table as the explorer compares and describes them."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from thor_geo.explorer.located import DrawnColours, HeldVectors, LocatedVectors, VectorSource
from thor_geo.ground.lattice import Bounds
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.pictures.caption import format_days
from thor_geo.pictures.classes import PlaceClasses, first_with_classes
from thor_geo.results.similar_places import PlaceUnit, embedded_rows
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.runs.place_reading import id_column
from thor_geo.support.arrays import Float32Array, Int64Array

if TYPE_CHECKING:
    import pyarrow as pa

# Characters of a value, and columns, that a place's label shows; the page's list is narrow.
_LONGEST, _LABELLED = 24, 2


@dataclass(frozen=True, kw_only=True, eq=False)
class PointVectors(LocatedVectors):
    """Vectors of places, which are points; searches consider all of them.

    Attributes:
        plan: The plan.
        columns: The table's columns, N rows.
        id: Name of its column of ids, or None.
        observations: Mean clear observations of each chip, (N,) float32.
        shards: Number of the plan's shards.
    """

    plan: PlacePlan
    columns: pa.Table
    id: str | None
    observations: Float32Array
    shards: int

    def bounds(self, place: int) -> Bounds:
        """Return left, bottom, right, top of a place's chip, metres in its zone."""
        return self.plan.tile(self._index(place)).bounds

    def epsg(self, place: int) -> int:
        """Return the EPSG code of a place's zone."""
        return int(self.plan.lattices[self.plan.zone[self._index(place)]].epsg)

    def window(self, place: int) -> int:
        """Return the index of a place's time window in the plan."""
        return int(self.plan.window[self._index(place)])

    def _index(self, place: int) -> int:
        assert self.tile is not None
        return int(self.tile[place])

    @property
    def side_m(self) -> float:
        """Side of a chip, metres."""
        lattice = self.plan.lattices[0]
        return float(lattice.tile_size * lattice.resolution)

    @cached_property
    def few(self) -> str | None:
        """The first column with few values, by which places are coloured at first."""
        return first_with_classes(self.columns, self.columns.column_names)

    def classes(self, column: str) -> PlaceClasses:
        """Return the classes of a column."""
        return PlaceClasses.of(column, self.columns[column])

    @cached_property
    def labels(self) -> list[str]:
        """The columns that a place's label shows: the first with few values, and other words."""
        import pyarrow as pa

        fields = self.columns.schema
        words = [each.name for each in fields if pa.types.is_string(each.type)]
        first = [] if self.few is None else [self.few]
        return [name for name in dict.fromkeys(first + words) if name != self.id][:_LABELLED]

    def label(self, place: int) -> str:
        """Return a place's id and some of its other columns, for a list."""
        own = self._own(place)
        name = f"place {self._row(place)}" if self.id is None else own[self.id]
        return " · ".join([name, *(own[column] for column in self.labels)])

    def describe(self, place: int) -> dict[str, Any]:
        """Return what is known of a place, as JSON."""
        index = self._index(place)
        lon, lat = self.lonlat[place].tolist()
        observed = float(self.observations[place])
        return {
            "place": place,
            "row": self._row(place),
            "id": None if self.id is None else self._own(place)[self.id],
            "label": self.label(place),
            "lon": lon,
            "lat": lat,
            "columns": self._own(place),
            "window": format_days(self.plan.window_of(index)),
            "offset_m": round(float(self.plan.offset_m[index]), 2),
            "chip": self.plan.tile(index).id,
            "observations": round(observed, 2) if np.isfinite(observed) else None,
        }

    def _row(self, place: int) -> int:
        return int(self.plan.place[self._index(place)])

    def _own(self, place: int) -> dict[str, str]:
        """Return the values of a place's columns in words."""
        names = self.columns.column_names
        return {name: _words(self.columns[name][place].as_py()) for name in names}


def point_vectors(opened: OpenedRun, unit: PlaceUnit, *, progress: bool = False) -> PointVectors:
    """Read the vectors of a run's places.

    Args:
        opened: A run of places with pooled files; it may be unfinished.
        unit: Which of its vectors.
        progress: Whether to draw a progress bar on standard error, where that is a terminal.

    Raises:
        RunDirectoryError: If no place has an embedding yet, or a file cannot be read.
        ConfigError: If the run has no vectors of that kind.
    """
    plan = opened.plan
    assert isinstance(plan, PlacePlan)
    rows, valid = embedded_rows(opened, unit, progress=progress)
    assert rows.vectors is not None
    whole = len(valid) == len(rows)
    return points_of_chips(
        opened,
        unit,
        rows.index[valid],
        HeldVectors(rows.vectors if whole else rows.vectors[valid]),
        rows.observations[valid],
        rows.columns if whole else rows.columns.take(valid),
        missing=-(-rows.missing // plan.shard_places),
    )


def points_of_chips(
    opened: OpenedRun,
    unit: PlaceUnit,
    index: Int64Array,
    source: VectorSource,
    observations: Float32Array,
    columns: pa.Table,
    *,
    missing: int = 0,
    colours: DrawnColours | None = None,
) -> PointVectors:
    """Return some places of a run as points.

    Args:
        opened: A run of places.
        unit: Which of its vectors.
        index: Indices of the places in the plan, (N,), ascending.
        source: Where their vectors come from.
        observations: Mean clear observations of their chips, (N,).
        columns: The table's columns, N rows.
        missing: Shards that are not done yet.
        colours: Their colours, where they need not be computed.
    """
    plan = opened.plan
    assert isinstance(plan, PlacePlan)
    return PointVectors(
        unit=unit,
        source=source,
        searched=np.ones(len(index), dtype=np.bool_),
        lonlat=np.stack([plan.lon[index], plan.lat[index]], axis=1),
        tile=index,
        missing=missing,
        colours=colours,
        plan=plan,
        columns=columns.combine_chunks(),  # in one piece: a value is looked up by its row
        id=id_column(opened.run),
        observations=observations,
        shards=len(plan.shards),
    )


def _words(value: Any) -> str:
    """Return a value for reading, at most `_LONGEST` characters."""
    if value is None:
        return "no value"
    if isinstance(value, dt.datetime):
        text = value.isoformat(sep=" ", timespec="minutes")
    else:
        text = f"{value:g}" if isinstance(value, float) else str(value)
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
