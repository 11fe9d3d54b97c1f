"""What embedding tasks have in common: tiles in, embeddings and shares of observations out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from thor_geo.errors import ConfigError, InputError
from thor_geo.models.at_place import centre_cells
from thor_geo.support.processes import usable_cores


class EmbeddingTask(LightningModule, ABC):
    """Base of tasks that embed tiles with a frozen model.

    `predict_step` takes a batch of ``image`` (normalised, (B, C, H, W)), ``observations``
    ((B, S, H, W) uint8) and ``tile`` ((B,) int64), and returns a dict of tensors:

    * ``pooled`` (B, D) and/or ``grid`` (B, D', h, w), row 0 is north: see `embed`
    * ``centre`` (B, D'), where it is wanted: the grid's cell that holds the place at ``place_at``
      ((B, 2) floating point, row and column in pixels from the tile's upper left corner)
    * ``tile``, ``valid_fraction`` (share of pixels with an observation), ``observations_mean``

    With ``within`` ((B, H, W), 1 for pixels within the place's polygon) in the batch, vectors are
    pooled over the patches that the polygon covers, each with the share that it covers.

    Attributes:
        bands: Names of the image's planes.
        image_size: Side of a tile in pixels.
        ground_cover: Side of a tile on the ground in metres.
        pooling: How tokens become one vector.
        pooled: Whether vectors are returned.
        grid: Whether grids are returned.
        centre: Whether the cell that holds a place is returned.
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
        centre: bool = False,
    ) -> None:
        """Initialize a new EmbeddingTask instance.

        Args:
            bands: See above, like the rest.
            image_size: Pixels.
            ground_cover: Metres.
            pooled: Return vectors.
            grid: Return grids.
            threads: At least 1, or None.
            centre: Return the cell that holds a place.

        Raises:
            ConfigError: If no output is wanted, or *threads* is less than 1.
        """
        super().__init__()
        wanted = {"pooled": pooled, "grid": grid, "centre": centre}
        if not any(wanted.values()):
            raise ConfigError("output", wanted, "no output", "Set one of them to true.")
        if threads is not None and threads < 1:
            raise ConfigError("threads", threads, "not positive", "Give 1 or more, or null.")
        self.bands = tuple(bands)
        self.image_size = image_size
        self.ground_cover = ground_cover
        self.pooled = pooled
        self.grid = grid
        self.centre = centre
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
            InputError: If grids are wanted and the model's tokens do not form any, or the cells of
                places and the batch has none.
        """
        clear = (batch["observations"] > 0).any(dim=1)
        # Without polygons, tasks of others need not know of them.
        polygons = {"within": batch["within"]} if "within" in batch else {}
        outputs = self.embed(batch["image"], **polygons)
        if self.centre:
            outputs["centre"] = centre_cells(outputs["grid"], _places(batch), self.image_size)
            if not self.grid:
                del outputs["grid"]
        return {
            **outputs,
            "tile": batch["tile"],
            "valid_fraction": clear.float().mean(dim=(1, 2)),
            "observations_mean": batch["observations"].float().mean(dim=(1, 2, 3)),
        }

    @abstractmethod
    def embed(self, image: Tensor, within: Tensor | None = None) -> dict[str, Tensor]:
        """Return ``pooled`` and/or ``grid``, as float32; ``grid`` also where `centre` is wanted.

        Args:
            image: Normalised images (B, C, H, W).
            within: (B, H, W), 1 for pixels within the polygon over which vectors are pooled; None
                for whole tiles.
        """

    @abstractmethod
    def output_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of one tile's outputs that are wanted.

        Returns:
            ``pooled`` (D,), ``grid`` (D', h, w), ``centre`` (D',).
        """

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


def _places(batch: Mapping[str, Tensor]) -> Tensor:
    if "place_at" not in batch:
        raise InputError(
            "`output.centre=True`: the batch has no `place_at`, as its tiles belong to an area. "
            "Set output.centre to false, or give a table as data.places."
        )
    return batch["place_at"]
