"""Checking a pooled file against its marker's shard, the schema and the plan."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import shapely

from thor_geo.checks._vectors import vector_problems
from thor_geo.checks.faults import FaultKind, first_few
from thor_geo.errors import first_line
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.ground.plan import Plan, Shard
from thor_geo.runs.conventions import FOOTER_KEY
from thor_geo.runs.place_rows import PlaceFields, row_windows
from thor_geo.runs.pooled import pooled_schema, row_ids, window_name
from thor_geo.runs.shard import Dtype
from thor_geo.runs.vectors import CENTRE, EMBEDDING, vector_facts, vector_length
from thor_geo.specs import Windows
from thor_geo.storage import Location
from thor_geo.storage.files import readable
from thor_geo.support.jsontext import parse_json

if TYPE_CHECKING:
    import pyarrow as pa

#: Degrees, 0.1 mm on the ground: versions of PROJ differ in the last bits.
SAME_PLACE = 1e-9
_STATUSES = frozenset({"ok", "empty", "failed"})


@dataclass(frozen=True, kw_only=True)
class RowsExpected:
    """What the pooled files of a run have in common.

    Attributes:
        fingerprint: Fingerprint of the run.
        dimension: D; None if no file could be read to learn it: then any will do.
        dtype: Type of the embeddings.
        windows: Time windows of the composites.
        places: The further columns of a run of places; None for an area.
        centre: D', the length of the vectors of the cells that hold places; None for any.
    """

    fingerprint: str
    dimension: int | None
    dtype: Dtype
    windows: Windows
    places: PlaceFields | None = None
    centre: int | None = None


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
    path: Location, plan: Plan, shard: Shard, expected: RowsExpected
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
        with pq.ParquetFile(readable(path)) as file:
            table = file.read()
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        return None, [("file", f"cannot be read as Parquet ({first_line(error)})")]
    wanted = pooled_schema(expected.dtype, expected.places)
    if not table.schema.equals(wanted, check_metadata=False):
        return None, [("schema", _schema_difference(table.schema, wanted))]
    faults: list[tuple[FaultKind, str]] = list(_footer(table, plan, expected))
    windows = expected.windows
    if isinstance(plan, PlacePlan):
        ids = [f"place {row}" for row in table["place"].to_pylist()]
        planned = [f"place {row}" for row in plan.place[shard.start : shard.stop].tolist()]
    else:
        # Without a list of windows, the ids of tiles.
        column = "id" if windows.listed else "tile_id"
        ids, planned = table[column].to_pylist(), row_ids(plan, shard, windows)
    if ids != planned:
        return None, [*faults, ("rows", _row_difference(ids, planned))]
    faults += _names(table, plan, shard, expected)
    faults += _place(table, plan, shard, len(windows))
    faults += _values(table, expected)
    if isinstance(plan, PlacePlan):
        faults += [("place", reason) for reason in _points(table, plan, shard)]
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
        if expected.places is not None and expected.places.centre:
            length = vector_length(table.schema, CENTRE)
            if expected.centre not in (None, length):
                yield (
                    "schema",
                    f"the footer says {length} dimensions of `{CENTRE}`, most have "
                    f"{expected.centre}",
                )
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
    table: pa.Table, plan: Plan, shard: Shard, expected: RowsExpected
) -> Iterator[tuple[FaultKind, str]]:
    windows = expected.windows
    tiles = [tile.id for tile in plan.tiles(range(shard.start, shard.stop))]
    names = [window_name(window) for window in windows]
    spans = [*windows] * len(tiles)
    if isinstance(plan, PlacePlan):
        spans = row_windows(plan, shard.start, shard.stop, windows.span)
        names = [""]
        if expected.places is None or not expected.places.has_id:
            ids = row_ids(plan, shard, windows)
            if table["id"].to_pylist() != ids:
                yield "rows", f"`id` is not chip, window and place ({first_few(ids)})"
    elif table["id"].to_pylist() != [f"{tile}_{name}" for tile in tiles for name in names]:
        yield "rows", f"`id` is not tile id and window ({first_few(names)})"
    if table["tile_id"].to_pylist() != [tile for tile in tiles for _ in names]:
        yield "rows", "`tile_id` is not that of `id`"
    if set(table["shard_id"].to_pylist()) != {shard.id}:
        yield "rows", "`shard_id` is not this shard's"
    for column, times in (
        ("datetime_start", [span.start for span in spans]),
        ("datetime_end", [span.end for span in spans]),
    ):
        if table[column].to_pylist() != times:
            shown = first_few(sorted({time.isoformat() for time in times}))
            yield "rows", f"`{column}` is not {shown}"


def _points(table: pa.Table, plan: PlacePlan, shard: Shard) -> Iterator[str]:
    """Yield how places differ from the plan's."""
    rows = slice(shard.start, shard.stop)
    for column, planned in (
        ("place_lon", plan.lon[rows]),
        ("place_lat", plan.lat[rows]),
        ("offset_m", plan.offset_m[rows]),
    ):
        actual = table[column].to_numpy()  # nulls become NaN
        if wrong := int((actual != planned).sum()):
            yield f"`{column}` is not the place's in {wrong} rows"


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
    codes = np.array([lattice.epsg for lattice in plan.lattices])
    epsg = codes[plan.zone[shard.start : shard.stop]].repeat(windows)
    actual = table["epsg"].to_numpy()
    if not np.array_equal(actual, epsg):
        shown, planned = (first_few(sorted(map(str, set(a.tolist())))) for a in (actual, epsg))
        yield "place", f"`epsg` is {shown}, should be {planned}"
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
    yield from vector_problems(table, EMBEDDING, null, expected.dimension)
    if expected.places is not None and expected.places.centre:
        absent = table[CENTRE].combine_chunks().is_null().to_numpy(zero_copy_only=False)
        if np.array_equal(absent, null):
            yield from vector_problems(table, CENTRE, null, expected.centre)
        else:
            yield "values", f"`{CENTRE}` is null elsewhere than `{EMBEDDING}`"
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
