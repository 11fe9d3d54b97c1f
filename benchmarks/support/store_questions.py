"""What object stores may do differently, asked of one through `thor_geo.storage`."""

from __future__ import annotations

import os
import statistics
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import patch

import obstore
from obstore.exceptions import BaseError

from thor_geo.errors import StoreError
from thor_geo.storage import StoreAddress, StoreOptions, StorePath, requests
from thor_geo.storage.clients import client
from thor_geo.storage.probe import check_store
from thor_geo.storage.wording import status

#: Simultaneous writers of a key, keys, and objects below one prefix: more than one page of a list.
WRITERS, KEYS, OBJECTS = 20, 50, 1100
#: Requests of each kind that are timed, and bytes of a small and a large object.
TIMED, SMALL, LARGE = 50, 1000, 32 << 20
#: Names that clients and servers must escape in the same way.
ODD = (
    "a space", "a+b", "a%b", "a%20b", "ø_é", "a?b", "a#b", "a:b", "a~b", "a=b&c", "a'b", 'a"b',
    "a*b", "a[0]{1}", "a,b;c", "a@b$c", "a^b`c|d<e>",
)  # fmt: skip


def answer(ask: Callable[[], object]) -> str:
    """Return what a request answers: its result, or the status of the store's refusal."""
    try:
        return str(ask())
    except FileNotFoundError:
        return "absent"
    except StoreError as error:
        cause = error.__cause__
        number = status(cause) if isinstance(cause, Exception) else None
        return str(number or "refused here")


def conditional(root: StorePath) -> str:
    """A conditional put of an object that exists."""
    (root / "put").put(b"first")
    try:
        obstore.put(client(root.address), str((root / "put").key), b"second", mode="create")
    except BaseError as error:
        return f"{status(error)}, {type(error).__name__}"
    return "replaced"


def winners(root: StorePath) -> str:
    """20 writers of each of 50 keys at a time: how many won, and whose content is there."""
    found: Counter[str] = Counter()
    with ThreadPoolExecutor(WRITERS) as pool:
        for key in range(KEYS):
            path = root / f"contested-{key}"

            def write(writer: int, path: StorePath = path) -> bytes | None:
                content = b"%d" % writer
                return content if path.put_if_absent(content) else None

            won = [content for content in pool.map(write, range(WRITERS)) if content is not None]
            right = won == [path.read_bytes()]
            found["one winner, its content" if right else f"{len(won)} winners"] += 1
    return ", ".join(f"{number} x {what}" for what, number in found.items())


def accepted(root: StorePath) -> str:
    """Whether the check before a run lets it pass."""

    def passes() -> str:
        check_store(root)
        return "yes"

    return answer(passes)


def absent(root: StorePath) -> str:
    """Size, content and removal of what is not there."""
    path = root / "nothing"
    return f"{path.size()}, {answer(path.read_bytes)}, {answer(path.unlink)}"


def prefix(root: StorePath) -> str:
    """Size of what is only a prefix."""
    (root / "folder" / "object").put(b"1")
    return str((root / "folder").size())


def empty(root: StorePath) -> str:
    """Size and content of an empty object."""
    path = root / "empty"
    path.put(b"")
    return f"{path.size()}, {path.read_bytes()!r}"


def beyond(root: StorePath) -> str:
    """Ranges that begin before and after an object's end."""
    path = root / "ten"
    path.put(b"0123456789")
    return f"{answer(lambda: path.read_range(5, 10))}; {answer(lambda: path.read_range(10, 1))}"


def names(root: StorePath) -> str:
    """Names with odd characters: written, read and listed."""
    for name in ODD:
        (root / "odd" / name).put(name.encode())
    wrong = [name for name in ODD if (root / "odd" / name).read_bytes() != name.encode()]
    wrong += sorted(set(ODD) ^ set((root / "odd").names()))
    return f"{len(ODD)} as written" if not wrong else f"wrong: {wrong}"


def listed(root: StorePath) -> str:
    """A list of more than a page."""
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda k: (root / "many" / f"{k:05d}").put(b""), range(OBJECTS)))
    found = [path.name for path in (root / "many").files()]
    return f"{len(found)}, {'all' if found == [f'{k:05d}' for k in range(OBJECTS)] else 'WRONG'}"


def etag(root: StorePath) -> str:
    """An ETag."""
    (root / "tagged").put(b"1")
    found = obstore.head(client(root.address), str((root / "tagged").key))["e_tag"] or ""
    return f"{'quoted' if found.startswith(chr(34)) else 'bare'}, {len(found.strip(chr(34)))} long"


def no_bucket(root: StorePath) -> str:
    """Size, content, list and removal in a bucket that does not exist."""
    url = f"{root.address.scheme}://no-such-bucket-here/run"
    other = StorePath(StoreAddress.parse(url, root.address.options)) / "a"
    asked = (other.size, other.read_bytes, lambda: list(other.names()), other.unlink)
    return "; ".join(answer(each) for each in asked)


def stranger(root: StorePath) -> str:
    """Without credentials: size, content, list and a put."""
    (root / "private").put(b"1")
    options = StoreOptions(endpoint=root.address.options.endpoint, anonymous=True)
    path = StorePath(StoreAddress.parse(root.address.url, options)) / "private"
    asked = (path.size, path.read_bytes, lambda: list(path.names()), lambda: path.put(b"2"))
    return "; ".join(answer(each) for each in asked)


def parts(root: StorePath) -> str:
    """An object written in parts of 64 MiB."""
    content = os.urandom(72 << 20)
    with patch.object(requests, "_ONE_REQUEST_BYTES", 1 << 20):
        (root / "parts").put(content)
    return "as written" if (root / "parts").read_bytes() == content else "WRONG"


def milliseconds(root: StorePath) -> str:
    """Median milliseconds: put, get, size, removal of 1 kB; put and get of 32 MiB."""
    small, large = root / "small", root / "large"
    content, much = os.urandom(SMALL), os.urandom(LARGE)

    def median(ask: Callable[[], object], times: int) -> float:
        taken = []
        for _ in range(times):
            began = time.perf_counter()
            ask()
            taken.append(1000 * (time.perf_counter() - began))
        return statistics.median(taken)

    asked = (
        (lambda: small.put(content), TIMED),
        (small.read_bytes, TIMED),
        (small.size, TIMED),
        ((root / "nothing").unlink, TIMED),
        (lambda: large.put(much), 5),
        (large.read_bytes, 5),
    )
    return ", ".join(f"{median(ask, times):.1f}" for ask, times in asked)


#: Every question, and the answer without which a run cannot lie there; None where all will do.
QUESTIONS: dict[Callable[[StorePath], str], str | None] = {
    conditional: None,
    winners: f"{KEYS} x one winner, its content",
    accepted: "yes",
    absent: "None, absent, None",
    prefix: "None",
    empty: "0, b''",
    beyond: None,
    names: f"{len(ODD)} as written",
    listed: f"{OBJECTS}, all",
    etag: None,
    no_bucket: None,
    stranger: None,
    parts: "as written",
    milliseconds: None,
}
