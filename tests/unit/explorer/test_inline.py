"""If these fail, a notebook cannot show the page, another site can, or it outlives its kernel."""

from __future__ import annotations

import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.support.synthetic_run import ONE_ZONE, plan_of, write_run
from tests.support.windowed_run import write_windows
from thor_geo import open_run
from thor_geo.errors import ConfigError, RunDirectoryError
from thor_geo.explorer.inline import InlineExplorer
from thor_geo.runs.opened_run import OpenedRun


def policy(url: str) -> str:
    with urllib.request.urlopen(url) as page:
        assert b"<title>thor-geo" in page.read()
        return str(page.headers["Content-Security-Policy"])


def test_notebooks_on_this_machine_may_show_it_and_no_other_page(opened: OpenedRun) -> None:
    with InlineExplorer(opened) as page:
        ancestors = policy(page.url).rpartition("frame-ancestors ")[2].split()
        assert {"http://localhost:*", "http://127.0.0.1:*"} <= set(ancestors)
        assert all(
            source == "vscode-webview:" or source.endswith(("//localhost:*", "//127.0.0.1:*"))
            for source in ancestors
        )
        assert f'src="{page.url}"' in page._repr_html_()
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(page.url.rpartition("/")[0][:-3])


def test_it_ends_when_it_is_closed(opened: OpenedRun) -> None:
    before = threading.active_count()
    page = InlineExplorer(opened, height=300)
    url = page.url
    assert url in repr(page)
    page.close()
    page.close()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(url)
    assert page.closed
    assert url not in page._repr_html_() + repr(page)
    names = [thread.name for thread in threading.enumerate()]
    assert "thor-geo-explorer" not in names
    assert threading.active_count() <= before + 1


def test_it_ends_with_its_process(opened: OpenedRun) -> None:
    code = "import sys, thor_geo\npage = thor_geo.open_run(sys.argv[1]).explore()\nprint(page.url)"
    done = subprocess.run(
        [sys.executable, "-c", code, str(opened.run.path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == ""
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(done.stdout.strip())


def test_a_run_has_one_server_until_it_is_closed(opened: OpenedRun) -> None:
    run = open_run(opened.run.path)
    first = run.explore()
    again = run.explore(height=900)
    assert again.url == first.url
    assert 'height="900"' in again._repr_html_()
    first.close()
    third = run.explore()
    assert third.url != first.url
    third.close()


def test_what_cannot_be_shown_is_told(opened: OpenedRun, tmp_path: Path) -> None:
    run = open_run(opened.run.path)
    for height in (0, 199, "640"):
        with pytest.raises(ConfigError, match="height="):
            run.explore(height=height)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="port=70000"):
        run.explore(70_000)
    write_run(tmp_path / "run", plan_of(ONE_ZONE), only=0)
    with pytest.raises(RunDirectoryError, match="no tile with an embedding yet"):
        open_run(tmp_path / "run").explore()
    write_windows(tmp_path / "windows", plan_of(ONE_ZONE))
    with pytest.raises(ConfigError, match=r"3 time windows"):
        open_run(tmp_path / "windows").explore()
    open_run(tmp_path / "windows", window=1).explore().close()
