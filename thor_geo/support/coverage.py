"""Where and when the scenes of an archive or a catalogue are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self, TypeAlias

#: West, south, east, north in degrees.
Degrees: TypeAlias = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """What the scenes of a source cover.

    Attributes:
        box: West, south, east, north in degrees; None where that is not known.
        first: Day of the first scene, YYYY-MM-DD; None where that is not known.
        last: Day of the last scene; None where that is not known, or new ones come.
    """

    box: Degrees | None
    first: str | None
    last: str | None

    @classmethod
    def from_scenes(cls, boxes: Iterable[Degrees], times: Iterable[str]) -> Self:
        """Return what some scenes cover.

        Args:
            boxes: West, south, east, north of each in degrees.
            times: When each was acquired, ISO 8601.
        """
        edges = list(zip(*boxes, strict=True))
        days = sorted(time[:10] for time in times)
        box = (min(edges[0]), min(edges[1]), max(edges[2]), max(edges[3])) if edges else None
        return cls(box=box, first=days[0] if days else None, last=days[-1] if days else None)

    def __str__(self) -> str:
        """Return it in words, with a box as `data.area.bbox` takes it."""
        parts = []
        if self.box is not None:
            parts.append(f"bbox [{', '.join(f'{edge:.3f}' for edge in self.box)}]")
        if self.first is not None:
            parts.append(f"{self.first} to {self.last or 'now'}")
        return ", ".join(parts) or "an extent that it does not state"
