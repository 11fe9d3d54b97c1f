"""``thor-geo fetch``: fill the cache that a run will read, without a model or a GPU."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from thor_geo.cli.launch_checks import check_launch
from thor_geo.cli.predict import EXIT_FAILED_TILES, PredictCLI, make_cli, prepared
from thor_geo.cli.trouble import say_coverage
from thor_geo.composites.prefetch import PrefetchStats
from thor_geo.composites.source import left_out_error
from thor_geo.datamodules import CompositeDataModule
from thor_geo.datamodules.sampler import ShardBatchSampler
from thor_geo.errors import BlockError, ConfigError
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.runs.summary import left_out_rows
from thor_geo.support.progress import Progress
from thor_geo.support.redact import redact
from thor_geo.support.words import duration
from thor_geo.tasks.signals import signals_first, stop_on_sigterm

#: A cache is filled by one process on any machine, whatever the run will use.
HERE = (
    "--trainer.accelerator=cpu",
    "--trainer.devices=1",
    "--trainer.num_nodes=1",
    "--trainer.strategy=auto",
)

_LOOK_S = 0.5
# Failed blocks that are named; the rest is counted.
_NAMED = 5


class FetchCLI(PredictCLI):
    """Parses what `thor-geo predict` takes, and only fetches."""

    #: Whether a block could not be fetched, and whether blocks were fetched and none has a scene.
    failed = found_nothing = False

    def predict(self, **kwargs: Any) -> None:
        """Fetch the blocks of the job's tiles or places."""
        check_launch(self.trainer, self.job)
        data = self.datamodule
        if not isinstance(data, CompositeDataModule):
            raise ConfigError(
                "data",
                type(data).__name__,
                "only CompositeDataModule fetches composites",
                "Leave data.class_path out.",
            )
        data.job = self.job
        plan = data.load_plan()
        part = data.job.part(len(plan.shards))
        sampler = ShardBatchSampler(plan, data.batch_size, shards=np.asarray(part, dtype=np.int64))
        stop_on_sigterm(self.trainer)
        data.connect()
        began = time.monotonic()
        with signals_first():
            try:
                prefetcher = data.feed.start(concurrency=data.request_slots(), ahead=None)
                prefetcher.plan(sampler.blocks(data.block_size))
                unit = "places" if isinstance(plan, PlacePlan) else "tiles"
                label = f"{sampler.tiles:,} {unit}"
                with Progress(0, "blocks", label=label, shown=self.shows_progress) as progress:
                    while not (stats := prefetcher.stats()).finished:
                        prefetcher.check()
                        if data.strict and (stats.blocks_failed or prefetcher.left_out()):
                            break
                        _show(progress, stats)
                        time.sleep(_LOOK_S)
                    _show(progress, stats)
                failures, left_out = prefetcher.failures(), prefetcher.left_out()
            finally:
                data.feed.close()
        if data.strict and failures:
            raise BlockError(next(iter(failures.values())))
        for scene, why in left_out.items() if data.strict else ():
            raise left_out_error(scene, why)
        self.failed = bool(failures)
        self.found_nothing = bool(stats.blocks_empty) and stats.blocks_empty == stats.blocks_fetched
        print(
            redact(_report(stats, failures, left_out, time.monotonic() - began, data)), flush=True
        )


def _show(progress: Progress, stats: PrefetchStats) -> None:
    """Show how far fetching is; how many blocks there are is known when all were planned."""
    done = stats.blocks_fetched + stats.blocks_cached + stats.blocks_failed
    note = f"{stats.concurrency} requests at once"
    if stats.blocks_failed:
        note += f", {stats.blocks_failed:,} failed"
    progress.set(done, total=stats.blocks_planned, note=note)


def _report(
    stats: PrefetchStats,
    failures: dict[str, str],
    left_out: dict[str, str],
    seconds: float,
    data: CompositeDataModule,
) -> str:
    lines = [
        f"Fetched {stats.blocks_fetched:,} blocks in {duration(seconds)}; "
        f"{stats.blocks_cached:,} were in the cache; {len(failures):,} failed",
        "",
        f"  requests  {stats.requests:,} ({stats.retries:,} retries, {stats.splits:,} splits), "
        f"{stats.bytes / 1e6:,.1f} MB, {duration(stats.seconds_waiting)} waiting",
        f"  empty     {stats.blocks_empty:,} blocks without any scene",
        *_other_pass(stats),
        *left_out_rows(left_out),
        f"  cache     {data.feed.spec.source.cache_dir}",
    ]
    for block, message in list(failures.items())[:_NAMED]:
        lines.append(f"  failed    {block}: {message}")
    if failures:
        lines.append("  Run the same command again: only what is missing is fetched.")
    return "\n".join(lines)


def _other_pass(stats: PrefetchStats) -> list[str]:
    if not stats.blocks_other_pass:
        return []
    return [f"  orbit     {stats.blocks_other_pass:,} blocks of the other pass (orbit_fallback)"]


def fetch(args: Sequence[str]) -> int:
    """Run ``thor-geo fetch ...``.

    Args:
        args: Arguments, the first being ``fetch``.

    Returns:
        0, or 3 if blocks could not be fetched.
    """
    sys.argv = [sys.argv[0], *prepared(["predict", *args[1:], *HERE])]
    cli = make_cli(cli=FetchCLI)
    assert isinstance(cli, FetchCLI)
    if cli.found_nothing:
        say_coverage(cli.datamodule)
    return EXIT_FAILED_TILES if cli.failed else 0
