"""What to add to an item's values so that they are those of COPERNICUS/S2_SR_HARMONIZED.

Since processing baseline 04.00 (25 January 2022, and older acquisitions processed again) ESA's
Level-2A values are shifted: reflectance = (DN + BOA_ADD_OFFSET) / 10000 with BOA_ADD_OFFSET = -1000
in every band (Sentinel-2 Products Specification Document, Level-2A). Earth Engine's harmonised
collection takes the shift out: "shifts data in newer scenes to be in the same range as in older
scenes" (its catalogue page).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from thor_geo.errors import StacError
from thor_geo.sources.stac.bands import Located

#: BOA_ADD_OFFSET of every band, and the baseline that brought it.
BOA_ADD_OFFSET, FIRST_BASELINE = -1000, 4.0

#: QUANTIFICATION_VALUE of Level-2A: DN of reflectance 1.
QUANTIFICATION = 10_000

# Earth Search v1, and what it was before. Its items state an offset in `raster:bands` even where
# this flag says that the files no longer have it.
_APPLIED = ("earthsearch:boa_offset_applied", "sentinel:boa_offset_applied")
_BASELINE = ("s2:processing_baseline", "processing:version", "sentinel:processing_baseline")

#: Properties of an item that are read here.
FIELDS = frozenset({*_APPLIED, *_BASELINE})


def baseline(item: Mapping[str, Any]) -> str | None:
    """Return an item's processing baseline, such as ``04.00``; None where it states none.

    Args:
        item: The item.
    """
    values = (item.get("properties", {}).get(name) for name in _BASELINE)
    return next((str(value) for value in values if value is not None), None)


def dn_offset(item: Mapping[str, Any], located: Located) -> int:
    """Return what to add to a reflectance band's values, DN.

    1. The item says that its files have no offset any more (Earth Search's
       ``earthsearch:boa_offset_applied``): 0.
    2. Its processing baseline is before 04.00: 0, whatever else it states.
    3. It states offset and scale of the band (``raster:bands``, or STAC 1.1's ``bands``): their
       quotient.
    4. Its processing baseline is 04.00 or later: -1000.

    Args:
        item: The item.
        located: The band.

    Raises:
        StacError: If the item does not tell, or states another scale than 1/10000.
    """
    properties = item.get("properties", {})
    if any(properties.get(name) is True for name in _APPLIED):
        return 0
    text = baseline(item)
    number = None if text is None else re.fullmatch(r"N?(\d{1,2}\.?\d{0,2})", text)
    if number and float(number[1]) < FIRST_BASELINE:
        return 0
    stated = _stated(item, located)
    if stated is not None:
        return stated
    if number:
        return BOA_ADD_OFFSET
    raise StacError(
        f"Item {item.get('id')!r} states neither its processing baseline nor an offset of its "
        f"values, so that reflectance cannot be told from them (baseline: {text!r}). Set "
        "`data.stac.offset`: 0 where the files hold reflectance x 10000, -1000 where they hold "
        "what ESA publishes since processing baseline 04.00."
    )


def _stated(item: Mapping[str, Any], located: Located) -> int | None:
    """Return the offset that an item states for a band, DN; None where it states none."""
    offset = _first(located, "offset", "raster:offset")
    scale = _first(located, "scale", "raster:scale")
    if offset is None:
        return None
    try:
        dn = float(offset) * QUANTIFICATION
        as_esa = (scale is None and dn == 0) or abs(float(scale) * QUANTIFICATION - 1) < 1e-6
    except (TypeError, ValueError):
        dn, as_esa = 0.0, False
    if not as_esa or abs(dn - round(dn)) > 1e-6:
        raise StacError(
            f"Item {item.get('id')!r} states offset={offset!r} and scale={scale!r} for asset "
            f"{located.key!r}: not reflectance x {QUANTIFICATION} with a whole offset. Set "
            "`data.stac.offset` if the files hold that after all, or take another collection."
        )
    return round(dn)


def _first(located: Located, *keys: str) -> Any:
    for fields in (located.described, located.asset):
        for key in keys:
            if key in fields:
                return fields[key]
    return None
