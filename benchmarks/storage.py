"""What float32, float16 and int8 embeddings cost on disk, and what they lose.

Claim (docs/performance.md, "Bytes per tile"): float16 keeps at least 99.5 % of the ten nearest
neighbours of vectors and cells, int8 at least 90 %; the default is float16 if it keeps more than
99.9 %, else float32; pyarrow, geopandas and DuckDB read all three alike.

    python -m benchmarks.storage            # 4 minutes
    python -m benchmarks.storage --quick    # tiny, 16 tiles: one minute

Embeds a generated landscape with THOR base (random weights) as float32, once as 64 tiles of 288 px
(one shard) and once as 1,296 tiles of 64 px, and writes these embeddings with the run's own writers
at each type. Neighbours are those of largest cosine: of each vector among all vectors, and of 2,000
cells among all 20,736.
"""

from __future__ import annotations

import inspect
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import duckdb
import geopandas
import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import zarr

from benchmarks.support.embedded import EPSG, SMALL, TILE, Embedded, embed, make_archive
from benchmarks.support.neighbours import Vectors, distances, l2_errors, nearest, overlap
from benchmarks.support.report import Report, Row, parser
from benchmarks.support.timing import compare
from thor_geo.ground.lattice import zone_name
from thor_geo.runs.grid import GridStore
from thor_geo.runs.grid_layout import ARRAY, SCALE
from thor_geo.runs.pooled import pooled_bytes, pooled_table
from thor_geo.runs.quantise import dequantise
from thor_geo.runs.shard import Dtype
from thor_geo.storage.files import write_all, write_bytes
from thor_geo.tasks import RunWriter

DTYPES: tuple[Dtype, ...] = ("float32", "float16", "int8")
#: Least share of neighbours that must be kept, %.
LEAST = {"float16": 99.5, "int8": 90.0}
#: Share from which nothing measurable counts as lost, %.
LOSSLESS = 99.9
_ZONE = zone_name(EPSG)
# Cells whose neighbours are looked for.
_QUERIES = 2000


def write_vectors(folder: Path, many: Embedded, dtype: Dtype) -> None:
    """Write every shard's vectors, as the run does."""
    run = many.opened.run
    for shard in many.plan.shards:
        table = pooled_table(
            many.result(shard, dtype), many.plan, many.opened.span, dtype, run.metadata
        )
        write_bytes(folder / f"{shard.id}.parquet", pooled_bytes(table))


def read_vectors(folder: Path, many: Embedded) -> Vectors:
    """Read all vectors in the plan's order, in the type that they are used in."""
    parts = []
    for shard in many.plan.shards:
        # ParquetFile ignores columns that are not there: only int8 has scales.
        file = pq.ParquetFile(folder / f"{shard.id}.parquet")
        table = file.read(columns=["embedding", "scale"])
        flat = table["embedding"].combine_chunks().flatten()
        values = flat.to_numpy(zero_copy_only=False).reshape(len(table), -1)
        if "scale" in table.column_names:
            values = dequantise(values, table["scale"].to_numpy()[:, None])
        parts.append(values)
    return np.concatenate(parts)


def write_map(path: Path, large: Embedded, dtype: Dtype) -> None:
    """Write the shard's map into a store, as the run does."""
    (shard,) = large.plan.shards
    result = large.result(shard, dtype)
    assert result.grid is not None
    cells = result.grid.shape[1] // large.plan.lattices[0].shard_tiles
    store = GridStore(path, large.plan, (len(result.grid), cells, cells), dtype)
    store.create("{}")
    write_all(store.path, store.encode(shard, result.grid))


def read_map(path: Path) -> Vectors:
    """Read the whole map (D, h, w), in the type that it is used in."""
    group = zarr.open_group(path, path=_ZONE, mode="r")
    values = np.asarray(cast(Any, group[ARRAY])[...])
    if SCALE in group:
        values = dequantise(values, np.asarray(cast(Any, group[SCALE])[...]))
    return values


def files_bytes(folder: Path, pattern: str) -> int:
    """Return the size of the files that match."""
    return sum(path.stat().st_size for path in folder.glob(pattern) if path.is_file())


def reader_faults(folder: Path, dtype: Dtype) -> list[str]:
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
        for name, values in vectors.items()
        if not np.array_equal(values.astype(np.float32), vectors["pyarrow"].astype(np.float32))
    ]


def losses(exact: Vectors, stored: Vectors, queries: npt.NDArray[np.intp]) -> dict[str, float]:
    """Return the columns of loss.

    Errors in millionths, the share of neighbours kept, and how much farther, in truth and in the
    mean, the neighbours by the stored vectors are than the nearest.
    """
    errors = l2_errors(exact, stored)
    worst = np.abs(stored.astype(np.float64) - exact).max() / np.abs(exact).max()
    best, chosen = nearest(exact, queries), nearest(stored, queries)
    true = distances(exact, queries, best).mean()
    return {
        "L2 error ppm": float(np.median(errors)) * 1e6,
        "its largest": float(errors.max()) * 1e6,
        "value error ppm": float(worst) * 1e6,
        "top-10 kept %": overlap(best, chosen) * 100,
        "farther ppm": float(distances(exact, queries, chosen).mean() / true - 1) * 1e6,
    }


