"""Tables of places for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from thor_geo.ground.places import Places, PlacesSpec
from thor_geo.specs import TemporalSpec

WINDOW = TemporalSpec.range("2021-06-01", "2021-09-01")


def csv(folder: Path, text: str | bytes, name: str = "a.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def load(path: Path, **settings: Any) -> Places:
    """Return the places of a file; in one window for all, if no column gives windows."""
    earliest = settings.pop("earliest", None)
    return PlacesSpec(file=path, **settings).load(WINDOW, earliest=earliest)


def days(instants: Any) -> list[str | None]:
    return [None if np.isnat(i) else str(i.astype("datetime64[D]")) for i in instants]
