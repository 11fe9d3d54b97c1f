"""What the emulator has served, for tests and for ``/_emulator/stats``."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Any

#: Requests that the log remembers; older ones stay in the counts only.
LOG_LENGTH = 100_000

COUNTS = (
    "requests",
    "ok",
    "errors",
    "refused",
    "dropped",
    "faults",
    "bytes_in",
    "bytes_out",
    "seconds",
)


@dataclass(kw_only=True)
class ServedRequest:
    """One request that was served.

    Args:
        kind: ``value:compute``, ``image:computePixels``, ``algorithms``, ``discovery`` or
            ``unknown``.
        status: HTTP status; 0 if the connection was dropped.
        bytes_in: Length of the request's body.
        bytes_out: Length of the whole answer's body.
        pixels: Width x height asked for.
        seconds: From the request's arrival to the end of the answer.
        fault: Whether a rule of the fault plan was applied.
    """

    kind: str
    status: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    pixels: int = 0
    seconds: float = 0.0
    fault: bool = False


class RequestCounts:
    """Counts requests. Thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self.reset()

    def reset(self) -> None:
        """Forget everything but what is in flight."""
        with self._lock:
            self.log: deque[ServedRequest] = deque(maxlen=LOG_LENGTH)
            self._in_flight = getattr(self, "_in_flight", 0)
            self._peak = self._in_flight
            self._kinds: dict[str, dict[str, Any]] = {}

    @contextmanager
    def track(self, kind: str) -> Iterator[ServedRequest]:
        """Count a request while it is served; the caller fills in the record."""
        request = ServedRequest(kind=kind)
        weight = 1 if ":" in kind else 0
        with self._lock:
            self._in_flight += weight
            self._peak = max(self._peak, self._in_flight)
        began = time.perf_counter()
        try:
            yield request
        finally:
            request.seconds = time.perf_counter() - began
            with self._lock:
                self._in_flight -= weight
                self._add(request)

    def _add(self, request: ServedRequest) -> None:
        self.log.append(request)
        counts = self._kinds.setdefault(request.kind, dict.fromkeys(COUNTS, 0))
        counts["requests"] += 1
        counts["ok"] += request.status == 200
        counts["errors"] += request.status >= 400
        counts["refused"] += request.status == 429
        counts["dropped"] += request.status == 0
        counts["faults"] += request.fault
        counts["bytes_in"] += request.bytes_in
        counts["bytes_out"] += request.bytes_out
        counts["seconds"] += request.seconds

    def summary(self) -> dict[str, Any]:
        """Return counts per kind of request, the peak of concurrency and what is in flight."""
        with self._lock:
            kinds = {kind: dict(counts) for kind, counts in sorted(self._kinds.items())}
            return {
                "requests": sum(counts["requests"] for counts in kinds.values()),
                "refused": sum(counts["refused"] for counts in kinds.values()),
                "bytes_out": sum(counts["bytes_out"] for counts in kinds.values()),
                "peak_concurrency": self._peak,
                "in_flight": self._in_flight,
                "kinds": kinds,
            }
