"""A table of 300 labelled places over real scenes: sources, areas, context, and a probe.

Claims (docs/real-data.md, "300 places in a village"): a run of places gives the same bytes from the
emulator and from a STAC catalogue; a chip on the ground of a tile has the tile's vectors, bit for
bit; and what else is shown there.

    python -m benchmarks.real_places --data ../shared/data            # 5 minutes
    python -m benchmarks.real_places --data ../shared/data --docs     # also renews the page

Scenes and labels are WorldCereal's sample `wc_be_31UDS`, see docs/real-data.md. Weights are random:
scores show that labels and vectors belong together, not what THOR knows.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.parquet as pq
import xarray as xr

from benchmarks.support.commands import box, emulator, flags, sentinel2, thor_geo
from benchmarks.support.flanders import CORNER, DAYS, EPSG, SIDE, Flanders
from benchmarks.support.report import ROOT, Report, Row, parser
from thor_geo.emulator import write_catalogue

CONFIG = "configs/quickstart_places.yaml"
IMAGES = ROOT / "docs" / "images"

#: Side of a patch and of a cell, pixels; side of the chips of the run that is shown.
PATCH, CHIP = 4, 32
#: Sides of the chips that are compared, pixels: multiples of a 20 m patch.
SIZES = (16, 24, 32, 40, 48)

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Workplace:
    """Where the runs are.

    Attributes:
        folder: Of the tables, the runs and their cache.
        flanders: Scenes and labels.
    """

    folder: Path
    flanders: Flanders

    def run(self, name: str, source: dict[str, object], **settings: object) -> Path:
        """Embed; return the directory of the run.

        Args:
            name: Of the run.
            source: Settings of the source.
            **settings: Others, with two underscores for a dot.
        """
        out = self.folder / name
        common: dict[str, object] = {
            **sentinel2(cloudy_pct=100, mask="scl"),
            "data.cache_dir": self.folder / "cache",
            "data.num_workers": 0,
            "model.patch_size": PATCH,
            "output.dir": out,
            "output.quicklook": "false",
        }
        given = {key.replace("__", "."): value for key, value in settings.items()}
        thor_geo("predict", "-c", CONFIG, *flags({**common, **source, **given}))
        return out

    def places(self, name: str, source: dict[str, object], table: Path, **settings: object) -> Path:
        """Embed a table of places; return the directory of the run."""
        keys = {"data__places__file": table, "data__places__keep": "null"}
        return self.run(name, source, **{**keys, "data__tile_size": CHIP, **settings})

    def area(self, source: dict[str, object]) -> Path:
        """Embed the scenes' square as one tile, in every window of the table."""
        left, top = CORNER
        bounds = (left, top - 10 * SIDE, left + 10 * SIDE, top)
        pairs = [[str(day - 45), str(day + 46)] for day in DAYS]
        return self.run(
            "area",
            source,
            data__places="null",
            data__anchor=list(CORNER),
            data__tile_size=SIDE,
            data__windows=json.dumps(pairs),
            output__centre="false",
            output__grid="true",
            **{key.replace(".", "__"): value for key, value in box(bounds, EPSG).items()},
        )


def merged(run: Path) -> gpd.GeoDataFrame:
    """Merge a run; return its rows in the table's order."""
    thor_geo("merge", run, "--overwrite")
    return gpd.read_parquet(run / "embeddings.parquet")


def vectors(rows: gpd.GeoDataFrame, name: str) -> Vectors:
    """Return a column of vectors (n, D)."""
    return np.stack(rows[name].to_numpy()).astype(np.float32)


