"""Checking a pooled file against its marker's shard, the schema and the plan."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import shapely

from thor_geo.checks.faults import FaultKind, first_few
from thor_geo.errors import first_line
from thor_geo.ground.plan import Plan, Shard
from thor_geo.runs.conventions import FOOTER_KEY
from thor_geo.runs.pooled import pooled_schema, row_ids, window_name
from thor_geo.runs.quantise import NODATA, is_scale, is_scale_of
from thor_geo.runs.shard import Dtype
from thor_geo.runs.vectors import vector_facts, vector_length
from thor_geo.specs import Windows
from thor_geo.support.jsontext import parse_json

if TYPE_CHECKING:
    import pyarrow as pa

#: Degrees, 0.1 mm on the ground: versions of PROJ differ in the last bits.
SAME_PLACE = 1e-9
#: The condition for codes to fit their scale.
OWN_SCALE = "the largest code must be 127 or -127; 0 where the scale is 0"
_STATUSES = frozenset({"ok", "empty", "failed"})


@dataclass(frozen=True, kw_only=True)
class RowsExpected:
    """What the pooled files of a run have in common.

    Attributes:
        fingerprint: Fingerprint of the run.
        dimension: D; None if no file could be read to learn it: then any will do.
        dtype: Type of the embeddings.
        windows: Time windows of the composites.
    """

    fingerprint: str
    dimension: int | None
    dtype: Dtype
    windows: Windows


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The parts of a pooled file that are compared with marker and failures.

    Attributes:
        status: Status of every row.
        error: Error of every row, None without one.
        scenes: Distinct scenes of all rows.
    """

    status: list[str]
    error: list[str | None]
    scenes: frozenset[str]


