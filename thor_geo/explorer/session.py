"""The answers to the page's requests about a run."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import numpy.typing as npt

from thor_geo.errors import RunDirectoryError
from thor_geo.explorer.compare import Comparison
from thor_geo.explorer.composite import CompositePictures
from thor_geo.explorer.download import Answer, ExplorerFindings, findings_file
from thor_geo.explorer.frames import pack_arrays
from thor_geo.explorer.located import (
    RasterVectors,
    cell_places,
    shard_patches,
    tile_pixels,
    tile_places,
)
from thor_geo.pictures.caption import run_caption
from thor_geo.pictures.colours import load_or_fit_colours
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.specs.choices import Unit
from thor_geo.support.arrays import Int64Array

#: Most neighbours that a page may ask for.
MOST_NEIGHBOURS = 1000
#: Sides, in pixels, of the pictures that a page may ask for.
SIDES = (32, 64, 128, 256, 512, 1024)


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
        written: dict[Unit, bool] = {"tiles": opened.pooled, "cells": opened.grid}
        self.units = tuple(unit for unit, present in written.items() if present)
        if not self.units:
            raise RunDirectoryError(
                f"`{opened.run.path}` has neither pooled vectors nor maps to look at. Use a run "
                "with output.pooled=true or output.grid=true."
            )
        self._comparisons: dict[Unit, Comparison] = {}
        self._drawn: dict[Unit, bytes] = {}
        self._colours = load_or_fit_colours(opened.run, opened.plan)
        self._reading = threading.Lock()
        self._read = (0, 0)
        if self.units[0] == "tiles":
            self._comparisons["tiles"] = Comparison(
                tile_places(opened, window=window, progress=progress)
            )
        # Now, so that the page is ready when it is opened.
        self.places(self.units[0])

    def comparison(self, unit: Unit) -> Comparison:
        """Return the places of a unit; cells are read when they are first asked for."""
        with self._reading:
            if unit not in self._comparisons:
                self._comparisons[unit] = Comparison(
                    cell_places(self._opened, window=self._window, report=self._count_shards)
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
        """Return how many of the shards of cells have been read."""
        return {"read": self._read[0], "total": self._read[1]}

    def places(self, unit: Unit) -> bytes:
        """Return the positions of a unit's places, and their colours."""
        places = self.comparison(unit).places
        with self._reading:
            if unit not in self._drawn:
                self._drawn[unit] = self._pack_places(places)
            return self._drawn[unit]

    def _pack_places(self, places: RasterVectors) -> bytes:
        patches = shard_patches(places)
        colours = self._colours[places.vectors.shape[1]]
        header = {
            "unit": places.unit,
            "n": len(places),
            "main": int(places.main.sum()),
            "side": places.side,
            "step": places.step,
            "dimension": places.vectors.shape[1],
            "missing": places.missing,
            "shards": len(places.shards),
            "km2": places.km2,
            "share": list(colours.share),
        }
        return pack_arrays(
            header,
            mesh=patches.mesh,
            patch=patches.patch,
            pixel=(places.row * places.side + places.col).astype(np.uint32),
            shard=patches.shard,
            main=places.main.astype(np.uint8),
            rgb=colours(places.vectors),
        )

    def similar(self, unit: Unit, place: int, k: int) -> bytes:
        """Return the cosine of each place to one of them, and the most similar places."""
        comparison = self.comparison(unit)
        answer = comparison.similar(place, k)
        header = {
            "query": self._place_json(comparison.places, place),
            "neighbours": [
                {
                    **self._place_json(comparison.places, neighbour),
                    "cosine": float(answer.cosine[neighbour]),
                }
                for neighbour in answer.nearest.tolist()
            ],
        }
        return pack_arrays(header, values=answer.cosine)

    def probe(self, unit: Unit, positive: Int64Array, negative: Int64Array) -> bytes:
        """Return the score of each place."""
        return pack_arrays({}, values=self.comparison(unit).probe(positive, negative))

    def observations(self, unit: Unit) -> bytes:
        """Return the mean number of clear observations of each place's tile; NaN if unknown."""
        places, plan = self.comparison(unit).places, self._opened.plan
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
        """Return a picture of a shard's composite, empty if there are no pixels."""
        return _pack_picture(self.composite.picture(shard, side))

    def thumbnail(self, unit: Unit, place: int, side: int) -> bytes:
        """Return a picture of a place's composite, empty if there are no pixels."""
        return _pack_picture(self.composite.thumbnail(self.comparison(unit).places, place, side))

    def download(self, unit: Unit, findings: ExplorerFindings) -> Answer:
        """Return the findings as a file."""
        return findings_file(self._opened.plan, self.comparison(unit), findings)

    def _count_shards(self, read: int, total: int) -> None:
        self._read = (read, total)

    def _place_json(self, places: RasterVectors, place: int) -> dict[str, Any]:
        lon, lat = places.lonlat[place].tolist()
        name = None
        if places.tile is not None:
            name = self._opened.plan.tile(int(places.tile[place])).id
        return {"place": place, "lon": lon, "lat": lat, "id": name}


def _pack_picture(picture: npt.NDArray[np.uint8] | None) -> bytes:
    if picture is None:
        return pack_arrays({"width": 0, "height": 0})
    return pack_arrays({"width": picture.shape[1], "height": picture.shape[0]}, rgba=picture)
