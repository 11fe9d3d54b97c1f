"""What float32, float16 and int8 cost on disk, and what they lose; and the side of a chunk.

    python -m benchmarks.storage [--quick]

Embeds a generated landscape with THOR base (random weights) as float32, once as 64 tiles of 288 px
(one shard) and once as 1,296 tiles of 64 px, and writes these embeddings with the run's own writers
at each type. Neighbours are those of largest cosine: of each vector among all vectors, and of 2,000
cells among all 20,736.
"""

from __future__ import annotations

import argparse
import inspect
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import duckdb
import geopandas
import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import zarr

from benchmarks._embedded import EPSG, SMALL, TILE, Embedded, Floats, embed, make_archive
from benchmarks._neighbours import NEIGHBOURS, Vectors, distances, l2_errors, nearest, overlap
from benchmarks._packings import packing_rows
from benchmarks._timing import Timing, compare
from benchmarks.report import Report, Row
from thor_geo.ground.lattice import zone_name
from thor_geo.runs.grid import ARRAY, SCALE, GridStore, compressors
from thor_geo.runs.pooled import pooled_table, write_pooled
from thor_geo.runs.quantise import dequantise
from thor_geo.runs.shard import Dtype
from thor_geo.runs.zone_grid import chunk_side
from thor_geo.tasks import RunWriter

DTYPES: tuple[Dtype, ...] = ("float32", "float16", "int8")
#: Top-10 overlap from which nothing measurable counts as lost.
KEPT = 0.999
_ZONE = zone_name(EPSG)
# Cells whose neighbours are looked for.
_QUERIES = 2000
# Cells of an area that is read, a side: 6.4 km.
_AREA = 40
_MS = 1e-3


def write_vectors(folder: Path, many: Embedded, dtype: Dtype) -> None:
    """Write every shard's vectors, as the run does."""
    run = many.opened.run
    for shard in many.plan.shards:
        table = pooled_table(
            many.result(shard, dtype), many.plan, many.opened.window, dtype, run.metadata
        )
        write_pooled(folder / f"{shard.id}.parquet", table)


def read_vectors(folder: Path, many: Embedded) -> Vectors:
    """Read all vectors in the plan's order, in the type that they are used in."""
    found = []
    for shard in many.plan.shards:
        # Of columns that are not there, ParquetFile says nothing: only int8 has scales.
        file = pq.ParquetFile(folder / f"{shard.id}.parquet")
        table = file.read(columns=["embedding", "scale"])
        flat = table["embedding"].combine_chunks().flatten()
        values = flat.to_numpy(zero_copy_only=False).reshape(len(table), -1)
        if "scale" in table.column_names:
            values = dequantise(values, table["scale"].to_numpy()[:, None])
        found.append(values)
    return np.concatenate(found)


def write_map(path: Path, large: Embedded, dtype: Dtype) -> None:
    """Write the shard's map into a store, as the run does."""
    (shard,) = large.plan.shards
    result = large.result(shard, dtype)
    assert result.grid is not None
    cells = result.grid.shape[1] // large.plan.lattices[0].shard_tiles
    store = GridStore(path, large.plan, (len(result.grid), cells, cells), dtype)
    store.create("{}")
    store.write(shard, result.grid)


def read_map(path: Path) -> Vectors:
    """Read the whole map (D, h, w), in the type that it is used in."""
    group = zarr.open_group(path, path=_ZONE, mode="r")
    values = np.asarray(cast(Any, group[ARRAY])[...])
    if SCALE in group:
        scale = np.asarray(cast(Any, group[SCALE])[...])
        cells = values.shape[1] // len(scale)
        values = dequantise(values, scale.repeat(cells, axis=0).repeat(cells, axis=1))
    return values


def files_bytes(folder: Path, pattern: str) -> int:
    """Return the size of the files that match."""
    return sum(path.stat().st_size for path in folder.glob(pattern) if path.is_file())


