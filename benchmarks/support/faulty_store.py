"""A door before an object store that fails as stores do: busy, cut, silent, late, refusing."""

from __future__ import annotations

import http.client
import http.server
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

#: What a request meets. Numbers and names in capitals are answers of the door itself. ``reset`` and
#: ``late reset`` hang up before and after the store has done what was asked; ``cut`` ends the
#: answer halfway; ``slow`` does what was asked and answers after `Plan.slow_s`; ``exists`` does a
#: put twice, and gives the second answer: of a conditional put, that the object exists.
Fault = Literal[
    "503",
    "429",
    "500",
    "reset",
    "late reset",
    "cut",
    "slow",
    "exists",
    "ExpiredToken",
    "RequestTimeTooSkewed",
    "AccessDenied",
    "NoSuchBucket",
    "PermanentRedirect",
    "AuthorizationHeaderMalformed",
]

# Status and code of the door's own answers, as S3 documents them.
_ANSWERS: dict[str, tuple[int, str]] = {
    "503": (503, "SlowDown"),
    "429": (429, "TooManyRequests"),
    "500": (500, "InternalError"),
    "ExpiredToken": (400, "ExpiredToken"),
    "RequestTimeTooSkewed": (403, "RequestTimeTooSkewed"),
    "AccessDenied": (403, "AccessDenied"),
    "NoSuchBucket": (404, "NoSuchBucket"),
    "PermanentRedirect": (301, "PermanentRedirect"),
    "AuthorizationHeaderMalformed": (400, "AuthorizationHeaderMalformed"),
}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What requests meet.

    Attributes:
        shares: Share of requests that meet each fault, drawn at random.
        refused: Fault that all requests of a method meet: GET, HEAD, PUT, DELETE, or LIST.
        spared: So many requests go through first, whatever is planned.
        slow_s: How late a ``slow`` answer is, seconds.
        latency_s: How long each request takes at least, seconds.
        seed: Of what is drawn.
    """

    shares: Mapping[Fault, float] = field(default_factory=dict)
    refused: Mapping[str, Fault] = field(default_factory=dict)
    spared: int = 0
    slow_s: float = 3.0
    latency_s: float = 0.0
    seed: int = 0


class FaultyStore:
    """What the door does, and what it has seen.

    Attributes:
        url: Address of the door.
        plan: What requests meet; may be replaced at any time.
        met: Requests by fault; those that went through as ``none``.
        asked: Requests by method; those that list as ``LIST``.
        paths: Method and path of each request, in the order in which they came.
    """

    def __init__(self, behind: str, plan: Plan) -> None:
        """Initialize a new FaultyStore instance; `faulty_store` serves it.

        Args:
            behind: Address of the store.
            plan: What requests meet.
        """
        self.behind, self.plan = urlsplit(behind), plan
        self.url = ""
        self.met: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()
        self.paths: list[tuple[str, str]] = []
        self._random, self._lock = random.Random(plan.seed), threading.Lock()

    def draw(self, method: str, path: str) -> Fault | None:
        """Return the fault that the next request meets.

        Args:
            method: GET, HEAD, PUT, DELETE, POST or LIST.
            path: What it asks for.
        """
        with self._lock:
            number = self.asked.total()
            chosen = self.plan.refused.get(method) or self._drawn()
            if number < self.plan.spared:
                chosen = None
            self.met[chosen or "none"] += 1
            self.asked[method] += 1
            self.paths.append((method, path))
        return chosen

    def _drawn(self) -> Fault | None:
        point = self._random.random()
        for fault, share in self.plan.shares.items():
            point -= share
            if point < 0:
                return fault
        return None


class _Door(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store: FaultyStore

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def handle_request(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        url = urlsplit(self.path)
        lists = self.command == "GET" and "list-type=" in url.query
        fault = self.store.draw("LIST" if lists else self.command, url.path)
        time.sleep(self.store.plan.latency_s)
        if fault in _ANSWERS:
            status, code = _ANSWERS[fault]
            text = f"<Error><Code>{code}</Code><Message>planned</Message></Error>"
            return self._answer(status, {"Content-Type": "application/xml"}, text.encode())
        if fault == "reset":
            return self._reset()
        if fault == "exists" and self.command == "PUT":
            self._ask_store(body)
        status, headers, content = self._ask_store(body)
        if fault == "late reset":
            return self._reset()
        if fault == "slow":
            time.sleep(self.store.plan.slow_s)
        if fault == "cut" and len(content) > 1 and self.command == "GET":
            self._answer(status, headers, content[: len(content) // 2], len(content))
            return self._reset()
        return self._answer(status, headers, content)

    def _ask_store(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        behind = self.store.behind
        connection = http.client.HTTPConnection(str(behind.hostname), behind.port)
        try:
            connection.request(self.command, self.path, body, dict(self.headers))
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def _answer(
        self, status: int, headers: dict[str, str], content: bytes, length: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in {"content-length", "transfer-encoding", "connection", "date"}:
                self.send_header(name, value)
        told = headers.get("Content-Length", headers.get("content-length"))
        if self.command != "HEAD" or told is None:
            told = str(len(content) if length is None else length)
        self.send_header("Content-Length", told)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
        self.wfile.flush()

    def _reset(self) -> None:
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.connection.close()
        self.close_connection = True

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = handle_request  # noqa: N815


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that have hung up."""


@contextmanager
def faulty_store(behind: str, plan: Plan | None = None) -> Iterator[FaultyStore]:
    """Serve a store through a door that fails.

    Args:
        behind: Address of the store.
        plan: What requests meet; None for a door that only counts.
    """
    store = FaultyStore(behind, plan or Plan())
    handler = type("Door", (_Door,), {"store": store})
    server = _Server(("127.0.0.1", 0), handler)
    store.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield store
    finally:
        server.shutdown()
        server.server_close()
