"""`thor-geo predict` and its encoder alone, for timing side by side in one process."""

from __future__ import annotations

import math
import shutil
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from benchmarks._pipeline_data import BANDS, SHARD_TILES, TILE, Ground

#: CPU threads of every model, and the settings that the two sides share.
THREADS, BATCH, PATCH = 2, 32, 16

#: Tokens of an encoder that costs nothing: 18 x 18 of the 10 m bands, 9 x 9 of the 20 m bands.
WIDTH, SIDE, TOKENS = 768, 18, 18 * 18 + 9 * 9


class Clock(Callback):
    """Times the predict phase: from before the workers are started until the last file is written.

    Lightning's start-up (imports, the plan, signing in, loading weights, opening the run) lies
    before; the datamodule's teardown after.
    """

    #: Seconds of the last run's phase, and when it began on the steady clock.
    seconds, began = 0.0, 0.0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Stand around the loop: between its hooks there is none before the workers' start."""
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


class FreeEncoder(nn.Module):
    """Returns a fixed random tensor whatever it is given: an encoder that costs nothing.

    Tokens (B, 405, 768), or with *grid* a map (B, 768, 18, 18). Random, as zeros would pack to
    nothing.
    """

    def __init__(self, grid: bool = False, batch_size: int = BATCH) -> None:
        super().__init__()
        shape = (batch_size, WIDTH, SIDE, SIDE) if grid else (batch_size, TOKENS, WIDTH)
        generator = torch.Generator().manual_seed(0)
        self.output = torch.randn(shape, generator=generator)

    def forward(self, image: Tensor) -> Tensor:
        """Return as many tiles' features as there are images."""
        return self.output[: len(image)]


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
        extra: Further arguments.
    """

    ground: Ground
    model_key: str | None
    pooled: bool = True
    grid: bool = True
    batch: int = BATCH
    workers: int = 2
    extra: tuple[str, ...] = field(default=())

    def arguments(self, out: Path) -> list[str]:
        """Return the command's arguments."""
        model = [f"--model.model_key={self.model_key}", "--model.pretrained=false"]
        if self.model_key is None:
            name = f"{FreeEncoder.__module__}.{FreeEncoder.__qualname__}"
            model = [f"--model.backbone={name}", f"--model.backbone.grid={self.grid}"]
        return [
            "predict",
            "--trainer.accelerator=cpu",
            "--trainer.devices=1",
            f"--trainer.callbacks+={Clock.__module__}.{Clock.__qualname__}",
            *model,
            f"--model.patch_size={PATCH}",
            f"--model.threads={THREADS}",
            *self.ground.arguments(),
            f"--data.batch_size={self.batch}",
            f"--data.num_workers={self.workers}",
            f"--output.dir={out}",
            f"--output.pooled={self.pooled}",
            f"--output.grid={self.grid}",
            "--output.quicklook=false",
            *self.extra,
        ]


def predict(settings: Settings, out: Path) -> dict[str, float]:
    """Run the command in this process, into a new folder.

    Returns:
        Seconds: ``phase`` as `Clock` has it, and ``before``, from the call to the phase.
    """
    from thor_geo.cli import predict as command

    shutil.rmtree(out, ignore_errors=True)
    began = time.perf_counter()
    code = command.predict(settings.arguments(out))
    assert code == 0, f"thor-geo predict ended with {code}"
    markers = len(list((out / "markers").glob("*.json")))
    assert markers == len(settings.ground.plan.shards), f"{markers} shards were written"
    return {"phase": Clock.seconds, "before": Clock.began - began}


class Encoder:
    """The encoder alone, on the tiles and in the batch shapes of a run, in memory."""

    def __init__(self, settings: Settings) -> None:
        """Load weights and normalised batches.

        Args:
            settings: The run.
        """
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
        images = settings.ground.images()
        # Shards are full and come one after the other: the command's batches are these.
        self._batches = [
            normalize(torch.from_numpy(np.stack(images[k : k + settings.batch])))
            for k in range(0, len(images), settings.batch)
        ]
        with torch.inference_mode():  # what does not change is computed once
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


def pack(ground: Ground, out: Path) -> float:
    """Return the seconds that maps take to be packed, written and summed, and nothing else."""
    from thor_geo.runs.grid import GridStore
    from thor_geo.runs.markers import ShardFile

    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    plan = ground.plan
    store = GridStore(out / "grid.zarr", plan, (WIDTH, SIDE, SIDE))
    store.create("{}")
    side = SIDE * SHARD_TILES
    maps = np.random.default_rng(0).standard_normal((WIDTH, side, side), dtype=np.float32)
    began = time.perf_counter()
    for shard in plan.shards:
        store.write(shard, maps)
        ShardFile.from_path(store.file_of(shard))
    return time.perf_counter() - began


def read(ground: Ground) -> float:
    """Return the seconds that one thread takes to read and normalise the tiles, and nothing else.

    Into memory shared with another process, new for every batch, as PyTorch's DataLoaders do.
    """
    from thor_geo.specs.bands import bands_from_ee
    from thor_geo.transforms import THORNormalize

    torch.set_num_threads(1)
    normalize = THORNormalize([band.channel for band in bands_from_ee(list(BANDS))])
    observations = np.empty((TILE, TILE), np.uint8)
    shape = (BATCH, len(BANDS), TILE, TILE)
    began = time.perf_counter()
    for first in range(0, ground.tiles, BATCH):
        memory: Any = torch.UntypedStorage._new_shared(2 * math.prod(shape))  # type: ignore[no-untyped-call]
        batch = torch.empty(0, dtype=torch.int16).set_(memory).view(shape)
        for number, image in zip(range(first, ground.tiles), batch, strict=False):
            ground.read_into(number, image.numpy().view(np.uint16), observations)
        normalize(batch)
    return time.perf_counter() - began


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
