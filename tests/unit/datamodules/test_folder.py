"""If these fail, a folder is cut into other tiles than its pixels, or bad files are found late."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from thor_geo.cli.planes import model_bands
from thor_geo.datamodules import CompositeDataModule, FolderDataModule
from thor_geo.errors import AreaError, BandError, ConfigError
from thor_geo.runs.crop import AreaCrop

LEFT, TOP = 600_000, 6_640_000
RGB = ["RED", "GREEN", "BLUE"]


def datamodule(folder: Path, **kwargs: Any) -> FolderDataModule:
    settings: dict[str, Any] = {
        "paths": str(folder),
        "bands": RGB,
        "start": "2022-06-01",
        "end": "2022-09-01",
        "tile_size": 32,
        "shard_tiles": 2,
        "batch_size": 4,
        "num_workers": 0,
    }
    return FolderDataModule(**{**settings, **kwargs})


def ones(side: int, bands: int = 3) -> Any:
    return np.ones((bands, side, side), np.uint16)


def tile_ids(data: FolderDataModule) -> set[str]:
    plan = data.load_plan()
    return {tile.id for tile in plan.tiles(range(len(plan)))}


def test_files_are_cut_into_the_usual_tiles(tmp_path: Path, write_tif: Any) -> None:
    write_tif(tmp_path / "a.tif", ones(64), (LEFT, TOP))
    west, north = LEFT // 320, TOP // 320  # the corner is one of the lattice's
    expected = {f"utm32n_r10_t32_x{west + k}_y{north - m}" for k in range(2) for m in range(2)}
    assert (LEFT % 320, TOP % 320) == (0, 0)
    assert tile_ids(datamodule(tmp_path)) == expected


def test_an_odd_grid_is_kept_and_does_not_depend_on_the_files(
    tmp_path: Path, write_tif: Any
) -> None:
    write_tif(tmp_path / "a.tif", ones(64), (LEFT + 3, TOP + 4.5))
    one = datamodule(tmp_path)
    ids = tile_ids(one)
    assert all(name.startswith("utm32n_r10_t32_a3_4.5_x") for name in ids)
    write_tif(tmp_path / "0.tif", ones(64), (LEFT - 637, TOP + 4.5))
    assert ids < tile_ids(datamodule(tmp_path))
    (sample, *_) = one.zones[32632][LEFT + 3 : LEFT + 323, TOP - 315.5 : TOP + 4.5]["image"]
    assert bool((sample == 1).all())


def test_an_anchor_puts_a_tile_at_the_files_corner(tmp_path: Path, write_tif: Any) -> None:
    write_tif(tmp_path / "a.tif", ones(64), (LEFT + 110, TOP + 50))
    assert len(datamodule(tmp_path).load_plan()) == 9
    data = datamodule(tmp_path, anchor=(LEFT + 110, TOP + 50))
    assert len(data.load_plan()) == 4
    batches = list(data.predict_dataloader())
    assert sum(len(batch["tile"]) for batch in batches) == 4
    assert all(bool((batch["image"] == 1).all()) for batch in batches)


def test_files_of_two_zones_are_cut_each_in_its_own(tmp_path: Path, write_tif: Any) -> None:
    """Sentinel-2's granules reach beyond their zone's six degrees: that ground must not be lost."""
    # 300 km east of zone 32's middle lies in zone 33's strip.
    write_tif(tmp_path / "a.tif", ones(64), (800_000, TOP))
    write_tif(tmp_path / "b.tif", ones(64), (LEFT + 5, TOP), crs="EPSG:32633")
    data = datamodule(tmp_path)
    plan = data.load_plan()
    assert [lattice.epsg for lattice in plan.lattices] == [32632, 32633]
    assert [lattice.anchor for lattice in plan.lattices] == [None, (5, 0)]
    assert not plan.primary[plan.zone == 0].any()
    assert plan.primary[plan.zone == 1].all()
    for batch in data.predict_dataloader():
        assert bool((batch["observations"].sum(dim=(1, 2, 3)) > 0).all())
    AreaCrop(data.area)  # maps can be cropped in both
    assert set(data.area.zones()) == {32632, 32633}


def test_an_area_chooses_tiles(tmp_path: Path, write_tif: Any) -> None:
    write_tif(tmp_path / "a.tif", ones(128), (LEFT, TOP))
    box = (LEFT + 10, TOP - 310, LEFT + 330, TOP - 20)
    data = datamodule(tmp_path, area={"bbox": box, "crs": "EPSG:32632"})
    assert len(data.load_plan()) == 2
    assert data.area.zones()[32632].bounds == box
    elsewhere = datamodule(tmp_path, area={"bbox": (-70.0, -30.0, -69.0, -29.0)})
    with pytest.raises(AreaError, match="none of the 1 files meets it"):
        elsewhere.load_plan()
    # around the files in degrees, far beyond them: every tile
    around = datamodule(tmp_path, area={"bbox": (-60.0, 0.0, 60.0, 80.0)})
    assert tile_ids(around) == tile_ids(datamodule(tmp_path))


@pytest.mark.parametrize(
    ("corner", "res", "settings", "says"),
    [
        ((LEFT + 640, TOP), 20, {}, r"resolution=10.*b\.tif has pixels of 20 m"),
        ((LEFT + 643, TOP), 10, {}, r"b\.tif begins at.*fraction of a pixel"),
        ((LEFT + 640, TOP), 10, {"anchor": (LEFT + 1.0, TOP)}, "not a whole number of pixels"),
        ((LEFT + 640, TOP), 10, {"bands": ["RED", "GREEN"]}, r"2 names, but a\.tif has 3"),
    ],
)
def test_files_that_do_not_fit_are_refused_when_planning(
    tmp_path: Path,
    write_tif: Any,
    corner: tuple[float, float],
    res: float,
    settings: dict[str, Any],
    says: str,
) -> None:
    write_tif(tmp_path / "a.tif", ones(64), (LEFT, TOP))
    write_tif(tmp_path / "b.tif", ones(64), corner, res)
    with pytest.raises(ConfigError, match=says):
        datamodule(tmp_path, **settings).load_plan()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"bands": ["B4", "B3", "B2"]}, "B4"),
        ({"bands": ["RED", "RED", "BLUE"]}, "twice"),
        ({"bands": []}, "no band"),
        ({"scale": [1.0, 1.0]}, "each of the 3 bands"),
        ({"offset": float("nan")}, "finite"),
        ({"batch_size": 0}, "batch_size"),
        ({"num_workers": -1}, "num_workers"),
        ({"normalize": "dataset"}, "statistics"),
        ({"end": "2022-05-01"}, "not after"),
        ({"area": {"bbox": [1, 2]}}, "area="),
        ({"area": {"bbbox": [1, 2, 3, 4]}}, "bbbox"),
        ({"area": {"bbox": [3, 4, 1, 2]}}, "west, south, east, north"),
    ],
)
def test_bad_settings_fail_before_any_file_is_looked_at(
    tmp_path: Path, settings: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        datamodule(tmp_path / "none", **settings)


def test_settings_tell_inputs_apart_and_name_no_place(tmp_path: Path, write_tif: Any) -> None:
    write_tif(tmp_path / "a.tif", ones(64), (LEFT, TOP))
    settings = datamodule(tmp_path).settings()
    text = json.dumps(settings, allow_nan=False)
    assert str(tmp_path) not in text + json.dumps(datamodule(tmp_path).info())
    assert datamodule(tmp_path / "*.tif").settings() == settings
    others = [{"nodata": 7.0}, {"nodata": float("nan")}, {"scale": 1e-3}, {"clamp_z": True}]
    for other in others:
        assert json.dumps(datamodule(tmp_path, **other).settings(), allow_nan=False) != text
    write_tif(tmp_path / "a.tif", ones(64) * 2, (LEFT, TOP))
    changed = datamodule(tmp_path).settings()
    assert {key for key in settings if settings[key] != changed[key]} == {"files_sha256"}


def test_each_datamodule_has_its_own_names_of_bands() -> None:
    """VV is a band of Earth Engine's Sentinel-1 and of TerraTorch; who reads it decides."""

    def names(kind: type, bands: list[str]) -> list[str]:
        path = f"{kind.__module__}.{kind.__qualname__}"
        return model_bands({"class_path": path, "init_args": {"bands": bands}})

    mixed = ["RED", "VV_60", "S3:Oa08_reflectance"]
    assert names(FolderDataModule, mixed) == mixed
    assert names(CompositeDataModule, ["B4", "B2"]) == ["S2:Red", "S2:Blue"]
    with pytest.raises(BandError):
        names(FolderDataModule, ["B4"])
    with pytest.raises(BandError):
        names(CompositeDataModule, ["RED"])
