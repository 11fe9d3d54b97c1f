"""``thor-geo view``: a run in the browser; pictures and GeoTIFFs of any part of it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from thor_geo.errors import ConfigError, ThorGeoError
from thor_geo.ground.lattice import Bounds, zone_name
from thor_geo.pictures.caption import SEPARATOR, run_caption
from thor_geo.pictures.quicklook import LAYERS, draw_quicklook
from thor_geo.pictures.sheet import WIDTH, save_png
from thor_geo.pictures.zone_pictures import (
    MAX_SHARDS,
    TrueColour,
    read_pictures,
    shards_within,
    zone_bounds,
    zone_meets,
)
from thor_geo.results.export import export_cogs
from thor_geo.results.places import (
    bounds_in,
    join_negative_values,
    outside_error,
    parse_bbox,
    parse_lonlat,
)
from thor_geo.runs.opened_run import WINDOW, OpenedRun, open_run
from thor_geo.runs.target import atomic_target, check_target
from thor_geo.support.redact import redact

_EXAMPLE = """\
examples:
  thor-geo view out/oslo                              # in the browser, until Ctrl-C
  thor-geo view out/oslo --png                        # out/oslo/view.png, all of it
  thor-geo view out/oslo --png part.png --at 10.75,59.91 --km 5 --layer pca
  thor-geo view out/oslo --png part.png --bbox 10.7,59.9,10.8,59.95 --size 3000
  thor-geo view out/oslo --cog maps                   # maps/utm32n_pca.tif, for QGIS
  thor-geo view out/oslo --cog maps --bands 0,5,7 --zone utm32n

Colours are those of quicklook.png, whatever part is shown (colours.json). The composite is read
from the cache of the run's source; what is not there any more stays light grey. COGs hold the cells
of the maps (tiles, where the run has no maps): utm32n_pca.tif red, green, blue and alpha, and with
--bands utm32n_bands.tif float32, NaN without an embedding. Longitude comes first.
"""
_SIZES = (400, 8000)


def main(args: Sequence[str]) -> int:
    """Show a run in the browser, or draw or export it or a part of it.

    Args:
        args: Arguments after ``thor-geo view``.

    Returns:
        0.

    Raises:
        ConfigError: If an argument is invalid, a part holds no tile, or a file exists.
        RunDirectoryError: If the directory holds no run, or it cannot be read.
    """
    parser = argparse.ArgumentParser(
        prog="thor-geo view",
        description="Look at a run in the browser; or draw it, or export it for GIS tools, "
        "all of it or a part.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("dir", type=Path, metavar="OUT", help="the run directory (output.dir)")
    parser.add_argument(
        "--png",
        type=Path,
        nargs="?",
        const=Path(),
        metavar="FILE",
        help="draw a picture (default: view.png in OUT)",
    )
    parser.add_argument("--cog", type=Path, metavar="DIR", help="write cloud-optimised GeoTIFFs")
    part = parser.add_argument_group("the part (default: all of the run)")
    part.add_argument("--at", metavar="LON,LAT", help="the middle of a square, degrees")
    part.add_argument(
        "--km", type=float, default=5.0, metavar="KM", help="side of that square (default 5)"
    )
    part.add_argument("--bbox", metavar="W,S,E,N", help="west, south, east, north, degrees")
    part.add_argument("--zone", metavar="ZONE", help="one UTM zone, e.g. utm32n")
    part.add_argument(
        "--window", type=int, metavar="N", help=f"{WINDOW} (--png: default some of them)"
    )
    picture = parser.add_argument_group("with --png")
    picture.add_argument(
        "--layer", choices=(*LAYERS, "all"), default="all", help="what to draw (default all)"
    )
    picture.add_argument(
        "--size", type=int, default=1600, metavar="PX", help="width of the picture (default 1600)"
    )
    browser = parser.add_argument_group("without --png and --cog: in the browser")
    browser.add_argument(
        "--port",
        type=int,
        default=8765,
        metavar="N",
        help="port to serve the page on (default 8765)",
    )
    browser.add_argument("--no-browser", action="store_true", help="only print the page's address")
    cogs = parser.add_argument_group("with --cog")
    cogs.add_argument(
        "--bands", metavar="N,N,...", help="also write these dimensions, counted from 0"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace earlier files")
    options = parser.parse_args(join_negative_values(args, "--at", "--bbox"))
    browse = options.png is None and options.cog is None
    part_given = next((name for name in ("at", "bbox", "zone") if getattr(options, name)), None)
    if browse and part_given:
        parser.error(f"--{part_given} goes with --png or --cog; the page shows all of the run")
    if not 0 <= options.port <= 65535:
        parser.error("--port: give 1 to 65535, or 0 for any that is free")
    if options.png not in (None, Path()) and options.png.suffix.lower() != ".png":
        parser.error(f"--png: the picture is a PNG, {options.png.name} ends otherwise")
    if options.at is not None and options.bbox is not None:
        parser.error("give --at or --bbox, not both")
    if not options.km > 0:
        parser.error("--km: give more than 0")
    if not _SIZES[0] <= options.size <= _SIZES[1]:
        parser.error(f"--size: give {_SIZES[0]} to {_SIZES[1]:,} pixels")
    if options.bands is not None and options.cog is None:
        parser.error("--bands goes with --cog")
    bands = None if options.bands is None else _parse_bands(options.bands)
    opened = open_run(options.dir)
    if browse:
        from thor_geo.explorer import serve

        return serve(
            opened,
            port=options.port,
            open_browser=not options.no_browser,
            window=options.window,
        )
    if options.window is not None or options.cog is not None:
        opened.time(options.window)  # says which windows there are
    within = _within(opened, options)
    written: list[Path] = []
    if options.png is not None:
        target = opened.run.path / "view.png" if options.png == Path() else options.png
        check_target(
            opened.run, target, folder=False, overwrite=options.overwrite, argument="--png"
        )
        _draw(opened, within, options, target)
        written.append(target)
    if options.cog is not None:
        written += export_cogs(
            opened,
            within,
            options.cog.expanduser(),
            bands=bands,
            window=options.window,
            overwrite=options.overwrite,
        )
    for path in written:
        print(redact(f"  written   {path}"))
    return 0


def _parse_bands(text: str) -> list[int]:
    try:
        bands = [int(part) for part in text.split(",")]
    except ValueError:
        bands = []
    if not bands or min(bands) < 0 or len(set(bands)) < len(bands):
        raise ConfigError("--bands", text, "no list of dimensions", "Example: 0,5,7.")
    return bands


def _within(opened: OpenedRun, options: argparse.Namespace) -> dict[int, Bounds]:
    """Return the part that is asked for: bounds in metres by index of the plan's lattices."""
    plan = opened.plan
    zones = np.unique(plan.zone).tolist()
    if options.zone is not None:
        names = {zone_name(plan.lattices[k].epsg): k for k in zones}
        if options.zone not in names:
            raise ConfigError(
                "--zone", options.zone, "the run has no such zone", f"Give {', '.join(names)}."
            )
        zones = [names[options.zone]]
    whole = {k: zone_bounds(plan, k) for k in zones}
    if options.at is None and options.bbox is None:
        return whole
    within: dict[int, Bounds] = {}
    for k in zones:
        epsg = plan.lattices[k].epsg
        if options.bbox is not None:
            asked = bounds_in(epsg, parse_bbox("--bbox", options.bbox))
        else:
            lon, lat = parse_lonlat("--at", options.at)
            x, y, *_ = bounds_in(epsg, (lon, lat, lon, lat))
            half = options.km * 500
            asked = (x - half, y - half, x + half, y + half)
        left, bottom, right, top = (
            *map(max, asked[:2], whole[k][:2]),
            *map(min, asked[2:], whole[k][2:]),
        )
        if left < right and bottom < top and zone_meets(plan, k, (left, bottom, right, top)):
            within[k] = left, bottom, right, top
    if not within and options.at is not None:
        raise outside_error(plan, parse_lonlat("--at", options.at), "--at")
    if not within:
        raise ConfigError(
            "--bbox", options.bbox, "no tile of the run is there", "Longitude comes first."
        )
    return within


