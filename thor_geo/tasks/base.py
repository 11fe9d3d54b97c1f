"""What embedding tasks have in common: tiles in, embeddings and shares of observations out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from thor_geo.errors import ConfigError
from thor_geo.support.processes import usable_cores


class EmbeddingTask(LightningModule, ABC):
    """Base of tasks that embed tiles with a frozen model.

    `predict_step` takes a batch of ``image`` (normalised, (B, C, H, W)), ``observations``
    ((B, S, H, W) uint8) and ``tile`` ((B,) int64), and returns a dict of tensors:

    * ``pooled`` (B, D) and/or ``grid`` (B, D', h, w), row 0 is north: see `embed`
    * ``tile``, ``valid_fraction`` (share of pixels with an observation), ``observations_mean``

    Attributes:
        bands: Names of the image's planes.
        image_size: Side of a tile in pixels.
        ground_cover: Side of a tile on the ground in metres.
        pooling: How tokens become one vector.
        pooled: Whether vectors are returned.
        grid: Whether grids are returned.
        threads: CPU threads of a process; None takes all cores.
    """

    pooling: str

    def __init__(
        self,
        *,
        bands: Sequence[str],
        image_size: int,
        ground_cover: int,
        pooled: bool,
        grid: bool,
        threads: int | None,
    ) -> None:
        """Initialize a new EmbeddingTask instance.

        Args:
            bands: See above, like the rest.
            image_size: Pixels.
            ground_cover: Metres.
            pooled: Return vectors.
            grid: Return grids.
            threads: At least 1, or None.

        Raises:
            ConfigError: If neither output is wanted, or *threads* is less than 1.
        """
        super().__init__()
        if not (pooled or grid):
            raise ConfigError(
                "output", {"pooled": pooled, "grid": grid}, "no output", "Set one of them to true."
            )
        if threads is not None and threads < 1:
            raise ConfigError("threads", threads, "not positive", "Give 1 or more, or null.")
        self.bands = tuple(bands)
        self.image_size = image_size
        self.ground_cover = ground_cover
        self.pooled = pooled
        self.grid = grid
        self.threads = threads

    def setup(self, stage: str) -> None:
        """Set the number of CPU threads: results differ in the last bits with it.

        Lightning would divide the cores by the ranks; the same run on another number of devices
        would then give other numbers.
        """
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        elif self._on_cpu():
            torch.set_num_threads(usable_cores())
            if self.trainer.world_size > 1:
                rank_zero_warn(
                    f"{self.trainer.world_size} ranks on the CPU use {torch.get_num_threads()} "
                    "threads each, so that they compute the same numbers as one rank. Set "
                    "model.threads to share the cores."
                )

    def _on_cpu(self) -> bool:
        trainer = self._trainer
        return trainer is None or trainer.strategy.root_device.type == "cpu"

    def configure_model(self) -> None:
        """Freeze the model."""
        self.requires_grad_(False)
        self.eval()

    def predict_step(
        self, batch: Mapping[str, Tensor], batch_idx: int = 0, dataloader_idx: int = 0
    ) -> dict[str, Tensor]:
        """Embed one batch; see the class for keys and shapes.

        Raises:
            InputError: If grids are wanted and the model's tokens do not form any.
        """
        clear = (batch["observations"] > 0).any(dim=1)
        return {
            **self.embed(batch["image"]),
            "tile": batch["tile"],
            "valid_fraction": clear.float().mean(dim=(1, 2)),
            "observations_mean": batch["observations"].float().mean(dim=(1, 2, 3)),
        }

    @abstractmethod
    def embed(self, image: Tensor) -> dict[str, Tensor]:
        """Return ``pooled`` and/or ``grid`` of normalised images (B, C, H, W), as float32."""

    @abstractmethod
    def output_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of one tile's outputs: ``pooled`` (D,) and/or ``grid`` (D', h, w)."""

    def settings(self) -> dict[str, Any]:
        """Return everything about the model that changes the numbers."""
        trainer = self._trainer
        return {
            "bands": list(self.bands),
            "image_size": self.image_size,
            "ground_cover_m": self.ground_cover,
            "pooling": self.pooling,
            "precision": "32-true" if trainer is None else str(trainer.precision),
            "float32_matmul": torch.get_float32_matmul_precision(),
            "device": self.device.type,
            # On other devices the number of CPU threads changes nothing.
            "threads": torch.get_num_threads() if self._on_cpu() else None,
        }

    def info(self) -> dict[str, Any]:
        """Return what a reader of the outputs wants to know besides the settings."""
        return {
            "image_size": self.image_size,
            "ground_cover_m": self.ground_cover,
            "pooling": self.pooling,
        }
