"""Patch embedding: one matrix product per spectral group.

Every channel has a one-channel kernel of its own, the members of a group are averaged, and a vector
that is constant over the group (footprint code, group code) is added. All of this is linear, so
each group needs only one kernel over its members and one bias. Patches do not overlap: the usual
strided convolution is here a reshape and a matrix product, which follows torch's float32 matmul
precision (cuDNN's convolutions would use TF32 by default) and writes tokens in their final order.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from thor_geo.models.codes import footprint_code
from thor_geo.models.layout import GroupLayout, TokenLayout
from thor_geo.models.resample import resample_images, resample_kernels
from thor_geo.models.variants import KERNEL_SIZE
from thor_geo.specs.bands import BANDS


@dataclass(frozen=True, kw_only=True)
class GroupKernel:
    """The linear map from a group's patches to tokens.

    Attributes:
        weight: (D, members * p * p): resampled kernels divided by the number of members.
        bias: (D,): mean of the members' biases plus the group's codes.
    """

    weight: Tensor
    bias: Tensor


class _PatchKernel(nn.Conv2d):
    """A stored kernel, without torch's own initialisation: the encoder fills it."""

    def reset_parameters(self) -> None:
        """Leave the weights as they are."""


class IndividualPatchEmbed(nn.Module):
    """The stored kernels of all channels, in use or not; Sentinel-1's IW and EW share theirs."""

    def __init__(self, embed_dim: int) -> None:
        """Initialize a new IndividualPatchEmbed instance.

        Args:
            embed_dim: Token width D.
        """
        super().__init__()
        names = dict.fromkeys(band.weight for band in BANDS)
        self.patch_embed = nn.ModuleDict(
            {name: _PatchKernel(1, embed_dim, KERNEL_SIZE, stride=KERNEL_SIZE) for name in names}
        )

    def tensors(self, group: GroupLayout) -> tuple[list[Tensor], list[Tensor]]:
        """Return kernels (D, 1, 16, 16) and biases (D,) of a group's members, in its order."""
        convs = [self.patch_embed[band.weight] for band in group.bands]
        return [conv.get_parameter("weight") for conv in convs], [
            conv.get_parameter("bias") for conv in convs
        ]


def group_kernel(
    kernels: list[Tensor],
    biases: list[Tensor],
    group_code: Tensor,
    *,
    group: GroupLayout,
    layout: TokenLayout,
) -> GroupKernel:
    """Fuse the kernels of a group's members and the group's codes into one; differentiable.

    Args:
        kernels: Stored kernels (D, 1, 16, 16) of the members.
        biases: Biases (D,) of the members.
        group_code: Code (Dg,) of the group.
        group: The group.
        layout: The layout the group belongs to.

    Returns:
        The kernel, float32, on the device of *kernels*.
    """
    stacked = torch.stack([kernel[:, 0] for kernel in kernels], dim=1).float()
    weight = resample_kernels(stacked, group.patch_size) / len(kernels)
    bias = torch.stack(biases).float().mean(dim=0)
    width = bias.numel() - group_code.numel()
    footprint = footprint_code(layout.footprint_ratio(group), width).to(bias.device)
    return GroupKernel(
        weight=weight.flatten(1), bias=bias + torch.cat([footprint, group_code.float()])
    )


def embed_group(x: Tensor, group: GroupLayout, kernel: GroupKernel) -> Tensor:
    """Turn a group's planes into tokens.

    Args:
        x: Input (B, C, h, w) with all planes.
        group: The group.
        kernel: Its kernel.

    Returns:
        Tokens (B, n * n, D), row by row from the top left.
    """
    images = x
    if group.planes != tuple(range(x.shape[1])):
        # Not x[:, [...]]: on a GPU that copies the indices from the host in every forward pass,
        # which a CUDA graph cannot record.
        images = torch.stack([x[:, plane] for plane in group.planes], dim=1)
    images = resample_images(images, group.side)
    n, p = group.n, group.patch_size
    batch, members = images.shape[:2]
    patches = images.reshape(batch, members, n, p, n, p).permute(0, 2, 4, 1, 3, 5)
    flat = patches.reshape(batch, n * n, members * p * p)
    return F.linear(flat.to(kernel.weight.dtype), kernel.weight, kernel.bias)
