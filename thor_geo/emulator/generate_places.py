"""Writes a table of labelled places on the generated land: what a survey would have found there.

The same parameters give the same text, with the same versions of NumPy and PROJ.
"""

from __future__ import annotations

import csv
import io
import itertools
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pyproj import Transformer

from thor_geo.emulator._errors import ArchiveError
from thor_geo.emulator._landscape import PIXEL, Cover, make_landscape
from thor_geo.emulator._scenes import landscape_side
from thor_geo.emulator.generate import check_place
from thor_geo.support.files import write_atomic

#: Columns of the table.
COLUMNS = ("plot", "lon", "lat", "surveyed", "cover", "height_m", "region")

#: Land cover that is surveyed: the same number of places of each in each region.
COVERS = (Cover.WATER, Cover.CONIFER, Cover.MEADOW, Cover.CEREAL, Cover.BUILT)

#: Days of the survey, within the summer of `generate.DEFAULT_ACQUISITIONS`.
DAYS = ("2022-06-20", "2022-07-04", "2022-07-18", "2022-08-01", "2022-08-15")

_EACH = 3
# A place lies this far inside the scenes, so that its chip does, and from every other of its cover.
_MARGIN_M, _APART_M = 1000.0, 400.0
# This share of the square of 90 m around a place has its cover, as a surveyor would choose it.
_ASIDE, _PURE = 4, 0.85
# Metres by which the land rises per unit of its standardised height, and its mean height.
_RELIEF_M, _MEAN_M = 60.0, 240.0


def ensure_places(
    file: str | Path,
    *,
    seed: int = 0,
    center: tuple[float, float] = (12.0, 60.0),
    size_m: int = 12000,
) -> Path:
    """Write the table unless there is one: then it stays as it is.

    Args:
        file: CSV file to write: 60 places, 12 of each cover, 15 in each quarter of the land.
        seed: That of the archive, like all other arguments; see `generate_archive`.
        center: Longitude and latitude of the middle, degrees.
        size_m: Side of the square that each zone's scenes cover, metres.

    Returns:
        The file.

    Raises:
        ArchiveError: If the land lacks a cover, or a parameter is out of range.
    """
    check_place(seed, size_m, ())
    path = Path(file)
    if not path.exists():
        write_atomic(path, _table(seed, center, size_m).encode(), replace=False)
    return path


def _table(seed: int, center: tuple[float, float], size_m: int) -> str:
    """The table as CSV."""
    landscape = make_landscape(landscape_side(size_m), seed)
    rng = np.random.default_rng([seed, 3])
    middle = landscape.size / 2
    local = f"+proj=aeqd +lon_0={center[0]!r} +lat_0={center[1]!r} +datum=WGS84"
    transformer = Transformer.from_crs(local, "EPSG:4326", always_xy=True)
    rows = []
    for north, east in itertools.product((True, False), (False, True)):
        region = f"{'north' if north else 'south'}-{'east' if east else 'west'}"
        for cover in COVERS:
            pixels = _chosen(rng, landscape.cover == cover, north, east, size_m)
            if len(pixels) < _EACH:
                raise ArchiveError(
                    f"`seed={seed}`: the land has too few places of {cover.name.lower()} in the "
                    f"{region}. Choose another seed, or a larger size_m."
                )
            for row, col in pixels:
                x, y = (col + 0.5 - middle) * PIXEL, (middle - row - 0.5) * PIXEL
                lon, lat = transformer.transform(x, y)
                height = _MEAN_M + _RELIEF_M * float(landscape.elevation[row, col])
                rows.append((f"{lon:.6f}", f"{lat:.6f}", cover.name.lower(), round(height), region))
    days = rng.permutation([DAYS[k % len(DAYS)] for k in range(len(rows))]).tolist()
    target = io.StringIO()
    writer = csv.writer(target, lineterminator="\n")
    writer.writerow(COLUMNS)
    # In no order: as the rows of a real table, neighbours do not follow each other.
    for number, k in enumerate(rng.permutation(len(rows)).tolist(), start=1):
        lon, lat, cover_name, height, region = rows[k]
        writer.writerow((f"P{number:02d}", lon, lat, days[k], cover_name, height, region))
    return target.getvalue()


def _chosen(
    rng: np.random.Generator, here: npt.NDArray[np.bool_], north: bool, east: bool, size_m: int
) -> list[tuple[int, int]]:
    """Choose places of a cover in a quarter: rows and columns of the landscape, far apart.

    Args:
        rng: Source of randomness.
        here: Where the cover is (n, n).
        north: The northern quarters, or the southern.
        east: The eastern quarters, or the western.
        size_m: Side of the scenes in metres.
    """
    n, side = len(here), 2 * _ASIDE + 1
    sums = np.zeros((n + 1, n + 1), dtype=np.int32)
    sums[1:, 1:] = here.cumsum(0, dtype=np.int32).cumsum(1, dtype=np.int32)
    counts = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    pure = np.zeros_like(here)
    pure[_ASIDE : n - _ASIDE, _ASIDE : n - _ASIDE] = counts >= _PURE * side**2
    reach, middle = round((size_m / 2 - _MARGIN_M) / PIXEL), n // 2
    rows = slice(middle - reach, middle) if north else slice(middle, middle + reach)
    cols = slice(middle, middle + reach) if east else slice(middle - reach, middle)
    inside = np.zeros_like(here)
    inside[rows, cols] = True
    candidates = np.argwhere(pure & inside & here)
    chosen: list[tuple[int, int]] = []
    for row, col in rng.permutation(candidates).tolist():
        if all(np.hypot(row - r, col - c) * PIXEL >= _APART_M for r, c in chosen):
            chosen.append((row, col))
            if len(chosen) == _EACH:
                break
    return chosen
