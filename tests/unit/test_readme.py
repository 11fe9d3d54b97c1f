"""If one of these fails, the README sends a user to a key or a file that is not there."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from thor_geo.cli.arguments import LINKED
from thor_geo.datamodules import CompositeDataModule
from thor_geo.tasks import RunWriter, THOREmbeddingTask

TEXT = (Path(__file__).parents[2] / "README.md").read_text()
KEYS = re.findall(r"^\| `((?:model|data|output)\.\w+)` \|", TEXT, re.MULTILINE)


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
    assert "| `seed_everything` |" in TEXT


def test_every_link_into_the_project_leads_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", TEXT)
    assert len(links) > 5
    root = Path(__file__).parents[2]
    assert [link for link in links if not (root / link).exists()] == []
