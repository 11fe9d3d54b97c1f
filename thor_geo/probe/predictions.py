"""Predictions of a probe for a whole run: a table of tiles or places, or a map of each zone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import rasterio

from thor_geo.ground.area import LONLAT
from thor_geo.ground.lattice import zone_name
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.probe.place_predictions import write_place_table
from thor_geo.probe.saved import SavedProbe
from thor_geo.results import ZoneCells, read_tiles, zone_cells
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.support.files import atomic_path

#: Name of the table of tiles or places.
TABLE = "predictions.parquet"


class ClassCodes(NamedTuple):
    """The codes of classes in a map.

    Attributes:
        values: Code of each class, in the probe's order.
        nodata: Code of cells without an embedding.
        dtype: Type of the map.
    """

    values: npt.NDArray[np.int64]
    nodata: int
    dtype: str


def class_codes(classes: Sequence[str | int]) -> ClassCodes:
    """Return the codes of classes: the classes themselves if all are 16-bit integers.

    Otherwise (text, negative or larger numbers) codes are 1, 2, 3, ... in order, and 0 is nodata.

    Args:
        classes: The classes.
    """
    if all(isinstance(c, int) and 0 <= c < 65535 for c in classes):
        values = np.array(classes, dtype=np.int64)
        if 0 not in classes:
            return ClassCodes(values, 0, "uint8" if values.max() < 256 else "uint16")
        return ClassCodes(values, *((255, "uint8") if values.max() < 255 else (65535, "uint16")))
    values = np.arange(1, len(classes) + 1)
    return ClassCodes(values, 0, "uint8" if len(values) < 256 else "uint16")


def prediction_files(opened: OpenedRun, probe: SavedProbe) -> list[str]:
    """Return the names of the files that `write_predictions` writes.

    Args:
        opened: The run.
        probe: The probe.
    """
    if probe.unit == "tiles" or isinstance(opened.plan, PlacePlan):
        return [TABLE]
    zones = set(opened.plan.shards.zone.tolist())
    return [_map_name(opened.plan.lattices[k].epsg) for k in sorted(zones)]


def write_predictions(
    opened: OpenedRun,
    probe: SavedProbe,
    folder: Path,
    *,
    window: int | None = None,
    progress: bool = False,
) -> list[Path]:
    """Predict on all tiles, cells or places of a run.

    Args:
        opened: The run; refused if it does not fit the probe.
        probe: The probe.
        folder: Where the files go.
        window: Which time window, 0 for the first, where the run has several.
        progress: Whether to draw a progress bar on standard error, where that is a terminal.

    Returns:
        ``predictions.parquet`` (GeoParquet: tile_id, prediction, ``p_<class>``, geometry; of a run
        of places see `write_place_table`), or one GeoTIFF per zone.

    Raises:
        RunDirectoryError: If the run does not fit the probe, or a file cannot be read.
    """
    probe.check(opened)
    if isinstance(opened.plan, PlacePlan):
        opened.time_index(window)
        write_place_table(opened, probe, folder / TABLE, progress=progress)
        return [folder / TABLE]
    if probe.unit == "tiles":
        return [_write_table(opened, probe, folder / TABLE, window, progress)]
    return [
        _write_map(zone, probe, folder / _map_name(epsg), progress)
        for epsg, zone in zone_cells(opened, window=window).items()
    ]


def _map_name(epsg: int) -> str:
    return f"map_{zone_name(epsg)}.tif"


def _write_table(
    opened: OpenedRun, probe: SavedProbe, path: Path, window: int | None, progress: bool
) -> Path:
    import geopandas as gpd

    tiles = read_tiles(opened, window=window, progress=progress)
    columns: dict[str, Any] = {
        "tile_id": [tile.id for tile in opened.plan.tiles(tiles.index.tolist())],
        "primary": tiles.primary,
    }
    predicted = probe.predict(tiles.vectors)
    if probe.classes:
        columns["prediction"] = np.array(probe.classes)[predicted]
        chances = probe.probabilities(tiles.vectors)
        for k, name in enumerate(probe.classes):
            columns[f"p_{name}"] = chances[:, k]
    else:
        columns["prediction"] = predicted
    footprints = opened.plan.footprints()[tiles.index]
    frame = gpd.GeoDataFrame(columns, geometry=footprints, crs=LONLAT)
    with atomic_path(path) as temporary:
        frame.to_parquet(temporary, compression="zstd", write_covering_bbox=True)
    return path


def _write_map(zone: ZoneCells, probe: SavedProbe, path: Path, progress: bool) -> Path:
    codes = class_codes(probe.classes) if probe.classes else None
    left, _, _, top = zone.bounds
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "crs": f"EPSG:{zone.epsg}",
        "transform": rasterio.Affine(zone.cell, 0, left, 0, -zone.cell, top),
        "height": zone.shape[0],
        "width": zone.shape[1],
        "count": 1,
        "dtype": codes.dtype if codes else "float32",
        "nodata": codes.nodata if codes else float("nan"),
        "compress": "deflate",
        "tiled": True,
        "blockxsize": 256,
        "blockysize": 256,
        "bigtiff": "if_safer",
    }
    with atomic_path(path) as temporary, rasterio.open(temporary, "w", **profile) as file:
        file.set_band_description(1, probe.target)
        if codes:
            _describe(file, probe, codes)
        for rows, cols, vectors in zone.parts(progress=progress):
            window = rasterio.windows.Window.from_slices(
                (rows.start, rows.stop), (cols.start, cols.stop)
            )
            file.write(_predict(probe, codes, vectors, profile), 1, window=window)
    return path


def _predict(
    probe: SavedProbe, codes: ClassCodes | None, vectors: npt.NDArray[np.float32], profile: Any
) -> npt.NDArray[Any]:
    out = np.full(vectors.shape[:2], profile["nodata"], dtype=profile["dtype"])
    embedded = np.isfinite(vectors).all(axis=2)
    if embedded.any():
        predicted = probe.predict(vectors[embedded])
        out[embedded] = codes.values[predicted] if codes else predicted
    return out


def _describe(file: Any, probe: SavedProbe, codes: ClassCodes) -> None:
    """Write the names and colours of the classes to a map."""
    table = {
        str(code): str(name) for code, name in zip(codes.values.tolist(), probe.names, strict=True)
    }
    file.update_tags(CLASSES=json.dumps(table))
    file.update_tags(1, **{f"CLASS_{code}": name for code, name in table.items()})
    from matplotlib import colormaps

    # Ten or twenty colours, which repeat for more classes.
    size = 10 if len(codes.values) <= 10 else 20
    palette = colormaps[f"tab{size}"]
    file.write_colormap(
        1,
        {
            code: tuple(round(255 * part) for part in palette(k % size))
            for k, code in enumerate(codes.values.tolist())
        },
    )
