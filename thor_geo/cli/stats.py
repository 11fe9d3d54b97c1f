"""``thor-geo stats``: mean and standard deviation of the channels a run's model will see."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from lightning.pytorch.cli import LightningArgumentParser

from thor_geo.cli.fetch import HERE
from thor_geo.cli.launch_checks import check_launch
from thor_geo.cli.parser import user_values
from thor_geo.cli.predict import EXIT_FAILED_TILES, PredictCLI, make_cli, prepared
from thor_geo.datamodules import CompositeDataModule, FolderDataModule
from thor_geo.errors import ConfigError, InputError
from thor_geo.specs.bands import STORAGE
from thor_geo.support.progress import Progress
from thor_geo.support.redact import redact, redact_json
from thor_geo.support.words import duration
from thor_geo.tasks.signals import signals_first, stop_on_sigterm
from thor_geo.transforms import observation_planes, stored_range
from thor_geo.transforms.statistics import ChannelStatistics, Moments, Statistics

#: What has pixels to measure.
Measurable: TypeAlias = CompositeDataModule | FolderDataModule

#: File that is written, into the current directory, unless another is named.
DEFAULT = Path("statistics.json")

# What is measured does not depend on how it will be normalised, and the file may not be there yet.
_MEASURED = (
    "--data.normalize=thor_stats",
    "--data.statistics=null",
    "--data.clamp_z=false",
    "--data.nodata_fill=value",
)

# Settings of the data that do not change what is measured.
_NOT_MEASURED = ("normalize", "mean", "std", "clamp_z", "nodata_fill", "batch_size")


class StatsCLI(PredictCLI):
    """Parses what `thor-geo predict` takes, and measures the pixels."""

    #: Whether a tile could not be read.
    failed = False

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add what says where the statistics go."""
        super().add_arguments_to_parser(parser)
        parser.add_argument("--to", type=str, default=str(DEFAULT), help="The file to write.")
        parser.add_argument("--overwrite", action="store_true", help="Replace an earlier file.")

    @property
    def target(self) -> Path:
        """Where the statistics go.

        Raises:
            ConfigError: If something is there already, and not to be replaced.
        """
        path = Path(self._get(self.config, "to")).expanduser()
        if path.is_dir() or (path.exists() and not self._get(self.config, "overwrite")):
            raise ConfigError(
                "to", str(path), "it is there already", "Add --overwrite, or choose another file."
            )
        return path

    def predict(self, **kwargs: Any) -> None:
        """Read the job's tiles, and write what they have in common."""
        check_launch(self.trainer, self.job)
        data = self.datamodule
        if not isinstance(data, Measurable):
            raise ConfigError(
                "data",
                type(data).__name__,
                "only CompositeDataModule and FolderDataModule are measured",
                "Leave data.class_path out, or name thor_geo.datamodules.FolderDataModule.",
            )
        target = self.target
        data.job = self.job
        stop_on_sigterm(self.trainer)
        began = time.monotonic()
        with signals_first():
            try:
                data.setup("predict")
                measured = _measure(data, shown=self.shows_progress)
                provenance = _provenance(data, measured, str(self.job))
            finally:
                data.teardown("predict")
        if measured.failures:
            self.failed = True
            print(redact(_failures(measured)), flush=True)
            return
        statistics = measured.statistics(provenance)
        statistics.write(target)
        print(redact(_report(statistics, data, target, time.monotonic() - began)), flush=True)


class _Measured:
    """Moments of all channels, and what became of the tiles."""

    def __init__(self, data: Measurable) -> None:
        self.tiles = 0
        self.failures: list[str] = []
        selection = data.normalize.selection
        self._bands = selection.bands
        self._planes = observation_planes(selection)
        # To which the model's normalisation clamps; composites are within already.
        self._ranges = list(zip(*stored_range(selection), strict=True))
        self._moments = [Moments() for _ in self._bands]

    def add(self, batch: dict[str, Any]) -> None:
        """Add a batch that is not normalised."""
        images, observations = batch["image"].numpy(), batch["observations"].numpy()
        for image, counts, error in zip(images, observations, batch["error"], strict=True):
            self.tiles += 1
            if error is not None:
                self.failures.append(error)
                continue
            for k, (band, plane) in enumerate(zip(self._bands, self._planes, strict=True)):
                values = image[k][counts[plane] > 0].astype(np.float64)
                has_data = np.isfinite(values) & (values != STORAGE[band.sensor].nodata)
                self._moments[k].add(values[has_data].clip(*self._ranges[k]))

    def statistics(self, provenance: dict[str, Any]) -> Statistics:
        """Return the statistics in physical units.

        Raises:
            InputError: If a channel has no pixel, or one single value.
        """
        channels = {}
        for band, moments in zip(self._bands, self._moments, strict=True):
            if not moments.std > 0:
                raise InputError(
                    f"`{band.channel}`: {moments.count:,} pixels with an observation in "
                    f"{self.tiles:,} tiles, and no two that differ. Measure a larger area, a "
                    "longer window, or more scenes."
                )
            scale = STORAGE[band.sensor].scale
            channels[band.channel] = ChannelStatistics(
                mean=moments.mean * scale, std=moments.std * scale, pixels=moments.count
            )
        return Statistics(channels=channels, provenance=provenance)