def _draw(
    opened: OpenedRun, within: Mapping[int, Bounds], options: argparse.Namespace, target: Path
) -> None:
    many = shards_within(opened.plan, within)
    if many > MAX_SHARDS:
        raise ConfigError(
            "--png",
            str(target),
            f"this part has {many:,} shards, a picture shows {MAX_SHARDS:,} at most",
            "Give a smaller one with --at and --km, --bbox or --zone.",
        )
    layers = LAYERS if options.layer == "all" else (options.layer,)
    if "composite" not in layers:
        _draw_layers(opened, within, options, target, layers, None)
        return
    from thor_geo.datamodules.reopened import pixels_of

    try:
        with pixels_of(opened, num_workers=0) as pixels:
            _draw_layers(opened, within, options, target, layers, pixels.truecolour)
    except ThorGeoError as error:
        if options.layer == "composite" or isinstance(error, ConfigError):
            raise
        print(f"thor-geo: the composite is left out: {redact(error)}", file=sys.stderr)
        _draw_layers(opened, within, options, target, layers[1:], None)


def _draw_layers(
    opened: OpenedRun,
    within: Mapping[int, Bounds],
    options: argparse.Namespace,
    target: Path,
    layers: Sequence[str],
    truecolour: TrueColour | None,
) -> None:
    pictures, colours = read_pictures(
        opened.run,
        opened.plan,
        truecolour,
        opened.windows,
        within=within,
        times=None if options.window is None else [options.window],
    )
    if options.layer == "composite" and any(one.truecolour is None for one in pictures):
        raise ConfigError(
            "--layer",
            "composite",
            "the run's bands make no picture, or the part is too large for one",
            "Give a smaller part, or --layer pca.",
        )
    caption = run_caption(opened.run, opened.plan)
    part = options.bbox or options.zone
    if options.at is not None:
        part = f"{options.km:g} km around {options.at}"
    if part is not None:
        caption = replace(caption, subtitle=f"{caption.subtitle}{SEPARATOR}part: {part}")
    figure = draw_quicklook(pictures, colours, caption, layers=layers)
    with atomic_target(opened.run, target, folder=False, overwrite=options.overwrite) as temporary:
        dpi = options.size / WIDTH
        save_png(figure, temporary, dpi)
