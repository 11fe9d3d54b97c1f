"""Measured statistics, by the command: if one of these fails, a run is normalised by wrong ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio

from thor_geo.emulator import EmulatorProcess, FaultPlan, FaultRule
from thor_geo.ground.area import AreaSpec
from thor_geo.ground.lattice import Lattice
from thor_geo.ground.plan import Plan

# In the order of the default bands: THOR's names of B2, B3, ..., B12.
CHANNELS = ["Blue", "Green", "Red", "RE1", "RE2", "RE3", "NIR", "RE4", "SWIR1", "SWIR2"]


def measuring(arguments: list[str], *more: object) -> list[str]:
    return ["stats", *arguments[1:], *map(str, more)]


def observed(cache: Path, plan: Plan) -> np.ndarray[Any, Any]:
    """Return all observed pixels of a plan's tiles, (10, n), read from the cached files by GDAL."""
    found = []
    for path in sorted(cache.rglob("*.tif")):
        with rasterio.open(path) as file:
            if file.count != 11:  # the scenes of an archive lie below the cache, too
                continue
            pixels, epsg = file.read(), file.crs.to_epsg()
            left, top = file.transform.c, file.transform.f
            height, width = file.shape
        for tile in plan.tiles(range(len(plan))):
            west, _, _, north = tile.bounds
            col, row = round((west - left) / 10), round((top - north) / 10)
            rows = slice(max(row, 0), min(row + 96, height))
            cols = slice(max(col, 0), min(col + 96, width))
            if tile.epsg != epsg or rows.start >= rows.stop or cols.start >= cols.stop:
                continue
            part = pixels[:, rows, cols]
            found.append(np.minimum(part[:10], 10_000)[:, part[10] > 0])
    return np.concatenate(found, axis=1).astype(np.float64)


def test_what_is_measured_is_numpys_and_normalises_a_run(
    thor_geo: Any, quickstart: list[str], tmp_path: Path
) -> None:
    target = tmp_path / "here.json"
    done = thor_geo(*measuring(quickstart, "--to", target))
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (tmp_path / "run").exists()
    assert "random weights" not in (done.stdout + done.stderr).lower(), "no model is loaded"
    assert str(target) in done.stdout

    area = AreaSpec(bbox=(11.98, 59.985, 12.02, 60.005)).load()
    plan = Plan.from_area(area, Lattice(epsg=32601, tile_size=96, shard_tiles=2))
    pixels = observed(tmp_path / "cache", plan)
    content = json.loads(target.read_text())
    assert list(content["channels"]) == [f"S2:{name}" for name in CHANNELS]
    for row, values in zip(content["channels"].values(), pixels, strict=True):
        assert row["pixels"] == len(values) > 10_000
        assert row["mean"] == pytest.approx(values.mean() / 10_000, rel=1e-12)
        assert row["std"] == pytest.approx(values.std() / 10_000, rel=1e-12)
    provenance = content["provenance"]
    assert provenance["tiles"] == provenance["plan_tiles"] == len(plan)
    assert provenance["plan_sha256"] == plan.digest
    assert provenance["settings"]["sentinel2"]["mask"] == "scl"
    assert provenance["area"]["bbox"] == [11.98, 59.985, 12.02, 60.005]

    again = thor_geo(*measuring(quickstart, "--to", target))
    assert again.returncode == 2
    assert "--overwrite" in again.stderr
    assert json.loads(target.read_text()) == content

    normal = ["--data.normalize=dataset", f"--data.statistics={target}", "--output.grid=false"]
    run = thor_geo(*quickstart, *normal)
    assert run.returncode == 0, run.stderr
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    settings, info = record["settings"]["data"], record["info"]["data"]
    assert settings["normalize"] == info["normalization"] == "dataset"
    assert settings["mean"] == [row["mean"] for row in content["channels"].values()]
    assert settings["std"] == [row["std"] for row in content["channels"].values()]
    assert info["statistics"] == "here.json"

    # Another's values under the same name are another run.
    content["channels"]["S2:Red"]["mean"] += 1e-3
    target.write_text(json.dumps(content))
    other = thor_geo(*quickstart, *normal)
    assert other.returncode == 2
    assert "data.mean" in other.stderr
    usual = thor_geo(*quickstart, "--output.grid=false", f"--output.dir={tmp_path / 'usual'}")
    assert usual.returncode == 0, usual.stderr
    vectors = [
        np.stack(gpd.read_parquet(tmp_path / name / "pooled").embedding.dropna())
        for name in ("run", "usual")
    ]
    assert np.abs(vectors[0] - vectors[1]).max() > 0.01


