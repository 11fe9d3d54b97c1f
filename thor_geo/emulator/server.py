"""The emulator's HTTP server."""

from __future__ import annotations

import json
import os
import re
import socket
import struct
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from thor_geo.emulator._archive import Archive
from thor_geo.emulator._discovery import algorithms, discovery_document
from thor_geo.emulator._errors import RequestError
from thor_geo.emulator._evaluate import Catalog, to_json
from thor_geo.emulator._faults import FaultCounter, FaultPlan, FaultRule
from thor_geo.emulator._pixels import compute_pixels, request_pixels
from thor_geo.emulator._stats import RequestCounts

DEFAULT_COLLECTION = "COPERNICUS/S2_SR_HARMONIZED"
#: Concurrent requests per project, from the Earth Engine usage guide.
MAX_CONCURRENT = 40
#: Google's front ends refuse longer request bodies.
MAX_BODY_BYTES = 10 * 2**20

#: Value of SO_LINGER: on, for 0 s.
_NO_LINGER = struct.pack("ii", 1, 0)

_ROUTES = {
    "GET": {
        re.compile(r"/\$discovery/rest"): "discovery",
        re.compile(r"/v1/projects/(?P<project>[^/]+)/algorithms"): "algorithms",
        re.compile(r"/_emulator/stats"): "stats",
        re.compile(r"/_emulator/archives"): "archives",
    },
    "POST": {
        re.compile(r"/v1/projects/(?P<project>[^/]+)/value:compute"): "value:compute",
        re.compile(r"/v1/projects/(?P<project>[^/]+)/image:computePixels"): "image:computePixels",
    },
}


class EmulatorServer:
    """Serves archives of scenes to the Earth Engine client, on the loopback interface only.

    Args:
        archives: An archive or its folder, served as ``COPERNICUS/S2_SR_HARMONIZED``; or a mapping
            of collection ids to archives or folders.
        port: TCP port; 0 takes a free one.
        faults: What to get wrong.
        max_concurrent: Requests in flight above which HTTP 429 is answered.

    Raises:
        ArchiveError: If a folder is not an archive.
        OSError: If the port is taken.

    Example:
        >>> with EmulatorServer("scenes") as server:  # doctest: +SKIP
        ...     ee.Initialize(AnonymousCredentials(), project="emulator", url=server.url)
    """

    def __init__(
        self,
        archives: Archive | str | Path | Mapping[str, Archive | str | Path],
        *,
        port: int = 0,
        faults: FaultPlan | None = None,
        max_concurrent: int = MAX_CONCURRENT,
    ) -> None:
        by_name = archives if isinstance(archives, Mapping) else {DEFAULT_COLLECTION: archives}
        self.archives = {
            name: item if isinstance(item, Archive) else Archive.open(item)
            for name, item in by_name.items()
        }
        self.catalog = Catalog(self.archives)
        self.statistics = RequestCounts()
        self.max_concurrent = max_concurrent
        self._lock, self._serving = threading.Lock(), 0
        self.set_faults(faults)
        discovery_document(), algorithms()  # fail now rather than in the first request
        # More computations at once than cores only cost memory; the others wait their turn.
        self._slots = threading.BoundedSemaphore(max(2, os.cpu_count() or 2))
        self._http = _Server(("127.0.0.1", port), _EmulatorHandler)
        self._http.emulator = self
        self._thread: threading.Thread | None = None

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold one of the places for requests in flight.

        Raises:
            RequestError: With HTTP 429, if all are taken.
        """
        with self._lock:
            if self._serving >= self.max_concurrent:
                raise RequestError(
                    f"Too many concurrent requests: at most {self.max_concurrent} are served.", 429
                )
            self._serving += 1
        try:
            yield
        finally:
            with self._lock:
                self._serving -= 1

    @property
    def url(self) -> str:
        """The address to give to ``ee.Initialize(url=...)``."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def set_faults(self, faults: FaultPlan | None) -> None:
        """Replace the fault plan and restart its counts."""
        self.faults = FaultCounter(faults or FaultPlan())

    def fingerprints(self) -> dict[str, str]:
        """Return the fingerprints of the archives by collection id, also at /_emulator/archives."""
        return {name: archive.fingerprint() for name, archive in self.archives.items()}

    def start(self) -> Self:
        """Serve from a thread of this process."""
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )
        self._thread.start()
        return self

    def serve_forever(self) -> None:
        """Serve from this thread until `stop`, or an interrupt."""
        self._http.serve_forever(poll_interval=0.1)

    def stop(self) -> None:
        """Stop serving and close the port."""
        if self._thread is not None:
            self._http.shutdown()
            self._thread.join()
            self._thread = None
        self._http.server_close()

    def __enter__(self) -> Self:
        """Start to serve."""
        return self.start()

    def __exit__(self, *exception: object) -> None:
        """Stop serving, whatever happened; exceptions pass."""
        self.stop()

    def answer(
        self, kind: str, body: Mapping[str, Any], hide: tuple[str, ...] = ()
    ) -> tuple[bytes, str]:
        """Compute the answer to a request.

        Args:
            kind: ``value:compute`` or ``image:computePixels``.
            body: The decoded request.
            hide: Ids of scenes to leave out.

        Returns:
            Body and content type.

        Raises:
            RequestError: If the request is refused.
        """
        with self._slots:
            catalog = Catalog(self.archives, hide) if hide else self.catalog
            value = catalog.evaluate(body.get("expression"))
            if kind == "image:computePixels":
                return compute_pixels(value, body)
            unknown = set(body) - {"expression", "workloadTag"}
            if unknown:
                raise RequestError(f"Request field '{min(unknown)}' is not supported.")
            return json.dumps({"result": to_json(value)}).encode(), "application/json"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # The default backlog of 5 would refuse connections before the emulator could answer 429.
    request_queue_size = 256
    emulator: EmulatorServer

    def shutdown_request(self, request: Any) -> None:
        # An orderly end before the close would reach the client in place of the reset.
        linger = request.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, len(_NO_LINGER))
        if linger == _NO_LINGER:
            self.close_request(request)
        else:
            super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A client that goes away is its own business; anything else is a bug worth a traceback.
        if not isinstance(sys.exception(), ConnectionError):
            traceback.print_exc()


