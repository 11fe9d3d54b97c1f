"""From the values in a user's files to the units that composites are stored in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thor_geo.datasets.geotiff import RasterFile
from thor_geo.errors import ConfigError
from thor_geo.specs.bands import STORAGE, Band, Sensor

#: Name of each sensor's physical unit.
UNITS: dict[Sensor, str] = {
    "S1": "decibel (10 log10 of sigma0)",
    "S2": "reflectance 0..1",
    "S3": "reflectance 0..1 (SLSTR S7 to S9: kelvin)",
}


@dataclass(frozen=True, kw_only=True)
class Units:
    """Factors and shifts that convert the values of a file's bands to stored units.

    Attributes:
        factor: One for each band.
        shift: One for each band, in stored units (see `thor_geo.specs.bands.STORAGE`).
    """

    factor: tuple[float, ...]
    shift: tuple[float, ...]

    def apply(self, values: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
        """Return a file's values (C, H, W) in stored units (`thor_geo.specs.bands.STORAGE`)."""
        out = values.astype(np.float32)
        for band, (factor, shift) in enumerate(zip(self.factor, self.shift, strict=True)):
            if (factor, shift) != (1.0, 0.0):
                out[band] = values[band].astype(np.float64) * factor + shift
        return out


def file_units(
    file: RasterFile,
    bands: Sequence[Band],
    scale: Sequence[float] | None = None,
    offset: Sequence[float] | None = None,
) -> Units:
    """Return how a file's values are converted to stored units.

    A value x scale + offset is in the band's physical unit. The defaults are the file's own (GDAL's
    scale and offset of each band). Of bands without (1 and 0), whatever others have, integers of
    Sentinel-2 are taken for reflectance x 10,000, as in its products, and floats of other sensors
    for physical units; everything else is refused, because no rule would be right for all such
    files.

    Args:
        file: The file.
        bands: Its bands.
        scale: One for each band; None for the default.
        offset: One for each band; None for the default.

    Raises:
        ConfigError: If neither *scale* nor the file tells the unit of its values.
    """
    scales = tuple(scale) if scale is not None else _own_scales(file, bands)
    offsets = file.offsets if offset is None else tuple(offset)
    stored = [STORAGE[band.sensor].scale for band in bands]
    return Units(
        factor=tuple(value / unit for value, unit in zip(scales, stored, strict=True)),
        shift=tuple(value / unit for value, unit in zip(offsets, stored, strict=True)),
    )


def _own_scales(file: RasterFile, bands: Sequence[Band]) -> tuple[float, ...]:
    """Return the scale of each band: the file's, or the usual one where the file has none."""
    integers = np.dtype(file.dtype).kind in "iu"
    scales = []
    for band, scale, offset in zip(bands, file.scales, file.offsets, strict=True):
        if scale == 1 and offset and band.sensor == "S2" and integers:
            raise ConfigError(
                "scale",
                None,
                f"{file.name} has an offset of {offset:g} for {band.channel} and no scale, but its "
                f"{file.dtype} cannot be reflectance 0..1",
                "Set data.scale and data.offset, e.g. 0.0001 and -0.1 for an offset of -1000.",
            )
        scales.append(scale if scale != 1 or offset else _usual(file, band))
    return tuple(scales)


def _usual(file: RasterFile, band: Band) -> float:
    integers = np.dtype(file.dtype).kind in "iu"
    if band.sensor == "S2" and integers:
        return STORAGE["S2"].scale
    if band.sensor != "S2" and not integers:
        return 1.0
    both = "1 for reflectance 0..1, 0.0001 for reflectance x 10,000"
    remedy = (
        both if band.sensor == "S2" else f"a value x scale + data.offset is {UNITS[band.sensor]}"
    )
    raise ConfigError(
        "scale",
        None,
        f"{file.name} has {band.channel} as {file.dtype}, without a scale that tells its unit",
        f"Set data.scale: {remedy}.",
    )
