"""Inspection of stored pixels before they are normalised."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from thor_geo.errors import InputError
from thor_geo.specs.bands import STORAGE, BandSelection, Sensor
from thor_geo.transforms.normalize import PIXEL_DTYPES, as_selection, stored_range

# Largest stored reflectance (x 10,000) that is taken for reflectance 0..1 by mistake, as rs-embed
# does: clouds reach 1.5. In hundredths of a dB, backscatter within 60 would be within 0.6 dB.
_LARGEST_REFLECTANCE, _LARGEST_DECIBEL = 1.5, 60.0
# Where half of an image is beyond what 16 bits can store (reflectance 6.55, 328 dB), its values
# were scaled once too often.
_MIDDLE_REFLECTANCE, _MIDDLE_DECIBEL = 65_535.0, 32_768.0
# Values of a plane that are looked at first, and among which the middle is looked for.
_LOOKED_AT = 2_000


@dataclass(frozen=True, kw_only=True)
class InputReport:
    """The findings of `inspect_input`; statistics are over finite values.

    Attributes:
        channels: Names of the channels expected, in order.
        actual_channels: Number of planes of the input.
        shape: Shape (C, H, W).
        dtype: Torch's name of the dtype, e.g. ``int16``.
        minimum: Smallest value of each plane; NaN for a plane without finite values.
        maximum: Largest value of each plane; NaN for a plane without finite values.
        fill_share: Share of pixels where all planes have the fill value, 0..1.
        nan_count: Number of NaN values.
        inf_count: Number of infinite values.
        below_count: Number of values below the valid range, which are clamped.
        above_count: Number of values above the valid range, which are clamped.
        saturated_count: Number of values at or above the upper end of the valid range.
        constant_bands: Planes with a single value.
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
        """Problems with the input, one phrase each; empty if there are none."""
        sentences = []
        if self.actual_channels != self.expected_channels:
            sentences.append(
                f"{self.actual_channels} channels instead of {self.expected_channels} "
                f"({', '.join(self.channels)})"
            )
        allowed = [str(dtype).removeprefix("torch.") for dtype in PIXEL_DTYPES]
        if self.dtype not in allowed:
            sentences.append(f"dtype {self.dtype} instead of one of {', '.join(allowed)}")
        for count, kind in (
            (self.nan_count, "NaN"),
            (self.inf_count, "infinite"),
            (self.below_count, "below the valid range"),
            (self.above_count, "above the valid range"),
        ):
            if count:
                sentences.append(f"{count} values are {kind}")
        if self.constant_bands:
            sentences.append(f"constant: {', '.join(self.constant_bands)}")
        return tuple(sentences)

    def raise_if_bad(self) -> None:
        """Refuse the input if it has any problem (strict inspection).

        Raises:
            InputError: With all problems in one message.
        """
        if self.problems:
            raise InputError(
                f"input of shape {self.shape} fails inspection: {'; '.join(self.problems)}. "
                "Correct the source, or turn strict inspection off: values that are not finite or "
                "out of range are then replaced or clamped."
            )


def inspect_input(
    chw: Tensor, bands: BandSelection | Sequence[str], *, fill_value: float | Sequence[float] = 0.0
) -> InputReport:
    """Inspect the stored pixels of one tile before they are normalised.

    Args:
        chw: Pixels (C, H, W), as stored; any dtype.
        bands: The planes expected: a selection, or TerraTorch names or THOR channels.
        fill_value: Stored value of pixels without observation, one for all planes or one for each.

    Returns:
        The findings; bad pixels and a wrong number of planes raise nothing.

    Raises:
        InputError: If *chw* does not have three dimensions, or has no pixels.
    """
    selection = as_selection(bands)
    if chw.ndim != 3 or chw.numel() == 0:
        raise InputError(f"pixels of shape {tuple(chw.shape)}: expected (channel, height, width).")
    channels = tuple(band.channel for band in selection.bands)
    planes = chw.shape[0]
    names = channels if planes == len(channels) else tuple(f"plane {k}" for k in range(planes))
    values = chw.cpu().to(torch.float64)  # MPS has no float64
    finite = values.isfinite()
    minimum = values.where(finite, torch.inf).amin(dim=(1, 2))
    maximum = values.where(finite, -torch.inf).amax(dim=(1, 2))
    empty = ~finite.flatten(1).any(dim=1)
    below = above = saturated = 0
    if planes == len(channels):
        low, high = (values.new_tensor(row)[:, None, None] for row in stored_range(selection))
        below = int((finite & (values < low)).sum())
        above = int((finite & (values > high)).sum())
        saturated = int((finite & (values >= high)).sum())
    fills = [fill_value] if isinstance(fill_value, int | float) else fill_value
    fill = values.new_tensor(list(fills))[:, None, None]
    constant = (minimum == maximum) & finite.flatten(1).all(dim=1)
    return InputReport(
        channels=channels,
        actual_channels=planes,
        shape=(planes, chw.shape[1], chw.shape[2]),
        dtype=str(chw.dtype).removeprefix("torch."),
        minimum=tuple(minimum.masked_fill(empty, torch.nan).tolist()),
        maximum=tuple(maximum.masked_fill(empty, torch.nan).tolist()),
        fill_share=float((values == fill).all(dim=0).double().mean()),
        nan_count=int(values.isnan().sum()),
        inf_count=int(values.isinf().sum()),
        below_count=below,
        above_count=above,
        saturated_count=saturated,
        constant_bands=tuple(
            name for name, is_constant in zip(names, constant.tolist(), strict=True) if is_constant
        ),
    )


