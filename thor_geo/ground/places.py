"""A user's table of places: what the user says about it, and its rows once they are checked."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import pyproj

from thor_geo.errors import ConfigError
from thor_geo.specs import TemporalSpec, check_choice, check_least
from thor_geo.support.arrays import Datetime64Array, Float64Array, ObjectArray

OnBadRow: TypeAlias = Literal["fail", "skip"]

#: Columns that outputs have of their own; a kept column may have none of these names.
RESERVED = (
    "id",
    "tile_id",
    "shard_id",
    "embedding",
    "scale",
    "geometry",
    "primary",
    "bbox",
    "datetime_start",
    "datetime_end",
    "epsg",
    "transform",
    "valid_fraction",
    "observations_mean",
    "n_scenes",
    "source_ids",
    "status",
    "error",
    "place",
    "place_lon",
    "place_lat",
    "offset_m",
    "centre",
    "centre_scale",
)

_DAYS = (-45, 45)


@dataclass(frozen=True, kw_only=True)
class PlacesSpec:
    """A table of places to embed, each in the middle of its own chip.

    Attributes:
        file: Points or polygons: CSV, Parquet, GeoPackage, GeoJSON, shapefile, zipped or not. Null
            makes a table of the emulator's generated landscape.
        layer: Layer of `file`, where it has several.
        crs: CRS of the columns `x` and `y`, e.g. ``EPSG:25832``, where the file states none.
        id: Column with an id of each place; null for the row number.
        date: Column with a day; the window is `days` around it.
        start: Column with the first day of each window, in place of `date`; needs `end`.
        end: Column with the day after each window.
        year: Column with a calendar year that is the window, in place of `date`.
        days: First and last day of the window, counted from `date`.
        keep: Columns to write beside the embeddings; null for all.
        within: Whether to pool a polygon over the patches that it covers, not over its chip.
        on_bad_row: What a faulty row does: ``fail``, or ``skip``, which keeps it with the reason.
        shard_places: Places to a shard, the unit of work and of output.

    Raises:
        ConfigError: If these do not fit together.
    """

    file: Path | None = None
    layer: str | None = None
    crs: str | None = None
    id: str | None = None
    date: str | None = None
    start: str | None = None
    end: str | None = None
    year: str | None = None
    days: tuple[int, int] = _DAYS
    keep: list[str] | None = None
    within: bool = False
    on_bad_row: OnBadRow = "fail"
    shard_places: int = 64

    def __post_init__(self) -> None:
        """Validate everything that needs no file."""
        check_choice("data.places.on_bad_row", self.on_bad_row, OnBadRow)
        check_least(1, **{"data.places.shard_places": self.shard_places})
        if (self.start is None) != (self.end is None):
            name, given = ("end", "start") if self.end is None else ("start", "end")
            raise ConfigError(
                f"data.places.{name}",
                None,
                f"`{given}` is the name of a column, and `{name}` is not given",
                "Give both. A window of all rows is data.start and data.end.",
            )
        ways = [name for name in ("date", "start", "year") if getattr(self, name) is not None]
        if len(ways) > 1:
            raise ConfigError(
                f"data.places.{ways[1]}",
                getattr(self, ways[1]),
                f"`{ways[0]}` is given as well",
                "Give one of date, year, and start with end.",
            )
        if self.days[0] > self.days[1]:
            raise ConfigError(
                "data.places.days",
                self.days,
                "the last day is before the first",
                "Count both from the date, e.g. [-45, 45]; [0, 0] is that day alone.",
            )
        if self.date is None and tuple(self.days) != _DAYS:
            raise ConfigError(
                "data.places.days", self.days, "there is no `date`", "Name the column of dates."
            )
        if self.keep is not None and (twice := {n for n in self.keep if self.keep.count(n) > 1}):
            raise ConfigError(
                "data.places.keep", self.keep, f"{min(twice)!r} is named twice", "Name it once."
            )
        if self.crs is not None:
            try:
                pyproj.CRS.from_user_input(self.crs)
            except pyproj.exceptions.CRSError as error:
                raise ConfigError(
                    "data.places.crs", self.crs, f"unknown CRS ({error})", "Give e.g. EPSG:25832."
                ) from error

    @property
    def dated(self) -> str | None:
        """Name of the column that gives rows their windows; None if they have none of their own."""
        return self.date or self.start or self.year

    def load(
        self,
        window: TemporalSpec | None = None,
        *,
        earliest: dt.date | None = None,
        content: bytes | None = None,
        aloud: bool = True,
    ) -> Places:
        """Read and check the table.

        Args:
            window: Window of all rows; where columns give windows it is not looked at.
            earliest: Day of the sensor's first image, if there is one: a window of a row that ends
                before it is a fault of the row.
            content: The table as a Parquet file in memory, in place of the one that is named.
            aloud: Whether to warn of rows that are skipped; one of several ranks does.

        Raises:
            ConfigError: If the table cannot be read, a column is missing or unsuitable, or rows are
                bad and `on_bad_row` is ``fail``.
        """
        if self.file is None:
            raise ConfigError(
                "data.places.file",
                None,
                "there is no table of places",
                "Give a file with points or polygons. Only the landscape that the emulator "
                "generates comes with a table.",
            )
        from thor_geo.ground._place_rows import read_places

        return read_places(self, window, earliest, content, aloud=aloud)


@dataclass(frozen=True, kw_only=True, eq=False)
class Places:
    """The n rows of a table of places, in the table's order.

    Attributes:
        source: The file, for messages.
        lon: Longitudes, degrees (n,), -180 to 180; NaN in skipped rows.
        lat: Latitudes, degrees (n,); NaN in skipped rows.
        starts: First instants of the windows, datetime64[us] UTC (n,); NaT in skipped rows.
        ends: First instants after the windows, datetime64[us] UTC (n,); NaT in skipped rows.
        columns: pyarrow Table of n rows: the column of ids, if there is one, and the kept ones,
            with the types and nulls that the table gives them.
        id: Name of the column of ids; None if the row number is the id.
        polygons: Object array (n,) of (multi)polygons in longitude and latitude, None in skipped
            rows; None unless chips are pooled within them.
        skipped: Reason by row (from 0) of what is left out.
        digests: SHA-256 by what it covers: ``geometry``, ``datetime_start``, ``datetime_end``, and
            the name of each column.
    """

    source: str
    lon: Float64Array
    lat: Float64Array
    starts: Datetime64Array
    ends: Datetime64Array
    columns: Any
    id: str | None
    polygons: ObjectArray | None
    skipped: Mapping[int, str]
    digests: Mapping[str, str]

    def __len__(self) -> int:
        """Return the number of rows, skipped ones among them."""
        return len(self.lon)

    def without(self, reasons: Mapping[int, str]) -> Places:
        """Return the table with further rows skipped.

        Args:
            reasons: Reason by row, from 0, of rows that are not skipped yet.
        """
        out = np.isin(np.arange(len(self)), list(reasons))
        nothing, polygons = np.datetime64("NaT", "us"), self.polygons
        if polygons is not None:
            polygons = polygons.copy()
            polygons[out] = None
        return replace(
            self,
            lon=np.where(out, np.nan, self.lon),
            lat=np.where(out, np.nan, self.lat),
            starts=np.where(out, nothing, self.starts),
            ends=np.where(out, nothing, self.ends),
            polygons=polygons,
            skipped=dict(sorted({**self.skipped, **reasons}.items())),
        )


def column_digest(column: Any) -> str:
    """Return the SHA-256 of a column's type, values and nulls, as `Places.digests` has it.

    Args:
        column: pyarrow chunked array of a plain type.
    """
    from thor_geo.ground._place_columns import column_digest as digest_of

    return digest_of(column)
