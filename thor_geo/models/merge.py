"""From token sequences to vectors and maps."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from thor_geo.errors import ConfigError, InputError
from thor_geo.models.at_place import largest_within, weighted_mean
from thor_geo.models.layout import TokenLayout
from thor_geo.specs import Merge, Pooling, check_choice


def pool_tokens(
    tokens: Tensor,
    mode: Pooling = "mean",
    *,
    cls_token: bool = False,
    layout: TokenLayout | None = None,
    merge: Merge = "mean",
    weights: Tensor | None = None,
) -> Tensor:
    """Reduce the patch tokens of every sample to one vector.

    Args:
        tokens: Tokens (B, N, D), or (B, N + 1, D) with a CLS token first.
        mode: ``mean`` or ``max`` over all N patch tokens of all groups; the mean weights a group by
            its number of tokens (10 m four times 20 m). ``grid_mean``: mean over the cells of the
            merged grid, where every group has the same weight (for the merge ``mean``).
            ``group_mean``: the mean of each group's tokens, one after the other, groups ascending.
        cls_token: Whether the first token is a CLS token, which is left out.
        layout: The token layout of the tokens; needed for the last two modes.
        merge: How groups become one grid, for ``grid_mean``.
        weights: Weight (B, N) of each patch token, not negative; None for all alike. Means are
            weighted, a maximum is over tokens with a weight. A cell of the merged grid has the
            weight of the finest group's patch.

    Returns:
        float32 (B, D), or as wide as `pooled_dim` says; NaN for a sample without any weight.

    Raises:
        ConfigError: If *mode* or *merge* is unknown, or the layout is missing.
        InputError: If *tokens* does not fit *layout*.
    """
    check_choice("pooling", mode, Pooling)
    patches = tokens[:, 1:] if cls_token else tokens
    if mode == "max":
        if weights is None:
            return patches.amax(dim=1).float()
        return largest_within(patches, weights)
    if mode == "mean":
        return _mean(patches, weights)
    if layout is None:
        raise ConfigError(
            "pooling", mode, "it needs the groups of a token layout", "Pass `layout`, or take mean."
        )
    shares: list[Tensor | None] = [None] * len(layout.groups)
    if weights is not None:
        shares = [part.flatten(1) for part in split_groups(weights[..., None], layout)]
    maps = split_groups(patches, layout)
    if mode == "group_mean":
        means = [_map_mean(part, share) for part, share in zip(maps, shares, strict=True)]
        return torch.cat(means, dim=1)
    finest = [group.n for group in layout.groups].index(layout.n_max)
    return _map_mean(merge_groups(patches, layout, merge), shares[finest])


def _mean(tokens: Tensor, weights: Tensor | None) -> Tensor:
    if weights is None:
        return tokens.mean(dim=1, dtype=torch.float32)
    return weighted_mean(tokens, weights)


def _map_mean(cells: Tensor, weights: Tensor | None) -> Tensor:
    """Return the mean (B, D) of a map (B, D, n, n), with weights (B, n * n)."""
    if weights is None:
        return cells.mean(dim=(2, 3), dtype=torch.float32)
    return weighted_mean(cells.flatten(2).mT, weights)


def pooled_dim(embed_dim: int, layout: TokenLayout, mode: Pooling, merge: Merge = "mean") -> int:
    """Return the width of the vectors that `pool_tokens` returns.

    Args:
        embed_dim: Token width D.
        layout: The token layout.
        mode: See `pool_tokens`.
        merge: See `pool_tokens`.

    Returns:
        D; D times the number of groups for ``group_mean``, and for the ``grid_mean`` of a
        ``concat``.
    """
    apart = mode == "group_mean" or (mode == "grid_mean" and merge == "concat")
    return layout.merged_dim(embed_dim, "concat" if apart else None)


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
        layout: The token layout of the tokens.

    Returns:
        For each group in use, ascending, its map (B, D, n, n).

    Raises:
        InputError: If N is not the layout's number of tokens.
    """
    if tokens.ndim != 3 or tokens.shape[1] != layout.n_tokens:
        raise InputError(
            f"`tokens` has shape {tuple(tokens.shape)}, but the layout needs "
            f"(B, {layout.n_tokens}, D). Pass this model's patch tokens, without a CLS token."
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
        layout: The token layout of the tokens.
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
