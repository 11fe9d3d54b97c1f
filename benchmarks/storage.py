"""What float32, float16 and int8 cost on disk, and what they lose; and the side of a chunk.

    python -m benchmarks.storage [--quick]

Embeds a generated landscape with THOR base (random weights) as float32, once as 64 tiles of 288 px
(one shard) and once as 1,296 tiles of 64 px, and writes these embeddings with the run's own writers
at each type. Neighbours are those of largest cosine: of each vector among all vectors, and of 2,000
cells among all 20,736.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import duckdb
import geopandas
import numpy as np
import pyarrow.parquet as pq
import zarr

from benchmarks._embedded import EPSG, SMALL, TILE, Embedded, Floats, embed, make_archive
from benchmarks._neighbours import Vectors, l2_errors, nearest, overlap
from benchmarks._timing import Timing, compare
from benchmarks.report import Report, Row
from thor_geo.grid import zone_name
from thor_geo.writers.grid import ARRAY, SCALE, GridStore, compressor
from thor_geo.writers.layout import chunk_side
from thor_geo.writers.pooled import pooled_table, write_pooled
from thor_geo.writers.quantise import dequantise
from thor_geo.writers.shard import Dtype

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
        table = pq.read_table(folder / f"{shard.id}.parquet", columns=["embedding", "scale"])
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
    median, most, value, kept = lost
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
    }


def losses(
    exact: Vectors, stored: Vectors, queries: np.ndarray[Any, np.dtype[np.intp]]
) -> tuple[float, float, float, float]:
    """Return what a row says of loss: errors in millionths, and the share of neighbours kept."""
    errors = l2_errors(exact, stored)
    worst = np.abs(stored.astype(np.float64) - exact).max() / np.abs(exact).max()
    kept = overlap(nearest(exact, queries), nearest(stored, queries))
    return float(np.median(errors)) * 1e6, float(errors.max()) * 1e6, float(worst) * 1e6, kept * 100


def timed(
    report: Report, what: str, alternatives: Mapping[str, Callable[[], object]], n: int
) -> dict[str, Timing]:
    """Time alternatives side by side; the first is what the others' ratio is against."""
    times = compare(alternatives, repeats=n)
    first = next(iter(times.values()))
    report.figures[f"{what}, ms"] = [
        {k: v if isinstance(v, str) else round(float(cast(Any, v)), 3) for k, v in r.items()}
        for r in (t.row(name, unit=_MS, against=first) for name, t in times.items())
    ]
    return times