def vectors_rows(report: Report, folder: Path, many: Embedded, n: int) -> None:
    """Measure pooled vectors at each type."""
    places = {dtype: folder / f"pooled-{dtype}" for dtype in DTYPES}
    writes = compare({d: partial(write_vectors, places[d], many, d) for d in DTYPES}, repeats=n)
    reads = compare({d: partial(read_vectors, places[d], many) for d in DTYPES}, repeats=n)
    queries = np.arange(len(many.vectors))
    for dtype in DTYPES:
        report.rows.append(
            {
                "what": f"vectors {dtype}",
                "bytes a tile": round(files_bytes(places[dtype], "*.parquet") / len(many.plan)),
                "write ms": 1000 * writes[dtype].median,
                "read ms": 1000 * reads[dtype].median,
                **losses(many.vectors, read_vectors(places[dtype], many), queries),
            }
        )
        report.faults += reader_faults(places[dtype], dtype)
    random = np.random.default_rng(0).integers(0, len(queries), (len(queries), 10))
    for name, which in (
        ("neighbours", nearest(many.vectors, queries)),
        ("any two vectors", random),
    ):
        median = float(np.median(distances(many.vectors, queries, which)))
        report.figures[f"median distance of {name}"] = median


def maps_rows(report: Report, folder: Path, large: Embedded, n: int) -> None:
    """Measure the shard's map at each type, and its vectors' file."""
    assert large.maps is not None
    tiles = len(large.plan)
    places = {dtype: folder / f"{dtype}.zarr" for dtype in DTYPES}
    writes = compare({d: partial(write_map, places[d], large, d) for d in DTYPES}, repeats=n)
    reads = compare({d: partial(read_map, places[d]) for d in DTYPES}, repeats=n)
    cells = as_cells(large.maps)
    queries = np.random.default_rng(0).choice(len(cells), min(_QUERIES, len(cells)), replace=False)
    sizes = []
    for dtype in DTYPES:
        size = round(files_bytes(places[dtype], f"{_ZONE}/*/c/**/*") / tiles)
        report.rows.append(
            {
                "what": f"maps {dtype}",
                "bytes a tile": size,
                "write ms": 1000 * writes[dtype].median,
                "read ms": 1000 * reads[dtype].median,
                **losses(cells, as_cells(read_map(places[dtype])), queries),
            }
        )
        write_vectors(folder / f"shard-{dtype}", large, dtype)
        vectors = files_bytes(folder / f"shard-{dtype}", "*.parquet") / tiles
        sizes.append({"dtype": dtype, "vectors": round(vectors), "maps": size})
    report.figures["bytes a tile in one shard"] = sizes


def as_cells(values: Vectors) -> Vectors:
    """Return a map (D, h, w) as (h w, D)."""
    return np.moveaxis(values, 0, -1).reshape(-1, len(values))


def decision_faults(rows: Sequence[Row]) -> list[str]:
    """Return what does not follow from the rows: shares kept, and the default type."""
    kept = {row["what"]: row["top-10 kept %"] for row in rows}
    faults = [
        f"{kind} {dtype}: {kept[f'{kind} {dtype}']:.2f} % of neighbours kept, not {least} %"
        for kind in ("vectors", "maps")
        for dtype, least in LEAST.items()
        if kept[f"{kind} {dtype}"] < least
    ]
    lossless = all(kept[f"{kind} float16"] > LOSSLESS for kind in ("vectors", "maps"))
    default = inspect.signature(RunWriter).parameters["dtype"].default
    if default != ("float16" if lossless else "float32"):
        faults.append(
            f"the default is {default}, and float16 keeps {kept['vectors float16']:.2f} %"
        )
    return faults


def main() -> int:
    """Run the benchmark; return the exit code."""
    quick = parser(__doc__, "tiny, 16 tiles, fewer turns").parse_args().quick
    report = Report(
        name="storage",
        claim="float16 keeps at least 99.5 % of the ten nearest neighbours of vectors and cells, "
        "int8 at least 90 %; the default is float16 if it keeps more than 99.9 %, else float32; "
        "pyarrow, geopandas and DuckDB read all three alike.",
        quick=quick,
    )
    across, model, n = (4, "thor_v1_tiny", 3) if quick else (8, "thor_v1_base", 7)
    with tempfile.TemporaryDirectory(prefix="thor-geo-storage-") as name:
        folder = Path(name)
        archive = make_archive(folder / "scenes", across)
        shared: dict[str, Any] = {"folder": folder, "archive": archive, "across": across}
        large = embed(**shared, model=model, tile=TILE, shard_tiles=across, batch=8)
        side = across * TILE // SMALL // 3
        many = embed(**shared, model=model, tile=SMALL, shard_tiles=side, batch=32)
        assert large.maps is not None
        vectors_rows(report, folder, many, n)
        maps_rows(report, folder, large, n)
    report.figures["vectors"] = len(many.vectors)
    report.figures["cells"] = large.maps.shape[1] * large.maps.shape[2]
    report.faults += decision_faults(report.rows)
    report.notes += [
        "Random weights: the published ones may spread values otherwise, int8 above all.",
        "Vectors are in shards of 144 tiles here; in shards of 64 they take the bytes of `bytes a "
        "tile in one shard`. Times are of everything: 9 files of vectors, one shard's map of 64 "
        "tiles, in a warm page cache; writing waits for the disk.",
        "Reading gives float32 for float32 and int8, float16 for float16.",
        "Errors: as a share of a vector's length (median and largest), and the largest of any "
        "value as a share of the largest value. Farther: how much larger the mean distance (one "
        "minus the cosine, of exact vectors) to those chosen is than to the ten nearest.",
    ]
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
