"""The time windows of a run: one, or a list of them that becomes a time axis."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from thor_geo.errors import ConfigError
from thor_geo.specs.window import TemporalSpec

#: The form of a list, for messages.
PAIRS = "a list of [start, end] pairs, e.g. [[2022-03-01, 2022-06-01], [2022-06-01, 2022-09-01]]"
_EXAMPLE = f"Give {PAIRS}."


@dataclass(frozen=True, kw_only=True)
class Windows:
    """The time windows of a run.

    Attributes:
        spans: The windows, in ascending order of their starts, which differ; they may overlap.
        listed: Whether they come from a list, even of one: outputs then have a time axis, and a
            row for each tile and window.

    Raises:
        ConfigError: If there is none, they are not in ascending order of distinct starts, or one of
            a list has fractions of a second.
    """

    spans: tuple[TemporalSpec, ...]
    listed: bool = False

    def __post_init__(self) -> None:
        """Validate."""
        pairs = [_pair(span) for span in self.spans]
        if not pairs:
            raise ConfigError("windows", pairs, "there is no window", _EXAMPLE)
        for earlier, later in zip(self.spans, self.spans[1:], strict=False):
            if earlier.start == later.start and earlier.end != later.end:
                raise ConfigError(
                    "windows",
                    pairs,
                    f"{_pair(earlier)} and {_pair(later)} have the same start, which names a "
                    "window on the time axis and in tables",
                    "Run them separately, each with start and end.",
                )
            if earlier.start >= later.start:
                raise ConfigError(
                    "windows",
                    pairs,
                    f"{_pair(later)} does not come after {_pair(earlier)}",
                    "Give each window once, those that start earlier first.",
                )
        if self.listed and any(
            t.microsecond for span in self.spans for t in (span.start, span.end)
        ):
            # Ids of rows and the time axis have whole seconds.
            raise ConfigError("windows", pairs, "a time has fractions of a second", _EXAMPLE)

    @classmethod
    def from_dates(
        cls,
        start: str | None = None,
        end: str | None = None,
        windows: Sequence[Sequence[str]] | None = None,
    ) -> Self:
        """Return the windows of a user's settings: one from *start* to *end*, or a list.

        Raises:
            ConfigError: If neither or both are given, or a window is invalid.
        """
        if windows is None:
            missing = [name for name, value in (("start", start), ("end", end)) if value is None]
            if missing or start is None or end is None:
                both = " and ".join(f"data.{name}" for name in missing)
                raise ConfigError(
                    f"data.{missing[0]}",
                    None,
                    f"{both} required, and not given",
                    f"Set it in the config or with --data.{missing[0]}=YYYY-MM-DD, or give "
                    "data.windows, a list of [start, end].",
                )
            return cls(spans=(TemporalSpec.range(start, end),))
        for name, value in (("start", start), ("end", end)):
            if value is not None:
                raise ConfigError(
                    name,
                    value,
                    "`windows` is given too",
                    "Give start and end, or windows: leave the others out, or set them to null.",
                )
        if isinstance(windows, str) or not isinstance(windows, Iterable):
            raise ConfigError("windows", windows, "not a list of [start, end] pairs", _EXAMPLE)
        return cls(spans=tuple(map(_span, windows)), listed=True)

    @classmethod
    def from_settings(cls, data: Mapping[str, Any]) -> Self:
        """Return the windows of a run from the settings of its data, see `settings`.

        Raises:
            KeyError: If they have neither ``windows`` nor ``start`` and ``end``.
            ConfigError: If a window is invalid.
        """
        if "windows" in data:
            return cls.from_dates(windows=data["windows"])
        return cls.from_dates(str(data["start"]), str(data["end"]))

    def settings(self) -> dict[str, Any]:
        """Return the windows as outputs record them: ``windows``, or ``start`` and ``end``."""
        if self.listed:
            return {"windows": [_pair(span) for span in self.spans]}
        (span,) = self.spans
        return {"start": span.start.isoformat(), "end": span.end.isoformat()}

    @property
    def span(self) -> TemporalSpec:
        """From the first start to the last end; for a single window, that window."""
        return TemporalSpec(start=self.spans[0].start, end=max(span.end for span in self.spans))

    @property
    def times(self) -> tuple[int | None, ...]:
        """Places of the windows on the time axis; (None,) where there is no such axis."""
        return time_axis(self.settings())

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self.spans)

    def __iter__(self) -> Iterator[TemporalSpec]:
        """Yield the windows in ascending order."""
        return iter(self.spans)


def time_axis(data: Mapping[str, Any]) -> tuple[int | None, ...]:
    """Return places on the time axis as the settings of a run's data say it, see `Windows.times`.

    Raises:
        TypeError: If ``windows`` is not a list.
    """
    return tuple(range(len(data["windows"]))) if "windows" in data else (None,)


def _span(pair: Sequence[str]) -> TemporalSpec:
    dates = list(pair) if isinstance(pair, Iterable) and not isinstance(pair, str) else []
    if len(dates) != 2 or not all(isinstance(date, str | dt.date) for date in dates):
        raise ConfigError("windows", pair, "not a pair of dates (YYYY-MM-DD)", _EXAMPLE)
    try:
        return TemporalSpec.range(*dates)
    except ConfigError as error:
        problem = f"{error.argument}={error.value!r}: {error.problem}"
        raise ConfigError("windows", dates, problem, error.remedy) from error


def _pair(span: TemporalSpec) -> list[str]:
    return [span.start.isoformat(), span.end.isoformat()]
