"""If these fail, a row depends on where its pixels come from."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xarray as xr

from thor_geo import SensorSpec, get_embedding
from thor_geo.emulator import write_catalogue
from thor_geo.specs.bands import S2_DEFAULT_BANDS, bands_from_ee

Run = Callable[..., Any]

#: Days of the survey; of the archive's three scenes each window has one or two.
DAYS = ("2022-06-10", "2022-07-01", "2022-07-20")
ROWS = 11


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a table over two zones: text and integers with gaps, in no order."""
    rng = np.random.default_rng(3)
    path = tmp_path_factory.mktemp("table") / "survey.parquet"
    columns = {
        "plot": pa.array([f"p{k:02d}" for k in range(ROWS)]),
        "lon": rng.uniform(11.97, 12.03, ROWS),
        "lat": rng.uniform(59.986, 60.014, ROWS),
        "surveyed": pa.array(pd.to_datetime(rng.choice(DAYS, ROWS)).date),
        "crop": pa.array(["maize", None, "grass", "maize"] * 3)[:ROWS],
        "visits": pa.array([None if k == 4 else k for k in range(ROWS)], pa.int16()),
    }
    pq.write_table(pa.table(columns), path)
    return path


@pytest.fixture(scope="module")
def arguments(table: Path, small_archive: Path) -> Callable[..., list[str]]:
    """Return a function from a folder to the arguments of a run of the table in it."""

    def make(folder: Path, *more: str) -> list[str]:
        return [
            "predict",
            "-c",
            "configs/quickstart_places.yaml",
            f"--data.emulator.archive={small_archive}",
            f"--data.places.file={table}",
            "--data.places.keep=null",
            "--data.places.days=[-20, 20]",
            "--data.places.shard_places=4",
            "--data.cache_dir=" + str(folder / "cache"),
            "--data.batch_size=4",
            "--data.num_workers=0",
            "--model.patch_size=16",
            "--model.threads=1",
            "--output.dir=" + str(folder / "run"),
            "--output.grid=true",
            "--output.quicklook=false",
            *more,
        ]

    return make


