"""The session with Earth Engine: settings, and the client set up once per process.

The `ee` client keeps one global state per process. An `EarthEngineSession` sets that state up when
it is first used, and again where another session or a fork came in between; constructing one does
nothing.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from thor_geo.errors import ProjectError
from thor_geo.sources.earthengine.credentials import load_credentials
from thor_geo.sources.earthengine.spec import SessionSpec

if TYPE_CHECKING:
    from thor_geo.sources.earthengine.transport import EarthEngineTransport

logger = logging.getLogger(__name__)


#: Project id sent where none is needed: the client insists on one, a local server ignores it.
ANONYMOUS_PROJECT = "thor-geo-anonymous"

#: Seconds that the client's list of deprecated assets may take to arrive.
CATALOG_TIMEOUT_S = 10.0


# What the client's global state is set up for: process id, spec and transport.
_active: tuple[int, SessionSpec, EarthEngineTransport] | None = None
_lock = threading.RLock()


def _renew_lock() -> None:
    # A fork may happen while another thread holds the lock; in the child nobody would release it.
    global _lock
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_renew_lock)


class EarthEngineSession:
    """Access to Earth Engine under one spec; the client is set up on first use.

    One process uses one session at a time: threads must not alternate between two, because the
    client's state is global. A notebook's own earlier ``ee.Initialize()`` is replaced.
    """

    def __init__(self, spec: SessionSpec) -> None:
        """Initialize a new EarthEngineSession instance.

        Args:
            spec: The session's settings.
        """
        self.spec = spec

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the spec alone: sockets and credentials stay where they are."""
        return {"spec": self.spec}

    @property
    def ready(self) -> bool:
        """Whether the client of this process is set up for this session."""
        active = _active
        return active is not None and active[:2] == (os.getpid(), self.spec)

    def ensure(self) -> EarthEngineTransport:
        """Set the client up for this session unless it is.

        Returns:
            The transport in use in this process.

        Raises:
            AuthenticationError: If there are no usable credentials.
            ProjectError: If no project is known.
            Exception: Whatever the client raises when the service refuses or cannot be reached;
                `EarthEngineClient` turns that into this package's errors.
        """
        return initialize(self.spec)


def initialize(spec: SessionSpec) -> EarthEngineTransport:
    """Set up the `ee` client of this process for a spec, unless that is done already.

    Args:
        spec: The session's settings.

    Returns:
        The transport in use.

    Raises:
        AuthenticationError: If there are no usable credentials.
        ProjectError: If no project is known.
        Exception: Whatever the client raises, see `Session.ensure`.
    """
    global _active
    pid = os.getpid()
    active = _active
    if active is not None and active[:2] == (pid, spec):
        return active[2]
    with _lock:
        if _active is not None and _active[:2] == (pid, spec):
            return _active[2]
        _active = None
        transport = _set_up(spec)
        _active = (pid, spec, transport)
        return transport


def _set_up(spec: SessionSpec) -> EarthEngineTransport:
    import ee

    from thor_geo.sources.earthengine.transport import EarthEngineTransport

    credentials = load_credentials(spec)
    project = _project(spec, credentials)
    transport = EarthEngineTransport(read_timeout_s=spec.read_timeout_s, pool_size=spec.pool_size)
    # Forget another endpoint, its credentials and its list of functions.
    ee.Reset()
    # `EarthEngineClient` is the one layer of retries. The `ee` client's own would multiply with it,
    # sleep without regard to Retry-After, and hide how often the service refused.
    ee.data.setMaxRetries(0)
    with _guarded_catalog(spec):
        ee.Initialize(
            credentials=credentials,
            project=project,
            url=spec.endpoint,
            http_transport=transport,
        )
    logger.info("Earth Engine client ready: %s, project %s", spec.endpoint, project)
    return transport


def _project(spec: SessionSpec, credentials: Any) -> str:
    if spec.project:
        return spec.project
    if spec.credentials == "anonymous":
        return ANONYMOUS_PROJECT
    project = getattr(credentials, "project_id", None) or getattr(
        credentials, "quota_project_id", None
    )
    if not project:
        raise ProjectError(
            "`data.earthengine.project=None`: Earth Engine needs a cloud project, and the "
            "credentials name none. Set `data.earthengine.project` to the id of a project that is "
            "registered for Earth Engine (https://console.cloud.google.com/earth-engine), or run "
            "`earthengine set_project ID`."
        )
    return str(project)


@contextmanager
def _guarded_catalog(spec: SessionSpec) -> Iterator[None]:
    """Keep `ee.Initialize` from hanging on its list of deprecated assets.

    The client downloads that list from storage.googleapis.com without a time-out, only to warn
    about old asset ids. On a node whose firewall drops packets it would wait for ever. With an
    endpoint other than Google's the list means nothing and is not fetched; otherwise it gets
    `CATALOG_TIMEOUT_S`.
    """
    from ee import deprecation

    original: Callable[[], dict[str, Any]] | None = getattr(
        deprecation, "_FetchDataCatalogStac", None
    )
    if original is None:  # the client no longer fetches it this way
        yield
        return

    def fetch() -> dict[str, Any]:
        return {} if spec.url is not None else _fetch_catalog(deprecation._DEPRECATED_ASSETS_URL)

    deprecation._FetchDataCatalogStac = fetch
    try:
        yield
    finally:
        deprecation._FetchDataCatalogStac = original


def _fetch_catalog(url: str) -> dict[str, Any]:
    import requests

    try:
        answer = requests.get(url, timeout=CATALOG_TIMEOUT_S)
        answer.raise_for_status()
        catalog: dict[str, Any] = answer.json()
    except (requests.RequestException, ValueError) as error:
        logger.warning(
            "Earth Engine's list of deprecated assets could not be read (%s): the client will not "
            "warn about old asset ids. Nothing else depends on it.",
            error,
        )
        return {}
    return catalog
