"""Ways to compute THOR's attention, and the check that each sees the distances as they are.

A way is a function of queries, keys, values and the package's bias. SDPA adds the bias, broadcast
over the batch; FlexAttention does without and computes it inside the kernel, in float32. To use one
in the encoder is to replace `block.attn`: a module that takes tokens and bias and has the same
weights, as `Attending` does. The package itself calls SDPA and lets torch pick the kernel.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.flex_attention import flex_attention

from thor_geo.models import THOREncoder, TokenLayout
from thor_geo.models.alibi import patch_centres
from thor_geo.models.blocks import Attention

#: Queries, keys, values (B, H, N, 64) and the bias (1, H, N, N) to (B, H, N, 64).
Mix = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]

#: SDPA's kernels that take a bias, by device and name; None is torch's own choice.
_KERNELS: Mapping[str, Mapping[str, SDPBackend | None]] = {
    "cuda": {
        "sdpa": None,
        "sdpa efficient": SDPBackend.EFFICIENT_ATTENTION,
        "sdpa cudnn": SDPBackend.CUDNN_ATTENTION,
        "sdpa math": SDPBackend.MATH,
    },
    "cpu": {
        "sdpa": None,
        "sdpa flash": SDPBackend.FLASH_ATTENTION,
        "sdpa math": SDPBackend.MATH,
    },
}

#: Width of a head, in all variants.
_HEAD = 64


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to compute attention.

    Attributes:
        name: Its name in the tables.
        mix: The function, or None for the package's module as it is.
        rounds_bias: Whether it adds a bias that was rounded to the dtype of the weights.
    """

    name: str
    mix: Mix | None
    rounds_bias: bool

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
        """Attend; see `Mix`."""
        return (self.mix or _sdpa(None))(q, k, v, bias)