def cells_at(area: Path, rows: gpd.GeoDataFrame) -> tuple[Vectors, Vectors]:
    """Return the area's cells that hold the places, (n, D), and all its cells, (windows, n, D)."""
    store = xr.open_zarr(area / "grid.zarr", group="utm31n").embeddings
    # The tile's cells alone: the store holds a shard's, of which there is no other tile.
    store = store.sel(
        y=slice(CORNER[1], CORNER[1] - 10 * SIDE), x=slice(CORNER[0], CORNER[0] + 10 * SIDE)
    )
    maps = store.to_numpy()  # (windows, D, y, x)
    assert maps.shape[2:] == (SIDE // PATCH, SIDE // PATCH)
    points = gpd.points_from_xy(rows.place_lon, rows.place_lat, crs=4326).to_crs(EPSG)
    row = np.floor((CORNER[1] - points.y) / (10 * PATCH)).astype(int)
    col = np.floor((points.x - CORNER[0]) / (10 * PATCH)).astype(int)
    starts = (DAYS - 45).astype("datetime64[D]")
    days = rows.datetime_start.dt.tz_localize(None).to_numpy().astype("datetime64[D]")
    window = np.searchsorted(starts, days)
    assert (starts[window] == days).all()
    return maps[window, :, row, col], maps.reshape(*maps.shape[:2], -1).swapaxes(1, 2)


def cosine(a: Vectors, b: Vectors) -> npt.NDArray[np.float64]:
    """Return the cosine of each pair of rows."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    return (a * b).sum(-1) / (np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1))


def context_row(size: int, rows: gpd.GeoDataFrame, area: Path) -> Row:
    """Compare centres of chips of a size with the area's cells at the same places."""
    seen = rows[(rows.status == "ok") & (rows.valid_fraction == 1)]
    inside = seen[[_inside(transform, size) for transform in seen["transform"]]]
    centre, (cells, everywhere) = vectors(inside, "centre"), cells_at(area, inside)
    mean = everywhere.reshape(-1, everywhere.shape[-1]).mean(axis=0)
    starts = inside.datetime_start.dt.tz_localize(None).to_numpy().astype("datetime64[D]")
    window = np.searchsorted(DAYS - 45, starts)
    # Of the 256 cells of the window, which is most like the centre of the chip?
    nearest = [
        int(cosine(everywhere[w] - mean, c - mean).argmax())
        for w, c in zip(window, centre, strict=True)
    ]
    found = [
        bool(np.array_equal(everywhere[w, k], cell))
        for w, k, cell in zip(window, nearest, cells, strict=True)
    ]
    # Chips whose patches, of 40 m and of 80 m, are those of the area's tile.
    grid = np.array([_on_patches(transform) for transform in inside["transform"]])
    plain, centred = cosine(centre, cells), cosine(centre - mean, cells - mean)
    shuffled = np.random.default_rng(0).permutation(len(cells))
    return {
        "chip, px": size,
        "places": len(inside),
        "cosine, median": float(np.median(plain)),
        "5 %": float(np.quantile(plain, 0.05)),
        "mean removed, median": float(np.median(centred)),
        "5 % of it": float(np.quantile(centred, 0.05)),
        "on the tile's patches": int(grid.sum()),
        "median of these": float(np.median(centred[grid])) if grid.any() else None,
        "another place's cell": float(np.median(cosine(centre - mean, cells[shuffled] - mean))),
        "own cell is the most similar of 256, %": 100 * float(np.mean(found)),
    }


def _inside(transform: npt.NDArray[np.float64], size: int) -> bool:
    left, top = transform[2], transform[5]
    return bool(
        CORNER[0] <= left
        and left + 10 * size <= CORNER[0] + 10 * SIDE
        and top <= CORNER[1]
        and top - 10 * size >= CORNER[1] - 10 * SIDE
    )


def _on_patches(transform: npt.NDArray[np.float64]) -> bool:
    patch = 20 * PATCH  # of the 20 m bands; those of the 10 m bands divide it
    return (transform[2] - CORNER[0]) % patch == 0 and (CORNER[1] - transform[5]) % patch == 0


def middle_of_the_scenes() -> gpd.GeoDataFrame:
    """Return a table with the middle of the scenes on every day: its chip of 64 px is the tile."""
    x, y = CORNER[0] + 5 * SIDE, CORNER[1] - 5 * SIDE
    points = gpd.points_from_xy([x] * len(DAYS), [y] * len(DAYS), crs=EPSG).to_crs(4326)
    days = DAYS.astype("datetime64[ms]")
    plots = [f"M{k}" for k in range(len(DAYS))]
    return gpd.GeoDataFrame({"plot": plots, "surveyed": days}, geometry=points)


#: What is probed, and which classes are left out: one lies in a single quarter, one has three rows.
TARGETS = {"land_cover": "built-up", "crop": "other leguminous crops"}

#: How the village is divided, which is too small for blocks: chips of its quarters touch.
SPLITS = (("--group", "quarter"), ("--split-date", "2018-07-10"))


def probe_rows(run: Path) -> list[Row]:
    """Probe kept columns by quarters and by time; return a row for each model and vectors."""
    rows: list[Row] = []
    for target, ignored in TARGETS.items():
        for split in SPLITS:
            for vectors in ("pooled", "centre"):
                thor_geo(
                    *("probe", run, "--target", target, "--ignore", ignored, *split),
                    *("--buffer-m", "0", "--vectors", vectors, "--overwrite"),
                    *("--fractions", "100", "--repeats", "1"),
                )
                report = run / "probe" / target / "probe.json"
                found = json.loads(report.read_text(encoding="utf-8"))
                about = {"target": target, "split": " ".join(split), "vectors": vectors}
                rows += [{**about, **_scores(one)} for one in found["results"]]
    return rows


def _scores(result: dict[str, Any]) -> Row:
    value, low, high = result["scores"]["accuracy"]
    return {"what": result["name"], "accuracy": value, "low": low, "high": high}


def main() -> int:
    """Run everything; return the exit code."""
    arguments = parser(__doc__)
    arguments.add_argument("--data", type=Path, required=True, help="folder of scenes and labels")
    arguments.add_argument("--folder", type=Path, help="keep the runs there, and continue them")
    options = arguments.parse_args()
    report = Report(
        name="real_places",
        claim="300 places with dates over 118 real scenes have the same rows from the emulator and "
        "from STAC, and a chip on a tile's ground has the tile's vectors, bit for bit.",
        command="python -m benchmarks.real_places --data DIR",
        notes=[
            "Random weights (thor_v1_tiny, seed 0). Without the mean of all cells, because random "
            "weights give every vector a large part in common.",
        ],
    )
    flanders = Flanders(folder=options.data)
    with ExitStack() as stack:
        folder = options.folder or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="thor-geo-places-"))
        )
        folder.mkdir(parents=True, exist_ok=True)
        work = Workplace(folder=folder, flanders=flanders)
        table = work.folder / "places.parquet"
        flanders.places(chip=CHIP).to_parquet(table)
        source = emulator(flanders.scenes)
        run = work.places("emulator", source, table)
        rows = merged(run)
        compare_sources(report, work, table, rows)
        area = work.area(source)
        compare_with_the_tile(report, work, area)
        for size in SIZES:
            sized = work.places(f"chips-{size}", source, table, data__tile_size=size)
            report.add(context_row(size, merged(sized), area))
        report.figures["probe"] = probe_rows(run)
    return report.finish()


