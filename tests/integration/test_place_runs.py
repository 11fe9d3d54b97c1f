"""A run of a table of places, whole: the same bytes by every path, and the model's numbers."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import xarray as xr

from benchmarks.support.warm import WarmServer
from tests.support.survey import BAD_ROW, EMPTY_ROW, POINTS, survey_columns
from thor_geo.datamodules import CompositeDataModule
from thor_geo.emulator import EmulatorProcess, FaultPlan, FaultRule
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.ground.places import PlacesSpec
from thor_geo.runs.opened_run import read_run
from thor_geo.specs import SensorSpec
from thor_geo.specs.sources import EmulatorSpec
from thor_geo.tasks import THOREmbeddingTask

ONE_PROCESS = ("--trainer.devices=1", "--data.num_workers=0")


def ranks(number: int) -> tuple[str, ...]:
    return (f"--trainer.devices={number}", "--trainer.strategy=ddp", "--data.num_workers=0")


def digests(run: Path) -> dict[str, str]:
    """Return the sha256 of the plan and of every file that holds or describes embeddings."""
    files = [*run.glob("*.parquet"), *run.glob("pooled/*.parquet"), *run.rglob("places.zarr/**/*")]
    return {
        str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(files)
        if path.is_file()
    }


def markers(run: Path) -> list[Path]:
    return sorted(run.glob("markers/*.json"))


def rows_of(run: Path) -> pa.Table:
    """Return the rows in the order of the table."""
    return pq.read_table(run / "pooled").sort_by("place")


@pytest.fixture(scope="module")
def reference(survey_run: Path) -> Path:
    """Return the folder of an undisturbed run; runs may share its cache."""
    names = digests(survey_run / "run")
    assert {"pooled/skipped.parquet", "places.zarr/embeddings/c/2/0/0/0"} <= names.keys()
    assert sum(name.startswith("pooled/") for name in names) == 4
    return survey_run


def test_features_and_labels_are_in_one_file(
    thor_geo: Any, reference: Path, tmp_path: Path
) -> None:
    run, target = reference / "run", tmp_path / "all.parquet"
    assert thor_geo("validate", run, "--workers", "1").returncode == 0
    merged = thor_geo("merge", run, "--to", target)
    assert merged.returncode == 0, merged.stderr
    rows = pq.ParquetFile(target).read()
    assert rows["place"].to_pylist() == list(range(len(POINTS)))
    assert rows.select(survey_columns().column_names).equals(survey_columns())
    states = dict.fromkeys(range(len(POINTS)), "ok")
    assert rows["status"].to_pylist() == [
        *(states | {BAD_ROW: "skipped", EMPTY_ROW: "empty"}).values()
    ]
    vectors = rows["embedding"].to_pylist()
    assert vectors[0] == vectors[6], "one place in one window"
    assert vectors[0] != vectors[2], "one place in two windows"
    assert rows["datetime_start"].to_pylist()[1].isoformat() == "2022-06-25T00:00:00+00:00"
    assert rows["datetime_end"].to_pylist()[1].isoformat() == "2022-07-16T00:00:00+00:00"


def test_the_vectors_are_those_of_the_model(reference: Path) -> None:
    run = reference / "run"
    plan = read_run(run).plan
    assert isinstance(plan, PlacePlan)
    rows, maps = rows_of(run), xr.open_zarr(run / "places.zarr")["embeddings"].load()
    for index in range(len(plan)):
        place = int(plan.place[index])
        cells = maps.sel(place=place).to_numpy()
        centre = rows["centre"][place].as_py()
        if place == EMPTY_ROW:
            assert centre is None
            assert np.isnan(cells).all()
            continue
        row, col = (int(edge * cells.shape[1] / 96) for edge in plan.at(index))
        np.testing.assert_array_equal(cells[:, row, col], np.float32(centre))


def test_rows_and_maps_are_what_predict_step_returns(
    small_archive: Path, survey_arguments: Any, reference: Path, tmp_path: Path
) -> None:
    (table,) = (
        arg.partition("=")[2]
        for arg in survey_arguments(tmp_path)
        if arg.startswith("--data.places.file=")
    )
    data = CompositeDataModule(
        places=PlacesSpec(
            file=Path(table),
            id="plot_id",
            date="surveyed",
            days=(-10, 10),
            on_bad_row="skip",
            shard_places=4,
        ),
        emulator=EmulatorSpec(archive=small_archive),
        sentinel2=SensorSpec(cloudy_pct=60),
        tile_size=96,
        block_size=192,
        batch_size=4,
        num_workers=0,
        cache_dir=reference / "cache",
    )
    task = THOREmbeddingTask(
        model_key="thor_v1_tiny", pretrained=False, image_size=96, threads=1, centre=True
    )
    task.configure_model()
    task.eval()
    rows = rows_of(reference / "run")
    maps = xr.open_zarr(reference / "run" / "places.zarr")["embeddings"].load()
    try:
        data.setup("predict")
        plan = data.load_plan()
        assert isinstance(plan, PlacePlan)
        seen = []
        for batch in data.predict_dataloader():
            with torch.inference_mode():
                made = task.predict_step(data.on_after_batch_transfer(batch, 0), 0)
            for k, chip in enumerate(made["tile"].tolist()):
                seen.append(place := int(plan.place[chip]))
                if place == EMPTY_ROW:
                    continue
                for name, column in (("pooled", "embedding"), ("centre", "centre")):
                    vector = np.float32(rows[column][place].as_py())
                    np.testing.assert_allclose(made[name][k], vector, rtol=1e-5, atol=1e-5)
                cells = maps.sel(place=place)
                np.testing.assert_allclose(made["grid"][k], cells, rtol=1e-5, atol=1e-5)
    finally:
        data.teardown("predict")
    assert sorted(seen) == [row for row in range(len(POINTS)) if row != BAD_ROW]


def test_two_ranks_make_the_same_bytes(
    thor_geo: Any, survey_here: list[str], reference: Path, tmp_path: Path
) -> None:
    done = thor_geo(*survey_here, *ranks(2))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Embedded 11 places") == 1, "one summary, of the first rank"
    assert digests(tmp_path / "run") == digests(reference / "run")


def test_jobs_in_any_order_make_the_same_bytes(
    thor_geo: Any, survey_here: list[str], reference: Path, tmp_path: Path
) -> None:
    here = [*survey_here, f"--data.cache_dir={reference / 'cache'}", *ONE_PROCESS]
    for done, job in enumerate(("3/3", "1/3", "2/3"), start=1):
        result = thor_geo(*here, "--job", job)
        assert result.returncode == 0, result.stderr
        assert len(markers(tmp_path / "run")) == done
    assert digests(tmp_path / "run") == digests(reference / "run")


def test_a_killed_run_resumes_to_the_same_bytes(
    thor_geo: Any,
    small_archive: Path,
    warm_server: WarmServer,
    survey_here: list[str],
    reference: Path,
    tmp_path: Path,
) -> None:
    run, log = tmp_path / "run", tmp_path / "log.txt"
    # The first shard needs fewer requests for pixels than these, the others more.
    stall = FaultRule(kind="image:computePixels", nth=tuple(range(6, 100)), delay_s=120)
    with EmulatorProcess(small_archive, faults=FaultPlan(rules=(stall,))) as emulator:
        with log.open("wb") as output:
            process = warm_server.start(
                *(*survey_here, *ONE_PROCESS, "--data.concurrency=1", "--data.ahead=1"),
                env={"THOR_GEO_EMULATOR_URL": emulator.url},
                stdout=output,
                stderr=output,
            )
        deadline = time.monotonic() + 120
        while not markers(run):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        process.kill()
        process.wait()
    written = {path: path.read_bytes() for path in markers(run)}
    assert len(written) < 3
    resumed = thor_geo(*survey_here, *ONE_PROCESS)
    assert resumed.returncode == 0, resumed.stderr
    assert digests(run) == digests(reference / "run")
    assert {path: path.read_bytes() for path in written} == written, "none is redone"


def test_only_what_failed_is_tried_again(
    thor_geo: Any, survey_here: list[str], small_archive: Path, reference: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    # Some chips come, the others are refused in any size.
    broken = FaultRule(
        kind="image:computePixels", nth=tuple(range(6, 1000)), status=400, message="Out of memory."
    )
    with EmulatorProcess(small_archive, faults=FaultPlan(rules=(broken,))) as emulator:
        failed = thor_geo(
            *survey_here,
            *ONE_PROCESS,
            "--data.concurrency=1",
            env={"THOR_GEO_EMULATOR_URL": emulator.url},
        )
    assert failed.returncode == 3, failed.stdout + failed.stderr
    rows = rows_of(run)
    wrong = rows.filter(pa.compute.equal(rows["status"], "failed"))
    assert 0 < len(wrong) < len(rows) - 2
    assert wrong["embedding"].null_count == wrong["centre"].null_count == len(wrong)
    assert not wrong["plot_id"].null_count
    listed = [
        json.loads(line)["id"]
        for path in sorted((run / "failures").iterdir())
        for line in path.read_text().splitlines()
    ]
    assert sorted(listed) == sorted(wrong["id"].to_pylist())
    again = thor_geo(*survey_here, *ONE_PROCESS)
    assert again.returncode == 0, again.stderr
    assert digests(run) == digests(reference / "run")
    assert not list((run / "failures").iterdir())


@pytest.mark.parametrize("dtype", ["int8", "float16"])
def test_smaller_types_are_checked_and_read(
    thor_geo: Any, survey_here: list[str], reference: Path, tmp_path: Path, dtype: str
) -> None:
    cache = f"--data.cache_dir={reference / 'cache'}"
    done = thor_geo(*survey_here, *ONE_PROCESS, cache, f"--output.dtype={dtype}")
    assert done.returncode == 0, done.stderr
    assert thor_geo("validate", tmp_path / "run", "--workers", "1").returncode == 0
    ours, theirs = (xr.open_zarr(run / "run" / "places.zarr") for run in (tmp_path, reference))
    values = ours["embeddings"] * ours["scale"] if dtype == "int8" else ours["embeddings"]
    np.testing.assert_allclose(
        values.astype("float32"),
        theirs["embeddings"],
        rtol=1e-3,
        atol=0.01 * float(np.abs(theirs["embeddings"]).max()),
    )


def test_a_table_that_changed_is_refused(
    thor_geo: Any, survey_here: list[str], reference: Path, tmp_path: Path
) -> None:
    cache = f"--data.cache_dir={reference / 'cache'}"
    assert thor_geo(*survey_here, *ONE_PROCESS, cache, "--job", "1/3").returncode == 0
    (given,) = (arg for arg in survey_here if arg.startswith("--data.places.file="))
    table = pq.read_table(given.partition("=")[2])
    at = table.schema.get_field_index("crop")
    other = tmp_path / "other.parquet"
    pq.write_table(table.set_column(at, "crop", pa.array(["rye"] * len(table))), other)
    refused = thor_geo(*survey_here, *ONE_PROCESS, cache, f"--data.places.file={other}")
    assert refused.returncode == 2
    assert "table of places has changed" in refused.stderr
    assert "crop" in refused.stderr
    assert "yield" not in refused.stderr
