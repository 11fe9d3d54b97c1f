"""The layout of ``places.zarr``: arrays, dimensions, coordinates, files and attributes.

``embeddings (place, band, y, x)`` holds the whole map of every chip, in plan order; int8 embeddings
have ``scale (place, y, x)`` beside them. Every chip has its own place, and perhaps its own zone, so
no array is a map: none carries a grid mapping or ``proj:``/``spatial:`` attributes. Coordinates
along `place` say where and when instead, ``left`` and ``top`` in the zone ``epsg``.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from thor_geo.ground.meeting import tile_bounds
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.ground.plan import Shard
from thor_geo.runs.conventions import EmbeddingFacts
from thor_geo.runs.grid_layout import ARRAY, SCALE, array_names, compressors, fill_value
from thor_geo.runs.quantise import DESCRIPTION, NODATA
from thor_geo.runs.shard import Dtype
from thor_geo.specs import TemporalSpec

PLACE = "place"
_UNITS = {"units": "microseconds since 1970-01-01 00:00:00", "calendar": "proleptic_gregorian"}
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

# Attributes of coordinates.
_ABOUT: dict[str, dict[str, Any]] = {
    PLACE: {"long_name": "row of the table, counted from 0"},
    "band": {"long_name": "dimension of the embedding", "units": "1"},
    "y": {
        "long_name": "cell's centre, north of the chip's centre",
        "units": "metre",
    },
    "x": {"long_name": "cell's centre, east of the chip's centre", "units": "metre"},
    "epsg": {"long_name": "EPSG code of the chip's UTM zone"},
    "left": {"long_name": "easting of the chip's left edge", "units": "metre"},
    "top": {"long_name": "northing of the chip's upper edge", "units": "metre"},
    "place_lon": {
        "standard_name": "longitude",
        "long_name": "longitude of the place",
        "units": "degrees_east",
    },
    "place_lat": {
        "standard_name": "latitude",
        "long_name": "latitude of the place",
        "units": "degrees_north",
    },
    "datetime_start": {"long_name": "start of the time window", **_UNITS},
    "datetime_end": {"long_name": "end of the time window (exclusive)", **_UNITS},
}
#: Coordinates that are not the index of a dimension.
ALONG_PLACE = tuple(name for name in _ABOUT if name not in (PLACE, "band", "y", "x"))


def shard_number(shard: Shard) -> int:
    """Return the position of a shard of places in the whole run, as its id says it."""
    return int(shard.id.rpartition("_")[2])


def place_file(shard: Shard, name: str) -> PurePosixPath:
    """Return the path of the file with a shard's embeddings or scales, within the store.

    Args:
        shard: The shard.
        name: `ARRAY` or `SCALE`.
    """
    zeros = ("0", "0", "0") if name == ARRAY else ("0", "0")
    return PurePosixPath(name, "c", str(shard_number(shard)), *zeros)


@dataclass(frozen=True, kw_only=True)
class PlaceLayout:
    """The shape of a store.

    Attributes:
        places: Places of the plan.
        shard_places: Places of a work shard, which is one Zarr shard.
        cells: (D', h, w), one chip's map.
        tile_size: Side of a chip in pixels.
        resolution: Side of a pixel in metres.
        dtype: Type of the embeddings.
    """

    places: int
    shard_places: int
    cells: tuple[int, int, int]
    tile_size: int
    resolution: int
    dtype: Dtype

    @classmethod
    def of(cls, plan: PlacePlan, cells: tuple[int, int, int], dtype: Dtype) -> PlaceLayout:
        """Return the layout of a plan's store.

        Args:
            plan: The whole plan.
            cells: (D', h, w), one chip's map.
            dtype: Type of the embeddings.
        """
        lattice = plan.lattices[0]
        return cls(
            places=len(plan),
            shard_places=min(plan.shard_places, len(plan)),
            cells=cells,
            tile_size=lattice.tile_size,
            resolution=lattice.resolution,
            dtype=dtype,
        )

    def array(self, name: str) -> dict[str, Any]:
        """Return the arguments of zarr that decide how an array's files are written and read.

        Args:
            name: `ARRAY` or `SCALE`.
        """
        if name == SCALE:
            return {
                "shape": (self.places, *self.cells[1:]),
                "chunks": (self.shard_places, *self.cells[1:]),
                "shards": None,
                "dtype": "float32",
                "fill_value": np.nan,
                "compressors": compressors("float32"),
            }
        return {
            "shape": (self.places, *self.cells),
            "chunks": (1, *self.cells),
            "shards": (self.shard_places, *self.cells),
            "dtype": self.dtype,
            "fill_value": fill_value(self.dtype),
            "compressors": compressors(self.dtype),
        }

    def attributes(self, name: str) -> dict[str, Any]:
        """Return the attributes of an array.

        Args:
            name: `ARRAY` or `SCALE`.
        """
        attributes: dict[str, Any] = {"coordinates": " ".join(ALONG_PLACE)}
        if name == SCALE:
            return {"long_name": "what the embeddings of a cell are multiplied by", **attributes}
        attributes["long_name"] = "THOR embedding"
        if self.dtype == "int8":
            attributes |= {
                # CF's _FillValue makes xarray read float32 with NaN instead of int8 with -128.
                "_FillValue": NODATA,
                "comment": f"int8 codes: {DESCRIPTION['formula']}",
                # What belongs to an array, value by value (CF 1.11, section 3.4).
                "ancillary_variables": SCALE,
            }
        return attributes

    def facts(self, metadata: str) -> EmbeddingFacts:
        """Return what the root of the store says about the embeddings.

        Args:
            metadata: `RunDirectory.metadata`.

        Raises:
            ValueError: If *metadata* is not JSON.
        """
        return EmbeddingFacts.from_metadata(
            metadata,
            dimensions=self.cells[0],
            dtype=self.dtype,
            gsd=self.resolution,
            side=max(1, round(self.tile_size / self.cells[2])),
            stride=None,
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The arrays that have a file for each shard: embeddings, and for int8 scales."""
        return array_names(self.dtype)


def dimensions(name: str) -> tuple[str, ...]:
    """Return the names of the dimensions of an array or a coordinate."""
    if name == ARRAY:
        return (PLACE, "band", "y", "x")
    if name == SCALE:
        return (PLACE, "y", "x")
    return (name,) if name in ("band", "y", "x") else (PLACE,)


def coordinate_attributes(name: str) -> dict[str, Any]:
    """Return the attributes of a coordinate of `coordinates`."""
    return _ABOUT[name]


def coordinates(plan: PlacePlan, layout: PlaceLayout) -> dict[str, npt.NDArray[Any]]:
    """Return the values of all coordinates, by name.

    Args:
        plan: The whole plan.
        layout: Of its store.
    """
    bands, rows, cols = layout.cells
    side = layout.tile_size * layout.resolution
    edges = np.empty((len(plan), 2))
    for k in np.unique(plan.zone).tolist():
        chosen = plan.zone == k
        left, _, _, top = tile_bounds(plan.lattices[k], plan.col[chosen], plan.row[chosen])
        edges[chosen, 0], edges[chosen, 1] = left, top
    epsg = np.array([lattice.epsg for lattice in plan.lattices], dtype=np.int32)
    starts, ends = (
        np.array([_microseconds(window, edge) for window in plan.windows], dtype=np.int64)
        for edge in ("start", "end")
    )
    return {
        PLACE: plan.place,
        "band": np.arange(bands),
        "y": side / 2 - (np.arange(rows) + 0.5) * (side / rows),
        "x": (np.arange(cols) + 0.5) * (side / cols) - side / 2,
        "epsg": epsg[plan.zone],
        "left": np.ascontiguousarray(edges[:, 0]),
        "top": np.ascontiguousarray(edges[:, 1]),
        "place_lon": plan.lon,
        "place_lat": plan.lat,
        "datetime_start": starts[plan.window],
        "datetime_end": ends[plan.window],
    }


def _microseconds(window: TemporalSpec, edge: str) -> int:
    """Return when a window starts or ends, in microseconds since 1970, UTC."""
    since: dt.timedelta = getattr(window, edge) - _EPOCH
    return since // dt.timedelta(microseconds=1)
