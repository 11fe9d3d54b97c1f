"""The time axis of embedding maps, as CF has it (conventions 1.11, sections 4.4 and 7.1)."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import numpy.typing as npt

from thor_geo.specs import Windows

#: Names of the coordinate, of its bounds, and of the dimension along a window's two ends.
TIME, BOUNDS, ENDS = "time", "time_bnds", "bnds"

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def time_coordinates(windows: Windows) -> dict[str, tuple[tuple[str, ...], npt.NDArray[np.int64]]]:
    """Return dimensions and values of the coordinate and its bounds; nothing without a time axis.

    Args:
        windows: The windows of the run.

    Returns:
        ``time`` (T,), the windows' starts, and ``time_bnds`` (T, 2), starts and ends (exclusive),
        in whole seconds since 1970, UTC.
    """
    if not windows.listed:
        return {}
    second = dt.timedelta(seconds=1)
    ends = np.array(
        [[(end - _EPOCH) // second for end in (window.start, window.end)] for window in windows],
        dtype=np.int64,
    )
    return {TIME: ((TIME,), ends[:, 0].copy()), BOUNDS: ((TIME, ENDS), ends)}


def time_attributes(name: str) -> dict[str, Any]:
    """Return the attributes of ``time``, or of its bounds, which share its units."""
    if name == BOUNDS:
        return {}
    return {
        "standard_name": "time",
        "long_name": "start of the time window",
        "axis": "T",
        "units": "seconds since 1970-01-01 00:00:00",
        "calendar": "proleptic_gregorian",
        "bounds": BOUNDS,
    }
