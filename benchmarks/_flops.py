"""Floating-point operations of the encoder, from the layout alone; nothing here needs torch."""

from __future__ import annotations

from thor_geo.models.layout import TokenLayout
from thor_geo.models.variants import MLP_RATIO, Variant


def tile_flops(variant: Variant, layout: TokenLayout) -> int:
    """Return the floating-point operations of the encoder for one tile, matrix products only.

    A block multiplies N tokens of width D by 4 D^2 (attention) and 2 x 4 D^2 (MLP) weights, and N
    queries by N keys and N weights by N values; a multiplication and its addition are two
    operations.

    Args:
        variant: The size.
        layout: The token layout.
    """
    n, d = layout.n_tokens, variant.embed_dim
    linears = n * (4 + 2 * MLP_RATIO) * d * d
    attention = 2 * n * n * d
    embedding = sum(g.n_tokens * len(g.bands) * g.patch_size**2 for g in layout.groups) * d
    return 2 * (variant.depth * (linears + attention) + embedding)
