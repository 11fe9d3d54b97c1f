"""The transformer block: pre-norm, biased attention, GELU MLP."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from thor_geo.models.variants import MLP_RATIO, NORM_EPS


class UninitialisedLinear(nn.Linear):
    """A linear layer without torch's own, slower initialisation: the encoder fills it."""

    def reset_parameters(self) -> None:
        """Leave the weights as they are."""


class Attention(nn.Module):
    """Multi-head self-attention with an additive bias on the logits."""

    def __init__(self, dim: int, num_heads: int) -> None:
        """Initialize a new Attention instance.

        Args:
            dim: Token width D.
            num_heads: Number of heads H; D is a multiple of it.
        """
        super().__init__()
        self.num_heads = num_heads
        self.qkv = UninitialisedLinear(dim, 3 * dim)
        self.proj = UninitialisedLinear(dim, dim)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """Attend.

        Args:
            x: Tokens (B, N, D).
            bias: Added to the scaled logits, (1, H, N, N), in the dtype of the projections.

        Returns:
            Tokens (B, N, D).
        """
        batch, length, dim = x.shape
        qkv = self.qkv(x).view(batch, length, 3, self.num_heads, dim // self.num_heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        # The bias is broadcast over the batch; expanding it would cost its size for each sample.
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        out: Tensor = self.proj(mixed.transpose(1, 2).reshape(batch, length, dim))
        return out


class Mlp(nn.Module):
    """Two linear layers with an exact (erf) GELU between."""

    def __init__(self, dim: int, hidden: int) -> None:
        """Initialize a new Mlp instance.

        Args:
            dim: Token width D.
            hidden: Width of the hidden layer.
        """
        super().__init__()
        self.fc1 = UninitialisedLinear(dim, hidden)
        self.fc2 = UninitialisedLinear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (..., D) to tokens (..., D)."""
        out: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return out


class TransformerBlock(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, dim: int, num_heads: int) -> None:
        """Initialize a new TransformerBlock instance.

        Args:
            dim: Token width D.
            num_heads: Number of attention heads H.
        """
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.attn = Attention(dim, num_heads)
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.mlp = Mlp(dim, MLP_RATIO * dim)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """Map tokens (B, N, D) to tokens (B, N, D); *bias* as in `Attention`."""
        x = x + self.attn(self.norm1(x), bias)
        x = x + self.mlp(self.norm2(x))
        return x
