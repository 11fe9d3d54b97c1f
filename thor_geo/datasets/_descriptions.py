"""What a raster file calls its bands, against the names that the user gave them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence

from thor_geo.datasets.geotiff import RasterFile
from thor_geo.errors import ConfigError
from thor_geo.specs.bands import Band, bands_written


def check_descriptions(file: RasterFile, bands: Sequence[Band]) -> None:
    """Refuse a file that describes a band as another one; unknown names say nothing.

    Args:
        file: The file; it has as many bands as there are.
        bands: The bands in the order in which the user named them.

    Raises:
        ConfigError: If it does.
    """
    written = [bands_written(text or "") for text in file.descriptions]
    wrong = [k for k, known in enumerate(written) if known and bands[k] not in known]
    if not wrong:
        return
    contradictions = [
        f"{k + 1} as {file.descriptions[k]!r}, not {bands[k].names[0]}" for k in wrong[:3]
    ]
    more = f" (and {len(wrong) - 3} more)" if len(wrong) > 3 else ""
    order = [known[0].names[0] if known else bands[k].names[0] for k, known in enumerate(written)]
    opened = f'f = rasterio.open({json.dumps(str(file.path))}, "r+")'
    code = f'import rasterio; {opened}; f.descriptions = [""] * f.count; f.close()'
    raise ConfigError(
        "bands",
        [band.channel for band in bands],
        f"{file.name} describes band {', band '.join(contradictions)}{more}",
        f"If the file is right, give bands: [{', '.join(order)}]. If not, remove its descriptions: "
        f"python -c {shlex.quote(code)}",
    )
