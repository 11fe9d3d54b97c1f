"""Sin-cos codes that are added to the tokens: patch footprint and spectral group.

Both are constant over all tokens of a group. Geometry only; nothing here is learned, although the
group codes live in the state dict and are then taken from the checkpoint.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

#: Longest wavelength of the codes, as in the original transformer.
TEMPERATURE = 10000


def footprint_code(footprint: float, dim: int) -> Tensor:
    """Return the code of a patch footprint.

    Args:
        footprint: Patch side on the ground over the reference patch's (dimensionless).
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
        group: Group number, 0 to 9 (the number in THOR's table, not the rank among those in use).
        dim: Width of the code, even.

    Returns:
        float32 (dim,) on the CPU: all sines, then all cosines. The frequencies are float32, angle
        and functions float64.
    """
    half = dim // 2
    exponent = np.arange(half, dtype=np.float32) / np.float32(half)
    # NumPy's float32 power differs in the last bit from one CPU to the next (it picks its vector
    # code at run time); rounding the float64 power gives the reference's bits everywhere.
    power = np.power(float(TEMPERATURE), exponent.astype(np.float64)).astype(np.float32)
    omega = np.float32(1.0) / power
    angle = float(group) * omega.astype(np.float64)
    code = np.concatenate([np.sin(angle), np.cos(angle)]).astype(np.float32)
    return torch.from_numpy(code)
