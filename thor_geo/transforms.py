"""Normalisation of stored pixels, and a look at what is about to be normalised.

Needs torch alone, so that pixels can be normalised on the device they are used on, from the
integers they are stored as.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from thor_geo.bands import STORAGE, BandSelection, select_bands
from thor_geo.errors import ConfigError, InputError
from thor_geo.specs import Normalize, check_choice

#: Dtypes that hold stored pixels without loss. Half precision does not: float16 has no integers
#: between 2048 and 2050.
PIXEL_DTYPES: tuple[torch.dtype, ...] = (
    torch.int16,
    torch.uint16,
    torch.int32,
    torch.float32,
    torch.float64,
)


#: Elements for which PyTorch takes one thread: fewer than at::internal::GRAIN_SIZE.
ONE_THREAD = 32_767


def _as_selection(bands: BandSelection | Sequence[str]) -> BandSelection:
    return bands if isinstance(bands, BandSelection) else select_bands(bands)


def _stored_range(selection: BandSelection) -> tuple[list[float], list[float]]:
    """Return the smallest and the largest valid stored value of every plane."""
    ranges = [STORAGE[band.sensor].valid_range for band in selection.bands]
    low = [float("-inf") if r is None else float(r[0]) for r in ranges]
    high = [float("inf") if r is None else float(r[1]) for r in ranges]
    return low, high


def check_input(tensor: Tensor, n_channels: int) -> None:
    """Refuse pixels of the wrong kind.

    Args:
        tensor: Pixels (C, H, W) or (B, C, H, W), as stored.
        n_channels: Number of channels expected.

    Raises:
        InputError: If the number of dimensions or channels, or the dtype is wrong.
    """
    if tensor.ndim not in (3, 4):
        raise InputError(
            f"pixels of shape {tuple(tensor.shape)}: expected (channel, height, width), with or "
            "without a batch dimension before."
        )
    if tensor.shape[-3] != n_channels:
        raise InputError(
            f"pixels have {tensor.shape[-3]} channels, expected {n_channels} (shape "
            f"{tuple(tensor.shape)}). Give one plane per band, in the order of the bands."
        )
    if tensor.dtype not in PIXEL_DTYPES:
        allowed = ", ".join(str(dtype).removeprefix("torch.") for dtype in PIXEL_DTYPES)
        raise InputError(
            f"pixels have dtype {str(tensor.dtype).removeprefix('torch.')}, expected one of "
            f"{allowed}. Give surface reflectance times 10000 (Sentinel-2), not an 8-bit picture."
        )


class THORNormalize(nn.Module):
    """Turn stored pixels into what the encoder was trained on.

    Per plane, in float32: values that are not finite become the fill value's; values are clamped to
    the sensor's valid range; then, by mode,

    - ``thor_stats``: physical units (Sentinel-2 DN / 10000), minus mean, over standard deviation of
      THOR's pre-training data (at 60 m and coarser the Sentinel-1 statistics for 60 m);
    - ``unit_scale``: reflectance 0..1 (Sentinel-2 only: other sensors have no valid range);
    - ``none``: the stored units, clamped.

    Sentinel-2's NaN and Inf become 0, which is its fill. Elsewhere 0 would be an extreme value
    (0 dB, 0 K), so they become the channel's mean there. Sentinel-1 (hundredths of a dB) and
    Sentinel-3 are not clamped.
    """

    def __init__(
        self, bands: BandSelection | Sequence[str], mode: Normalize = "thor_stats"
    ) -> None:
        """Initialize a new THORNormalize instance.

        Args:
            bands: The planes, in order: a selection, or TerraTorch names or THOR channels.
            mode: ``thor_stats``, ``unit_scale`` or ``none``.

        Raises:
            BandError: If a band is unknown or asked for twice.
            ConfigError: If *mode* is unknown, or ``unit_scale`` for a sensor that has no range.
        """
        super().__init__()
        check_choice("normalize", mode, Normalize)
        self.mode: Normalize = mode
        self.selection = _as_selection(bands)
        rows = [STORAGE[band.sensor] for band in self.selection.bands]
        if mode == "unit_scale":
            for band, row in zip(self.selection.bands, rows, strict=True):
                if row.valid_range is None:
                    raise ConfigError(
                        "normalize",
                        mode,
                        f"{band.channel} has no fixed range to scale to 0..1",
                        "Use thor_stats.",
                    )
        low, high = _stored_range(self.selection)
        means, stds = self.selection.statistics
        # Divisors, not factors: x / 10000 and x * 1e-4 differ in the last bit.
        divisors = [1 / row.scale for row in rows]
        fills = [
            0.0 if row.valid_range is not None else mean * divisor
            for row, mean, divisor in zip(rows, means, divisors, strict=True)
        ]
        self._rows = (low, high, fills, divisors, list(means), list(stds))
        # Plain tensors by device, not buffers: a half-precision model must not round them.
        self._tables: dict[torch.device, Tensor] = {}

    @property
    def n_channels(self) -> int:
        """Number of planes expected."""
        return len(self.selection.bands)

    def _table(self, device: torch.device) -> Tensor:
        if device not in self._tables:
            with torch.inference_mode(False):
                table = torch.tensor(self._rows, dtype=torch.float32, device=device)
                self._tables[device] = table[:, :, None, None]
        return self._tables[device]

    def forward(self, pixels: Tensor) -> Tensor:
        """Normalise.

        Args:
            pixels: (C, H, W) or (B, C, H, W), int16, uint16, int32, float32 or float64, in stored
                units. Not written to.

        Returns:
            A new float32 tensor of the same shape, on the same device.

        Raises:
            InputError: If channels or dtype are wrong.
        """
        check_input(pixels, self.n_channels)
        if pixels.device.type == "cpu" and not pixels.is_floating_point():
            return self._in_parts(pixels)
        low, high, fill, divisor, mean, std = self._table(pixels.device).unbind()
        if pixels.is_floating_point():
            x = torch.where(pixels.isfinite(), pixels.float(), fill)
        else:
            x = pixels.to(torch.float32)
        return self._scaled(x, low, high, divisor, mean, std)

    def _in_parts(self, pixels: Tensor) -> Tensor:
        """Normalise integers on the CPU.

        In parts that stay in a core's own cache from the first step to the last, and for which
        PyTorch wakes no other thread: while others use the cores, those come late.
        """
        x = torch.empty(pixels.shape, dtype=torch.float32)
        planes = zip(pixels.flatten(0, -3).flatten(1), x.flatten(0, -3).flatten(1), strict=True)
        rows = list(zip(*self._rows, strict=True))
        for number, (plane, target) in enumerate(planes):
            low, high, _, divisor, mean, std = rows[number % self.n_channels]
            for part, to in zip(plane.split(ONE_THREAD), target.split(ONE_THREAD), strict=True):
                self._scaled(to.copy_(part), low, high, divisor, mean, std)
        return x

    def _scaled(self, x: Tensor, low: Any, high: Any, divisor: Any, mean: Any, std: Any) -> Tensor:
        """Clamp and scale in place, by numbers or by tensors."""
        x = x.clamp_(low, high)
        if self.mode == "none":
            return x
        x = x.div_(divisor)
        if self.mode == "unit_scale":
            return x
        return x.sub_(mean).div_(std)

    def extra_repr(self) -> str:
        """Describe the transform in a module's printout."""
        return f"mode={self.mode}, channels={[band.channel for band in self.selection.bands]}"


