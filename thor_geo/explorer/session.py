"""The answers to the page's requests about a run."""

from __future__ import annotations

import threading
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from thor_geo.errors import InputError, RunDirectoryError
from thor_geo.explorer.compare import Comparison
from thor_geo.explorer.composite import CompositePictures
from thor_geo.explorer.download import Answer, ExplorerFindings, findings_file
from thor_geo.explorer.frames import pack_arrays
from thor_geo.explorer.large import compared_cells, compared_tiles
from thor_geo.explorer.located import (
    DrawnColours,
    ExplorerUnit,
    LocatedVectors,
    RasterVectors,
    tile_pixels,
)
from thor_geo.explorer.overviewed import overview_places
from thor_geo.explorer.patches import shard_patches, web_mercator
from thor_geo.explorer.points import PointVectors, point_vectors
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.pictures.caption import run_caption
from thor_geo.pictures.colours import RunColours, load_or_fit_colours
from thor_geo.pictures.pca import Colours
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.support.arrays import Int64Array

#: Most neighbours that a page may ask for.
MOST_NEIGHBOURS = 1000
#: Sides, in pixels, of the pictures that a page may ask for.
SIDES = (32, 64, 128, 256, 512, 1024)
# Vectors that colours are fitted to, where the run has none for them.
_FITTED = 2048
# Vectors that are coloured at once.
_COLOURED = 16_384


