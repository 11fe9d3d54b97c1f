"""A time window."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from typing import Self

from thor_geo.errors import ConfigError

# A day as it is to be written, though the calendar may not have it.
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


def _as_utc(argument: str, value: str | dt.date | dt.datetime) -> dt.datetime:
    if isinstance(value, str):
        try:
            value = dt.datetime.fromisoformat(value)
        except ValueError as error:
            problem = "there is no such day" if _DAY.match(str(value)) else "not a date"
            raise ConfigError(
                argument, value, problem, "Write it as YYYY-MM-DD, e.g. 2022-06-01."
            ) from error
    if not isinstance(value, dt.datetime):
        value = dt.datetime(value.year, value.month, value.day)
    return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)


@dataclass(frozen=True, kw_only=True)
class TemporalSpec:
    """A half-open time window ``[start, end)`` in UTC, as Earth Engine's filterDate takes it.

    Attributes:
        start: First instant of the window.
        end: First instant after the window.

    Raises:
        ConfigError: If *end* is not after *start*.
    """

    start: dt.datetime
    end: dt.datetime

    def __post_init__(self) -> None:
        """Validate, and turn dates and naive times into UTC."""
        object.__setattr__(self, "start", _as_utc("start", self.start))
        object.__setattr__(self, "end", _as_utc("end", self.end))
        if self.end <= self.start:
            raise ConfigError(
                "end",
                self.end.date().isoformat(),
                f"not after start={self.start.date().isoformat()}",
                "The window is [start, end): give an end date at least one day later.",
            )

    @classmethod
    def range(cls, start: str | dt.date, end: str | dt.date) -> Self:
        """Return the window from *start* up to, not including, *end* (``YYYY-MM-DD`` or dates)."""
        return cls(start=_as_utc("start", start), end=_as_utc("end", end))

    @classmethod
    def year(cls, year: int) -> Self:
        """Return the calendar year *year*, in UTC."""
        return cls.range(dt.date(year, 1, 1), dt.date(year + 1, 1, 1))
