"""The options that choose a part of a run, in the same words in every command that has them."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from thor_geo.cli.options import parse_bbox, parse_lonlat

if TYPE_CHECKING:
    from thor_geo.ground.lattice import Bounds
    from thor_geo.runs.opened_run import OpenedRun
    from thor_geo.support.arrays import BoolArray

#: The options that take coordinates; see `join_coordinates`.
COORDINATES = ("--at", "--bbox")
#: What ``--bands`` takes.
BANDS = "all, or numbers and ranges from 0 on, e.g. 0-9,64"


def add_part(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add ``--at``, ``--km``, ``--bbox`` and ``--zone``; return their group."""
    part = parser.add_argument_group("which part (default: all of the run)")
    part.add_argument("--at", metavar="LON,LAT", help="the middle of a square, in degrees")
    part.add_argument(
        "--km", type=float, default=5.0, metavar="KM", help="side of that square in km (default: 5)"
    )
    part.add_argument("--bbox", metavar="W,S,E,N", help="west, south, east, north, in degrees")
    part.add_argument("--zone", metavar="ZONE", help="one UTM zone, e.g. utm32n")
    return part


def check_part(command: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Refuse options of a part that are out of range or do not go together."""
    if options.at is not None and options.bbox is not None:
        command.error("give --at or --bbox, not both")
    if not options.km > 0:
        command.error("--km: give more than 0")


def part_to_show(opened: OpenedRun, options: argparse.Namespace) -> dict[int, Bounds]:
    """Return the part that the options choose: bounds in metres, by index in the plan's lattices.

    Args:
        opened: The run.
        options: The parsed options.

    Raises:
        ConfigError: If a coordinate is invalid, or no tile lies there.
    """
    from thor_geo.results.parts import box_to_show, square_to_show, zones_to_show

    zones = zones_to_show(opened.plan, options.zone)
    if options.bbox is not None:
        return box_to_show(opened.plan, zones, parse_bbox("--bbox", options.bbox))
    if options.at is not None:
        middle = parse_lonlat("--at", options.at)
        return square_to_show(opened.plan, zones, middle, options.km * 1000)
    return zones


def places_to_show(opened: OpenedRun, options: argparse.Namespace) -> BoolArray:
    """Return which places of a run's plan the options choose, (n,).

    Args:
        opened: A run of places.
        options: The parsed options.

    Raises:
        ConfigError: If a coordinate is invalid, or no place lies there.
    """
    from thor_geo.ground.place_plan import PlacePlan
    from thor_geo.results.place_parts import chosen_places

    assert isinstance(opened.plan, PlacePlan)
    return chosen_places(
        opened.plan,
        zone=options.zone,
        bbox=None if options.bbox is None else parse_bbox("--bbox", options.bbox),
        middle=None if options.at is None else parse_lonlat("--at", options.at),
        side_m=options.km * 1000,
    )
