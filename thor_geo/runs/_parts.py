"""Writing rows into one GeoParquet file, or into a folder of several."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from thor_geo.errors import ConfigError
from thor_geo.writers._files import beside, sync
from thor_geo.writers.geoparquet import geo_metadata
from thor_geo.writers.pooled import pooled_writer

if TYPE_CHECKING:
    import pyarrow as pa

#: Rows of a row group: a box of some hundred kilometres' tiles, which readers skip by its bounds.
GROUP_ROWS = 4096


@contextmanager
def replacing_all(target: Path, *, folder: bool, overwrite: bool) -> Iterator[Path]:
    """Give a temporary path that becomes the target when the block succeeds.

    Args:
        target: The file or folder to make.
        folder: Whether it is a folder; it is made, empty.
        overwrite: Whether an existing one may be replaced.

    Yields:
        A path in the same folder.

    Raises:
        ConfigError: If the target exists and must not be replaced.
    """
    check_target(target, folder=folder, overwrite=overwrite)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary, old = beside(target), beside(target)
    try:
        if folder:
            temporary.mkdir()
        yield temporary
        for file in sorted(temporary.iterdir()) if folder else [temporary]:
            sync(file)
        if folder and target.exists():
            target.rename(old)  # a folder that is not empty cannot be replaced at once
        temporary.replace(target)
    finally:
        if folder:
            shutil.rmtree(temporary, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)
    sync(target.parent)


def check_target(target: Path, *, folder: bool, overwrite: bool) -> None:
    """Refuse a target that exists, or that is more than an earlier merge.

    Args:
        target: The file or folder to make.
        folder: Whether it is to be a folder.
        overwrite: Whether an existing one may be replaced.

    Raises:
        ConfigError: If it exists, and must not or cannot be replaced.
    """
    if not target.exists():
        return
    if not overwrite:
        raise ConfigError("--to", str(target), "exists", "Give another path, or --overwrite.")
    if target.is_dir() != folder:
        what = "a folder" if target.is_dir() else "a file"
        raise ConfigError("--to", str(target), f"is {what}", "Remove it, or give another path.")
    if folder and any(not path.match("part-*.parquet") for path in target.iterdir()):
        raise ConfigError(
            "--to", str(target), "holds more than an earlier merge's parts", "Give another path."
        )


class PartWriter:
    """Writes row groups into one file, or into parts of bounded size.

    Attributes:
        rows: Rows written.
        files: Files written.
        bytes: Their size.
    """

    def __init__(
        self,
        path: Path,
        schema: pa.Schema,
        *,
        max_rows: int | None = None,
        max_bytes: int | None = None,
    ) -> None:
        """Initialize a new PartWriter instance.

        Args:
            path: The file; with one of the limits, the folder of parts.
            schema: Columns and footer metadata.
            max_rows: Most rows of a part, a multiple of the rows of a batch.
            max_bytes: Size at which a part is closed, after its row group.
        """
        self._path, self._schema = path, schema
        self._max_rows, self._max_bytes = max_rows, max_bytes
        self._folder = max_rows is not None or max_bytes is not None
        self._writer: Any = None
        self._file: Any = None
        self._part_rows = 0
        self._bounds: list[np.ndarray[Any, Any]] = []
        self.rows = self.files = self.bytes = 0

    def write(self, batches: Iterable[pa.Table]) -> Iterator[int]:
        """Write batches, each as one row group; yields the rows of each when it is written."""
        try:
            for table in batches:
                if self._writer is None:
                    self._open()
                self._writer.write_table(table, row_group_size=GROUP_ROWS)
                self._bounds.append(_bounds(table))
                self._part_rows += len(table)
                self.rows += len(table)
                full = self._max_rows is not None and self._part_rows >= self._max_rows
                large = self._max_bytes is not None and self._file.tell() >= self._max_bytes
                if full or large:
                    self._close()
                yield len(table)
        finally:
            self._close()

    def _open(self) -> None:
        path = self._path / f"part-{self.files:05d}.parquet" if self._folder else self._path
        self._file = path.open("wb")
        # The page index lets readers skip within a row group, too.
        self._writer = pooled_writer(self._file, self._schema, write_page_index=True)
        self._part_rows, self._bounds = 0, []

    def _close(self) -> None:
        if self._writer is None:
            return
        writer, self._writer = self._writer, None
        try:
            edges, about = np.array(self._bounds), json.loads(geo_metadata(None))
            box = [*edges[:, :2].min(axis=0).tolist(), *edges[:, 2:].max(axis=0).tolist()]
            about["columns"]["geometry"]["bbox"] = box
            writer.add_key_value_metadata({"geo": json.dumps(about, sort_keys=True)})
            writer.close()
            self.files, self.bytes = self.files + 1, self.bytes + self._file.tell()
        finally:
            self._file.close()


def _bounds(table: pa.Table) -> np.ndarray[Any, Any]:
    """Return west, south, east, north of the covering of some rows."""
    import pyarrow.compute as pc

    struct = table["bbox"].combine_chunks()
    edges = [
        pc.min(struct.field("xmin")),
        pc.min(struct.field("ymin")),
        pc.max(struct.field("xmax")),
        pc.max(struct.field("ymax")),
    ]
    return np.array([edge.as_py() for edge in edges])
