"""``plan.parquet``: every tile of a run, as GeoParquet from which the plan can be read back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import shapely

from thor_geo.errors import RunDirectoryError
from thor_geo.ground.lattice import Lattice
from thor_geo.ground.meeting import tile_bounds
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.ground.plan import Plan
from thor_geo.runs.geoparquet import bbox_type, geo_metadata, parquet_writer
from thor_geo.runs.place_plan_file import (
    as_place_plan,
    place_columns,
    place_fields,
    place_footer,
    place_shard_ids,
)
from thor_geo.storage import Location
from thor_geo.storage.files import readable
from thor_geo.support.antimeridian import cut_rings
from thor_geo.support.arrays import Int32Array
from thor_geo.support.jsontext import canonical_json, parse_json
from thor_geo.support.progress import PATIENCE_S, Progress, is_first_process

if TYPE_CHECKING:
    import pyarrow as pa

# Rows of a row group: bounds the memory of writing and reading.
_ROWS = 65_536
# Attributes that define a lattice.
_FIELDS = ("epsg", "tile_size", "stride", "resolution", "shard_tiles", "anchor")
# Corners of a footprint, in the order of its ring.
_CORNERS = 5
# Errors that damaged content leads to.
_DAMAGED = (OSError, KeyError, TypeError, ValueError, OverflowError, RecursionError)
_REMEDY = "Delete it and run the same `thor-geo predict` command, which writes it again."


def plan_schema(plan: Plan) -> pa.Schema:
    """Return the schema of ``plan.parquet``.

    Args:
        plan: The plan; one of places has `place_fields` besides.
    """
    import pyarrow as pa

    return pa.schema(
        [
            ("tile_id", pa.string()),
            ("shard_id", pa.string()),
            ("epsg", pa.int32()),
            ("transform", pa.list_(pa.float64(), 6)),
            ("primary", pa.bool_()),
            ("geometry", pa.binary()),
            ("bbox", bbox_type()),
            *(place_fields() if isinstance(plan, PlacePlan) else ()),
        ]
    )


def write_plan(path: Path, plan: Plan, *, rows_at_once: int = _ROWS) -> None:
    """Write every tile of a plan as GeoParquet, in plan order.

    The footer holds the lattices and the digest, from which `read_plan` restores the plan.

    Args:
        path: Target.
        plan: The plan.
        rows_at_once: Rows of a row group: bounds the memory.
    """
    import pyarrow as pa

    footer = {
        "plan": plan.digest,
        "lattices": [
            {field: getattr(lattice, field) for field in _FIELDS} for lattice in plan.lattices
        ],
        **place_footer(plan),
    }
    schema = plan_schema(plan).with_metadata(
        {
            "geo": geo_metadata(None, multi=plan.crosses_antimeridian),
            "thor_geo": canonical_json(footer),
        }
    )
    # Dictionaries pay off where values repeat; elsewhere they are built only to be discarded.
    repeating = ["shard_id", "epsg", "transform.list.element"]
    with parquet_writer(path, schema, use_dictionary=repeating) as out:
        label = "writing the plan"
        with Progress(
            len(plan), label=label, shown=is_first_process(), delay=PATIENCE_S
        ) as progress:
            for start in range(0, len(plan), rows_at_once):
                stop = min(start + rows_at_once, len(plan))
                columns = plan_columns(plan, start, stop)
                out.write_table(pa.Table.from_arrays(columns, schema=schema))
                progress.set(stop)


def read_plan(path: Location) -> Plan:
    """Read a plan written by `write_plan`; the result equals that plan, to the last tile.

    Args:
        path: The file.

    Raises:
        RunDirectoryError: If the file does not exist, is damaged, or is not a plan.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(readable(path)) as file:
            footer, lattices = _footer(file.schema_arrow.metadata)
            batches = file.iter_batches(_ROWS, columns=["epsg", "transform", "primary"])
            parts = [_integers(batch, lattices) for batch in batches]
            places: list[pa.RecordBatch] = []
            if "places" in footer:
                names = [name for name, _ in place_fields()]
                places = list(file.iter_batches(_ROWS, columns=names))
        if not parts:
            raise ValueError("it has no rows")
        zone, col, row, primary = (np.concatenate(column) for column in zip(*parts, strict=True))
        plan = Plan(lattices=lattices, zone=zone, col=col, row=row, primary=primary)
        if "places" in footer:
            plan = as_place_plan(plan, footer, places)
        if plan.digest != str(footer["plan"]):
            raise ValueError("its tiles do not match its digest")
    except FileNotFoundError as error:
        raise RunDirectoryError(
            f"`{path}` does not exist. Run the same `thor-geo predict` command, which writes it."
        ) from error
    except PermissionError as error:
        raise RunDirectoryError(f"`{path}` cannot be read ({error.strerror}).") from error
    except (*_DAMAGED, pa.ArrowException) as error:
        raise RunDirectoryError(
            f"`{path}` is damaged, or not a plan of this version ({error}). {_REMEDY}"
        ) from error
    return plan


def _footer(
    metadata: Mapping[bytes, bytes] | None,
) -> tuple[Mapping[str, Any], tuple[Lattice, ...]]:
    content = parse_json((metadata or {}).get(b"thor_geo", b"{}"))
    if not isinstance(content, dict) or not content.get("lattices"):
        raise ValueError("its footer names no lattices")
    lattices = []
    for fields in content["lattices"]:
        anchor = fields["anchor"]
        lattices.append(
            Lattice(
                **{field: fields[field] for field in _FIELDS[:-1]},
                anchor=None if anchor is None else tuple(anchor),
            )
        )
    if len({lattice.shard_tiles for lattice in lattices}) != 1:
        raise ValueError("its lattices have shards of several sizes")
    epsg = [lattice.epsg for lattice in lattices]
    if epsg != sorted(set(epsg)):
        raise ValueError("its lattices are not in order")
    return content, tuple(lattices)


