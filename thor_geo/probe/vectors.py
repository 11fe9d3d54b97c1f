"""Labels from a vector file: points or polygons with a column."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import shapely

from thor_geo.errors import ConfigError
from thor_geo.ground.area import LONLAT
from thor_geo.ground.geofile import GeoFile, read_geofile, without_geometry
from thor_geo.ground.lattice import Bounds
from thor_geo.probe.columns import read_labels
from thor_geo.probe.joining import Joined, Squares, heaviest_class
from thor_geo.probe.moving import (
    cut_features,
    moved_polygons,
    near_zone,
    repaired_polygons,
)
from thor_geo.probe.spec import Task
from thor_geo.support.arrays import BoolArray, Float64Array, Int64Array

_POINTS, _POLYGONS = {"Point"}, {"Polygon", "MultiPolygon"}


class _ZoneFeatures(NamedTuple):
    """The labelled features near a UTM zone, in its metres.

    Attributes:
        tree: Their geometries.
        values: Code or number of each, (n,).
        repaired: Which of them were invalid polygons, (n,).
        number: Index of each among all labelled features, (n,).
    """

    tree: Any
    values: Float64Array
    repaired: BoolArray
    number: Int64Array


class VectorLabels:
    """Points or polygons with a label each.

    A point labels the square that holds it. A square with several points has their most frequent
    class, or their mean. A square under polygons has the class that covers most of it, or the mean
    weighted by area. Among equals, the first class in ascending or alphabetical order counts.
    """

    names: Mapping[str, str] = MappingProxyType({})

    def __init__(
        self,
        path: Path,
        target: str | None,
        *,
        layer: str | None = None,
        task: Task | None = None,
        ignore: tuple[str, ...] = (),
    ) -> None:
        """Initialize a new VectorLabels instance.

        Args:
            path: A file that `read_geofile` reads: GeoPackage, GeoJSON, GeoParquet, shapefile, CSV.
            target: Column with the labels.
            layer: Layer of the file, where it has several.
            task: What is predicted; None follows the column.
            ignore: Labels to leave out.

        Raises:
            ConfigError: If the file or the column cannot be used.
        """
        frame = read_geofile(
            GeoFile(path=path, argument="--labels", layer=layer, layer_argument="--layer")
        )
        columns = [c for c in map(str, frame.columns) if c != frame.geometry.name]
        if target is None or target not in columns:
            raise ConfigError(
                "--target",
                target,
                f"no such column in {path}" if target else f"not given, and {path} has columns",
                f"Choose one of {', '.join(columns) or '(it has none)'}.",
            )
        self.name, self.source = target, str(path)
        self.kind = _kind(path, frame)
        column = read_labels(
            target,
            frame[target],
            task,
            ignore,
            usable=~without_geometry(frame),
            source=f"feature of {path}",
        )
        self.task, self.notes = column.task, column.notes
        self._counts, self._values = column.counts, column.values
        self._classes = column.classes
        self._codes = np.arange(len(self._classes), dtype=np.float64)
        frame = frame[column.labelled]
        self._geometry, failed = cut_features(frame.geometry)
        self._zones = dict[int, _ZoneFeatures]()
        self._repaired, self._left_out = set[int](), set[int](failed.tolist())

    def record(self) -> Mapping[str, object]:
        """Return the record of the labels for probe.json; complete once they are joined."""
        return {
            "file": self.source,
            "kind": self.kind,
            "column": self.name,
            **self._counts,
            "repaired_polygons": len(self._repaired),
            "polygons_left_out": len(self._left_out),
        }

    def extent(self) -> Bounds:
        """Return west, south, east and north of the features with a label, degrees."""
        west, south, east, north = self._geometry.to_crs(LONLAT).total_bounds.tolist()
        return west, south, east, north

    def class_of(self, code: float) -> str | int:
        """Return the class that a code stands for."""
        return self._classes[int(code)]

    def join(self, squares: Squares) -> Joined:
        """Return the labels of squares.

        Args:
            squares: Cells or a tile.
        """
        zone = self._zone(squares.epsg)
        tree, values = zone.tree, zone.values
        count = squares.rows * squares.cols
        pieces = None
        if self.kind == "points":
            square, feature, weight = self._points(squares, tree)
        else:
            square, feature, pieces = _pieces(squares, tree)
            weight = shapely.area(pieces)
            met = np.unique(feature)
            self._repaired.update(zone.number[met[zone.repaired[met]]].tolist())
        total: Float64Array = np.bincount(square, weight, count).astype(np.float64)
        labelled = total if pieces is None else _less_overlaps(total, square, pieces)
        tied = np.zeros(count, dtype=np.bool_)
        if self.task == "classification":
            flat = square * len(self._codes) + values[feature].astype(np.int64)
            weights: Float64Array = np.bincount(flat, weight, count * len(self._codes)).astype(
                np.float64
            )
            if pieces is not None:
                weights = _less_overlaps(weights, flat, pieces)
            value, tied = heaviest_class(weights.reshape(count, -1), self._codes)
        else:
            sums = np.bincount(square, weight * values[feature], count)
            value = np.divide(sums, total, out=np.full(count, np.nan), where=total > 0)
        cover = np.minimum(labelled / (1 if pieces is None else squares.side**2), 1.0)
        shape = (squares.rows, squares.cols)
        return Joined(value.reshape(shape), cover.reshape(shape), tied.reshape(shape))

    def _zone(self, epsg: int) -> _ZoneFeatures:
        """Return the features near a zone."""
        if epsg not in self._zones:
            bounds = self._geometry.to_crs(LONLAT).bounds.to_numpy()
            number = np.flatnonzero(near_zone(bounds, epsg))
            self._zones[epsg] = self._project(number, bounds[number], epsg)
        return self._zones[epsg]

    def _project(self, number: Int64Array, bounds: Float64Array, epsg: int) -> _ZoneFeatures:
        """Return some features in a zone's metres, invalid polygons repaired."""
        part = self._geometry.iloc[number]
        if self.kind == "points":
            shapes = part.to_crs(epsg).to_numpy()
            unchanged = np.zeros(len(number), dtype=np.bool_)
            return _ZoneFeatures(shapely.STRtree(shapes), self._values[number], unchanged, number)
        # First of all: GEOS drops ground of an invalid polygon when it shortens its edges.
        part, repaired = repaired_polygons(part)
        part, elsewhere = moved_polygons(part, bounds, epsg)
        part, number, repaired = part[~elsewhere], number[~elsewhere], repaired[~elsewhere]
        if epsg % 100 in (1, 60):
            # Parts on both sides of the antimeridian touch in metres, which is invalid.
            whole = shapely.union_all(part.to_numpy()[:, None], axis=1)
            part = type(part)(whole, index=part.index, crs=part.crs)
        part, moved = repaired_polygons(part)
        repaired = repaired | moved
        ground = (part.area > 0).to_numpy()
        self._left_out.update(number[~ground].tolist())
        part, number, repaired = part[ground], number[ground], repaired[ground]
        shapes = part.to_numpy()
        return _ZoneFeatures(shapely.STRtree(shapes), self._values[number], repaired, number)

    @staticmethod
    def _points(
        squares: Squares, tree: Any
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Float64Array]:
        """Return square, point and a weight of 1 for each point that lies in a square."""
        right = squares.left + squares.cols * squares.side
        bottom = squares.top - squares.rows * squares.side
        near = tree.query(shapely.box(squares.left, bottom, right, squares.top))
        coordinates = shapely.get_coordinates(tree.geometries[near])
        # Western and northern edges belong to a square, as in rasters.
        col = np.floor((coordinates[:, 0] - squares.left) / squares.side).astype(np.int64)
        row = np.floor((squares.top - coordinates[:, 1]) / squares.side).astype(np.int64)
        inside = (col >= 0) & (col < squares.cols) & (row >= 0) & (row < squares.rows)
        square = row[inside] * squares.cols + col[inside]
        return square, near[inside], np.ones(len(square))


