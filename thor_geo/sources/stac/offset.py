"""What to add to an item's values so that they are those of COPERNICUS/S2_SR_HARMONIZED.

Since processing baseline 04.00 (25 January 2022, and older acquisitions processed again) ESA's
Level-2A values are shifted: reflectance = (DN + BOA_ADD_OFFSET) / 10000 with BOA_ADD_OFFSET = -1000
in every band (Sentinel-2 Products Specification Document, Level-2A). Earth Engine's harmonised
collection takes the shift out: "shifts data in newer scenes to be in the same range as in older
scenes" (its catalogue page).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from thor_geo.errors import SceneError
from thor_geo.sources.stac.bands import Located

#: BOA_ADD_OFFSET of every band, and the first number of the baseline that brought it.
BOA_ADD_OFFSET, FIRST_BASELINE = -1000, 4

#: QUANTIFICATION_VALUE of Level-2A: DN of reflectance 1.
QUANTIFICATION = 10_000

#: How far a stated number may be off, in DN and as a share of the scale: float32 writes -0.1 with
#: an error of 1.5e-9, which is 1.5e-5 DN.
_TOLERANCE = 1e-4

#: Baselines as items write them: 05.09, 5.9, N05.09, N0509, 0509, 509, 05. ESA's have two numbers
#: of two digits, the first of which has never passed 09; 99.99 is of what users process themselves.
_BASELINE_FORMS = re.compile(r"[Nn]?(?:0?(\d)(?:\.\d{1,2})?|0(\d)\d\d|([1-9])\d\d)", re.ASCII)

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


def first_number(text: str) -> int | None:
    """Return the first number of a processing baseline, 5 of ``N0509``; None if it is none.

    Args:
        text: The baseline, as an item states it.
    """
    match = _BASELINE_FORMS.fullmatch(text.strip())
    return None if match is None else int(match[match.lastindex or 0])


def dn_offset(item: Mapping[str, Any], located: Located) -> int:
    """Return what to add to a reflectance band's values, DN.

    1. The item says that its files have no offset any more (Earth Search's
       ``earthsearch:boa_offset_applied``): 0.
    2. Its processing baseline is before 04.00: 0, whatever else it states.
    3. It states an offset of the band (``raster:bands``, or STAC 1.1's ``bands``): that.
    4. Its processing baseline is 04.00 or later: -1000.

    Args:
        item: The item.
        located: The band.

    Raises:
        SceneError: If the item does not tell, or states another scale than 1/10000, or an offset
            that Level-2A never had.
    """
    stated = _stated(item, located)
    properties = item.get("properties", {})
    if any(properties.get(name) is True for name in _APPLIED):
        return 0
    text = baseline(item)
    number = None if text is None else first_number(text)
    if number is not None and number < FIRST_BASELINE:
        return 0
    if stated is not None:
        return stated
    if number is not None:
        return BOA_ADD_OFFSET
    why = (
        "states neither its processing baseline nor an offset of its values"
        if text is None
        else f"states the processing baseline {text!r}, which is not one of ESA's (such as 05.09 "
        "or N0509), and no offset of its values"
    )
    raise SceneError(
        item.get("id"),
        f"{why}, so that reflectance cannot be told from them",
        "Set `data.stac.offset`: 0 where the files hold reflectance x 10000, -1000 where they hold "
        "what ESA publishes since processing baseline 04.00.",
    )


def _stated(item: Mapping[str, Any], located: Located) -> int | None:
    """Return the offset that an item states for a band, DN; None where it states none.

    Raises:
        SceneError: If it states another scale than 1/10000, or an offset that Level-2A never had.
    """
    offset = _first(located, "offset", "raster:offset")
    scale = _first(located, "scale", "raster:scale")
    dn = 0.0 if offset is None else _number(offset) * QUANTIFICATION
    possible = [whole for whole in (0, BOA_ADD_OFFSET) if abs(dn - whole) < _TOLERANCE]
    # Without a scale, no offset is one in any unit.
    scaled = not dn if scale is None else abs(_number(scale) * QUANTIFICATION - 1) < _TOLERANCE
    if not (possible and scaled):
        raise SceneError(
            item.get("id"),
            f"states offset={offset!r} and scale={scale!r} for asset {located.key!r}, not "
            f"reflectance x {QUANTIFICATION} with offset 0 or {BOA_ADD_OFFSET / QUANTIFICATION}",
            f"Set `data.stac.offset` if the files hold reflectance x {QUANTIFICATION} after all "
            "(0, or -1000 since processing baseline 04.00), or take another collection.",
        )
    return None if offset is None else possible[0]


def _number(value: Any) -> float:
    """Return a number that an item states; NaN where it is none, which equals nothing."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _first(located: Located, *keys: str) -> Any:
    stated = (fields.get(key) for fields in (located.described, located.asset) for key in keys)
    return next((value for value in stated if value is not None), None)
