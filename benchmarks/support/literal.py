"""THOR written down literally: what its description says, and nothing that would make it faster.

Every forward pass resamples all kernels by the full pseudo-inverse, runs one convolution for each
channel, averages the members of a group, adds the codes, and builds the attention bias anew. It
shares no code with :mod:`thor_geo.models` but the layout, and takes the same state dict.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from thor_geo.models.layout import GroupLayout, TokenLayout
from thor_geo.models.variants import KERNEL_SIZE, NORM_EPS, Variant


class LiteralEncoder:
    """The encoder as a function of a state dict.

    The bias is expanded to the batch with ``Tensor.expand``, which takes no memory: it is repeated
    only where attention would not take such a view.
    """

    def __init__(self, row: Variant, layout: TokenLayout, weights: Mapping[str, Tensor]) -> None:
        """Initialize a new LiteralEncoder instance from a state dict with the official keys."""
        self.row = row
        self.layout = layout
        self.weights = weights
        sizes = {group.patch_size for group in layout.groups} - {KERNEL_SIZE}
        self.pinvs = {size: resize_pinv(size) for size in sizes}

    def __call__(self, x: Tensor, *, depth: int | None = None) -> Tensor:
        """Encode.

        Args:
            x: Normalised input (B, C, side, side), float32.
            depth: Blocks to run; all by default.

        Returns:
            Final-normed tokens (B, N, D).
        """
        tokens = torch.cat([self._group(x, group) for group in self.layout.groups], dim=1)
        bias = self._bias().expand(x.shape[0], -1, -1, -1)
        for number in range(self.row.depth if depth is None else depth):
            tokens = self._block(tokens, bias, f"blocks.{number}.")
        return self._norm(tokens, "norm")

    def _group(self, x: Tensor, group: GroupLayout) -> Tensor:
        p = group.patch_size
        members = []
        for band, plane in zip(group.bands, group.planes, strict=True):
            image = F.interpolate(
                x[:, plane : plane + 1],
                size=(group.side, group.side),
                mode="bilinear",
                align_corners=False,
            )
            name = f"ind_patch_embed.patch_embed.{band.weight}"
            kernel = self._kernel(self.weights[f"{name}.weight"], p)
            tokens = F.conv2d(image, kernel, self.weights[f"{name}.bias"], stride=p)
            members.append(tokens.flatten(2).transpose(1, 2))
        mean = torch.stack(members).mean(dim=0)
        ratio = group.footprint / (self.layout.ref_patch_size * self.layout.selection.min_gsd)
        mean += torch.cat(
            [
                sincos(ratio, self.row.footprint_dim),
                self.weights[f"band_embed.group{group.group}"],
            ]
        )
        return mean

    def _kernel(self, kernel: Tensor, p: int) -> Tensor:
        if p == KERNEL_SIZE:
            return kernel
        pinv = self.pinvs[p]
        flat = kernel.reshape(kernel.shape[0], 1, -1)
        mapped: Tensor = torch.vmap(torch.vmap(lambda vector: pinv @ vector))(flat)
        return mapped.reshape(kernel.shape[0], 1, p, p)

    def _bias(self) -> Tensor:
        centres = []
        for group in self.layout.groups:
            axis = (torch.arange(group.n) + 0.5) * group.footprint
            rows, columns = torch.meshgrid(axis, axis, indexing="ij")
            centres.append(torch.stack([rows.flatten(), columns.flatten()], dim=1))
        points = torch.cat(centres)
        distance = torch.cdist(points, points) / self.layout.max_footprint
        return -self.weights["encoder_slopes"][:, None, None] * distance

    def _block(self, x: Tensor, bias: Tensor, at: str) -> Tensor:
        batch, length, dim = x.shape
        heads = self.row.num_heads
        y = self._linear(self._norm(x, f"{at}norm1"), f"{at}attn.qkv")
        q, k, v = y.reshape(batch, length, 3, heads, dim // heads).permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        y = y.transpose(1, 2).reshape(batch, length, dim)
        x = x + self._linear(y, f"{at}attn.proj")
        y = self._linear(self._norm(x, f"{at}norm2"), f"{at}mlp.fc1")
        return x + self._linear(F.gelu(y), f"{at}mlp.fc2")

    def _linear(self, x: Tensor, name: str) -> Tensor:
        return F.linear(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def _norm(self, x: Tensor, name: str) -> Tensor:
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return F.layer_norm(x, (x.shape[-1],), weight, bias, eps=NORM_EPS)


def resize_pinv(p: int) -> Tensor:
    """Return the pseudo-inverse (p * p, 256) of the resize of a 16 x 16 image to p x p."""
    units = torch.eye(KERNEL_SIZE**2, dtype=torch.float64)
    images = units.reshape(-1, 1, KERNEL_SIZE, KERNEL_SIZE)
    resized = F.interpolate(
        images, size=(p, p), mode="bicubic", align_corners=False, antialias=True
    )
    # A row of the resize's matrix is the image that a unit image becomes.
    pinv: Tensor = torch.linalg.pinv(resized.reshape(KERNEL_SIZE**2, p * p))
    return pinv.float()


def sincos(t: float, dim: int) -> Tensor:
    """Return the code (dim,) of a number: sines, then cosines, of falling frequency."""
    half = dim // 2
    angle = t / 10_000 ** (torch.arange(half, dtype=torch.float32) / half)
    return torch.cat([angle.sin(), angle.cos()])


def relative_error(ours: Tensor, theirs: Tensor) -> float:
    """Return the larger of maximum error over maximum and L2 error over L2 norm."""
    a, b = ours.double(), theirs.double()
    if a.shape != b.shape:
        raise ValueError(f"shapes differ: {tuple(a.shape)} and {tuple(b.shape)}")
    difference = a - b
    # The maximum first: NaN stays NaN.
    return max(float(difference.abs().max() / b.abs().max()), float(difference.norm() / b.norm()))