def unit_problem(chw: Tensor, bands: BandSelection | Sequence[str]) -> str | None:
    """Return what is wrong with the unit of pixels, None where they may be in stored units.

    Args:
        chw: Pixels (C, H, W) that are meant to be in stored units.
        bands: Their planes: a selection, or TerraTorch names or THOR channels.

    Returns:
        A sentence without its full stop: Sentinel-2 whose largest value is above 0 and at most 1.5,
        or whose middle one is beyond 65,535; Sentinel-1 that lies between -60 and 60 throughout
        (and is not 0 throughout), or whose middle value is beyond 32,768.
    """
    selection = as_selection(bands)
    height, width = chw.shape[-2:]
    step = math.ceil(math.sqrt(height * width / _LOOKED_AT))
    # What is wrong with all values is wrong with some, which are looked at first.
    few = _magnitudes(chw[:, ::step, ::step], selection)
    if len(few) == len({band.sensor for band in selection.bands}) and _problem(few) is None:
        return None
    return _problem(_magnitudes(chw, selection))


def _problem(magnitudes: Mapping[Sensor, _Magnitude]) -> str | None:
    found = magnitudes.get("S2")
    if found is not None and 0 < found.high <= _LARGEST_REFLECTANCE:
        return (
            f"the largest value of Sentinel-2's bands is {found.high:.4g}: that is reflectance "
            "0..1, not reflectance x 10,000"
        )
    if found is not None and found.middle > _MIDDLE_REFLECTANCE:
        return (
            "half of the values of Sentinel-2's bands are above reflectance "
            f"{found.middle * 1e-4:.4g}: that is reflectance x 10,000, scaled once more"
        )
    found = magnitudes.get("S1")
    if found is not None and max(abs(found.low), abs(found.high)) <= _LARGEST_DECIBEL:
        return (
            f"Sentinel-1's bands lie between {found.low:.4g} and {found.high:.4g}: those are "
            "decibels or linear power, not hundredths of a decibel"
        )
    if found is not None and abs(found.middle) > _MIDDLE_DECIBEL:
        return (
            f"half of the values of Sentinel-1's bands are beyond {found.middle * 1e-2:.4g} "
            "decibels: those are hundredths of a decibel, scaled once more"
        )
    return None


class _Magnitude(NamedTuple):
    """Smallest, largest and middle value of a sensor's planes."""

    low: float
    high: float
    middle: float


def _magnitudes(chw: Tensor, selection: BandSelection) -> dict[Sensor, _Magnitude]:
    """Return the magnitude of each sensor's planes, without those that are all empty or 0."""
    found: dict[Sensor, _Magnitude] = {}
    for sensor in dict.fromkeys(band.sensor for band in selection.bands):
        planes = [k for k, band in enumerate(selection.bands) if band.sensor == sensor]
        # uint16 has hardly any operators before PyTorch 2.9 (pytorch/pytorch#159076).
        values = chw.to(torch.float32)[planes]
        values = values[values.isfinite() & (values != (STORAGE[sensor].nodata or 0))]
        if values.numel() and (values != 0).any():
            middle = values[:: -(-len(values) // (_LOOKED_AT * len(planes)))].median()
            found[sensor] = _Magnitude(*map(float, (values.min(), values.max(), middle)))
    return found
