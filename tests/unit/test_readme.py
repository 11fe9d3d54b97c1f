"""If one of these fails, the README or the table of settings sends a user to nothing."""

from __future__ import annotations

import inspect
import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from thor_geo.cli.settings import CLASSES, LINKED, section_settings
from thor_geo.datamodules import CompositeDataModule, FolderDataModule
from thor_geo.tasks import RunWriter, THOREmbeddingTask

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def settings() -> str:
    """The page of settings, as the site has it."""
    spec = spec_from_file_location("settings_hook", ROOT / "docs" / "_hooks" / "settings.py")
    assert spec is not None
    assert spec.loader is not None
    hook = module_from_spec(spec)
    spec.loader.exec_module(hook)
    return "\n\n".join(hook.tables())


def test_the_tables_have_every_key_once(settings: str) -> None:
    composites = settings.partition("## Data from a folder")[0]
    listed = re.findall(r"^\| `((?:model|data|output)\.[\w.]+)` \|", composites, re.MULTILINE)
    assert len(listed) == len(set(listed)) > 60
    assert set(listed) == {f"{s}.{row.key}" for s in CLASSES for row in section_settings(s)}
    for section, kind in (
        ("model", THOREmbeddingTask),
        ("data", CompositeDataModule),
        ("output", RunWriter),
    ):
        linked = set(LINKED) if section == "model" else set()
        parameters = set(inspect.signature(kind).parameters) - linked
        assert {f"{section}.{name}" for name in parameters} <= set(listed)


def test_the_table_of_a_folder_has_every_key_once(settings: str) -> None:
    folder = settings.partition("## Data from a folder")[2]
    listed = re.findall(r"^\| `data\.(\w+)` \|", folder, re.MULTILINE)
    assert sorted(listed) == sorted(inspect.signature(FolderDataModule).parameters)


def test_a_row_says_type_default_and_meaning(settings: str) -> None:
    assert "| `data.tile_size` | int | `288` | Side of a tile in pixels. |" in settings
    assert "| `data.area` | AreaSpec | `null` | Where to embed" in settings
    assert "| `data.paths` | str or list | required |" in settings
    rows = [line for line in settings.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in rows} == {5}


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_every_link_into_the_project_leads_somewhere(name: str) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / name).read_text())
    assert len(links) > 3
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_a_newcomer_reads_at_most_120_lines() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120
