"""``overview.parquet``: the colour and state of every row of a finished run, in one small file.

A map of the run needs nothing else but the plan. Rows are those of the pooled files, in the order
of the plan; with a list of time windows, the windows of a tile follow one another.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from thor_geo.errors import RunDirectoryError
from thor_geo.ground.plan import Plan
from thor_geo.runs.geoparquet import parquet_writer
from thor_geo.runs.reading import read_markers
from thor_geo.runs.rundir import RunDirectory
from thor_geo.specs.windows import time_axis
from thor_geo.storage.files import write_bytes
from thor_geo.support.arrays import BoolArray, Float32Array, UInt8Array
from thor_geo.support.jsontext import canonical_json, parse_json

if TYPE_CHECKING:
    import pyarrow as pa

# Errors that damaged content leads to.
_DAMAGED = (OSError, KeyError, TypeError, ValueError, OverflowError, RecursionError)
#: Version of the file's layout.
LAYOUT = 1
#: States of a row, as pooled files name them.
STATES = ("ok", "empty", "failed")
_OK = STATES.index("ok")
_COLOURS = ("red", "green", "blue")
# The columns of a table of places, which may have any names, in a column of their own.
_TABLE = "columns"


@dataclass(frozen=True, kw_only=True, eq=False)
class Overview:
    """What a first map of a run shows of its N rows.

    Attributes:
        fingerprint: Fingerprint of the run.
        digest: `MarkedRows.digest` of the vectors that it was made of.
        dimension: D, the length of a vector.
        share: Share of the variance in red, green and blue.
        rgb: Colour of each row's vector, (N, 3) uint8; 0 without one.
        state: Index in `STATES`, (N,) uint8.
        observations: Mean clear observations, (N,) float32; NaN where a row failed.
        columns: The table's columns of a run of places, N rows; None without any.
    """

    fingerprint: str
    digest: str
    dimension: int
    share: tuple[float, float, float]
    rgb: UInt8Array
    state: UInt8Array
    observations: Float32Array
    columns: pa.Table | None

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.state)

    @property
    def embedded(self) -> BoolArray:
        """Whether each row has a vector, (N,)."""
        embedded: BoolArray = self.state == _OK
        return embedded

    def counts(self) -> dict[str, int]:
        """Return the number of rows in each state."""
        return {name: int((self.state == k).sum()) for k, name in enumerate(STATES)}

    def write(self, run: RunDirectory) -> None:
        """Write the file whole; equal overviews give equal bytes.

        Args:
            run: The run directory.

        Raises:
            OSError: If it cannot be written.
        """
        import pyarrow as pa

        none = ~self.embedded
        columns: dict[str, Any] = {
            name: pa.array(np.ascontiguousarray(self.rgb[:, k]), mask=none)
            for k, name in enumerate(_COLOURS)
        }
        states = pa.DictionaryArray.from_arrays(pa.array(self.state), pa.array(STATES))
        columns["status"] = states.cast(pa.string())
        columns["observations_mean"] = pa.array(self.observations, mask=np.isnan(self.observations))
        if self.columns is not None:
            columns[_TABLE] = self.columns.to_struct_array().combine_chunks()
        about = {
            "layout": LAYOUT,
            "fingerprint": self.fingerprint,
            "digest": self.digest,
            "dimension": self.dimension,
            "share": list(self.share),
        }
        table = pa.table(columns).replace_schema_metadata({"thor_geo": canonical_json(about)})
        content = io.BytesIO()
        with parquet_writer(content, table.schema) as out:
            out.write_table(table, row_group_size=max(1, len(table)))
        write_bytes(run.overview, content.getvalue())


def read_overview(run: RunDirectory, plan: Plan) -> Overview | None:
    """Read the overview of a run; None if it has none.

    Args:
        run: The run directory.
        plan: Its plan.

    Raises:
        RunDirectoryError: If it is damaged, or of another run.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # All of it is read: one request.
        with pq.ParquetFile(io.BytesIO(run.overview.read_bytes())) as file:
            about = _about(file.schema_arrow.metadata)
            if about["fingerprint"] != run.fingerprint:
                raise ValueError("it belongs to another run")
            table = file.read(use_threads=False)
        rows = len(plan) * len(time_axis(run.document()["settings"]["data"]))
        if len(table) != rows:
            raise ValueError(f"it has {len(table):,} rows, the run has {rows:,}")
        return _unpacked(about, table)
    except FileNotFoundError:
        return None
    except (*_DAMAGED, pa.ArrowException) as error:
        raise RunDirectoryError(
            f"`{run.overview}` cannot be used ({error!s:.200}). Delete it: the same `thor-geo "
            "predict` command writes it again, and without it the vectors are read."
        ) from error


def _about(metadata: Mapping[bytes, bytes] | None) -> Mapping[str, Any]:
    about = parse_json((metadata or {}).get(b"thor_geo", b"{}"))
    if not isinstance(about, dict) or about.get("layout") != LAYOUT:
        raise ValueError(f"its footer does not say that its layout is {LAYOUT}")
    return about


def _unpacked(about: Mapping[str, Any], table: pa.Table) -> Overview:
    import pyarrow as pa
    import pyarrow.compute as pc

    state = pc.index_in(table["status"].combine_chunks(), pa.array(STATES))
    if state.null_count:
        raise ValueError("it has rows in unknown states")
    kept = table[_TABLE].combine_chunks() if _TABLE in table.column_names else None
    red, green, blue = map(float, about["share"])
    overview = Overview(
        fingerprint=str(about["fingerprint"]),
        digest=str(about["digest"]),
        dimension=int(about["dimension"]),
        share=(red, green, blue),
        rgb=np.stack([pc.fill_null(table[c], 0).to_numpy() for c in _COLOURS], axis=1),
        state=state.to_numpy().astype(np.uint8),
        observations=table["observations_mean"].to_numpy().astype(np.float32),
        columns=None if kept is None else pa.Table.from_struct_array(kept),
    )
    if any((table[name].is_valid().to_numpy() != overview.embedded).any() for name in _COLOURS):
        raise ValueError("its colours are not those of the rows that have a vector")
    return overview


class MarkedRows(NamedTuple):
    """What markers say of all rows of a run whose shards are all done.

    Attributes:
        digest: Checksum of the pooled files, as the markers state them.
        observations: Mean clear observations, (N,) float32; NaN where a row failed.
    """

    digest: str
    observations: Float32Array


def marked_rows(run: RunDirectory, plan: Plan) -> MarkedRows | None:
    """Read the markers of a run; None if a shard is not done.

    Args:
        run: The run directory, with pooled files.
        plan: Its plan.

    Raises:
        RunDirectoryError: If a marker cannot be read.
    """
    windows = len(time_axis(run.document()["settings"]["data"]))
    digest = hashlib.sha256(run.fingerprint.encode())
    observations = np.empty(len(plan) * windows, dtype=np.float32)
    for shard, marker in read_markers(run, plan, range(len(plan.shards))):
        name = f"{run.pooled.name}/{run.pooled_path(shard).name}"
        if (
            marker is None
            or marker.fingerprint != run.fingerprint
            or marker.tiles != len(shard) * windows
            or name not in marker.outputs
        ):
            return None
        digest.update(f"\n{name} {marker.outputs[name].sha256}".encode())
        observations[shard.start * windows : shard.stop * windows] = [
            np.nan if mean is None else mean for mean in marker.observations_mean
        ]
    return MarkedRows(digest.hexdigest(), observations)
