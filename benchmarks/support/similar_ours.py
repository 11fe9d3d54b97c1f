"""Our index on vectors in a file, as `similar_library` has others: `python -m` this, and the same.

python -m benchmarks.support.similar_ours ours build FOLDER
python -m benchmarks.support.similar_ours ours ask FOLDER MIB
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.support import similar_library
from thor_geo.results import index_build, index_search
from thor_geo.results.index_parts import IndexPart, IndexParts
from thor_geo.results.index_rows import RowWriter
from thor_geo.results.nearness import learn_nearness, lists_for
from thor_geo.runs.similar_index import LAYOUT, LISTS, ROWS, IndexAbout

_AT_ONCE = 20_000


class _Codes(IndexParts):
    def __init__(self, codes: Any) -> None:
        self._codes, self.most = codes, len(codes)

    def __len__(self) -> int:
        return -(-self.most // _AT_ONCE)

    def read(self, part: int) -> IndexPart:
        rows = np.arange(part * _AT_ONCE, min((part + 1) * _AT_ONCE, self.most))
        return IndexPart(rows, self._codes[rows[0] : rows[-1] + 1].astype(np.float32))


def build_ours(codes: Any, folder: Path) -> None:
    """What `thor-geo index` does, without a run."""
    parts, lists = _Codes(codes), lists_for(len(codes))
    sample = index_build._sample(parts, lists * 64, progress=False)
    nearness = learn_nearness(sample, lists)
    writer = RowWriter(
        folder / ROWS, "int8", codes.shape[1], lists=len(nearness.centres), index=folder
    )
    with writer:
        index_build._fill(writer, nearness, parts, progress=False)
    arrays = nearness._asdict() | writer.blocks()
    np.savez(folder / LISTS, allow_pickle=False, left_out=np.empty(0, np.int64), **arrays)
    IndexAbout(
        layout=LAYOUT,
        unit="cells",
        time=None,
        dtype="int8",
        dimension=codes.shape[1],
        rows=writer.rows,
        lists=len(nearness.centres),
        fingerprint="",
        digest="",
        files={},
    ).write(folder)


def ask_ours(folder: Path, breadth: int) -> Callable[[Any], Any]:
    """*breadth* MiB of lists are read."""
    about = IndexAbout.read(folder)
    assert about is not None
    index = index_search.NeighbourIndex(folder, about)
    index_search._BYTES, index_search._ROWS = breadth * 1024**2, 0
    return lambda vector: index.nearest(vector, similar_library.CANDIDATES).place


if __name__ == "__main__":
    similar_library.BUILD["ours"] = build_ours
    similar_library.ASK["ours"] = ask_ours
    print(json.dumps(similar_library.main()))
