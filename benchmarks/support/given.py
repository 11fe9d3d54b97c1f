"""`get_embeddings_batch` on given pixels, for timing in a process of its own."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.support.ground import BANDS, TILE

_images: list[npt.NDArray[np.uint16]] = []
_options: dict[str, Any] = {}
_embeddings: list[Any] = []


def write_weights(path: Path, model_key: str, patch: int) -> None:
    """Write random weights as a checkpoint in the published layout."""
    from thor_geo.models import build_thor
    from thor_geo.specs.bands import bands_from_ee

    channels = [band.channel for band in bands_from_ee(list(BANDS))]
    encoder = build_thor(model_key, bands=channels, image_size=TILE, patch_size=patch).encoder
    state = {f"encoder.{name}": tensor for name, tensor in encoder.state_dict().items()}
    torch.save({"state_dict": state}, path)


def load(file: Path, weights: Path, model_key: str, patch: int) -> dict[str, Any]:
    """Read images (n, bands, H, W), and embed one, so that everything is imported."""
    from thor_geo import SensorSpec, get_embedding

    _images[:] = np.load(file)
    _options.update(
        model=model_key,
        ckpt=weights,
        patch_size=patch,
        sensor=SensorSpec(bands=BANDS),
        device="cpu",
    )
    first = get_embedding(input_chw=_images[0], **_options)
    return {
        "places": len(_images),
        "threads": torch.get_num_threads(),
        "size": [first.meta["image_size"]] * 2,
    }


def embed() -> tuple[float, float]:
    """Embed all images in one call; return its seconds, and CPU seconds of all threads."""
    from thor_geo import get_embeddings_batch

    began, cpu = time.perf_counter(), time.process_time()
    _embeddings[:] = get_embeddings_batch(input_chw=_images, **_options)
    return time.perf_counter() - began, time.process_time() - cpu


def vectors() -> npt.NDArray[np.float32]:
    """Return the last call's vectors (n, D)."""
    return np.stack([embedding.data for embedding in _embeddings])
