"""GeoTIFFs as the input of a run: Sentinel-2 as from the emulator, other sensors as they are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import torch
import xarray as xr
from lightning.pytorch import Trainer

from thor_geo.datamodules import CompositeDataModule, FolderDataModule
from thor_geo.emulator import EmulatorServer
from thor_geo.models import build_thor, pool_tokens
from thor_geo.specs import SensorSpec
from thor_geo.specs.bands import S2_DEFAULT_BANDS, bands_from_ee, select_bands
from thor_geo.specs.sources import EmulatorSpec
from thor_geo.tasks import RunWriter, THOREmbeddingTask

# 240 m pixels, half a pixel beside the usual grid.
LEFT, TOP, RES, SIDE = 600_120.0, 6_700_080.0, 240, 32
OLCI = [f"S3:Oa{k:02d}_reflectance" for k in range(1, 22)]


@pytest.fixture
def emulated(archive: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Serve the archive to whatever the test runs."""
    with EmulatorServer(archive) as server:
        monkeypatch.setenv("THOR_GEO_EMULATOR_URL", server.url)
        yield


def predict(data: Any, run: Path, **task: Any) -> None:
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        callbacks=[RunWriter(run)],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    model = THOREmbeddingTask("thor_v1_tiny", pretrained=False, threads=1, **task)
    trainer.predict(model, datamodule=data, return_predictions=False)


def vectors(tiles: gpd.GeoDataFrame) -> Any:
    return np.stack(tiles.embedding)


def mosaic(data: CompositeDataModule) -> tuple[Any, float, float]:
    """Return the raw pixels of all tiles side by side (C, H, W), and their upper-left corner."""
    data.setup("predict")
    try:
        batches = list(data.predict_dataloader())
    finally:
        data.teardown("predict")
    image = np.concatenate([batch["image"].numpy() for batch in batches])
    transform = np.concatenate([batch["transform"].numpy() for batch in batches])
    left, top = transform[:, 2].min(), transform[:, 5].max()
    col = ((transform[:, 2] - left) / 10).astype(int)
    row = ((top - transform[:, 5]) / 10).astype(int)
    side = image.shape[-1]
    out = np.zeros((image.shape[1], row.max() + side, col.max() + side), np.uint16)
    for k, pixels in enumerate(image):
        out[:, row[k] : row[k] + side, col[k] : col[k] + side] = pixels
    return out, left, top


@pytest.mark.usefixtures("emulated")
def test_the_same_pixels_give_the_same_numbers_as_from_the_emulator(
    archive: Path, tmp_path: Path, write_tif: Any
) -> None:
    """Bitwise, with the same tiles, batches and maps: a folder is only another way in."""
    shared: dict[str, Any] = {
        "area": {"bbox": (11.96, 59.985, 11.99, 60.002)},
        "start": "2022-06-01",
        "end": "2022-09-01",
        "tile_size": 96,
        "shard_tiles": 2,
        "batch_size": 3,
        "num_workers": 0,
    }
    composites = CompositeDataModule(
        **shared,
        emulator=EmulatorSpec(archive=archive),
        sentinel2=SensorSpec(cloudy_pct=60),
        block_size=192,
        cache_dir=tmp_path / "cache",
    )
    pixels, left, top = mosaic(composites)
    predict(composites, tmp_path / "emulator", image_size=96)
    # Two files that overlap by 40 pixels.
    half = pixels.shape[2] // 2
    write_tif(
        tmp_path / "tif" / "east.tif",
        pixels[:, :, half - 40 :],
        (left + 10 * half - 400, top),
        nodata=0,
    )
    write_tif(tmp_path / "tif" / "west.tif", pixels[:, :, :half], (left, top), nodata=0)
    names = [band.names[0] for band in bands_from_ee(S2_DEFAULT_BANDS)]
    folder = FolderDataModule(
        paths=str(tmp_path / "tif"), bands=names, **{**shared, "num_workers": 2}
    )
    predict(folder, tmp_path / "folder", image_size=96, bands=FolderDataModule.channels_of(names))

    ours, theirs = (
        gpd.read_parquet(tmp_path / run / "pooled").sort_values("tile_id", ignore_index=True)
        for run in ("folder", "emulator")
    )
    assert len(ours) > 6
    assert ours.tile_id.tolist() == theirs.tile_id.tolist()
    assert vectors(ours).tobytes() == vectors(theirs).tobytes()
    np.testing.assert_array_equal(ours.valid_fraction, theirs.valid_fraction)
    assert set(ours.status) == {"ok"}
    assert {name for names in ours.source_ids for name in names} == {"east.tif", "west.tif"}
    maps = [
        xr.open_zarr(tmp_path / run / "grid.zarr", group="utm32n").embeddings
        for run in ("folder", "emulator")
    ]
    assert maps[0].values.tobytes() == maps[1].values.tobytes()
    assert (maps[0].x.values == maps[1].x.values).all()


