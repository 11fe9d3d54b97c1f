"""If one of these fails, a page of the documentation shows a key or a name that is not there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from thor_geo.cli.settings import CLASSES, COMPOSITE, settings_of

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
FOLDER = COMPOSITE.replace("Composite", "Folder")
KEYS = {
    f"{section}.{row.key}"
    for section, path in [*CLASSES.items(), ("data", FOLDER)]
    for row in settings_of(path)
} | {f"{section}.class_path" for section in CLASSES}
_KEY = re.compile(
    r"(?<![\w/.-])(?:--)?((?:model|data|output)\.(?!md\b|json\b)[a-z_]\w*(?:\.[a-z_]\w*)*)(?![\w(/])"
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_setting_that_a_page_names_exists(page: Path) -> None:
    named = set(_KEY.findall(page.read_text()))
    assert named - KEYS == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_import_of_a_page_works(page: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    for line in re.findall(r"^from thor_geo.*$", "\n".join(blocks), re.MULTILINE):
        exec(line, {})