def _pieces(
    squares: Squares, tree: Any
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[Any]]:
    """Return square, polygon and common ground for each pair that shares ground."""
    boxes = shapely.box(*squares.boxes())
    square, feature = tree.query(boxes, predicate="intersects")
    pieces = shapely.intersection(boxes[square], tree.geometries[feature])
    shared = shapely.area(pieces) > 0
    return square[shared], feature[shared], pieces[shared]


def _less_overlaps(
    areas: Float64Array, group: npt.NDArray[np.int64], pieces: npt.NDArray[Any]
) -> Float64Array:
    """Return the area that each group's pieces cover, counting overlaps once.

    Args:
        areas: Sum of the areas of each group's pieces, (n,).
        group: Group of each piece.
        pieces: Polygons.
    """
    once = areas.copy()
    order = np.argsort(group, kind="stable")
    numbers, first, count = np.unique(group[order], return_index=True, return_counts=True)
    several = count > 1
    for k, start, n in zip(numbers[several], first[several], count[several], strict=True):
        union = shapely.area(shapely.union_all(pieces[order[start : start + n]]))
        # Without an overlap the two differ only in their last bits.
        if union < areas[k] * (1 - 1e-9):
            once[k] = union
    return once


def _kind(path: Path, frame: Any) -> str:
    kinds = set(frame.geom_type.dropna().unique())
    if not kinds or not (kinds <= _POINTS or kinds <= _POLYGONS):
        raise ConfigError(
            "--labels",
            str(path),
            f"it holds {', '.join(sorted(kinds)) or 'no geometry'}",
            "Split MultiPoints, e.g. with QGIS 'Multipart to singleparts'."
            if "MultiPoint" in kinds
            else "Give only points, or only polygons.",
        )
    return "points" if kinds <= _POINTS else "polygons"
