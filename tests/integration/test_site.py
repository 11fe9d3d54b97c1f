"""If one of these fails, the documentation has a dead end, or a reader's browser goes elsewhere."""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
import zlib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.exceptions import Abort

import thor_geo
from thor_geo import datamodules, errors
from thor_geo.cli.main import COMMANDS

ROOT = Path(__file__).parents[2]
PUBLIC = [
    *(getattr(thor_geo, name) for name in thor_geo.__all__),
    *(getattr(datamodules, name) for name in datamodules.__all__),
    *(
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and kind.__module__ == errors.__name__
    ),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as `make site` builds it: a warning is an error."""
    path = tmp_path_factory.mktemp("site")
    # Not --quiet: what is not logged is not counted either, and the build would pass.
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(path)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if not line.startswith("INFO ")] == []
    return path


@pytest.mark.long
def test_every_public_name_is_in_the_reference(site: Path) -> None:
    # Four lines of text, then a packed line for each object: its name comes first.
    content = (site / "objects.inv").read_bytes().split(b"\n", 4)[4]
    known = {line.split()[0] for line in zlib.decompress(content).decode().splitlines()}
    names = {f"{one.__module__}.{one.__qualname__}" for one in PUBLIC}
    assert len(names) > 30
    assert names - known == set()


@pytest.mark.long
def test_the_help_of_every_command_is_there(site: Path) -> None:
    text = html.unescape((site / "reference" / "commands.html").read_text())
    assert [name for name in COMMANDS if f"usage: thor-geo {name} " not in text] == []


@pytest.mark.long
def test_the_page_of_settings_has_them_all(site: Path) -> None:
    text = (site / "reference" / "settings.html").read_text()
    assert len(re.findall(r"<code>(?:model|data|output)\.[\w.]+</code>", text)) > 50


@pytest.mark.long
def test_links_out_of_docs_lead_to_pages_that_show_the_files(site: Path) -> None:
    link = "files/configs/cluster/slurm.sbatch.html"
    assert f'href="{link}"' in (site / "clusters.html").read_text()
    assert "#SBATCH" in html.unescape(re.sub("<[^>]+>", "", (site / link).read_text()))
    assert 'href="reference/settings.html"' in (site / "folder.html").read_text()


@pytest.mark.parametrize("link", ["../configs/gone.yaml", "gone.md", "index.md#gone"])
def test_a_link_that_leads_nowhere_fails_the_build(link: str, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text(f"# Title\n\n[Here]({link})\n")
    (tmp_path / "mkdocs.yml").write_text(
        f"site_name: small\n"
        f"hooks: ['{ROOT / 'docs' / '_hooks' / 'project_files.py'}']\n"
        "validation: {links: {not_found: warn, anchors: warn}}\n"
    )
    config = load_config(str(tmp_path / "mkdocs.yml"), strict=True)
    with pytest.raises(Abort):
        build(config)
    (tmp_path / "docs" / "index.md").write_text("# Title\n")
    build(config)


class Loaded(HTMLParser):
    """Collects what a browser loads with a page, unasked."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.urls: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        url = given.get("href") if tag == "link" else given.get("src")
        if url and given.get("rel") not in ("canonical", "prev", "next"):
            self.urls.append(url)


def loaded(site: Path) -> Iterator[tuple[str, str]]:
    for page in sorted(site.rglob("*.html")):
        for url in Loaded(page.read_text()).urls:
            yield page.name, url
    for sheet in sorted(site.rglob("*.css")):
        for url in re.findall(r"url\(([^)]+)\)|@import\s+[\"']([^\"']+)", sheet.read_text()):
            yield sheet.name, "".join(url).strip("\"'")


@pytest.mark.long
def test_reading_it_loads_nothing_from_other_servers(site: Path) -> None:
    found = list(loaded(site))
    assert len(found) > 100
    assert [one for one in found if re.match(r"(\w+:)?//", one[1])] == []
