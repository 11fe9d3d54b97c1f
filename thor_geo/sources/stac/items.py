"""Items as this project needs them: a scene, its footprint, and where its bands are."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from pyproj import Transformer
from pyproj.exceptions import ProjError
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from thor_geo.errors import StacError
from thor_geo.ground.lattice import Block, Bounds
from thor_geo.sources.scenes import Scene
from thor_geo.sources.stac.bands import FIELDS as BAND_FIELDS
from thor_geo.sources.stac.bands import locate
from thor_geo.sources.stac.offset import FIELDS as OFFSET_FIELDS
from thor_geo.sources.stac.offset import baseline, dn_offset
from thor_geo.sources.stac.spec import CatalogueSpec
from thor_geo.specs import TemporalSpec

#: Parts into which each edge is cut before it is brought to another CRS: on an edge of 110 km the
#: chord between two neighbours is within 2 cm of the curve.
EDGE_PARTS = 64

# What says where an asset's bands are and what their values mean.
_ASSET_FIELDS = BAND_FIELDS | {"href", "offset", "scale", "raster:offset", "raster:scale"}

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True, kw_only=True)
class BandRaster:
    """Where the pixels of one band are.

    Attributes:
        href: Address or path of the file, not signed.
        number: Number of the band in it, from 1.
        offset: What to add to its values, DN.
    """

    href: str
    number: int
    offset: int


@dataclass(frozen=True, kw_only=True)
class StacItem:
    """A STAC item.

    Attributes:
        scene: What is recorded of it.
        millis: Acquisition time, milliseconds since 1970 in UTC.
        epsg: EPSG code of the footprint's CRS.
        footprint: Where it is: the rectangle of its rasters, or else its geometry in degrees.
        content: Of its JSON, what says where bands are and what their values mean.
    """

    scene: Scene
    millis: int
    epsg: int
    footprint: BaseGeometry
    content: Mapping[str, Any]

    @property
    def id(self) -> str:
        """The item's id."""
        return self.scene.index

    def within(self, window: TemporalSpec) -> bool:
        """Return whether it was acquired in a half-open window, to the millisecond.

        Args:
            window: The window.
        """
        start, end = (
            (when - _EPOCH) // dt.timedelta(milliseconds=1) for when in (window.start, window.end)
        )
        return start <= self.millis < end

    def reaches(self, block: Block) -> bool:
        """Return whether it shares ground with a block; touching it is not enough.

        Args:
            block: The block.
        """
        area = shapely.box(*block.bounds)
        if self.epsg == block.epsg:
            footprint = self.footprint
        else:
            footprint = _transformed(self.footprint, self.epsg, block.epsg)
        return bool(footprint.intersects(area) and not footprint.touches(area))

    def raster(self, band: str, spec: CatalogueSpec) -> BandRaster:
        """Return where a band's pixels are.

        Args:
            band: Earth Engine's name of the band.
            spec: What the metadata does not say.

        Raises:
            StacError: If the item does not say where the band is, or what its values mean.
        """
        located = locate(self.content, band, spec.assets)
        offset = 0
        if band != "SCL":
            offset = dn_offset(self.content, located) if spec.offset is None else spec.offset
        return BandRaster(href=str(located.asset["href"]), number=located.number, offset=offset)


def parse(content: Mapping[str, Any]) -> StacItem:
    """Return an item from its JSON.

    Args:
        content: The item; the addresses of its files are complete.

    Raises:
        StacError: If it is not an item, or has no time or no geometry.
    """
    try:
        properties = content["properties"]
        when = _time(properties)
        epsg, footprint = _footprint(content)
        scene = Scene(
            index=str(content["id"]),
            time_start=when.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            mgrs_tile=_mgrs_tile(properties),
            processing_baseline=baseline(content),
            cloudy_pct=_cloudy(properties),
        )
    except (KeyError, TypeError, ValueError, AttributeError, shapely.errors.GEOSException) as error:
        name = content.get("id") if isinstance(content, Mapping) else content
        raise StacError(
            f"Item {str(name)[:100]!r} of the catalogue is not a valid STAC item: {error!r:.200}. "
            "Choose another `data.stac.collection`, or have the catalogue corrected."
        ) from error
    millis = (when - _EPOCH) // dt.timedelta(milliseconds=1)
    return StacItem(
        scene=scene, millis=millis, epsg=epsg, footprint=footprint, content=_kept(content)
    )


