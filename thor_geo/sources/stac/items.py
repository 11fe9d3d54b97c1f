"""Items as this project needs them: a scene, its footprint, and where its bands are."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urljoin

import shapely
from shapely.geometry.base import BaseGeometry

from thor_geo.errors import SceneError
from thor_geo.ground.lattice import Block, Bounds
from thor_geo.sources.scenes import Scene
from thor_geo.sources.stac.bands import FIELDS as BAND_FIELDS
from thor_geo.sources.stac.bands import locate
from thor_geo.sources.stac.footprints import stated_footprint, transformed
from thor_geo.sources.stac.offset import FIELDS as OFFSET_FIELDS
from thor_geo.sources.stac.offset import baseline, dn_offset
from thor_geo.sources.stac.spec import CatalogueSpec
from thor_geo.specs import TemporalSpec

# What says where an asset's bands are and what their values mean.
_ASSET_FIELDS = BAND_FIELDS | {"href", "offset", "scale", "raster:offset", "raster:scale"}

#: Characters of an item's id that are kept.
_LONGEST_ID = 400

#: What reading metadata raises that is not as STAC lays it down.
_MALFORMED = (LookupError, TypeError, ValueError, AttributeError, shapely.errors.GEOSException)

_REMEDY = "Leave it out with `data.stac.exclude`, or have the catalogue corrected."

_T = TypeVar("_T")

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
        millis: Acquisition time, milliseconds since 1970 in UTC; None where that cannot be read.
        epsg: EPSG code of the footprint's CRS.
        footprint: Where it is: the rectangle of its rasters, or else its geometry in degrees; None
            where it states neither.
        content: Of its JSON, what says where bands are and what their values mean.
        fault: Why it cannot be used, as a clause; None if nothing is wrong with it as a whole.
    """

    scene: Scene
    millis: int | None
    epsg: int
    footprint: BaseGeometry | None
    content: Mapping[str, Any]
    fault: str | None = None

    @property
    def id(self) -> str:
        """The item's id."""
        return self.scene.index

    @property
    def placed(self) -> bool:
        """Whether it is known where and when it was acquired."""
        return self.millis is not None and self.footprint is not None

    @property
    def degrees(self) -> Bounds | None:
        """West, south, east, north of the footprint in degrees; None without one."""
        if self.footprint is None:
            return None
        degrees = transformed(self.footprint, self.epsg, 4326)
        return None if degrees.is_empty else degrees.bounds

    def within(self, window: TemporalSpec) -> bool:
        """Return whether it may have been acquired in a half-open window, to the millisecond.

        Args:
            window: The window.
        """
        if self.millis is None:
            return True
        start, end = (
            (when - _EPOCH) // dt.timedelta(milliseconds=1) for when in (window.start, window.end)
        )
        return start <= self.millis < end

    def reaches(self, block: Block) -> bool:
        """Return whether it may share ground with a block; touching it is not enough.

        Args:
            block: The block.
        """
        if self.footprint is None:
            return True
        area = shapely.box(*block.bounds)
        if self.epsg == block.epsg:
            footprint = self.footprint
        else:
            footprint = transformed(self.footprint, self.epsg, block.epsg)
        return bool(footprint.intersects(area) and not footprint.touches(area))

    def raster(self, band: str, spec: CatalogueSpec) -> BandRaster:
        """Return where a band's pixels are.

        Args:
            band: Earth Engine's name of the band.
            spec: What the metadata does not say.

        Raises:
            SceneError: If the item cannot be used, or does not say where the band is or what its
                values mean.
        """
        if self.fault is not None:
            raise SceneError(self.id, self.fault, _REMEDY)
        try:
            located = locate(self.content, band, spec.assets)
            offset = 0
            if band != "SCL":
                offset = dn_offset(self.content, located) if spec.offset is None else spec.offset
            href = located.asset["href"]
        except _MALFORMED as error:
            why = f"has metadata of {band} that cannot be read ({error!r:.200})"
            raise SceneError(self.id, why, _REMEDY) from error
        if not (isinstance(href, str) and href):
            raise SceneError(self.id, f"has no address of a file for {band}", _REMEDY)
        return BandRaster(href=href, number=located.number, offset=offset)

    def fault_in(self, bands: Iterable[str], spec: CatalogueSpec) -> SceneError | None:
        """Return why the item cannot be used for some bands, None if nothing it says is wrong.

        Args:
            bands: Earth Engine's names of the bands.
            spec: What the metadata does not say.
        """
        try:
            for band in bands:
                self.raster(band, spec)
        except SceneError as error:
            return error
        return None


def parse(content: Any, base: str = "") -> StacItem:
    """Return an item from its JSON; one that is not as it should be has a `StacItem.fault`.

    Args:
        content: The item.
        base: Address from which relative addresses of its files are; empty if they are complete.
    """
    stated: Mapping[str, Any] = content if isinstance(content, Mapping) else {}
    faults: list[str] = []

    def tried(read: Callable[[Mapping[str, Any]], _T], fault: str) -> _T | None:
        try:
            return read(stated)
        except _MALFORMED as error:
            faults.append(f"{fault} ({error!r:.200})")
            return None

    when = tried(_time, "states no time of acquisition")
    place = tried(stated_footprint, "states neither a rectangle (proj:bbox) nor a geometry")
    kept = tried(lambda stated: _kept(stated, base), "has no list of assets")
    cloudy = tried(_cloudy, "states a cloud cover that is not a number")
    properties = stated.get("properties")
    properties = properties if isinstance(properties, Mapping) else {}
    scene = Scene(
        index=str(stated.get("id") or "without an id")[:_LONGEST_ID],
        time_start=None if when is None else _text(when),
        mgrs_tile=_mgrs_tile(properties),
        processing_baseline=baseline({"properties": properties}),
        cloudy_pct=cloudy,
    )
    return StacItem(
        scene=scene,
        millis=None if when is None else (when - _EPOCH) // dt.timedelta(milliseconds=1),
        epsg=4326 if place is None else place[0],
        footprint=None if place is None else place[1],
        content=kept or {"id": scene.index},
        fault=faults[0] if faults else None,
    )


def _kept(content: Mapping[str, Any], base: str) -> Mapping[str, Any]:
    """Return the part of an item that `raster` reads: a session holds thousands."""
    assets = {
        key: {k: v for k, v in asset.items() if k in _ASSET_FIELDS}
        for key, asset in content["assets"].items()
    }
    for asset in assets.values():
        if base and isinstance(asset.get("href"), str):
            asset["href"] = urljoin(base, asset["href"])
    return {
        "id": content["id"],
        "properties": {k: v for k, v in content["properties"].items() if k in OFFSET_FIELDS},
        "assets": assets,
    }


def _time(content: Mapping[str, Any]) -> dt.datetime:
    properties = content["properties"]
    text = properties.get("datetime") or properties["start_datetime"]
    when = dt.datetime.fromisoformat(text)
    return when.replace(tzinfo=dt.UTC) if when.tzinfo is None else when.astimezone(dt.UTC)


def _text(when: dt.datetime) -> str:
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _mgrs_tile(properties: Mapping[str, Any]) -> str | None:
    """Return the MGRS tile, as the extensions `sentinel-2` and `grid` state it."""
    tile = properties.get("s2:mgrs_tile")
    code = str(properties.get("grid:code", ""))
    if tile is None and code.startswith("MGRS-"):
        tile = code.removeprefix("MGRS-")
    return None if tile is None else str(tile)


def _cloudy(content: Mapping[str, Any]) -> float | None:
    cover = content["properties"].get("eo:cloud_cover")
    return None if cover is None else float(cover)