def _measure(data: Measurable, *, shown: bool) -> _Measured:
    """Read all tiles of the job; each counts as the model would see it."""
    measured = _Measured(data)
    plan = data.load_plan()
    shards = plan.shards
    total = sum(int(shards.stops[k] - shards.starts[k]) for k in data.job.part(len(shards)))
    # In a list of time windows a tile counts once for each.
    with Progress(total * len(data.windows), shown=shown) as progress:
        for batch in data.predict_dataloader():
            measured.add(data.on_before_batch_transfer(batch, 0))
            failed = len(measured.failures)
            progress.set(measured.tiles, note=f"{failed:,} failed" if failed else "")
    return measured


def _provenance(data: Measurable, measured: _Measured, job: str) -> dict[str, Any]:
    """Return what was measured, as JSON; a tile counts once for each time window.

    Pixels that the chips of several places share count for each of them.
    """
    plan = data.load_plan()
    settings = {k: v for k, v in data.settings().items() if k not in _NOT_MEASURED}
    content = {
        "thor_geo": version("thor-geo"),
        "created": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "area": None if data.area_spec is None else dataclasses.asdict(data.area_spec),
        "places": None if data.places_table is None else data.places_table.source,
        "tiles": measured.tiles,
        "plan_tiles": len(plan) * len(data.windows),
        "plan_sha256": plan.digest,
        "job": job,
        "settings": settings,
    }
    # Paths become text.
    plain: dict[str, Any] = redact_json(json.loads(json.dumps(content, default=str)))
    return plain


def _failures(measured: _Measured) -> str:
    first = next(iter(measured.failures))
    return (
        f"{len(measured.failures):,} of {measured.tiles:,} tiles could not be read, and nothing "
        "was written. Run the same command again: what was fetched stays in the cache; a damaged "
        "file must be replaced.\n"
        f"  first     {first}"
    )


def _report(statistics: Statistics, data: Measurable, path: Path, seconds: float) -> str:
    provenance = statistics.provenance
    unit = "tiles" if provenance["places"] is None else "places"
    lines = [
        f"Measured {provenance['tiles']:,} {unit} in {duration(seconds)}",
        "",
        f"  {'channel':<22} {'mean':>10} {'std':>10}   {'in pre-training':>21} {'pixels':>15}",
    ]
    means, stds = data.normalize.selection.statistics
    for (name, row), mean, std in zip(statistics.channels.items(), means, stds, strict=True):
        lines.append(
            f"  {name:<22} {row.mean:>10.4f} {row.std:>10.4f}   {mean:>10.4f} {std:>10.4f} "
            f"{row.pixels:>15,}"
        )
    return "\n".join(
        [*lines, "", f"  written   {path}", f"  use       normalize: dataset, statistics: {path}"]
    )


def stats(args: Sequence[str]) -> int:
    """Run ``thor-geo stats ...``.

    Args:
        args: Arguments, the first being ``stats``.

    Returns:
        0, or 3 if tiles could not be read.
    """
    arguments = ["predict", *args[1:]]
    values = user_values(arguments)
    if "to" not in values:
        # The file that the run will read, where the config names one.
        named = values.get("data.statistics", (None, ""))[0]
        arguments.append(f"--to={DEFAULT if named is None else named}")
    sys.argv = [sys.argv[0], *prepared([*arguments, *HERE, *_MEASURED])]
    cli = make_cli(cli=StatsCLI)
    assert isinstance(cli, StatsCLI)
    return EXIT_FAILED_TILES if cli.failed else 0
