"""A run's page inside a notebook: an inline frame, and the server behind it."""

from __future__ import annotations

import atexit
import threading
from html import escape
from typing import Self

from thor_geo.errors import ConfigError
from thor_geo.explorer.http import Server, listen
from thor_geo.explorer.session import ExplorerSession
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.support.redact import redact

# Less shows the page's head and no map, pixels.
_LEAST_HEIGHT = 200


class InlineExplorer:
    """The page of a run in the output of a notebook's cell, until it is closed.

    The browser has to run on the machine of the kernel: the page is served to that alone.

    Attributes:
        height: Height of the frame in pixels.
    """

    def __init__(
        self, opened: OpenedRun, *, window: int | None = None, port: int = 0, height: int = 640
    ) -> None:
        """Initialize a new InlineExplorer instance: read the run, and serve its page.

        Args:
            opened: The run; it may be unfinished.
            window: Which time window; needed only if there are several.
            port: Port to listen on, or the next free one if it is taken; 0 for any free port.
            height: Height of the frame in pixels.

        Raises:
            ConfigError: If no port is free, the height is too small, or there are several windows
                and none is named.
            RunDirectoryError: If the run has no embedding yet, or cannot be read.
        """
        self.height = _checked_height(height)
        self._path = opened.run.path
        session = ExplorerSession(opened, window=window)
        # Now and not in a thread: it imports, which fails in one when Python ends meanwhile.
        session.prepare()
        self._server: Server | None = listen(session, port, framed=True)
        self._url = self._server.url
        # A daemon: it ends with the kernel, however that ends.
        serving = threading.Thread(target=self._server.serve_forever, daemon=True)
        serving.name = "thor-geo-explorer"
        serving.start()
        atexit.register(self.close)

    @property
    def url(self) -> str:
        """Address of the page, with its secret path; nobody answers there once it is closed."""
        return self._url

    @property
    def closed(self) -> bool:
        """Whether the server has ended."""
        return self._server is None

    def resized(self, height: int) -> Self:
        """Return the same page with another height.

        Args:
            height: Height of the frame in pixels.

        Raises:
            ConfigError: If it is too small.
        """
        self.height = _checked_height(height)
        return self

    def close(self) -> None:
        """End the server; the page in the notebook no longer answers. May be called again."""
        if self._server is None:
            return
        server, self._server = self._server, None
        atexit.unregister(self.close)
        server.shutdown()
        server.server_close()
        server.session.composite.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def __repr__(self) -> str:
        """Return the run and the address."""
        where = "closed" if self.closed else f"at {self.url}"
        return redact(f"<explorer of {str(self._path)!r}: {where}>")

    def _repr_html_(self) -> str:
        """Return the frame."""
        name = escape(redact(str(self._path)))
        if self.closed:
            return f"<p>The explorer of <code>{name}</code> is closed: run.explore() opens it.</p>"
        # `srcdoc` and `sandbox` would make it a page of another origin, whose requests are refused.
        return (
            f'<iframe src="{self.url}" title="Explorer of {name}" width="100%" '
            f'height="{self.height}" style="border: 1px solid #cbd5e1" allow="fullscreen"></iframe>'
        )


def _checked_height(height: int) -> int:
    if not isinstance(height, int) or height < _LEAST_HEIGHT:
        raise ConfigError(
            "height", height, "too small for a map", f"Give {_LEAST_HEIGHT} pixels or more."
        )
    return height