def check_rows(
    path: Path, plan: Plan, shard: Shard, expected: RowsExpected
) -> tuple[Rows | None, list[tuple[FaultKind, str]]]:
    """Check one pooled file.

    Args:
        path: ``pooled/<shard_id>.parquet``.
        plan: A plan that holds the shard.
        shard: The shard.
        expected: What all files of the run have in common.

    Returns:
        The content of the rows, None if it cannot be read; and kind and reason of every fault.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            table = file.read()
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        return None, [("file", f"cannot be read as Parquet ({first_line(error)})")]
    wanted = pooled_schema(expected.dtype)
    if not table.schema.equals(wanted, check_metadata=False):
        return None, [("schema", _schema_difference(table.schema, wanted))]
    faults: list[tuple[FaultKind, str]] = list(_footer(table, plan, expected))
    windows = expected.windows
    # Without a list of windows, the ids of tiles.
    column = "id" if windows.listed else "tile_id"
    ids, planned = table[column].to_pylist(), row_ids(plan, shard, windows)
    if ids != planned:
        return None, [*faults, ("rows", _row_difference(ids, planned))]
    faults += _names(table, plan, shard, windows)
    faults += _place(table, plan, shard, len(windows))
    faults += _values(table, expected)
    scenes = {scene for row in table["source_ids"].to_pylist() if row for scene in row if scene}
    rows = Rows(
        status=[str(word) for word in table["status"].to_pylist()],
        error=table["error"].to_pylist(),
        scenes=frozenset(scenes),
    )
    return rows, faults


def _schema_difference(actual: pa.Schema, wanted: pa.Schema) -> str:
    if actual.names != wanted.names:
        missing = [name for name in wanted.names if name not in actual.names]
        extra = [name for name in actual.names if name not in wanted.names]
        return (
            f"columns differ: missing {first_few(missing) or 'none'}, "
            f"unknown {first_few(extra) or 'none'}"
            + ("" if missing or extra else ", another order")
        )
    for column, expected in zip(actual, wanted, strict=True):
        if not column.equals(expected):
            return f"column {column.name} is {column.type}, should be {expected.type}"
    return "the schema differs"


def _row_difference(ids: list[Any], planned: list[str]) -> str:
    counts, wanted = Counter(ids), set(planned)
    problems = {
        "missing": [tile for tile in planned if tile not in counts],
        "twice": [str(tile) for tile, count in counts.items() if count > 1],
        "not of this shard": [str(tile) for tile in counts if tile not in wanted],
    }
    reasons = [
        f"{len(tiles)} {problem} ({first_few(tiles)})"
        for problem, tiles in problems.items()
        if tiles
    ]
    return f"{len(ids)} rows for {len(planned)} tiles: " + (
        "; ".join(reasons) or "not in the plan's order"
    )


def _footer(table: pa.Table, plan: Plan, expected: RowsExpected) -> Iterator[tuple[FaultKind, str]]:
    metadata = table.schema.metadata or {}
    try:
        about = parse_json(metadata[b"thor_geo"])
        if about["fingerprint"] != expected.fingerprint:
            yield "schema", "the footer has the fingerprint of another run"
        length = vector_length(table.schema)
        if expected.dimension not in (None, length):
            yield "schema", f"the footer says {length} dimensions, most have {expected.dimension}"
        text = metadata[b"thor_geo"].decode()
        facts = vector_facts(text, plan, length, expected.dtype)
        if metadata[FOOTER_KEY.encode()] != facts:
            yield "schema", f"the footer's `{FOOTER_KEY}` does not fit its `thor_geo`"
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        problem = f"`thor_geo` or `{FOOTER_KEY}` is missing or damaged ({first_line(error)})"
        yield "schema", f"the footer's {problem}"
    try:
        geo = parse_json(metadata[b"geo"])
        column = geo["columns"]["geometry"]
        bounds = np.asarray(column["bbox"], dtype=np.float64)
        good = geo["primary_column"] == "geometry" and column["encoding"] == "WKB"
        if not good or "crs" in column or column["covering"]["bbox"]["xmin"] != ["bbox", "xmin"]:
            yield "place", "the footer's `geo` is not that of WKB polygons in OGC:CRS84"
        elif len(table) and not np.array_equal(bounds, _total(_edges(table))):
            yield "place", f"the footer's bbox {bounds.tolist()} is not that of the rows"
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        yield "schema", f"the footer's `geo` is missing or damaged ({first_line(error)})"


def _names(
    table: pa.Table, plan: Plan, shard: Shard, windows: Windows
) -> Iterator[tuple[FaultKind, str]]:
    tiles = [tile.id for tile in plan.tiles(range(shard.start, shard.stop))]
    names = [window_name(window) for window in windows]
    if table["id"].to_pylist() != [f"{tile}_{name}" for tile in tiles for name in names]:
        yield "rows", f"`id` is not tile id and window ({first_few(names)})"
    if table["tile_id"].to_pylist() != [tile for tile in tiles for _ in names]:
        yield "rows", "`tile_id` is not that of `id`"
    if set(table["shard_id"].to_pylist()) != {shard.id}:
        yield "rows", "`shard_id` is not this shard's"
    for column, times in (
        ("datetime_start", [window.start for window in windows]),
        ("datetime_end", [window.end for window in windows]),
    ):
        if table[column].to_pylist() != times * len(tiles):
            yield "rows", f"`{column}` is not {first_few([time.isoformat() for time in times])}"


def _edges(table: pa.Table) -> npt.NDArray[np.float64]:
    struct = table["bbox"].combine_chunks()
    return np.stack(
        [
            struct.field(edge).to_numpy(zero_copy_only=False)
            for edge in ("xmin", "ymin", "xmax", "ymax")
        ],
        axis=1,
    )


def _total(edges: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.concatenate([edges[:, :2].min(axis=0), edges[:, 2:].max(axis=0)])


def _place(
    table: pa.Table, plan: Plan, shard: Shard, windows: int
) -> Iterator[tuple[FaultKind, str]]:
    """Compare CRS, transform, polygon, covering and `primary` with the plan's, window by window."""
    for column in ("epsg", "transform", "geometry", "bbox", "primary"):
        if table[column].null_count:
            yield "place", f"`{column}` is null in {table[column].null_count} rows"
            return
    epsg = set(table["epsg"].to_pylist())
    if epsg != {shard.epsg}:
        yield "place", f"`epsg` is {first_few(sorted(map(str, epsg)))}, should be {shard.epsg}"
    tiles = plan.tiles(range(shard.start, shard.stop))
    transforms = np.array([tile.transform for tile in tiles]).repeat(windows, axis=0)
    actual = np.array(table["transform"].to_pylist(), dtype=np.float64)
    wrong = int((actual != transforms).any(axis=1).sum())
    if wrong:
        yield "place", f"`transform` is not the tile's in {wrong} rows"
    polygons = plan.footprints(shard.start, shard.stop).repeat(windows)
    geometry = shapely.from_wkb(table["geometry"].to_pylist(), on_invalid="ignore")
    same = shapely.equals_exact(geometry, polygons, tolerance=SAME_PLACE)
    if not same.all():
        yield "place", f"`geometry` is not the tile's footprint in {int((~same).sum())} rows"
        return
    wrong = int((_edges(table) != shapely.bounds(geometry)).any(axis=1).sum())
    if wrong:
        yield "place", f"`bbox` is not that of the geometry in {wrong} rows"
    primary = np.array(table["primary"].to_pylist(), dtype=np.bool_)
    if not np.array_equal(primary, plan.primary[shard.start : shard.stop].repeat(windows)):
        yield "place", "`primary` is not the plan's"


