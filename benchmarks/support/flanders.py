"""A table of places over real scenes: pixels of WorldCereal's rasters as points with labels.

The sample `wc_be_31UDS` lies outside the repository; see docs/real-data.md.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import rasterio

#: UTM zone and upper left corner of the scenes in metres, and their side in pixels of 10 m.
EPSG, CORNER, SIDE = 32631, (501_360.0, 5_629_680.0), 64

#: Days of the made-up survey in 2018: every 20 days of the season.
DAYS = np.arange("2018-04-01", "2018-10-01", 20, dtype="datetime64[D]")


@dataclass(frozen=True, kw_only=True)
class Flanders:
    """The sample.

    Attributes:
        folder: Holds ``scenes/wc_be_31UDS`` and ``labels/wc_be_31UDS_LC.tif`` and ``_CT.tif``.
    """

    folder: Path

    @property
    def scenes(self) -> Path:
        """The archive of 118 scenes."""
        return self.folder / "scenes" / "wc_be_31UDS"

    def labels(self, kind: str) -> tuple[npt.NDArray[np.int64], dict[int, str]]:
        """Return a raster of labels (64, 64) and the names of its classes.

        Args:
            kind: ``LC`` for land cover, ``CT`` for crop type.
        """
        path = self.folder / "labels" / f"wc_be_31UDS_{kind}.tif"
        with rasterio.open(path) as file:
            corner = (file.transform.c, file.transform.f)
            if (corner, file.shape, file.crs.to_epsg()) != (CORNER, (SIDE, SIDE), EPSG):
                raise ValueError(f"{path} is not on the grid of the scenes")
            values = file.read(1).astype(np.int64)
        classes = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["classes"]
        return values, {
            int(code): re.sub(r" \([^)]*\)", "", name) for code, name in classes.items()
        }

    def places(self, count: int = 300, *, chip: int = 32, seed: int = 0) -> gpd.GeoDataFrame:
        """Return places whose chips lie within the scenes, as many of each land cover as there are.

        Args:
            count: Rows.
            chip: Side of a chip in pixels.
            seed: Seed of the choice and of the order.

        Returns:
            ``plot`` (text, the id), ``surveyed`` (day), ``land_cover`` (text), ``crop`` (text, null
            without one), ``crop_code`` (integer, null without one), ``quarter`` (text) and the
            point, in degrees.
        """
        rng = np.random.default_rng(seed)
        cover, covers = self.labels("LC")
        crop, crops = self.labels("CT")
        first, last = chip // 2, SIDE - chip // 2  # a pixel's middle is off the corners' grid
        inside = np.zeros_like(cover, dtype=np.bool_)
        inside[first:last, first:last] = True
        pixels = [rng.permutation(np.argwhere(inside & (cover == code))) for code in covers]
        # In turns, so that rare covers give all they have.
        turns = [np.arange(len(of_one)) for of_one in pixels]
        order = np.argsort(np.concatenate(turns), kind="stable")
        chosen = rng.permutation(np.concatenate(pixels)[order[:count]])
        if len(chosen) < count:
            raise ValueError(f"there are {len(chosen)} pixels with a chip of {chip}, not {count}")
        row, col = chosen.T
        x, y = CORNER[0] + 10 * (col + 0.5), CORNER[1] - 10 * (row + 0.5)
        points = gpd.points_from_xy(x, y, crs=EPSG).to_crs(4326)
        code = crop[row, col]
        half = SIDE // 2
        table: dict[str, Any] = {
            "plot": [f"BE{k:03d}" for k in range(count)],
            "surveyed": rng.choice(DAYS, count).astype("datetime64[ms]"),
            "land_cover": [covers[value] for value in cover[row, col].tolist()],
            "crop": [crops[value] if value else None for value in code.tolist()],
            "crop_code": pd.array([value or None for value in code.tolist()], dtype="Int32"),
            "quarter": [
                f"{'north' if r < half else 'south'}-{'west' if c < half else 'east'}"
                for r, c in chosen.tolist()
            ],
        }
        return gpd.GeoDataFrame(table, geometry=points)
