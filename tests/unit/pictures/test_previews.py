"""If one of these fails, a viewer draws a run in wrong colours, or another place."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import rioxarray  # noqa: F401  (registers the accessor `rio`)
import xarray as xr
import zarr

from tests.support.synthetic_run import CELLS, plan_of, write_run
from tests.support.windowed_run import write_windows
from thor_geo.ground.plan import Plan
from thor_geo.pictures.colours import load_or_fit_colours
from thor_geo.runs import RunDirectory
from thor_geo.runs import preview as previews
from thor_geo.runs.preview import preview_levels

FAILED, EMPTY = 1, 2


def colours_of(run: RunDirectory, zone: str, level: str = "0") -> xr.DataArray:
    return xr.open_zarr(run.grid, group=f"{zone}/preview/{level}").colours


def digests(run: RunDirectory) -> dict[str, str]:
    return {
        path.relative_to(run.path).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in run.grid.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_the_finest_level_has_the_colours_of_the_cells(
    plan: Plan, tmp_path: Path, dtype: str
) -> None:
    failed = {FAILED: "lost"}
    run = write_run(tmp_path / "run", plan, failed=failed, empty=(EMPTY,), dtype=dtype).run
    fitted = load_or_fit_colours(run, plan)[5]
    for k in range(len(plan)):
        tile = plan.tile(k)
        image = colours_of(run, f"utm{tile.epsg % 100}n")
        assert image.rio.crs.to_epsg() == tile.epsg
        left, bottom, right, top = tile.bounds
        part = image.sel(x=slice(left, right), y=slice(top, bottom)).values.astype(int)
        assert part.shape == (4, CELLS, CELLS)
        if k in (FAILED, EMPTY):
            assert not part.any()
            continue
        assert (part[3] == 255).all()
        zone = xr.open_zarr(run.grid, group=f"utm{tile.epsg % 100}n")
        zone = zone.sel(x=slice(left, right), y=slice(top, bottom))
        values = zone.embeddings * (zone.scale if dtype == "int8" else 1)
        wanted = np.moveaxis(fitted(np.moveaxis(values.values, 0, -1)), -1, 0)
        # 0 in one band would be a hole for GDAL, which takes the fill value for missing.
        np.testing.assert_array_equal(part[:3], np.maximum(wanted, 1))


def test_coarser_levels_are_means_of_the_cells_behind_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Shards of 12 cells a side: pixels of 8 cells lie across their borders.
    monkeypatch.setattr(previews, "_FINEST", 5)
    monkeypatch.setattr(previews, "_COARSEST", 2)
    plan = plan_of()
    run = write_run(tmp_path / "run", plan, failed={FAILED: "lost"}).run
    root = zarr.open_group(str(run.grid), mode="r")
    layout = root["utm32n/preview"].attrs["multiscales"]["layout"]
    assert [entry["asset"] for entry in layout] == ["0", "1", "2"]
    assert [entry.get("derived_from") for entry in layout] == [None, "0", "1"]
    data = xr.open_zarr(run.grid, group="utm32n").embeddings
    fitted = load_or_fit_colours(run, plan)[5]
    values = np.moveaxis(data.values, 0, -1)
    valid = np.isfinite(values).all(axis=-1)
    cells = np.zeros((*valid.shape, 3))
    cells[valid] = fitted(values[valid])
    for entry in layout:
        image = colours_of(run, "utm32n", entry["asset"])
        assert entry["spatial:shape"] == list(image.shape[1:])
        side = entry["spatial:transform"][0]
        step = int(side // 480)
        assert step > 1
        for row, col in np.ndindex(*image.shape[1:]):
            here = np.s_[row * step : (row + 1) * step, col * step : (col + 1) * step]
            count, there = valid[here].size, valid[here].sum()
            pixel = image.values[:, row, col]
            assert image.x.values[col] == data.x.values[0] - 240 + (col + 0.5) * side
            assert image.y.values[row] == data.y.values[0] + 240 - (row + 0.5) * side
            if there == 0:
                assert not pixel.any()
            else:
                mean = np.maximum(cells[here].sum(axis=(0, 1)) / there, 1)
                assert np.abs(pixel[:3] - mean).max() <= 0.5
            if pixel[3] == 255:
                assert there > 0
            if there == count:
                assert pixel[3] == 255


def test_a_stopped_run_has_none_yet_and_ends_with_the_same_bytes(
    plan: Plan, tmp_path: Path
) -> None:
    write_windows(tmp_path / "whole", plan)
    write_windows(tmp_path / "part", plan, only=1)
    whole, part = RunDirectory(tmp_path / "whole"), RunDirectory(tmp_path / "part")
    assert not colours_of(part, "utm33n").values.any()
    layout = {name: digest for name, digest in digests(part).items() if "zarr.json" in name}
    write_windows(tmp_path / "part", plan)
    assert digests(part) == digests(whole)
    assert layout.items() <= digests(part).items()
    image = colours_of(part, "utm33n")
    assert image.dims == ("time", "rgba", "y", "x")
    assert (image.values[0] != image.values[1]).any()


def test_they_do_not_depend_on_the_picture_and_are_made_up_for(plan: Plan, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", plan).run
    assert not run.quicklook.exists()
    before = digests(run)
    for zone in ("utm32n", "utm33n"):
        assert colours_of(run, zone).values.any()
    # What a process that was killed in between leaves: all markers, and a preview missing.
    (run.grid / "utm33n" / "preview" / "0" / "colours" / "c" / "0" / "0" / "0").unlink()
    write_run(tmp_path / "run", plan, quicklook=True)
    assert digests(run) == before


def test_too_large_runs_have_none(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("thor_geo.runs.grid.MOST_BYTES", 1000)
    run = write_run(tmp_path / "run", plan, quicklook=True).run
    assert not (run.grid / "utm32n" / "preview").exists()
    assert run.quicklook.exists()


@pytest.mark.parametrize(
    ("shape", "steps"),
    [((144, 144), [1]), ((144, 1024), [1, 2, 4]), ((3000, 100), [4, 8, 16]), ((1, 1), [1])],
)
def test_levels_halve_until_they_are_small(shape: tuple[int, int], steps: list[int]) -> None:
    levels = preview_levels(shape, (0, 0, shape[1] * 160, shape[0] * 160), 160)
    assert [level.step for level in levels] == steps
    for level in levels:
        assert all(s * level.step >= whole for s, whole in zip(level.shape, shape, strict=True))
        left, bottom, right, top = level.bounds
        assert (left, top) == (0, shape[0] * 160)
        assert (right - left, top - bottom) == tuple(
            side * level.pixel for side in level.shape[::-1]
        )
