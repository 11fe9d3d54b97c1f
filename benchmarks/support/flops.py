"""Floating-point operations of a THOR encoder: arithmetic over a layout, without torch.

Only matrix products are counted, a multiplication and its addition as two operations. Norms, GELU
and softmax are a few operations for each value where a product does hundreds.
"""

from __future__ import annotations

from dataclasses import dataclass

from thor_geo.models.layout import TokenLayout
from thor_geo.models.variants import MLP_RATIO, Variant


@dataclass(frozen=True, kw_only=True)
class Flops:
    """Operations of one tile.

    Attributes:
        embedding: Patches times kernels, one kernel for each channel.
        linear: Tokens times the blocks' weights.
        attention: Queries times keys, and weights times values.
    """

    embedding: int
    linear: int
    attention: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.embedding + self.linear + self.attention


def encoder_flops(row: Variant, layout: TokenLayout) -> Flops:
    """Count the operations of an encoder of a size and layout for one tile.

    A block multiplies N tokens of width D by 4 D^2 weights (attention) and 2 x 4 D^2 (MLP), and N
    queries by N keys and N values.
    """
    n, d = layout.n_tokens, row.embed_dim
    pixels = sum(g.n_tokens * len(g.bands) * g.patch_size**2 for g in layout.groups)
    return Flops(
        embedding=2 * pixels * d,
        linear=2 * row.depth * n * (4 + 2 * MLP_RATIO) * d * d,
        attention=2 * row.depth * 2 * n * n * d,
    )
