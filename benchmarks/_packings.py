"""What packing the chunks of a map costs and saves, by codec; for `benchmarks.storage`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from numcodecs import blosc

from benchmarks._timing import compare
from benchmarks.report import Row
from thor_geo.runs.zone_grid import chunk_side

#: Codec of Blosc, its level, and what is put side by side before: bytes or bits of the values.
PACKINGS = (
    ("zstd", 1, "bit"),
    ("zstd", 3, "bit"),
    ("zstd", 1, "byte"),
    ("zstd", 3, "byte"),
    ("zstd", 5, "byte"),
    ("lz4", 1, "byte"),
)
_SHUFFLE = {"byte": blosc.SHUFFLE, "bit": blosc.BITSHUFFLE}


def packing_rows(maps: Mapping[str, npt.NDArray[Any]], tiles: int, *, repeats: int) -> list[Row]:
    """Pack and unpack maps with every codec, on one thread, in turns.

    Args:
        maps: One shard's map (D, h, w) as stored, by data type.
        tiles: Tiles in it.
        repeats: How often.

    Returns:
        A row for each type and codec: the share of the bytes that is left, and ms a tile.
    """
    rows = []
    for dtype, values in maps.items():
        side = chunk_side(values.shape[1])
        across = range(0, values.shape[1], side)
        chunks = [
            np.ascontiguousarray(values[:, y : y + side, x : x + side]).ravel()
            for y in across
            for x in across
        ]
        packed = {packing: _pack(chunks, *packing) for packing in PACKINGS}
        packs = compare({str(p): partial(_pack, chunks, *p) for p in PACKINGS}, repeats=repeats)
        unpacks = compare({str(p): partial(_unpack, packed[p]) for p in PACKINGS}, repeats=repeats)
        for name, level, shuffle in PACKINGS:
            packing = name, level, shuffle
            rows.append(
                {
                    "maps": dtype,
                    "packing": f"{name} {level}, {shuffle}s",
                    "bytes": sum(map(len, packed[packing])) / values.nbytes,
                    "pack, ms a tile": 1000 * packs[str(packing)].median / tiles,
                    "unpack, ms a tile": 1000 * unpacks[str(packing)].median / tiles,
                }
            )
    return rows


def _pack(chunks: list[npt.NDArray[Any]], name: str, level: int, shuffle: str) -> list[bytes]:
    return [blosc.compress(chunk, name.encode(), level, _SHUFFLE[shuffle]) for chunk in chunks]


def _unpack(packed: list[bytes]) -> None:
    for chunk in packed:
        blosc.decompress(chunk)