def _integers(
    batch: pa.RecordBatch, lattices: tuple[Lattice, ...]
) -> tuple[npt.NDArray[np.uint8], Int32Array, Int32Array, npt.NDArray[np.bool_]]:
    """Return zone, column, row and primary flag of every tile in a batch of rows."""
    if any(batch[name].null_count for name in batch.schema.names):
        raise ValueError("it has rows without values")
    known = np.array([lattice.epsg for lattice in lattices])
    epsg = batch["epsg"].to_numpy()
    zone = np.minimum(np.searchsorted(known, epsg), len(known) - 1)
    if (known[zone] != epsg).any():
        raise ValueError("it has tiles in zones that its footer does not name")
    corner = batch["transform"].flatten().to_numpy().reshape(-1, 6)[:, [2, 5]]
    origin = np.array([lattice.origin for lattice in lattices])[zone]
    step = np.array([lattice.step * lattice.resolution for lattice in lattices])[zone, None]
    place = np.rint((corner - origin) / step)
    if not (np.abs(place) < np.iinfo(np.int32).max).all():  # NaN included
        raise ValueError("it has tiles at impossible places")
    col, row = place.astype(np.int32).T
    primary = batch["primary"].to_numpy(zero_copy_only=False)
    return zone.astype(np.uint8), np.ascontiguousarray(col), np.ascontiguousarray(row), primary


def plan_columns(plan: Plan, start: int, stop: int) -> list[pa.Array]:
    """Return some rows of the file, columns in the order of `plan_schema`.

    Args:
        plan: The plan.
        start: First tile.
        stop: Tile after the last.
    """
    import pyarrow as pa

    zone, col, row = plan.zone[start:stop], plan.col[start:stop], plan.row[start:stop]
    geometry, edges = _footprints(plan.rings(start, stop))
    k = plan.lattices[0].shard_tiles
    return [
        _ids([lattice.name for lattice in plan.lattices], zone, col, row),
        place_shard_ids(plan, start, stop)
        if isinstance(plan, PlacePlan)
        else _ids(
            [f"{lattice.name}_k{k}" for lattice in plan.lattices], zone, col // k, -(-row // k)
        ),
        pa.array(np.array([lattice.epsg for lattice in plan.lattices], dtype=np.int32)[zone]),
        _transforms(plan, zone, col, row),
        pa.array(plan.primary[start:stop]),
        geometry,
        pa.StructArray.from_arrays(
            [pa.array(edge) for edge in np.ascontiguousarray(edges.T)], fields=list(bbox_type())
        ),
        *(place_columns(plan, start, stop) if isinstance(plan, PlacePlan) else ()),
    ]


def _ids(
    names: list[str], zone: npt.NDArray[np.uint8], col: Int32Array, row: Int32Array
) -> pa.Array:
    """Return ids made of a zone's name, a column and a row."""
    import pyarrow as pa
    import pyarrow.compute as pc

    name = pa.array(names).take(pa.array(zone))
    x, y = (pa.array(values).cast(pa.string()) for values in (col, row))
    return pc.binary_join_element_wise(pc.binary_join_element_wise(name, x, "_x"), y, "_y")


def _transforms(
    plan: Plan, zone: npt.NDArray[np.uint8], col: Int32Array, row: Int32Array
) -> pa.FixedSizeListArray:
    """Return the affine coefficients (a, b, c, d, e, f) of tiles, metres."""
    import pyarrow as pa

    values = np.zeros((len(zone), 6))
    values[:, 0] = plan.lattices[0].resolution
    values[:, 4] = -values[:, 0]
    for k in np.unique(zone):
        chosen = zone == k
        left, _, _, top = tile_bounds(plan.lattices[k], col[chosen], row[chosen])
        values[chosen, 2], values[chosen, 5] = left, top
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), 6)


def _footprints(
    rings: npt.NDArray[np.float64],
) -> tuple[pa.BinaryArray, npt.NDArray[np.float64]]:
    """Return footprints as WKB, and their edges (n, 4), west, south, east, north."""
    import pyarrow as pa

    if (np.abs(rings[..., 0]) > 180).any():
        polygons = cut_rings(rings)
        return pa.array(shapely.to_wkb(polygons, byte_order=1)), shapely.bounds(polygons)
    return _polygons(rings), np.concatenate([rings.min(axis=1), rings.max(axis=1)], axis=1)


def _polygons(rings: npt.NDArray[np.float64]) -> pa.BinaryArray:
    """Return closed rings of five corners as WKB, little endian (OGC 06-103r4, clause 8)."""
    import pyarrow as pa

    records = np.empty(
        len(rings),
        dtype=[
            ("order", "u1"),
            ("type", "<u4"),
            ("rings", "<u4"),
            ("points", "<u4"),
            ("xy", "<f8", (_CORNERS, 2)),
        ],
    )
    records["order"], records["type"], records["rings"] = 1, 3, 1
    records["points"], records["xy"] = _CORNERS, rings
    width = pa.binary(records.dtype.itemsize)
    return pa.Array.from_buffers(width, len(rings), [None, pa.py_buffer(records)]).cast(pa.binary())
