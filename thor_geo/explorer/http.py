"""The web server, on this machine only and for users who know its address.

Every path starts with a secret that is made at the start. Other users of the machine, and pages of
other sites in the same browser, do not know it. No path reaches the file system: pages are read
once, at the start, and everything else is looked up by name in a table.
"""

from __future__ import annotations

import json
import logging
import secrets
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any

from thor_geo.errors import ConfigError, InputError, ThorGeoError
from thor_geo.explorer.requests import answer
from thor_geo.explorer.session import ExplorerSession
from thor_geo.support.redact import redact

_log = logging.getLogger(__name__)

HOST = "127.0.0.1"
#: Ports that are tried after one that is taken.
MORE_PORTS = 20
# Longest body, bytes: a million examples.
_LONGEST = 8 * 1024**2
# A connection that is silent for so long is closed, seconds.
_PATIENCE = 30

_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
# No content from elsewhere, no inline scripts or styles; who may show the page in a frame follows.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors"
)
# Jupyter on this machine, whatever its port, and Visual Studio Code, which shows outputs in frames
# of its own scheme.
_NOTEBOOKS = " ".join(
    [f"{scheme}://{name}:*" for scheme in ("http", "https") for name in (HOST, "localhost")]
    + ["vscode-webview:"]
)
_NOBODY = "'none'"
_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Server(ThreadingHTTPServer):
    """Serves one session on the loopback interface.

    Attributes:
        session: The run.
        secret: First part of every path.
        url: Address of the page.
        policy: Where the page's content may come from, and who may show it in a frame.
    """

    daemon_threads = True
    # On Windows, it would share a port that another program listens on.
    allow_reuse_address = sys.platform != "win32"

    def __init__(self, session: ExplorerSession, port: int, *, framed: bool = False) -> None:
        """Initialize a new Server instance.

        Args:
            session: The run.
            port: Port to listen on; 0 for any free port.
            framed: Whether notebooks on this machine may show the page in a frame; no page may
                otherwise.

        Raises:
            OSError: If the port is taken.
        """
        super().__init__((HOST, port), _ExplorerHandler)
        self.policy = f"{_POLICY} {_NOTEBOOKS if framed else _NOBODY}"
        self.session = session
        self.secret = secrets.token_urlsafe(16)
        self.hosts = {f"{name}:{self.server_port}" for name in (HOST, "localhost")}
        self.url = f"http://{HOST}:{self.server_port}/{self.secret}/"
        self.pages = {
            page.name: page.read_bytes()
            for page in files("thor_geo.explorer").joinpath("static").iterdir()
            if page.name.rpartition(".")[2] in _TYPES
        }

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log the error for debugging only: a browser may close a connection at any time."""
        _log.debug("A request was broken off.", exc_info=True)


def listen(session: ExplorerSession, port: int, *, framed: bool = False) -> Server:
    """Return a server on a port, or on the next one that is free.

    Args:
        session: The run.
        port: The port; 0 for any free port.
        framed: See `Server`.

    Raises:
        ConfigError: If it is out of range, or neither it nor one of the next `MORE_PORTS` is free.
    """
    if not 0 <= port <= 65535:
        raise ConfigError(
            "port", port, "not a port from 0 to 65535", "Leave it out to use the default."
        )
    last = min(port + MORE_PORTS, 65535) if port else 0
    for number in range(port, last + 1):
        try:
            return Server(session, number, framed=framed)
        except OSError as error:
            problem = error
    raise ConfigError(
        "port",
        port,
        f"cannot listen on any port from {port} to {last} ({problem.strerror})",
        "Give another port, or 0 for any free one.",
    )


class _ExplorerHandler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "thor-geo", ""
    timeout = _PATIENCE
    # Otherwise the kernel delays the end of a response until the page has acknowledged the rest.
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        name = self._checked_path()
        if name is None:
            return
        name = name or "index.html"
        page = self.server.pages.get(name)
        if page is None:
            self._refuse(HTTPStatus.NOT_FOUND, "No such page.")
        else:
            self._send(HTTPStatus.OK, _TYPES[name.rpartition(".")[2]], page)

    def do_POST(self) -> None:
        name = self._checked_path()
        if name is None:
            return
        body = self._body()
        if body is None:
            return
        try:
            reply = answer(self.server.session, name.removeprefix("api/"), body)
        except InputError as error:
            self._refuse(HTTPStatus.BAD_REQUEST, str(error))
        except ThorGeoError as error:
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, str(error))
        except Exception as error:
            # Logged here and shown in the page: the next request may succeed.
            _log.exception("`%s` failed.", name)
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, f"{type(error).__name__}: {error}")
        else:
            if reply is None or not name.startswith("api/"):
                self._refuse(HTTPStatus.NOT_FOUND, "No such request.")
                return
            body = reply.body if isinstance(reply.body, bytes) else _json(reply.body)
            self._send(HTTPStatus.OK, reply.media_type, body, name=reply.name)

    def log_message(self, format: str, *args: Any) -> None:
        _log.debug(format, *args)

    def _checked_path(self) -> str | None:
        """Return the path after the secret; None if the request was refused."""
        # A site whose name is made to point here ("DNS rebinding") still sends its own name.
        if self.headers.get("Host") not in self.server.hosts:
            self._refuse(HTTPStatus.MISDIRECTED_REQUEST, "This is not the host you asked for.")
            return None
        path = self.path.partition("?")[0]
        first, _, name = path.removeprefix("/").partition("/")
        if not secrets.compare_digest(first.encode(), self.server.secret.encode()):
            self._refuse(
                HTTPStatus.FORBIDDEN, "Open the full address that `thor-geo view` printed."
            )
            return None
        return name

    def _body(self) -> bytes | None:
        origin = self.headers.get("Origin")
        if origin is not None and origin.removeprefix("http://") not in self.server.hosts:
            self._refuse(HTTPStatus.FORBIDDEN, "Requests from other sites are refused.")
            return None
        if self.headers.get_content_type() != "application/json":
            self._refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Send JSON.")
            return None
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()) or int(length) > _LONGEST:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "Too many examples.")
            return None
        return self.rfile.read(int(length))

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        # The rest of the request is not read.
        self.close_connection = True
        self._send(status, "application/json", _json({"error": redact(why)}))

    def _send(
        self, status: HTTPStatus, media_type: str, body: bytes, *, name: str | None = None
    ) -> None:
        self.send_response(status)
        for key, value in _HEADERS.items():
            self.send_header(key, value)
        self.send_header("Content-Security-Policy", self.server.policy)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        if name is not None:
            self.send_header("Content-Disposition", f'attachment; filename="{name}"')
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)


def _json(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False).encode()
