"""How soon the explorer draws the map of a run on a web server.

Claim (docs/explorer.md, "Runs in stores and on web servers"): `thor-geo view https://...` of
100,000 tiles has drawn its map 3 seconds after it was typed, from less than 30 MB, where each
answer takes 50 ms.

    python -m benchmarks.remote_view            # 2 minutes
    python -m benchmarks.remote_view --quick    # a tenth of the tiles

Writes a run with random vectors of 192 dimensions and serves it over HTTP on the loopback
interface; the server waits before each answer, and lists nothing. Measures from the start of the
command until a headless Chromium that is already open has drawn the map, then a first click, which
reads the vectors, and a second one. Then the same without overview.parquet, as of a run that is
unfinished.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from benchmarks.explorer import ask
from benchmarks.support.browser import REMEDY, find
from benchmarks.support.report import Report, Row, parser
from benchmarks.support.synthetic import prepare, square_plan, write_shards
from benchmarks.support.web_files import WebFiles, web_files
from thor_geo import open_run
from thor_geo.pictures.finished import draw_finished

TILES, DIMENSION = 100_000, 192
#: Seconds before each answer, and times that each way is measured.
LATENCY, TIMES = 0.05, 3
#: Limits: seconds until the map is drawn, and megabytes read for it.
SECONDS, MEGABYTES = 3.0, 30.0


def measured(web: WebFiles, what: str, do: Callable[[], object]) -> Row:
    """Do something; return a row of its time, and of what the server has sent meanwhile."""
    web.forget()
    began = time.monotonic()
    do()
    return {
        "what": what,
        "seconds": round(time.monotonic() - began, 2),
        "requests": len(web.asked),
        "MB": round(web.sent / 1e6, 2),
    }


def view(web: WebFiles, page: Page) -> list[Row]:
    """Measure a command until its map is drawn, and two clicks; return a row each."""
    command = [sys.executable, "-m", "thor_geo", "view", web.url, "--port", "0", "--no-browser"]
    with ExitStack() as stack:
        url = ""

        def draw() -> None:
            nonlocal url
            server = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
            stack.callback(server.wait)
            stack.callback(server.terminate)
            assert server.stdout is not None
            url = server.stdout.readline().strip()
            page.goto(url)
            page.wait_for_selector("html[data-ready]", timeout=600_000)

        def click() -> None:
            ask(url, "similar", unit="tiles", place=100, k=20)

        return [
            measured(web, "until the map is drawn", draw),
            measured(web, "the first click", click),
            measured(web, "the next click", click),
        ]


def median_of(rounds: list[list[Row]], run: str) -> list[Row]:
    """Return the rows of several rounds as one: the medians of their numbers."""
    return [
        {"run": run}
        | {
            name: value if name == "what" else statistics.median(row[name] for row in rows)
            for name, value in rows[0].items()
        }
        for rows in zip(*rounds, strict=True)
    ]


def main() -> int:
    """Run the benchmark; return the exit code."""
    quick = parser(__doc__, "a tenth of the tiles").parse_args().quick
    report = Report(
        name="remote_view",
        claim=f"`thor-geo view` of {TILES:,} tiles on a web server that answers after "
        f"{LATENCY * 1000:.0f} ms has drawn its map {SECONDS:g} s after it was typed, from less "
        f"than {MEGABYTES:g} MB",
        quick=quick,
    )
    chromium = find()
    if chromium is None:
        raise SystemExit(REMEDY)
    with tempfile.TemporaryDirectory(prefix="thor-geo-remote-") as name, ExitStack() as stack:
        folder = Path(name) / "run"
        plan = square_plan(TILES // 10 if quick else TILES)
        run = prepare(folder, plan, DIMENSION)
        write_shards(run, plan, DIMENSION)
        began = time.monotonic()
        draw_finished(run, plan, truecolour=None, windows=None, quicklook=False, changed=True)
        report.figures["seconds to make the overview"] = round(time.monotonic() - began, 1)
        overview = folder / run.overview.name
        report.figures["MB of the overview"] = round(overview.stat().st_size / 1e6, 2)
        report.figures["tiles"], report.figures["shards"] = len(plan), len(plan.shards)
        web = stack.enter_context(web_files(folder, latency=LATENCY))
        playwright = stack.enter_context(sync_playwright())
        browser = chromium.launch(playwright)
        stack.callback(browser.close)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        shown = measured(web, "repr(open_run(...))", lambda: repr(open_run(web.url)))
        rows = median_of([view(web, page) for _ in range(TIMES)], "with its overview")
        report.rows += [*rows, {"run": "with its overview", **shown}]
        overview.unlink()
        report.rows += median_of([view(web, page)], "without an overview")
    if rows[0]["seconds"] > SECONDS:
        report.faults.append(f"the map is drawn after {rows[0]['seconds']:.1f} s")
    if rows[0]["MB"] > MEGABYTES:
        report.faults.append(f"the map takes {rows[0]['MB']:.1f} MB")
    report.notes += [
        "command, web server and browser share the cores; the browser has no GPU",
        f"with its overview: medians of {TIMES}; the clicks are those of the server's answer",
    ]
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
