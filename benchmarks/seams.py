"""Tile borders in maps: how much they show without a halo, how little with one, and what it costs.

Claim (docs/geometry.md, "How much"): with a halo the seam ratio is smaller than without, and so are
the jumps between the cells where tiles would touch without one.

    python -m benchmarks.seams            # 3 minutes
    python -m benchmarks.seams --quick    # a small square, two halos: 1 minute
    python -m benchmarks.seams --docs     # also renews the page's table and picture

Runs the quickstart (emulated Earth Engine, THOR tiny with random weights) over one square for
several halos, with maps cropped to the square, so that all of them cover the same ground. Blocks
are fetched beforehand. The seam ratio is the one that `thor-geo validate` reports.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.support.commands import emulator, quickstart, thor_geo
from benchmarks.support.report import ROOT, Report, parser, renewed, table
from thor_geo.emulator import Acquisition, generate_archive

DOCS, PICTURE = ROOT / "docs" / "geometry.md", ROOT / "docs" / "images" / "seams.png"

TILE, CELL = 288, 16
#: In pixels: whole cells, which leave a centre.
HALOS = (0, 16, 32, 48, 96)
#: Middle (degrees), side (metres), zone and dates of the archive: every run's tiles lie within it.
CENTER, SIDE_M, ZONE = (9.0, 60.0), 24_000, 32632
DATES = (("2022-06-05", 0.12), ("2022-07-20", 0.05), ("2022-08-24", 0.18))
#: Degrees.
BOX, SHORT_BOX = (8.84, 59.92, 9.16, 60.08), (8.97, 59.985, 9.03, 60.015)
#: Columns that the claim is about.
RATIO, TOUCH = "seam ratio", "jump where tiles without halo touch x 1000"


def settings(folder: Path, box: Sequence[float], halo: int) -> list[str]:
    """Return the arguments of the run with a halo, without the command's name."""
    return quickstart(
        {
            **emulator(folder / "scenes"),
            "data.cache_dir": folder / "cache",
            "data.area.bbox": list(box),
            "data.tile_size": TILE,
            "data.stride": TILE - 2 * halo,
            "output.crop": "true",
            "output.quicklook": "false",
            "output.dir": folder / str(halo),
        }
    )[1:]


def measure(folder: Path, box: Sequence[float], halo: int) -> tuple[dict[str, Any], list[float]]:
    """Run with a halo; return a row of the table, and the mean jump by place in the tile."""
    began = time.monotonic()
    thor_geo("predict", *settings(folder, box, halo))
    seconds = time.monotonic() - began
    markers = [json.loads(file.read_text()) for file in (folder / str(halo)).glob("markers/*")]
    validation = json.loads(thor_geo("validate", folder / str(halo), "--json").output)
    seams = validation["seams"]
    row = {
        "halo px": halo,
        "stride px": TILE - 2 * halo,
        "tiles": validation["tiles"]["total"],
        "seconds": round(seconds, 1),
        "seconds of tiles": round(sum(marker["compute_seconds"] for marker in markers), 1),
        "jump across borders x 1000": round(1000 * seams["border"], 2),
        "jump inside x 1000": round(1000 * seams["inside"], 2),
        RATIO: round(seams["ratio"], 3),
        "border pairs": seams["border_pairs"],
        TOUCH: round(1000 * same_pairs(folder / str(halo)), 2),
    }
    return row, seams["profile"]


def same_pairs(run: Path) -> float:
    """Return the mean jump across the lines where tiles without halo touch.

    In all runs these are the same pairs of cells, on the same ground.
    """
    import xarray

    data = xarray.open_zarr(run / "grid.zarr", group="utm32n").embeddings.compute()
    parts = []
    for name, axis in (("x", 2), ("y", 1)):
        jumps = np.abs(np.diff(data.values, axis=axis)).mean(axis=0)
        centres = data[name].values
        middle = (centres[1:] + centres[:-1]) / 2
        parts.append(np.compress(middle % (10 * TILE) == 0, jumps, axis=axis - 1).ravel())
    values = np.concatenate(parts)
    return float(values[np.isfinite(values)].mean())


