"""If one of these fails, people who find a run cannot tell what it is, open it or cite it."""

from __future__ import annotations

import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import geopandas
import pytest
import xarray
import yaml

from tests.support.place_run import write_places
from tests.support.windowed_run import write_windows
from thor_geo.ground.plan import Plan
from thor_geo.publish import Terms, publish_run
from thor_geo.publish.credits import SOFTWARE, THOR_PAPER
from thor_geo.runs import RunDirectory
from thor_geo.runs.opened_run import read_run

ROOT = Path(__file__).parents[3]


class Links(HTMLParser):
    """Collects what a page refers to, and checks that tags are closed."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [str(value) for name, value in attrs if name in ("href", "src")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def page_of(run: Path, terms: Terms) -> str:
    return publish_run(read_run(run), terms).contents["index.html"].decode()


def code_of(page: str) -> str:
    """Return the page's code that works without thor-geo."""
    (block,) = re.findall(r"<pre><code>(.*?)</code></pre>", page, re.DOTALL)
    return unescape(block)


def test_the_page_needs_nothing_but_the_files_beside_it(run: RunDirectory) -> None:
    page = page_of(Path(str(run.path)), Terms())
    links = Links()
    links.feed(page)
    assert links.open == []
    here = [href for href in links.found if not href.startswith("https://")]
    assert "quicklook.png" in here
    assert [href for href in here if not (run.path / href).exists()] == []
    assert "<script" not in page
    assert not re.search(r"""(?:src=|@import|url\()["']?https?:""", page)


def test_the_page_warns_of_random_weights_and_gives_their_checksum(run: RunDirectory) -> None:
    page = page_of(Path(str(run.path)), Terms())
    assert "weights are RANDOM" in page
    assert 'class="warning"' in page
    assert "random weights (seed 0)" in page
    assert "None is stated" in page


def test_what_the_publisher_says_is_text_and_not_markup(run: RunDirectory) -> None:
    terms = Terms(title="<b>A & B</b>", provider='"C"', description="$x <i>", licence="CC-BY-4.0")
    page = page_of(Path(str(run.path)), terms)
    assert "<b>" not in page
    assert "<i>" not in page
    assert "&lt;b&gt;A &amp; B&lt;/b&gt;" in page
    assert "$x &lt;i&gt;" in page
    assert 'href="https://spdx.org/licenses/CC-BY-4.0.html">CC-BY-4.0' in page


def test_the_code_of_the_page_runs_where_the_page_lies(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = code_of(page_of(Path(str(run.path)), Terms()))
    monkeypatch.chdir(str(run.path))
    names: dict[str, object] = {}
    exec(code, names)
    assert isinstance(names["tiles"], geopandas.GeoDataFrame)
    assert isinstance(names["maps"], xarray.DataArray)


def test_the_code_for_windows_and_places_runs_too(
    tmp_path: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_windows(tmp_path / "seasons", plan)
    write_places(tmp_path / "survey")
    for name in ("seasons", "survey"):
        code = code_of(page_of(tmp_path / name, Terms()))
        monkeypatch.chdir(tmp_path / name)
        names: dict[str, object] = {}
        exec(code, names)
        assert isinstance(names["maps"], xarray.DataArray)


def test_the_code_names_the_address_if_there_is_one(run: RunDirectory) -> None:
    page = page_of(Path(str(run.path)), Terms(url="https://data.example.org/oslo"))
    assert 'ADDRESS = "https://data.example.org/oslo"\n' in code_of(page)


def test_the_citations_are_those_of_citation_cff() -> None:
    facts = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    (paper,) = facts["references"]
    for part in (paper["title"], paper["url"], str(paper["year"]), "arXiv:2601.16011"):
        assert part in THOR_PAPER
    for author in paper["authors"]:
        assert author["family-names"] in THOR_PAPER
    assert facts["title"] in SOFTWARE
    assert facts["authors"][0]["name"] in SOFTWARE
