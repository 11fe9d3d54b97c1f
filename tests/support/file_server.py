"""A web server of a folder that answers as readers of a published run need it, or does not."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_TYPES = {".json": "application/json", ".html": "text/html", ".png": "image/png"}


class FileServer(ThreadingHTTPServer):
    """Serves a folder; what it gets wrong is set from outside.

    Attributes:
        origin: What Access-Control-Allow-Origin says; None to leave it out.
        exposed: What Access-Control-Expose-Headers says.
        preflight: Whether OPTIONS is answered.
        ranges: Whether ranges are answered, and not the whole file sent.
        compressed: Whether everything is sent by gzip.
        typed: Whether content types are those of the files.
        asked: Every request: its method, path and range.
        sent: Bytes of content.
    """

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.origin: str | None = "*"
        self.exposed = "Content-Range, Content-Length"
        self.preflight = self.ranges = self.typed = True
        self.compressed = False
        self.asked: list[tuple[str, str, str | None]] = []
        self.sent = 0


class _Handler(BaseHTTPRequestHandler):
    server: FileServer
    protocol_version = "HTTP/1.1"

    def do_OPTIONS(self) -> None:
        self._note()
        headers = {"Access-Control-Allow-Headers": "Range", "Content-Length": "0"}
        self._answer(204, headers) if self.server.preflight else self._answer(405, {})

    def do_GET(self) -> None:
        self._note()
        path = self.server.folder / self.path.lstrip("/")
        if not path.is_file():
            self._answer(404, {})
            return
        content, wanted = path.read_bytes(), self.headers.get("Range")
        headers = {"Content-Type": _TYPES.get(path.suffix, "application/octet-stream")}
        if not self.server.typed:
            headers["Content-Type"] = "application/octet-stream"
        if self.server.exposed:
            headers["Access-Control-Expose-Headers"] = self.server.exposed
        status = 200
        if wanted is not None and self.server.ranges:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start = int(first) if first else len(content) - int(last)
            stop = min(int(last) + 1, len(content)) if first and last else len(content)
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(content)}"
            status, content = 206, content[start:stop]
        if self.server.compressed:
            headers["Content-Encoding"], content = "gzip", gzip.compress(content)
        self._answer(status, headers, content)

    def do_HEAD(self) -> None:
        self.do_GET()

    def _note(self) -> None:
        self.server.asked.append((self.command, self.path.lstrip("/"), self.headers.get("Range")))

    def _answer(self, status: int, headers: dict[str, str], content: bytes = b"") -> None:
        self.send_response(status)
        headers = {"Content-Length": str(len(content)), **headers}
        if self.server.origin is not None:
            headers["Access-Control-Allow-Origin"] = self.server.origin
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        try:
            self.wfile.write(content)
            self.server.sent += len(content)
        except (BrokenPipeError, ConnectionResetError):  # a reader that has seen enough
            self.close_connection = True

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@contextmanager
def serve_folder(folder: Path) -> Iterator[FileServer]:
    """Serve a folder on loopback."""
    from threading import Thread

    with FileServer(folder) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
