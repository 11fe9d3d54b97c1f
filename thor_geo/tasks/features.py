"""Features of any backbone, as tokens and as a map."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from thor_geo.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Features:
    """What one forward pass of a generic backbone gave.

    Attributes:
        tokens: (B, N, D) patch tokens, without prefix tokens.
        grid: (B, D, h, w), row-major, or None where the tokens form no square.
        reason: Why `grid` is None.
        cls_removed: Whether a class token was taken off.
    """

    tokens: Tensor
    grid: Tensor | None
    reason: str = ""
    cls_removed: bool = False

    def require_grid(self) -> Tensor:
        """Return the map.

        Raises:
            InputError: If there is none; says why, and suggests pooled output.
        """
        if self.grid is None:
            raise InputError(
                f"`output.grid=True`: {self.reason}. Set output.grid to false and keep pooled "
                "vectors, or use a backbone that returns (B, D, h, w)."
            )
        return self.grid


def generic_features(output: Any, *, prefix_tokens: int | None = None) -> Features:
    """Read tokens and a map off the output of a backbone that is not THOR's.

    Args:
        output: (B, D, h, w) map, (B, N, D) tokens, or a sequence of either, whose last is taken.
        prefix_tokens: Class and register tokens in front; None guesses: one, if N - 1 is a square
            and N is not.

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
    if prefix_tokens is None:
        squares = [n for n in (0, 1) if n < count and math.isqrt(count - n) ** 2 == count - n]
        prefix_tokens = squares[0] if squares else 0
    tokens = output[:, prefix_tokens:]
    side = math.isqrt(tokens.shape[1])
    if side * side != tokens.shape[1]:
        reason = f"{tokens.shape[1]} tokens (of {count}) do not form a square"
        return Features(tokens=tokens, grid=None, reason=reason, cls_removed=prefix_tokens > 0)
    grid = tokens.transpose(1, 2).reshape(len(tokens), -1, side, side)
    return Features(tokens=tokens, grid=grid, cls_removed=prefix_tokens > 0)
