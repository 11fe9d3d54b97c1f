"""What columns of coordinates are called, and which columns of a table might be some."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

#: Names of columns of degrees, in lower case, longitude and latitude, in the order in which they
#: are looked for: plain ones, Darwin Core's (GBIF), and those of the points that LUCAS planned (TH,
#: theoretical, to 2018; POINT in 2022; its GPS columns keep the sign of the longitude in a column
#: of its own).
DEGREES = (
    (("lon", "long", "lng", "longitude"), ("lat", "latitude")),
    (("decimallongitude",), ("decimallatitude",)),
    (("th_long",), ("th_lat",)),
    (("point_long",), ("point_lat",)),
)
#: Names of columns of coordinates in a CRS that only the user can know.
PLANAR = ((("x", "easting"), ("y", "northing")),)

# Beginnings and ends of names that look like these, such as long_wgs84, gps_lat and X_LAEA.
_PARTS = ((("lon", "long", "lng"), ("lat",)), (("x", "east", "utm_e"), ("y", "north", "utm_n")))
_SEPARATED = ("_", "-", " ", ".")


def renaming_hint(columns: Sequence[str]) -> str:
    """Return which columns might be renamed to be coordinates; empty if none looks like it.

    Args:
        columns: Names of all columns of a table, none of which are names of coordinates.
    """
    for (names, parts), new in zip(
        zip((DEGREES, PLANAR), _PARTS, strict=True), (("lon", "lat"), ("x", "y")), strict=True
    ):
        axes = [[name for pair in names for name in pair[axis]] for axis in (0, 1)]
        found = [_nearest(columns, axes[axis], parts[axis]) for axis in (0, 1)]
        if found[0] is not None and found[1] is not None and found[0] != found[1]:
            return (
                f"If `{found[0]}` and `{found[1]}` are coordinates, rename them `{new[0]}` and "
                f"`{new[1]}`. "
            )
    return ""


def _nearest(columns: Sequence[str], names: Sequence[str], parts: Sequence[str]) -> str | None:
    lower = {column.lower(): column for column in columns}
    # One that is a misspelling comes first: `longtitude` for `longitude`.
    for name in sorted(names, key=len, reverse=True):
        if len(name) > 3 and (
            near := difflib.get_close_matches(name, list(lower), n=1, cutoff=0.8)
        ):
            return lower[near[0]]
    for column, written in lower.items():
        for part in parts:
            ends = [sep + part for sep in _SEPARATED]
            begins = [part] if len(part) > 1 else [part + sep for sep in _SEPARATED]
            if column.startswith(tuple(begins)) or column.endswith(tuple(ends)):
                return written
    return None
