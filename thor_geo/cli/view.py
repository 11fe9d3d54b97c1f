"""``thor-geo view``: a run in the browser, or pictures and GeoTIFFs of any part of it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from thor_geo.cli.options import (
    WINDOW,
    add_overwrite,
    add_run,
    command_parser,
    join_coordinates,
    local_path,
    run_of,
)
from thor_geo.cli.part import (
    BANDS,
    COORDINATES,
    add_part,
    check_part,
    part_to_show,
    places_to_show,
)
from thor_geo.errors import ConfigError, ThorGeoError
from thor_geo.support.redact import redact

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from thor_geo.ground.lattice import Bounds
    from thor_geo.runs.opened_run import OpenedRun

_EXAMPLES = """\
examples:
  thor-geo view out/oslo                              # in the browser, until Ctrl-C
  thor-geo view out/oslo --png                        # out/oslo/view.png, all of it
  thor-geo view out/oslo --png part.png --at 10.75,59.91 --km 5 --layer pca
  thor-geo view out/oslo --png part.png --bbox 10.7,59.9,10.8,59.95 --size 3000
  thor-geo view out/oslo --cog maps                   # GeoTIFFs of the colours, for QGIS
  thor-geo view out/oslo --cog maps --bands 0,5,7 --zone utm32n
  thor-geo view out/survey --png crops.png --by crop  # a run of places, counted by a column

Every part is drawn in the colours of quicklook.png (colours.json). The composite is read from the
cache that the run filled; whatever is no longer there stays light grey. COGs hold the cells of the
maps, or the tiles of a run without maps: utm32n_20220601_20220901_pca.tif is red, green, blue and
alpha; --bands adds utm32n_20220601_20220901_bands.tif, float32, NaN where there is no embedding.
The end date is exclusive. `thor-geo export` writes all dimensions. Longitude comes first.
Of places a picture shows dots, counts by class, and with the composite some chips.
"""
#: What --layer draws; see `thor_geo.pictures.quicklook.LAYERS`.
LAYER_CHOICES = ("composite", "pca", "observations", "all")
_MIN_SIZE, _MAX_SIZE = 400, 8000


def parser() -> argparse.ArgumentParser:
    """Return the parser of ``thor-geo view``."""
    parser = command_parser(
        "view",
        "Look at a run in the browser, draw it, or export it for GIS tools: all of it or a part.",
        _EXAMPLES,
    )
    add_run(parser)
    parser.add_argument(
        "--png",
        type=local_path,
        nargs="?",
        const=Path(),
        metavar="FILE",
        help="draw a picture (default: view.png in OUT)",
    )
    parser.add_argument(
        "--cog", type=local_path, metavar="DIR", help="write cloud-optimised GeoTIFFs"
    )
    add_overwrite(parser)
    part = add_part(parser)
    part.add_argument(
        "--window", type=int, metavar="N", help=f"{WINDOW} (default with --png: some of them)"
    )
    picture = parser.add_argument_group("with --png")
    picture.add_argument(
        "--layer", choices=LAYER_CHOICES, default="all", help="what to draw (default: all)"
    )
    picture.add_argument(
        "--size", type=int, default=1600, metavar="PX", help="width in pixels (default: 1600)"
    )
    picture.add_argument(
        "--by", metavar="COLUMN", help="of places: the column to count (default: one of few values)"
    )
    cogs = parser.add_argument_group("with --cog")
    cogs.add_argument("--bands", metavar="BANDS", help=f"also write these dimensions: {BANDS}")
    browser = parser.add_argument_group("in the browser (without --png and --cog)")
    browser.add_argument(
        "--port",
        type=int,
        default=8765,
        metavar="N",
        help="port to serve the page on; 0 takes a free one (default: 8765)",
    )
    browser.add_argument(
        "--no-browser", action="store_true", help="only print the address of the page"
    )
    return parser


def run_view(args: Sequence[str]) -> int:
    """Show a run in the browser, or draw or export all or a part of it.

    Args:
        args: Arguments after ``thor-geo view``.

    Returns:
        0.

    Raises:
        ConfigError: If an argument is invalid, no tile lies in the part, or a file exists.
        RunDirectoryError: If the directory holds no run, or it cannot be read.
    """
    command = parser()
    options = command.parse_args(join_coordinates(args, *COORDINATES))
    _check(command, options)
    from thor_geo.ground.place_plan import PlacePlan
    from thor_geo.results.bands import Bands
    from thor_geo.results.export import export_pictures
    from thor_geo.results.place_parts import refuse_maps, refuse_window
    from thor_geo.runs.opened_run import read_run

    bands = None if options.bands is None else Bands.parse(options.bands)

    opened = read_run(run_of(options))
    refuse_window(opened, options.window)
    if options.by is not None and not isinstance(opened.plan, PlacePlan):
        command.error("--by goes with a run of places")
    if options.png is None and options.cog is None:
        from thor_geo.explorer import serve

        return serve(
            opened,
            port=options.port,
            open_browser=not options.no_browser,
            window=options.window,
        )
    if options.window is not None or options.cog is not None:
        opened.time_index(options.window)  # refuses a window that the run does not have
    written: list[Path] = []
    if options.cog is not None:
        refuse_maps(opened, "--cog", options.cog)
    if isinstance(opened.plan, PlacePlan):
        return _say([_write_places(opened, options)])
    within = part_to_show(opened, options)
    if options.png is not None:
        written.append(_write_png(opened, within, options))
    if options.cog is not None:
        written += export_pictures(
            opened,
            within,
            options.cog.expanduser(),
            bands=bands,
            window=options.window,
            overwrite=options.overwrite,
        )
    return _say(written)


def _say(written: Sequence[Path]) -> int:
    for path in written:
        print(redact(f"  written   {path}"))
    return 0


def _check(command: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Refuse options that are out of range or do not go together."""
    error = command.error
    if options.png is None and options.cog is None:
        for name in ("at", "bbox", "zone"):
            if getattr(options, name):
                error(f"--{name} goes with --png or --cog; the page shows all of the run")
    if not 0 <= options.port <= 65535:
        error("--port: give 1 to 65535, or 0 for any free port")
    if options.png not in (None, Path()) and options.png.suffix.lower() != ".png":
        error(f"--png: the name of the picture must end in .png, not {options.png.name}")
    check_part(command, options)
    if not _MIN_SIZE <= options.size <= _MAX_SIZE:
        error(f"--size: give {_MIN_SIZE} to {_MAX_SIZE:,} pixels")
    if options.by is not None and options.png is None:
        error("--by goes with --png; the page has a choice of columns")
    if options.bands is not None and options.cog is None:
        error("--bands goes with --cog")


