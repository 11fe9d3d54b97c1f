"""PlaceDataset: the chips of a plan of places, each from the dataset of its zone and window."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import rasterio
import shapely
import torch
from rasterio.features import rasterize
from shapely.geometry.base import BaseGeometry
from torch import Tensor
from torchgeo.datasets import GeoDataset

from thor_geo.datasets.planned import PlanDataset
from thor_geo.errors import BlockError
from thor_geo.ground.area import LONLAT, transformer
from thor_geo.ground.lattice import Rect, Tile, zone_name
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.specs import TemporalSpec
from thor_geo.support.arrays import ObjectArray, UInt8Array

#: Makes the dataset of a UTM zone, by EPSG code, in a time window; picklable.
OpenZone: TypeAlias = Callable[[int, TemporalSpec], GeoDataset]

# Datasets kept open. Chips come by zone and window, so that more are only needed where batches are
# made of other chips.
_OPEN = 16

# Metres of a degree of latitude, at least (at the equator).
_DEGREE_M = 110_500.0

# Longest piece of a polygon's outline in degrees: less than a metre off the straight line in UTM.
_PIECE = 0.02


class PlaceDataset(PlanDataset):
    """Samples by their index in a plan of places.

    To what `PlanDataset` says of a tile it adds:

    * ``place_at``: float64 (2,), row and column of the place in pixels from the chip's upper left
      corner
    * ``within``: with polygons alone; uint8 (H, W), 1 where a pixel's centre lies in the place's
      polygon; where none does, in all pixels that the polygon touches
    """

    plan: PlacePlan

    def __init__(
        self,
        plan: PlacePlan,
        zones: OpenZone | Mapping[int, GeoDataset],
        *,
        channels: int,
        sensors: int = 1,
        dtype: torch.dtype = torch.int16,
        strict: bool = False,
        polygons: ObjectArray | None = None,
    ) -> None:
        """Initialize a new PlaceDataset instance; no dataset is made yet.

        Args:
            plan: The chips.
            zones: Makes the dataset of a zone and window when a chip needs it; or the dataset of
                each zone, by EPSG code, for all windows.
            channels: Planes of a chip's image.
            sensors: Planes of a chip's observations.
            dtype: Type of a chip's image.
            strict: Stop at a chip that cannot be produced.
            polygons: What each row of the table covers, in longitude and latitude, (rows,); None
                for samples without ``within``.
        """
        super().__init__(
            plan,
            zones if isinstance(zones, Mapping) else {},
            channels=channels,
            sensors=sensors,
            dtype=dtype,
            strict=strict,
        )
        self._open_zone = None if isinstance(zones, Mapping) else zones
        self._polygons = polygons
        self._open: dict[tuple[int, int], GeoDataset] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Pickle without the datasets that were made."""
        return {**self.__dict__, "_open": {}}

    def _sample(self, index: int, slot: tuple[Tensor, Tensor]) -> dict[str, Any]:
        sample = super()._sample(index, slot)
        if "fatal" in sample:
            return sample
        sample["place_at"] = torch.tensor(self.plan.at(index), dtype=torch.float64)
        if self._polygons is not None:
            row = int(self.plan.place[index])
            centre = (float(self.plan.lon[index]), float(self.plan.lat[index]))
            inside = covered_pixels(self._polygons[row], self.plan.tile(index), centre)
            sample["within"] = torch.from_numpy(inside)
        return sample

    def _zone(self, index: int, tile: Tile) -> GeoDataset:
        if self._open_zone is None:
            if tile.epsg not in self.zones:
                raise BlockError(f"Chip {tile.id}: no file lies in zone {zone_name(tile.epsg)}.")
            return self.zones[tile.epsg]
        key = (tile.epsg, int(self.plan.window[index]))
        dataset = self._open.pop(key, None)
        if dataset is None:
            dataset = self._open_zone(tile.epsg, self.plan.window_of(index))
            if len(self._open) >= _OPEN:
                del self._open[next(iter(self._open))]
        self._open[key] = dataset  # the last to go
        return dataset


def covered_pixels(polygon: BaseGeometry, chip: Rect, centre: tuple[float, float]) -> UInt8Array:
    """Return which pixels of a chip a polygon covers.

    Args:
        polygon: A polygon or multipolygon in longitude and latitude.
        chip: The chip.
        centre: Longitude and latitude of a place in the chip.

    Returns:
        (height, width): 1 where the pixel's centre lies in the polygon; where none does, in all
        pixels that the polygon touches.
    """
    near = shapely.segmentize(_around(polygon, chip, centre), _PIECE)
    change = transformer(LONLAT, f"EPSG:{chip.epsg}").transform

    def to_zone(points: Any) -> Any:
        return np.stack(change(points[:, 0], points[:, 1]), axis=1)

    shape = shapely.transform(near, to_zone)
    for all_touched in (False, True):
        covered: UInt8Array = np.zeros((chip.height, chip.width), np.uint8)
        if not shape.is_empty:
            covered = rasterize(
                [shape],
                out_shape=covered.shape,
                transform=rasterio.Affine(*chip.transform),
                all_touched=all_touched,
                dtype="uint8",
            )
        if covered.any():
            break
    return covered


def _around(polygon: BaseGeometry, chip: Rect, centre: tuple[float, float]) -> BaseGeometry:
    """Return what of a polygon lies near a chip: far from its zone UTM has no coordinates."""
    lon, lat = centre
    reach = chip.resolution * max(chip.width, chip.height) / _DEGREE_M
    high = reach / math.cos(math.radians(min(abs(lat) + reach, 89.0)))
    boxes = [
        shapely.box(lon + turn - high, lat - reach, lon + turn + high, lat + reach)
        for turn in (-360.0, 0.0, 360.0)  # a chip may lie on the antimeridian
    ]
    return shapely.intersection(polygon, shapely.union_all(boxes))
