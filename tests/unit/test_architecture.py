"""If one of these fails, the page for newcomers to the code shows a house that is not this one."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
LAYERS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][
    0
]["layers"]
#: The rooms of every floor, from the top.
FLOORS = [
    [room.strip().removeprefix("thor_geo.") for room in layer.split("|")]
    for layer in LAYERS
    if layer not in ("datamodules", "thor_geo.__main__")  # entrances, not rooms
]


def test_the_picture_has_every_room_on_its_floor() -> None:
    picture = (ROOT / "docs" / "images" / "house.svg").read_text()
    # A room's name is the text of size 15.
    drawn = [
        sorted(re.findall(r'font-size="15"[^>]*>(\w+)(?:\.py)?</text>', floor))
        for floor in re.findall(r"<g>(.*?)</g>", picture, re.DOTALL)
    ]
    assert drawn == [sorted(floor) for floor in FLOORS]


def test_the_page_has_a_paragraph_for_every_room() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    described = re.findall(r"^\*\*`(?:thor_geo/)?(\w+)(?:\.py)?`\*\*", page, re.MULTILINE)
    assert sorted(described) == sorted(room for floor in FLOORS for room in floor)
