"""The HTTP transport under the `ee` client: one connection pool per process, with time-outs.

The client as it comes shares one `requests.Session` with every forked child, and with it the
keep-alive sockets: the children then read each other's answers, silently. It also waits for ever
for an answer, and has ten connections however many threads ask. This transport has none of that.
"""

from __future__ import annotations

import ipaddress
import os
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httplib2  # ships no type information
import requests
from requests.adapters import HTTPAdapter

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Seconds to wait for a connection to open.
CONNECT_TIMEOUT_S = 30.0

#: Header that tells of the restricted mode (Earth Engine guide, noncommercial tiers).
QUOTA_HEADER = "x-earth-engine-quota-status"


def is_loopback(url: str) -> bool:
    """Return whether a URL points at this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Transport:
    """An httplib2-like object, as `ee.Initialize(http_transport=...)` takes it.

    Threads share it; a forked child gets a connection pool of its own on its first request.
    """

    def __init__(self, *, read_timeout_s: float, pool_size: int) -> None:
        """Initialize a new Transport instance.

        Args:
            read_timeout_s: Seconds to wait for the next bytes of an answer.
            pool_size: Connections to keep open; as many as there are threads.
        """
        self._timeout = (CONNECT_TIMEOUT_S, read_timeout_s)
        self._pool_size = pool_size
        # By process id; `dict.setdefault` is atomic, so no lock can be inherited in a locked state.
        # Sessions of other processes stay referenced: closing them is their owners' business.
        self._sessions: dict[tuple[int, bool], requests.Session] = {}
        #: How many answers said that the project is in restricted mode.
        self.restricted_answers = 0

    def session(self, url: str) -> requests.Session:
        """Return this process's connection pool for a URL."""
        key = (os.getpid(), is_loopback(url))
        found = self._sessions.get(key)
        return found if found is not None else self._sessions.setdefault(key, self._open(key[1]))

    def _open(self, loopback: bool) -> requests.Session:
        session = requests.Session()
        # A proxy from the environment cannot reach a server on this machine's loopback.
        session.trust_env = not loopback
        # Retries live in one layer, `client.Client`: none here.
        adapter = HTTPAdapter(pool_maxsize=self._pool_size, max_retries=0)
        session.mount("https://", adapter)
        session.mount("http://", adapter)
        return session

    def request(
        self,
        uri: str,
        method: str = "GET",
        body: str | bytes | None = None,
        headers: Mapping[str, str] | None = None,
        redirections: int | None = None,
        connection_type: object = None,
    ) -> tuple[httplib2.Response, bytes]:
        """Make one HTTP request with httplib2's signature.

        Args:
            uri: Address.
            method: HTTP method.
            body: Body to send.
            headers: Headers to send.
            redirections: Accepted for httplib2's sake; requests follows up to 30.
            connection_type: Accepted for httplib2's sake.

        Returns:
            The answer's status and headers, and its body.

        Raises:
            TimeoutError: If no connection or no bytes came in time.
            ConnectionError: If the connection failed or the body was cut short.
        """
        try:
            answer = self.session(uri).request(
                method, uri, data=body, headers=headers, timeout=self._timeout
            )
        except requests.exceptions.Timeout as error:
            raise TimeoutError(f"no answer from {urlsplit(uri).netloc} in time: {error}") from error
        except (
            requests.exceptions.ConnectionError,
            requests.exceptions.ChunkedEncodingError,
            requests.exceptions.ContentDecodingError,
        ) as error:
            raise ConnectionError(f"{urlsplit(uri).netloc}: {error}") from error
        if "parallelism_restricted=true" in answer.headers.get(QUOTA_HEADER, ""):
            self.restricted_answers += 1
        fields = {name.lower(): value for name, value in answer.headers.items()}
        fields["status"] = str(answer.status_code)
        response = httplib2.Response(fields)
        response.reason = answer.reason
        return response, answer.content

    def close(self) -> None:
        """Close this process's connections."""
        for key in [key for key in self._sessions if key[0] == os.getpid()]:
            self._sessions.pop(key).close()
