"""``thor-geo probe``: how much of some labels a run's embeddings know."""

from __future__ import annotations

import argparse
import csv
import datetime as dt
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, TypeVar

from thor_geo.cli.options import (
    WINDOW,
    add_overwrite,
    add_run,
    command_parser,
    local_path,
    run_of,
)

if TYPE_CHECKING:
    from thor_geo.probe.spec import ProbeSpec

_N = TypeVar("_N", int, float)

#: Other seeds of ``--seed-noise`` where it stands alone.
SEEDS = 5

_EXAMPLES = """\
examples:
  thor-geo probe out/oslo --labels landcover.gpkg --target class
  thor-geo probe out/oslo --labels landcover.tif --ignore 0,255
  thor-geo probe out/survey --target crop --group country
  thor-geo probe out/survey --target crop --beside aef=alphaearth.csv --seed-noise
  thor-geo probe out/bergen --apply out/oslo/probe/class
  thor-geo probe out/oslo --export-csv oslo.csv

Labels are points, polygons (any file that geopandas reads, or a CSV with lon and lat) or a raster,
in any CRS, and are joined by place. A run of places has its own: the columns of its table, of which
--target names one. Test samples lie in other blocks of ground than training
samples: scattered among them, they would only measure how smooth the labels are. kNN and logistic
(or ridge) regression on standardised embeddings are compared with the same models on the mean and
standard deviation of the raw bands, with chance, and with the vectors that --beside names
(docs/comparing.md).

Files in OUT/probe/TARGET: probe.json (all numbers), confusion.png or scatter.png, curve.png,
model.json (the linear probe, for --apply), and its predictions for the whole run: map_*.tif (cells)
or predictions.parquet (tiles, places). docs/probe.md explains how labels are joined to cells.
"""


def _number(text: str, kind: Callable[[str], _N]) -> _N:
    try:
        return kind(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text.strip()!r} is not a {'whole ' if kind is int else ''}number; give e.g. 5,50,100"
        ) from None


def _shares(text: str) -> tuple[float, ...]:
    shares = tuple(_number(part, float) / 100 for part in text.split(",") if part.strip())
    if not all(0 < share <= 1 for share in shares):
        raise argparse.ArgumentTypeError(
            f"{text}: give percent of the labels, more than 0 and up to 100, e.g. 5,50,100"
        )
    return shares


def _day(text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text.strip())
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a day; give e.g. 2021-01-01") from None


def _counts(text: str) -> tuple[int, ...]:
    return tuple(_number(part, int) for part in text.split(",") if part.strip())


def _seeds(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a whole number; a run stands before --seed-noise, or write "
            f"--seed-noise={SEEDS}"
        ) from None


def _texts(text: str) -> tuple[str, ...]:
    """Return the values of a line of CSV, in which quotes keep a value's own commas."""
    (row,) = csv.reader([text], skipinitialspace=True)
    return tuple(part.strip() for part in row if part.strip())


def parser() -> argparse.ArgumentParser:
    """Return the parser of ``thor-geo probe``."""
    parser = command_parser(
        "probe",
        "Probe a run's embeddings with labels; save the probe, and apply it to other runs.",
        _EXAMPLES,
    )
    add_run(parser)
    add = parser.add_argument
    add("--labels", type=local_path, metavar="FILE", help="points, polygons or a raster of labels")
    add("--target", metavar="COLUMN", help="column of the labels (raster: name of the band) or run")
    add("--layer", help="which layer of a vector file that has several")
    add("--names", type=local_path, metavar="JSON", help='names of the classes: {"11": "crops"}')
    add("--apply", type=local_path, metavar="PROBE", help="predict with a saved probe (model.json)")
    add(
        "--export-csv",
        type=local_path,
        metavar="FILE",
        help="write the vectors as CSV for NeuCo-Bench",
    )
    add(
        "--to",
        type=local_path,
        metavar="DIR",
        help="where the files go (default: OUT/probe/TARGET; --apply: .../TARGET-applied)",
    )
    add("--window", type=int, metavar="N", help=WINDOW)
    add_overwrite(parser)
    _add_samples(parser)
    _add_cross_validation(parser)
    _add_comparison(parser)
    return parser


def _add_samples(parser: argparse.ArgumentParser) -> None:
    """Add the options of what a sample is, and which ones count."""
    add = parser.add_argument_group("samples").add_argument
    add("--on", choices=("tiles", "cells"), help="what is a sample (default: cells for rasters)")
    add(
        "--vectors", choices=("pooled", "centre", "both"), help="of places (centre, if it is there)"
    )
    add("--task", choices=("classification", "regression"), help="default: regression for floats")
    add(
        "--ignore",
        type=_texts,
        action="extend",
        default=[],
        metavar="A,B",
        help="labels to leave out; one with a comma as '\"A, B\"'",
    )
    add("--nodata", type=float, help="a raster's value for no label, besides the file's own")
    add("--min-cover", type=float, metavar="SHARE", help="least labelled share of a sample (0.5)")
    add("--max-samples", type=int, metavar="N", help="most samples, picked at random (10000)")


