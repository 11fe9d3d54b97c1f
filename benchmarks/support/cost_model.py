"""What a run of a given size costs, as plain arithmetic with the source of every number.

Counts (tiles, shards, blocks) come from `benchmarks.outlines`, sizes and rates from
`benchmarks.costs`; what nobody has measured is an argument, and the tables call it assumed.
"""

from __future__ import annotations

import math
from typing import Any

from benchmarks.support.flops import encoder_flops
from thor_geo.models import token_layout, variant
from thor_geo.specs.bands import S2_DEFAULT_BANDS, bands_from_ee

#: Requests in flight and per second that Earth Engine grants a project (its usage guide), and the
#: largest answer in bytes, counted with a mask byte for every value (REST reference).
CONCURRENT, PER_SECOND, MAX_BYTES = 40, 100, 50_331_648

#: Monthly non-commercial quota by tier, EECU-hours (Earth Engine's tiers guide, since 2026-04-27).
QUOTA_TIERS = (150, 1_000, 100_000)

#: Bands of a request: the ten of the default and the count of observations; uint16.
PLANES, ITEMSIZE = len(S2_DEFAULT_BANDS) + 1, 2

#: Default tile, patch and resolution, and THOR base's embedding width.
TILE, PATCH, RESOLUTION, WIDTH = 288, 16, 10, 768

#: Bytes of one value by type.
BYTES = {"float32": 4, "float16": 2, "int8": 1}


def tile_km2() -> float:
    """Return the ground of one tile: 288 px x 10 m squared."""
    return (TILE * RESOLUTION / 1000) ** 2


def pixel_requests(side: int) -> int:
    """Return the pixel requests of a block of so many pixels a side, at the least.

    One, unless the limit of 48 MB forces quarters. What the service refuses for memory or time is
    quartered as well, and not foreseen here.
    """
    if side * side * PLANES * (ITEMSIZE + 1) <= MAX_BYTES:
        return 1
    return 4 * pixel_requests(-(-side // 2))


def largest_block() -> int:
    """Return the side of the largest block that is one request, a multiple of the tile."""
    return math.isqrt(MAX_BYTES // (PLANES * (ITEMSIZE + 1))) // TILE * TILE


def fetch_seconds(blocks: int, side: int, pixels_s: float, lists_s: float = 1.0) -> float:
    """Return the time to fetch blocks into an empty cache, the project's budget fully used.

    Every block costs a request for its list of scenes, and `pixel_requests` for its pixels.

    Args:
        blocks: Number of blocks.
        side: Side of a block in pixels.
        pixels_s: Latency of a pixel request, seconds. Not measured on the real service.
        lists_s: Latency of a scene-list request, seconds. Likewise.
    """
    requests = blocks * (1 + pixel_requests(side))
    slots = blocks * (lists_s + pixel_requests(side) * pixels_s)
    return max(slots / CONCURRENT, requests / PER_SECOND)


def eecu_hours(blocks: int, eecu_s_per_block: float) -> float:
    """Return the EECU-hours of fetching blocks once, by the EECU-seconds of a block (assumed)."""
    return blocks * eecu_s_per_block / 3600


def eecu_s_affordable(blocks: int, tier: float) -> float:
    """Return the EECU-seconds a block may cost for a run to fit into a month's EECU-hours."""
    return tier * 3600 / blocks


def tile_flops(model_key: str) -> float:
    """Return the floating-point operations of an encoder for one tile, matrix products only."""
    channels = [band.channel for band in bands_from_ee(list(S2_DEFAULT_BANDS))]
    layout = token_layout(bands=channels, image_size=TILE, patch_size=PATCH)
    return float(encoder_flops(variant(model_key), layout).total)


def gpu_tiles_per_s(model_key: str, peak_tflops: float, utilisation: float) -> float:
    """Return tiles/s of a GPU by its peak and an assumed utilisation; neither is measured.

    Args:
        model_key: The variant.
        peak_tflops: Peak of the GPU at the precision in use, 10^12 operations a second.
        utilisation: Share of the peak that is reached, 0 to 1.
    """
    return peak_tflops * 1e12 * utilisation / tile_flops(model_key)


def grid_bytes(tiles: int, dtype: str, ratio: float) -> float:
    """Return the bytes of the grids of so many tiles.

    Args:
        tiles: Number of tiles.
        dtype: float32, float16 or int8.
        ratio: Compressed over raw bytes.
    """
    return tiles * (TILE // PATCH) ** 2 * WIDTH * BYTES[dtype] * ratio


def pooled_bytes(tiles: int, shards: int, size: dict[str, float]) -> float:
    """Return the bytes of the vectors' files, by what `benchmarks.costs` measured of a type."""
    return float(shards * size["per_file"] + tiles * size["per_tile"])


def cache_bytes(blocks: int, block: dict[str, Any]) -> float:
    """Return the bytes of the cache: pixels, sidecar and list of scenes of every block.

    Args:
        blocks: Number of blocks.
        block: What `benchmarks.costs` measured of one of 576 px, with 38 scenes; or of another
            size.
    """
    pixels = block["raw_bytes"] * block["compressed_ratio"]
    return float(
        blocks * (pixels + block["sidecar_bytes_38_scenes"] + block["scenes_bytes_38_scenes"])
    )
