"""The rows of a run of places in the order of the table, with a bounded number in memory.

Shards hold places that are near each other, the table has them in any order: a row of the merged
file may lie in any shard. So rows are sorted into sections of the table on the disk first, and each
section in memory then; every shard is read once.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from thor_geo.checks._finished import MISSING
from thor_geo.checks._gather import Gatherer
from thor_geo.errors import RunDirectoryError, first_line
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.storage.files import readable
from thor_geo.support.arrays import Int64Array, UInt8Array
from thor_geo.support.files import temporary_path

if TYPE_CHECKING:
    import pyarrow as pa

# Memory for a section. Three times as much is in use while it is sorted.
_SECTION_BYTES = 128 << 20
# Most sections, each an open file.
_SECTIONS = 256
# Rows that are distributed at once.
_AT_ONCE = 4096


class TableOrder:
    """Rows of a run of places, skipped ones included, as the table has them.

    Attributes:
        order: Index in the plan of every row, -1 for a skipped one, in the order of the table.
    """

    def __init__(
        self,
        opened: OpenedRun,
        plan: PlacePlan,
        state: UInt8Array,
        scratch: Path,
        *,
        threads: int = 2,
        section_bytes: int = _SECTION_BYTES,
    ) -> None:
        """Initialize a new TableOrder instance.

        Args:
            opened: The run.
            plan: Its plan.
            state: State of every row by its marker; those that are missing are left out.
            scratch: A path beside which temporary files may lie.
            threads: Shards read at the same time.
            section_bytes: Memory for a section of the table.

        Raises:
            RunDirectoryError: If rows were skipped, and their file cannot be read.
        """
        done = np.flatnonzero(state != MISSING)
        self._gatherer = Gatherer(opened, state, done, threads=threads)
        self._skipped = _skipped(opened)
        skipped: Any = [] if self._skipped is None else self._skipped["place"].to_numpy()
        places = np.concatenate([plan.place[done], np.asarray(skipped, dtype=np.int64)])
        rows = np.concatenate([done, np.full(len(skipped), -1)]).astype(np.int64)
        by_place = np.argsort(places)
        self.order: Int64Array = rows[by_place]
        # Where in the file each row goes that is read, first those of shards in plan order.
        self._into = np.empty(len(rows), dtype=np.int64)
        self._into[by_place] = np.arange(len(rows))
        self._section_bytes, self._scratch = section_bytes, scratch

    @property
    def schema(self) -> pa.Schema:
        """Columns, and the footer metadata that all shards share.

        Raises:
            RunDirectoryError: If the first shard cannot be read.
        """
        return self._gatherer.schema

    def batches(self, rows: int) -> Iterator[pa.Table]:
        """Yield all rows in order, *rows* at a time, the last batch with what is left.

        Args:
            rows: Rows of a batch.

        Raises:
            RunDirectoryError: If a shard cannot be read, or differs from its marker.
        """
        read = self._read()
        first, into = next(read)
        size = max(1, first.nbytes // max(1, len(first)))
        section = max(self._section_bytes // size, -(-len(self.order) // _SECTIONS))
        section = max(rows, section // rows * rows)  # of whole batches
        with _Sections(temporary_path(self._scratch), first.schema) as sections:
            while True:
                sections.add(first, into, section)
                try:
                    first, into = next(read)
                except StopIteration:
                    break
            for table in sections.sorted():
                for start in range(0, len(table), rows):
                    yield table.slice(start, rows)

    def _read(self) -> Iterator[tuple[pa.Table, Int64Array]]:
        """Yield rows, and where in the file they go."""
        start = 0
        for table in self._gatherer.batches(_AT_ONCE):
            yield table, self._into[start : start + len(table)]
            start += len(table)
        if self._skipped is not None:
            metadata = self.schema.metadata
            if not self._skipped.schema.equals(self.schema, check_metadata=False):
                raise RunDirectoryError(
                    "pooled/skipped.parquet has other columns or types than the shards. Delete it, "
                    "and run the same `thor-geo predict` command, which writes it again."
                )
            yield self._skipped.replace_schema_metadata(metadata), self._into[start:]


class _Sections:
    """Rows in sections of the merged file: in memory if there is one, else in temporary files."""

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        self._folder, self._schema = folder, schema
        self._writers: dict[int, Any] = {}
        self._into: dict[int, list[Int64Array]] = {}

    def __enter__(self) -> _Sections:
        self._folder.mkdir(parents=True)
        return self

    def __exit__(self, *error: object) -> None:
        for writer in self._writers.values():
            with contextlib.suppress(OSError):  # a full disk must not hide what was raised
                writer.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def add(self, table: pa.Table, into: Int64Array, section: int) -> None:
        """Add rows.

        Args:
            table: The rows.
            into: Where in the file they go, (n,).
            section: Rows of a section.
        """
        import pyarrow as pa

        of = into // section
        for number in np.unique(of).tolist():
            chosen = np.flatnonzero(of == number)
            if number not in self._writers:
                # A stream may give each batch its own dictionary, a file may not.
                path = str(self._folder / f"{number}.arrows")
                self._writers[number] = pa.ipc.new_stream(path, self._schema)
                self._into[number] = []
            self._writers[number].write_table(table.take(pa.array(chosen)).combine_chunks())
            self._into[number].append(into[chosen])

    def sorted(self) -> Iterator[pa.Table]:
        """Yield the sections, sorted."""
        import pyarrow as pa

        for number in sorted(self._writers):
            self._writers[number].close()
            path = self._folder / f"{number}.arrows"
            with pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as stream:
                table = stream.read_all().unify_dictionaries().combine_chunks()
                order = np.argsort(np.concatenate(self._into.pop(number)))
                ordered = table.take(pa.array(order))
                del table
            path.unlink()
            yield ordered


def _skipped(opened: OpenedRun) -> pa.Table | None:
    """Return the rows that were skipped, None without any."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if opened.table is None or not opened.table[1]:
        return None
    try:
        table = pq.ParquetFile(readable(opened.run.skipped)).read()
        if len(table) != opened.table[1]:
            raise ValueError(f"it has {len(table)} rows, and {opened.table[1]} were skipped")
    except (pa.ArrowException, OSError, ValueError) as error:
        raise RunDirectoryError(
            f"`{opened.run.skipped}` cannot be merged ({first_line(error)}). Run the same "
            "`thor-geo predict` command, which writes it again."
        ) from error
    return table
