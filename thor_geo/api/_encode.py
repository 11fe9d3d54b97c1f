"""One model for inputs of all sizes, in batches, with the same task as in runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from thor_geo.api._request import EmbeddingRequest
from thor_geo.errors import ConfigError
from thor_geo.models import THORBackbone, variant, weights_sha256
from thor_geo.support.arrays import AnyArray
from thor_geo.tasks import THOREmbeddingTask
from thor_geo.transforms import THORNormalize

Outputs = dict[str, npt.NDArray[np.float32]]

#: The input that an output belongs to: number of the place, and of its window.
Key = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Input:
    """One input of the encoder.

    Attributes:
        key: Place and window.
        pixels: (C, h, w) as stored.
        observations: (S, h, w) uint8, number of observations of each pixel by sensor.
        image_size: Side to which the pixels are resized, pixels.
        ground_cover: Side on the ground that the model assumes, metres.
        within: (h, w) uint8, 1 in the polygon over which the vector is pooled; None for all pixels.
    """

    key: Key
    pixels: AnyArray
    observations: npt.NDArray[np.uint8]
    image_size: int
    ground_cover: int
    within: npt.NDArray[np.uint8] | None = None


@dataclass(kw_only=True)
class Encoder:
    """Embeds inputs as `thor-geo predict` does, with the same task and normalisation.

    Attributes:
        request: The settings.
        device: Where the model is.
        weights_sha256: Checksum of the weights, set once they are loaded.
    """

    request: EmbeddingRequest
    device: torch.device = field(init=False)
    batch_size: int = field(init=False)
    weights_sha256: str | None = field(default=None, init=False)
    _tasks: dict[tuple[int, int], THOREmbeddingTask] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        """Choose the device.

        Raises:
            ConfigError: If there is no such device.
        """
        self.device = _device(self.request.device)
        self.batch_size = self.request.batch_size or _batch_size(self.device)
        self._normalize = THORNormalize(
            self.request.selection,
            mode=self.request.normalize,
            statistics=self.request.statistics,
            clamp_z=self.request.clamp_z,
            nodata_fill=self.request.nodata_fill,
        )

    def normalization(self) -> dict[str, Any]:
        """Return all settings of the normalisation that change the numbers, plane by plane."""
        return self._normalize.settings()

    @property
    def embed_dim(self) -> int:
        """Width D of a token."""
        return variant(self.request.model_key).embed_dim

    def task(self, image_size: int, ground_cover: int) -> THOREmbeddingTask:
        """Return the task for inputs of one size; the first call loads the weights.

        Args:
            image_size: Side of the input, pixels.
            ground_cover: Side on the ground, metres.

        Raises:
            LayoutError: If patches do not divide the ground cover.
            CheckpointError: If weights are missing or do not match.
        """
        key = (image_size, ground_cover)
        if key not in self._tasks:
            request = self.request
            grid = request.output.kind != "pooled"
            task = THOREmbeddingTask(
                model_key=request.model_key,
                pretrained=request.pretrained,
                ckpt=request.ckpt,
                bands=request.bands,
                image_size=image_size,
                resolution=request.resolution,
                ground_cover=ground_cover,
                patch_size=request.patch_size,
                group_merge=request.group_merge,
                pooling=request.output.pooling,
                layers=request.layers,
                norm=request.norm,
                pooled=not grid,
                grid=grid,
                seed=request.seed,
            )
            weights = _weights(task, self.device)
            self.weights_sha256 = weights.sha256
            task.thor = weights.backbone.for_layout(task.layout)
            task.configure_model()
            self._tasks[key] = task
        return self._tasks[key]

    def __call__(self, inputs: Iterable[Input]) -> Iterator[tuple[Key, Outputs]]:
        """Yield the outputs of inputs, in batches of inputs of the same size.

        Args:
            inputs: The inputs, consumed as batches need them.

        Yields:
            Key, and ``pooled`` (D,) or ``grid`` (D', h, w), float32.
        """
        waiting: dict[tuple[Any, ...], list[Input]] = {}
        for item in inputs:
            kind = (
                item.pixels.shape,
                item.pixels.dtype,
                item.image_size,
                item.ground_cover,
                item.within is None,
            )
            batch = waiting.setdefault(kind, [])
            batch.append(item)
            if len(batch) == self.batch_size:
                yield from self._embedded(waiting.pop(kind))
        for batch in waiting.values():
            yield from self._embedded(batch)

    def _embedded(self, batch: list[Input]) -> Iterator[tuple[Key, Outputs]]:
        first = batch[0]
        task = self.task(first.image_size, first.ground_cover)
        pixels = torch.from_numpy(np.stack([item.pixels for item in batch]))
        observations = torch.from_numpy(np.stack([item.observations for item in batch]))
        inside = [item.within for item in batch if item.within is not None]
        within = torch.from_numpy(np.stack(inside)).to(self.device) if inside else None
        with torch.inference_mode():
            image = normalise_on_device(self._normalize, pixels, observations, self.device)
            outputs = task.embed(_resized(image, first.image_size), within)
            arrays = {name: value.cpu().numpy() for name, value in outputs.items()}
        for number, item in enumerate(batch):
            yield item.key, {name: value[number] for name, value in arrays.items()}


def normalise_on_device(
    normalize: THORNormalize, pixels: Tensor, observations: Tensor, device: torch.device
) -> Tensor:
    """Return normalised pixels on a device.

    CUDA normalises on the device, everything else on the CPU: MPS has no float64 and, before
    PyTorch 2.9, no uint16 (pytorch/pytorch#159076), and pixels may have either type.

    Args:
        normalize: The normalisation.
        pixels: (B, C, h, w) on the CPU, of any dtype that *normalize* takes.
        observations: (B, S, h, w) uint8 on the CPU.
        device: Where the model is.

    Returns:
        float32 (B, C, h, w) on *device*.
    """
    compute_on = device if device.type == "cuda" else torch.device("cpu")
    image: Tensor = normalize(pixels.to(compute_on), observations.to(compute_on))
    return image.to(device)


def _resized(image: Tensor, side: int) -> Tensor:
    """Resize normalised images: bilinear, half-pixel centres, no antialiasing."""
    if image.shape[-2:] == (side, side):
        return image
    return F.interpolate(image, size=(side, side), mode="bilinear", align_corners=False)


@dataclass(frozen=True, kw_only=True)
class _Weights:
    """Weights that stay loaded for the next call.

    Attributes:
        backbone: The model, on its device.
        sha256: Checksum of its weights.
    """

    backbone: THORBackbone
    sha256: str


# Only those of the last call: a large model takes 1.3 GB.
_kept: dict[tuple[object, ...], _Weights] = {}


def _weights(task: THOREmbeddingTask, device: torch.device) -> _Weights:
    """Return the weights for a task, from the last call if they are the same."""
    path = task.ckpt
    stamp = None if path is None else (path, path.stat().st_mtime_ns, path.stat().st_size)
    key = (task.model_key, task.pretrained, stamp, task.seed, device)
    if key not in _kept:
        _kept.clear()
        task.configure_model()
        assert isinstance(task.thor, THORBackbone)
        sha256 = weights_sha256(task.thor)
        _kept[key] = _Weights(backbone=task.thor.to(device), sha256=sha256)
    return _kept[key]


def _batch_size(device: torch.device) -> int:
    """Return how many inputs a device takes at a time, unless a number is asked for."""
    # What a block computes of 8 inputs stays in a CPU's caches: 7 % faster than 32.
    return 8 if device.type == "cpu" else 32


def _device(name: str) -> torch.device:
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            "device",
            name,
            f"PyTorch has no such device here ({str(error).splitlines()[0]})",
            "Use auto, cpu, or cuda on a machine with a GPU.",
        ) from error
    return device
