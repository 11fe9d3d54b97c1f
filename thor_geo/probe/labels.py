"""Opening labels, whatever they are in."""

from __future__ import annotations

from pathlib import Path

from thor_geo.errors import ConfigError
from thor_geo.probe.joining import Labels
from thor_geo.probe.rasters import RasterLabels, is_raster
from thor_geo.probe.spec import Task
from thor_geo.probe.vectors import VectorLabels


def open_labels(
    path: str | Path,
    target: str | None = None,
    *,
    layer: str | None = None,
    task: Task | None = None,
    nodata: float | None = None,
    ignore: tuple[str, ...] = (),
) -> Labels:
    """Open a vector file or a raster of labels.

    Args:
        path: Points, polygons or a raster, in any CRS.
        target: Column of a vector file, or description of a raster's band.
        layer: Layer of a vector file, where it has several.
        task: What is predicted; None follows the labels.
        nodata: Value of a raster that is no label, besides its own nodata.
        ignore: Labels that count as none, as text.

    Raises:
        ConfigError: If the labels cannot be used.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise ConfigError("--labels", str(path), "no such file", "Give a vector file or a raster.")
    if path.suffix != ".parquet" and is_raster(path):
        if layer is not None:
            raise ConfigError("--layer", layer, "a raster has none", "Use --target for its band.")
        return RasterLabels(path, target, task=task, nodata=nodata, ignore=ignore)
    if nodata is not None:
        raise ConfigError(
            "--nodata", nodata, "for rasters only", "Use --ignore for labels of a vector file."
        )
    return VectorLabels(path, target, layer=layer, task=task, ignore=ignore)
