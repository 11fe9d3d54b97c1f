"""The page of a run in the output of a notebook's cell, in a real Chromium."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest import mock

import nbformat
import pytest
from nbclient import NotebookClient
from nbconvert import HTMLExporter
from playwright.sync_api import Frame, Page

from tests.support.explorer_page import at, colour
from tests.support.synthetic_run import plan_of, write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shown") / "run"
    write_run(path, plan_of())
    return path


@pytest.fixture
def notebook(run: Path) -> Any:
    source = f"import thor_geo\nrun = thor_geo.open_run({str(run)!r})\nrun.explore(height=480)"
    return nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(source)],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
    )


@pytest.fixture
def environment(tmp_path: Path, root: Path) -> Iterator[dict[str, str]]:
    """Give Jupyter folders of its own, and kernels this checkout."""
    folders = ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR")
    changes = {name: str(tmp_path / name.lower()) for name in folders} | {"PYTHONPATH": str(root)}
    with mock.patch.dict(os.environ, changes):
        yield {**os.environ}


def _abort(route: Any) -> None:
    route.abort()


@contextmanager
def serving(html: str) -> Iterator[int]:
    """Serve a page, as Jupyter serves a notebook; yield the port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = html.encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_port
        server.shutdown()


def check_map(page: Page, run: Path) -> Frame:
    """Check that the only frame draws every tile in its colour, and answers a click."""
    element = page.wait_for_selector("iframe", timeout=60_000)
    assert element is not None
    element.scroll_into_view_if_needed()
    frame, box = element.content_frame(), element.bounding_box()
    assert frame is not None
    assert box is not None
    frame.wait_for_selector("html[data-ready]", state="attached", timeout=60_000)
    rgb = frame.evaluate("() => Array.from(explorer.now.places.rgb)")
    assert len(rgb) == 3 * len(plan_of())
    inside: Any = frame  # `at` asks a page, or a frame in its own coordinates
    for place in range(0, len(rgb) // 3, 6):
        x, y = at(inside, place)
        shown = colour(page, box["x"] + 1 + x, box["y"] + 1 + y)
        assert shown == pytest.approx(rgb[3 * place : 3 * place + 3], abs=2)
    page.mouse.click(box["x"] + 1 + x, box["y"] + 1 + y)
    frame.wait_for_function("() => explorer.now.query")
    return frame


def test_the_map_is_in_the_output_of_a_cell_and_ends_with_the_kernel(
    browser: Any, notebook: Any, environment: dict[str, str], run: Path
) -> None:
    client = NotebookClient(notebook, kernel_name="python3", timeout=120)
    with client.setup_kernel():
        client.execute_cell(notebook.cells[0], 0)
        html, _ = HTMLExporter().from_notebook_node(notebook)
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        # What the exported page asks other hosts for is not there, as on a train.
        page.route(lambda url: "localhost" not in url and "127.0.0.1" not in url, _abort)
        with serving(html) as port:
            page.goto(f"http://localhost:{port}/", wait_until="domcontentloaded")
            url = check_map(page, run).url
            # A page of another site cannot show it, even if it knew the address.
            with page.expect_console_message(lambda said: "frame-ancestors" in said.text):
                page.goto(f"http://other.localhost:{port}/", wait_until="domcontentloaded")
            assert page.frames[1].query_selector("html[data-ready], #map") is None
        page.close()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(url)


@contextmanager
def jupyterlab(folder: Path, environment: dict[str, str]) -> Iterator[str]:
    """Serve a folder with JupyterLab; yield the address of its files, with ``{}`` for the name."""
    token, log = secrets.token_hex(16), (folder / "jupyter.log").open("w+")
    options = {
        "ServerApp.open_browser": False,
        "ServerApp.ip": "127.0.0.1",
        "ServerApp.port": 0,
        "ServerApp.root_dir": folder,
        "ServerApp.allow_root": True,
        "IdentityProvider.token": token,
    }
    arguments = [f"--{name}={value}" for name, value in options.items()]
    command = [sys.executable, "-m", "jupyterlab", *arguments]
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        address = _address(process, Path(environment["JUPYTER_RUNTIME_DIR"]))
        yield f"{address}lab/tree/{{}}?token={token}"
    finally:
        process.terminate()
        process.wait(timeout=60)
        log.close()


def _address(process: Any, runtime: Path) -> str:
    """Return the address of a server, which it writes into a file when it listens."""
    for _ in range(600):
        assert process.poll() is None
        for file in runtime.glob(f"jpserver-{process.pid}.json"):
            return str(json.loads(file.read_text())["url"])
        time.sleep(0.1)
    raise TimeoutError("JupyterLab does not listen")


@pytest.mark.long
def test_jupyterlab_shows_the_map(
    browser: Any, notebook: Any, environment: dict[str, str], run: Path, tmp_path: Path
) -> None:
    pytest.importorskip("jupyterlab")
    folder = tmp_path / "notebooks"
    folder.mkdir()
    nbformat.write(notebook, folder / "look.ipynb")
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    with jupyterlab(folder, environment) as address:
        page.goto(address.format("look.ipynb"))
        idle = '.jp-Notebook-ExecutionIndicator[data-status="idle"]'
        page.wait_for_selector(idle, state="attached", timeout=120_000)
        # While JupyterLab is still busy with itself it may miss a key.
        started = page.locator(".jp-Cell .jp-InputPrompt", has_text=re.compile(r"\[[*1-9]"))
        while not started.count():
            page.click(".jp-Cell .jp-InputArea-editor")
            page.keyboard.press("Shift+Enter")
            page.wait_for_timeout(3000)
        check_map(page, run)
    page.close()
