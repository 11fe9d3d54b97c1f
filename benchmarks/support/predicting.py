"""`thor-geo predict` and its encoder alone, for timing side by side in one process."""

from __future__ import annotations

import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from benchmarks.support.commands import flags
from benchmarks.support.free import MAP, TOKENS, FreeEncoder
from benchmarks.support.ground import BANDS, TILE, Ground
from benchmarks.support.place_ground import PlaceGround
from thor_geo.storage import located

#: CPU threads of every model, and the settings that the two sides share.
THREADS, BATCH, PATCH = 2, 32, 16


class Clock(Callback):
    """Times the predict phase: from before the workers are started until the last file is written.

    Lightning's start-up (imports, the plan, signing in, loading weights, opening the run) lies
    before; the datamodule's teardown after.
    """

    #: Seconds of the last run's phase, and when it began on the steady clock.
    seconds, began = 0.0, 0.0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Wrap the loop: Lightning has no hook before the workers start."""
        loop = trainer.predict_loop
        reset, end = loop.reset, loop.on_run_end

        def timed_reset() -> None:
            Clock.began = time.perf_counter()
            reset()

        def timed_end() -> Any:
            result = end()
            Clock.seconds = time.perf_counter() - Clock.began
            return result

        loop.reset, loop.on_run_end = timed_reset, timed_end  # type: ignore[method-assign]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One kind of run.

    Attributes:
        ground: What to embed.
        model_key: Variant; None for the encoder that costs nothing.
        pooled: Whether to write vectors.
        grid: Whether to write maps.
        batch: Tiles per batch.
        workers: DataLoader workers.
        concurrency: Requests in flight; None for the default.
    """

    ground: Ground | PlaceGround
    model_key: str | None
    pooled: bool = True
    grid: bool = True
    batch: int = BATCH
    workers: int = 2
    concurrency: int | None = None

    def arguments(self, out: Path | str) -> list[str]:
        """Return the command's arguments.

        Args:
            out: Folder or address of the run.
        """
        model: dict[str, object] = {
            "model.model_key": self.model_key,
            "model.pretrained": "false",
            "model.patch_size": PATCH,
        }
        if self.model_key is None:
            shape = MAP if self.grid else TOKENS
            model = {
                "model": "thor_geo.tasks.BackboneEmbeddingTask",
                "model.backbone": f"{FreeEncoder.__module__}.{FreeEncoder.__qualname__}",
                "model.backbone.shape": list(shape),
            }
        settings: dict[str, object] = {
            "trainer.accelerator": "cpu",
            "trainer.devices": 1,
            "trainer.callbacks+": f"{Clock.__module__}.{Clock.__qualname__}",
            **model,
            "model.threads": THREADS,
            **self.ground.settings(),
            "data.batch_size": self.batch,
            "data.num_workers": self.workers,
            "data.concurrency": self.concurrency,
            "output.dir": out,
            "output.pooled": self.pooled,
            "output.grid": self.grid,
            "output.quicklook": "false",
        }
        return ["predict", *flags(settings)]


def predict(settings: Settings, out: Path | str, *, keep: bool = False) -> dict[str, float]:
    """Run the command in this process, into a new folder.

    Args:
        settings: What to run.
        out: The folder, or an address in a store.
        keep: Whether what is there stays; what is in a store always does.

    Returns:
        Seconds: ``phase`` as `Clock` has it, and ``before``, from the call to the phase.
    """
    from thor_geo.cli import predict as command

    where = located(out)
    if isinstance(where, Path) and not keep:
        shutil.rmtree(where, ignore_errors=True)
    began = time.perf_counter()
    code = command.predict(settings.arguments(out))
    phase, before = Clock.seconds, Clock.began - began
    assert code == 0, f"thor-geo predict ended with {code}"
    if isinstance(where, Path):  # elsewhere it would be requests of ours among the command's
        markers = len(list((where / "markers").glob("*.json")))
        assert markers == len(settings.ground.plan.shards), f"{markers} shards were written"
    return {"phase": phase, "before": before}


class Encoder:
    """The encoder alone, on the tiles and in the batch shapes of a run, in memory."""

    def __init__(self, settings: Settings) -> None:
        """Load weights and normalised batches of a run."""
        from thor_geo.models import build_thor
        from thor_geo.specs.bands import bands_from_ee
        from thor_geo.transforms import THORNormalize

        torch.set_num_threads(THREADS)
        assert settings.model_key is not None
        channels = [band.channel for band in bands_from_ee(list(BANDS))]
        self._encoder = build_thor(
            settings.model_key, bands=channels, image_size=TILE, patch_size=PATCH
        ).encoder.requires_grad_(False)
        normalize = THORNormalize(channels)
        assert isinstance(settings.ground, Ground)
        images = settings.ground.images()
        # Shards are full and come one after the other: the command's batches are these.
        self._batches = [
            normalize(torch.from_numpy(np.stack(images[k : k + settings.batch])))
            for k in range(0, len(images), settings.batch)
        ]
        with torch.inference_mode():  # what never changes is computed in the first pass
            self._encoder.forward_features(self._batches[0], [-1])

    def __call__(self) -> float:
        """Encode every batch; return the seconds that it took."""
        with torch.inference_mode():
            began = time.perf_counter()
            for batch in self._batches:
                self._encoder.forward_features(batch, [-1])
            return time.perf_counter() - began


_encoders: dict[Settings, Encoder] = {}


def encode(settings: Settings) -> float:
    """Return the seconds that a run's encoder takes alone; weights and batches are kept."""
    if settings not in _encoders:
        _encoders.clear()
        _encoders[settings] = Encoder(settings)
    return _encoders[settings]()


def start() -> None:
    """Import what the command imports, before anything is timed."""
    import thor_geo.cli.predict
    import thor_geo.tasks  # noqa: F401

    sys.argv = ["thor-geo"]


def vectors(out: Path) -> dict[str, Any]:
    """Return a run's pooled vectors by tile id."""
    import pyarrow.parquet as pq

    table = pq.read_table(out / "pooled", columns=["tile_id", "embedding"])
    ids = table["tile_id"].to_pylist()
    return dict(zip(ids, np.stack(table["embedding"].to_numpy()), strict=True))
