"""If one of these fails, the README or the table of settings sends a user to nothing."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from thor_geo.cli.arguments import LINKED
from thor_geo.datamodules import CompositeDataModule
from thor_geo.tasks import RunWriter, THOREmbeddingTask

ROOT = Path(__file__).parents[2]
SETTINGS = (ROOT / "docs" / "reference" / "settings.md").read_text()
KEYS = re.findall(r"^\| `((?:model|data|output)\.\w+)` \|", SETTINGS, re.MULTILINE)


@pytest.mark.parametrize(
    ("section", "cls", "linked"),
    [
        ("model", THOREmbeddingTask, set(LINKED)),
        ("data", CompositeDataModule, set()),
        ("output", RunWriter, set()),
    ],
)
def test_the_table_has_every_key_once(section: str, cls: type, linked: set[str]) -> None:
    listed = [key.split(".")[1] for key in KEYS if key.startswith(f"{section}.")]
    assert len(listed) == len(set(listed))
    assert set(listed) == set(inspect.signature(cls).parameters) - linked
    assert "| `seed_everything` |" in SETTINGS


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_every_link_into_the_project_leads_somewhere(name: str) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / name).read_text())
    assert len(links) > 3
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_a_newcomer_reads_at_most_120_lines() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120