@pytest.fixture
def olci(tmp_path: Path, write_tif: Any) -> Any:
    """Write two by three tiles of 21 bands of reflectance, and return their pixels (C, H, W)."""
    random = np.random.default_rng(0)
    pixels = random.uniform(0, 1, (21, 2 * SIDE, 3 * SIDE)).astype(np.float32)
    pixels[:, : SIDE // 2, :SIDE] = -9999
    pixels[4, SIDE + 3, 5] = np.nan
    pixels[:, SIDE:, 2 * SIDE :] = -9999
    write_tif(tmp_path / "olci" / "scene.tif", pixels, (LEFT, TOP), RES, nodata=-9999)
    return pixels


def olci_arguments(folder: Path, *more: str) -> list[str]:
    return [
        "predict",
        "-c",
        "configs/folder.yaml",
        f"--data.paths={folder / 'olci'}",
        f"--data.tile_size={SIDE}",
        f"--data.anchor=[{LEFT}, {TOP}]",
        "--data.num_workers=1",
        "--model.model_key=thor_v1_tiny",
        "--model.pretrained=false",
        "--model.patch_size=8",
        "--model.threads=1",
        "--trainer.accelerator=cpu",
        f"--output.dir={folder / 'run'}",
        *more,
    ]


def test_olci_through_the_shipped_config(thor_geo: Any, tmp_path: Path, olci: Any) -> None:
    """Recomputed with NumPy and the model alone: channels, units and ground cover are OLCI's."""
    done = thor_geo(*olci_arguments(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "extrapolates" not in done.stderr
    run = tmp_path / "run"
    tiles = gpd.read_parquet(run / "pooled")
    assert len(tiles) == 6
    corners = np.stack(tiles["transform"])
    tiles["col"] = ((corners[:, 2] - LEFT) / RES / SIDE).astype(int)
    tiles["row"] = ((TOP - corners[:, 5]) / RES / SIDE).astype(int)
    tiles = tiles.set_index(["row", "col"]).sort_index()
    assert tiles.status.to_dict()[1, 2] == "empty"
    assert tiles.valid_fraction.to_dict()[0, 0] == 0.5
    assert tiles.valid_fraction.to_dict()[1, 0] == pytest.approx(1 - 1 / SIDE**2)
    assert tiles.source_ids.map(list).tolist() == [["scene.tif"]] * 6
    assert set(tiles.datetime_start) == {pd.Timestamp("2022-06-01", tz="UTC")}
    assert tiles.tile_id.str.contains("_r240_t32_a600120_6700080_x").all()

    means, stds = (np.array(row, np.float32) for row in select_bands(OLCI).statistics)
    assert means[0] == np.float32(0.418360)
    model = build_thor("thor_v1_tiny", bands=OLCI, image_size=SIDE, resolution=RES, patch_size=8)
    for row, col in ((0, 0), (0, 1), (1, 0)):
        part = olci[:, row * SIDE : (row + 1) * SIDE, col * SIDE : (col + 1) * SIDE]
        bad = ~(np.isfinite(part) & (part != -9999)).all(axis=0)
        z = (part - means[:, None, None]) / stds[:, None, None]
        z[:, bad] = 0  # the channels' means
        tokens = model.embed(torch.from_numpy(z)[None]).tokens
        expected = pool_tokens(tokens)[0].detach().numpy()
        found = tiles.embedding.loc[row, col]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * abs(expected).max())

    record = json.loads((run / "run.json").read_text())
    assert record["settings"]["model"]["ground_cover_m"] == SIDE * RES
    assert record["settings"]["data"]["bands"] == OLCI
    assert str(tmp_path) not in json.dumps(record["settings"])
    assert (run / "quicklook.png").stat().st_size > 10_000
    grid = xr.open_zarr(run / "grid.zarr", group="utm32n").embeddings
    assert abs(float(grid.x[1] - grid.x[0])) == 8 * RES
    valid = thor_geo("validate", run)
    assert valid.returncode == 0, valid.stdout

    changed = tmp_path / "olci" / "scene.tif"
    with rasterio.open(changed, "r+") as file:
        file.write(olci + np.float32(0.01))
    other = thor_geo(*olci_arguments(tmp_path))
    assert other.returncode == 2
    assert "files_sha256" in other.stderr


def test_ranges_beyond_pre_training_are_told(thor_geo: Any, tmp_path: Path, olci: Any) -> None:
    done = thor_geo(*olci_arguments(tmp_path, "--model.patch_size=2", "--output.grid=false"))
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("THOR extrapolates beyond its pre-training") == 1


def test_sentinel_2_and_1_in_one_file(thor_geo: Any, tmp_path: Path, write_tif: Any) -> None:
    """Planes in the order of the file, each with its own sensor's unit and statistics."""
    names = ["VV", "RED", "VH", "SWIR_1"]
    random = np.random.default_rng(1)
    pixels = random.uniform(-25, 0, (4, 96, 96)).astype(np.float32)
    pixels[[1, 3]] = random.integers(0, 9000, (2, 96, 96))
    pixels[[0, 2], :48] = np.nan  # radar has half the ground
    write_tif(tmp_path / "a.tif", pixels, (600_000, 6_700_800))
    done = thor_geo(
        "predict",
        "-c",
        "configs/folder.yaml",
        f"--data.paths={tmp_path / '*.tif'}",
        f"--data.bands={json.dumps(names)}",
        "--data.scale=[1, 0.0001, 1, 0.0001]",
        "--data.area={bbox: [600010, 6699900, 600900, 6700790], crs: 'EPSG:32632'}",
        "--data.resolution=10",
        "--data.tile_size=96",
        "--data.num_workers=0",
        "--model.model_key=thor_v1_tiny",
        "--model.pretrained=false",
        "--trainer.accelerator=cpu",
        f"--output.dir={tmp_path / 'run'}",
    )
    assert done.returncode == 0, done.stderr
    tiles = gpd.read_parquet(tmp_path / "run" / "pooled")
    assert len(tiles) == 1
    assert tiles.valid_fraction[0] == 1
    assert tiles.observations_mean[0] == pytest.approx(0.75)
    means = np.array([-12.9850, 0.213948, -20.6958, 0.221550], np.float32)[:, None, None]
    stds = np.array([5.0062, 0.259180, 5.8688, 0.171606], np.float32)[:, None, None]
    physical = pixels.copy()
    physical[[1, 3]] /= 10_000
    z = np.nan_to_num((physical - means) / stds, nan=0)
    model = build_thor("thor_v1_tiny", bands=names, image_size=96, patch_size=16)
    expected = pool_tokens(model.embed(torch.from_numpy(z)[None]).tokens)[0].detach().numpy()
    np.testing.assert_allclose(
        tiles.embedding[0], expected, rtol=0, atol=1e-5 * abs(expected).max()
    )


def test_a_file_that_breaks_costs_its_tiles_only(
    thor_geo: Any, tmp_path: Path, olci: Any, write_tif: Any
) -> None:
    east = olci[:, :, :SIDE] * 0 + np.float32(0.2)
    broken = write_tif(tmp_path / "olci" / "east.tif", east, (LEFT + 3 * SIDE * RES, TOP), RES)
    whole = broken.read_bytes()
    broken.write_bytes(whole[:3000])  # the header is there, most pixels are not
    done = thor_geo(*olci_arguments(tmp_path))
    assert done.returncode == 3, done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    tiles = gpd.read_parquet(tmp_path / "run" / "pooled")
    failed = tiles[tiles.status == "failed"]
    assert len(failed) == 2
    assert failed.error.str.contains("east.tif").all()
    assert (tiles.status == "ok").sum() == 5
    strict = thor_geo(*olci_arguments(tmp_path, "--strict", f"--output.dir={tmp_path / 'strict'}"))
    assert strict.returncode == 75
    assert "east.tif" in strict.stderr
    assert "Traceback" not in strict.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--data.paths=none"], ["paths='none'", "no such file"]),
        (["--data.resolution=300"], ["resolution=300", "pixels of 240 m"]),
        (["--data.bands=[B4]"], ["BandError", "B4", "Choose from"]),
        (["--data.bands=[RED]"], ["bands=", "scene.tif has 21 bands"]),
        (["--data.tile_sise=8"], ["data.tile_sise=8", "Did you mean `data.tile_size`"]),
        (["--data.scale=x"], ["data.scale='x'"]),
    ],
)
@pytest.mark.usefixtures("olci")
def test_mistakes_are_told_before_work_starts(
    thor_geo: Any, tmp_path: Path, arguments: list[str], words: list[str]
) -> None:
    done = thor_geo(*olci_arguments(tmp_path, *arguments))
    assert done.returncode == 2, done.stdout + done.stderr
    for word in words:
        assert word in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run" / "run.json").exists()


