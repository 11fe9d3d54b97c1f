"""Normalisation of stored pixels.

Needs only torch, so that stored integers can be normalised on the device where they are used.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from thor_geo.errors import ConfigError, InputError
from thor_geo.specs import NodataFill, Normalize, check_choice
from thor_geo.specs.bands import STORAGE, BandSelection, select_bands
from thor_geo.transforms.statistics import Statistics

#: Dtypes that hold stored pixels without loss; float16 does not, as it has no integer between 2048
#: and 2050.
PIXEL_DTYPES: tuple[torch.dtype, ...] = (
    torch.int16,
    torch.uint16,
    torch.int32,
    torch.float32,
    torch.float64,
)


#: Most elements that PyTorch processes on one thread: less than at::internal::GRAIN_SIZE (32,768).
ONE_THREAD = 32_767

#: Largest absolute z-score in THOR's pre-training, where z-scores were clamped.
Z_LIMIT = 5.0


def as_selection(bands: BandSelection | Sequence[str]) -> BandSelection:
    """Return a selection of bands from names, or the selection itself."""
    return bands if isinstance(bands, BandSelection) else select_bands(bands)


def stored_range(selection: BandSelection) -> tuple[list[float], list[float]]:
    """Return the smallest and the largest valid stored value of each plane."""
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
            "without a batch dimension in front."
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


def observation_planes(selection: BandSelection) -> tuple[int, ...]:
    """Return the plane of each band's sensor in ``observations``, in the order of the sensors.

    Args:
        selection: The bands.
    """
    sensors = list(dict.fromkeys(band.sensor for band in selection.bands))
    return tuple(sensors.index(band.sensor) for band in selection.bands)


def log1p_p99(pixels: Tensor, *, nodata: float) -> Tensor:
    """Scale backscatter as rs-embed does, tile by tile (its `normalize_s1_vvvh_chw`).

    ln(1 + linear power), divided by the 99th percentile of all planes of the tile together (as
    NumPy's, linear between ranks) and clipped to 0..1; pixels without data count as 0. rs-embed's
    pixels are the median of linear power (S1_GRD_FLOAT), these are the median of decibels: the same
    for an odd number of scenes, and between the same two values for an even number.

    Args:
        pixels: (..., C, H, W) hundredths of a dB, all planes of Sentinel-1. Not written to.
        nodata: Value of pixels without data.

    Returns:
        A float32 tensor of the same shape.
    """
    missing = (pixels == nodata) | ~pixels.isfinite()
    power = torch.pow(10.0, pixels.to(torch.float32) / 1000.0)
    x = power.masked_fill(missing, 0.0).log1p()
    ranked = x.flatten(-3).sort(dim=-1).values
    rank = 0.99 * (ranked.shape[-1] - 1)
    lower, upper = ranked[..., math.floor(rank)], ranked[..., math.ceil(rank)]
    top = lower + (upper - lower) * (rank - math.floor(rank))
    top = top.where(top > 0, 1.0)[..., None, None, None]
    return (x / top).clamp_(0, 1)


class THORNormalize(nn.Module):
    """Turn stored pixels into values like those that the encoder was trained on.

    For each plane, in float32: values that are not finite become the fill value, and values are
    clamped to the sensor's valid range. Then the mode decides:

    - ``thor_stats``: physical units (Sentinel-2 DN / 10000), minus the mean and divided by the
      standard deviation of THOR's pre-training data (Sentinel-1 at 60 m and coarser: the statistics
      for 60 m);
    - ``dataset``: the same with measured statistics; see `thor_geo.transforms.statistics`;
    - ``unit_scale``: reflectance 0..1 (Sentinel-2 only: other sensors have no valid range);
    - ``none``: the stored units, clamped;
    - ``log1p_p99``: for Sentinel-1 the scaling of rs-embed (`log1p_p99`), only for comparison: its
      values in 0..1 depend on the rest of the tile, but THOR was trained on z-scores. Other sensors
      as with ``thor_stats``, which is what rs-embed does.

    The fill value of Sentinel-2 is 0. For other sensors 0 would be an extreme value (0 dB, 0 K), so
    theirs is the channel's mean, also in place of Sentinel-1's stored "no data". Sentinel-1
    (hundredths of a dB) and Sentinel-3 are not clamped.

    Two steps of THOR's own pre-training are optional here: z-scores were clamped to -5..5
    (`clamp_z`), and pixels without data became the mean of the tile's other pixels, channel by
    channel (`nodata_fill` ``mean``; where a tile has no data in a channel, the channel becomes 0,
    as a z-score the mean of the statistics). Both follow the scaling, in this order.
    """

    def __init__(
        self,
        bands: BandSelection | Sequence[str],
        mode: Normalize = "thor_stats",
        *,
        statistics: Statistics | None = None,
        clamp_z: bool = False,
        nodata_fill: NodataFill = "value",
    ) -> None:
        """Initialize a new THORNormalize instance.

        Args:
            bands: The planes, in order: a selection, or TerraTorch names or THOR channels.
            mode: ``thor_stats``, ``dataset``, ``unit_scale``, ``none`` or ``log1p_p99``.
            statistics: Measured statistics, for ``dataset``.
            clamp_z: Clamp z-scores to -5..5.
            nodata_fill: What pixels without observation become: ``value`` treats the stored fill
                value as if it were measured, ``mean`` gives the mean of the tile's observed pixels.

        Raises:
            BandError: If a band is unknown or asked for twice.
            ConfigError: If *mode* is unknown, or it is ``unit_scale`` for a sensor without a valid
                range, ``dataset`` without statistics of all bands, or ``log1p_p99`` without
                Sentinel-1; or *clamp_z* is set and there are no z-scores.
        """
        super().__init__()
        check_choice("normalize", mode, Normalize)
        check_choice("nodata_fill", nodata_fill, NodataFill)
        self.mode: Normalize = mode
        self.clamp_z = clamp_z
        self.nodata_fill: NodataFill = nodata_fill
        self.selection = as_selection(bands)
        self._check(statistics)
        rows = [STORAGE[band.sensor] for band in self.selection.bands]
        self._radar = [k for k, band in enumerate(self.selection.bands) if band.sensor == "S1"]
        if mode == "log1p_p99" and not self._radar:
            raise ConfigError(
                "normalize",
                mode,
                "it scales Sentinel-1, but no band is Sentinel-1's",
                "Use thor_stats.",
            )
        #: Means and standard deviations in physical units, plane by plane.
        self.statistics = (
            self.selection.statistics
            if statistics is None
            else statistics.for_bands(self.selection)
        )
        low, high = stored_range(self.selection)
        means, stds = self.statistics
        # Divisors, not factors: x / 10000 and x * 1e-4 differ in the last bit.
        divisors = [1 / row.scale for row in rows]
        fills = [
            0.0 if row.valid_range is not None else mean * divisor
            for row, mean, divisor in zip(rows, means, divisors, strict=True)
        ]
        # NaN, which equals nothing, where a sensor has no such value.
        nodata = [math.nan if row.nodata is None else float(row.nodata) for row in rows]
        self._rows = (low, high, fills, divisors, list(means), list(stds), nodata)
        # Plain tensors by device, not buffers: a half-precision model must not round them.
        self._tables: dict[torch.device, Tensor] = {}
        self._observed_in = observation_planes(self.selection)

    def _check(self, statistics: Statistics | None) -> None:
        for band in self.selection.bands if self.mode == "unit_scale" else ():
            if STORAGE[band.sensor].valid_range is None:
                problem = f"{band.channel} has no fixed range to scale to 0..1"
                raise ConfigError("normalize", self.mode, problem, "Use thor_stats.")
        if (self.mode == "dataset") != (statistics is not None):
            verb = "needs" if statistics is None else "does not take"
            raise ConfigError(
                "normalize",
                self.mode,
                f"it {verb} measured statistics",
                "Set normalize: dataset and statistics: a file of `thor-geo stats`, or neither.",
            )
        if self.clamp_z and self.mode not in ("thor_stats", "dataset"):
            problem = f"normalize={self.mode!r} does not give z-scores"
            raise ConfigError("clamp_z", True, problem, "Use thor_stats or dataset.")

    def settings(self) -> dict[str, Any]:
        """Return everything that changes the numbers."""
        means, stds = self.statistics
        return {
            "normalize": self.mode,
            "mean": list(means),
            "std": list(stds),
            "clamp_z": self.clamp_z,
            "nodata_fill": self.nodata_fill,
        }

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

    def forward(self, pixels: Tensor, observations: Tensor | None = None) -> Tensor:
        """Normalise.

        Args:
            pixels: (C, H, W) or (B, C, H, W), int16, uint16, int32, float32 or float64, in stored
                units. Not written to.
            observations: (S, H, W) or (B, S, H, W), clear observations of each pixel by sensor; 0
                means no data. Only used, and needed, for `nodata_fill` ``mean``.

        Returns:
            A new float32 tensor of the same shape, on the same device.

        Raises:
            InputError: If channels or dtype are wrong, or observations are needed and wrong.
        """
        check_input(pixels, self.n_channels)
        if self.nodata_fill == "value":
            return self._scaled_pixels(pixels)
        observed = self._observed(pixels, observations)
        return _mean_filled(self._scaled_pixels(pixels), observed)

    def _observed(self, pixels: Tensor, observations: Tensor | None) -> Tensor:
        """Return which values were observed, (B, C, H, W) or (C, H, W)."""
        planes = max(self._observed_in) + 1
        needed = (*pixels.shape[:-3], planes, *pixels.shape[-2:])
        if observations is None or tuple(observations.shape) != needed:
            shape = None if observations is None else tuple(observations.shape)
            raise InputError(
                f"`observations` has shape {shape}, expected {needed} for nodata_fill='mean'. "
                "Give the number of clear observations of each pixel, one plane for each sensor."
            )
        index = torch.tensor(self._observed_in, device=observations.device)
        observed = (observations > 0).index_select(-3, index)
        if self._radar:
            observed &= pixels != self._table(pixels.device)[-1]
        return observed & pixels.isfinite() if pixels.is_floating_point() else observed

    def _scaled_pixels(self, pixels: Tensor) -> Tensor:
        x = self._by_channel(pixels)
        if self.mode == "log1p_p99":
            planes = pixels[..., self._radar, :, :]
            x[..., self._radar, :, :] = log1p_p99(planes, nodata=self._rows[-1][self._radar[0]])
        return x

    def _by_channel(self, pixels: Tensor) -> Tensor:
        if pixels.device.type == "cpu" and not pixels.is_floating_point():
            return self._in_parts(pixels)
        low, high, fill, divisor, mean, std, nodata = self._table(pixels.device).unbind()
        if pixels.is_floating_point():
            x = torch.where(pixels.isfinite(), pixels.float(), fill)
        else:
            x = pixels.to(torch.float32)
        if self._radar:
            x = torch.where(x == nodata, fill, x)
        return self._scaled(x, low, high, divisor, mean, std)

    def _in_parts(self, pixels: Tensor) -> Tensor:
        """Normalise integers on the CPU.

        In parts that stay in a core's cache from the first step to the last, and that are too small
        for PyTorch to wake other threads, which are slow to start while other processes use the
        cores.
        """
        x = torch.empty(pixels.shape, dtype=torch.float32)
        planes = zip(pixels.flatten(0, -3).flatten(1), x.flatten(0, -3).flatten(1), strict=True)
        rows = list(zip(*self._rows, strict=True))
        for number, (plane, target) in enumerate(planes):
            low, high, fill, divisor, mean, std, nodata = rows[number % self.n_channels]
            for part, to in zip(plane.split(ONE_THREAD), target.split(ONE_THREAD), strict=True):
                to.copy_(part)
                if not math.isnan(nodata):
                    to.masked_fill_(part == nodata, fill)
                self._scaled(to, low, high, divisor, mean, std)
        return x

    def _scaled(self, x: Tensor, low: Any, high: Any, divisor: Any, mean: Any, std: Any) -> Tensor:
        """Clamp and scale in place, by numbers or by tensors."""
        x = x.clamp_(low, high)
        if self.mode == "none":
            return x
        x = x.div_(divisor)
        if self.mode == "unit_scale":
            return x
        x = x.sub_(mean).div_(std)
        return x.clamp_(-Z_LIMIT, Z_LIMIT) if self.clamp_z else x

    def extra_repr(self) -> str:
        """Describe the transform in a module's printout."""
        return f"mode={self.mode}, channels={[band.channel for band in self.selection.bands]}"


def _mean_filled(x: Tensor, observed: Tensor) -> Tensor:
    """Replace unobserved pixels by the mean of the plane's observed ones; 0 if there are none."""
    total = x.where(observed, 0.0).sum(dim=(-2, -1), keepdim=True)
    count = observed.sum(dim=(-2, -1), keepdim=True).clamp(min=1)
    return x.where(observed, total / count)
