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
    opened = f'f = rasterio.open({json.dumps(str(file.path))}, "r+")'
    code = f'import rasterio; {opened}; f.descriptions = [""] * f.count; f.close()'
    raise ConfigError(
        "bands",
        [band.channel for band in bands],
        f"{file.name} describes band {', band '.join(contradictions)}{more}",
        f"If the file is right, give bands: [{', '.join(order)}]. If not, remove its descriptions: "
        f"python -c {shlex.quote(code)}",
    )


def _described_band(text: str, band: Band) -> Band | None:
    """Return the band that a description means, *band* itself if that may be it, or None."""
    # A polarisation alone is that of any mode of Sentinel-1.
    may_be = band.sensor == "S1" and text.strip().upper() == band.ee_name
    return band if may_be else find_band(text)