class _EmulatorHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "thor-geo-emulator"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet: the statistics tell more than a line per request."""

    def do_GET(self) -> None:
        self._handle(b"")

    def do_POST(self) -> None:
        # Always read, so that the next request on this connection starts in the right place.
        self._handle(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    # Answered with 404: the default answer, 501, would make the client try again and again.
    do_DELETE = do_PATCH = do_PUT = do_POST  # noqa: N815

    def _handle(self, raw: bytes) -> None:
        kind, project = self._route()
        if kind in ("stats", "archives"):
            emulator = self.server.emulator
            report = emulator.statistics.summary() if kind == "stats" else emulator.fingerprints()
            text = json.dumps(report, indent=1)
            self._send(200, text.encode(), "application/json", {})
            return
        with self.server.emulator.statistics.track(kind) as record, ExitStack() as held:
            record.bytes_in = len(raw)
            rule: FaultRule | None = None
            extra: dict[str, str] = {}
            try:
                body = _decode(raw) if ":" in kind else {}
                record.pixels = request_pixels(body)
                if ":" in kind:
                    held.enter_context(self.server.emulator.place())
                rule = self._fault(kind, raw, record.pixels)
                extra = dict(rule.headers) if rule else {}
                if rule and rule.status is not None:
                    message = rule.message.replace("{project}", project)
                    raise RequestError(message, rule.status)
                content, content_type = self._answer(kind, body, rule.hide if rule else ())
                status = 200
            except RequestError as error:
                status, content, content_type = error.code, error.body(), "application/json"
                extra = {**error.headers, **extra}
            except Exception as error:  # a bug of the emulator: say so, as the service would
                traceback.print_exc()
                failure = RequestError(f"The emulator failed: {error!r}", 500)
                status, content, content_type = 500, failure.body(), "application/json"
            record.status, record.fault = status, rule is not None
            if rule and (rule.drop or rule.reset):
                record.status = 0
                self.close_connection = True
                if rule.reset:
                    self._reset()
                return
            # Free before the answer is out: the client may ask again the moment it has it.
            held.close()
            record.bytes_out = len(content)
            cut = None if rule is None else rule.truncate
            self._send(status, content, content_type, extra, cut)

    def _reset(self) -> None:
        # Not to linger: the kernel then resets the connection instead of ending it in order.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)

    def _route(self) -> tuple[str, str]:
        path = self.path.split("?")[0]
        for pattern, kind in _ROUTES.get(self.command, {}).items():
            match = pattern.fullmatch(path)
            if match:
                return kind, match.groupdict().get("project", "")
        return "unknown", ""

    def _fault(self, kind: str, raw: bytes, pixels: int) -> FaultRule | None:
        """Wait out latency and delay, and return the rule of the fault plan to apply."""
        if kind == "unknown":
            return None
        faults = self.server.emulator.faults
        rule = faults.next(kind, raw, pixels)
        latency = faults.plan.latency_s if ":" in kind else 0.0
        delay = latency + (rule.delay_s if rule else 0.0)
        if delay:
            time.sleep(delay)
        return rule

    def _answer(
        self, kind: str, body: Mapping[str, Any], hide: tuple[str, ...]
    ) -> tuple[bytes, str]:
        if kind == "discovery":
            return discovery_document(), "application/json"
        if kind == "algorithms":
            return algorithms(), "application/json"
        if kind == "unknown":
            raise RequestError(
                f"{self.command} {self.path} is not supported by the Earth Engine emulator.", 404
            )
        return self.server.emulator.answer(kind, body, hide)

    def _send(
        self,
        status: int,
        content: bytes,
        content_type: str,
        headers: Mapping[str, str],
        cut: float | None = None,
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if cut is not None:
            content = content[: int(len(content) * cut)]
            self.close_connection = True
        self.wfile.write(content)


def _decode(raw: bytes) -> dict[str, Any]:
    if len(raw) > MAX_BODY_BYTES:
        raise RequestError(f"Request payload size exceeds the limit: {MAX_BODY_BYTES} bytes.")
    try:
        body = json.loads(raw)
    except ValueError as error:
        raise RequestError(f"Invalid JSON payload received. {error}") from None
    if not isinstance(body, dict):
        raise RequestError("Invalid JSON payload received. It must be an object.")
    return body
