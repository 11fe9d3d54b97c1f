"""The settings of `thor-geo predict` as benchmarks give them.

Keys that belong to one kind of source or sensor are spelled here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.support.processes import Usage, python

Settings = Mapping[str, object]


def emulator(archive: object) -> dict[str, object]:
    """Return the settings of a run whose pixels come from the emulator over an archive."""
    return {"data.emulator.archive": archive}


def sentinel2(**settings: object) -> dict[str, object]:
    """Return settings of Sentinel-2 composites: ``mask``, ``cloudy_pct``, ..."""
    return {f"data.sentinel2.{name}": value for name, value in settings.items()}


def box(bounds: Sequence[float], epsg: int) -> dict[str, object]:
    """Return the setting of an area in metres of a UTM zone, in place of a config's own.

    Args:
        bounds: Left, bottom, right, top.
        epsg: The zone.
    """
    return {"data.area": f'{{bbox: {list(bounds)}, crs: "EPSG:{epsg}"}}'}


def flags(settings: Settings) -> list[str]:
    """Return settings as arguments; those that are None are left out."""
    return [f"--{key}={value}" for key, value in settings.items() if value is not None]


def quickstart(settings: Settings) -> list[str]:
    """Return the arguments of ``thor-geo`` for configs/quickstart.yaml with other settings."""
    return ["predict", "-c", "configs/quickstart.yaml", *flags(settings)]


def thor_geo(*arguments: object, codes: tuple[int, ...] = (0,)) -> Usage:
    """Run a command of ``thor-geo``; see `python`."""
    return python("-m", "thor_geo", *arguments, codes=codes)
