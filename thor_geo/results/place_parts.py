"""Some places of a run: those of one zone, in a box, or in a square around a point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyproj

from thor_geo.errors import ConfigError, RunDirectoryError
from thor_geo.ground.area import LONLAT, transformer
from thor_geo.ground.lattice import Bounds, zone_name
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.pictures.place_quicklook import draw_places
from thor_geo.pictures.zone_pictures import TrueColour
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.runs.place_reading import chosen_column
from thor_geo.support.arrays import BoolArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ELLIPSOID = pyproj.Geod(ellps="WGS84")


def refuse_maps(opened: OpenedRun, argument: str, value: object) -> None:
    """Refuse to make a map of a run that has none.

    Args:
        opened: The run.
        argument: The option that asks for maps.
        value: Its value.

    Raises:
        ConfigError: If it is a run of places.
    """
    if isinstance(opened.plan, PlacePlan):
        raise ConfigError(
            argument,
            str(value),
            f"`{opened.run.path}` is a run of places, which has no map: chips lie anywhere, in "
            "time windows of their own",
            f"Its rows are GeoParquet already, and `thor-geo merge {opened.run.path}` puts them "
            "into one file; the cells of chips (output.grid) are in places.zarr, which xarray "
            "opens.",
        )


def refuse_window(opened: OpenedRun, window: int | None, argument: str = "--window") -> None:
    """Refuse to choose a time window where every place has one of its own.

    Args:
        opened: The run.
        window: What was chosen, or None.
        argument: Name of the option.

    Raises:
        ConfigError: If one was chosen for a run of places.
    """
    if window is not None and isinstance(opened.plan, PlacePlan):
        raise ConfigError(
            argument,
            window,
            f"`{opened.run.path}` is a run of places, each in a time window of its own",
            "Leave it out.",
        )


def chosen_places(
    plan: PlacePlan,
    *,
    zone: str | None = None,
    bbox: Bounds | None = None,
    middle: tuple[float, float] | None = None,
    side_m: float = 0.0,
) -> BoolArray:
    """Return which places of a plan lie in a part, (n,).

    Args:
        plan: The plan.
        zone: The only UTM zone, e.g. ``utm32n``; None for all.
        bbox: West, south, east, north, degrees; a west larger than the east is a box across the
            antimeridian.
        middle: Longitude and latitude of the middle of a square.
        side_m: Its side, metres.

    Raises:
        ConfigError: If the run has no such zone, or no place lies there.
    """
    chosen = np.ones(len(plan), dtype=np.bool_)
    if zone is not None:
        names = {zone_name(plan.lattices[k].epsg): k for k in np.unique(plan.zone).tolist()}
        if zone not in names:
            given = f"Give {', '.join(names)}."
            raise ConfigError("--zone", zone, "the run has no such zone", given)
        chosen &= plan.zone == names[zone]
    if bbox is not None:
        west, south, east, north = bbox
        inside = (plan.lon >= west, plan.lon <= east)
        chosen &= inside[0] | inside[1] if west > east else inside[0] & inside[1]
        chosen &= (plan.lat >= south) & (plan.lat <= north)
        if not chosen.any():
            box = ",".join(map(str, bbox))
            raise ConfigError(
                "--bbox", box, "no place of the run is there", "Longitude comes first."
            )
    if middle is not None:
        flat = f"+proj=laea +lon_0={middle[0]} +lat_0={middle[1]} +datum=WGS84"
        x, y = transformer(LONLAT, flat).transform(plan.lon, plan.lat)
        square = chosen & (np.abs(x) <= side_m / 2) & (np.abs(y) <= side_m / 2)
        if not square.any():
            raise no_place_error(plan, middle, "--at", chosen)
        chosen = square
    return chosen


def nearest_place(
    plan: PlacePlan, lonlat: tuple[float, float], among: BoolArray | None = None
) -> tuple[int, float]:
    """Return the place of a plan that is nearest to a point, and its distance in metres.

    Args:
        plan: The plan.
        lonlat: Longitude and latitude, degrees.
        among: Which places to look at, (n,), at least one; None for all.
    """
    index = np.arange(len(plan)) if among is None else np.flatnonzero(among)
    lon, lat = np.radians(plan.lon[index]), np.radians(plan.lat[index])
    lon0, lat0 = np.radians(lonlat)
    half = np.sin((lat - lat0) / 2) ** 2
    half += np.cos(lat) * np.cos(lat0) * np.sin((lon - lon0) / 2) ** 2
    best = int(index[half.argmin()])
    metres = _ELLIPSOID.inv(*lonlat, float(plan.lon[best]), float(plan.lat[best]))[2]
    return best, float(metres)


def no_place_error(
    plan: PlacePlan, lonlat: tuple[float, float], argument: str, among: BoolArray | None = None
) -> ConfigError:
    """Return the error for a point without a place; it names the nearest.

    Args:
        plan: The plan.
        lonlat: Longitude and latitude, degrees.
        argument: Name of the option that gave it.
        among: Which places to look at, (n,), at least one; None for all.
    """
    best, metres = nearest_place(plan, lonlat, among)
    return ConfigError(
        argument,
        ",".join(f"{value:g}" for value in lonlat),
        f"no place of the run is there; the nearest is place {plan.place[best]} at "
        f"{plan.lon[best]:.5f},{plan.lat[best]:.5f}, {metres / 1000:,.1f} km away",
        "Give a point in the chip of a place, longitude first.",
    )


def draw_some_places(
    opened: OpenedRun,
    chosen: BoolArray,
    layers: Sequence[str],
    *,
    truecolour: TrueColour | None = None,
    by: str | None = None,
    part: str | None = None,
) -> Figure:
    """Draw some places of a run like its quicklook.

    Args:
        opened: A run of places.
        chosen: Which places, (n,).
        layers: What to draw, from `LAYERS`.
        truecolour: Reads chips as pictures; None to draw none.
        by: Column whose values are counted; None for the first that has few.
        part: The part in words, for the caption; None for all of the run.

    Raises:
        ConfigError: If there is no such column, or only chips are wanted and none can be drawn.
        RunDirectoryError: If the run has no vectors, or a file cannot be read.
    """
    plan = opened.plan
    assert isinstance(plan, PlacePlan)
    if not opened.pooled:
        raise RunDirectoryError(
            f"`{opened.run.path}` has no vectors (output.pooled=false) to colour its places by. "
            "Use a run with output.pooled=true."
        )
    if by is not None:
        by = chosen_column(opened.run, by, "--by")
    return draw_places(
        opened.run, plan, layers, truecolour=truecolour, chosen=chosen, by=by, part=part
    )
