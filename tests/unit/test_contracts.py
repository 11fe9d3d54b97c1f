"""If this fails, a new room escapes the order of the rooms in pyproject.toml."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOMS = {
    f"thor_geo.{path.stem}"
    for path in (ROOT / "thor_geo").iterdir()
    if (path.suffix == ".py" and path.stem != "__init__") or (path / "__init__.py").is_file()
}


def test_every_room_has_a_floor() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (layers,) = [rule["layers"] for rule in settings["contracts"] if rule["type"] == "layers"]
    listed = [room.strip() for floor in layers for room in floor.split("|")]
    assert len(listed) == len(set(listed))
    assert set(listed) == ROOMS | {"datamodules"}
