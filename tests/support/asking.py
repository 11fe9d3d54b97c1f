"""A server in the background, and the page's side of its answers."""

from __future__ import annotations

import http.client
import json
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from thor_geo.explorer.http import Server
from thor_geo.explorer.session import ExplorerSession


@contextmanager
def running(session: ExplorerSession) -> Iterator[Server]:
    """Serve a session on a free port."""
    server = Server(session, 0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def request(
    server: Server,
    method: str,
    path: str,
    body: bytes | None = None,
    **headers: str | None,
) -> tuple[int, bytes, http.client.HTTPMessage]:
    """Ask for a path after the secret (or from the root, if it begins with a slash)."""
    given = {"Content_Type": "application/json", **headers}
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    try:
        whole = path if path.startswith("/") else f"/{server.secret}/{path}"
        sent = {name.replace("_", "-"): value for name, value in given.items() if value is not None}
        connection.request(method, whole, body, sent)
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers
    finally:
        connection.close()


def ask(server: Server, question: str, **given: Any) -> bytes:
    """Ask as the page does."""
    status, body, _ = request(server, "POST", f"api/{question}", json.dumps(given).encode())
    assert status == 200, body
    return body


def unpacked(body: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read what `frames.packed` has written, by its description."""
    (length,) = struct.unpack_from("<I", body)
    header = json.loads(body[4 : 4 + length])
    arrays = {
        one["name"]: np.frombuffer(body, one["dtype"], one["n"], 4 + length + one["offset"])
        for one in header["arrays"]
    }
    return header, arrays
