"""What an embedding looks like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

from thor_geo.specs.choices import Merge, Pooling, check_choice

OutputKind = Literal["pooled", "grid", "centre"]


@dataclass(frozen=True, kw_only=True)
class OutputSpec:
    """What an embedding looks like: one vector per tile or point, or a georeferenced map.

    Attributes:
        kind: ``pooled``, ``grid`` or ``centre``.
        pooling: How tokens become one vector (pooled only).
        merge: How the groups' maps become one (grid and centre only); None for the environment's,
            or mean.
    """

    kind: OutputKind
    pooling: Pooling = "mean"
    merge: Merge | None = None

    def __post_init__(self) -> None:
        """Validate."""
        check_choice("kind", self.kind, OutputKind)
        check_choice("pooling", self.pooling, Pooling)
        if self.merge is not None:
            check_choice("merge", self.merge, Merge)

    @classmethod
    def pooled(cls, pooling: Pooling = "mean") -> Self:
        """Return one vector (D,) per tile: the mean or max over THOR's patch tokens."""
        return cls(kind="pooled", pooling=pooling)

    @classmethod
    def grid(cls, merge: Merge | None = None) -> Self:
        """Return a map (D', h, w) per tile: the groups' token maps, merged."""
        return cls(kind="grid", merge=merge)

    @classmethod
    def centre(cls, merge: Merge | None = None) -> Self:
        """Return the vector (D',) of the map's cell that holds the point."""
        return cls(kind="centre", merge=merge)
