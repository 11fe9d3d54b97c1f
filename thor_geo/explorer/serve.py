"""`thor-geo view OUT`: serves the page until Ctrl-C."""

from __future__ import annotations

import threading
import webbrowser

from thor_geo.explorer.http import listen
from thor_geo.explorer.session import ExplorerSession
from thor_geo.runs.opened_run import OpenedRun


def serve(opened: OpenedRun, *, port: int, open_browser: bool, window: int | None = None) -> int:
    """Serve a run's page on the loopback interface until Ctrl-C, and print its address.

    Args:
        opened: The run; it may be unfinished.
        port: Port to listen on, or the next free one if it is taken; 0 for any free port.
        open_browser: Whether to open the page in the user's browser.
        window: Which time window; needed only if there are several.

    Returns:
        0.

    Raises:
        ConfigError: If no port is free, or there are several windows and none is named.
        RunDirectoryError: If the run has no embedding yet, or cannot be read.
    """
    session = ExplorerSession(opened, window=window, progress=True)
    server = listen(session, port)
    try:
        if port not in (0, server.server_port):
            print(f"port {port} is in use")
        print(f"{server.url}\nPress Ctrl-C to stop.", flush=True)
        # In the background, while the user looks at the page for the first time.
        threading.Thread(target=session.prepare, daemon=True).start()
        if open_browser:
            # In a thread, as starting a browser may block.
            threading.Thread(target=webbrowser.open, args=[server.url], daemon=True).start()
        server.serve_forever()
    except KeyboardInterrupt:
        print()
    finally:
        server.server_close()
        session.composite.close()
    return 0