def _values(table: pa.Table, expected: RowsExpected) -> Iterator[tuple[FaultKind, str]]:
    """Check that a row has the values that go with its status, and no others."""
    status = np.array(table["status"].to_pylist(), dtype=object)
    unknown = sorted(map(str, set(status.tolist()) - _STATUSES))
    if unknown:
        yield "values", f"unknown status {first_few(unknown)}"
        return
    ok, failed = status == "ok", status == "failed"
    vectors = table["embedding"].combine_chunks()
    null = vectors.is_null().to_numpy(zero_copy_only=False)
    if (ok & null).any():
        yield "values", f"{int((ok & null).sum())} tiles are ok and have no embedding"
    if (~ok & ~null).any():
        yield "values", f"{int((~ok & ~null).sum())} tiles are not ok and have an embedding"
    yield from _vectors(table, null, expected.dimension)
    for column in ("valid_fraction", "observations_mean", "n_scenes", "source_ids"):
        absent = table[column].combine_chunks().is_null().to_numpy(zero_copy_only=False)
        if not np.array_equal(absent, failed):
            yield "values", f"`{column}` is null elsewhere than in failed tiles"
    has_error = ~table["error"].combine_chunks().is_null().to_numpy(zero_copy_only=False)
    if not np.array_equal(has_error, failed):
        yield "values", "`error` is set elsewhere than in failed tiles"
    valid = table["valid_fraction"].combine_chunks().to_numpy(zero_copy_only=False)
    if not (((valid > 0) & (valid <= 1)) == ok)[~failed].all():
        yield "values", "`valid_fraction` does not agree with `status`"
    counts = table["n_scenes"].to_pylist()
    scenes = [None if row is None else len(row) for row in table["source_ids"].to_pylist()]
    if counts != scenes:
        yield "values", "`n_scenes` is not the number of `source_ids`"


def _vectors(
    table: pa.Table, null: npt.NDArray[np.bool_], dimension: int | None
) -> Iterator[tuple[FaultKind, str]]:
    """Check the elements of the vectors, and the scales of int8.

    Args:
        table: The rows.
        null: Which of them have no vector.
        dimension: D; None for that of the first vector.
    """
    vectors = table["embedding"].combine_chunks().drop_null()
    lengths = vectors.value_lengths().to_numpy(zero_copy_only=False)
    length = dimension or (int(lengths[0]) if len(lengths) else 1)
    if (wrong := int((lengths != length).sum())) > 0:
        yield "values", f"{wrong} embeddings do not have {length} elements"
        return
    coded = "scale" in table.column_names
    # Nulls among floats become NaN; among integers they would turn all values into floats.
    elements = vectors.flatten().fill_null(NODATA) if coded else vectors.flatten()
    numbers = elements.to_numpy(zero_copy_only=False).reshape(-1, length)
    whole = (numbers != NODATA if coded else np.isfinite(numbers)).all(axis=1)
    if not whole.all():
        invalid = NODATA if coded else "NaN, infinity"
        yield "values", f"{int((~whole).sum())} embeddings hold {invalid} or null"
    if coded:
        yield from _scales(table["scale"].combine_chunks(), null, numbers, whole)


def _scales(
    scales: pa.Array,
    null: npt.NDArray[np.bool_],
    codes: npt.NDArray[np.int8],
    whole: npt.NDArray[np.bool_],
) -> Iterator[tuple[FaultKind, str]]:
    """Check that every int8 vector has a scale that fits it, and that no other row has one.

    Args:
        scales: The column.
        null: Which rows have no vector.
        codes: (n, D), the vectors of the others.
        whole: (n,), which of them are complete.
    """
    numbers = scales.drop_null().to_numpy(zero_copy_only=False)
    good = is_scale(numbers)
    if not good.all():
        yield "values", f"{int((~good).sum())} scales are negative, NaN or too large"
    if not np.array_equal(scales.is_null().to_numpy(zero_copy_only=False), null):
        yield "values", "`scale` is null elsewhere than `embedding`"
        return
    largest = np.abs(codes.astype(np.int16)).max(axis=1)
    wrong = int((whole & good & ~is_scale_of(largest, numbers)).sum())
    if wrong:
        yield "values", f"{wrong} embeddings do not match their scales ({OWN_SCALE})"