class ExplorerSession:
    """A run that is open in the browser; safe to use from several threads."""

    def __init__(
        self, opened: OpenedRun, *, window: int | None = None, progress: bool = False
    ) -> None:
        """Initialize a new ExplorerSession instance.

        Args:
            opened: The run; it may be unfinished.
            window: Which time window; needed only if there are several.
            progress: Whether to show a progress bar while reading, on a terminal.

        Raises:
            ConfigError: If there are several windows and none is named, or there is no such window.
            RunDirectoryError: If the run has no embedding yet, or cannot be read.
        """
        self._opened, self._window = opened, window
        self._time = opened.time_index(window)
        self.composite = CompositePictures(opened, window)
        written: dict[ExplorerUnit, bool] = {"tiles": opened.pooled, "cells": opened.grid}
        if isinstance(opened.plan, PlacePlan):
            centre = bool(opened.document["settings"]["output"].get("centre", False))
            written = {"chips": opened.pooled, "centres": opened.pooled and centre}
        self.units = tuple(unit for unit, present in written.items() if present)
        if not self.units:
            raise RunDirectoryError(
                f"`{opened.run.path}` has neither pooled vectors nor maps to look at. Use a run "
                "with output.pooled=true, or of an area with output.grid=true."
            )
        self._comparisons: dict[ExplorerUnit, Comparison] = {}
        self._drawn: dict[ExplorerUnit, bytes] = {}
        self._reading = threading.Lock()
        self._read = (0, 0)
        first = self.units[0]
        drawn = overview_places(opened, window, self._count_shards) if opened.pooled else None
        if drawn is not None:
            self._comparisons[first] = Comparison(drawn)
        elif first == "tiles":
            self._comparisons[first] = compared_tiles(opened, window, progress=progress)
        elif first == "chips":
            self._comparisons[first] = Comparison(point_vectors(opened, "chips", progress=progress))
        # Now, so that the page is ready when it is opened.
        self.places(self.units[0])

    def comparison(self, unit: ExplorerUnit) -> Comparison:
        """Return the places of a unit; cells are read when they are first asked for."""
        with self._reading:
            if unit not in self._comparisons:
                self._comparisons[unit] = (
                    Comparison(point_vectors(self._opened, "centres"))
                    if unit == "centres"
                    else compared_cells(self._opened, self._window, self._count_shards)
                )
            return self._comparisons[unit]

    def prepare(self) -> None:
        """Do the work now that the first request would have to wait for."""
        self.comparison(self.units[0]).prepare()

    @property
    def shards(self) -> int:
        """Number of the run's shards."""
        return len(self._opened.plan.shards)

    def run(self) -> dict[str, Any]:
        """Return the page's texts about the run."""
        caption, plan = run_caption(self._opened.run, self._opened.plan), self._opened.plan
        return {
            "title": caption.title,
            "subtitle": caption.subtitle,
            "notice": caption.notice,
            "picture": caption.picture,
            "path": str(self._opened.run.path),
            "units": list(self.units),
            "tiles": len(plan),
            "most_neighbours": MOST_NEIGHBOURS,
        }

    def progress(self) -> dict[str, Any]:
        """Return how many shards have been read, of cells or of vectors that were far away."""
        return {"read": self._read[0], "total": self._read[1]}

    def places(self, unit: ExplorerUnit) -> bytes:
        """Return the positions of a unit's places, and their colours."""
        places = self.comparison(unit).places
        with self._reading:
            if unit not in self._drawn:
                self._drawn[unit] = (
                    self._pack_points(places)
                    if isinstance(places, PointVectors)
                    else self._pack_raster(places)
                )
            return self._drawn[unit]

    def _pack_points(self, places: PointVectors) -> bytes:
        """Return points: what a page needs of each is 19 bytes, whatever the table has."""
        drawn = places.colours or self._coloured(places)
        header = {
            "unit": places.unit,
            "points": True,
            "n": len(places),
            "dimension": places.dimension,
            "missing": places.missing,
            "shards": places.shards,
            "side_m": places.side_m,
            "columns": [name for name in places.columns.column_names if name != places.id],
            "column": places.few,
            "share": list(drawn.share),
        }
        x, y = web_mercator(*places.lonlat.T).T
        return pack_arrays(header, x=x, y=y, rgb=drawn.rgb)

    def _pack_raster(self, places: LocatedVectors) -> bytes:
        assert isinstance(places, RasterVectors)
        patches, drawn = shard_patches(places), places.colours or self._coloured(places)
        header = {
            "unit": places.unit,
            "n": len(places),
            "main": int(places.main.sum()),
            "side": places.side,
            "step": places.step,
            "dimension": places.dimension,
            "missing": places.missing,
            "shards": len(places.shards),
            "km2": places.km2,
            "share": list(drawn.share),
        }
        return pack_arrays(
            header,
            mesh=patches.mesh,
            patch=patches.patch,
            pixel=(places.row * places.side + places.col).astype(np.uint32),
            shard=patches.shard,
            main=places.main.astype(np.uint8),
            rgb=drawn.rgb,
        )

    @cached_property
    def _colours(self) -> RunColours:
        return load_or_fit_colours(self._opened.run, self._opened.plan)

    def _coloured(self, places: LocatedVectors) -> DrawnColours:
        colours = self._colours.get(places.dimension)
        if colours is None:
            # The centres of a run with `group_merge: concat` are longer than its chips' vectors.
            colours = Colours.fit(places.vectors[:: max(1, len(places) // _FITTED)])
        rgb = np.empty((len(places), 3), dtype=np.uint8)
        for start in range(0, len(places), _COLOURED):  # of a part at a time: floats take more room
            part = slice(start, start + _COLOURED)
            rgb[part] = colours(places.vectors[part])
        return DrawnColours(rgb, colours.share)

    def similar(self, unit: ExplorerUnit, place: int, k: int) -> bytes:
        """Return the cosine of each place to one of them, and the most similar places."""
        comparison = self.comparison(unit)
        answer = comparison.similar(place, k)
        found = comparison.found(place, k)
        header = {
            "query": self._place_json(comparison.places, place),
            "neighbours": [
                {
                    **self._place_json(comparison.places, neighbour),
                    "cosine": float(answer.cosine[neighbour]),
                }
                for neighbour in answer.nearest.tolist()
            ]
            if found is None
            else found.as_json(self._opened.plan),
        }
        return pack_arrays(header, values=answer.cosine)

    def probe(self, unit: ExplorerUnit, positive: Int64Array, negative: Int64Array) -> bytes:
        """Return the score of each place."""
        return pack_arrays({}, values=self.comparison(unit).probe(positive, negative))

    def column(self, unit: ExplorerUnit, name: str) -> bytes:
        """Return the classes of a column of the table: names, colours, counts, and each place's.

        Raises:
            InputError: If the table has no such column.
        """
        places = self._points(unit)
        if name not in places.columns.column_names:
            raise InputError(f"`name={name!r:.50}` is no column of the table. Give one it has.")
        classes = places.classes(name)
        header = {
            "column": name,
            "names": list(classes.names),
            "colours": list(classes.colours),
            "counts": classes.counts.tolist(),
        }
        return pack_arrays(header, codes=classes.codes.astype(np.uint8))

    def describe(self, unit: ExplorerUnit, place: int) -> dict[str, Any]:
        """Return what is known of a place of a table."""
        return self._points(unit).describe(place)

    def _points(self, unit: ExplorerUnit) -> PointVectors:
        places = self.comparison(unit).places
        if not isinstance(places, PointVectors):
            raise InputError("`unit`: this run has no table of places. Ask for tiles or cells.")
        return places

    def observations(self, unit: ExplorerUnit) -> bytes:
        """Return the mean number of clear observations of each place's tile; NaN if unknown."""
        places, plan = self.comparison(unit).places, self._opened.plan
        assert isinstance(places, PointVectors | RasterVectors)
        if places.observations is not None:
            return pack_arrays({}, values=places.observations)
        assert isinstance(places, RasterVectors)
        k = plan.lattices[0].shard_tiles
        # A marker lists the windows of each tile one after the other.
        of_window = slice(self._time or 0, None, len(self._opened.windows))
        values = np.full(len(places), np.nan, dtype=np.float32)
        order = np.argsort(places.shard, kind="stable")
        starts = np.flatnonzero(np.diff(places.shard[order], prepend=-1))
        for members in np.split(order, starts[1:]):
            shard = plan.shards[int(places.shard[members[0]])]
            marker = self._opened.marker(shard)
            if marker is None:
                continue
            raster = np.full((k, k), np.nan, dtype=np.float32)
            raster[tile_pixels(plan, slice(shard.start, shard.stop))] = [
                np.nan if mean is None else mean for mean in marker.observations_mean[of_window]
            ]
            values[members] = raster[
                places.row[members] * k // places.side, places.col[members] * k // places.side
            ]
        return pack_arrays({}, values=values)

    def picture(self, shard: int, side: int) -> bytes:
        """Return a picture of a shard's composite, empty if there are no pixels.

        Raises:
            InputError: If the run is one of places, whose shards cover no ground.
        """
        if isinstance(self._opened.plan, PlacePlan):
            raise InputError("`shard`: chips of places lie anywhere. Ask for a place's thumbnail.")
        return _pack_picture(self.composite.picture(shard, side))

    def thumbnail(self, unit: ExplorerUnit, place: int, side: int) -> bytes:
        """Return a picture of a place's composite, empty if there are no pixels."""
        return _pack_picture(self.composite.thumbnail(self.comparison(unit).places, place, side))

    def download(self, unit: ExplorerUnit, findings: ExplorerFindings) -> Answer:
        """Return the findings as a file."""
        return findings_file(self._opened.plan, self.comparison(unit), findings)

    def _count_shards(self, read: int, total: int) -> None:
        self._read = (read, total)

    def _place_json(self, places: LocatedVectors, place: int) -> dict[str, Any]:
        if isinstance(places, PointVectors):
            return places.describe(place)
        lon, lat = places.lonlat[place].tolist()
        name = None
        if places.tile is not None:
            name = self._opened.plan.tile(int(places.tile[place])).id
        return {"place": place, "lon": lon, "lat": lat, "id": name}


def _pack_picture(picture: npt.NDArray[np.uint8] | None) -> bytes:
    if picture is None:
        return pack_arrays({"width": 0, "height": 0})
    return pack_arrays({"width": picture.shape[1], "height": picture.shape[0]}, rgba=picture)
