"""The matrix products of THOR's blocks and nothing between them: the floor of its encoder."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from thor_geo.models import THOREncoder
from thor_geo.models.blocks import TransformerBlock
from thor_geo.models.variants import MLP_RATIO

#: Names of the two.
PRODUCTS, ATTENTION = "its products alone", "its attention alone"


def products_alone(encoder: THOREncoder, x: Tensor) -> dict[str, Callable[[], None]]:
    """Return the products of all blocks, and attention's part of them, as calls.

    Inputs are drawn now, once, and used in every block: there are no norms, GELU or residuals.
    Samples go through in the encoder's own parts.

    Args:
        encoder: Whose weights, bias and parts are taken.
        x: THOR's input, of which the batch size counts.

    Returns:
        The calls by name.
    """
    bias = encoder.constants().bias
    blocks = [block for block in encoder.blocks if isinstance(block, TransformerBlock)]
    tokens, dim = encoder.layout.n_tokens, encoder.variant.embed_dim
    heads = encoder.variant.num_heads
    size = encoder._part(x)
    parts = [min(size, len(x) - start) for start in range(0, len(x), size)]
    drawn = {
        part: (
            torch.randn(part, tokens, dim),
            torch.randn(part, tokens, MLP_RATIO * dim),
            torch.randn(part, tokens, 3, heads, dim // heads),
        )
        for part in set(parts)
    }

    def attend(qkv: Tensor) -> None:
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        F.scaled_dot_product_attention(q, k, v, attn_mask=bias)

    def everything() -> None:
        for part in parts:
            x, hidden, qkv = drawn[part]
            for block in blocks:
                block.attn.qkv(x)
                attend(qkv)
                block.attn.proj(x)
                block.mlp.fc1(x)
                block.mlp.fc2(hidden)

    def attention() -> None:
        for part in parts:
            for _ in blocks:
                attend(drawn[part][2])

    return {PRODUCTS: everything, ATTENTION: attention}
