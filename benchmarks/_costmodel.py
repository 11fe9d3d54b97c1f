"""What a run of a given size costs, as plain arithmetic with the source of every number.

Counts (tiles, shards, blocks) come from `benchmarks.outlines`, sizes and rates from
`benchmarks.costs`; what nobody has measured is an argument, and the tables call it an assumption.
"""

from __future__ import annotations

import math
from typing import Any

from benchmarks import _flops
from thor_geo.models import token_layout, variant
from thor_geo.sources.earthengine._split import MAX_BYTES, MAX_SIDE, BlockWindow, request_bytes
from thor_geo.specs.bands import S2_DEFAULT_BANDS, bands_from_ee

#: Land surface of the Earth, Antarctica included, square kilometres (CIA World Factbook, 148.94).
LAND_KM2 = 149e6

#: Requests in flight and per second that Earth Engine grants a project (its usage guide).
CONCURRENT, PER_SECOND = 40, 100

#: Monthly non-commercial quota by tier, EECU-hours (Earth Engine's tiers guide, since 2026-04-27).
QUOTA_TIERS = (150, 1_000, 100_000)

#: Bands of a request: the ten of the default and the count of observations; uint16.
PLANES, ITEMSIZE = len(S2_DEFAULT_BANDS) + 1, 2

#: Default tile, patch and resolution.
TILE, PATCH, RESOLUTION = 288, 16, 10

#: Bytes of one value by type.
BYTES = {"float32": 4, "float16": 2, "int8": 1}


def tile_km2() -> float:
    """Return the ground of one tile: 288 px x 10 m squared."""
    return (TILE * RESOLUTION / 1000) ** 2


def pixel_requests(side: int) -> int:
    """Return the pixel requests of one block, at the least.

    One, unless the service's limit of 48 MB forces quarters: it counts a mask byte with every
    value. What the service refuses for memory or time is quartered as well, and not foreseen here.

    Args:
        side: Side of the block in pixels.
    """

    def count(window: BlockWindow) -> int:
        size = request_bytes(window.height, window.width, PLANES, ITEMSIZE)
        if size <= MAX_BYTES and window.side <= MAX_SIDE:
            return 1
        return sum(map(count, window.quarters()))

    return count(BlockWindow(row=0, col=0, height=side, width=side))


