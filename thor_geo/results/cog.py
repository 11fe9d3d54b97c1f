"""Cloud-optimised GeoTIFFs of a run's maps, written window by window."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from thor_geo.ground.lattice import Bounds
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.runs.rundir import RunDirectory
from thor_geo.runs.target import atomic_target
from thor_geo.support.files import temporary_path

#: Rows, columns and values (bands, rows, columns) of a part of a raster.
RasterPart = tuple[slice, slice, npt.NDArray[Any]]

# Possible sides of a file's blocks, the largest first, and the largest size of a block: readers get
# whole blocks with all bands.
_BLOCKS, _BLOCK_BYTES = (512, 256, 128, 64), 16 * 1024**2
# The GDAL whose COG driver first has INTERLEAVE.
_INTERLEAVE_TILE = (3, 11)


@dataclass(frozen=True, kw_only=True)
class RasterExtent:
    """The place of a raster.

    Attributes:
        epsg: EPSG code of its UTM zone.
        bounds: Left, bottom, right, top, metres.
        shape: Rows and columns; row 0 = north.
    """

    epsg: int
    bounds: Bounds
    shape: tuple[int, int]


def write_cog(
    run: RunDirectory,
    path: Path,
    extent: RasterExtent,
    windows: Iterable[RasterPart],
    *,
    bands: Sequence[str],
    dtype: str = "float32",
    tags: Mapping[str, str],
    overwrite: bool,
) -> None:
    """Write a COG with overviews: float32 with NaN as nodata, or uint8 as RGBA.

    Compressed by zstd with the predictor for the type. GDAL 3.11 and newer keep each band of a
    block apart (`INTERLEAVE=TILE`), so that one dimension can be read alone; with older ones a
    block holds all bands. Every GDAL whose libtiff knows zstd reads both.

    Only one window is held in memory. Pixels outside all windows are nodata, or transparent.

    Args:
        run: The run it is made from, whose own files are never replaced.
        path: The file.
        extent: Its place.
        windows: Its content.
        bands: Descriptions of the bands; of uint8 red, green, blue and alpha.
        dtype: ``float32`` or ``uint8``.
        tags: Further metadata.
        overwrite: Whether an existing file may be replaced.

    Raises:
        ConfigError: If *path* exists, or is one of the run's own files.
        RunDirectoryError: If it cannot be written.
    """
    import rasterio
    import rasterio.shutil
    from rasterio.transform import from_bounds
    from rasterio.windows import Window as Place

    height, width = extent.shape
    # What is new in a version is asked of the library itself: rasterio's own copy may be any.
    apart = tuple(map(int, rasterio.__gdal_version__.split(".")[:2])) >= _INTERLEAVE_TILE
    size = (1 if apart else len(bands)) * np.dtype(dtype).itemsize
    side = next((k for k in _BLOCKS if k * k * size <= _BLOCK_BYTES), _BLOCKS[-1])
    colour = {"photometric": "RGB", "alpha": "yes"} if dtype == "uint8" else {"nodata": np.nan}
    with atomic_target(run, path, folder=False, overwrite=overwrite) as temporary:
        plain = temporary_path(temporary)
        try:
            with rasterio.open(
                plain,
                "w",
                driver="GTiff",
                width=width,
                height=height,
                count=len(bands),
                dtype=dtype,
                crs=f"EPSG:{extent.epsg}",
                transform=from_bounds(*extent.bounds, width, height),
                tiled=True,
                blockxsize=256,
                blockysize=256,
                interleave="band",
                sparse_ok=True,
                bigtiff="if_safer",
                **colour,
            ) as file:
                for number, name in enumerate(bands, start=1):
                    file.set_band_description(number, name)
                file.update_tags(**tags)
                for rows, cols, values in windows:
                    file.write(values, window=Place.from_slices(rows, cols))
            rasterio.shutil.copy(
                plain,
                temporary,
                driver="COG",
                compress="ZSTD",
                predictor="YES",
                blocksize=side,
                overview_resampling="AVERAGE",
                bigtiff="IF_SAFER",
                **({"interleave": "TILE"} if apart else {}),
            )
        finally:
            plain.unlink(missing_ok=True)


def run_tags(opened: OpenedRun, window: int | None = None, **more: str) -> dict[str, str]:
    """Return the tags of a file made from a run: model, weights, dates, fingerprint.

    Args:
        opened: The run.
        window: Index of the time window; None for all of them.
        **more: Further tags.
    """
    document = opened.document
    span = opened.span if window is None else opened.windows.spans[window]
    model = {**document["settings"].get("model", {}), **document["info"].get("model", {})}
    tags = {
        "model": model.get("model_key"),
        "weights": model.get("weights"),
        "weights_sha256": model.get("weights_sha256"),
        "patch_size": model.get("patch_size"),
        "start": span.start.date(),
        "end": span.end.date(),
        "run": opened.fingerprint,
        **more,
    }
    return {f"THOR_GEO_{key.upper()}": str(value) for key, value in tags.items() if value}
