"""Other vectors to compare a run with: what a user asks for, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from thor_geo.errors import ConfigError
from thor_geo.support.arrays import BoolArray, Float32Array

#: The option, for messages.
ARGUMENT = "--beside"
# What reports call their own rows.
_TAKEN = ("thor", "bands", "raw bands", "embeddings", "chance", "none")


@dataclass(frozen=True, kw_only=True)
class Beside:
    """Vectors to compare a run with.

    Attributes:
        name: What reports call them.
        path: A table with a vector in each row, or a run directory.

    Raises:
        ConfigError: If the name is empty, has a comma, or is one that reports use themselves.
    """

    name: str
    path: Path

    def __post_init__(self) -> None:
        """Validate."""
        given = f"{self.name}={self.path}"
        if not self.name.strip() or "," in self.name:
            raise ConfigError(
                ARGUMENT,
                given,
                "its name is empty" if not self.name.strip() else "its name has a comma",
                "Give NAME=FILE, e.g. --beside aef=tiles.parquet, once for each.",
            )
        if self.name.strip().lower() in _TAKEN:
            raise ConfigError(
                ARGUMENT,
                given,
                f"the report has a row called {self.name!r} already",
                "Give another name.",
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return what ``NAME=FILE`` asks for.

        Args:
            text: The option's value.

        Raises:
            ConfigError: If it has no name or no file.
        """
        name, equals, path = text.partition("=")
        if not equals or not path.strip():
            raise ConfigError(
                ARGUMENT,
                text,
                "not of the form NAME=FILE",
                "Give a name for the report and a table or run, e.g. --beside aef=tiles.parquet.",
            )
        return cls(name=name.strip(), path=Path(path.strip()))


def check_besides(besides: tuple[Beside, ...]) -> None:
    """Refuse names that are given twice.

    Args:
        besides: What to compare with.

    Raises:
        ConfigError: If there are any.
    """
    seen: set[str] = set()
    for each in besides:
        if each.name.lower() in seen:
            raise ConfigError(
                ARGUMENT, f"{each.name}={each.path}", "its name is given twice", "Give another."
            )
        seen.add(each.name.lower())


@dataclass(frozen=True, kw_only=True, eq=False)
class BesideVectors:
    """Other vectors, by the samples of a probe.

    Attributes:
        name: What reports call them.
        source: The file or run.
        columns: Which of its columns or vectors they are, for people.
        joined: How they were joined to the samples, for people.
        vectors: (N, D); meaningless where `has` is false.
        has: Which samples have one, (N,).
        rows: Rows of the table, or vectors of the run that were read: of its maps, those of shards
            with a sample.
        left_out: Rows without a usable vector, by reason.
        doubt: What speaks against these vectors; may be empty.
    """

    name: str
    source: str
    columns: str
    joined: str
    vectors: Float32Array
    has: BoolArray
    rows: int
    left_out: dict[str, int]
    doubt: str = ""

    @cached_property
    def distinct(self) -> int:
        """Number of different vectors that the samples have."""
        return len(np.unique(self.vectors[self.has], axis=0))

    def record(self) -> dict[str, Any]:
        """Return what probe.json says of them."""
        return {
            "name": self.name,
            "source": self.source,
            "vectors": self.columns,
            "dimension": self.vectors.shape[1],
            "joined": self.joined,
            "samples": len(self.has),
            "matched": int(self.has.sum()),
            "distinct": self.distinct,
            "rows": self.rows,
            "left_out": self.left_out,
        }
