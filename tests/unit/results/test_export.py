"""If one of these fails, a GIS shows other values than a run holds, or in another place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio

from tests.support.synthetic_run import CELLS, DIMENSION, Data, embed, write_run
from thor_geo.cli.main import main
from thor_geo.errors import ConfigError
from thor_geo.ground.plan import Plan
from thor_geo.results import zone_cells
from thor_geo.results.bands import Bands
from thor_geo.runs.opened_run import read_run

FAILED, EMPTY = 3, 4
WINDOWS = [("2022-06-01", "2022-07-01"), ("2022-07-01", "2022-09-01")]


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_all_dimensions_have_the_values_that_the_run_holds(
    plan: Plan, tmp_path: Path, dtype: str
) -> None:
    run = tmp_path / "run"
    write_run(run, plan, failed={FAILED: "lost"}, empty=(EMPTY,), dtype=dtype)
    assert main(["export", str(run), "--cog"]) == 0
    zones = zone_cells(read_run(run))
    for k in range(len(plan)):
        tile = plan.tile(k)
        name = f"utm{tile.epsg % 100}n_20220601_20220901_embeddings.tif"
        with rasterio.open(run / "cog" / name) as file:
            assert (file.crs.to_epsg(), set(file.dtypes)) == (tile.epsg, {"float32"})
            assert np.isnan(file.nodata)
            assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
            assert file.tags(ns="IMAGE_STRUCTURE")["COMPRESSION"] == "ZSTD"
            assert file.descriptions == tuple(f"embedding {band}" for band in range(DIMENSION))
            part = file.read(window=file.window(*tile.bounds))
        if k in (FAILED, EMPTY):
            assert np.isnan(part).all()
            continue
        error = {"float32": 0, "float16": 2**-11, "int8": 0.51 / 127}[dtype]
        largest = np.abs(embed(tile)[1]).max(axis=0)
        assert (np.abs(part - embed(tile)[1]) <= error * largest).all()
        zone = zones[tile.epsg]
        for rows, cols, values in zone.parts():
            x, y = zone.bounds[0] + cols.start * zone.cell, zone.bounds[3] - rows.start * zone.cell
            if (x, y) == (tile.bounds[0], tile.bounds[3]):
                same = np.moveaxis(values[:CELLS, :CELLS], -1, 0)
                np.testing.assert_array_equal(part, same)


def test_each_window_has_its_file_and_one_can_be_chosen(plan: Plan, tmp_path: Path) -> None:
    run = tmp_path / "run"
    write_run(run, plan, only=0, data=Data(plan, windows=WINDOWS))
    names = [f"utm{zone}n_{days}" for zone in (32, 33) for days in ("20220601_20220701",)]
    assert main(["export", str(run), "--cog", str(tmp_path / "one"), "--window", "0"]) == 0
    found = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert found == [f"{name}_embeddings.tif" for name in names]
    assert main(["export", str(run), "--cog", str(tmp_path / "all"), "--zone", "utm33n"]) == 0
    found = sorted(path.name for path in (tmp_path / "all").iterdir())
    assert found == [
        f"utm33n_{days}_embeddings.tif" for days in ("20220601_20220701", "20220701_20220901")
    ]


def test_a_zone_without_an_embedding_does_not_end_the_export_of_the_others(
    plan: Plan, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = tmp_path / "run"
    west = tuple(k for k in range(len(plan)) if plan.tile(k).epsg == 32632)
    write_run(run, plan, grid=False, empty=west)
    assert main(["export", str(run), "--cog"]) == 0
    found = sorted(path.name for path in (run / "cog").iterdir())
    assert found == ["utm33n_20220601_20220901_embeddings.tif"]
    assert "utm32n_20220601_20220901_embeddings.tif is not written" in caplog.text


def test_a_run_without_any_embedding_has_nothing_to_export(
    plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, every = tmp_path / "run", tuple(range(len(plan)))
    write_run(run, plan, grid=False, empty=every)
    assert main(["export", str(run), "--cog"]) == 2
    assert "no tile with an embedding: all of them are empty or failed" in capsys.readouterr().err
    assert not (run / "cog").exists()


def test_nothing_is_replaced_or_begun_if_it_cannot_be_done(
    plan: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, maps = tmp_path / "run", tmp_path / "maps"
    write_run(run, plan)
    asked = ["export", str(run), "--cog", str(maps)]
    assert main([*asked, "--bands", f"0-{DIMENSION}"]) == 2
    assert f"there is no {DIMENSION}. Give 0 to {DIMENSION - 1}, or all." in capsys.readouterr().err
    assert main([*asked, "--window", "3"]) == 2
    assert main([*asked, "--bands", "1-2,2"]) == 2
    assert not maps.exists()
    assert main([*asked, "--bands", "4,0-1"]) == 0
    with rasterio.open(next(maps.iterdir())) as file:
        assert file.descriptions == ("embedding 4", "embedding 0", "embedding 1")
    before = {path: path.read_bytes() for path in maps.iterdir()}
    assert main(asked) == 2
    assert "--cog=" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in maps.iterdir()} == before
    assert main([*asked, "--overwrite"]) == 0
    with pytest.raises(SystemExit):
        main(["export", str(run)])


@pytest.mark.parametrize(
    ("text", "bands"),
    [
        ("all", list(range(200))),
        ("0-191", list(range(192))),
        ("0,5,7", [0, 5, 7]),
        ("64, 0-2", [64, 0, 1, 2]),
        ("199", [199]),
    ],
)
def test_dimensions_are_numbers_and_ranges(text: str, bands: list[int]) -> None:
    assert Bands.parse(text).indices(200) == bands


@pytest.mark.parametrize("text", ["", "x", "-1", "3-1", "1,1", "0-5,5", "1.5", "0-", "0,,1", "All"])
def test_other_words_for_dimensions_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--bands"):
        Bands.parse(text)