def largest_block() -> int:
    """Return the side of the largest block that is one request, a multiple of the tile."""
    side = math.isqrt(MAX_BYTES // (PLANES * (ITEMSIZE + 1)))
    return side // TILE * TILE


def requests_per_second(latency_s: float, concurrency: int = CONCURRENT) -> float:
    """Return the rate that a number of requests in flight gives (Little's law), at most 100/s.

    Args:
        latency_s: Seconds from a request to its whole answer.
        concurrency: Requests in flight.
    """
    return min(concurrency / latency_s, PER_SECOND)


def fetch_seconds(blocks: int, side: int, pixels_s: float, lists_s: float = 1.0) -> float:
    """Return the time to fetch blocks into an empty cache, the project's budget fully used.

    Every block costs a request for its list of scenes, and `pixel_requests` for its pixels.

    Args:
        blocks: Number of blocks.
        side: Side of a block in pixels.
        pixels_s: Latency of a pixel request, seconds. Not measured on the real service.
        lists_s: Latency of a scene-list request, seconds. Not measured on the real service.
    """
    requests = blocks * (1 + pixel_requests(side))
    slots = blocks * (lists_s + pixel_requests(side) * pixels_s)
    return max(slots / CONCURRENT, requests / PER_SECOND)


def eecu_hours(blocks: int, eecu_s_per_block: float) -> float:
    """Return the EECU-hours of fetching blocks once.

    Args:
        blocks: Number of blocks.
        eecu_s_per_block: EECU-seconds of one block. Not measured on the real service.
    """
    return blocks * eecu_s_per_block / 3600


def eecu_s_affordable(blocks: int, tier: float) -> float:
    """Return the EECU-seconds a block may cost for a run to fit into one month's quota.

    Args:
        blocks: Number of blocks.
        tier: EECU-hours a month.
    """
    return tier * 3600 / blocks


def quota_binds_above(latency_s: float, tier: float) -> float:
    """Return the EECU-seconds of a block above which a month's quota ends before its requests do.

    With all 40 requests in flight day and night a block takes latency / 40 of the project's time,
    and of the quota of a 30-day month its own cost: the two are used up together at this cost.

    Args:
        latency_s: Latency of a pixel request, seconds. Not measured on the real service.
        tier: EECU-hours a month.
    """
    blocks_a_month = requests_per_second(latency_s) * 30 * 86_400
    return eecu_s_affordable(1, tier) / blocks_a_month


def tokens(patch: int = PATCH) -> dict[int, int]:
    """Return the tokens of a tile with the default bands, by the GSD of their group in metres."""
    channels = [band.channel for band in bands_from_ee(list(S2_DEFAULT_BANDS))]
    layout = token_layout(bands=channels, image_size=TILE, patch_size=patch)
    counted: dict[int, int] = {}
    for group in layout.groups:
        counted[group.gsd] = counted.get(group.gsd, 0) + group.n_tokens
    return counted


def encoder_flops(model_key: str, patch: int = PATCH) -> float:
    """Return the floating-point operations of the encoder for one tile, matrix products only.

    Args:
        model_key: The variant.
        patch: Patch size in pixels.
    """
    channels = [band.channel for band in bands_from_ee(list(S2_DEFAULT_BANDS))]
    layout = token_layout(bands=channels, image_size=TILE, patch_size=patch)
    return float(_flops.encoder_flops(variant(model_key), layout).total)


def gpu_tiles_per_s(model_key: str, peak_tflops: float, utilisation: float) -> float:
    """Return tiles/s of a GPU by its peak and an assumed utilisation; nothing of it is measured.

    Args:
        model_key: The variant.
        peak_tflops: Peak of the GPU at the precision in use, 10^12 operations a second.
        utilisation: Share of the peak that is reached, 0 to 1.
    """
    return peak_tflops * 1e12 * utilisation / encoder_flops(model_key)


def cells(patch: int = PATCH) -> int:
    """Return the cells of a tile's grid: those of its finest group."""
    return (TILE // patch) ** 2


def grid_bytes(tiles: int, dtype: str, ratio: float, width: int = 768) -> float:
    """Return the bytes of a grid, (width) values in every cell.

    Args:
        tiles: Number of tiles.
        dtype: float32, float16 or int8.
        ratio: Compressed over raw bytes.
        width: Embedding width D.
    """
    return tiles * cells() * width * BYTES[dtype] * ratio


def pooled_bytes(tiles: int, shards: int, dtype: str, costs: dict[str, Any]) -> float:
    """Return the bytes of the vectors' files.

    Args:
        tiles: Number of tiles.
        shards: Number of shards.
        dtype: float32, float16 or int8.
        costs: What `benchmarks.costs` measured.
    """
    bytes_of = costs["pooled_bytes"][dtype]
    return float(shards * bytes_of["per_file"] + tiles * bytes_of["per_tile"])


def cache_bytes(blocks: int, block: dict[str, float]) -> float:
    """Return the bytes of the cache: pixels, sidecar and list of scenes of every block.

    Args:
        blocks: Number of blocks of 576 px.
        block: What `benchmarks.costs` measured of one, with 38 scenes.
    """
    pixels = block["raw_bytes"] * block["compressed_ratio"]
    return blocks * (pixels + block["sidecar_bytes_38_scenes"] + block["scenes_bytes_38_scenes"])


def files(shards: int, blocks: int, *, pooled: bool = True, grid: bool = True) -> dict[str, int]:
    """Return how many files a run keeps.

    A shard has a marker, a pooled file and a grid file; a block has its pixels, their sidecar and
    its list of scenes. Folders are not counted: 2 x 256 for the cache, one for each row of shards
    in a grid. A block without scenes has only the list, so this is the most.

    Args:
        shards: Number of shards.
        blocks: Number of blocks.
        pooled: Whether vectors are written.
        grid: Whether grids are written.
    """
    return {"run": shards * (1 + pooled + grid), "cache": 3 * blocks}


def start_requests(shards: int, jobs: int, outputs: int = 2) -> float:
    """Return the requests to the output's file system when one job starts.

    It looks at the markers of its own shards: open, read and close, and one stat for each output of
    those that are finished; and reads run.json and the store's metadata (a dozen requests).

    Args:
        shards: Shards of the run.
        jobs: Jobs it is divided into.
        outputs: Output files of a shard.
    """
    return math.ceil(shards / jobs) * (3 + outputs) + 12
