"""From token sequences to vectors and maps."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from thor_geo.errors import InputError
from thor_geo.models.layout import TokenLayout
from thor_geo.specs import Merge, Pooling, check_choice


def pool_tokens(tokens: Tensor, mode: Pooling = "mean", *, cls_token: bool = False) -> Tensor:
    """Reduce the patch tokens of every sample to one vector.

    Args:
        tokens: Tokens (B, N, D), or (B, N + 1, D) with a CLS token first.
        mode: ``mean`` or ``max`` over all N patch tokens of all groups. The mean weights a group by
            its token count (10 m four times 20 m), unlike the mean of a merged grid.
        cls_token: Whether the first token is a CLS token; it is left out.

    Returns:
        float32 (B, D).

    Raises:
        ConfigError: If *mode* is unknown.
    """
    check_choice("pooling", mode, Pooling)
    patches = tokens[:, 1:] if cls_token else tokens
    if mode == "max":
        return patches.amax(dim=1).float()
    return patches.mean(dim=1, dtype=torch.float32)


def check_merge(mode: Merge | None) -> None:
    """Refuse an unknown way of merging groups.

    Args:
        mode: ``mean``, ``sum``, ``concat``, or None for no merging.

    Raises:
        ConfigError: If *mode* is something else.
    """
    if mode is not None:
        check_choice("group_merge", mode, Merge)


def split_groups(tokens: Tensor, layout: TokenLayout) -> list[Tensor]:
    """Cut a token sequence into one map per group.

    Args:
        tokens: Patch tokens (B, N, D), without a CLS token.
        layout: The token layout they were made with.

    Returns:
        For each group in use, ascending, its map (B, D, n, n).

    Raises:
        InputError: If N is not the layout's number of tokens.
    """
    if tokens.ndim != 3 or tokens.shape[1] != layout.n_tokens:
        raise InputError(
            f"`tokens` has shape {tuple(tokens.shape)}, but the layout needs "
            f"(B, {layout.n_tokens}, D) patch tokens: pass this model's, without a CLS token."
        )
    maps = []
    start = 0
    for group in layout.groups:
        part = tokens[:, start : start + group.n_tokens]
        maps.append(part.mT.reshape(part.shape[0], part.shape[2], group.n, group.n))
        start += group.n_tokens
    return maps


def merge_groups(tokens: Tensor, layout: TokenLayout, mode: Merge = "mean") -> Tensor:
    """Turn a token sequence into one map, on the grid of the finest group in use.

    Coarser maps are enlarged bilinearly (half-pixel centres) first.

    Args:
        tokens: Patch tokens (B, N, D), without a CLS token.
        layout: The token layout they were made with.
        mode: ``mean`` or ``sum`` over the groups, or ``concat`` (channels group by group).

    Returns:
        Map (B, D', n_max, n_max), contiguous; D' is D, or D times the number of groups for
        ``concat``. Row 0 is the tile's top row.

    Raises:
        ConfigError: If *mode* is unknown.
        InputError: If *tokens* does not fit *layout*.
    """
    check_choice("group_merge", mode, Merge)
    side = layout.n_max
    maps = [
        part
        if part.shape[-1] == side
        else F.interpolate(part, size=(side, side), mode="bilinear", align_corners=False)
        for part in split_groups(tokens, layout)
    ]
    if mode == "concat":
        return torch.cat(maps, dim=1).contiguous()
    total = maps[0]
    for part in maps[1:]:
        total = total + part
    if mode == "mean" and len(maps) > 1:
        total = total / len(maps)
    return total.contiguous()
