"""TerraTorch's EmbeddingGenerationTask on chips, for timing beside `thor-geo predict`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.support.free import MAP, TOKENS, FreeEncoder
from benchmarks.support.ground import BANDS, TILE
from benchmarks.support.predicting import BATCH, PATCH, THREADS, Clock
from thor_geo.specs.bands import bands_from_ee


class _FreeBackbone(nn.Module):
    """The encoder that costs nothing, as TerraTorch wants a backbone."""

    def __init__(self, grid: bool) -> None:
        super().__init__()
        self.out_channels = [MAP[0]]
        self.free = FreeEncoder(MAP if grid else TOKENS)

    def forward(self, image: Tensor) -> list[Tensor]:
        return [self.free(image)]


def pipeline_free(grid: bool = False) -> nn.Module:
    """Build the encoder that costs nothing."""
    return _FreeBackbone(grid)


def start() -> None:
    """Import TerraTorch, and register both encoders, before anything is timed."""
    import terratorch.tasks  # noqa: F401
    from terratorch.registry import TERRATORCH_BACKBONE_REGISTRY

    import thor_geo.terratorch  # noqa: F401

    TERRATORCH_BACKBONE_REGISTRY.register(pipeline_free)


def predict(chips: Path, out: Path, *, model_key: str | None, grid: bool, workers: int) -> float:
    """Embed a folder of chips.

    Args:
        chips: The folder.
        out: Where to write; emptied first.
        model_key: Variant; None for the encoder that costs nothing.
        grid: Write maps as GeoTIFF, instead of mean vectors as one Parquet file.
        workers: DataLoader workers.

    Returns:
        Seconds of the phase, as `Clock` has it.
    """
    from lightning.pytorch import Trainer
    from terratorch.datamodules import GenericNonGeoSegmentationDataModule
    from terratorch.tasks import EmbeddingGenerationTask

    shutil.rmtree(out, ignore_errors=True)
    torch.set_num_threads(THREADS)
    means, stds = _statistics()
    task = EmbeddingGenerationTask(
        model_args=_model(model_key, grid),
        output_dir=str(out),
        output_format="tiff" if grid else "parquet_joint",
        embedding_pooling=None if grid else "mean",
        layers=[-1],
        num_workers=workers,
    )
    data = GenericNonGeoSegmentationDataModule(
        batch_size=BATCH,
        num_workers=workers,
        num_classes=2,
        predict_data_root=chips,
        means=means,
        stds=stds,
    )
    trainer = Trainer(
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        callbacks=[Clock()],
    )
    trainer.predict(task, datamodule=data, return_predictions=False)
    return Clock.seconds


def _model(model_key: str | None, grid: bool) -> dict[str, Any]:
    if model_key is None:
        return {"backbone": "pipeline_free", "backbone_grid": grid}
    return {
        "backbone": f"thorgeo_{model_key}",
        "backbone_model_bands": [band.channel for band in bands_from_ee(list(BANDS))],
        "backbone_input_params": {
            "ground_covers": [TILE * 10],
            "flexivit_patch_size_seqs": [PATCH],
        },
        "backbone_out_indices": [-1],
        "backbone_merge_method": "mean" if grid else None,
    }


def _statistics() -> tuple[list[float], list[float]]:
    """Return THOR's means and standard deviations in the chips' units."""
    from thor_geo.specs.bands import select_bands

    selection = select_bands([band.channel for band in bands_from_ee(list(BANDS))])
    means, stds = selection.statistics
    return [10_000 * mean for mean in means], [10_000 * std for std in stds]


def vectors(out: Path) -> dict[str, Any]:
    """Return a run's pooled vectors by file id."""
    import pyarrow.parquet as pq

    table = pq.read_table(out / "layer_00" / "embeddings.parquet", columns=["file_id", "embedding"])
    values = [np.asarray(row, dtype=np.float32) for row in table["embedding"].to_pylist()]
    return dict(zip(table["file_id"].to_pylist(), values, strict=True))
