"""Opening labels: a vector file, a raster, or a column that a run of places keeps."""

from __future__ import annotations

from pathlib import Path

from thor_geo.errors import ConfigError
from thor_geo.ground.geofile import file_kind
from thor_geo.probe.joining import JoinableLabels
from thor_geo.probe.kept import KeptLabels
from thor_geo.probe.rasters import RasterLabels, is_raster
from thor_geo.probe.spec import Task
from thor_geo.probe.vectors import VectorLabels
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.support.jsontext import fits, parse_json


def open_labels(
    path: str | Path,
    target: str | None = None,
    *,
    layer: str | None = None,
    task: Task | None = None,
    nodata: float | None = None,
    ignore: tuple[str, ...] = (),
    names: str | Path | None = None,
) -> JoinableLabels:
    """Open a vector file or a raster of labels.

    Args:
        path: Points, polygons or a raster, in any CRS.
        target: Column of a vector file, or description of a raster's band.
        layer: Layer of a vector file, where it has several.
        task: What is predicted; None follows the labels.
        nodata: A raster's value for no label, besides its own nodata value.
        ignore: Labels to leave out, as text.
        names: JSON file with the names of classes, e.g. ``{"11": "crops"}``.

    Raises:
        ConfigError: If the labels cannot be used.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise ConfigError("--labels", str(path), "no such file", "Give a vector file or a raster.")
    if file_kind(path) == "other" and is_raster(path):
        if layer is not None:
            raise ConfigError(
                "--layer", layer, "a raster has no layers", "Choose a band with --target."
            )
        raster = RasterLabels(path, target, task=task, nodata=nodata, ignore=ignore)
        raster.names = _names(names)
        return raster
    if nodata is not None:
        raise ConfigError(
            "--nodata", nodata, "only for rasters", "Use --ignore for labels of a vector file."
        )
    vectors = VectorLabels(path, target, layer=layer, task=task, ignore=ignore)
    vectors.names = _names(names)
    return vectors


def kept_labels(
    opened: OpenedRun,
    target: str | None = None,
    *,
    task: Task | None = None,
    ignore: tuple[str, ...] = (),
    names: str | Path | None = None,
) -> KeptLabels:
    """Take the labels of a run of places from a column of its table.

    Args:
        opened: A run of places; it may be unfinished.
        target: The column: one of those that `data.places.keep` kept.
        task: What is predicted; None follows the column.
        ignore: Labels to leave out, as text.
        names: JSON file with the names of classes, e.g. ``{"11": "crops"}``.

    Raises:
        ConfigError: If the run is not one of places or has no such column, or the column cannot be
            used.
        RunDirectoryError: If no place is done, or a file cannot be read.
    """
    labels = KeptLabels(opened, target, task=task, ignore=ignore)
    labels.names = _names(names)
    return labels


def _names(path: str | Path | None) -> dict[str, str]:
    if path is None:
        return {}
    try:
        content = parse_json(Path(path).expanduser().read_bytes())
        if not fits("Mapping[str, str]", content):
            raise ValueError("it is not an object of strings")
    except (OSError, ValueError) as error:
        raise ConfigError(
            "--names", str(path), f"not usable ({error})", 'Give JSON such as {"11": "crops"}.'
        ) from error
    return dict(content)