def compare_sources(report: Report, work: Workplace, table: Path, rows: gpd.GeoDataFrame) -> None:
    """Run the table from a STAC catalogue of the same scenes, and compare all rows."""
    catalogue = shutil.copytree(work.flanders.scenes, work.folder / "catalogue", dirs_exist_ok=True)
    write_catalogue(catalogue)
    stac: dict[str, object] = {"data.emulator": "null", "data.stac.url": catalogue}
    other = merged(work.places("stac", stac, table))
    original = pq.read_table(table)
    kept = [name for name in original.column_names if name not in ("geometry", "bbox")]
    report.figures |= {
        "rows": len(rows),
        "rows with an embedding": int((rows.status == "ok").sum()),
        "windows": int(rows.datetime_start.nunique()),
        "distance from place to middle, m: largest": round(float(rows.offset_m.max()), 2),
        "scenes of a place, median": int(rows.n_scenes.median()),
    }
    for name in ("embedding", "centre"):
        if vectors(rows, name).tobytes() != vectors(other, name).tobytes():
            report.faults.append(f"`{name}` differs between the emulator and STAC.")
    if not (rows.place == np.arange(len(rows))).all():
        report.faults.append("The merged rows are not in the table's order.")
    written = pq.read_table(work.folder / "emulator" / "embeddings.parquet").select(kept)
    if not written.cast(original.select(kept).schema).equals(original.select(kept)):
        report.faults.append("Kept columns differ from the table's.")
    if not pd.Series(rows.status == "ok").all():
        report.faults.append("Some rows have no embedding.")


def compare_with_the_tile(report: Report, work: Workplace, area: Path) -> None:
    """Embed chips that are the area's tile, and compare both vectors bit for bit."""
    table = work.folder / "middle.parquet"
    middle_of_the_scenes().to_parquet(table)
    run = work.places(
        "middle",
        emulator(work.flanders.scenes),
        table,
        data__tile_size=SIDE,
        data__batch_size=1,  # the area's tiles come one by one, too: one for each window
    )
    rows = merged(run)
    cells, _ = cells_at(area, rows)
    tile = pq.read_table(area / "pooled").to_pandas().sort_values("datetime_start")
    same = {
        "embedding": (vectors(rows, "embedding"), np.stack(tile.embedding.to_numpy())),
        "centre": (vectors(rows, "centre"), cells),
    }
    for name, (ours, theirs) in same.items():
        difference = float(np.abs(ours - theirs).max())
        report.figures[f"{name} of a chip on the tile: largest difference"] = difference
        if difference:
            report.faults.append(f"`{name}` of a chip on the tile's ground differs.")


if __name__ == "__main__":
    sys.exit(main())
