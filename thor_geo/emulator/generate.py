"""Generates archives of Sentinel-2 scenes: made-up land, real GeoTIFFs.

Each acquisition is seen in every UTM zone asked for, as tiles of neighbouring zones see the same
overpass. Bands are kept at their own resolution (10, 20 and 60 m), on a lattice of 60 m; the
emulator's nearest neighbour doubles them onto 10 m as the service does. The same parameters give
the same bytes, with the same versions of NumPy and GDAL.
"""

from __future__ import annotations

import datetime as dt
import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from thor_geo.emulator._archive import FORMAT, VERSION
from thor_geo.emulator._errors import ArchiveError
from thor_geo.emulator._products import COLLECTIONS, Product
from thor_geo.emulator._scenes import LATTICE, Acquisition, write_scenes

#: Raised whenever the same parameters give other pixels.
GENERATOR = 1


#: A summer: from clear to hardly usable, one at the edge of the swath.
DEFAULT_ACQUISITIONS = (
    Acquisition(date="2022-06-05", cloud_cover=0.12),
    Acquisition(date="2022-06-20", cloud_cover=0.25, coverage=0.8),
    Acquisition(date="2022-07-05", cloud_cover=0.60),
    Acquisition(date="2022-07-20", cloud_cover=0.05),
    Acquisition(date="2022-08-06", cloud_cover=0.40),
    Acquisition(date="2022-08-24", cloud_cover=0.18),
)


def generate_archive(
    folder: str | Path,
    *,
    seed: int = 0,
    center: tuple[float, float] = (12.0, 60.0),
    size_m: int = 12000,
    zones: Sequence[int] = (32632, 32633),
    acquisitions: Sequence[Acquisition] = DEFAULT_ACQUISITIONS,
    product: Product = "sr",
) -> Path:
    """Write an archive into a new folder.

    The folder appears under its name only when it is complete.

    Args:
        folder: Where to write; must not exist, or be an empty folder.
        seed: Seed of land and weather.
        center: Longitude and latitude of the middle, degrees.
        size_m: Side of the square that each zone's scenes cover, metres; a multiple of 120.
        zones: EPSG codes of UTM zones.
        acquisitions: Overpasses; each gives one scene per zone.
        product: What the scenes are: ``sr`` (Level-2A with SCL), ``toa`` (Level-1C) or
            ``cloud_score_plus``; of the same parameters, they show the same ground and clouds.

    Returns:
        The folder.

    Raises:
        ArchiveError: If the folder is not empty, or a parameter is out of range.
    """
    parameters = _parameters(seed, center, size_m, zones, acquisitions, product)
    return publish(Path(folder), parameters, write_scenes)


def publish(
    target: Path,
    parameters: dict[str, Any],
    write: Callable[[Path, dict[str, Any]], list[dict[str, Any]]],
) -> Path:
    """Write scenes into a new folder, which appears under its name when it is complete.

    Args:
        target: The folder; must not exist, or be empty.
        parameters: What the scenes depend on, as JSON.
        write: Writes the scenes into a folder, and returns their entries in the index.

    Returns:
        The folder.

    Raises:
        ArchiveError: If the folder is not empty.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ArchiveError(
            f"`folder={target}` is not empty: nothing is overwritten. Choose another folder."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        scenes = write(part, parameters)
        index = {"format": FORMAT, "version": VERSION, "parameters": parameters, "scenes": scenes}
        (part / "index.json").write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
        part.chmod(0o755)
        part.replace(target)  # over an empty folder this works too, over a full one it fails
    except OSError:
        # Another process may have been faster with the same archive.
        if _existing_parameters(target) != parameters:
            raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return target


def ensure_archive(
    folder: str | Path,
    *,
    seed: int = 0,
    center: tuple[float, float] = (12.0, 60.0),
    size_m: int = 12000,
    zones: Sequence[int] = (32632, 32633),
    acquisitions: Sequence[Acquisition] = DEFAULT_ACQUISITIONS,
    product: Product = "sr",
) -> Path:
    """Write an archive unless the folder holds the very same one.

    Args:
        folder: As in `generate_archive`, like all other arguments.
        seed: Seed of land and weather.
        center: Longitude and latitude of the middle, degrees.
        size_m: Side of the square that each zone's scenes cover, metres.
        zones: EPSG codes of UTM zones.
        acquisitions: Overpasses.
        product: What the scenes are.

    Returns:
        The folder.

    Raises:
        ArchiveError: If the folder holds something else, or a parameter is out of range.
    """
    parameters = _parameters(seed, center, size_m, zones, acquisitions, product)
    if holds(Path(folder), parameters):
        return Path(folder)
    return publish(Path(folder), parameters, write_scenes)


def holds(folder: Path, wanted: dict[str, Any]) -> bool:
    """Return whether a folder holds the archive of some parameters.

    Raises:
        ArchiveError: If it holds one of others.
    """
    existing = _existing_parameters(folder)
    if existing is not None and existing != wanted:
        differing = sorted(k for k in wanted | existing if existing.get(k) != wanted.get(k))
        raise ArchiveError(
            f"`folder={folder}` holds an archive with other parameters ({', '.join(differing)}). "
            "Delete it or choose another folder."
        )
    return existing is not None


def check_place(seed: int, size_m: int, zones: Sequence[int]) -> None:
    """Refuse a seed or a place that an archive cannot have.

    Raises:
        ArchiveError: If one is out of range.
    """
    if size_m < 2 * LATTICE or size_m % (2 * LATTICE):
        raise ArchiveError(f"`size_m={size_m}` must be a positive multiple of {2 * LATTICE}.")
    if seed < 0:
        raise ArchiveError(f"`seed={seed}` must not be negative.")
    bad = [zone for zone in zones if not (32601 <= zone <= 32660 or 32701 <= zone <= 32760)]
    if bad:
        raise ArchiveError(f"`zones={list(zones)}`: {bad[0]} is not the EPSG code of a UTM zone.")


def _parameters(
    seed: int,
    center: tuple[float, float],
    size_m: int,
    zones: Sequence[int],
    acquisitions: Sequence[Acquisition],
    product: Product,
) -> dict[str, Any]:
    """The parameters as JSON, checked."""
    if product not in COLLECTIONS:
        raise ArchiveError(f"`product={product}` is not one of {', '.join(COLLECTIONS)}.")
    if not zones or not acquisitions:
        raise ArchiveError("`zones` and `acquisitions` must not be empty.")
    check_place(seed, size_m, zones)
    for item in acquisitions:
        try:
            dt.date.fromisoformat(item.date)
        except ValueError:
            raise ArchiveError(f"{item}: date must be an ISO date such as 2022-06-05.") from None
        if not 0 <= item.cloud_cover < 1 or not 0 < item.coverage <= 1:
            raise ArchiveError(f"{item}: cloud_cover must lie in [0, 1), coverage in (0, 1].")
    return {
        "generator": GENERATOR,
        "seed": seed,
        "center": list(center),
        "size_m": size_m,
        "zones": list(zones),
        "acquisitions": [asdict(item) for item in acquisitions],
        # Left out where there was no choice yet, so that such archives keep their fingerprints.
        **({} if product == "sr" else {"product": product}),
    }


def _existing_parameters(folder: Path) -> dict[str, Any] | None:
    try:
        content = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ArchiveError(f"{folder}/index.json: not readable ({error}). Delete it.") from error
    parameters: dict[str, Any] = content.get("parameters", {})
    return parameters
