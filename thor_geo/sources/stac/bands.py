"""Which asset of an item holds a band: by names that catalogues use, or as the user says.

Nothing is guessed: a band that no name points to, or several do, is refused with the list of the
item's assets. One that is there in several resolutions is taken in its finest.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from thor_geo.errors import SceneError

#: Names of each band besides Earth Engine's own: ESA's, the common names of the STAC extension
#: `eo` (version 2.0, table of common band names), and the asset keys of Earth Search v1
#: (`rededge1`...). The common name ``rededge`` is left out: three bands share it.
NAMES: dict[str, tuple[str, ...]] = {
    "B1": ("B01", "coastal"),
    "B2": ("B02", "blue"),
    "B3": ("B03", "green"),
    "B4": ("B04", "red"),
    "B5": ("B05", "rededge1", "rededge071"),
    "B6": ("B06", "rededge2", "rededge075"),
    "B7": ("B07", "rededge3", "rededge078"),
    "B8": ("B08", "nir"),
    "B8A": ("nir08",),
    "B9": ("B09", "nir09"),
    "B11": ("swir16",),
    "B12": ("swir22",),
    "SCL": (),
}

#: Roles of assets that hold pictures, whose bands are named as those of reflectance are.
_PICTURES = frozenset({"visual", "overview", "thumbnail"})

_COMMON_NAME = ("eo:common_name", "common_name")

#: What items state of a band's pixels, the surest first: the file's grid (extension `projection`),
#: the distance of its samples (extension `raster`), and `gsd`, which may be the instrument's.
#: https://github.com/stac-extensions/raster explains how the last two differ.
_PIXEL_SIZES = ("proj:transform", "spatial_resolution", "raster:spatial_resolution", "gsd")

#: Share by which sizes of pixels may differ and still be the same.
_SAME_SIZE = 1e-3

#: Fields of an asset that are read here.
FIELDS = frozenset({"bands", "eo:bands", "raster:bands", "roles", *_PIXEL_SIZES})

#: The end of the names of Level-2A's image files, the pixel size in metres, in asset keys as the
#: Copernicus Data Space has them (B02_10m, SCL_20m).
_RESOLUTION_IN_KEY = re.compile(r"(.+)_R?(10|20|60)m", re.IGNORECASE)

#: Assets that a message lists; the rest is counted.
_LISTED = 40


@dataclass(frozen=True, kw_only=True)
class Located:
    """Where a band is.

    Attributes:
        key: Key of the asset.
        asset: The asset, as the item has it.
        number: Number of the band in the asset's file, from 1.
        described: What the item says about that band alone.
    """

    key: str
    asset: Mapping[str, Any]
    number: int
    described: Mapping[str, Any]


def described_bands(asset: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return what an asset says about each of its bands, in the order of its file.

    STAC 1.1 has one list, `bands`; before that, `eo:bands` and `raster:bands` lie side by side.

    Args:
        asset: The asset, as the item has it.
    """
    lists = [asset.get(name) for name in ("bands", "eo:bands", "raster:bands")]
    described = [[band for band in bands if isinstance(band, dict)] for bands in lists if bands]
    count = max(map(len, described), default=0)
    return [
        {key: value for bands in described if n < len(bands) for key, value in bands[n].items()}
        for n in range(count)
    ]


