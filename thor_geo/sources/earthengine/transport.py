"""The HTTP transport under the `ee` client: one connection pool per process, with time-outs.

The client as it comes shares one `requests.Session` with every forked child, and with it the
keep-alive sockets: the children then read each other's answers, silently. It also waits for ever
for an answer, and has ten connections however many threads ask. This transport has none of that.
"""

from __future__ import annotations

import ipaddress
import os
import threading
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import httplib2  # ships no type information
import requests
from requests.adapters import HTTPAdapter

from thor_geo.sources.policy import TruncatedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

#: Seconds to wait for a connection to open.
CONNECT_TIMEOUT_S = 30.0

#: Header that announces the restricted mode (Earth Engine guide, noncommercial tiers).
QUOTA_HEADER = "x-earth-engine-quota-status"


def is_loopback(url: str) -> bool:
    """Return whether a URL points at this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _host(uri: str) -> str:
    """Return host and port alone: the rest of an address may hold a password."""
    parts = urlsplit(uri)
    return parts.netloc.rpartition("@")[2]


def _without_answer(uri: str, error: requests.exceptions.ConnectionError) -> Exception:
    """Return a TimeoutError for an answer that stalled, a ConnectionError for a lost connection."""
    # What stalls in the middle of a body reaches requests as a ConnectionError too.
    if "Read timed out" in str(error):
        return TimeoutError(f"no answer from {_host(uri)} in time: {error}")
    return ConnectionError(f"{_host(uri)}: {error}")


class _Pool(NamedTuple):
    """Connections to one host, and what the environment says about them."""

    adapter: HTTPAdapter
    settings: dict[str, Any]


class EarthEngineTransport:
    """An httplib2-like object, as `ee.Initialize(http_transport=...)` takes it.

    Threads share it; a forked child gets a connection pool of its own on its first request.
    """

    def __init__(self, *, read_timeout_s: float, pool_size: int) -> None:
        """Initialize a new EarthEngineTransport instance.

        Args:
            read_timeout_s: Seconds to wait for the next bytes of an answer.
            pool_size: Connections to keep open; as many as there are threads.
        """
        self._timeout = (CONNECT_TIMEOUT_S, read_timeout_s)
        self._pool_size = pool_size
        # By process id, scheme and host; `dict.setdefault` is atomic, so no lock can be inherited
        # in a locked state. Pools of other processes stay referenced: closing them is their
        # owners' business.
        self._pools: dict[tuple[int, str, str], _Pool] = {}
        self._thread = threading.local()

    @property
    def restricted(self) -> bool:
        """Whether this thread's last answer said that the project is in restricted mode."""
        return bool(getattr(self._thread, "restricted", False))

    @contextmanager
    def taking_turns(self, turn: Callable[[], AbstractContextManager[None]]) -> Iterator[None]:
        """Give each of this thread's requests a turn, from sending to the end of the answer.

        The client builds a request for milliseconds before it sends it: a slot of a budget that
        was held from the client's call on would stand idle for as long.

        Args:
            turn: Returns what a request enters before it is sent, and leaves when it is answered.
                What it raises, `request` raises.
        """
        self._thread.turn = turn
        try:
            yield
        finally:
            self._thread.turn = nullcontext

    def _pool(self, uri: str) -> _Pool:
        """Return this process's connections to a host."""
        parts = urlsplit(uri)
        key = (os.getpid(), parts.scheme, parts.netloc)
        pool = self._pools.get(key)
        return pool if pool is not None else self._pools.setdefault(key, self._open(uri))

    def _open(self, uri: str) -> _Pool:
        session = requests.Session()
        # A proxy from the environment cannot reach a server on this machine's loopback.
        session.trust_env = not is_loopback(uri)
        settings = session.merge_environment_settings(uri, {}, False, None, None)
        # Retries live in one layer, `EarthEngineClient`: none here.
        adapter = HTTPAdapter(pool_maxsize=self._pool_size, max_retries=0)
        return _Pool(adapter, dict(settings))

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
            redirections: Accepted for httplib2's sake; none is followed, the service makes none.
            connection_type: Accepted for httplib2's sake.

        Returns:
            The answer's status and headers, and its body.

        Raises:
            ConnectionError: If there was no connection, or it ended before any answer came.
            TimeoutError: If there was a connection, and no bytes came in time.
            TruncatedError: If an answer began and was cut short.
        """
        # Past the session: its cookies, hooks and look-ups of settings cost time at each request.
        pool = self._pool(uri)
        request = requests.Request(method, uri, headers=dict(headers or {}), data=body).prepare()
        turn = getattr(self._thread, "turn", nullcontext)
        try:
            with turn():
                answer = pool.adapter.send(request, timeout=self._timeout, **pool.settings)
                content = answer.content
        except requests.exceptions.ReadTimeout as error:
            raise TimeoutError(f"no answer from {_host(uri)} in time: {error}") from error
        except (
            requests.exceptions.ChunkedEncodingError,
            requests.exceptions.ContentDecodingError,
        ) as error:
            raise TruncatedError(f"{_host(uri)}: {error}") from error
        except requests.exceptions.ConnectionError as error:  # a time-out of connecting as well
            raise _without_answer(uri, error) from error
        restricted = "parallelism_restricted=true" in answer.headers.get(QUOTA_HEADER, "")
        self._thread.restricted = restricted
        fields = {name.lower(): value for name, value in answer.headers.items()}
        fields["status"] = str(answer.status_code)
        response = httplib2.Response(fields)
        response.reason = answer.reason
        return response, content

    def close(self) -> None:
        """Close this process's connections."""
        for key in [key for key in self._pools if key[0] == os.getpid()]:
            self._pools.pop(key).adapter.close()
