"""If these fail, what is downloaded is not what was found, or no GIS opens it."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio

from tests.support.synthetic_run import ONE_ZONE, plan_of, write_run
from thor_geo.explorer.compare import Comparison
from thor_geo.explorer.download import ExplorerFindings, findings_file
from thor_geo.explorer.located import RasterVectors, cell_places
from thor_geo.runs.opened_run import OpenedRun, read_run

POSITIVE, NEGATIVE = np.array([0, 3]), np.array([5])


def make_findings(query: int | None, *, examples: bool = True) -> ExplorerFindings:
    none = np.empty(0, dtype=np.int64)
    return ExplorerFindings(
        query=query,
        k=4,
        positive=POSITIVE if examples else none,
        negative=NEGATIVE if examples else none,
        threshold=0.5,
    )


def test_tiles_come_as_layers_with_their_footprints(
    opened: OpenedRun, tiles: RasterVectors, tmp_path: Path
) -> None:
    comparison = Comparison(tiles)
    file = findings_file(opened.plan, comparison, make_findings(2))
    (path := tmp_path / str(file.name)).write_bytes(file.body)
    assert set(geopandas.list_layers(path)["name"]) == {"neighbours", "examples", "probe"}
    assert tiles.tile is not None

    neighbours = geopandas.read_file(path, layer="neighbours")
    similar = comparison.similar(2, 4)
    ids = [opened.plan.tile(int(tiles.tile[k])).id for k in [2, *similar.nearest.tolist()]]
    assert neighbours["tile_id"].tolist() == ids
    assert neighbours["rank"].tolist() == [0, 1, 2, 3, 4]
    assert neighbours["cosine"][0] == pytest.approx(1)
    in_zone = neighbours.iloc[:1].to_crs(tiles.epsg(2))
    assert in_zone.total_bounds == pytest.approx(opened.plan.tile(int(tiles.tile[2])).bounds)

    examples = geopandas.read_file(path, layer="examples")
    assert examples["label"].tolist() == ["positive", "positive", "negative"]
    scores = geopandas.read_file(path, layer="probe").set_index("tile_id")
    assert len(scores) == tiles.searched.sum()
    assert (scores["positive"] == (scores["score"] >= 0.5)).all()
    assert scores["score"].max() > 0.5 > scores["score"].min()


def test_layers_of_what_was_not_asked_are_left_out(
    opened: OpenedRun, tiles: RasterVectors, tmp_path: Path
) -> None:
    file = findings_file(opened.plan, Comparison(tiles), make_findings(2, examples=False))
    (path := tmp_path / str(file.name)).write_bytes(file.body)
    assert geopandas.list_layers(path)["name"].tolist() == ["neighbours"]


def test_cells_of_two_zones_come_as_two_rasters(opened: OpenedRun, cells: RasterVectors) -> None:
    comparison = Comparison(cells)
    file = findings_file(opened.plan, comparison, make_findings(7))
    scores, cosine = comparison.probe(POSITIVE, NEGATIVE), comparison.similar(7, 0).cosine
    seen = 0
    with zipfile.ZipFile(io.BytesIO(file.body)) as archive:
        assert archive.namelist() == ["findings_utm32n.tif", "findings_utm33n.tif"]
        for name in archive.namelist():
            with rasterio.MemoryFile(archive.read(name)) as memory, memory.open() as raster:
                assert raster.descriptions == ("cosine", "probe", "examples")
                values = raster.read()
                for k in range(len(cells)):
                    if raster.crs.to_epsg() != cells.epsg(k):
                        continue
                    left, bottom, right, top = cells.bounds(k)
                    row, col = raster.index((left + right) / 2, (bottom + top) / 2)
                    assert values[:2, row, col] == pytest.approx([cosine[k], scores[k]])
                    expected = 1 if k in POSITIVE else 0 if k in NEGATIVE else np.nan
                    assert values[2, row, col] == pytest.approx(expected, nan_ok=True)
                    assert raster.transform.a == pytest.approx(right - left)
                    seen += 1
                assert np.isnan(raster.nodata)
    assert seen == len(cells)


def test_cells_of_one_zone_come_as_one_raster(tmp_path: Path) -> None:
    write_run(tmp_path / "run", plan_of(ONE_ZONE), grid=True, pooled=False, only=2)
    opened = read_run(tmp_path / "run")
    file = findings_file(
        opened.plan, Comparison(cell_places(opened)), make_findings(0, examples=False)
    )
    assert file.name == "findings.tif"
    with rasterio.MemoryFile(file.body) as memory, memory.open() as raster:
        assert (raster.count, raster.crs.to_epsg()) == (1, 32632)
        assert np.nanmax(raster.read(1)) == pytest.approx(1)
