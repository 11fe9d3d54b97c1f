"""Which asset of an item holds a band: by names that catalogues use, or as the user says.

Nothing is guessed: a band that no name points to, or several do, is refused with the list of the
item's assets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from thor_geo.errors import StacError

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

    An override comes first, then the asset whose key is one of the band's names, then the only band
    with one of these names, then the only band with that common name.

    Args:
        item: The item.
        band: Earth Engine's name of the band.
        overrides: `CatalogueSpec.assets`.

    Raises:
        StacError: If no asset holds the band, or several may.
    """
    names = {name.casefold() for name in (band, *NAMES[band])}
    if band in overrides:
        return _overridden(item, band, overrides[band], names)
    by_key = [
        located
        for located in _bands(item)
        if located.key.casefold() in names and len(described_bands(located.asset)) <= 1
    ]
    named = [
        located
        for located in _bands(item)
        if not _PICTURES.intersection(located.asset.get("roles") or ())
    ]
    for candidates in (
        by_key,
        [located for located in named if _stated(located, "name") in names],
        [located for located in named if _stated(located, *_COMMON_NAME) in names],
    ):
        if len(candidates) == 1:
            return candidates[0]
        if candidates:
            several = ", ".join(f"{located.key}#{located.number}" for located in candidates)
            raise _refusal(item, band, f"may be any of {several}")
    raise _refusal(item, band, "is in none of its assets by name")


def _overridden(item: Mapping[str, Any], band: str, where: str, names: set[str]) -> Located:
    key, _, number = where.partition("#")
    bands = [located for located in _bands(item) if located.key == key]
    if not bands:
        raise _refusal(item, band, f"should be in `{key}`, which it does not have")
    if number:
        # An asset may hold bands that its item does not describe.
        described = bands[int(number) - 1].described if int(number) <= len(bands) else {}
        return Located(key=key, asset=bands[0].asset, number=int(number), described=described)
    named = [located for located in bands if _stated(located, "name") in names]
    if len(bands) > 1 and len(named) != 1:
        raise _refusal(item, band, f"should be one of the {len(bands)} bands of `{key}`: say which")
    return named[0] if len(bands) > 1 else bands[0]


def _bands(item: Mapping[str, Any]) -> Iterator[Located]:
    for key, asset in item.get("assets", {}).items():
        for number, described in enumerate(described_bands(asset) or [{}], 1):
            yield Located(key=key, asset=asset, number=number, described=described)


def _stated(located: Located, *fields: str) -> str:
    stated = (located.described[name] for name in fields if located.described.get(name))
    return str(next(stated, "")).casefold()


def _refusal(item: Mapping[str, Any], band: str, why: str) -> StacError:
    listed = []
    for key, asset in item.get("assets", {}).items():
        names = [str(band["name"]) for band in described_bands(asset) if band.get("name")]
        listed.append(f"{key} ({', '.join(names)})" if names else str(key))
    more = f" and {len(listed) - _LISTED} more" if len(listed) > _LISTED else ""
    return StacError(
        f"`data.sentinel2.bands` or `data.sentinel2.mask` asks for {band}, which in item "
        f"{item.get('id')!r} {why}. Its assets: {', '.join(listed[:_LISTED]) or 'none'}{more}. "
        f"Name its asset in `data.stac.assets`, e.g. {{{band}: KEY}}, or {{{band}: KEY#2}} for the "
        "second band of a file."
    )
