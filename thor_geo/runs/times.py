"""The time axis of embedding maps, in units that CF has (conventions 1.11, section 4.4).

A window's end is a coordinate of its own, `time_end`, and not in CF's two-dimensional bounds: GDAL
takes every array with two dimensions for a map.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import numpy.typing as npt

from thor_geo.specs import Windows

#: Names of the two coordinates along the axis: start and end (exclusive) of windows.
TIME, END = "time", "time_end"

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def time_coordinates(windows: Windows) -> dict[str, npt.NDArray[np.int64]]:
    """Return the values of the two coordinates; nothing without a time axis.

    Args:
        windows: The windows of the run.

    Returns:
        ``time`` and ``time_end``, (T,) each, in whole seconds since 1970, UTC.
    """
    if not windows.listed:
        return {}
    second = dt.timedelta(seconds=1)
    return {
        name: np.array([(moment - _EPOCH) // second for moment in moments], dtype=np.int64)
        for name, moments in (
            (TIME, [window.start for window in windows]),
            (END, [window.end for window in windows]),
        )
    }


def time_attributes(name: str) -> dict[str, Any]:
    """Return the attributes of `TIME` or `END`."""
    units = {"units": "seconds since 1970-01-01 00:00:00", "calendar": "proleptic_gregorian"}
    if name == END:
        return {"long_name": "end of the time window (exclusive)", **units}
    return {
        "standard_name": "time",
        "long_name": "start of the time window",
        "axis": "T",
        **units,
    }
