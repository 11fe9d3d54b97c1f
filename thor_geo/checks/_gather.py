"""Rows of many shards in another order, with a bounded number of shards in memory."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from thor_geo.checks._finished import FAILED
from thor_geo.errors import RunDirectoryError
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.ground.plan import Shard
from thor_geo.runs.conventions import FOOTER_KEY
from thor_geo.runs.markers import Marker
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.runs.pooled import row_ids
from thor_geo.runs.vectors import CENTRE
from thor_geo.storage import Location
from thor_geo.storage.files import below
from thor_geo.support.jsontext import parse_json

if TYPE_CHECKING:
    import pyarrow as pa

# Memory for shards of which more rows will follow. The curve leaves a shard and returns to it; a
# shard that was dropped meanwhile is read again.
_CACHE_BYTES = 64 << 20

#: Indices of rows in a run: the tiles of the plan, or with time windows more than 32 bits hold.
RowIndices = npt.NDArray[np.uint32] | npt.NDArray[np.int64]


class Gatherer:
    """Takes rows out of shards, batch by batch, while the next batch's shards are read."""

    def __init__(
        self,
        opened: OpenedRun,
        state: npt.NDArray[np.uint8],
        order: RowIndices,
        *,
        threads: int = 2,
        cache_bytes: int = _CACHE_BYTES,
    ) -> None:
        """Initialize a new Gatherer instance.

        Args:
            opened: The run.
            state: State of every row by its marker; the rows must agree.
            order: The rows in the order wanted: indices of tiles in the plan, with a list of time
                windows multiplied by their number, plus the index of a window.
            threads: Shards read at the same time.
            cache_bytes: Memory for shards between two batches.
        """
        self._opened, self._state, self._order = opened, state, order
        self._threads, self._cache_bytes = threads, cache_bytes
        self._shards = opened.plan.shards
        # First row of every shard.
        self._starts = self._shards.starts * len(opened.windows)
        self._cache: OrderedDict[int, pa.Table] = OrderedDict()
        self._bytes = 0
        self._schema: pa.Schema | None = None
        # Rows of every shard that will follow: a shard without any is dropped.
        self._remaining = np.zeros(len(self._shards), dtype=np.int32)
        for rows in np.array_split(order, max(1, len(order) // 1_000_000)):
            self._remaining += np.bincount(
                self._shard_indices(rows.astype(np.int64)), minlength=len(self._shards)
            ).astype(np.int32)

    @property
    def schema(self) -> pa.Schema:
        """Columns, and the footer metadata that all shards share.

        Raises:
            RunDirectoryError: If the first shard cannot be read.
        """
        if self._schema is None:
            first = int(self._shard_indices(self._order[:1])[0])
            schema = self._load(first).schema
            metadata = {b"thor_geo": self._opened.run.metadata.encode(), **schema.metadata}
            self._schema = schema.with_metadata(metadata)
        return self._schema

    def batches(self, rows: int) -> Iterator[pa.Table]:
        """Yield all rows in order, *rows* at a time, the last batch with what is left.

        Args:
            rows: Rows of a batch.

        Raises:
            RunDirectoryError: If a shard cannot be read, or differs from its marker.
        """
        with ThreadPoolExecutor(self._threads, thread_name_prefix="thor-geo-merge") as pool:
            try:
                loading = self._request(pool, self._order[:rows])
                for start in range(0, len(self._order), rows):
                    chosen = self._order[start : start + rows]
                    tables = {index: future.result() for index, future in loading.items()}
                    for index, table in tables.items():
                        self._check_schema(index, table)
                    self._keep(tables)
                    loading = self._request(pool, self._order[start + rows : start + 2 * rows])
                    yield self._take(chosen, tables)
            finally:
                pool.shutdown(cancel_futures=True)

    def _shard_indices(self, rows: RowIndices) -> npt.NDArray[np.int64]:
        indices: npt.NDArray[np.int64] = np.searchsorted(self._starts, rows, side="right") - 1
        return indices

    def _request(self, pool: ThreadPoolExecutor, rows: RowIndices) -> dict[int, Future[pa.Table]]:
        """Start to read the shards of some rows; those in memory are ready at once."""
        loading: dict[int, Future[pa.Table]] = {}
        for index in np.unique(self._shard_indices(rows)).tolist():
            if index in self._cache:
                ready: Future[pa.Table] = Future()
                ready.set_result(self._cache[index])
                loading[index] = ready
            else:
                loading[index] = pool.submit(self._load, index)
        return loading

    def _take(self, chosen: RowIndices, tables: dict[int, pa.Table]) -> pa.Table:
        import pyarrow as pa

        shards = self._shard_indices(chosen)
        used = np.array(sorted(tables))
        lengths = np.array([len(tables[index]) for index in used.tolist()])
        begins = np.cumsum(lengths) - lengths
        rows = begins[np.searchsorted(used, shards)] + (chosen - self._starts[shards])
        # One chunk per column: `take` on many chunks is slow.
        table = pa.concat_tables([tables[index] for index in used.tolist()]).combine_chunks()
        taken = table.take(pa.array(rows)).replace_schema_metadata(self.schema.metadata)
        np.subtract.at(self._remaining, shards, 1)
        for index in used[self._remaining[used] == 0].tolist():
            self._forget(index)
        return taken

    def _keep(self, tables: dict[int, pa.Table]) -> None:
        for index, table in tables.items():
            if index not in self._cache:
                self._bytes += table.nbytes
            self._cache[index] = table
            self._cache.move_to_end(index)
        while self._bytes > self._cache_bytes and self._cache:
            self._forget(next(iter(self._cache)))

    def _forget(self, index: int) -> None:
        table = self._cache.pop(index, None)
        if table is not None:
            self._bytes -= table.nbytes

    def _load(self, index: int) -> pa.Table:
        """Return the rows of a shard: the bytes its marker vouches for, and the plan's tiles."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        shard = self._shards[index]
        path = self._opened.run.pooled_path(shard)
        marker = Marker.read(self._opened.run.marker_path(shard))
        try:
            content = path.read_bytes()
            self._check_content(content, path, marker)
            # One thread, because several shards are read at the same time.
            with pq.ParquetFile(pa.BufferReader(content)) as file:
                table = file.read(use_threads=False)
            fingerprint = parse_json(table.schema.metadata[b"thor_geo"])["fingerprint"]
            facts = table.schema.metadata[FOOTER_KEY.encode()]
            self._check(table, shard, fingerprint)
        except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
            raise RunDirectoryError(
                f"`{path}` cannot be merged ({str(error)[:200]}). `thor-geo validate "
                f"{self._opened.run.path}` shows what is wrong; if jobs still write here, merge "
                "when they have ended."
            ) from error
        own = {FOOTER_KEY: facts}
        if CENTRE.encode() in table.schema.metadata:
            own[CENTRE] = table.schema.metadata[CENTRE.encode()]
        return table.replace_schema_metadata(own)

    def _check_content(self, content: bytes, path: Location, marker: Marker | None) -> None:
        """Refuse a file that is not the one its marker vouches for.

        Raises:
            RunDirectoryError: If its content differs.
            ValueError: If there is no marker any more, or the file has another size.
        """
        run = self._opened.run
        name = below(path, run.path)
        output = None if marker is None else marker.outputs.get(name)
        if output is None or len(content) != output.size:
            raise ValueError("it, or its marker, has changed since the merge began")
        if hashlib.sha256(content).hexdigest() != output.sha256:
            raise RunDirectoryError(
                f"`{path}` is damaged: its content is not what its marker says (sha256 differs). "
                f"Delete the marker ({run.markers / path.stem}.json) and run the same `thor-geo "
                "predict` command, which computes the shard again; then merge. Nothing was "
                f"written, and an earlier merge is untouched. `thor-geo validate {run.path}` finds "
                "all such files."
            )

    def _check_schema(self, index: int, table: pa.Table) -> None:
        if not table.schema.equals(self.schema, check_metadata=False):
            path = self._opened.run.pooled_path(self._shards[index])
            raise RunDirectoryError(
                f"`{path}` has other columns or types than the first shard. `thor-geo validate "
                f"{self._opened.run.path}` shows what is wrong."
            )

    def _check(self, table: pa.Table, shard: Shard, fingerprint: str) -> None:
        """Refuse rows that are not this shard's.

        Raises:
            ValueError: Saying why.
        """
        plan, windows = self._opened.plan, self._opened.windows
        if fingerprint != self._opened.fingerprint:
            raise ValueError("it has the fingerprint of another run")
        column = "id" if windows.listed else "tile_id"
        ids: Any = row_ids(plan, shard, windows)
        if isinstance(plan, PlacePlan):
            column, ids = "place", plan.place[shard.start : shard.stop].tolist()
        if table[column].to_pylist() != ids:
            raise ValueError("its rows are not the plan's tiles")
        failed = np.array([word == "failed" for word in table["status"].to_pylist()])
        rows = slice(shard.start * len(windows), shard.stop * len(windows))
        if not np.array_equal(failed, self._state[rows] == FAILED):
            raise ValueError("its failed tiles are not those of its marker")