@pytest.fixture(scope="module")
def reference(
    thor_geo: Run, arguments: Callable[..., list[str]], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return the folder of a run of the table in one process; its cache may be shared."""
    folder = tmp_path_factory.mktemp("reference")
    done = thor_geo(*arguments(folder))
    assert done.returncode == 0, done.stderr
    return folder


def merged(thor_geo: Run, run: Path) -> gpd.GeoDataFrame:
    done = thor_geo("merge", run, "--overwrite")
    assert done.returncode == 0, done.stderr
    return gpd.read_parquet(run / "embeddings.parquet")


def vectors(rows: gpd.GeoDataFrame, name: str = "embedding") -> np.ndarray:
    return np.stack(rows[name].to_numpy())


def maps(run: Path) -> xr.DataArray:
    return xr.open_zarr(run / "places.zarr").embeddings


def test_a_row_has_its_columns_window_and_vectors(
    thor_geo: Run, reference: Path, table: Path
) -> None:
    run = reference / "run"
    rows, given = merged(thor_geo, run), pq.read_table(table)
    assert rows.place.tolist() == list(range(ROWS))
    assert set(rows.status) == {"ok"}
    kept = pq.read_table(run / "embeddings.parquet").select(given.column_names)
    assert kept.cast(given.schema).equals(given)
    assert kept.schema.field("visits").type == pa.int16()
    starts = pd.to_datetime(given["surveyed"].to_pylist()).tz_localize("UTC")
    assert (rows.datetime_start == starts - pd.Timedelta(days=20)).all()
    assert (rows.datetime_end == starts + pd.Timedelta(days=21)).all()
    assert rows.epsg.tolist() == [32632 if lon < 12 else 32633 for lon in rows.place_lon]
    assert rows.offset_m.max() <= np.hypot(10, 10) + 1e-3
    # The middle of the chip lies beside the corner of four cells; the cell's vector is in the map.
    at = {int(place): k for k, place in enumerate(maps(run).place.to_numpy())}
    for place, centre in zip(rows.place, rows.centre, strict=True):
        cells = maps(run)[at[place]].to_numpy()
        assert any(np.array_equal(cells[:, y, x], centre) for y in (2, 3) for x in (2, 3))
    assert thor_geo("validate", run).returncode == 0
    assert f"{ROWS} of {ROWS}" in thor_geo("status", run).stdout


def test_a_catalogue_gives_the_same_rows(
    thor_geo: Run,
    arguments: Callable[..., list[str]],
    reference: Path,
    small_archive: Path,
    tmp_path: Path,
) -> None:
    pytest.importorskip("pystac_client")
    folder = shutil.copytree(small_archive, tmp_path / "catalogue")
    write_catalogue(folder)
    given = [one for one in arguments(tmp_path) if not one.startswith("--data.emulator")]
    done = thor_geo(*given, "--data.emulator=null", f"--data.stac.url={folder}")
    assert done.returncode == 0, done.stderr
    ours, theirs = (merged(thor_geo, one / "run") for one in (tmp_path, reference))
    for name in ("embedding", "centre"):
        assert vectors(ours, name).tobytes() == vectors(theirs, name).tobytes()
    differing = [
        name
        for name in theirs.columns
        if name not in ("embedding", "centre", "transform", "source_ids")
        and not ours[name].equals(theirs[name])
    ]
    assert differing == []
    np.testing.assert_array_equal(maps(tmp_path / "run"), maps(reference / "run"))


def test_files_give_the_rows_of_the_composites_in_them(
    thor_geo: Run, table: Path, tmp_path: Path, write_tif: Any
) -> None:
    """A folder's pixels are its files', so that its windows only choose files."""
    rng = np.random.default_rng(0)
    west = pq.read_table(table).to_pandas()
    west = west[west.lon < 12]
    west["surveyed"] = "2022-07-01"
    west.to_csv(tmp_path / "west.csv", index=False)
    points = gpd.points_from_xy(west.lon, west.lat, crs=4326).to_crs(32632)
    left, top = 20 * (points.x.min() // 20) - 600, 20 * (points.y.max() // 20) + 620
    size = int(max(points.x.max() - left, top - points.y.min()) // 20 * 2 + 62)
    pixels = rng.integers(1, 4000, (10, size, size), dtype=np.uint16)
    write_tif(tmp_path / "tif" / "S2_20220701.tif", pixels, (left, top), nodata=0)
    bands = f"[{','.join(band.names[0] for band in bands_from_ee(S2_DEFAULT_BANDS))}]"
    done = thor_geo(
        "predict",
        "--model.model_key=thor_v1_tiny",
        "--model.pretrained=false",
        "--data.class_path=thor_geo.datamodules.FolderDataModule",
        f"--data.paths={tmp_path / 'tif'}",
        f"--data.bands={bands}",
        f"--data.places={{file: {tmp_path / 'west.csv'}, id: plot}}",
        "--data.start=2022-06-01",
        "--data.end=2022-08-01",
        "--data.tile_size=96",
        "--data.num_workers=0",
        "--trainer.accelerator=cpu",
        f"--output.dir={tmp_path / 'run'}",
        "--output.grid=false",
        "--output.centre=true",
    )
    assert done.returncode == 0, done.stderr
    rows = merged(thor_geo, tmp_path / "run")
    assert rows["plot"].tolist() == west["plot"].tolist()
    assert set(rows.status) == {"ok"}
    for row in rows.itertuples():
        col, line = int((row.transform[2] - left) / 10), int((top - row.transform[5]) / 10)
        chip = pixels[:, line : line + 96, col : col + 96]
        found = get_embedding(
            "thor_v1_tiny", input_chw=chip, sensor=SensorSpec(), pretrained=False, device="cpu"
        )
        np.testing.assert_allclose(found.data, row.embedding, atol=1e-5)


def test_both_sensors_see_the_same_chips(
    thor_geo: Run,
    arguments: Callable[..., list[str]],
    reference: Path,
    both: Path,
    tmp_path: Path,
) -> None:
    done = thor_geo(
        *arguments(tmp_path, f"--data.emulator.archive={both}", "--data.sentinel1={}"),
        "--data.places.days=[-40, 40]",
    )
    assert done.returncode == 0, done.stderr
    rows, alone = (merged(thor_geo, one / "run") for one in (tmp_path, reference))
    assert set(rows.status) == {"ok"}
    assert rows.tile_id.tolist() == alone.tile_id.tolist()
    for ids in rows.source_ids:
        assert {name[:3] for name in ids} == {"S1A", "202"}
    settings = json.loads((tmp_path / "run" / "run.json").read_text())["settings"]
    assert settings["data"]["bands"][-2:] == ["VV", "VH"]
    assert not np.array_equal(vectors(rows), vectors(alone))


def test_earth_engine_is_planned_without_a_network(
    thor_geo: Run, table: Path, tmp_path: Path
) -> None:
    """The real source is only reached when pixels are needed: bad tables never sign in."""
    bad = tmp_path / "bad.csv"
    bad.write_text("plot,lon,lat,date\na,95,12,2021-06-01\nb,11,60,2021-06-31\n")
    done = thor_geo(
        "predict",
        "-c",
        "configs/places.yaml",
        f"--data.places.file={bad}",
        f"--data.cache_dir={tmp_path / 'cache'}",
        f"--output.dir={tmp_path / 'run'}",
        "--trainer.accelerator=cpu",
    )
    assert done.returncode == 2
    assert "`data.places.date='date'`" in done.stderr
    assert "2021-06-31" in done.stderr
    assert not list((tmp_path / "run").glob("*"))


@pytest.mark.long
def test_the_quickstart_makes_its_table_and_the_table_can_be_probed(
    thor_geo_process: Run, tmp_path: Path
) -> None:
    """As a newcomer runs it: nothing is there before."""
    done = thor_geo_process(
        "predict",
        "-c",
        "configs/quickstart_places.yaml",
        f"--data.cache_dir={tmp_path / 'cache'}",
        f"--output.dir={tmp_path / 'run'}",
    )
    assert done.returncode == 0, done.stderr
    assert "60 of 60: 60 ok" in done.stdout
    table = tmp_path / "cache" / "emulator-places.csv"
    assert f"The places are those of {table}" in done.stderr
    rows = merged(thor_geo_process, tmp_path / "run")
    for name, values in pd.read_csv(table)[["plot", "cover", "height_m", "region"]].items():
        assert rows[name].tolist() == values.tolist()
    assert (tmp_path / "run" / "quicklook.png").is_file()
    probed = thor_geo_process(
        "probe", tmp_path / "run", "--target", "cover", "--group", "region", "--repeats", "1"
    )
    assert probed.returncode == 0, probed.stderr
    assert (tmp_path / "run" / "probe" / "cover" / "probe.json").is_file()