def zone_map(run: Path) -> npt.NDArray[np.float32]:
    """Return the map of the run's first zone, (D, h, w), less its rows and columns of NaN."""
    import xarray

    data = xarray.open_zarr(run / "grid.zarr", group="utm32n").embeddings
    values = data.dropna("x", how="all").dropna("y", how="all").values
    return np.asarray(values, dtype=np.float32)


def draw(runs: Sequence[tuple[int, float, Path]], target: Path) -> None:
    """Draw the first zone's maps side by side, all in the colours of the last."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    from thor_geo.pictures.pca import Colours

    maps = [np.moveaxis(zone_map(path), 0, -1) for _, _, path in runs]
    colours = Colours.fit(maps[-1][np.isfinite(maps[-1]).all(axis=-1)])
    figure, axes = pyplot.subplots(1, len(runs), figsize=(4.2 * len(runs), 5.6), dpi=100)
    for axis, values, (halo, ratio, _) in zip(axes, maps, runs, strict=True):
        image = np.full((*values.shape[:2], 4), 0, dtype=np.uint8)
        valid = np.isfinite(values).all(axis=-1)
        image[valid, :3], image[valid, 3] = colours(values[valid]), 255
        axis.imshow(image, interpolation="nearest")
        axis.set_title(f"halo {halo} px: seam ratio {ratio:.2f}", fontsize=12)
        axis.set_axis_off()
    figure.tight_layout()
    figure.savefig(target)
    print(f"written: {target}")


def main() -> int:
    """Run the benchmark; return the exit code."""
    arguments = parser(__doc__, "a small square, two halos")
    arguments.add_argument("--docs", action="store_true", help="renew the page's table and picture")
    options = arguments.parse_args()
    box, halos = (SHORT_BOX, (0, 48)) if options.quick else (BOX, HALOS)
    report = Report(
        name="seams",
        claim="with a halo the seam ratio is smaller than without, and so are the jumps between "
        "the cells where tiles would touch without",
        quick=options.quick,
    )
    profiles: dict[int, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="thor-geo-seams-") as name:
        folder = Path(name)
        generate_archive(
            folder / "scenes",
            center=CENTER,
            size_m=SIDE_M,
            zones=(ZONE,),
            acquisitions=[Acquisition(date=date, cloud_cover=cover) for date, cover in DATES],
        )
        for halo in (halos[0], halos[-1]):
            thor_geo("fetch", *settings(folder, box, halo))
        for halo in halos:
            row, profiles[halo] = measure(folder, box, halo)
            report.rows.append(row)
        without, *others = report.rows
        for row in others:
            for name in (RATIO, TOUCH):
                if not row[name] < without[name]:
                    report.faults.append(
                        f"halo {row['halo px']} px: {name} is {row[name]}, without {without[name]}"
                    )
        if options.docs:
            shown = [row for row in report.rows if row["halo px"] in (0, 48, 96)]
            draw(
                [(r["halo px"], r[RATIO], folder / str(r["halo px"])) for r in shown],
                PICTURE,
            )
    least = report.rows[0]
    report.rows = [
        {**row, "tiles to those without halo": round(row["tiles"] / least["tiles"], 2)}
        for row in report.rows
    ]
    report.figures["mean jump x 1000 by place (cells from a tile's edge; 0: across the border)"] = [
        {"halo px": halo, **{str(k): round(1000 * jump, 2) for k, jump in enumerate(profile[:10])}}
        for halo, profile in profiles.items()
        if len(profile) >= 10
    ]
    report.notes += [
        "random weights: what the embeddings mean is nothing, but how a tile's border changes "
        "attention is the architecture's",
        f"tiles of {TILE} px, cells of {CELL} px; a square of about 18 km a side: of a larger "
        "area fewer tiles lie on the border, and tiles grow with (tile size / stride)^2",
        "where tiles without halo touch, jumps are of the same pairs of cells in every run (with "
        "96 px these are borders, too): what is left with a halo is the ground's own",
        "seconds are of the whole command, those of tiles the sum over shards; blocks came from "
        "the cache",
    ]
    if options.docs:
        page = DOCS.read_text(encoding="utf-8")
        DOCS.write_text(renewed(page, {"seams": table(report.rows)}), encoding="utf-8")
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
