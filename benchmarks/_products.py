"""The matrix products of THOR's blocks and nothing between them: the floor of its encoder."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from thor_geo.models import THOREncoder
from thor_geo.models.blocks import Block
from thor_geo.models.variants import MLP_RATIO


def products_alone(encoder: THOREncoder) -> dict[str, Callable[[Tensor], object]]:
    """Return the products of all blocks, and attention's part of them, as calls.

    Inputs are drawn once and used in every block: there are no norms, GELU or residuals. Samples go
    through in the encoder's own parts.

    Args:
        encoder: Whose weights, bias and parts are taken.

    Returns:
        By name; each takes THOR's input for its batch size.
    """
    bias = encoder.constants().bias
    blocks = [block for block in encoder.blocks if isinstance(block, Block)]
    drawn: dict[int, tuple[Tensor, Tensor, Tensor]] = {}

    def inputs(part: int) -> tuple[Tensor, Tensor, Tensor]:
        if part not in drawn:
            tokens, dim = encoder.layout.n_tokens, encoder.variant.embed_dim
            hidden = MLP_RATIO * dim
            drawn[part] = (
                torch.randn(part, tokens, dim),
                torch.randn(part, tokens, hidden),
                torch.randn(
                    part, tokens, 3, encoder.variant.num_heads, dim // encoder.variant.num_heads
                ),
            )
        return drawn[part]

    def attend(qkv: Tensor) -> Tensor:
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)

    def all_of(block: Block, part: int) -> None:
        x, hidden, qkv = inputs(part)
        block.attn.qkv(x)
        attend(qkv)
        block.attn.proj(x)
        block.mlp.fc1(x)
        block.mlp.fc2(hidden)

    def each(step: Callable[[Block, int], object]) -> Callable[[Tensor], None]:
        def call(x: Tensor) -> None:
            size = encoder._part(x)
            for start in range(0, len(x), size):
                for block in blocks:
                    step(block, min(size, len(x) - start))

        return call

    return {
        "its products alone": each(all_of),
        "its attention alone": each(lambda _block, part: attend(inputs(part)[2])),
    }