def _kept(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the part of an item that `raster` reads: a session holds thousands."""
    return {
        "id": content["id"],
        "properties": {k: v for k, v in content["properties"].items() if k in OFFSET_FIELDS},
        "assets": {
            key: {k: v for k, v in asset.items() if k in _ASSET_FIELDS}
            for key, asset in content["assets"].items()
        },
    }


def _time(properties: Mapping[str, Any]) -> dt.datetime:
    text = properties.get("datetime") or properties["start_datetime"]
    when = dt.datetime.fromisoformat(text)
    return when.replace(tzinfo=dt.UTC) if when.tzinfo is None else when.astimezone(dt.UTC)


def _mgrs_tile(properties: Mapping[str, Any]) -> str | None:
    """Return the MGRS tile, as the extensions `sentinel-2` and `grid` state it."""
    tile = properties.get("s2:mgrs_tile")
    code = str(properties.get("grid:code", ""))
    if tile is None and code.startswith("MGRS-"):
        tile = code.removeprefix("MGRS-")
    return None if tile is None else str(tile)


def _cloudy(properties: Mapping[str, Any]) -> float | None:
    cover = properties.get("eo:cloud_cover")
    return None if cover is None else float(cover)


def _footprint(content: Mapping[str, Any]) -> tuple[int, BaseGeometry]:
    """Return EPSG code and polygon of where the item may have pixels.

    The rectangle of its rasters where the extension `projection` states it: the corners of its
    geometry are joined by lines that are straight in degrees, which miss the raster's edge by
    hundreds of metres.
    """
    assets = [asset for asset in content.get("assets", {}).values() if isinstance(asset, Mapping)]
    for fields in (content["properties"], *assets):
        epsg = _epsg(fields) or _epsg(content["properties"])
        bounds = _bounds(fields)
        if epsg is not None and bounds is not None:
            return epsg, shapely.box(*bounds)
    geometry = shape(content["geometry"])
    return 4326, geometry if geometry.is_valid else geometry.buffer(0)


def _epsg(fields: Mapping[str, Any]) -> int | None:
    code = str(fields.get("proj:code") or fields.get("proj:epsg") or "").removeprefix("EPSG:")
    return int(code) if code.isdecimal() else None


def _bounds(fields: Mapping[str, Any]) -> Bounds | None:
    box = fields.get("proj:bbox")
    if box is not None and len(box) == 4:
        return float(box[0]), float(box[1]), float(box[2]), float(box[3])
    size, transform = fields.get("proj:shape"), fields.get("proj:transform")
    if size is None or transform is None:
        return None
    a, b, left, d, e, top = map(float, transform[:6])
    if b or d:
        return None
    right, bottom = left + a * float(size[1]), top + e * float(size[0])
    return min(left, right), min(bottom, top), max(left, right), max(bottom, top)


def _transformed(geometry: BaseGeometry, source: int, target: int) -> BaseGeometry:
    west, south, east, north = geometry.bounds
    longest = max(east - west, north - south) / EDGE_PARTS
    dense = shapely.segmentize(geometry, longest) if longest > 0 else geometry
    transformer = Transformer.from_crs(source, target, always_xy=True)

    def moved(points: Any) -> Any:
        return np.column_stack(transformer.transform(*points.T))

    try:
        transformed = shapely.transform(dense, moved)
    except ProjError as error:
        raise StacError(
            f"A footprint in EPSG:{source} cannot be transformed to EPSG:{target} ({error})."
        ) from error
    if not np.isfinite(shapely.get_coordinates(transformed)).all():
        return shapely.Polygon()  # beyond what the block's zone can express: far from it
    return transformed if transformed.is_valid else transformed.buffer(0)
