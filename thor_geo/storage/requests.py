"""Requests to object stores: asked again where that may help, counted, their errors put in words.

obstore 0.12 asks again itself, but says nothing of it, and not for a conditional put that got no
answer: that may have been done, so that asking again may find "exists", of one's own making. Here
the content decides: if it is there, it is written, whoever wrote it.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal, TypeVar, get_args

from thor_geo.errors import StoreError
from thor_geo.storage.address import StoreAddress
from thor_geo.storage.clients import client
from thor_geo.storage.wording import explanation, is_absent, may_help

T = TypeVar("T")
Kind = Literal["get", "put", "head", "list", "delete"]
KINDS: tuple[Kind, ...] = get_args(Kind)

#: Times a request is made, at most, and seconds between the first and the last, about: the waits
#: double from `_FIRST_WAIT_S` to `_LONGEST_WAIT_S`, each shortened by up to half at random.
_ATTEMPTS, _FIRST_WAIT_S, _LONGEST_WAIT_S = 10, 0.1, 15.0
#: Up to here an object is one request; S3 takes 5 GiB in one.
_ONE_REQUEST_BYTES = 1 << 30
_PART_BYTES = 64 << 20
# A bucket may be a web site. Without a type, browsers save a page or a picture.
_CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".parquet": "application/vnd.apache.parquet",
}


@dataclass(kw_only=True)
class StoreCounts:
    """What this process has asked of stores.

    Attributes:
        get: Requests for content, whole or in part.
        put: Requests that wrote.
        head: Requests for a size.
        list: Requests for names.
        delete: Requests that removed.
        repeated: How many of all these were made again because one before had failed.
        bytes_read: Bytes of content.
        bytes_written: Bytes of content.
    """

    get: int = 0
    put: int = 0
    head: int = 0
    list: int = 0
    delete: int = 0
    repeated: int = 0
    bytes_read: int = 0
    bytes_written: int = 0

    def as_dict(self) -> dict[str, float]:
        """Return the counts that are not zero, by name."""
        return {name: value for name, value in vars(self).items() if value}


class NewRequests:
    """What this process has asked of stores since this was made, or told last."""

    def __init__(self) -> None:
        """Initialize a new NewRequests instance."""
        self._told = counted()
        self._telling = threading.Lock()

    def take(self) -> dict[str, float]:
        """Return the counts that are not zero, by name; the next call begins after them."""
        with self._telling:  # shards are written side by side
            now, before = counted(), self._told
            self._told = now
        new = {name: value - before.get(name, 0) for name, value in now.items()}
        return {name: value for name, value in new.items() if value}


_counts = StoreCounts()
_counting = threading.Lock()


def counted() -> dict[str, float]:
    """Return what this process has asked of stores so far; see `StoreCounts`."""
    with _counting:
        return _counts.as_dict()


def _count(**more: int) -> None:
    with _counting:
        for name, value in more.items():
            setattr(_counts, name, getattr(_counts, name) + value)


def size(address: StoreAddress, key: str) -> int | None:
    """Return the size of an object in bytes, None where there is none; see `StorePath.size`."""
    found = _head(address, key)
    return None if found is None else int(found["size"])


def modified(address: StoreAddress, key: str) -> float | None:
    """Return when an object was written, None where there is none; see `StorePath.modified`."""
    found = _head(address, key)
    return None if found is None else float(found["last_modified"].timestamp())


def _head(address: StoreAddress, key: str) -> Any:
    """Return what a store says of an object without its content, None where there is none."""
    import obstore

    try:
        return _asked(address, key, "head", lambda store: obstore.head(store, key))
    except FileNotFoundError:
        return None


def read(address: StoreAddress, key: str) -> bytes:
    """Return the content of an object; see `StorePath.read_bytes`."""
    import obstore

    content: bytes = _asked(
        address, key, "get", lambda store: obstore.get(store, key).bytes().to_bytes()
    )
    _count(bytes_read=len(content))
    return content


def read_range(address: StoreAddress, key: str, start: int, length: int) -> bytes:
    """Return part of an object; see `StorePath.read_range`."""
    import obstore

    content: bytes = _asked(
        address,
        key,
        "get",
        lambda store: obstore.get_range(store, key, start=start, length=length).to_bytes(),
    )
    if len(content) != length:
        raise StoreError(
            f"`{address.url}/{key}`: {len(content)} bytes from {start:,} on came, {length} were "
            "asked for: the file is shorter than it was when it was opened. Open it again."
        )
    _count(bytes_read=length)
    return content


def read_start(address: StoreAddress, key: str, length: int) -> tuple[bytes, int]:
    """Return an object's first bytes and its size; see `StorePath.read_start`."""
    import obstore

    def ask(store: Any) -> tuple[bytes, int]:
        found = obstore.get(store, key, options={"range": (0, length)})
        return found.bytes().to_bytes(), int(found.meta["size"])

    content, size = _asked(address, key, "get", ask)
    _count(bytes_read=len(content))
    return content, size


