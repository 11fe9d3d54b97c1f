"""If this fails, a map from Python lies elsewhere than on disk, or has other numbers."""

from __future__ import annotations

import logging
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import xarray
import zarr

from tests.support.place_run import write_places
from tests.support.synthetic_run import CELLS, DIMENSION, TWO_ZONES, embed, plan_of, write_run
from tests.support.windowed_run import write_windows
from thor_geo import open_run
from thor_geo.cli.main import main
from thor_geo.errors import ConfigError, RunDirectoryError


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return runs over two zones by their type; tile 1 failed."""
    folder = tmp_path_factory.mktemp("runs")
    for dtype in ("float32", "float16", "int8"):
        plan = plan_of(TWO_ZONES)
        write_run(folder / dtype, plan, failed={1: "no"}, grid=True, dtype=dtype)
    return {path.name: path for path in folder.iterdir()}


def stored(path: Path, zone: str) -> np.ndarray:
    """Return what is on disk, as zarr reads it, in float32."""
    group: Any = zarr.open_group(str(path / "grid.zarr"), path=zone, mode="r")
    values = group["embeddings"][:].astype(np.float32)
    return values * group["scale"][:] if "scale" in group else values  # type: ignore[no-any-return]


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
@pytest.mark.parametrize("zone", ["utm32n", "utm33n"])
def test_a_map_is_float32_whatever_is_on_disk(runs: dict[str, Path], dtype: str, zone: str) -> None:
    grid = open_run(runs[dtype]).grid(zone)
    assert grid.dims == ("band", "y", "x")
    assert grid.dtype == np.float32
    np.testing.assert_array_equal(grid, stored(runs[dtype], zone))
    theirs = xarray.open_zarr(runs[dtype] / "grid.zarr", group=zone)
    for name in ("band", "y", "x", "spatial_ref"):
        xarray.testing.assert_identical(
            grid.coords[name].reset_coords(drop=True),
            theirs.coords[name].reset_coords(drop=True),
        )


def test_cells_lie_where_their_tiles_do(runs: dict[str, Path]) -> None:
    run = open_run(runs["float32"])
    for number in range(0, len(run.plan), 5):
        tile = run.plan.tile(number)
        grid = run.grid(f"utm{tile.epsg - 32600}n")
        left, bottom, right, top = tile.bounds
        part = grid.sel(x=slice(left, right), y=slice(top, bottom))
        assert part.shape == (DIMENSION, CELLS, CELLS)
        np.testing.assert_array_equal(part, embed(tile)[1])
    failed = run.plan.tile(1)
    x, y = failed.bounds[0] + 100, failed.bounds[3] - 100
    grid = run.grid(f"utm{failed.epsg - 32600}n")
    assert np.isnan(grid.sel(x=x, y=y, method="nearest")).all()


def test_rioxarray_knows_crs_and_place_as_in_the_exported_tif(
    runs: dict[str, Path], tmp_path: Path
) -> None:
    pytest.importorskip("rioxarray")
    grid = open_run(runs["int8"]).grid("utm32n")
    assert grid.rio.crs.to_epsg() == 32632
    assert np.isnan(grid.rio.nodata)
    grid.rio.to_raster(tmp_path / "ours.tif")
    assert main(["export", str(runs["int8"]), "--cog", str(tmp_path / "cog")]) == 0
    (cog,) = (tmp_path / "cog").glob("*utm32n*.tif")
    with rasterio.open(tmp_path / "ours.tif") as ours, rasterio.open(cog) as theirs:
        assert (ours.crs, ours.res) == (theirs.crs, theirs.res)
        window = rasterio.windows.from_bounds(*theirs.bounds, transform=ours.transform)
        np.testing.assert_array_equal(ours.read(window=window), theirs.read())


@pytest.mark.parametrize(
    "key",
    [
        {"x": 3},
        {"band": 2},
        {"band": 1, "y": 4, "x": 5},
        {"y": slice(2, 20, 3), "x": slice(None, None, -1)},
        {"band": [4, 0], "x": [7, 7, 1]},
        {"band": np.array([True, False, True, False, True])},
        {"band": 0, "y": [5, 2]},
        {"y": slice(0, 0)},
        {"y": xarray.DataArray([1, 8, 3], dims="p"), "x": xarray.DataArray([2, 2, 9], dims="p")},
    ],
)
def test_any_part_is_that_part_of_the_whole(runs: dict[str, Path], key: dict[str, Any]) -> None:
    lazy = open_run(runs["int8"]).grid("utm33n")
    whole = lazy.load().copy()
    lazy = open_run(runs["int8"]).grid("utm33n")
    xarray.testing.assert_identical(lazy.isel(key).compute(), whole.isel(key))
    with pytest.raises(IndexError):
        lazy.isel(x=10_000).load()


def test_only_the_part_that_is_used_is_read(
    runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from thor_geo.results.lazy_maps import StoredMaps

    read: list[Any] = []
    before = StoredMaps._read

    def counting(self: StoredMaps, key: Any) -> Any:
        values = before(self, key)
        read.append(values.size)
        return values

    monkeypatch.setattr(StoredMaps, "_read", counting)
    grid = open_run(runs["float32"]).grid("utm32n")
    assert "values not in memory" in repr(grid) or "values with dtype" in repr(grid)
    part = grid.sel(x=slice(*grid.x.values[[2, 5]])).isel(y=0)
    assert read == []
    part.load()
    assert read == [part.size]
    # Processes of a loader get the store, not its content.
    assert len(pickle.dumps(grid)) < 100_000
    xarray.testing.assert_identical(pickle.loads(pickle.dumps(grid)).isel(y=0).load()[:, 2:6], part)


def test_a_copy_with_dask_is_the_same(runs: dict[str, Path]) -> None:
    pytest.importorskip("dask")
    grid = open_run(runs["int8"]).grid("utm32n")
    chunked = grid.chunk(x=7, y=7)
    np.testing.assert_array_equal(chunked.compute(), grid)
    np.testing.assert_allclose(chunked.mean(("y", "x")), grid.mean(("y", "x")), rtol=1e-5)


def test_a_map_is_written_and_read_again(runs: dict[str, Path], tmp_path: Path) -> None:
    grid = open_run(runs["int8"]).grid("utm32n").isel(x=slice(0, 9))
    grid.to_zarr(tmp_path / "part.zarr", consolidated=False)
    again = xarray.open_zarr(tmp_path / "part.zarr", consolidated=False)["embeddings"]
    np.testing.assert_array_equal(again, grid)


def test_windows_are_an_axis_until_one_is_chosen(tmp_path: Path) -> None:
    write_windows(tmp_path / "run", plan_of(), grid=True, dtype="int8")
    run = open_run(tmp_path / "run")
    grid = run.grid()
    assert grid.dims == ("time", "band", "y", "x")
    np.testing.assert_array_equal(grid, stored_windows(tmp_path / "run"))
    days = ["2022-03-01", "2022-06-01", "2022-07-01"]
    np.testing.assert_array_equal(grid.time, np.array(days, dtype="datetime64[ns]"))
    second = run.grid("utm32n", window=1)
    xarray.testing.assert_identical(second.load(), grid.isel(time=1).load())
    assert str(second.time_end.values)[:10] == "2022-09-01"
    chosen = open_run(tmp_path / "run", window=2)
    xarray.testing.assert_identical(chosen.grid().load(), grid.isel(time=2).load())
    with pytest.raises(ConfigError, match=r"window=3.*3 time windows"):
        run.grid(window=3)


def stored_windows(path: Path) -> np.ndarray:
    group: Any = zarr.open_group(str(path / "grid.zarr"), path="utm32n", mode="r")
    return group["embeddings"][:] * group["scale"][:][:, None]  # type: ignore[no-any-return]


def test_one_window_is_a_coordinate(runs: dict[str, Path]) -> None:
    grid = open_run(runs["float32"]).grid("utm32n")
    assert (str(grid.time.values)[:10], str(grid.time_end.values)[:10]) == (
        "2022-06-01",
        "2022-09-01",
    )
    np.testing.assert_array_equal(open_run(runs["float32"]).grid("utm32n", window=0), grid)


def test_an_unfinished_map_has_what_is_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plan = plan_of()
    write_run(tmp_path / "run", plan, grid=True, only=2)
    with caplog.at_level(logging.WARNING):
        grid = open_run(tmp_path / "run").grid()
    assert f"2 of {len(plan.shards)} shards" in caplog.text
    there = np.isfinite(grid).all("band").sum()
    assert there == sum(len(plan.shards[k]) for k in (0, 1)) * CELLS**2
    write_run(tmp_path / "other", plan, grid=True, only=0)
    assert np.isnan(open_run(tmp_path / "other").grid()).all()


def test_places_have_maps_by_their_row(tmp_path: Path) -> None:
    for dtype in ("float32", "int8"):
        write_places(tmp_path / dtype, grid=True, failed={7: "no"}, dtype=dtype)
    run = open_run(tmp_path / "float32")
    maps = run.places()
    assert maps.dims == ("place", "band", "y", "x")
    for index in (0, 5, 9):
        row = int(run.plan.place[index])  # type: ignore[attr-defined]
        later = run.plan.window[index]  # type: ignore[attr-defined]
        want = (
            np.full((DIMENSION, CELLS, CELLS), np.nan)
            if row == 7
            else (embed(run.plan.tile(index))[1] + np.float32(later))
        )
        np.testing.assert_allclose(maps.sel(place=row), want, rtol=1e-6)
    assert maps.sel(place=0).place_lon == pytest.approx(11.5)
    np.testing.assert_allclose(open_run(tmp_path / "int8").places(), maps, rtol=5e-3, atol=30)
    with pytest.raises(ConfigError, match=r"run\.places\(\).*places\.zarr"):
        run.grid("utm32n")


def test_what_is_not_there_is_told(runs: dict[str, Path], tmp_path: Path) -> None:
    run = open_run(runs["float32"])
    with pytest.raises(ConfigError, match=r"zone='utm31n'.*utm32n, utm33n"):
        run.grid("utm31n")
    with pytest.raises(ConfigError, match=r"zone=None.*utm32n, utm33n"):
        run.grid()
    with pytest.raises(ConfigError, match=r"run\.grid\(zone\)"):
        run.places()
    write_run(tmp_path / "vectors", plan_of(), grid=False)
    with pytest.raises(ConfigError, match=r"no maps.*output\.grid=true"):
        open_run(tmp_path / "vectors").grid()
    write_run(tmp_path / "maps", plan_of(), pooled=False, grid=True)
    assert np.isfinite(open_run(tmp_path / "maps").grid()).any(), "maps need no vectors"


def test_damage_names_the_file_that_validate_finds(tmp_path: Path) -> None:
    write_run(tmp_path / "run", plan_of(), grid=True)
    file = next((tmp_path / "run" / "grid.zarr" / "utm32n" / "embeddings" / "c").rglob("0/0/0"))
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 0xFF
    file.write_bytes(content)
    with pytest.raises(RunDirectoryError, match=r"utm32n.*thor-geo validate"):
        open_run(tmp_path / "run").grid().load()


def test_maps_need_no_pytorch(runs: dict[str, Path]) -> None:
    code = (
        "import sys, thor_geo\n"
        f"thor_geo.open_run({str(runs['int8'])!r}).grid('utm32n').load()\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
