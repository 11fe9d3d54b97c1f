"""The places of a table that a search asks about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from thor_geo.errors import ConfigError
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.results.place_parts import nearest_place, no_place_error
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.runs.place_reading import PlaceRows, id_column, read_place_rows
from thor_geo.storage.files import readable
from thor_geo.support.arrays import Int64Array

# Degrees of latitude in a metre, at most (polar radius of curvature of WGS 84).
_DEGREES_PER_M = 1 / 110_570


class PlaceQuestion(NamedTuple):
    """Places by points, rows and ids.

    Attributes:
        at: Longitude and latitude in degrees of points; the nearest place is meant, if its chip
            holds the point.
        places: Rows of the table, from 0.
        ids: Values of its column of ids.
    """

    at: Sequence[tuple[float, float]]
    places: Sequence[int]
    ids: Sequence[str]

    def find(self, opened: OpenedRun, rows: PlaceRows, valid: Int64Array) -> Int64Array:
        """Return the places, as indices in the plan.

        Args:
            opened: A run of places.
            rows: Its rows, with the column of ids if `ids` asks for some.
            valid: Positions of those with an embedding.

        Raises:
            ConfigError: If there is no such place, or it has no embedding.
        """
        plan = opened.plan
        assert isinstance(plan, PlacePlan)
        found = [
            *(_holding(plan, rows.index[valid], point) for point in self.at),
            *(_numbered(opened, plan, rows, valid, place) for place in self.places),
            *_named(opened, rows, valid, self.ids),
        ]
        return np.array(found, dtype=np.int64)

    def look_up(self, opened: OpenedRun) -> Int64Array:
        """Return the places, as indices in the plan, and read as few files as possible.

        Points and rows need the files of their shards, ids those of all shards, without vectors.

        Args:
            opened: A run of places.

        Raises:
            ConfigError: If there is no such place, or it has no embedding.
            RunDirectoryError: If a file cannot be read.
        """
        plan = opened.plan
        assert isinstance(plan, PlacePlan)
        near = np.isin(plan.place, np.array(self.places, dtype=np.int64))
        for point in self.at:
            near |= _near(plan, point)
        starts = plan.shards.starts
        shards = np.unique(np.searchsorted(starts, np.flatnonzero(near), side="right") - 1)
        own = id_column(opened.run)
        rows = read_place_rows(
            opened.run,
            plan,
            vectors=None,
            columns=[own] if self.ids and own is not None else [],
            shards=None if self.ids else shards.tolist(),
            progress=bool(self.ids),
        )
        return self.find(opened, rows, np.flatnonzero(rows.embedded))


def _near(plan: PlacePlan, point: tuple[float, float]) -> npt.NDArray[np.bool_]:
    """Return which places may have a point in their chip."""
    chip = plan.lattices[0]
    reach = chip.tile_size * chip.resolution * _DEGREES_PER_M
    lon = np.abs((plan.lon - point[0] + 180) % 360 - 180) * np.cos(np.radians(point[1]))
    near: npt.NDArray[np.bool_] = (lon < reach) & (np.abs(plan.lat - point[1]) < reach)
    return near


def _holding(plan: PlacePlan, index: Int64Array, point: tuple[float, float]) -> int:
    """Return the nearest of some places, if its chip holds a point."""
    if not len(index):
        raise no_place_error(plan, point, "--at")
    among = np.zeros(len(plan), dtype=np.bool_)
    among[index] = True
    best, metres = nearest_place(plan, point, among)
    chip = plan.lattices[0]
    if metres > chip.tile_size * chip.resolution / 2:
        raise no_place_error(plan, point, "--at", among)
    return best


def _numbered(
    opened: OpenedRun, plan: PlacePlan, rows: PlaceRows, valid: Int64Array, place: int
) -> int:
    found = valid[plan.place[rows.index[valid]] == place]
    if len(found):
        return int(rows.index[found[0]])
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
    rows = pq.read_table(readable(opened.run.skipped), columns=[column, "error"])
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
    names = rows.columns[own].take(valid).to_pylist()
    number = {str(name): k for name, k in zip(names, rows.index[valid].tolist(), strict=True)}
    for name in ids:
        if name not in number:
            _refuse_skipped(opened, "--id", name, own)
            few = ", ".join(list(number)[:3])
            raise ConfigError(
                "--id", name, f"no place with an embedding has this {own}", f"Give one, e.g. {few}."
            )
    return [number[name] for name in ids]