class Attending(nn.Module):
    """A block's attention with its weights, and another way to compute it."""

    def __init__(self, attention: Attention, mix: Mix) -> None:
        super().__init__()
        self.num_heads = attention.num_heads
        self.qkv = attention.qkv
        self.proj = attention.proj
        self.mix = mix

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """As `thor_geo.models.blocks.Attention`."""
        batch, length, dim = x.shape
        qkv = self.qkv(x).view(batch, length, 3, self.num_heads, dim // self.num_heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = self.mix(q, k, v, bias)
        out: Tensor = self.proj(mixed.transpose(1, 2).reshape(batch, length, dim))
        return out


def _sdpa(kernel: SDPBackend | None) -> Mix:
    if kernel is None:
        return lambda q, k, v, bias: F.scaled_dot_product_attention(q, k, v, attn_mask=bias)

    def mix(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
        # In here, not around the model: what torch.compile makes must depend on it.
        with sdpa_kernel(kernel):
            return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)

    return mix


def _flex(layout: TokenLayout, slopes: Tensor, attend: Callable[..., Tensor], table: bool) -> Mix:
    # float32 like the scores, whatever the model's dtype: in bf16 patches fall onto each other.
    y, x = (patch_centres(layout, slopes.device) / layout.max_footprint).T.contiguous().unbind()
    slopes = slopes.float()
    distances = torch.hypot(y[:, None] - y, x[:, None] - x) if table else y

    def computed(score: Tensor, batch: Tensor, head: Tensor, i: Tensor, j: Tensor) -> Tensor:
        dy, dx = y[i] - y[j], x[i] - x[j]
        return score - slopes[head] * torch.sqrt(dy * dy + dx * dx)

    def looked_up(score: Tensor, batch: Tensor, head: Tensor, i: Tensor, j: Tensor) -> Tensor:
        return score - slopes[head] * distances[i, j]

    score_mod = looked_up if table else computed
    return lambda q, k, v, bias: attend(q, k, v, score_mod=score_mod)


def ways(encoder: THOREncoder) -> list[Way]:
    """Return what can be tried for an encoder on the device it is on."""
    device = encoder.norm.weight.device.type
    attend: Callable[..., Tensor] = flex_attention
    if device == "cuda":
        # Without a compiler it would write all scores to memory: nothing anyone would run.
        attend = torch.compile(flex_attention, fullgraph=True, dynamic=False)
    ways = [
        Way(name=name, mix=None if kernel is None else _sdpa(kernel), rounds_bias=True)
        for name, kernel in _KERNELS[device].items()
    ]
    for name, table in (("flex", False), ("flex table", True)):
        mix = _flex(encoder.layout, encoder.encoder_slopes, attend, table)
        ways.append(Way(name=name, mix=mix, rounds_bias=False))
    return ways


def use(encoder: THOREncoder, way: Way) -> None:
    """Have an encoder compute attention that way from now on."""
    if way.mix is None:
        return
    for block in encoder.blocks:
        block.attn = Attending(block.get_submodule("attn"), way.mix)  # type: ignore[arg-type]


def exact_bias(layout: TokenLayout, slopes: Tensor) -> Tensor:
    """Return the bias of SPEC section 7, float64 (H, N, N), written down a second time."""
    centres = torch.tensor(
        [
            ((row + 0.5) * group.footprint, (column + 0.5) * group.footprint)
            for group in layout.groups
            for row in range(group.n)
            for column in range(group.n)
        ],
        dtype=torch.float64,
        device=slopes.device,
    )
    dy, dx = (centres[:, None] - centres).unbind(dim=-1)
    coarsest = max(group.patch_size * group.gsd for group in layout.groups)
    return -slopes.double()[:, None, None] * torch.hypot(dy, dx) / coarsest


def seen_bias(way: Way, encoder: THOREncoder, batch: int) -> Tensor:
    """Return the logarithm of the attention weights of tokens that all look alike.

    With queries and keys of zero the logits are the bias alone, and values that are rows of the
    identity return the weights, 64 columns at a time: what the kernel itself takes for geometry.

    Args:
        way: The way.
        encoder: The encoder: its layout, slopes, bias and dtype.
        batch: Columns are probed in batches of this size, as a compiled kernel is bound to one.

    Returns:
        float64 (H, N, N), the log-softmax of the bias as far as the dtype carries it.
    """
    n, heads = encoder.layout.n_tokens, encoder.variant.num_heads
    dtype, device = encoder.dtype, encoder.norm.weight.device
    parts = math.ceil(math.ceil(n / _HEAD) / batch) * batch
    columns = torch.zeros(parts, n, _HEAD, dtype=dtype, device=device)
    token = torch.arange(n, device=device)
    columns[token // _HEAD, token, token % _HEAD] = 1
    zeros = torch.zeros(batch, heads, n, _HEAD, dtype=dtype, device=device)
    bias = encoder.constants().bias
    weights = [
        way(zeros, zeros, part[:, None].expand(-1, heads, -1, -1).contiguous(), bias)
        for part in columns.unflatten(0, (-1, batch))
    ]
    whole = torch.cat(weights).permute(1, 2, 0, 3).reshape(heads, n, -1)[:, :, :n]
    return whole.double().log()


def geometry_error(way: Way, encoder: THOREncoder, batch: int) -> tuple[float, float]:
    """Compare the bias that a kernel applies with the exact one.

    Rounding explains this much: weights and results are rounded to the dtype (with some room: four
    half units of the last place), and a rounded bias is off by half a unit of its own. Patch
    centres in bf16 give seven times that for base at patch 8 and 288 px; at patch 16 those are
    exact.

    Returns:
        The largest error in units of the logits, and the largest share of what rounding explains:
        above 1 the geometry is wrong. NaN, infinity or a weight of zero is infinitely wrong.
    """
    exact = exact_bias(encoder.layout, encoder.encoder_slopes)
    error = (seen_bias(way, encoder, batch) - exact.log_softmax(dim=-1)).abs()
    unit = torch.finfo(encoder.dtype).eps / 2
    allowed = 4 * unit + (exact.abs() * unit if way.rounds_bias else 0.0)
    # In float32 the sum over N terms and the exponential's own error are no longer hidden.
    allowed = allowed + exact.shape[-1] * torch.finfo(torch.float32).eps / 2
    error = error.nan_to_num(nan=math.inf)
    return float(error.max()), float((error / allowed).max())