def readers_faults(folder: Path, dtype: Dtype) -> list[str]:
    """Return which of pyarrow, geopandas and DuckDB read other vectors than the others do."""
    frame = geopandas.read_parquet(folder).set_index("tile_id").sort_index()
    vectors = {"geopandas": np.stack(frame.embedding.tolist())}
    table = pq.read_table(folder, columns=["tile_id", "embedding"]).sort_by("tile_id")
    flat = table["embedding"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    vectors["pyarrow"] = flat.reshape(len(table), -1)
    rows = duckdb.sql(f"select embedding from '{folder}/*.parquet' order by tile_id").fetchall()
    vectors["DuckDB"] = np.array([row[0] for row in rows])
    return [
        f"{name} reads {dtype} vectors as others"
        for name, found in vectors.items()
        if not np.array_equal(found.astype(np.float32), vectors["pyarrow"].astype(np.float32))
    ]


def row(
    what: str, size: float, times: Sequence[Timing | None], lost: Sequence[float | None]
) -> Row:
    """Return a row: times of writing, of reading all, an area and a point; and what is lost."""
    write, everything, area, point = (None if t is None else t.median / _MS for t in times)
    median, most, value, kept, farther = lost
    return {
        "what": what,
        "bytes a tile": round(size),
        "write ms": write,
        "read all ms": everything,
        "read area ms": area,
        "read point ms": point,
        "L2 error ppm": median,
        "its largest": most,
        "value error ppm": value,
        "top-10 kept %": kept,
        "farther ppm": farther,
    }


def losses(
    exact: Vectors, stored: Vectors, queries: npt.NDArray[np.intp]
) -> tuple[float, float, float, float, float]:
    """Return what a row says of loss.

    Errors in millionths, the share of neighbours kept, and how much farther those found are, in
    truth and in the mean, than the nearest.
    """
    errors = l2_errors(exact, stored)
    worst = np.abs(stored.astype(np.float64) - exact).max() / np.abs(exact).max()
    best, found = nearest(exact, queries), nearest(stored, queries)
    true = distances(exact, queries, best).mean()
    farther = distances(exact, queries, found).mean() / true - 1
    return (
        float(np.median(errors)) * 1e6,
        float(errors.max()) * 1e6,
        float(worst) * 1e6,
        overlap(best, found) * 100,
        float(farther) * 1e6,
    )


def timed(
    report: Report,
    what: str,
    alternatives: Mapping[str, Callable[[], object]],
    n: int,
    each: int = 1,
) -> dict[str, Timing]:
    """Time alternatives side by side.

    Args:
        report: Gets a table.
        what: Its name.
        alternatives: What to call; the first is what the others' ratio is against.
        n: Timed calls of each.
        each: How many of *what* a call does.

    Returns:
        The timings of one of *what*.
    """
    times = {
        name: Timing(seconds=tuple(seconds / each for seconds in found.seconds))
        for name, found in compare(alternatives, repeats=n).items()
    }
    first = next(iter(times.values()))
    report.figures[f"{what}, ms"] = [
        {k: v if isinstance(v, str) else round(float(cast(Any, v)), 3) for k, v in r.items()}
        for r in (t.row(name, unit=_MS, against=first) for name, t in times.items())
    ]
    return times


def vectors_rows(report: Report, folder: Path, many: Embedded, n: int) -> None:
    """Measure pooled vectors at each type."""
    places = {dtype: folder / f"pooled-{dtype}" for dtype in DTYPES}
    writes = timed(
        report,
        "write vectors",
        {d: partial(write_vectors, places[d], many, d) for d in DTYPES},
        n,
    )
    reads = timed(
        report, "read vectors", {d: partial(read_vectors, places[d], many) for d in DTYPES}, n
    )
    queries = np.arange(len(many.vectors))
    for dtype in DTYPES:
        lost = losses(many.vectors, read_vectors(places[dtype], many), queries)
        size = files_bytes(places[dtype], "*.parquet") / len(many.plan)
        report.rows.append(
            row(f"vectors {dtype}", size, (writes[dtype], reads[dtype], None, None), lost)
        )
        report.faults += readers_faults(places[dtype], dtype)
    random = np.random.default_rng(0).integers(0, len(queries), (len(queries), 10))
    pairs: dict[str, npt.NDArray[np.intp]] = {
        "neighbours": nearest(many.vectors, queries),
        "any two vectors": random,
    }
    for name, which in pairs.items():
        median = float(np.median(distances(many.vectors, queries, which)))
        report.figures[f"median distance of {name}"] = median
    report.figures["top-10 kept where cosines are computed in float16, %"] = round(
        100 * careless(many.vectors, queries[:: len(queries) // 100]), 1
    )


def careless(vectors: Floats, queries: npt.NDArray[np.intp]) -> float:
    """Return the neighbours kept by a reader who computes in float16, as NumPy does with such."""
    half = vectors.astype(np.float16)
    half /= np.linalg.norm(half, axis=1, keepdims=True)
    cosines = half[queries] @ half.T
    cosines[np.arange(len(queries)), queries] = -np.inf
    found = np.argpartition(cosines, -NEIGHBOURS, axis=1)[:, -NEIGHBOURS:]
    return overlap(nearest(vectors, queries), found)


def maps_rows(report: Report, folder: Path, large: Embedded, n: int) -> None:
    """Measure the shard's map at each type, and its vectors' file."""
    assert large.maps is not None
    tiles = len(large.plan)
    places = {dtype: folder / f"{dtype}.zarr" for dtype in DTYPES}
    writes = timed(
        report, "write maps", {d: partial(write_map, places[d], large, d) for d in DTYPES}, n
    )
    reads = timed(report, "read maps", {d: partial(read_map, places[d]) for d in DTYPES}, n)
    cells = as_cells(large.maps)
    queries = np.random.default_rng(0).choice(len(cells), min(_QUERIES, len(cells)), replace=False)
    sizes = []
    for dtype in DTYPES:
        lost = losses(cells, as_cells(read_map(places[dtype])), queries)
        size = files_bytes(places[dtype], f"{_ZONE}/*/c/**/*") / tiles
        times = (writes[dtype], reads[dtype], None, None)
        report.rows.append(row(f"maps {dtype}", size, times, lost))
        write_vectors(folder / f"shard-{dtype}", large, dtype)
        vectors = files_bytes(folder / f"shard-{dtype}", "*.parquet") / tiles
        sizes.append({"dtype": dtype, "vectors": round(vectors), "maps": round(size)})
    report.figures["bytes a tile in one shard"] = sizes
    stored = {
        dtype: np.asarray(zarr.open_array(places[dtype], path=f"{_ZONE}/{ARRAY}", mode="r")[...])
        for dtype in DTYPES
    }
    report.figures["packing a map's chunks, on one thread"] = packing_rows(stored, tiles, repeats=n)


def as_cells(values: Vectors) -> Vectors:
    """Return a map (D, h, w) as (h w, D)."""
    return np.moveaxis(values, 0, -1).reshape(-1, len(values))


def chunk_rows(report: Report, folder: Path, store: Path, dtype: Dtype) -> None:
    """Measure stores whose shard is cut into chunks of different sides, out of a store's map."""
    maps = np.asarray(zarr.open_array(store, path=f"{_ZONE}/{ARRAY}", mode="r")[...])
    bands, across = maps.shape[:2]
    sides = [side for side in (24, 36, 48, 72, 144) if across % side == 0]
    chosen = chunk_side(across)
    order = sorted(sides, key=lambda side: side != chosen)  # ratios against the writer's choice
    arrays: dict[str, Any] = {}
    for side in order:
        arrays[str(side)] = array = zarr.create_array(
            folder / f"{dtype}-chunks-{side}.zarr",
            shape=maps.shape,
            dtype=dtype,
            chunks=(bands, side, side),
            shards=maps.shape,
            compressors=compressors(dtype),
        )
        array[...] = maps
    random = np.random.default_rng(0)
    points, corners = (
        random.integers(0, across, (20, 2)),
        random.integers(0, across - _AREA, (9, 2)),
    )
    reads: dict[str, Callable[[Any], object]] = {
        "read all": lambda array: array[...],
        "read an area": lambda array: [array[:, y : y + _AREA, x : x + _AREA] for y, x in corners],
        "read a point": lambda array: [array[:, y, x] for y, x in points],
    }
    counts = {"read all": 1, "read an area": len(corners), "read a point": len(points)}
    times = {
        what: timed(
            report,
            f"{what} of {dtype}, by side of chunks",
            {name: partial(read, array) for name, array in arrays.items()},
            5,
            counts[what],
        )
        for what, read in reads.items()
    }
    tiles = (across / (TILE // 16)) ** 2
    for side in sides:
        each = [times[what][str(side)] for what in reads]
        size = files_bytes(folder / f"{dtype}-chunks-{side}.zarr", "c/**/*") / tiles
        what = f"maps {dtype}, chunks of {side}" + (" (as written)" if side == chosen else "")
        report.rows.append(row(what, size, (None, *each), (None,) * 5))


def decision_faults(rows: Sequence[Row]) -> list[str]:
    """Return what of the claim does not follow from the rows, and whether the default does."""
    kept = {row["what"]: row["top-10 kept %"] for row in rows}
    faults = [
        f"{kind} {dtype}: {kept[f'{kind} {dtype}']:.2f} % of neighbours kept, not {least} %"
        for kind in ("vectors", "maps")
        for dtype, least in (("float16", 99.5), ("int8", 90))
        if kept[f"{kind} {dtype}"] < least
    ]
    lossless = all(kept[f"{kind} float16"] > 100 * KEPT for kind in ("vectors", "maps"))
    default = inspect.signature(RunWriter).parameters["dtype"].default
    if default != ("float16" if lossless else "float32"):
        faults.append(
            f"the default is {default}, and float16 keeps {kept['vectors float16']:.2f} %"
        )
    return faults


def main(*, quick: bool) -> int:
    report = Report(
        name="storage",
        claim="float16 keeps at least 99.5 % of the ten nearest neighbours of vectors and cells, "
        "int8 at least 90 %; the default is float16 if it keeps more than 99.9 %, else float32; "
        "pyarrow, geopandas and DuckDB read all three alike.",
        command="python -m benchmarks.storage",
        quick=quick,
    )
    across, model, n = (4, "thor_v1_tiny", 3) if quick else (8, "thor_v1_base", 7)
    folder = Path(tempfile.mkdtemp(prefix="thor-geo-storage-"))
    try:
        archive = make_archive(folder / "scenes", across)
        given: dict[str, Any] = {"folder": folder, "archive": archive, "across": across}
        large = embed(**given, model=model, tile=TILE, shard_tiles=across, batch=8)
        side = across * TILE // SMALL // 3
        many = embed(**given, model=model, tile=SMALL, shard_tiles=side, batch=32)
        assert large.maps is not None
        vectors_rows(report, folder, many, n)
        maps_rows(report, folder, large, n)
        for dtype in DTYPES:
            chunk_rows(report, folder, folder / f"{dtype}.zarr", dtype)
    finally:
        shutil.rmtree(folder)
    report.figures["vectors"] = len(many.vectors)
    report.figures["cells"] = large.maps.shape[1] * large.maps.shape[2]
    report.faults += decision_faults(report.rows)
    report.notes += [
        "Random weights: the published ones may spread values otherwise, int8 above all.",
        "Vectors are in shards of 144 tiles here; in shards of 64 they take the bytes of `bytes a "
        "tile in one shard`. Times are of everything: 9 files of vectors, one shard's map of 64 "
        "tiles, in a warm page cache; writing waits for the disk. An area is 40 x 40 cells; areas "
        "and points are means of 9 and of 20, read one after the other.",
        "Reading gives float32 for float32 and int8, float16 for float16.",
        "Errors: as a share of a vector's length (median and largest), and the largest of any "
        "value as a share of the largest value. Farther: how much larger the mean distance (one "
        "minus the cosine, of exact vectors) to those found is than to the ten nearest.",
    ]
    return report.finish()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a short form that writes nothing")
    sys.exit(main(quick=parser.parse_args().quick))
