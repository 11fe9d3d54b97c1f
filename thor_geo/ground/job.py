"""Dividing a run: contiguous parts for jobs and ranks, and a share of the request budget."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from thor_geo.errors import ConfigError

_FORM = re.compile(r"(\d{1,9})/(\d{1,9})(?:%(\d{1,9}))?")


def part(total: int, index: int, count: int) -> range:
    """Return one of *count* contiguous parts of ``range(total)``.

    The parts follow one another, differ in length by at most one, and together are everything. A
    later part never holds anything while the first is empty.

    Args:
        total: Number of things, 0 or more.
        index: Which part, 0 to ``count - 1``.
        count: Number of parts, 1 or more.
    """
    return range(-(-total * index // count), -(-total * (index + 1) // count))


def share(total: int, index: int, count: int) -> int:
    """Return one process's share of a number of request slots, at least 1.

    The shares add up to *total* where there are no more processes than slots.

    Args:
        total: Slots of all processes together.
        index: Which process, 0 to ``count - 1``.
        count: Number of processes.
    """
    return max(1, len(part(total, index, count)))


@dataclass(frozen=True, kw_only=True)
class Job:
    """One of several independent parts of a run, as the tasks of a job array are.

    Jobs need no communication, may run in any order, on any machines, at the same time or not, and
    write into one run directory what a single process would.

    Attributes:
        index: Which one, 1 to `count`.
        count: Number of jobs.
        at_once: How many of them run at the same time; None for all. The budget of requests is
            divided by it.

    Raises:
        ConfigError: If a number is out of range.
    """

    index: int = 1
    count: int = 1
    at_once: int | None = None

    def __post_init__(self) -> None:
        """Validate."""
        if not 1 <= self.index <= self.count:
            raise ConfigError(
                "job",
                str(self),
                f"there is no job {self.index} of {self.count}",
                f"Jobs are numbered from 1: give 1/{max(1, self.count)} to "
                f"{max(1, self.count)}/{max(1, self.count)}.",
            )
        if self.at_once is not None and self.at_once < 1:
            raise ConfigError(
                "job", str(self), "no job would run", "Give the number that run at once, e.g. %8."
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the job that ``17/64`` names, or ``17/64%8`` where 8 of the 64 run at once.

        Raises:
            ConfigError: If it is not of this form, or there is no such job.
        """
        match = _FORM.fullmatch(text.strip())
        if match is None:
            raise ConfigError(
                "job", text, "not of the form 17/64", "Give number/count, e.g. 17/64 or 17/64%8."
            )
        index, count, at_once = match.groups()
        return cls(
            index=int(index), count=int(count), at_once=None if at_once is None else int(at_once)
        )

    @property
    def running(self) -> int:
        """How many jobs run at the same time."""
        return min(self.count, self.at_once or self.count)

    def __str__(self) -> str:
        """Return what `parse` reads."""
        return f"{self.index}/{self.count}" + ("" if self.at_once is None else f"%{self.at_once}")

    def part(self, total: int) -> range:
        """Return this job's contiguous part of ``range(total)``."""
        return part(total, self.index - 1, self.count)

    def share(self, total: int, *, rank: int = 0, world_size: int = 1) -> int:
        """Return a rank's share of a number of request slots, at least 1.

        All jobs get the same, whichever of them run together.

        Args:
            total: Slots of all ranks of all jobs that run at once.
            rank: Rank within this job.
            world_size: Ranks of a job.
        """
        return share(max(1, total // self.running), rank, world_size)
