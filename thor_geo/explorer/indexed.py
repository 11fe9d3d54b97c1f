"""Answers clicks from an index, where the explorer holds only some of a run's vectors."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from thor_geo.explorer.located import RasterVectors, tile_pixels
from thor_geo.ground.area import LONLAT, transformer
from thor_geo.ground.plan import Plan
from thor_geo.results import zone_cells
from thor_geo.results.index_search import NeighbourIndex
from thor_geo.results.similarity import cell_bounds
from thor_geo.results.tiles import tile_ground
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.runs.similar_index import pack_cells, unpack_cells
from thor_geo.support.arrays import Float32Array, Float64Array, Int64Array


class FoundPlaces(NamedTuple):
    """The most similar tiles or cells of the whole run, the most similar first.

    Attributes:
        place: The place among those in memory that holds each or, without one, the nearest, (n,).
        tile: Their indices in the plan, (n,); None for cells.
        lonlat: Their centres, degrees, (n, 2).
        cosine: Their cosines, (n,) float32.
    """

    place: Int64Array
    tile: Int64Array | None
    lonlat: Float64Array
    cosine: Float32Array

    def as_json(self, plan: Plan) -> list[dict[str, Any]]:
        """Return what a page lists, the most similar first.

        Args:
            plan: The run's plan.
        """
        return [
            {
                "place": int(self.place[k]),
                "lon": lon,
                "lat": lat,
                "id": None if self.tile is None else plan.tile(int(self.tile[k])).id,
                "cosine": float(self.cosine[k]),
            }
            for k, (lon, lat) in enumerate(self.lonlat.tolist())
        ]


class IndexedPlaces:
    """Finds places of the whole run for places in memory; safe to use from several threads."""

    def __init__(
        self, opened: OpenedRun, places: RasterVectors, index: NeighbourIndex, window: int | None
    ) -> None:
        """Initialize a new IndexedPlaces instance.

        Args:
            opened: The run.
            places: The tiles or cells in memory.
            index: The index of all of them.
            window: Which time window.
        """
        self._plan, self._places, self._index = opened.plan, places, index
        keys = (places.shard * places.side + places.row) * places.side + places.col
        self._order = np.argsort(keys)
        self._keys = keys[self._order]
        self._zones = zone_cells(opened, window=window) if places.unit == "cells" else {}
        # By zone, and position in the zone's map counted in shards.
        self._shards: dict[tuple[int, int, int], int] = {}
        self._corners: list[tuple[int, int, int]] = []
        for epsg, zone in self._zones.items():
            for shard in zone.shards:
                rows, cols = zone.shard_cells(shard)
                side = rows.stop - rows.start
                where = (epsg, rows.start // side, cols.start // side)
                self._shards[where] = len(self._shards)
                self._corners.append((epsg, rows.start, cols.start))

    def nearest(self, place: int, k: int) -> FoundPlaces:
        """Return the most similar places of the whole run to one in memory, without that one.

        Args:
            place: Index of a place in memory.
            k: How many; at most all.

        Raises:
            RunDirectoryError: If the index cannot be read.
        """
        places = self._places
        if places.tile is not None:
            asked = int(places.tile[place])
        else:
            epsg, top, left = self._corners[int(places.shard[place])]
            row, col = (
                start + places.step // 2 + int(pixel[place]) * places.step
                for start, pixel in ((top, places.row), (left, places.col))
            )
            asked = int(pack_cells(epsg, np.int64(row), np.int64(col)))
        found, cosine = self._index.nearest(places.vectors[place], k, {asked})
        tile, lonlat, shard, rows, cols = self._whereabouts(found)
        pixel = (shard * places.side + rows // places.step) * places.side + cols // places.step
        return FoundPlaces(self._in_memory(pixel, lonlat), tile, lonlat, cosine)

    def _whereabouts(
        self, found: Int64Array
    ) -> tuple[Int64Array | None, Float64Array, Int64Array, Int64Array, Int64Array]:
        """Return tiles, centres, shards, and rows and columns in these, of what was found."""
        if self._places.tile is not None:
            lonlat = tile_ground(self._plan, found).lonlat
            shard = np.searchsorted(self._plan.shards.starts, found, side="right") - 1
            return found, lonlat, shard, *tile_pixels(self._plan, found)
        cells, side = unpack_cells(found), self._places.side * self._places.step
        lonlat = np.empty((len(found), 2))
        for epsg in np.unique(cells[:, 0]).tolist():
            among = cells[:, 0] == epsg
            zone = self._zones[epsg]
            bounds = cell_bounds(zone, cells[among, 1], cells[among, 2])
            x, y = bounds[:, 0] + zone.cell / 2, bounds[:, 1] + zone.cell / 2
            lonlat[among] = np.stack(transformer(f"EPSG:{epsg}", LONLAT).transform(x, y), axis=1)
        where = [(epsg, row // side, col // side) for epsg, row, col in cells.tolist()]
        shards = np.array([self._shards[each] for each in where], dtype=np.int64)
        return None, lonlat, shards, cells[:, 1] % side, cells[:, 2] % side

    def _in_memory(self, keys: Int64Array, lonlat: npt.NDArray[np.float64]) -> Int64Array:
        """Return the places in memory at some pixels; for a pixel without one, the nearest."""
        at = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        place: Int64Array = self._order[at].astype(np.int64)
        for k in np.flatnonzero(self._keys[at] != keys).tolist():
            away = self._places.lonlat - lonlat[k]
            away[:, 0] = (away[:, 0] + 180) % 360 - 180
            away[:, 0] *= np.cos(np.radians(lonlat[k, 1]))
            place[k] = int((away**2).sum(axis=1).argmin())
        return place