def test_a_tile_that_cannot_be_read_leaves_no_statistics(
    thor_geo: Any, quickstart: list[str], archive: Path, tmp_path: Path
) -> None:
    refused = tuple(range(2, 100))
    rule = FaultRule(kind="image:computePixels", nth=refused, status=400, message="Out of memory.")
    # The file that the config wants, as no other is named; it is not there yet.
    target = tmp_path / "wanted.json"
    config = [f"--data.statistics={target}", "--data.normalize=dataset", "--data.clamp_z=true"]
    with EmulatorProcess(archive, faults=FaultPlan(rules=(rule,))) as emulator:
        env = {"THOR_GEO_EMULATOR_URL": emulator.url}
        broken = thor_geo(*measuring(quickstart, *config), env=env)
    assert broken.returncode == 3, broken.stdout + broken.stderr
    assert "nothing was written" in broken.stdout
    assert "Out of memory" in broken.stdout
    assert not target.exists()

    missing = thor_geo(*quickstart, *config)
    assert missing.returncode == 2
    assert "thor-geo stats" in missing.stderr

    rest = thor_geo(*measuring(quickstart, *config, "--job=1/2"))
    assert rest.returncode == 0, rest.stderr
    provenance = json.loads(target.read_text())["provenance"]
    assert provenance["job"] == "1/2"
    assert 0 < provenance["tiles"] < provenance["plan_tiles"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--to"], ["to", "needs a value"]),
        (["--data.normalize=dataset"], ["normalize='dataset'", "measured statistics"]),
        (
            ["--data.clamp_z=true", "--data.normalize=none"],
            ["clamp_z=True", "does not give z-scores"],
        ),
        (["--model.layers=[12]"], ["layers=12", "12 blocks"]),
        (["--model.implementation=official"], ["implementation='official'", "pip install"]),
    ],
    ids=lambda part: part[0],
)
def test_mistakes_are_told_before_any_work(
    thor_geo: Any, quickstart: list[str], tmp_path: Path, more: list[str], words: list[str]
) -> None:
    command = measuring(quickstart) if more == ["--to"] else quickstart
    done = thor_geo(*command, *more)
    assert done.returncode == 2, done.stdout + done.stderr
    for word in words:
        assert word in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_help_needs_no_config_and_has_examples(thor_geo: Any) -> None:
    done = thor_geo("stats", "--help")
    assert done.returncode == 0
    assert "usage: thor-geo stats -c CONFIG" in done.stdout
    assert "thor-geo stats -c run.yaml --to" in done.stdout
    assert "Exit codes" in done.stdout


def test_places_are_measured_chip_by_chip_in_their_own_windows(
    thor_geo: Any, survey_arguments: Any, tmp_path: Path
) -> None:
    arguments = survey_arguments(tmp_path)
    (table,) = (each.partition("=")[2] for each in arguments if "places.file" in each)
    # Row 6 is row 0 once more: the cache has one file for both.
    gpd.read_parquet(table).drop(6).to_parquet(tmp_path / "survey.parquet")
    target = tmp_path / "here.json"
    done = thor_geo(
        *measuring(arguments, f"--data.places.file={tmp_path}/survey.parquet", "--to", target)
    )
    assert done.returncode == 0, done.stdout + done.stderr
    content = json.loads(target.read_text())
    assert "Measured 10 places" in done.stdout, "and a row that was skipped"
    assert content["provenance"]["area"] is None
    assert content["provenance"]["places"].endswith("survey.parquet")
    # Chips that are fetched alone are files of their own; the survey has no others.
    planes = []
    for path in sorted((tmp_path / "cache" / "blocks").rglob("*.tif")):
        with rasterio.open(path) as file:
            pixels = file.read()
        assert pixels.shape[1:] == (96, 96)
        planes.append(np.minimum(pixels[:10], 10_000)[:, pixels[10] > 0])
    assert len(planes) == 9, "one place lies where there are no scenes"
    values = np.concatenate(planes, axis=1).astype(np.float64) / 10_000
    for k, name in enumerate(CHANNELS):
        channel = content["channels"][f"S2:{name}"]
        assert channel["pixels"] == values.shape[1]
        assert channel["mean"] == pytest.approx(values[k].mean(), rel=1e-6)
        assert channel["std"] == pytest.approx(values[k].std(), rel=1e-6)
