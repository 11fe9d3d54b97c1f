"""Cutting maps back to the area: cells whose centres lie outside it have no embedding."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt
import shapely

from thor_geo.ground.area import Area
from thor_geo.ground.plan import Shard
from thor_geo.runs.zone_grid import ZoneGrid


class AreaCrop:
    """Which cells of maps lie in an area; each UTM zone has the part in its own strip.

    So each cell of ground on a zone's edge is in only one zone's map.

    Attributes:
        digest: sha256 of the area's outline and CRS, hexadecimal: two areas may have the same
            tiles, but not the same cells.
    """

    def __init__(self, area: Area) -> None:
        """Initialize a new AreaCrop instance.

        Args:
            area: The area that was planned.
        """
        self._parts = area.zones()
        for part in self._parts.values():
            shapely.prepare(part)
        outline = shapely.to_wkb(area.geometry, byte_order=1)
        self.digest = hashlib.sha256(area.crs.encode() + b"\n" + outline).hexdigest()

    def inside(self, zone: ZoneGrid, shard: Shard) -> npt.NDArray[np.bool_]:
        """Return which cells of a shard have their centre in the area, or on its outline.

        Args:
            zone: The shard's zone.
            shard: The shard.

        Returns:
            (k s, k s), row 0 = north.
        """
        part, side = self._parts[shard.epsg], zone.shard_side
        box = shapely.box(*shard.square.bounds)
        if part.covers(box):
            return np.ones((side, side), dtype=np.bool_)
        row, col = (index * side for index in zone.shard_position(shard))
        x, y = np.meshgrid(zone.x[col : col + side], zone.y[row : row + side])
        return np.asarray(shapely.intersects_xy(part, x, y), dtype=np.bool_)
