"""Options that several commands share, in the same words, and how coordinates are read."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

from thor_geo.errors import ConfigError
from thor_geo.storage import Location, StoreOptions, is_address, located

#: West, south, east and north, degrees.
LonLatBox = tuple[float, float, float, float]

#: Help of ``--window``.
WINDOW = "which time window if there are several, counted from 0"


def command_parser(command: str, description: str, epilog: str) -> argparse.ArgumentParser:
    """Return a command's parser, without arguments yet.

    Args:
        command: Name of the command.
        description: What it does, in a sentence.
        epilog: Examples and notes, printed without wrapping.
    """
    return argparse.ArgumentParser(
        prog=f"thor-geo {command}",
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_run(parser: argparse.ArgumentParser) -> None:
    """Add ``OUT``, the run that a command reads, and how a store is reached; see `run_of`."""
    parser.add_argument(
        "dir", metavar="OUT", help="the run directory (output.dir), or its address in a store"
    )
    add_store(parser)


def add_store(parser: argparse.ArgumentParser) -> None:
    """Add how the store of an address is reached; see `store_options`."""
    group = parser.add_argument_group("runs in an object store (s3://, gs://, az://, https://)")
    group.add_argument(
        "--endpoint", metavar="URL", help="address of a store that is not the cloud's own"
    )
    group.add_argument("--region", help="region of the bucket")
    group.add_argument("--anonymous", action="store_true", help="send no credentials")
    group.add_argument(
        "--requester-pays", action="store_true", help="pay for reading somebody else's bucket"
    )


def store_options(options: argparse.Namespace) -> StoreOptions:
    """Return how a store is reached, as `add_store` reads it."""
    return StoreOptions(
        endpoint=options.endpoint,
        region=options.region,
        anonymous=options.anonymous,
        requester_pays=options.requester_pays,
    )


def run_of(options: argparse.Namespace, path: str | None = None) -> Location:
    """Return where a run lies.

    Args:
        options: As `add_run` reads them.
        path: The run; None for ``OUT``.

    Raises:
        ConfigError: If it begins as an address does, and is none of a bucket.
    """
    given = options.dir if path is None else path
    return located(given, store_options(options), argument="OUT")


def local_path(text: str) -> Path:
    """Return the path of a file or folder of this machine: argparse's `type` of all but runs.

    Args:
        text: What the user wrote.

    Raises:
        ArgumentTypeError: If it is an address, of which a path would make a folder ``s3:``.
    """
    if is_address(text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is an address, and this file is read or written on this machine. Give a "
            "path, and copy the file with the store's own tools."
        )
    return Path(text)


def add_overwrite(parser: argparse.ArgumentParser, replaced: str = "earlier files") -> None:
    """Add ``--overwrite``.

    Args:
        parser: The parser.
        replaced: What it replaces.
    """
    parser.add_argument("--overwrite", action="store_true", help=f"replace {replaced}")


def add_json(parser: argparse.ArgumentParser, words: str = "print JSON") -> None:
    """Add ``--json``.

    Args:
        parser: The parser.
        words: Its help.
    """
    parser.add_argument("--json", action="store_true", help=words)


def join_coordinates(args: Sequence[str], *options: str) -> list[str]:
    """Return the arguments with coordinates joined to their options by ``=``.

    argparse takes ``-3.7,40.4`` after ``--at`` for another option.

    Args:
        args: Arguments of a command.
        options: Options that take coordinates.
    """
    out: list[str] = []
    for arg in args:
        negative = (arg[:1] == "-" and arg[1:2].isdigit()) or arg[:2] == "-."
        if out and out[-1] in options and negative:
            out[-1] = f"{out[-1]}={arg}"
        else:
            out.append(arg)
    return out


def parse_lonlat(option: str, text: str) -> tuple[float, float]:
    """Return longitude and latitude in degrees from ``lon,lat``.

    Args:
        option: Name of the option, for the message.
        text: The text.

    Raises:
        ConfigError: If the text has another form, or a number is out of range.
    """
    lon, lat = _numbers(option, text, 2, "12.0,60.0")
    if not (-180 <= lon <= 180 and -90 <= lat <= 90):
        raise ConfigError(
            option, text, "out of range", "Give longitude first, then latitude, in degrees."
        )
    return lon, lat


def parse_bbox(option: str, text: str) -> LonLatBox:
    """Return west, south, east and north in degrees from ``west,south,east,north``.

    West is greater than east where the box crosses the antimeridian.

    Args:
        option: Name of the option, for the message.
        text: The text.

    Raises:
        ConfigError: If the text has another form, or the box is out of range or empty.
    """
    west, south, east, north = _numbers(option, text, 4, "11.9,59.9,12.1,60.1")
    width = (east - west) % 360 or 360 * (west != east)
    inside = max(abs(west), abs(east)) <= 180 and -90 <= south < north <= 90
    if not inside or width == 0 or (west > east and width > 180):
        raise ConfigError(
            option, text, "not a box", "Give west,south,east,north in degrees, longitude first."
        )
    return west, south, east, north


def _numbers(option: str, text: str, count: int, example: str) -> list[float]:
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) != count or not all(map(math.isfinite, values)):
        raise ConfigError(
            option, text, f"not {count} numbers separated by commas", f"Example: {example}."
        )
    return values
