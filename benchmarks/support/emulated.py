"""Small scenes behind an emulated Earth Engine, for measuring fetching and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import rasterio
from rasterio.transform import from_origin

from thor_geo.composites import PrefetchSpec
from thor_geo.ground.lattice import Block
from thor_geo.sources.earthengine import RetryPolicy, SessionSpec
from thor_geo.specs import SensorSpec, TemporalSpec

#: Column and row of the first block's corner in pixels, on the lattice of zone 32.
LEFT, TOP = 640, 640_000

WINDOW = TemporalSpec.range("2022-06-01", "2022-07-01")


def write_scenes(
    folder: Path,
    *,
    side: int,
    bands: tuple[str, ...],
    scenes: int = 2,
    corner: tuple[int, int] = (LEFT, TOP),
) -> Path:
    """Write an archive of scenes, each over the same square, every pixel different.

    Args:
        folder: Where; it must not exist.
        side: Side of the square in pixels.
        bands: Names of the bands.
        scenes: Number of scenes, ``s0``, ``s1``, ..., a day apart.
        corner: Column and row of the square's upper left corner in pixels.

    Returns:
        The folder.
    """
    folder.mkdir(parents=True)
    pixels = np.arange(side * side, dtype=np.uint32).reshape(side, side)
    entries = []
    for day in range(scenes):
        with rasterio.open(
            folder / f"s{day}.tif",
            "w",
            driver="GTiff",
            width=side,
            height=side,
            count=len(bands),
            dtype="uint16",
            nodata=0,
            crs="EPSG:32632",
            transform=from_origin(corner[0] * 10, corner[1] * 10, 10, 10),
            tiled=True,
            blockxsize=64,
            blockysize=64,
            interleave="pixel",
        ) as file:
            for number in range(len(bands)):
                file.write((pixels % 9001 + 31 * day + number + 1).astype(np.uint16), number + 1)
        entries.append(
            {
                "id": f"s{day}",
                "properties": {
                    "system:time_start": 1_654_084_800_000 + day * 86_400_000,
                    "CLOUDY_PIXEL_PERCENTAGE": 0.0,
                },
                "bands": [
                    {"name": name, "file": f"s{day}.tif", "index": number}
                    for number, name in enumerate(bands, 1)
                ],
            }
        )
    index = {"format": "thor-geo-archive", "version": 1, "parameters": {}, "scenes": entries}
    (folder / "index.json").write_text(json.dumps(index), encoding="utf-8")
    return folder


def blocks(across: int, size: int) -> list[Block]:
    """Return across x across blocks of a size, row by row from the scenes' north-western corner."""
    return [
        Block(epsg=32632, size=size, resolution=10, left=LEFT + col * size, top=TOP - row * size)
        for row in range(across)
        for col in range(across)
    ]


def prefetch_spec(
    cache: Path,
    url: str,
    bands: tuple[str, ...],
    *,
    concurrency: int = 40,
    retry: RetryPolicy | None = None,
    read_timeout_s: float = 330.0,
) -> PrefetchSpec:
    """Return the settings of a prefetch process that fetches a whole plan, read by nobody."""
    return PrefetchSpec(
        root=cache,
        session=SessionSpec(credentials="anonymous", url=url, read_timeout_s=read_timeout_s),
        sensor=SensorSpec(bands=bands, cloudy_pct=100),
        window=WINDOW,
        catalogue="emulator-benchmark",
        concurrency=concurrency,
        ahead=None,
        retry=retry or RetryPolicy(),
    )
