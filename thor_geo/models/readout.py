"""From the tokens of some blocks to one vector and one map, for any model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from thor_geo.models.at_place import patch_shares
from thor_geo.models.layout import TokenLayout
from thor_geo.models.merge import merge_groups, pool_tokens, pooled_dim
from thor_geo.specs import Merge, Pooling


@dataclass(frozen=True, kw_only=True)
class Readout:
    """How tokens become vectors and maps, and the order of their channels.

    The results of several blocks or groups are concatenated along the channels: block by block in
    the order of `layers`, and within a block group by group, ascending.

    Attributes:
        layout: The token layout.
        layers: Blocks, from 0, in the order in which they are read.
        pooling: How a block's tokens become one vector; see `thor_geo.models.pool_tokens`.
        merge: How the groups' maps become one map.
    """

    layout: TokenLayout
    layers: tuple[int, ...]
    pooling: Pooling = "mean"
    merge: Merge = "mean"

    def pooled(self, tokens: Sequence[Tensor], within: Tensor | None = None) -> Tensor:
        """Return the vectors, float32 (B, D').

        Args:
            tokens: Patch tokens (B, N, D) of each of `layers`.
            within: (B, H, W), 1 for pixels within a polygon, over which vectors are then pooled:
                each patch weighs as much of it as the polygon covers, on its group's own grid.
                None for the whole tile.

        Raises:
            InputError: If they do not fit the layout.
        """
        weights = None
        if within is not None:
            weights = patch_shares(within, [(group.n, group.n) for group in self.layout.groups])
        return _concatenate(
            [
                pool_tokens(
                    block_tokens,
                    self.pooling,
                    layout=self.layout,
                    merge=self.merge,
                    weights=weights,
                )
                for block_tokens in tokens
            ]
        )

    def grid(self, tokens: Sequence[Tensor]) -> Tensor:
        """Return the maps, float32 (B, D'', n_max, n_max); row 0 is the tile's top row.

        Args:
            tokens: Patch tokens (B, N, D) of each of `layers`.

        Raises:
            InputError: If they do not fit the layout.
        """
        return _concatenate(
            [merge_groups(block_tokens, self.layout, self.merge).float() for block_tokens in tokens]
        )

    def pooled_shape(self, embed_dim: int) -> tuple[int]:
        """Return the shape of one sample's vector.

        Args:
            embed_dim: Token width D.
        """
        return (len(self.layers) * pooled_dim(embed_dim, self.layout, self.pooling, self.merge),)

    def grid_shape(self, embed_dim: int) -> tuple[int, int, int]:
        """Return the shape of one sample's map.

        Args:
            embed_dim: Token width D.
        """
        side = self.layout.n_max
        return (len(self.layers) * self.layout.merged_dim(embed_dim, self.merge), side, side)

    @property
    def pooled_parts(self) -> list[str]:
        """Names of the vector's parts, in order, each D wide: ``layer11`` or ``layer11.group0``."""
        # Widths in units of D.
        return self._parts(pooled_dim(1, self.layout, self.pooling, self.merge) > 1)

    @property
    def grid_parts(self) -> list[str]:
        """Names of the parts of the map's channels, likewise."""
        return self._parts(self.layout.merged_dim(1, self.merge) > 1)

    def _parts(self, by_group: bool) -> list[str]:
        groups = [f".group{group.group}" for group in self.layout.groups] if by_group else [""]
        return [f"layer{layer}{group}" for layer in self.layers for group in groups]


def _concatenate(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts), dim=1)