def vectors_rows(report: Report, folder: Path, many: Embedded, again: Vectors, n: int) -> None:
    """Measure pooled vectors at each type; last, the floor: another batch shape."""
    places = {dtype: folder / f"pooled-{dtype}" for dtype in DTYPES}
    writes = timed(
        report,
        "write vectors",
        {d: lambda d=d: write_vectors(places[d], many, d) for d in DTYPES},
        n,
    )
    reads = timed(
        report, "read vectors", {d: lambda d=d: read_vectors(places[d], many) for d in DTYPES}, n
    )
    queries = np.arange(len(many.vectors))
    for dtype in DTYPES:
        lost = losses(many.vectors, read_vectors(places[dtype], many), queries)
        size = files_bytes(places[dtype], "*.parquet") / len(many.plan)
        report.rows.append(
            row(f"vectors {dtype}", size, (writes[dtype], reads[dtype], None, None), lost)
        )
        report.faults += readers_faults(places[dtype], dtype)
    lost = losses(many.vectors, again, queries)
    report.rows.append(row("vectors of another batch shape", 0, (None,) * 4, lost))
    # What a reader who does not convert gets.
    some = queries[:: len(queries) // 100]
    half = many.vectors.astype(np.float16)
    half /= np.linalg.norm(half, axis=1, keepdims=True)
    cosines = half[some] @ half.T
    cosines[np.arange(len(some)), some] = -np.inf
    careless = np.argpartition(cosines, -10, axis=1)[:, -10:]
    kept = overlap(nearest(many.vectors, some), careless)
    report.figures["top-10 kept where cosines are computed in float16, %"] = round(kept * 100, 2)


def maps_rows(report: Report, folder: Path, large: Embedded, n: int) -> None:
    """Measure the shard's map at each type, and its vectors' file."""
    assert large.maps is not None
    tiles = len(large.plan)
    places = {dtype: folder / f"{dtype}.zarr" for dtype in DTYPES}
    writes = timed(
        report, "write maps", {d: lambda d=d: write_map(places[d], large, d) for d in DTYPES}, n
    )
    reads = timed(report, "read maps", {d: lambda d=d: read_map(places[d]) for d in DTYPES}, n)
    cells = as_cells(large.maps)
    queries = np.random.default_rng(0).choice(len(cells), min(_QUERIES, len(cells)), replace=False)
    sizes = {}
    for dtype in DTYPES:
        lost = losses(cells, as_cells(read_map(places[dtype])), queries)
        size = files_bytes(places[dtype], f"{_ZONE}/*/c/**/*") / tiles
        times = (writes[dtype], reads[dtype], None, None)
        report.rows.append(row(f"maps {dtype}", size, times, lost))
        write_vectors(folder / f"shard-{dtype}", large, dtype)
        sizes[dtype] = {
            "vectors": round(files_bytes(folder / f"shard-{dtype}", "*.parquet") / tiles, 1),
            "maps": round(size),
        }
    report.figures["bytes a tile in one shard"] = sizes


def as_cells(values: Vectors) -> Vectors:
    """Return a map (D, h, w) as (h w, D)."""
    return np.moveaxis(values, 0, -1).reshape(-1, len(values))


def chunk_rows(report: Report, folder: Path, maps: Floats, dtype: Dtype, sides: list[int]) -> None:
    """Measure stores whose shard is cut into chunks of different sides."""
    bands, across = maps.shape[:2]
    chosen = chunk_side(across)
    order = sorted(sides, key=lambda side: side != chosen)  # ratios against the writer's choice
    arrays: dict[str, Any] = {}
    for side in order:
        arrays[str(side)] = array = zarr.create_array(
            folder / f"chunks-{side}.zarr",
            shape=maps.shape,
            dtype=dtype,
            chunks=(bands, side, side),
            shards=maps.shape,
            compressors=compressor(dtype),
        )
        array[...] = maps.astype(dtype)
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
    times = {
        what: timed(
            report,
            f"{what}, chunks",
            {name: lambda array=array, read=read: read(array) for name, array in arrays.items()},
            5,
        )
        for what, read in reads.items()
    }
    counts = {"read all": 1, "read an area": len(corners), "read a point": len(points)}
    tiles = (across / (TILE // 16)) ** 2
    for side in sides:
        each = [
            Timing(seconds=tuple(s / counts[what] for s in times[what][str(side)].seconds))
            for what in reads
        ]
        size = files_bytes(folder / f"chunks-{side}.zarr", "c/**/*") / tiles
        what = f"maps {dtype}, chunks of {side}" + (" (as written)" if side == chosen else "")
        report.rows.append(row(what, size, (None, *each), (None,) * 4))


def main(*, quick: bool) -> int:
    report = Report(
        name="storage",
        claim="float16 halves the files and keeps more than 99.9 % of the ten nearest neighbours of "
        "vectors and cells; pyarrow, geopandas and DuckDB read all three types.",
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
        again = embed(**given, model=model, tile=SMALL, shard_tiles=side, batch=7)
        assert large.maps is not None
        vectors_rows(report, folder, many, again.vectors, n)
        maps_rows(report, folder, large, n)
        cells = large.maps.shape[1]
        sides = [side for side in (24, 36, 48, 72, 144) if cells % side == 0]
        for dtype in ("float32", "float16"):
            chunk_rows(report, folder / dtype, large.maps, cast(Dtype, dtype), sides)
    finally:
        shutil.rmtree(folder)
    report.figures["vectors"] = len(many.vectors)
    report.figures["cells"] = cells**2
    for found in report.rows:
        if " float16" in found["what"] and (found["top-10 kept %"] or 100) <= 100 * KEPT:
            report.faults.append(
                f"{found['what']}: {found['top-10 kept %']:.2f} % of neighbours are kept, not more "
                f"than {100 * KEPT} %"
            )
    report.notes += [
        "Random weights: the published ones may spread values otherwise, int8 above all.",
        "Vectors are in shards of 144 tiles here; in shards of 64 they take the bytes of `bytes a "
        "tile in one shard`. Times are of everything: 9 files of vectors, one shard's map of 64 "
        "tiles, in a warm page cache; writing waits for the disk. An area is 40 x 40 cells.",
        "Reading gives float32 for float32 and int8, float16 for float16.",
        "Errors: as a share of a vector's length (median and largest), and the largest of any value "
        "as a share of the largest value.",
    ]
    return report.finish()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a short form that writes nothing")
    sys.exit(main(quick=parser.parse_args().quick))
