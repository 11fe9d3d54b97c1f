"""Two-dimensional ALiBi in metres: the only notion of position that THOR has.

Patch centres are metres from the tile's top-left corner, so groups of different GSD are
co-registered by their corner. Everything here is float32, whatever the model's dtype: in bfloat16
neighbouring patches would have the same coordinates.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from thor_geo.models.layout import TokenLayout

#: Rows of attention biases are padded in memory to a multiple of this: CUDA's memory-efficient
#: attention uses such a bias as it is, and copies one with unaligned rows on every call.
_ROW_ALIGNMENT = 16


def alibi_slopes(num_heads: int) -> Tensor:
    """Return the slope of every head (Press et al., ALiBi, 2022).

    Args:
        num_heads: Number of heads H.

    Returns:
        float32 (H,) on the CPU. If H is a power of two, the geometric series from 2^(-8/H);
        otherwise the series of the next lower power of two, then every second slope of the next
        higher.
    """

    def series(count: int) -> list[float]:
        return [2.0 ** (-8.0 * (head + 1) / count) for head in range(count)]

    lower = 2 ** math.floor(math.log2(num_heads))
    slopes = series(lower)
    if lower < num_heads:
        slopes += series(2 * lower)[::2][: num_heads - lower]
    return torch.tensor(slopes, dtype=torch.float32, device="cpu")


def patch_centres(layout: TokenLayout, device: torch.device | None = None) -> Tensor:
    """Return the centre of every patch, in token order.

    Args:
        layout: The token layout.
        device: Where to put it; the CPU by default.

    Returns:
        float32 (N, 2): y and x in metres from the tile's top-left corner.
    """
    centres = []
    for group in layout.groups:
        axis = torch.arange(group.n, dtype=torch.float32, device=device or "cpu")
        axis = (axis + 0.5) * group.footprint
        centres.append(torch.cartesian_prod(axis, axis).reshape(-1, 2))
    return torch.cat(centres)


def alibi_bias(
    layout: TokenLayout,
    slopes: Tensor,
    *,
    cls_token: bool = False,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Return the bias that is added to the attention logits, the same in every block and sample.

    Args:
        layout: The token layout.
        slopes: Slopes (H,), float32; the result is on their device.
        cls_token: Whether a CLS token precedes the patches. Its distance to every token is 0, and
            the distances between all other tokens grow by 1.
        dtype: Dtype of the result; everything before is computed in float32.

    Returns:
        (H, N, N), or (H, N + 1, N + 1), of *dtype*: minus slope times the distance between patch
        centres, in units of the coarsest patch in use. Its rows are aligned in memory; a later
        ``.to(dtype)`` would undo that.
    """
    prefix = int(cls_token)
    size = layout.n_tokens + prefix
    padded = math.ceil(size / _ROW_ALIGNMENT) * _ROW_ALIGNMENT
    centres = patch_centres(layout, slopes.device)
    # Not torch.cdist: for many points it computes |a|^2 + |b|^2 - 2ab, which loses digits.
    dy = centres[:, None, 0] - centres[None, :, 0]
    dx = centres[:, None, 1] - centres[None, :, 1]
    distance = torch.sqrt(dy * dy + dx * dx) / layout.max_footprint
    bias = torch.zeros(slopes.numel(), size, padded, dtype=dtype, device=slopes.device)
    bias = bias[:, :, :size]
    torch.mul(-slopes.float()[:, None, None], distance + prefix, out=bias[:, prefix:, prefix:])
    return bias
