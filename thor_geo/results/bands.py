"""Dimensions of embeddings, as a user chooses them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

from thor_geo.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Bands:
    """Dimensions of embeddings, as ``--bands`` names them.

    Attributes:
        text: What the user wrote.
        ranges: First and last dimension of each part, counted from 0; None for all.
    """

    text: str
    ranges: tuple[tuple[int, int], ...] | None

    @classmethod
    def parse(cls, text: str) -> Bands:
        """Read ``all``, or numbers and ranges such as ``0-9,64``.

        Raises:
            ConfigError: If it is anything else, or names a dimension twice.
        """
        if text.strip() == "all":
            return cls(text=text, ranges=None)
        parts = [re.fullmatch(r"\s*(\d{1,9})(?:\s*-\s*(\d{1,9}))?\s*", p) for p in text.split(",")]
        ranges = sorted((int(p[1]), int(p[2] or p[1])) for p in parts if p is not None)
        rising = all(first <= last for first, last in ranges)
        apart = all(one[1] < other[0] for one, other in pairwise(ranges))
        if None in parts or not (rising and apart):
            raise ConfigError(
                "--bands",
                text,
                "not a list of dimensions without repetition",
                "Give all, or numbers and ranges from 0 on, e.g. 0-9,64.",
            )
        return cls(text=text, ranges=tuple((int(p[1]), int(p[2] or p[1])) for p in parts if p))

    def indices(self, dimension: int) -> list[int]:
        """Return the dimensions in the order given.

        Args:
            dimension: D, the number there are.

        Raises:
            ConfigError: If there is no such dimension.
        """
        if self.ranges is None:
            return list(range(dimension))
        last = max(last for _, last in self.ranges)
        if last >= dimension:
            raise ConfigError(
                "--bands",
                self.text,
                f"embeddings have {dimension} dimensions, there is no {last}",
                f"Give 0 to {dimension - 1}, or all.",
            )
        return [band for first, end in self.ranges for band in range(first, end + 1)]
