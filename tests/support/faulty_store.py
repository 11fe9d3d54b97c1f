"""A door before an object store that fails as stores do: busy, cut short, silent, late."""

from __future__ import annotations

import http.client
import http.server
import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal
from urllib.parse import urlsplit

#: What a request meets: an answer of the door itself; a connection that is reset, before or after
#: the store has done what was asked; an answer that ends halfway.
Fault = Literal["503", "429", "500", "reset", "late reset", "cut"]


class FaultyStore:
    """What the door does, and what it has seen.

    Attributes:
        url: Address of the door.
        plan: Share of requests that meet each fault.
        met: Requests by fault; those that went through as ``none``.
        asked: Requests by method.
    """

    def __init__(self, behind: str, plan: dict[Fault, float], seed: int = 0) -> None:
        """Initialize a new FaultyStore instance; `faulty_store` serves it.

        Args:
            behind: Address of the store.
            plan: Share of requests that meet each fault.
            seed: Of the choice.
        """
        self.behind, self.plan = urlsplit(behind), plan
        self.url = ""
        self.met: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()
        self._random, self._lock = random.Random(seed), threading.Lock()

    def draw(self, method: str) -> Fault | None:
        """Return the fault that the next request meets."""
        with self._lock:
            point, chosen = self._random.random(), None
            for fault, share in self.plan.items():
                point -= share
                if point < 0:
                    chosen = fault
                    break
            self.met[chosen or "none"] += 1
            self.asked[method] += 1
        return chosen


class _Door(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store: FaultyStore

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def handle_request(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        fault = self.store.draw(self.command)
        if fault in ("503", "429", "500"):
            return self._answer(int(fault), {}, b"<Error><Code>SlowDown</Code></Error>")
        if fault == "reset":
            return self._reset()
        behind = self.store.behind
        connection = http.client.HTTPConnection(str(behind.hostname), behind.port)
        try:
            connection.request(self.command, self.path, body, dict(self.headers))
            answer = connection.getresponse()
            content, headers = answer.read(), dict(answer.getheaders())
        finally:
            connection.close()
        if fault == "late reset":
            return self._reset()
        if fault == "cut" and len(content) > 1 and self.command == "GET":
            self._answer(answer.status, headers, content[: len(content) // 2], len(content))
            return self._reset()
        self._answer(answer.status, headers, content)
        return None

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
def faulty_store(behind: str, plan: dict[Fault, float], seed: int = 0) -> Iterator[FaultyStore]:
    """Serve a store through a door that fails.

    Args:
        behind: Address of the store.
        plan: Share of requests that meet each fault.
        seed: Of the choice.
    """
    store = FaultyStore(behind, plan, seed)
    handler = type("Door", (_Door,), {"store": store})
    server = _Server(("127.0.0.1", 0), handler)
    store.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield store
    finally:
        server.shutdown()
        server.server_close()
