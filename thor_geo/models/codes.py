"""Sin-cos codes that are added to the tokens: patch footprint and spectral group.

Both are constant over all tokens of a group. They are geometry and not learned, but the group
codes are in the state dict, so a checkpoint brings its own.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

#: Longest wavelength of the codes, as in the original transformer.
TEMPERATURE = 10000


def footprint_code(footprint: float, dim: int) -> Tensor:
    """Return the code of a patch footprint.

    Args:
        footprint: Patch side on the ground divided by the reference patch's (dimensionless).
        dim: Width of the code, even.

    Returns:
        float32 (dim,) on the CPU: all sines, then all cosines. Computed in float32, as THOR was
        trained.
    """
    half = dim // 2
    exponent = torch.arange(half, dtype=torch.float32, device="cpu") / half
    omega = 1.0 / TEMPERATURE**exponent
    angle = torch.tensor(footprint, dtype=torch.float32, device="cpu") * omega
    return torch.cat([angle.sin(), angle.cos()])


def group_code(group: int, dim: int) -> Tensor:
    """Return the code of a spectral group.

    Args:
        group: Group number, 0 to 9, in THOR's table (not the rank among the groups in use).
        dim: Width of the code, even.

    Returns:
        float32 (dim,) on the CPU: all sines, then all cosines. The frequencies are float32,
        the angles and functions float64.
    """
    half = dim // 2
    exponent = torch.arange(half, dtype=torch.float32, device="cpu") / half
    # Vectorised powers differ in the last bit between CPUs. The C library's float64 power, rounded
    # to float32, gives the reference's bits everywhere.
    power = [float(TEMPERATURE) ** value for value in exponent.tolist()]
    omega = 1.0 / torch.tensor(power, dtype=torch.float32, device="cpu")
    angles = [group * value for value in omega.tolist()]
    code = [*map(math.sin, angles), *map(math.cos, angles)]
    return torch.tensor(code, dtype=torch.float32, device="cpu")
