"""The rasters that the page draws, and where web maps have them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thor_geo.explorer.located import RasterVectors
from thor_geo.ground.area import LONLAT, transformer
from thor_geo.support.arrays import Float64Array

# Radius of the sphere of web maps (EPSG:3857), metres.
_RADIUS = 6378137.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Patches:
    """The rasters that a page draws: for each shard one of its main places, and one of the others.

    Attributes:
        patch: Patch of each place, (N,) uint32.
        shard: Index of each patch's shard, (P,) int32.
        mesh: Corners, edge midpoints and centre of each patch, from north to south and west to
            east, as x and y of web Mercator in metres, (P, 3, 3, 2) float64.
    """

    patch: npt.NDArray[np.uint32]
    shard: npt.NDArray[np.int32]
    mesh: npt.NDArray[np.float64]


def shard_patches(places: RasterVectors) -> Patches:
    """Return the rasters of places; those of main places come last and are drawn on top."""
    count = len(places.shards)
    keys, patch = np.unique(places.shard + count * places.main, return_inverse=True)
    shard = keys % count
    squares = [places.shards[k].square for k in shard.tolist()]
    left, bottom, right, top = np.array([square.bounds for square in squares]).T[..., None, None]
    edge = np.array([0.0, 0.5, 1.0])
    x = np.broadcast_to(left + (right - left) * edge[None, None, :], (len(keys), 3, 3))
    y = np.broadcast_to(top - (top - bottom) * edge[None, :, None], (len(keys), 3, 3))
    lon, lat = np.empty(x.shape), np.empty(x.shape)
    epsg = np.array([square.epsg for square in squares])
    for zone in np.unique(epsg).tolist():
        in_zone = epsg == zone
        lon[in_zone], lat[in_zone] = transformer(f"EPSG:{zone}", LONLAT).transform(
            x[in_zone], y[in_zone]
        )
    mesh = web_mercator(lon, lat)
    return Patches(patch=patch.astype(np.uint32), shard=shard.astype(np.int32), mesh=mesh)


def web_mercator(lon: npt.NDArray[np.float64], lat: npt.NDArray[np.float64]) -> Float64Array:
    """Return x and y of web Mercator in metres, (..., 2).

    Longitudes may pass 180 degrees, so that a run on both sides of the antimeridian stays together.

    Args:
        lon: Longitudes, degrees, (...).
        lat: Latitudes.
    """
    turned = np.exp(1j * np.radians(lon))
    middle = np.degrees(np.angle(turned.mean()))
    lon = middle + np.degrees(np.angle(turned * np.exp(-1j * np.radians(middle))))
    # Snyder, Map Projections (USGS Professional Paper 1395), equation 7-2.
    y = _RADIUS * np.log(np.tan(np.pi / 4 + np.radians(lat) / 2))
    return np.stack([_RADIUS * np.radians(lon), y], axis=-1)