def _write_png(
    opened: OpenedRun, within: Mapping[int, Bounds], options: argparse.Namespace
) -> Path:
    from thor_geo.results.parts import check_part_fits, draw_part

    target = _target(opened, options)
    check_part_fits(opened.plan, within, str(target))
    draw = partial(draw_part, opened, within, window=options.window, part=_part_in_words(options))
    return _save(opened, _drawn(opened, draw, options), target, options)


def _write_places(opened: OpenedRun, options: argparse.Namespace) -> Path:
    from thor_geo.results.place_parts import draw_some_places

    target, chosen = _target(opened, options), places_to_show(opened, options)
    part = _part_in_words(options)
    draw = partial(draw_some_places, opened, chosen, by=options.by, part=part)
    return _save(opened, _drawn(opened, draw, options), target, options)


def _part_in_words(options: argparse.Namespace) -> str | None:
    if options.at is not None:
        return f"{options.km:g} km around {options.at}"
    part: str | None = options.bbox or options.zone
    return part


def _target(opened: OpenedRun, options: argparse.Namespace) -> Path:
    from thor_geo.runs.target import check_target, made_from

    given = options.png != Path()
    target = Path(options.png) if given else made_from(opened.run, "view.png")
    overwrite = options.overwrite
    check_target(opened.run, target, folder=False, overwrite=overwrite, argument="--png")
    return target


def _save(opened: OpenedRun, figure: Figure, target: Path, options: argparse.Namespace) -> Path:
    from thor_geo.pictures.sheet import WIDTH, save_png
    from thor_geo.runs.target import atomic_target

    with atomic_target(opened.run, target, folder=False, overwrite=options.overwrite) as temporary:
        save_png(figure, temporary, options.size / WIDTH)
    return target


def _drawn(opened: OpenedRun, draw: Callable[..., Figure], options: argparse.Namespace) -> Figure:
    """Draw the layers; of all layers, the composite only where it can be read."""
    layers = LAYER_CHOICES[:-1] if options.layer == "all" else (options.layer,)
    if "composite" not in layers:
        return draw(layers)
    from thor_geo.datamodules.reopened import pixels_of

    try:
        with pixels_of(opened, num_workers=0) as pixels:
            return draw(layers, truecolour=pixels.truecolour)
    except ThorGeoError as error:
        if options.layer == "composite" or isinstance(error, ConfigError):
            raise
        print(f"thor-geo: the composite is left out: {redact(error)}", file=sys.stderr)
    return draw(layers[1:])
