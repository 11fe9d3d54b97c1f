"""FlexiViT's pseudo-inverse resampling of patch kernels, and the resampling of images.

A kernel for 16 x 16 patches becomes a kernel for p x p patches such that a p x p image, upsampled
to 16 x 16, gives the same embedding in the least-squares sense: vec(K_p) = pinv(R) vec(K_16), where
R is the linear map of the resize 16 -> p (Beyer et al., FlexiViT, 2023, section 3.3). The resize is
separable, so two small products replace the 256 x p^2 one.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from thor_geo.models.variants import KERNEL_SIZE


@lru_cache(maxsize=64)
def resize_pinv(patch_size: int, kernel_size: int = KERNEL_SIZE) -> Tensor:
    """Return the pseudo-inverse of the one-dimensional kernel resize.

    Args:
        patch_size: Side p of the resampled kernel.
        kernel_size: Side of the stored kernel.

    Returns:
        float64 (p, kernel_size) on the CPU. Shared by all callers: do not write to it.
    """
    # Outside inference mode: a constant made inside could never be used in training.
    with torch.inference_mode(False), torch.no_grad():
        unit = torch.eye(kernel_size, dtype=torch.float64, device="cpu")
        # Only the width changes, so row i is the resized i-th unit vector: R_1, (kernel_size, p).
        resized = F.interpolate(
            unit[None, None],
            size=(kernel_size, patch_size),
            mode="bicubic",
            align_corners=False,
            antialias=True,
        )
        pinv: Tensor = torch.linalg.pinv(resized[0, 0])
    return pinv


def resample_kernels(kernels: Tensor, patch_size: int) -> Tensor:
    """Resample patch kernels to another patch size.

    Args:
        kernels: Kernels (..., k, k), floating point.
        patch_size: Side p of the results.

    Returns:
        Kernels (..., p, p), dtype and device as *kernels*; *kernels* itself if p = k.
        Differentiable with respect to *kernels*.
    """
    kernel_size = kernels.shape[-1]
    if patch_size == kernel_size:
        return kernels
    # The dtype first: MPS has no float64.
    pinv = resize_pinv(patch_size, kernel_size).to(kernels.dtype).to(kernels.device)
    return pinv @ kernels @ pinv.mT


def resample_images(images: Tensor, side: int) -> Tensor:
    """Bring images to the grid of a spectral group.

    Args:
        images: Images (B, C, h, w), floating point.
        side: Target side in pixels.

    Returns:
        Images (B, C, side, side): bilinear, half-pixel centres, no antialiasing, as THOR was
        trained. *images* itself if it has the right size already.
    """
    if images.shape[-2:] == (side, side):
        return images
    return F.interpolate(images, size=(side, side), mode="bilinear", align_corners=False)