def test_slstr_takes_reflectance_and_kelvin_side_by_side(tmp_path: Path, write_tif: Any) -> None:
    """S7 to S9 are brightness temperatures: scaled as reflectance they would be noise."""
    bands = ["S3:S5_reflectance_an", "S3:S7_BT_in"]
    random = np.random.default_rng(1)
    pixels = np.stack(
        [random.uniform(0, 0.6, (SIDE, SIDE)), random.uniform(250, 310, (SIDE, SIDE))]
    ).astype(np.float32)
    write_tif(tmp_path / "slstr" / "scene.tif", pixels, (LEFT, TOP), RES, nodata=-9999)
    data = FolderDataModule(
        paths=str(tmp_path / "slstr"),
        bands=bands,
        start="2022-06-01",
        end="2022-07-01",
        tile_size=SIDE,
        resolution=RES,
        anchor=(LEFT, TOP),
        batch_size=1,
        num_workers=0,
    )
    size = {"image_size": SIDE, "resolution": RES, "patch_size": 8}
    predict(data, tmp_path / "run", bands=bands, **size)
    tiles = gpd.read_parquet(tmp_path / "run" / "pooled")
    assert list(tiles.status) == ["ok"]
    # Mean and standard deviation of SPEC's table: reflectance, and kelvin.
    means = np.array([0.184803, 286.190167], np.float32)[:, None, None]
    stds = np.array([0.140885, 21.070093], np.float32)[:, None, None]
    model = build_thor("thor_v1_tiny", bands=bands, **size)
    tokens = model.embed(torch.from_numpy((pixels - means) / stds)[None]).tokens
    expected = pool_tokens(tokens)[0].detach().numpy()
    np.testing.assert_allclose(
        tiles.embedding[0], expected, rtol=0, atol=1e-5 * abs(expected).max()
    )
