"""The one interface to folders and stores: what is written is there whole, or not at all.

In a folder a file is written under another name and then given its own; in a store it is one put.
Where the first of several writers wins, that is a link in a folder, and a conditional put in a
store.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

from thor_geo.storage.location import Location
from thor_geo.storage.store_path import StorePath
from thor_geo.support import files

#: Bytes that are read at once of a file in a store, and kept: Parquet's footers and columns are
#: read in pieces of a few hundred bytes. A file that is not larger is one request.
_READ_AHEAD = 1 << 18
#: Threads that read many files: more than cores, as they wait; most of all for a store's answers.
_READERS, _STORE_READERS = 8, 32


def write_bytes(path: Location, content: bytes) -> None:
    """Write a whole file, or leave what was there; it survives a crash of the machine."""
    if isinstance(path, StorePath):
        path.put(content)
    else:
        files.write_bytes(path, content)


def write_all(root: Location, contents: Mapping[str, bytes | None]) -> None:
    """Write several files whole, in a store side by side.

    Args:
        root: The folder.
        contents: Their contents, by path below it; None removes the file, if there is one.
    """
    if isinstance(root, StorePath):
        with ThreadPoolExecutor(len(contents) or 1, thread_name_prefix="thor-geo-put") as pool:
            # All are waited for, so that no put is under way when an error is raised.
            puts = [pool.submit(_write, root / name, each) for name, each in contents.items()]
        for put in puts:
            put.result()
        return
    for name, content in contents.items():
        _write(root / name, content)


def _write(path: Location, content: bytes | None) -> None:
    if content is None:
        path.unlink(missing_ok=True)
    else:
        write_bytes(path, content)


def create_once(path: Location, write: Callable[[Path], object]) -> bool:
    """Create a file unless it exists; of several processes the first wins.

    Args:
        path: Target.
        write: Writes the whole file to the path of this machine that it is given.

    Returns:
        Whether the file has this content now. If not, the caller compares.
    """
    if not isinstance(path, StorePath):
        return files.create_once(path, write)
    if path.exists():
        return False
    with _scratch(path) as temporary:
        write(temporary)
        return path.put_if_absent(temporary.read_bytes())


@contextmanager
def atomic_path(path: Location) -> Iterator[Path]:
    """Give a path of this machine to write to; its file takes the place of *path* on success.

    Args:
        path: Target.

    Yields:
        A path that does not exist yet, with the target's suffix.
    """
    if not isinstance(path, StorePath):
        with files.atomic_path(path) as temporary:
            yield temporary
        return
    with _scratch(path) as temporary:
        yield temporary
        path.put(temporary.read_bytes())


@contextmanager
def _scratch(path: StorePath) -> Iterator[Path]:
    with TemporaryDirectory(prefix="thor-geo-store-") as folder:
        yield Path(folder) / path.name


def size_of(path: Location) -> int | None:
    """Return the size of a file in bytes, None where there is none."""
    if isinstance(path, StorePath):
        return path.size()
    try:
        return path.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return None


def modified(path: Location) -> float | None:
    """Return when a file or folder was written, seconds since 1970, None where there is none."""
    if isinstance(path, StorePath):
        return path.modified()
    try:
        return path.stat().st_mtime
    except (FileNotFoundError, NotADirectoryError):
        return None


def sha256_of(path: Location) -> str:
    """Return the sha256 of a file's content as 64 hexadecimal digits."""
    if isinstance(path, StorePath):
        return hashlib.sha256(path.read_bytes()).hexdigest()
    return files.file_sha256(path)


def below(path: Location, root: Location) -> str:
    """Return a path below another one, with forward slashes.

    Raises:
        ValueError: If it does not lie below.
    """
    if isinstance(path, StorePath) and isinstance(root, StorePath):
        return str(path.relative_to(root))
    if isinstance(path, Path) and isinstance(root, Path):
        return path.relative_to(root).as_posix()
    raise ValueError(f"{path} does not lie below {root}")


def names_in(path: Location) -> Iterator[str]:
    """Yield the names in a folder, in any order; none if it is missing or not a folder."""
    if isinstance(path, StorePath):
        yield from path.names()
        return
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                yield entry.name
    except (FileNotFoundError, NotADirectoryError):
        return


def files_below(path: Location) -> list[Location]:
    """Return all files below a folder, in order of their names; none where there is no folder.

    In a store it is a request for each thousand: never do it where a run starts.
    """
    if isinstance(path, StorePath):
        return list(path.files())
    return sorted(found for found in path.rglob("*") if found.is_file())


def readers_of(path: Location) -> int:
    """Return how many threads should read the many files below a path side by side."""
    return _STORE_READERS if isinstance(path, StorePath) else _READERS


def readable(path: Location) -> Path | IO[bytes]:
    """Return what pyarrow and others open for reading: a path, or a file in a store.

    Raises:
        FileNotFoundError: If there is no such object in a store.
    """
    if not isinstance(path, StorePath):
        return path
    start, size = path.read_start(_READ_AHEAD)
    if len(start) == size:
        return io.BytesIO(start)
    return io.BufferedReader(_StoreFile(path, size), buffer_size=_READ_AHEAD)


class _StoreFile(io.RawIOBase):
    """A file in a store, read by range."""

    def __init__(self, path: StorePath, size: int) -> None:
        super().__init__()
        self._path, self._size, self._at = path, size, 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to an offset from the start, from here or from the end."""
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = origin + offset
        return self._at

    def tell(self) -> int:
        """Return the offset from the start."""
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer; return the number of bytes."""
        wanted = min(len(buffer), self._size - self._at)
        if wanted <= 0:
            return 0
        buffer[:wanted] = self._path.read_range(self._at, wanted)
        self._at += wanted
        return wanted
