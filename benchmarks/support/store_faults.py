"""Requests to a store that fails in one way: what was lost, repeated, or named with its remedy."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from unittest import mock

from benchmarks.support.faulty_store import FaultyStore, Plan, faulty_store
from benchmarks.support.object_store import ObjectStore
from benchmarks.support.report import Row
from thor_geo.errors import StoreError
from thor_geo.storage import StoreAddress, StoreOptions, StorePath, clients, requests

#: Fewest requests of a plan; of one that is refused halfway, before and after the remedy, each.
FEWEST = 200

#: Seconds without an answer after which a request counts as failed, in place of a run's minute.
_TIMEOUT_S = 1.0
_AT_A_TIME = 8
_prefixes = count()


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One way to fail.

    Attributes:
        name: For the table.
        plan: What requests meet.
        remedy: What the error says that ends the run; None if all requests are made in the end.
    """

    name: str
    plan: Plan
    remedy: str | None = None


TRIALS = (
    Trial(name="503 SlowDown", plan=Plan(shares={"503": 0.3})),
    Trial(name="429 TooManyRequests", plan=Plan(shares={"429": 0.3})),
    Trial(name="500 InternalError", plan=Plan(shares={"500": 0.3})),
    Trial(name="reset before it is done", plan=Plan(shares={"reset": 0.3})),
    Trial(name="reset after it is done", plan=Plan(shares={"late reset": 0.3})),
    Trial(name="body cut short", plan=Plan(shares={"cut": 0.3})),
    Trial(
        name="answer later than the timeout",
        plan=Plan(shares={"slow": 0.1}, slow_s=2 * _TIMEOUT_S),
    ),
    Trial(name="'exists' for one's own put", plan=Plan(shares={"exists": 0.3})),
    Trial(
        name="all of them",
        plan=Plan(
            shares={"503": 0.06, "429": 0.06, "500": 0.06, "reset": 0.06, "late reset": 0.06,
                    "cut": 0.06, "exists": 0.06},
        ),
    ),
    Trial(
        name="credentials expire halfway",
        plan=Plan(
            refused=dict.fromkeys(("GET", "HEAD", "PUT", "POST"), "ExpiredToken"), spared=FEWEST
        ),
        remedy="the credentials have expired. Renew them",
    ),
    Trial(
        name="the clock is found to be wrong halfway",
        plan=Plan(
            refused=dict.fromkeys(("GET", "HEAD", "PUT", "POST"), "RequestTimeTooSkewed"),
            spared=FEWEST,
        ),
        remedy="this machine's clock is wrong. Set it (NTP)",
    ),
)  # fmt: skip


def play(bucket: ObjectStore, trial: Trial, objects: int = FEWEST) -> tuple[Row, list[str]]:
    """Write, read and compare objects through a door that fails in one way.

    Args:
        bucket: An empty bucket behind the door.
        trial: How it fails.
        objects: Number of objects; each takes at least four requests.

    Returns:
        A row of the table, and what does not hold.
    """
    prefix = f"trial-{next(_prefixes)}"
    contents = {
        f"{k:04}": hashlib.sha256(b"%d" % k).digest() * (1 + k % 97) for k in range(objects)
    }
    before, wrong, said = requests.counted(), [], ""
    with _short_timeout(), faulty_store(bucket.endpoint, trial.plan) as door:
        options = StoreOptions(endpoint=door.url)
        root = StorePath(StoreAddress.parse(bucket.url(prefix), options))
        lost = _write_and_read(root, contents)
        refused = [error for error in lost.values() if isinstance(error, StoreError)]
        if trial.remedy is not None:
            said = str(refused[0]) if refused else ""
            wrong += _refusal_faults(trial, refused, door)
            kept = bucket.contents(prefix)
            if any(kept[name] != contents[name] for name in kept):
                wrong.append("What was written before is damaged.")
            first, door.plan = door.asked.total(), Plan()
            lost = _write_and_read(root, contents)
            if door.asked.total() - first < FEWEST <= objects:
                wrong.append(f"Only {door.asked.total() - first} requests after the remedy.")
        asked, met = door.asked.total(), door.met.total() - door.met["none"]
    wrong += [f"{name}: {why}" for name, why in list(lost.items())[:3]]
    if bucket.contents(prefix) != contents:
        wrong.append("The store does not hold what was written.")
    if asked < FEWEST <= objects:
        wrong.append(f"Only {asked} requests.")
    after = requests.counted()
    told = {
        kind: after.get(kind, 0) - before.get(kind, 0) for kind in (*requests.KINDS, "repeated")
    }
    total = sum(told[kind] for kind in requests.KINDS)
    if total != asked:
        wrong.append(f"{total:.0f} requests were counted, {asked} arrived.")
    row: Row = {
        "plan": trial.name,
        "objects": objects,
        "requests": asked,
        "met a fault": met,
        "repeated": int(told["repeated"]),
        "lost": len(lost),
        "said": said.partition(": ")[2],
    }
    return row, [f"{trial.name}: {each}" for each in wrong]


def _write_and_read(root: StorePath, contents: dict[str, bytes]) -> dict[str, Exception | str]:
    """Return what went wrong, by object."""

    def one(name: str) -> Exception | str | None:
        path, content = root / name, contents[name]
        try:
            if not path.put_if_absent(content):
                return "It is said to hold something else."
            path.put(content)
            if path.read_bytes() != content or path.read_range(3, 20) != content[3:23]:
                return "Other bytes were read."
        except (StoreError, FileNotFoundError) as error:
            return error
        return None

    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        outcomes = zip(contents, pool.map(one, contents), strict=True)
        return {name: outcome for name, outcome in outcomes if outcome is not None}


def _refusal_faults(trial: Trial, refused: list[StoreError], door: FaultyStore) -> Iterator[str]:
    assert trial.remedy is not None
    if not refused:
        yield "It was not refused."
    for error in refused:
        if trial.remedy not in str(error):
            yield f"No remedy in: {error}"
            return
    # Each object that is left asks once, and is not asked for again.
    if door.met.total() - door.met["none"] != len(refused):
        yield "What was refused was asked for again."


@contextmanager
def _short_timeout() -> Iterator[None]:
    with mock.patch.dict(clients._TIMEOUTS, read_timeout=f"{_TIMEOUT_S:.0f}s"):
        yield
