"""One way to find similar vectors, in a process of its own; needs NumPy and the library alone.

    python similar_library.py LIBRARY build FOLDER
    python similar_library.py LIBRARY ask FOLDER BREADTH

FOLDER has codes.npy (N, D) int8, asked.npy (rows) and nearest.npy (their ten nearest rows). Prints
JSON. What a library finds is compared again by exact cosines, from the codes.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

#: Candidates that are compared again.
CANDIDATES = 40
_BATCH = 65_536


def unit(codes: Any) -> Any:
    """Return vectors of length one."""
    values = codes.astype(np.float32)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def batches(codes: Any) -> Iterator[tuple[int, Any]]:
    """Yield first rows and vectors."""
    for start in range(0, len(codes), _BATCH):
        yield start, unit(codes[start : start + _BATCH])


def build_faiss(codes: Any, folder: Path) -> None:
    """Lists of eight-bit vectors in a file of their own, in parts that are merged."""
    import faiss
    from faiss.contrib.ondisk import merge_ondisk

    lists = 2 ** round(np.log2(np.sqrt(len(codes))))
    flat = faiss.IndexFlatIP(codes.shape[1])
    empty = faiss.IndexIVFScalarQuantizer(
        flat, codes.shape[1], lists, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
    )
    sample = np.sort(np.random.default_rng(0).permutation(len(codes))[: 64 * lists])
    empty.train(unit(codes[sample]))
    faiss.write_index(empty, str(folder / "empty"))
    parts = []
    for start, vectors in batches(codes):
        part = faiss.read_index(str(folder / "empty"))
        part.add_with_ids(vectors, np.arange(start, start + len(vectors)))
        parts.append(str(folder / f"part{start}"))
        faiss.write_index(part, parts[-1])
    merge_ondisk(empty, parts, str(folder / "lists"))
    faiss.write_index(empty, str(folder / "index"))
    for name in parts:
        Path(name).unlink()


def ask_faiss(folder: Path, breadth: int) -> Callable[[Any], Any]:
    """*breadth* lists are read."""
    import faiss

    index = faiss.read_index(str(folder / "index"), faiss.IO_FLAG_ONDISK_SAME_DIR)
    index.nprobe = breadth
    return lambda vector: index.search(vector[None], CANDIDATES)[1][0]


def build_usearch(codes: Any, folder: Path) -> None:
    """A graph of eight-bit vectors (HNSW)."""
    from usearch.index import Index

    index = Index(ndim=codes.shape[1], metric="cos", dtype="i8")
    for start, vectors in batches(codes):
        index.add(np.arange(start, start + len(vectors)), vectors, threads=2)
    index.save(str(folder / "index"))


def ask_usearch(folder: Path, breadth: int) -> Callable[[Any], Any]:
    """*breadth* candidates are followed."""
    from usearch.index import Index

    index = Index.restore(str(folder / "index"), view=True)
    index.expansion_search = breadth
    return lambda vector: index.search(vector, CANDIDATES).keys.astype(np.int64)


BUILD = {"faiss": build_faiss, "usearch": build_usearch}
ASK = {"faiss": ask_faiss, "usearch": ask_usearch}


def memory() -> dict[str, float]:
    """Return the peak, and what of the resident memory is mapped files, MB (10^6 bytes)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    found = {line.split(":")[0]: line.split()[1] for line in lines if line.endswith("kB")}
    return {name: int(found[name]) * 1024 / 1e6 for name in ("VmHWM", "RssFile")}


def main() -> dict[str, Any]:
    """Build or ask; return what it took."""
    library, what, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    mine = folder / library
    codes = np.load(folder / "codes.npy", mmap_mode="r")
    if what == "build":
        mine.mkdir()
        began = time.perf_counter()
        BUILD[library](codes, mine)
        size = sum(file.stat().st_size for file in mine.iterdir())
        return {
            "seconds": time.perf_counter() - began,
            "cpu": time.process_time(),
            "size": size,
        } | (memory())
    asked, nearest = np.load(folder / "asked.npy"), np.load(folder / "nearest.npy")
    directions = unit(codes[asked])
    began = time.perf_counter()
    search = ASK[library](mine, int(sys.argv[4]))
    opening = time.perf_counter() - began
    handle = os.open(folder / "codes.npy", os.O_RDONLY)
    width, times, hits = codes.shape[1], [], 0
    first = (folder / "codes.npy").stat().st_size - codes.size
    for row, true, direction in zip(asked, nearest, directions, strict=True):
        began = time.perf_counter()
        found = search(direction)
        found = found[(found >= 0) & (found != row)]
        stored = [os.pread(handle, width, first + int(each) * width) for each in found]
        exact = unit(np.frombuffer(b"".join(stored), np.int8).reshape(-1, width)) @ direction
        best = found[np.argsort(-exact, kind="stable")[:10]]
        times.append(time.perf_counter() - began)
        hits += len(np.intersect1d(best, true))
    return {
        "opening": opening,
        "first": times[0],
        "median": float(np.median(times[1:])),
        "p95": float(np.percentile(times[1:], 95)),
        "cpu": time.process_time(),
        "recall": hits / nearest.size,
    } | memory()


if __name__ == "__main__":
    print(json.dumps(main()))
