"""The settings of a probe."""

from __future__ import annotations

import datetime as dt
import math
import shlex
from dataclasses import dataclass
from typing import Literal, get_args

from thor_geo.errors import ConfigError
from thor_geo.probe.beside import Beside, check_besides
from thor_geo.specs.choices import Unit

Task = Literal["classification", "regression"]
Split = Literal["blocks", "random"]
#: What is a sample: a tile or cell of an area, or a place of a table.
SampleUnit = Literal["tiles", "cells", "places"]
#: Vectors of a place: of its chip, of the cell that holds it, or one after the other.
Vectors = Literal["pooled", "centre", "both"]

#: Shares of the training labels at which learning curves are measured. PANGAEA (arXiv:2412.04204)
#: compares models at such shares, 10, 50 and 100 % among them.
FRACTIONS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0)


@dataclass(frozen=True, kw_only=True)
class ProbeSpec:
    """Settings of a probe.

    Attributes:
        task: What is predicted; None follows the labels: text, integers, and whole numbers with
            gaps are classes, other numbers are regressed.
        on: What is a sample: the run's tiles (pooled vectors) or the cells of its maps. None takes
            cells for label rasters if the run has maps, and tiles otherwise.
        split: ``blocks``: test samples lie in other squares of ground than training samples;
            ``random``: they lie among them, which flatters every probe of smooth labels.
        block_m: Side of the squares in metres; None for one tile (cells) or two (tiles). For a run
            of places it is the least distance between places of different blocks; see
            `place_blocks`.
        folds: Number of folds of the cross-validation.
        buffer_m: Training samples nearer to a test sample than this, in x and in y, are left out.
            None is 0, or the side of a tile if tiles overlap, so that no pixel is in both. Across
            UTM zones the distance is the square's diagonal on the ground, at least a sample's.
            Between places it is a distance on the ground; see `place_folds`.
        seed: Seed of folds, draws of labels and the bootstrap.
        fractions: Shares of the training labels at which the learning curve is measured.
        counts: Numbers of training labels at which it is measured as well.
        repeats: Draws of labels for each point of the curve except the last, which has all labels.
        neighbours: k of kNN.
        max_samples: Most samples to use; from more, this many are picked at random.
        min_cover: Least share of a tile or cell that polygons or a raster must label.
        ignore: Labels to leave out, as text.
        baseline: Whether to probe raw bands, too.
        window: Which time window, counted from 0, for a run with several.
        vectors: Vectors of places: ``pooled``, ``centre`` or ``both``. None takes ``centre`` where
            the run has it: a label says something about its place, not about a chip.
        group: Column of a table of places: test samples are of other groups than training samples.
        split_date: Places whose window has its middle before this day (UTC) train, others test.
        besides: Other vectors to compare with on the same samples and folds.
        dealt: Whether blocks are dealt to folds in random order. Otherwise the most uneven ones go
            first, which spreads classes best and leaves next to nothing to the seed.
        seed_noise: Number of other seeds with which samples are divided again, to see how much of a
            difference that alone makes.

    Raises:
        ConfigError: If a value is out of range.
    """

    task: Task | None = None
    on: Unit | None = None
    split: Split = "blocks"
    block_m: float | None = None
    folds: int = 5
    buffer_m: float | None = None
    seed: int = 0
    fractions: tuple[float, ...] = FRACTIONS
    counts: tuple[int, ...] = ()
    repeats: int = 3
    neighbours: int = 10
    max_samples: int = 10_000
    min_cover: float = 0.5
    ignore: tuple[str, ...] = ()
    baseline: bool = True
    window: int | None = None
    vectors: Vectors | None = None
    group: str | None = None
    split_date: dt.date | None = None
    besides: tuple[Beside, ...] = ()
    dealt: bool = False
    seed_noise: int = 0

    def __post_init__(self) -> None:
        """Validate."""
        for name, value, choices in (
            ("task", self.task, get_args(Task)),
            ("on", self.on, get_args(Unit)),
            ("split", self.split, get_args(Split)),
            ("vectors", self.vectors, get_args(Vectors)),
        ):
            if value not in choices and not (value is None and name != "split"):
                raise ConfigError(name, value, "unknown", f"Choose one of {', '.join(choices)}.")
        for name, least in (
            ("folds", 2),
            ("seed", 0),
            ("repeats", 1),
            ("neighbours", 1),
            ("max_samples", 10),
            ("seed_noise", 0),
        ):
            number = getattr(self, name)
            if not isinstance(number, int) or number < least:
                raise ConfigError(name, number, f"less than {least}", f"Give {least} or more.")
        for name, metres, zero in (
            ("block_m", self.block_m, False),
            ("buffer_m", self.buffer_m, True),
        ):
            if metres is not None and not (
                math.isfinite(metres) and (metres > 0 or (zero and metres == 0))
            ):
                raise ConfigError(name, metres, "not a length", "Give metres, e.g. 5000.")
        self._check_division()
        check_besides(self.besides)
        if not 0 <= self.min_cover <= 1:
            raise ConfigError("min_cover", self.min_cover, "not a share", "Give 0 to 1, e.g. 0.5.")
        for share in self.fractions:
            if not 0 < share <= 1:
                raise ConfigError(
                    "fractions", share, "not a share of the labels", "Give 0 to 1, e.g. 0.05."
                )
        for count in self.counts:
            if count < 2:
                raise ConfigError("counts", count, "too few labels", "Give 2 or more.")

    def _check_division(self) -> None:
        """Refuse two ways to divide samples, and what one way leaves nothing to say.

        Raises:
            ConfigError: If there is such a setting.
        """
        ways = {"group": self.group, "split_date": self.split_date}
        ways["split"] = self.split if self.split == "random" else None
        given = {name: str(way) for name, way in ways.items() if way is not None}
        if len(given) > 1:
            name, *others = given
            raise ConfigError(
                name,
                given[name],
                f"{' and '.join(others)} is given too, and they divide samples in different ways",
                "Give one of them.",
            )
        for name, unused, way in (
            ("block_m", self.group is not None and self.block_m is not None, "group"),
            ("folds", self.split_date is not None and self.folds != ProbeSpec.folds, "split_date"),
            ("seed_noise", self.split_date is not None and self.seed_noise > 0, "split_date"),
        ):
            if unused:
                raise ConfigError(
                    name,
                    getattr(self, name),
                    f"{way} is given too, which alone says how samples are divided",
                    "Leave it out.",
                )


def ignore_option(*labels: str) -> str:
    """Return the option that leaves labels out, quoted for the shell and against their own commas.

    Args:
        labels: The labels, as text.
    """
    quoted = [
        '"' + label.replace('"', '""') + '"' if set(label) & set(',"') else label
        for label in labels
    ]
    return f"--ignore {shlex.quote(','.join(quoted))}"