def put(address: StoreAddress, key: str, content: bytes) -> None:
    """Write an object; see `StorePath.put`."""
    import obstore

    large = len(content) > _ONE_REQUEST_BYTES
    _asked(
        address,
        key,
        "put",
        # obstore ends a large upload, or takes its parts back.
        lambda store: obstore.put(
            store,
            key,
            content,
            attributes=_attributes(key),
            use_multipart=large,
            chunk_size=_PART_BYTES,
            max_concurrency=4,
        ),
    )
    _count(bytes_written=len(content))


def put_if_absent(address: StoreAddress, key: str, content: bytes) -> bool:
    """Write an object unless it exists; see `StorePath.put_if_absent`."""
    import obstore
    from obstore.exceptions import AlreadyExistsError

    def create(store: Any) -> object:
        about = _attributes(key)
        return obstore.put(
            store, key, content, attributes=about, mode="create", use_multipart=False
        )

    wait = _FIRST_WAIT_S
    for _ in range(_ATTEMPTS):
        try:
            _asked(address, key, "put", create, conditional=True)
        except AlreadyExistsError:
            try:
                return read(address, key) == content
            except FileNotFoundError:
                # S3 says so (409), too, while another put of the object is under way.
                time.sleep(wait)
                wait = min(2 * wait, _LONGEST_WAIT_S)
        else:
            _count(bytes_written=len(content))
            return True
    raise StoreError(
        f"`{address.url}/{key}` cannot be written: the store says that it exists, and that it does "
        "not. Run the same command again: what is written is kept.",
        retryable=True,
    )


def _attributes(key: str) -> dict[str, str]:
    """Return what a store is to say of an object when a browser asks for it."""
    kind = _CONTENT_TYPES.get(PurePosixPath(key).suffix)
    return {} if kind is None else {"Content-Type": kind}


def remove(address: StoreAddress, key: str) -> None:
    """Remove an object, if there is one; see `StorePath.unlink`."""
    import obstore

    try:
        _asked(address, key, "delete", lambda store: obstore.delete(store, key))
    except FileNotFoundError:  # S3 does not say so, others do
        return


def keys(address: StoreAddress, prefix: str) -> Iterator[str]:
    """Yield the keys below a prefix, in order; see `StorePath.files`."""
    import obstore

    below = _listed(address, prefix)

    def found(store: Any) -> list[str]:
        pages = obstore.list(store, prefix=below, chunk_size=1000)
        return [entry["path"] for page in pages for entry in page]

    yield from sorted(_asked(address, prefix, "list", found))


def names(address: StoreAddress, prefix: str) -> Iterator[str]:
    """Yield the names below a prefix, without what is below them; see `StorePath.names`."""
    import obstore

    below = _listed(address, prefix)

    def found(store: Any) -> list[str]:
        level = obstore.list_with_delimiter(store, prefix=below)
        paths = [*level["common_prefixes"], *(entry["path"] for entry in level["objects"])]
        return [path.rstrip("/").rpartition("/")[2] for path in paths]

    yield from sorted(_asked(address, prefix, "list", found))


def _listed(address: StoreAddress, prefix: str) -> str | None:
    """Return the prefix as obstore wants it; a web server has no listing that all agree on."""
    if address.read_only:
        raise StoreError(
            f"`{address.url}/{prefix}` cannot be listed: web servers do not say which files they "
            "have. Give the address of the bucket behind it (s3://, gs://, az://), or copy it to a "
            "folder."
        )
    return None if prefix == "." else prefix


def _asked(
    address: StoreAddress,
    key: str,
    kind: Kind,
    ask: Callable[[Any], T],
    *,
    conditional: bool = False,
) -> T:
    """Make a request, again and again while that may help.

    Raises:
        FileNotFoundError: If there is no such object.
        AlreadyExistsError: If a conditional put found the object.
        StoreError: If the store refuses, or keeps failing.
    """
    from obstore.exceptions import AlreadyExistsError, BaseError

    store = client(address)
    wait = _FIRST_WAIT_S
    for attempt in range(1, _ATTEMPTS + 1):
        _count(**{kind: 1, "repeated": int(attempt > 1)})
        try:
            return ask(store)
        except FileNotFoundError as error:
            if is_absent(error):
                raise FileNotFoundError(f"{address.url}/{key}") from None
            raise explanation(address, key, kind, error, attempt) from error
        except BaseError as error:
            again = may_help(error)
            if conditional and isinstance(error, AlreadyExistsError) and not again:
                raise
            if attempt == _ATTEMPTS or not again:
                raise explanation(address, key, kind, error, attempt) from error
        time.sleep(wait * random.uniform(0.5, 1.0))
        wait = min(2 * wait, _LONGEST_WAIT_S)
    raise AssertionError("the last attempt returns or raises")
