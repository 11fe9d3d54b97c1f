"""What a raster file calls its bands, against the names that the user gave them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence

from thor_geo.datasets.geotiff import RasterFile
from thor_geo.errors import ConfigError
from thor_geo.specs.bands import Band, find_band


def check_descriptions(file: RasterFile, bands: Sequence[Band]) -> None:
    """Refuse a file that describes a band as another one; unknown names say nothing.

    Args:
        file: The file; it has as many bands as there are.
        bands: The bands in the order in which the user named them.

    Raises:
        ConfigError: If it does.
    """
    known = [
        _described_band(text or "", band)
        for text, band in zip(file.descriptions, bands, strict=True)
    ]
    wrong = [k for k, band in enumerate(known) if band not in (None, bands[k])]
    if not wrong:
        return
    contradictions = [
        f"{k + 1} as {file.descriptions[k]!r}, not {bands[k].names[0]}" for k in wrong[:3]
    ]
    more = f" (and {len(wrong) - 3} more)" if len(wrong) > 3 else ""
    order = [(known[k] or band).names[0] for k, band in enumerate(bands)]
    # Where a name comes twice, the file names too few of its bands to tell the order.
    distinct = len(set(order)) == len(order)
    mended = f"give bands: [{', '.join(order)}]" if distinct else "correct the order of bands"
    opened = f'f = rasterio.open({json.dumps(str(file.path))}, "r+")'
    code = f'import rasterio; {opened}; f.descriptions = [""] * f.count; f.close()'
    raise ConfigError(
        "bands",
        [band.channel for band in bands],
        f"{file.name} describes band {', band '.join(contradictions)}{more}",
        f"If the file is right, {mended}. If not, remove its descriptions: "
        f"python -c {shlex.quote(code)}",
    )


def check_alpha(file: RasterFile, names: Sequence[str]) -> None:
    """Refuse a file that has a band of transparency where a name makes it pixels, or is missing.

    Args:
        file: The file.
        names: The user's names of its bands, in order.

    Raises:
        ConfigError: If it has.
    """
    named = [k for k in file.alpha if k < len(names) and find_band(names[k]) is not None]
    unnamed = len(names) == file.count - len(file.alpha)
    if not named and not (file.alpha and unnamed):
        return
    number = named[0] if named else file.alpha[0]
    kept = " ".join(f"-b {k + 1}" for k in range(file.count) if k not in file.alpha)
    path = shlex.quote(str(file.path))
    mask = f"gdal_translate {kept} -mask {number + 1} {path} masked.tif"
    opened = f'f = rasterio.open({json.dumps(str(file.path))}, "r+")'
    code = f"import rasterio; {opened}; f.colorinterp = [rasterio.enums.ColorInterp(0)] * f.count"
    raise ConfigError(
        "bands",
        list(names),
        f"{file.name} says that its band {number + 1} is alpha, the transparency of the others",
        f"If it is, make it a mask and give masked.tif with the names of the others: {mask}. If it "
        f"is a band, say so: python -c {shlex.quote(code + '; f.close()')}",
    )


def _described_band(text: str, band: Band) -> Band | None:
    """Return the band that a description means, *band* itself if that may be it, or None."""
    # A polarisation alone is that of any mode of Sentinel-1.
    may_be = band.sensor == "S1" and text.strip().upper() == band.ee_name
    return band if may_be else find_band(text)
