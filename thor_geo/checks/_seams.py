"""How visible tiles are in a map: jumps across their borders compared with jumps inside.

The jump between two neighbouring cells is the mean over all bands of the absolute difference of
their embeddings. The seam ratio is the mean jump over pairs of cells on either side of a tile's
border, divided by the mean jump over pairs within one tile. Both directions count alike; pairs with
a cell that has no embedding do not count. The ratio is 1 if borders are as smooth as the rest.

Within a tile, only pairs whose line lies an even number of cells from the border count. Groups at
20 m have one token for every two cells, and are enlarged: cells differ more across the edge of such
a token than within it (by 12 % with THOR tiny, benchmarks/seams.py), and lines an even number of
cells apart are alike in that. The definition is this project's own, similar to the blockiness of
JPEG images (Wang, Sheikh and Bovik 2002, "No-reference perceptual quality assessment of JPEG
compressed images", ICIP), which compares differences across block borders with those inside.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from thor_geo.ground.plan import Shard
from thor_geo.runs.quantise import dequantise
from thor_geo.runs.zone_grid import ZoneGrid
from thor_geo.support.arrays import Float32Array, Float64Array


def _none() -> Float64Array:
    return np.zeros(0)


@dataclass(frozen=True, kw_only=True)
class Seams:
    """Jumps between many pairs of neighbouring cells, by their place in a tile.

    Attributes:
        jumps: (s,) sums of jumps, for tiles of s cells a side: first across tile borders, then
            between the first and the second cell from a tile's upper or left edge, and so on.
        pairs: (s,) numbers of pairs.
    """

    jumps: Float64Array = field(default_factory=_none)
    pairs: Float64Array = field(default_factory=_none)

    def __add__(self, other: Seams) -> Seams:
        """Return the jumps of both; seams without any pair may have another s."""
        if not self.pairs.any() or not other.pairs.any():
            return self if self.pairs.any() else other
        return Seams(jumps=self.jumps + other.jumps, pairs=self.pairs + other.pairs)

    @property
    def border(self) -> float | None:
        """Mean jump across tile borders, in the embeddings' units; None without a pair."""
        return _mean(self.jumps[:1], self.pairs[:1])

    @property
    def inside(self) -> float | None:
        """Mean jump inside tiles, an even number of cells from the border; None without a pair."""
        return _mean(self.jumps[2::2], self.pairs[2::2])

    @property
    def ratio(self) -> float | None:
        """The seam ratio; None if no two tiles touch, or nothing changes inside them."""
        border, inside = self.border, self.inside
        return None if border is None or not inside else border / inside

    def summary_json(self) -> dict[str, Any] | None:
        """Return ratio, both means, numbers of pairs and mean jump by place; None without pairs."""
        if not self.pairs.any():
            return None
        return {
            "ratio": self.ratio,
            "border": self.border,
            "inside": self.inside,
            "border_pairs": int(self.pairs[0]),
            "inside_pairs": int(self.pairs[2::2].sum()),
            "profile": [
                _mean(self.jumps[k : k + 1], self.pairs[k : k + 1]) for k in range(len(self.pairs))
            ],
        }


def _mean(jumps: Float64Array, pairs: Float64Array) -> float | None:
    count = float(pairs.sum())
    return float(jumps.sum()) / count if count else None


class SeamReader:
    """Measures shards one after the other, and keeps two edges of each for its neighbours.

    Borders between two shards count if one reader measures both.
    """

    def __init__(self, cells: int) -> None:
        """Initialize a new SeamReader instance.

        Args:
            cells: Side of the written part of a tile in cells.
        """
        self._cells = cells
        # Last column and last row of shards, (D', side), by zone, time, row and column.
        self._right: dict[tuple[int, int | None, int, int], Float32Array] = {}
        self._bottom: dict[tuple[int, int | None, int, int], Float32Array] = {}

    def read(
        self,
        zone: ZoneGrid,
        shard: Shard,
        values: npt.NDArray[Any],
        scales: Float32Array | None,
        time: int | None = None,
    ) -> Seams:
        """Measure a shard's map, and its borders with shards that were measured before.

        Args:
            zone: The shard's zone.
            shard: The shard.
            values: (D', k s, k s), row 0 = north; NaN (int8: -128) without an embedding.
            scales: (k s, k s) for int8, NaN without an embedding; else None.
            time: Index of the time window: borders are those between shards of one window.
        """
        row, col = zone.shard_position(shard)
        rows, columns = values.shape[1:]
        right = np.empty((len(values), rows), dtype=np.float32)
        bottom = np.empty((len(values), columns), dtype=np.float32)
        left_edge, top_edge = np.empty_like(right), np.empty_like(bottom)
        across, down = np.zeros((rows, columns - 1)), np.zeros((rows - 1, columns))
        # Differences of the largest float32 may overflow; such pairs do not count.
        with np.errstate(over="ignore", invalid="ignore"):
            for k, band in enumerate(_bands(values, scales)):
                across += np.abs(band[:, 1:] - band[:, :-1])
                down += np.abs(band[1:] - band[:-1])
                left_edge[k], right[k] = band[:, 0], band[:, -1]
                top_edge[k], bottom[k] = band[0], band[-1]
        seams = self._within(across / len(values), axis=0)
        seams += self._within(down / len(values), axis=1)
        west = self._right.get((shard.epsg, time, row, col - 1))
        north = self._bottom.get((shard.epsg, time, row - 1, col))
        for neighbour, edge in ((west, left_edge), (north, top_edge)):
            if neighbour is not None:
                seams += self._across(neighbour, edge)
        self._right[shard.epsg, time, row, col] = right
        self._bottom[shard.epsg, time, row, col] = bottom
        return seams

    def _within(self, jumps: Float64Array, axis: int) -> Seams:
        """Return the jumps of a shard; *axis* is the one along the borders that pairs straddle."""
        valid = np.isfinite(jumps)
        sums, counts = np.where(valid, jumps, 0).sum(axis=axis), valid.sum(axis=axis)
        places = np.arange(1, len(sums) + 1) % self._cells
        out = Seams(jumps=np.zeros(self._cells), pairs=np.zeros(self._cells))
        np.add.at(out.jumps, places, sums)
        np.add.at(out.pairs, places, counts)
        return out

    def _across(self, edge: Float32Array, opposite: Float32Array) -> Seams:
        """Return the jumps between the edges of two shards, (D', side) each."""
        with np.errstate(over="ignore", invalid="ignore"):
            jumps = np.abs(edge - opposite).mean(axis=0, dtype=np.float64)
        valid = np.isfinite(jumps)
        out = Seams(jumps=np.zeros(self._cells), pairs=np.zeros(self._cells))
        out.jumps[0], out.pairs[0] = jumps[valid].sum(), valid.sum()
        return out


def _bands(values: npt.NDArray[Any], scales: Float32Array | None) -> Iterator[Float32Array]:
    """Yield one band at a time as float32, NaN without an embedding: a map may be large."""
    for band in values:
        yield band.astype(np.float32) if scales is None else dequantise(band, scales)
