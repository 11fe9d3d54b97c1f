"""What does not go with a list of time windows."""

from __future__ import annotations

from pathlib import Path

from thor_geo.errors import ConfigError
from thor_geo.specs import SensorSpec, Windows


def check_windows(windows: Windows, *, sentinel2: SensorSpec | None, labels: Path | None) -> None:
    """Refuse what a list of windows does not go with; one window goes with everything.

    Args:
        windows: The windows.
        sentinel2: Recipe of Sentinel-2, in which scenes may be named.
        labels: A label raster.

    Raises:
        ConfigError: If there is a list, and scenes or labels are given.
    """
    if windows.listed and sentinel2 is not None and sentinel2.scenes is not None:
        raise ConfigError(
            "sentinel2.scenes",
            list(sentinel2.scenes),
            "each must pass the dates of the window, and `windows` is a list",
            "Leave scenes out, or make a run for each window, with start and end.",
        )
    if labels is not None:
        refuse_training(windows, "labels")


def refuse_training(windows: Windows, purpose: str) -> None:
    """Refuse to train or test on a list of windows.

    Args:
        windows: The windows.
        purpose: The setting or stage that needs one window, for the message.

    Raises:
        ConfigError: If there is a list.
    """
    if windows.listed:
        raise ConfigError(
            "windows",
            windows.settings()["windows"],
            f"`{purpose}` is for training and testing, which take one window",
            "Give start and end in place of windows; a list is for predict.",
        )
