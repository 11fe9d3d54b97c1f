"""A part of a run to show: all of it, one zone, a box, or a square around a place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from thor_geo.errors import ConfigError
from thor_geo.ground.area import LONLAT, transformer
from thor_geo.ground.lattice import Bounds, zone_name
from thor_geo.ground.plan import Plan
from thor_geo.pictures.caption import SEPARATOR, run_caption
from thor_geo.pictures.quicklook import draw_quicklook
from thor_geo.pictures.zone_pictures import (
    MAX_SHARDS,
    TrueColour,
    read_pictures,
    shards_within,
    zone_bounds,
    zone_meets,
)
from thor_geo.results.at_point import outside_error
from thor_geo.runs.opened_run import OpenedRun

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def zones_to_show(plan: Plan, zone: str | None = None) -> dict[int, Bounds]:
    """Return what a run's tiles cover: metres, by index in the plan's lattices.

    Args:
        plan: The plan of the run.
        zone: Name of the only zone that is wanted, e.g. ``utm32n``; None for all of them.

    Raises:
        ConfigError: If the run has no such zone.
    """
    names = {zone_name(plan.lattices[k].epsg): k for k in np.unique(plan.zone).tolist()}
    if zone is not None and zone not in names:
        raise ConfigError("--zone", zone, "the run has no such zone", f"Give {', '.join(names)}.")
    return {k: zone_bounds(plan, k) for name, k in names.items() if zone in (None, name)}


def box_to_show(plan: Plan, zones: Mapping[int, Bounds], bbox: Bounds) -> dict[int, Bounds]:
    """Return the part of some zones that lies in a box.

    Args:
        plan: The plan of the run.
        zones: Bounds in metres, by index in the plan's lattices.
        bbox: West, south, east, north, degrees.

    Raises:
        ConfigError: If the box has no tile.
    """
    within = _cut(plan, zones, {k: _metres(plan, k, bbox) for k in zones})
    if not within:
        raise ConfigError(
            "--bbox",
            ",".join(map(str, bbox)),
            "no tile of the run is there",
            "Longitude comes first.",
        )
    return within


def square_to_show(
    plan: Plan, zones: Mapping[int, Bounds], lonlat: tuple[float, float], side_m: float
) -> dict[int, Bounds]:
    """Return the part of some zones that lies in a square.

    Args:
        plan: The plan of the run.
        zones: Bounds in metres, by index in the plan's lattices.
        lonlat: Middle of the square, degrees.
        side_m: Its side, metres.

    Raises:
        ConfigError: If the square has no tile; names the nearest tile.
    """
    asked = {}
    for k in zones:
        x, y, *_ = _metres(plan, k, (*lonlat, *lonlat))
        half = side_m / 2
        asked[k] = (x - half, y - half, x + half, y + half)
    within = _cut(plan, zones, asked)
    if not within:
        raise outside_error(plan, lonlat, "--at")
    return within


def _metres(plan: Plan, zone: int, bbox: Bounds) -> Bounds:
    """Return left, bottom, right, top in metres of the smallest rectangle around a box."""
    to_zone = transformer(LONLAT, f"EPSG:{plan.lattices[zone].epsg}")
    left, bottom, right, top = to_zone.transform_bounds(*bbox)
    return left, bottom, right, top


def _cut(plan: Plan, zones: Mapping[int, Bounds], asked: Mapping[int, Bounds]) -> dict[int, Bounds]:
    within: dict[int, Bounds] = {}
    for k, whole in zones.items():
        left, bottom = map(max, asked[k][:2], whole[:2])
        right, top = map(min, asked[k][2:], whole[2:])
        if left < right and bottom < top and zone_meets(plan, k, (left, bottom, right, top)):
            within[k] = left, bottom, right, top
    return within


def check_part_fits(plan: Plan, within: Mapping[int, Bounds], target: str) -> None:
    """Refuse to draw more than fits a picture.

    Args:
        plan: The plan of the run.
        within: The part: bounds in metres, by index in the plan's lattices.
        target: The picture's file, for the message.

    Raises:
        ConfigError: If the part has too many shards.
    """
    count = shards_within(plan, within)
    if count > MAX_SHARDS:
        raise ConfigError(
            "--png",
            target,
            f"this part has {count:,} shards, and a picture shows at most {MAX_SHARDS:,}",
            "Give a smaller part with --at and --km, --bbox or --zone.",
        )


def draw_part(
    opened: OpenedRun,
    within: Mapping[int, Bounds],
    layers: Sequence[str],
    *,
    truecolour: TrueColour | None = None,
    window: int | None = None,
    part: str | None = None,
) -> Figure:
    """Draw a part of a run like its quicklook.

    Args:
        opened: The run.
        within: The part: bounds in metres, by index in the plan's lattices.
        layers: What to draw, from `LAYERS`.
        truecolour: Reads composites as pictures; None to draw none.
        window: Which time window; None for some of them.
        part: The part in words, for the caption; None for all of the run.

    Raises:
        ConfigError: If only the composite is wanted and it cannot be drawn.
        RunDirectoryError: If a file cannot be read.
    """
    pictures, colours = read_pictures(
        opened.run,
        opened.plan,
        truecolour,
        opened.windows,
        within=within,
        times=None if window is None else [window],
    )
    if tuple(layers) == ("composite",) and any(zone.truecolour is None for zone in pictures):
        raise ConfigError(
            "--layer",
            "composite",
            "the run's bands make no picture, or the part is too large for one",
            "Give a smaller part, or --layer pca.",
        )
    caption = run_caption(opened.run, opened.plan)
    if part is not None:
        caption = replace(caption, subtitle=f"{caption.subtitle}{SEPARATOR}part: {part}")
    return draw_quicklook(pictures, colours, caption, layers=layers)