def locate(item: Mapping[str, Any], band: str, overrides: Mapping[str, str]) -> Located:
    """Return where a band is in an item.

    An override comes first, then the asset whose key is one of the band's names, then the band with
    one of these names, then the band with that common name. Of several with the same rank the one
    with the smallest pixels is taken.

    Args:
        item: The item.
        band: Earth Engine's name of the band.
        overrides: `CatalogueSpec.assets`.

    Raises:
        SceneError: If no asset holds the band, or several may.
    """
    names = {name.casefold() for name in (band, *NAMES[band])}
    if band in overrides:
        return _overridden(item, band, overrides[band], names)
    named = [
        located
        for located in _bands(item)
        if not _PICTURES.intersection(located.asset.get("roles") or ())
    ]
    single = [located for located in _bands(item) if len(described_bands(located.asset)) <= 1]
    for candidates in (
        [located for located in single if located.key.casefold() in names],
        [located for located in named if _stated(located, "name") in names],
        [located for located in single if _without_resolution(located.key) in names],
        [located for located in named if _stated(located, *_COMMON_NAME) in names],
    ):
        finest = _finest(candidates)
        if len(finest) == 1:
            return finest[0]
        if finest:
            several = ", ".join(f"{located.key}#{located.number}" for located in finest)
            raise _refusal(item, band, f"may have {band} in any of {several}", finest[0].key)
    raise _refusal(item, band, f"has {band} in none of its assets by name")


def _finest(candidates: Sequence[Located]) -> Sequence[Located]:
    """Return those with the smallest pixels, by each field in turn that all of them state."""
    for field in (*_PIXEL_SIZES, "key"):
        sizes = [_pixel_size(located, field) for located in candidates]
        if len(sizes) > 1 and all(map(math.isfinite, sizes)):
            limit = min(sizes) * (1 + _SAME_SIZE)
            candidates = [
                each for each, size in zip(candidates, sizes, strict=True) if size <= limit
            ]
    return candidates


def _pixel_size(located: Located, field: str) -> float:
    """Return the size of a band's pixels as one field states it; NaN where it does not."""
    if field == "key":
        match = _RESOLUTION_IN_KEY.fullmatch(located.key)
        return math.nan if match is None else float(match[2])
    stated: Any = located.described.get(field, located.asset.get(field))
    try:
        size = abs(float(stated[0] if field == "proj:transform" else stated))
    except (TypeError, ValueError, LookupError):
        return math.nan
    return size if size > 0 else math.nan


def _without_resolution(key: str) -> str:
    match = _RESOLUTION_IN_KEY.fullmatch(key)
    return "" if match is None else match[1].casefold()


def _overridden(item: Mapping[str, Any], band: str, where: str, names: set[str]) -> Located:
    key, _, number = where.partition("#")
    bands = [located for located in _bands(item) if located.key == key]
    if not bands:
        raise _refusal(item, band, f"should have {band} in `{key}`, which it does not have")
    if number:
        # An asset may hold bands that its item does not describe.
        described = bands[int(number) - 1].described if int(number) <= len(bands) else {}
        return Located(key=key, asset=bands[0].asset, number=int(number), described=described)
    named = [located for located in bands if _stated(located, "name") in names]
    if len(bands) > 1 and len(named) != 1:
        raise _refusal(
            item, band, f"should have {band} in one of the {len(bands)} bands of `{key}`: say which"
        )
    return named[0] if len(bands) > 1 else bands[0]


def _bands(item: Mapping[str, Any]) -> Iterator[Located]:
    for key, asset in item.get("assets", {}).items():
        for number, described in enumerate(described_bands(asset) or [{}], 1):
            yield Located(key=key, asset=asset, number=number, described=described)


def _stated(located: Located, *fields: str) -> str:
    stated = (located.described[name] for name in fields if located.described.get(name))
    return str(next(stated, "")).casefold()


def _refusal(item: Mapping[str, Any], band: str, why: str, key: str = "KEY") -> SceneError:
    listed = []
    for name, asset in item.get("assets", {}).items():
        names = [str(band["name"]) for band in described_bands(asset) if band.get("name")]
        listed.append(f"{name} ({', '.join(names)})" if names else str(name))
    more = f" and {len(listed) - _LISTED} more" if len(listed) > _LISTED else ""
    return SceneError(
        item.get("id"),
        why,
        "`data.sentinel2.bands` or `data.sentinel2.mask` asks for it. The item's assets: "
        f"{', '.join(listed[:_LISTED]) or 'none'}{more}. Name the band's asset in "
        f"`data.stac.assets`, e.g. {{{band}: {key}}}, or {{{band}: {key}#2}} for the second band "
        "of a file.",
    )
