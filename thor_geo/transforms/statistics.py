"""Mean and standard deviation of channels, measured over composites, and the file for them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from thor_geo.errors import ConfigError, first_line
from thor_geo.specs.bands import BandSelection
from thor_geo.support.arrays import Float64Array
from thor_geo.support.files import write_bytes
from thor_geo.support.jsontext import fits, parse_json

_FORMAT = "thor-geo statistics 1"


class Moments:
    """Count, mean and standard deviation of one channel, in one pass.

    Chan, Golub and LeVeque (1983): the moments of each part about its own mean are added to those
    of all parts before, which loses no digits where the mean is large compared to the deviation.

    Attributes:
        count: Values so far.
        mean: Their mean.
    """

    def __init__(self) -> None:
        """Initialize a new Moments instance, without values."""
        self.count = 0
        self.mean = 0.0
        self._squares = 0.0

    def add(self, values: Float64Array) -> None:
        """Add values.

        Args:
            values: One-dimensional.
        """
        if not len(values):
            return
        count = self.count + len(values)
        mean = float(values.mean())
        step = mean - self.mean
        self._squares += float(np.square(values - mean).sum())
        self._squares += step * step * self.count * len(values) / count
        self.mean += step * len(values) / count
        self.count = count

    @property
    def std(self) -> float:
        """Standard deviation of the population; 0 without values."""
        return math.sqrt(self._squares / self.count) if self.count else 0.0


@dataclass(frozen=True, kw_only=True)
class ChannelStatistics:
    """The measured statistics of one channel.

    Attributes:
        mean: Mean in the sensor's physical unit (reflectance 0..1, decibel).
        std: Standard deviation of the population, in the same unit.
        pixels: Number of pixels measured.
    """

    mean: float
    std: float
    pixels: int


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """Statistics by THOR channel, and their provenance.

    Attributes:
        channels: By channel, e.g. ``S2:Red``.
        provenance: Which composites were measured; JSON.
    """

    channels: Mapping[str, ChannelStatistics]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def for_bands(self, selection: BandSelection) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return means and standard deviations of some bands, in their order.

        Args:
            selection: The bands.

        Raises:
            ConfigError: If a channel was not measured, or has a single value.
        """
        rows = []
        for band in selection.bands:
            row = self.channels.get(band.channel)
            if row is None:
                raise ConfigError(
                    "statistics",
                    band.channel,
                    f"not measured; the file has {', '.join(self.channels)}",
                    "Run `thor-geo stats` with these bands.",
                )
            if row.std <= 0:
                raise ConfigError(
                    "statistics",
                    band.channel,
                    f"standard deviation is {row.std:g}; cannot normalise",
                    "Measure a larger area, or leave the band out.",
                )
            rows.append(row)
        return tuple(row.mean for row in rows), tuple(row.std for row in rows)

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all.

        Args:
            path: The file; missing folders are created.

        Raises:
            ConfigError: If it cannot be written.
        """
        content = {
            "format": _FORMAT,
            "channels": {
                name: {"mean": row.mean, "std": row.std, "pixels": row.pixels}
                for name, row in self.channels.items()
            },
            "provenance": self.provenance,
        }
        text = json.dumps(content, indent=2, allow_nan=False) + "\n"
        try:
            write_bytes(path, text.encode())
        except OSError as error:
            raise ConfigError(
                "to", str(path), f"it cannot be written ({error.strerror})", "Choose another path."
            ) from error

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file that `write` made.

        Args:
            path: The file.

        Raises:
            ConfigError: If the file is missing, or holds something else.
        """
        try:
            content = parse_json(path.read_bytes())
        except OSError as error:
            raise ConfigError(
                "statistics",
                str(path),
                f"it cannot be read ({error.strerror})",
                "Make it with `thor-geo stats -c CONFIG --to FILE`.",
            ) from error
        except ValueError as error:
            raise _bad_file(path, f"not JSON ({first_line(error)})") from error
        if not isinstance(content, dict) or content.get("format") != _FORMAT:
            raise _bad_file(path, f"its `format` is not {_FORMAT!r}")
        rows, provenance = content.get("channels"), content.get("provenance", {})
        if not isinstance(rows, dict) or not rows or not isinstance(provenance, dict):
            raise _bad_file(path, "it has no channels")
        return cls(
            channels={name: _channel(path, name, row) for name, row in rows.items()},
            provenance=provenance,
        )


def _channel(path: Path, name: str, row: object) -> ChannelStatistics:
    whole = (
        isinstance(row, dict)
        and set(row) == {"mean", "std", "pixels"}
        and fits("float", row["mean"])
        and fits("float", row["std"])
        and fits("int", row["pixels"])
        # A whole number may be too large for a float.
        and abs(row["mean"]) < math.inf
        and 0 <= row["std"] < math.inf
    )
    if not whole or not isinstance(row, dict):
        raise _bad_file(path, f"{name} has no mean, std and pixels")
    try:
        return ChannelStatistics(
            mean=float(row["mean"]), std=float(row["std"]), pixels=row["pixels"]
        )
    except OverflowError as error:
        raise _bad_file(path, f"a number of {name} is too large") from error


def _bad_file(path: Path, problem: str) -> ConfigError:
    return ConfigError(
        "statistics", str(path), problem, "Make it again with `thor-geo stats -c CONFIG --to FILE`."
    )
