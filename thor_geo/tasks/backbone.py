"""BackboneEmbeddingTask: embeddings of any frozen model that returns tokens or a map."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from thor_geo.errors import InputError
from thor_geo.models import pool_tokens
from thor_geo.models.at_place import patch_shares
from thor_geo.models.describe import describe_module
from thor_geo.specs import check_choice
from thor_geo.tasks.base import EmbeddingTask
from thor_geo.tasks.embedding import DEFAULT_CHANNELS

#: How the tokens of any model become one vector.
TokenPooling = Literal["mean", "max"]


class BackboneEmbeddingTask(EmbeddingTask):
    """Embeds tiles with any frozen model; see `EmbeddingTask` for the batch and the outputs.

    * ``pooled``: float32 (B, D), the mean or maximum of all patch tokens
    * ``grid``: float32 (B, D, h, w), the model's map, or its tokens where they form a square
    * ``centre``: float32 (B, D), the grid's cell that holds a place
    """

    def __init__(
        self,
        backbone: nn.Module,
        bands: Sequence[str] = DEFAULT_CHANNELS,
        image_size: int = 288,
        resolution: int = 10,
        pooling: TokenPooling = "mean",
        pooled: bool = True,
        grid: bool = True,
        threads: int | None = None,
        centre: bool = False,
    ) -> None:
        """Initialize a new BackboneEmbeddingTask instance.

        Args:
            backbone: The model. For images (B, C, H, W) it returns tokens (B, N, D), with or
                without a class token in front, or a map (B, D, h, w).
            bands: Names of the image's planes (linked to the data).
            image_size: Side of a tile in pixels (linked to the data's tile_size).
            resolution: Pixel size in metres (linked to the data).
            pooling: How tokens become one vector: ``mean`` or ``max``.
            pooled: Return pooled vectors (linked to the output).
            grid: Return grids (linked to the output).
            threads: CPU threads per process, part of a CPU run's fingerprint; None takes all cores.
            centre: Return the grid's cell that holds a place (linked to the output).

        Raises:
            ConfigError: If *pooling* is unknown, no output is wanted, or *threads* is less than 1.
        """
        super().__init__(
            bands=bands,
            image_size=image_size,
            ground_cover=image_size * resolution,
            pooled=pooled,
            grid=grid,
            threads=threads,
            centre=centre,
        )
        check_choice("pooling", pooling, TokenPooling)
        self.pooling: TokenPooling = pooling
        self.backbone = backbone

    def embed(self, image: Tensor, within: Tensor | None = None) -> dict[str, Tensor]:
        """Return ``pooled`` and/or ``grid``, as float32; ``grid`` also where `centre` is wanted.

        Args:
            image: Normalised images (B, C, H, W).
            within: (B, H, W), 1 for pixels within the polygon over which vectors are pooled; None
                for whole tiles.

        Raises:
            InputError: If a map is needed, and the model's tokens do not form any.
        """
        features = read_features(self.backbone(image))
        out: dict[str, Tensor] = {}
        if self.pooled:
            weights = None
            if within is not None:
                height, width = features.require_grid("data.places.within").shape[-2:]
                weights = patch_shares(within, [(height, width)])
            out["pooled"] = pool_tokens(features.tokens, self.pooling, weights=weights)
        if self.grid or self.centre:
            key = "output.grid" if self.grid else "output.centre"
            out["grid"] = features.require_grid(key).float()
        return out

    def output_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of one tile's outputs that are wanted.

        Returns:
            ``pooled`` (D,), ``grid`` (D, h, w), ``centre`` (D,).
        """
        with torch.no_grad():
            outputs = self.embed(self._blank())
        shapes = {key: tuple(value.shape[1:]) for key, value in outputs.items()}
        if self.centre:
            shapes["centre"] = shapes["grid"][:1]
            if not self.grid:
                del shapes["grid"]
        return shapes

    def settings(self) -> dict[str, Any]:
        """Return everything about the model that changes the numbers."""
        return {**describe_module(self.backbone), **super().settings()}

    def info(self) -> dict[str, Any]:
        """Return what a reader of the outputs wants to know besides the settings."""
        with torch.no_grad():
            features = read_features(self.backbone(self._blank()))
        side = None if features.grid is None else features.grid.shape[-1]
        return {
            **super().info(),
            **({} if side is None else {"grid_side": side}),
            "model_key": type(self.backbone).__name__,
            "pretrained": None,
            "ckpt": None,
            "weights": "the backbone's own",
            "cls_removed": features.cls_removed,
            "grid_kind": "patch_tokens",
            "expected_patch_tokens": features.tokens.shape[1],
        }

    def _blank(self) -> Tensor:
        # Only the backbone knows the shape of its output: ask it once, with an empty image.
        side = self.image_size
        return torch.zeros(1, len(self.bands), side, side, device=self.device)


@dataclass(frozen=True, kw_only=True)
class Features:
    """The output of one forward pass of a backbone.

    Attributes:
        tokens: (B, N, D) patch tokens, without prefix tokens.
        grid: (B, D, h, w), row-major, or None where the tokens do not form a square.
        reason: Why `grid` is None.
        cls_removed: Whether a class token was removed.
    """

    tokens: Tensor
    grid: Tensor | None
    reason: str = ""
    cls_removed: bool = False

    def require_grid(self, key: str) -> Tensor:
        """Return the map.

        Args:
            key: The setting that needs it.

        Raises:
            InputError: If there is none, with the reason; suggests pooled output.
        """
        if self.grid is None:
            raise InputError(
                f"`{key}=True`: {self.reason}. Set {key} to false and keep pooled vectors, or use "
                "a backbone that returns (B, D, h, w)."
            )
        return self.grid


def read_features(output: Any) -> Features:
    """Read tokens and a map from the output of a backbone.

    One class token in front is removed if the tokens form a square without it, and none with it.

    Args:
        output: (B, D, h, w) map, (B, N, D) tokens, or a sequence of either, whose last is taken.

    Raises:
        InputError: If the output has another shape.
    """
    if isinstance(output, list | tuple) and output:
        output = output[-1]
    if not isinstance(output, Tensor) or output.ndim not in (3, 4):
        shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise InputError(
            f"`backbone` returned {shape}: expected a tensor (B, N, D) or (B, D, h, w), or a list "
            "of them. Wrap the backbone so that it does."
        )
    if output.ndim == 4:
        return Features(tokens=output.flatten(2).transpose(1, 2), grid=output)
    count = output.shape[1]
    prefix = 1 if not _is_square(count) and count > 1 and _is_square(count - 1) else 0
    tokens = output[:, prefix:]
    if not _is_square(tokens.shape[1]):
        reason = f"{tokens.shape[1]} tokens (of {count}) do not form a square"
        return Features(tokens=tokens, grid=None, reason=reason, cls_removed=prefix > 0)
    side = math.isqrt(tokens.shape[1])
    grid = tokens.transpose(1, 2).reshape(len(tokens), -1, side, side)
    return Features(tokens=tokens, grid=grid, cls_removed=prefix > 0)


def _is_square(count: int) -> bool:
    return math.isqrt(count) ** 2 == count
