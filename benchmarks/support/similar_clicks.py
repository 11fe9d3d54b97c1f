"""Questions to a run of cells, in a process of its own: answered from its index, or exactly.

    python -m benchmarks.support.similar_clicks RUN clicks COUNT    # from the index
    python -m benchmarks.support.similar_clicks RUN exact COUNT     # by comparing with every cell

Prints JSON. Both ask about the same cells.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.support.processes import resident_mb, status
from thor_geo.ground.area import LONLAT, transformer
from thor_geo.results import zone_cells
from thor_geo.results.cosine import unit_vectors
from thor_geo.results.index_search import NeighbourIndex
from thor_geo.results.similarity import cell_id, similar_cells
from thor_geo.runs.opened_run import OpenedRun, read_run
from thor_geo.runs.similar_index import (
    ROWS,
    IndexAbout,
    index_path,
    row_type,
    unpack_cells,
)

#: How many neighbours are asked for.
NEAREST = 10


def asked_cells(opened: OpenedRun, count: int) -> np.ndarray:
    """Return EPSG code, row and column of cells from all over the run, (count, 3)."""
    path = index_path(opened.run, "cells", None)
    about = IndexAbout.read(path)
    assert about is not None
    rows = np.memmap(path / ROWS, row_type(about.dtype, about.dimension), "r")
    chosen = np.sort(np.random.default_rng(0).choice(about.rows, count, replace=False))
    places = np.array([rows[int(k)]["place"] for k in chosen], dtype=np.int64)
    return np.random.default_rng(1).permutation(unpack_cells(places))


def lonlats(opened: OpenedRun, cells: np.ndarray) -> list[tuple[float, float]]:
    """Return the centres of cells, degrees."""
    zones, out = zone_cells(opened), []
    for epsg, row, col in cells.tolist():
        zone = zones[epsg]
        x, y = zone.bounds[0] + (col + 0.5) * zone.cell, zone.bounds[3] - (row + 0.5) * zone.cell
        lon, lat = transformer(f"EPSG:{epsg}", LONLAT).transform(x, y)
        out.append((float(lon), float(lat)))
    return out


def forget(path: Path) -> None:
    """Drop a run's files from the page cache, as far as they are written back."""
    for folder, _, names in os.walk(path):
        for name in names:
            handle = os.open(Path(folder) / name, os.O_RDONLY)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)


def clicks(path: Path, count: int) -> dict[str, Any]:
    """Ask the index; return seconds, memory and the answers."""
    questions = lonlats(read_run(path), asked_cells(read_run(path), count))
    forget(path)
    before = resident_mb("VmRSS")
    began = time.perf_counter()
    opened = read_run(path)
    index = NeighbourIndex.of_run(opened, "cells", None)
    assert index is not None
    opening = time.perf_counter() - began
    taken, answers = {"dropped": list[float](), "cached": list[float]()}, []
    for state, times in taken.items():
        for question in questions:
            began = time.perf_counter()
            found = similar_cells(opened, [question], NEAREST, index=index)
            times.append(time.perf_counter() - began)
            if state == "dropped":
                answers.append([list(found.ids), found.cosine.tolist()])
    return {
        "opening": opening,
        "first": questions[0],
        "vectors": index.searched,
        **taken,
        "answers": answers,
        "peak_mb": resident_mb(),
        "before_mb": before,
        "mapped_mb": int(status()["RssFile"].split()[0]) * 1024 / 1e6,
    }


def exact(path: Path, count: int) -> dict[str, Any]:
    """Compare with every vector in the index, list or not; return the answers.

    They are the run's own stored values, which a test and one `similar --exact` confirm; reading
    them from the maps would take four times as long.
    """
    opened = read_run(path)
    cells, zones = asked_cells(opened, count), zone_cells(opened)
    vectors = [_vector(zones[epsg], row, col) for epsg, row, col in cells.tolist()]
    directions = unit_vectors(np.stack(vectors)).T
    folder = index_path(opened.run, "cells", None)
    about = IndexAbout.read(folder)
    assert about is not None
    best = np.full((0, count), -2, dtype=np.float32)
    ids = np.zeros((0, count), dtype=np.int64)
    kind, at_once = row_type(about.dtype, about.dimension), 32_768
    for start in range(0, about.rows, at_once):
        part = np.fromfile(folder / ROWS, kind, at_once, offset=start * kind.itemsize)
        cosine = unit_vectors(part["vector"].astype(np.float32)) @ directions
        few = min(NEAREST + 1, len(part))
        top = np.argpartition(-cosine, few - 1, axis=0)[:few]
        best = np.concatenate([best, np.take_along_axis(cosine, top, axis=0)])
        ids = np.concatenate([ids, part["place"][top]])
        order = np.argsort(-best, axis=0, kind="stable")[: NEAREST + 1]
        best, ids = (np.take_along_axis(each, order, axis=0) for each in (best, ids))
    answers = []
    for k, cell in enumerate(cells.tolist()):
        named = [cell_id(*each) for each in unpack_cells(ids[:, k]).tolist()]
        kept = [n for n, name in enumerate(named) if name != cell_id(*cell)][:NEAREST]
        answers.append([[named[n] for n in kept], [float(best[n, k]) for n in kept]])
    return {"answers": answers}


def _vector(zone: Any, row: int, col: int) -> np.ndarray:
    for shard in zone.shards:
        rows, cols = zone.shard_cells(shard)
        if rows.start <= row < rows.stop and cols.start <= col < cols.stop:
            found: np.ndarray = zone.read(shard, slice(row, row + 1), slice(col, col + 1))[0, 0]
            return found
    raise LookupError(f"no shard holds cell {row}, {col}")


if __name__ == "__main__":
    ask = {"clicks": clicks, "exact": exact}[sys.argv[2]]
    print(json.dumps(ask(Path(sys.argv[1]), int(sys.argv[3]))))
