"""If this fails, a new module escapes an import contract: the contracts list modules by hand."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = {
    f"thor_geo.{path.stem}"
    for path in (ROOT / "thor_geo").iterdir()
    if (path.suffix == ".py" and path.stem != "__init__") or (path / "__init__.py").is_file()
}
DATAMODULES = {
    f"datamodules.{path.stem}"
    for path in (ROOT / "datamodules").glob("*.py")
    if path.stem != "__init__"
}


def contract(start: str) -> dict[str, Any]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (found,) = [one for one in settings["contracts"] if one["name"].startswith(start)]
    return dict(found)


@pytest.mark.parametrize(
    ("start", "key", "expected"),
    [
        ("Data flows one way", "layers", ROOMS - {"thor_geo.emulator"} | {"datamodules"}),
        (
            "Only the command and the quickstart's source import the emulator",
            "source_modules",
            ROOMS - {"thor_geo.cli.main", "thor_geo.emulator"}
            | DATAMODULES - {"datamodules.source"},
        ),
        (
            "The emulator stands alone",
            "forbidden_modules",
            ROOMS
            - {"thor_geo.emulator", "thor_geo.errors", "thor_geo.support.jsontext"}
            - {"thor_geo.support.progress", "thor_geo.support.redact"}
            | {"datamodules", "ee", "torch"},
        ),
        (
            "Only earthengine imports ee",
            "source_modules",
            ROOMS - {"thor_geo.sources.earthengine"} | {"datamodules"},
        ),
        (
            "Only stac imports pystac",
            "source_modules",
            ROOMS - {"thor_geo.sources.stac"} | {"datamodules"},
        ),
        (
            "Only terratorch.py imports terratorch",
            "source_modules",
            ROOMS - {"thor_geo.terratorch"} | {"datamodules"},
        ),
    ],
)
def test_a_contract_covers_every_module(start: str, key: str, expected: set[str]) -> None:
    listed = contract(start)[key]
    assert len(listed) == len(set(listed))
    assert set(listed) == expected
