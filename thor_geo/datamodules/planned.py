"""PlannedDataModule: what datamodules over a plan have in common, whatever their pixels are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset

from thor_geo.datamodules.ledger import Ledger
from thor_geo.datamodules.places import PlaceTable
from thor_geo.datamodules.sampler import ShardBatchSampler
from thor_geo.datasets import collate
from thor_geo.ground.job import Job
from thor_geo.ground.places import Places
from thor_geo.ground.plan import Plan
from thor_geo.specs import NodataFill, Normalize, check_least
from thor_geo.specs.bands import BandSelection
from thor_geo.specs.sources import expanded_path
from thor_geo.transforms import THORNormalize
from thor_geo.transforms.statistics import Statistics


class PlannedDataModule(LightningDataModule):
    """Whose shards a process computes, and how its batches come to the device.

    Attributes:
        batch_size: Tiles per batch.
        num_workers: DataLoader workers.
        strict: Whether to stop at the first tile that cannot be produced.
        normalize: What is done to images on the device.
        statistics: File of measured statistics that it uses, if any.
        job: The part of the plan that this process, or its ranks, predict.
        ledger: Knows which shards are done, if anyone does.
        plan: The plan, once it was loaded.
    """

    _table: PlaceTable | None = None

    normalize: THORNormalize
    statistics: Path | None

    def __init__(self, *, batch_size: int, num_workers: int, strict: bool) -> None:
        """Initialize a new PlannedDataModule instance.

        Args:
            batch_size: Tiles per batch.
            num_workers: DataLoader workers.
            strict: Stop at the first tile that cannot be produced.

        Raises:
            ConfigError: If a number is too small.
        """
        check_least(1, batch_size=batch_size)
        check_least(0, num_workers=num_workers)
        super().__init__()
        self.batch_size, self.num_workers, self.strict = batch_size, num_workers, strict
        # More ranks than shards are allowed. Lightning's constructor sets it on the instance.
        self.allow_zero_length_dataloader_with_multiple_devices = True
        self.job = Job()
        self.ledger: Ledger | None = None
        self.plan: Plan | None = None

    @property
    def places_table(self) -> Places | None:
        """The table of places, read once; None for an area."""
        return None if self._table is None else self._table.places

    def place_settings(self) -> dict[str, Any]:
        """Return ``places``, what of a table changes the outputs; nothing for an area."""
        return {} if self._table is None else {"places": self._table.settings()}

    def _set_normalisation(
        self,
        selection: BandSelection,
        mode: Normalize,
        statistics: Path | None,
        *,
        clamp_z: bool,
        nodata_fill: NodataFill,
    ) -> None:
        """Set `normalize` and `statistics`; see `THORNormalize`."""
        self.statistics = expanded_path(statistics)
        self.normalize = THORNormalize(
            selection,
            mode=mode,
            statistics=None if self.statistics is None else Statistics.read(self.statistics),
            clamp_z=clamp_z,
            nodata_fill=nodata_fill,
        )

    def transfer_batch_to_device(
        self, batch: dict[str, Any], device: torch.device, dataloader_idx: int
    ) -> dict[str, Any]:
        """Move what the model needs; float64 transforms stay behind (MPS has no float64)."""
        moved = {
            key: value.to(device, non_blocking=True)
            for key, value in batch.items()
            if key in ("image", "observations", "tile", "mask", "within")
        }
        return {**batch, **moved}

    def on_before_batch_transfer(
        self, batch: dict[str, Any], dataloader_idx: int
    ) -> dict[str, Any]:
        """Raise what stopped a worker, as it was."""
        for error in batch.get("fatal", ()):
            raise error
        return batch

    def on_after_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> dict[str, Any]:
        """Normalise on the device."""
        batch["image"] = self.normalize(batch["image"], batch["observations"])
        return batch

    def _rank(self) -> tuple[int, int]:
        """Return rank and number of ranks."""
        trainer = self.trainer
        return (0, 1) if trainer is None else (trainer.global_rank, trainer.world_size)

    def _unfinished(self, plan: Plan, windows: int = 1) -> ShardBatchSampler:
        """Return the batches of this rank's unfinished shards, in order."""
        if self.ledger is None:
            shards = np.asarray(self.job.part(len(plan.shards)), dtype=np.int64)
        else:
            shards = self.ledger.unfinished()
        rank, world_size = self._rank()
        return ShardBatchSampler(
            plan,
            self.batch_size,
            rank=rank,
            world_size=world_size,
            shards=shards,
            windows=windows,
        )

    def _loader(
        self, dataset: Dataset[dict[str, Any]], **kwargs: Any
    ) -> DataLoader[dict[str, Any]]:
        return DataLoader(
            dataset,
            num_workers=self.num_workers,
            collate_fn=collate,
            pin_memory=torch.cuda.is_available(),
            **kwargs,
        )