def _add_cross_validation(parser: argparse.ArgumentParser) -> None:
    """Add the options of folds, models and the learning curve."""
    add = parser.add_argument_group("cross-validation").add_argument
    add(
        "--block-m",
        type=float,
        metavar="M",
        help="side of a block (1 tile; for tiles 2), or distance between places (10000)",
    )
    add("--folds", type=int, metavar="N", help="number of folds (5)")
    add("--buffer-m", type=float, metavar="M", help="distance kept between training and test")
    add("--split", choices=("blocks", "random"), help="random leaks; default: blocks")
    add("--group", metavar="COLUMN", help="places: test on other groups, e.g. --group country")
    add("--split-date", type=_day, metavar="DAY", help="places: train before it, test from then on")
    add("--fractions", type=_shares, metavar="P,Q", help="curve, %% of labels (1,5,10,25,50,100)")
    add("--counts", type=_counts, metavar="N,M", help="curve, numbers of labels as well")
    add("--repeats", type=int, metavar="N", help="draws of labels for each point (3)")
    add("--no-curve", action="store_true", help="only the scores with all labels")
    add("--neighbours", type=int, metavar="K", help="k of kNN (10)")
    add("--seed", type=int, help="seed of folds, draws and bootstrap (0)")
    add("--no-baseline", action="store_true", help="no raw bands, e.g. if the pixels are gone")


def _add_comparison(parser: argparse.ArgumentParser) -> None:
    """Add the options of what scores are compared with."""
    add = parser.add_argument_group("comparison").add_argument
    add(
        "--beside",
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="other vectors on the same samples and folds: a table by place or id, or a run",
    )
    add(
        "--seed-noise",
        type=_seeds,
        nargs="?",
        const=SEEDS,
        metavar="N",
        help=f"score with N other divisions into folds, too ({SEEDS}); write OUT before it",
    )


def run_probe(args: Sequence[str]) -> int:
    """Fit a probe and save it, apply a saved one, or export the vectors.

    Args:
        args: Arguments after ``thor-geo probe``.

    Returns:
        0.

    Raises:
        ThorGeoError: If an argument, the labels or the run cannot be used.
    """
    command = parser()
    options = command.parse_args(args)
    jobs = {"--apply": options.apply, "--export-csv": options.export_csv}
    jobs["--labels or --target"] = options.labels or options.target
    given = [job for job, value in jobs.items() if value is not None]
    if len(given) > 1:
        command.error(f"give one of {' and '.join(given)}")
    if given != ["--labels or --target"] and given and (options.beside or options.seed_noise):
        command.error(f"--beside and --seed-noise compare scores, and {given[0]} gives none")
    if sys.stderr.isatty():  # what is loaded first takes seconds
        print("thor-geo: opening the run", file=sys.stderr, flush=True)
    from thor_geo.probe.jobs import apply_probe, export, fit

    if options.export_csv is not None:
        return export(
            run_of(options),
            options.export_csv,
            window=options.window,
            vectors=options.vectors,
            overwrite=options.overwrite,
        )
    if options.apply is not None:
        return apply_probe(
            run_of(options),
            options.apply,
            window=options.window,
            to=options.to,
            overwrite=options.overwrite,
        )
    return fit(
        run_of(options),
        options.labels,
        options.target,
        _spec(command, options),
        layer=options.layer,
        nodata=options.nodata,
        names=options.names,
        to=options.to,
        overwrite=options.overwrite,
    )


def _spec(command: argparse.ArgumentParser, options: argparse.Namespace) -> ProbeSpec:
    """Return the settings; an option left out keeps the default of `ProbeSpec`."""
    from thor_geo.probe.beside import Beside
    from thor_geo.probe.spec import ProbeSpec

    if options.no_curve:
        if options.fractions or options.counts:
            command.error("--no-curve: there are no points for --fractions or --counts to set")
        options.fractions = (1.0,)
    options.ignore = tuple(options.ignore)
    values = {field.name: getattr(options, field.name, None) for field in fields(ProbeSpec)}
    return ProbeSpec(
        **{name: value for name, value in values.items() if value is not None},
        baseline=not options.no_baseline,
        besides=tuple(Beside.parse(text) for text in options.beside),
    )
