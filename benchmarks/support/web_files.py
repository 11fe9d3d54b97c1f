"""A plain web server of a folder, with range requests: what a copied run is served by."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


class WebFiles(ThreadingHTTPServer):
    """Serves files by their names, and lists nothing.

    Attributes:
        folder: The folder.
        url: Address of the folder.
        ranges: Whether it understands the Range header; without, it sends whole files.
        latency: Seconds before each answer.
        asked: Method, path and Range header of each request.
        sent: Bytes of content.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, folder: Path, *, latency: float = 0.0, ranges: bool = True) -> None:
        """Initialize a new WebFiles instance, on a free port of the loopback interface."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder, self.latency, self.ranges = folder, latency, ranges
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.asked: list[tuple[str, str, str]] = []
        self.sent = 0
        self._counting = threading.Lock()

    def count(self, asked: tuple[str, str, str], sent: int) -> None:
        """Count a request."""
        with self._counting:
            self.asked.append(asked)
            self.sent += sent

    def forget(self) -> None:
        """Begin to count anew."""
        with self._counting:
            self.asked, self.sent = [], 0


class _Handler(BaseHTTPRequestHandler):
    server: WebFiles
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _answer(self, *, body: bool) -> None:
        server, wanted = self.server, self.headers.get("Range", "")
        time.sleep(server.latency)
        path = server.folder / self.path.partition("?")[0].lstrip("/")
        if not path.is_file():  # a folder has no listing, either
            server.count((self.command, self.path, wanted), 0)
            self._send(404, b"not found", body=body)
            return
        content, headers, status = path.read_bytes(), {}, 200
        found = _RANGE.fullmatch(wanted)
        if found is not None and server.ranges:
            last = len(content) - 1
            start, end = int(found[1]), min(int(found[2] or last), last)
            headers["Content-Range"] = f"bytes {start}-{end}/{len(content)}"
            content, status = content[start : end + 1], 206
        server.count((self.command, self.path, wanted), len(content) if body else 0)
        self._send(status, content, body=body, **headers)

    def _send(self, status: int, content: bytes, *, body: bool, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        if self.server.ranges:
            self.send_header("Accept-Ranges", "bytes")
        self.send_header("Last-Modified", self.date_time_string(0))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        return


@contextmanager
def web_files(folder: Path, *, latency: float = 0.0, ranges: bool = True) -> Iterator[WebFiles]:
    """Serve a folder while the context lasts.

    Args:
        folder: The folder.
        latency: Seconds before each answer.
        ranges: Whether the server understands the Range header.
    """
    server = WebFiles(folder, latency=latency, ranges=ranges)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