@dataclass(frozen=True, kw_only=True)
class InputReport:
    """What :func:`inspect_input` found; statistics are over finite values.

    Attributes:
        channels: Names of the channels expected, in order.
        actual_channels: Number of planes there are.
        shape: Shape (C, H, W).
        dtype: Torch's name of the dtype, e.g. ``int16``.
        minimum: Smallest value of every plane; NaN where a plane has no finite value.
        maximum: Largest value of every plane; NaN where a plane has no finite value.
        fill_share: Share of pixels at which all planes hold the fill value, 0..1.
        nan_count: Number of NaN values.
        inf_count: Number of infinite values.
        below_count: Number of values below the valid range, which are clamped.
        above_count: Number of values above the valid range, which are clamped.
        saturated_count: Number of values at the upper end of the valid range or above it.
        constant_bands: Planes with one single value.
    """

    channels: tuple[str, ...]
    actual_channels: int
    shape: tuple[int, int, int]
    dtype: str
    minimum: tuple[float, ...]
    maximum: tuple[float, ...]
    fill_share: float
    nan_count: int
    inf_count: int
    below_count: int
    above_count: int
    saturated_count: int
    constant_bands: tuple[str, ...]

    @property
    def expected_channels(self) -> int:
        """Number of planes expected."""
        return len(self.channels)

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong, one sentence each; empty if nothing is."""
        found = []
        if self.actual_channels != self.expected_channels:
            found.append(
                f"{self.actual_channels} channels instead of {self.expected_channels} "
                f"({', '.join(self.channels)})"
            )
        allowed = [str(dtype).removeprefix("torch.") for dtype in PIXEL_DTYPES]
        if self.dtype not in allowed:
            found.append(f"dtype {self.dtype} instead of one of {', '.join(allowed)}")
        for count, what in (
            (self.nan_count, "NaN"),
            (self.inf_count, "infinite"),
            (self.below_count, "below the valid range"),
            (self.above_count, "above the valid range"),
        ):
            if count:
                found.append(f"{count} values are {what}")
        if self.constant_bands:
            found.append(f"constant: {', '.join(self.constant_bands)}")
        return tuple(found)

    def raise_if_bad(self) -> None:
        """Refuse the input if anything is wrong with it (strict inspection).

        Raises:
            InputError: With all problems in one message.
        """
        if self.problems:
            raise InputError(
                f"input of shape {self.shape} fails inspection: {'; '.join(self.problems)}. "
                "Correct the source, or leave strict inspection off: values that are not finite or "
                "out of range are then replaced or clamped."
            )


def inspect_input(
    chw: Tensor, bands: BandSelection | Sequence[str], *, fill_value: float = 0.0
) -> InputReport:
    """Look at the stored pixels of one tile, before they are normalised.

    Args:
        chw: Pixels (C, H, W), as stored; any dtype.
        bands: The planes expected: a selection, or TerraTorch names or THOR channels.
        fill_value: Stored value of pixels without observation.

    Returns:
        The findings; nothing is raised for bad pixels or a wrong number of planes.

    Raises:
        InputError: If *chw* has not three dimensions, or has no pixel.
    """
    selection = _as_selection(bands)
    if chw.ndim != 3 or chw.numel() == 0:
        raise InputError(f"pixels of shape {tuple(chw.shape)}: expected (channel, height, width).")
    channels = tuple(band.channel for band in selection.bands)
    planes = chw.shape[0]
    names = channels if planes == len(channels) else tuple(f"plane {k}" for k in range(planes))
    values = chw.to(torch.float64)
    finite = values.isfinite()
    minimum = values.where(finite, torch.inf).amin(dim=(1, 2))
    maximum = values.where(finite, -torch.inf).amax(dim=(1, 2))
    empty = ~finite.flatten(1).any(dim=1)
    below = above = saturated = 0
    if planes == len(channels):
        low, high = (values.new_tensor(row)[:, None, None] for row in _stored_range(selection))
        below = int((finite & (values < low)).sum())
        above = int((finite & (values > high)).sum())
        saturated = int((finite & (values >= high)).sum())
    constant = (minimum == maximum) & finite.flatten(1).all(dim=1)
    return InputReport(
        channels=channels,
        actual_channels=planes,
        shape=(planes, chw.shape[1], chw.shape[2]),
        dtype=str(chw.dtype).removeprefix("torch."),
        minimum=tuple(minimum.masked_fill(empty, torch.nan).tolist()),
        maximum=tuple(maximum.masked_fill(empty, torch.nan).tolist()),
        fill_share=float((values == fill_value).all(dim=0).double().mean()),
        nan_count=int(values.isnan().sum()),
        inf_count=int(values.isinf().sum()),
        below_count=below,
        above_count=above,
        saturated_count=saturated,
        constant_bands=tuple(
            name for name, is_constant in zip(names, constant.tolist(), strict=True) if is_constant
        ),
    )
