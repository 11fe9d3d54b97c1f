"""A path in an object store: what `pathlib.Path` is in a folder, as far as a store has it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import total_ordering
from pathlib import PurePosixPath

from thor_geo.storage import requests
from thor_geo.storage.address import StoreAddress


@total_ordering
class StorePath:
    """An object, or all objects below a prefix; immutable, picklable, nothing is connected.

    A store has no folders, so there is nothing to make and nothing to rename, and `exists` asks for
    an object. What is written is there whole or not at all.

    It is no `os.PathLike`: a library that opens files by name fails at once instead of looking for
    a local file.

    Attributes:
        address: The root.
        key: Path below it; ``.`` is the root.
    """

    __slots__ = ("address", "key")

    def __init__(self, address: StoreAddress, key: str | PurePosixPath = ".") -> None:
        """Initialize a new StorePath instance.

        Args:
            address: The root.
            key: Path below it.
        """
        self.address, self.key = address, PurePosixPath(key)

    def __truediv__(self, name: str | PurePosixPath) -> StorePath:
        """Return a path below this one."""
        return StorePath(self.address, self.key / name)

    def __str__(self) -> str:
        """Return the address."""
        return self.address.url if self.key == PurePosixPath() else f"{self.address.url}/{self.key}"

    def __repr__(self) -> str:
        """Return the class and the address."""
        return f"StorePath('{self}')"

    def __eq__(self, other: object) -> bool:
        """Return whether both are one object of one store."""
        if not isinstance(other, StorePath):
            return NotImplemented
        return (self.address, self.key) == (other.address, other.key)

    def __lt__(self, other: StorePath) -> bool:
        """Return whether this one comes first by its name."""
        return str(self) < str(other)

    def __hash__(self) -> int:
        """Return a hash that is equal for equal paths."""
        return hash((self.address, self.key))

    @property
    def name(self) -> str:
        """The last part of the path."""
        return PurePosixPath(str(self)).name

    @property
    def stem(self) -> str:
        """The last part without its suffix."""
        return self.key.stem

    @property
    def suffix(self) -> str:
        """The suffix of the last part, with its dot."""
        return self.key.suffix

    @property
    def parent(self) -> StorePath:
        """The path above this one; the root is its own parent."""
        return StorePath(self.address, self.key.parent)

    def with_suffix(self, suffix: str) -> StorePath:
        """Return the path with another suffix."""
        return StorePath(self.address, self.key.with_suffix(suffix))

    def with_name(self, name: str) -> StorePath:
        """Return the path with another last part."""
        return StorePath(self.address, self.key.with_name(name))

    def relative_to(self, other: StorePath) -> PurePosixPath:
        """Return the path below another one of the same store.

        Raises:
            ValueError: If it does not lie below.
        """
        if self.address != other.address:
            raise ValueError(f"{self} does not lie below {other}")
        return self.key.relative_to(other.key)

    def exists(self) -> bool:
        """Return whether there is such an object.

        Raises:
            StoreError: If the store does not say.
        """
        return self.size() is not None

    def size(self) -> int | None:
        """Return the object's size in bytes, None where there is no such object.

        Raises:
            StoreError: If the store does not say.
        """
        return requests.size(self.address, str(self.key))

    def modified(self) -> float | None:
        """Return when the object was written, seconds since 1970, None where there is none.

        Raises:
            StoreError: If the store does not say.
        """
        return requests.modified(self.address, str(self.key))

    def read_bytes(self) -> bytes:
        """Return the object's content.

        Raises:
            FileNotFoundError: If there is no such object.
            StoreError: If it cannot be read.
        """
        return requests.read(self.address, str(self.key))

    def read_range(self, start: int, length: int) -> bytes:
        """Return part of the object's content.

        Args:
            start: First byte.
            length: Number of bytes, at least 1; all must exist.

        Raises:
            FileNotFoundError: If there is no such object.
            StoreError: If it cannot be read.
        """
        return requests.read_range(self.address, str(self.key), start, length)

    def read_start(self, length: int) -> tuple[bytes, int]:
        """Return the object's first bytes, and its size: in one request.

        Args:
            length: Number of bytes; fewer come if the object is shorter.

        Raises:
            FileNotFoundError: If there is no such object.
            StoreError: If it cannot be read, or a web server ignores ranges.
        """
        return requests.read_start(self.address, str(self.key), length)

    def put(self, content: bytes) -> None:
        """Write the object whole; another with its name is replaced.

        Raises:
            StoreError: If it cannot be written.
        """
        requests.put(self.address, str(self.key), content)

    def put_if_absent(self, content: bytes) -> bool:
        """Write the object unless it exists; of several writers the first wins.

        Returns:
            Whether the object has this content now; False only if it existed with another.

        Raises:
            StoreError: If it cannot be written, or the store cannot decide between writers.
        """
        return requests.put_if_absent(self.address, str(self.key), content)

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove the object.

        Args:
            missing_ok: Whether it need not exist; a store does not say whether it did.

        Raises:
            StoreError: If it cannot be removed.
        """
        requests.remove(self.address, str(self.key))

    def names(self) -> Iterator[str]:
        """Yield the names that follow this path, of objects and of prefixes, in order.

        Raises:
            StoreError: If they cannot be listed, as on web servers.
        """
        yield from requests.names(self.address, str(self.key))

    def files(self) -> Iterator[StorePath]:
        """Yield all objects below this path, in order of their names.

        Raises:
            StoreError: If they cannot be listed, as on web servers.
        """
        for key in requests.keys(self.address, str(self.key)):
            yield StorePath(self.address, key)
