"""Maps cut back to the area: the right cells must be missing, and no vector."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio.features
import rasterio.transform
import shapely
import xarray as xr
import zarr

from tests.support.damage import faults_of, vouch
from tests.support.synthetic_run import CELLS, DIMENSION, Data, plan_of, write_run
from tests.support.written_maps import write_maps
from thor_geo.cli.main import main as command
from thor_geo.errors import ConfigError, RunDirectoryError
from thor_geo.ground.area import Area, AreaSpec
from thor_geo.ground.lattice import Lattice
from thor_geo.ground.plan import Plan
from thor_geo.results import zone_cells
from thor_geo.runs import RunDirectory
from thor_geo.runs.grid import GridStore
from thor_geo.runs.opened_run import read_run
from thor_geo.tasks import RunWriter

L_SHAPE = shapely.Polygon(
    [
        (595_100, 6_630_050),
        (606_010, 6_630_350),
        (606_500, 6_634_000),
        (599_000, 6_633_000),
        (598_300, 6_640_700),
        (594_000, 6_640_000),
    ]
)


def write_cropped(
    path: Path, area: Area, *, stride: int = 288, crop: bool = True, **writer: Any
) -> tuple[RunDirectory, Plan]:
    plan = Plan.from_area(area, Lattice(epsg=32632, stride=stride, shard_tiles=2))
    data = Data(plan)
    data.area = area  # type: ignore[attr-defined]
    return write_run(path, plan, data=data, crop=crop, **writer).run, plan


@pytest.mark.parametrize("stride", [288, 192])
@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_cells_are_those_that_rasterio_finds_in_the_area(
    tmp_path: Path, stride: int, dtype: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """A map cropped to the wrong cells has holes, or shows ground that nobody asked for."""
    area = Area(geometry=L_SHAPE, crs="EPSG:32632")
    run, plan = write_cropped(tmp_path / "cropped", area, stride=stride, dtype=dtype)
    whole, _ = write_cropped(tmp_path / "whole", area, stride=stride, dtype=dtype, crop=False)
    zones = [xr.open_zarr(one.grid, group="utm32n").compute() for one in (run, whole)]
    found, full = (zone.embeddings for zone in zones)
    left, _, _, top = found.attrs["spatial:bbox"]
    wanted = rasterio.features.geometry_mask(
        [L_SHAPE],
        out_shape=found.shape[1:],
        transform=rasterio.transform.from_origin(left, top, 480, 480),
        invert=True,
    )
    assert 0 < wanted.sum() < wanted.size
    there = np.isfinite(found.values)  # xarray makes NaN of -128
    assert np.array_equal(there, np.broadcast_to(wanted, there.shape))
    if dtype == "float32":
        assert np.array_equal(found.values[:, wanted], full.values[:, wanted])
    else:
        values = [(zone.embeddings * zone.scale).values[:, wanted] for zone in zones]
        assert np.array_equal(values[0], values[1])
        # A cell that is left out has no scale.
        assert np.array_equal(np.isfinite(zones[0].scale.values), wanted)
    # Similarity, probes and pictures read cells so: ground that was cropped away is not a cell.
    cropped = zone_cells(read_run(run.path))[32632]
    for rows, cols, read in cropped.parts():
        assert np.array_equal(np.isfinite(read).all(axis=-1), wanted[rows, cols])
    tiles = [gpd.read_parquet(one.pooled) for one in (run, whole)]
    assert len(tiles[0]) == len(plan)
    assert tiles[0].embedding.notna().all()
    assert (np.stack(tiles[0].embedding) == np.stack(tiles[1].embedding)).all()
    assert command(["validate", str(run.path), "--workers", "1"]) == 0, capfd.readouterr().out


def test_zones_share_no_ground(tmp_path: Path) -> None:
    """On a zone's edge, a mosaic of both maps would hold the same place twice."""
    area = AreaSpec(bbox=(11.95, 59.97, 12.05, 60.03)).load()
    run, plan = write_cropped(tmp_path / "run", area)
    assert len(plan.lattices) == 2
    lonlat = []
    for lattice in plan.lattices:
        data = xr.open_zarr(run.grid, group=lattice.name.split("_")[0]).embeddings
        x, y = np.meshgrid(data.x, data.y)
        there = np.isfinite(data.values[0])
        centres = gpd.GeoSeries.from_xy(x[there], y[there], crs=lattice.epsg).to_crs(4326)
        assert len(centres) > 0
        lonlat.append((centres.x, centres.y))
    for lon, lat in lonlat:
        assert lon.between(11.95, 12.05).all()
        assert lat.between(59.97 - 1e-5, 60.03 + 1e-5).all()
    assert lonlat[0][0].max() <= 12 <= lonlat[1][0].min()


def test_another_outline_of_the_same_tiles_is_another_run(tmp_path: Path) -> None:
    """Continued with it, half of the map would be cropped to the one, half to the other."""
    areas = [Area(geometry=L_SHAPE.buffer(by), crs="EPSG:32632") for by in (0.0, 1.0)]
    _, plan = write_cropped(tmp_path / "run", areas[0], only=1)
    assert Plan.from_area(areas[1], plan.lattices[0]).digest == plan.digest
    with pytest.raises(RunDirectoryError, match=r"output\.area_sha256"):
        write_cropped(tmp_path / "run", areas[1])
    write_cropped(tmp_path / "run", areas[0])
    # Without cropping the outline does not matter, as before there was a choice.
    write_cropped(tmp_path / "plain", areas[0], crop=False, only=1)
    run, _ = write_cropped(tmp_path / "plain", areas[1], crop=False)
    settings = json.loads(run.run_json.read_text())["settings"]["output"]
    assert settings == {"pooled": True, "grid": True, "dtype": "float32"}


def test_a_cell_that_is_half_there_is_a_fault(tmp_path: Path) -> None:
    """Cropped maps may lack any cell, but not some of its bands."""
    run, plan = write_cropped(tmp_path / "run", Area(geometry=L_SHAPE, crs="EPSG:32632"))
    shard = plan.shards[0]
    store = GridStore(run.grid, plan, (DIMENSION, CELLS, CELLS))
    zone = store.zones[shard.epsg]
    row, col = (at * zone.shard_side for at in zone.shard_position(shard))
    array = zarr.open_array(str(run.grid), path="utm32n/embeddings", mode="r")
    values = np.asarray(array[:, row : row + zone.shard_side, col : col + zone.shard_side])
    assert not faults_of(run, 0)
    y, x = np.argwhere(np.isfinite(values[0]))[0]
    values[2, y, x] = np.nan
    (path,) = write_maps(store, shard, values)
    vouch(run, shard, path)
    (fault,) = faults_of(run, 0)
    assert fault.kind == "values"
    assert "NaN or infinity in 1 tiles" in fault.reason


def test_what_cannot_be_cropped_is_refused(tmp_path: Path) -> None:
    """A user who asks for it must not get a whole map in silence."""
    with pytest.raises(ConfigError, match=r"output\.crop.*output\.grid is false"):
        RunWriter(dir=tmp_path, grid=False, crop=True)
    with pytest.raises(ConfigError, match=r"output\.crop.*no `area`"):
        write_run(tmp_path / "run", plan_of(), crop=True)
    assert not (tmp_path / "run" / "run.json").exists()
