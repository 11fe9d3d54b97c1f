"""A small table of places over the tests' generated archive, and the arguments of a run of it."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import pandas as pd
import pyarrow as pa

#: Longitude and latitude of 12 places around 12 E, 60 N, in zones 32 and 33. Rows 0, 2 and 6 are
#: one place, row 5 lies where there are no scenes, and row 4 has no date.
POINTS = (
    (11.985, 59.99),
    (12.012, 59.995),
    (11.985, 59.99),
    (11.9851, 59.9901),
    (11.99, 59.99),
    (12.6, 60.0),
    (11.985, 59.99),
    (12.015, 60.002),
    (11.99, 59.987),
    (12.004, 59.992),
    (12.018, 59.988),
    (11.982, 60.003),
)
#: One of the archive's three dates each; windows of ten days before and after.
DAYS = ("2022-06-05", "2022-07-05", "2022-08-05")
BAD_ROW, EMPTY_ROW = 4, 5


def survey_columns() -> pa.Table:
    """Return the columns that the table keeps, of several types and with nulls."""
    n = len(POINTS)
    return pa.table(
        {
            "plot_id": [f"plot-{k:02d}" for k in range(n)],
            "crop": pa.array(["wheat", "barley", None, "wheat"] * 3),
            "country": pa.array(["NO" if lon < 12 else "SE" for lon, _ in POINTS]),
            "yield_t": pa.array([None if k == 6 else k / 4 for k in range(n)], pa.float32()),
            "irrigated": pa.array([None if k % 5 == 0 else k % 2 == 0 for k in range(n)]),
            "visits": pa.array([None if k == 3 else k for k in range(n)], pa.int16()),
            "surveyed": pa.array(
                [None if k == BAD_ROW else pd.Timestamp(DAYS[k % 3]).date() for k in range(n)],
                pa.date32(),
            ),
        }
    )


def write_survey(path: Path) -> Path:
    """Write the table as GeoParquet.

    Args:
        path: The file.
    """
    points = gpd.GeoSeries.from_xy(*zip(*POINTS, strict=True), crs="EPSG:4326")
    table = survey_columns().append_column("geometry", pa.array(points.to_wkb()))
    frame = gpd.GeoDataFrame(table.to_pandas(types_mapper=pd.ArrowDtype), geometry=points)
    frame.to_parquet(path)
    return path


def survey_arguments(folder: Path, archive: Path, table: Path) -> list[str]:
    """Return the arguments of a quick run of the table; ``cache`` and ``run`` lie in the folder.

    Args:
        folder: The folder.
        archive: The generated archive.
        table: The table.
    """
    return [
        "predict",
        "-c",
        "configs/places.yaml",
        "--data.earthengine=null",
        f"--data.emulator.archive={archive}",
        f"--data.places.file={table}",
        "--data.places.id=plot_id",
        "--data.places.date=surveyed",
        "--data.places.days=[-10,10]",
        "--data.places.on_bad_row=skip",
        "--data.places.shard_places=4",
        "--data.sentinel2.cloudy_pct=60",
        "--data.tile_size=96",
        "--data.block_size=192",
        "--data.batch_size=4",
        f"--data.cache_dir={folder / 'cache'}",
        "--trainer.accelerator=cpu",
        "--model.model_key=thor_v1_tiny",
        "--model.pretrained=false",
        "--model.threads=1",
        f"--output.dir={folder / 'run'}",
        "--output.grid=true",
        "--output.quicklook=false",
    ]
