"""Bands by the names that users have for them."""

from __future__ import annotations

from collections.abc import Sequence

from thor_geo.errors import BandError
from thor_geo.specs.bands import BandSelection, find_band


def picked_planes(names: Sequence[str], selection: BandSelection) -> list[int]:
    """Return which of some named planes are the bands of a selection, in its order.

    Args:
        names: Names of the planes; those that are not THOR's are passed over.
        selection: The bands wanted.

    Raises:
        BandError: If a band is missing, or named twice.
    """
    named = [band and band.channel for band in map(find_band, names)]
    wanted = [band.channel for band in selection.bands]
    if missing := [channel for channel in wanted if channel not in named]:
        raise BandError(
            "bands",
            list(names),
            f"{', '.join(missing)} missing among them",
            "Name each plane once, e.g. B2 or BLUE, or set sensor=SensorSpec(bands=...) to the "
            "bands that are there.",
        )
    if repeated := [channel for channel in wanted if named.count(channel) > 1]:
        raise BandError(
            "bands", list(names), f"{repeated[0]} is named twice", "Name each plane once."
        )
    return [named.index(channel) for channel in wanted]


def model_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return names of planes as the model takes them: channels of THOR where the band is known.

    Args:
        names: Names of planes. Those with a resolution (``VV_60``) are left to the model.
    """
    return tuple(
        band.channel if (band := find_band(str(name))) is not None else str(name) for name in names
    )
