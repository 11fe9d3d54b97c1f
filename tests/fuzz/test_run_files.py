"""If these fail, a damaged run directory ends a command with a traceback, or passes for whole."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.fuzz_campaign import fuzz
from tests.support.fuzz_mutations import damaged, damaged_json
from tests.support.synthetic_run import Data, Model, is_finished, plan_of, write_run
from thor_geo.checks import validate
from thor_geo.checks._marked import check_shard
from thor_geo.checks.tally import count_markers
from thor_geo.cli import status
from thor_geo.errors import RunDirectoryError
from thor_geo.ground.plan import Plan
from thor_geo.runs import RunDirectory
from thor_geo.runs.markers import Marker
from thor_geo.runs.opened_run import read_run
from thor_geo.runs.plan_file import read_plan
from thor_geo.runs.shard import Dtype

# A few tiles: a look at all of them is quick.
SMALL = (10.60, 59.85, 10.63, 59.87)


def in_this_process(opened: Any, expected: Any, workers: int) -> Iterator[tuple[Any, int]]:
    """Check shards as the processes of `validate` do, which take seconds to start."""
    for shard in opened.plan.shards:
        yield check_shard(expected, opened.plan, shard), len(shard)


@pytest.fixture(scope="module", autouse=True)
def _one_process() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validate, "check_shards", in_this_process)
        yield


class Run:
    """A finished run, whose files are restored before every input."""

    def __init__(self, folder: Path, dtype: Dtype = "float32") -> None:
        self.plan = plan_of(SMALL, tile_size=96)
        self.path = folder / "run"
        write_run(self.path, self.plan, failed={1: "no such block"}, empty=(2,), dtype=dtype)
        self.dir = RunDirectory(self.path)
        shard = self.plan.shards[0]
        self.marker, self.pooled = self.dir.marker_path(shard), self.dir.pooled_path(shard)
        self.failures = self.dir.failures_path(shard)
        content = Marker.read(self.marker)
        assert content is not None
        self.map = next(
            self.path / name for name in content.outputs if self.path / name != self.pooled
        )
        self.files = {p: p.read_bytes() for p in self.path.rglob("*") if p.is_file()}
        whole = validate.check_run(read_run(self.path))
        self.states = (whole.checked.ok, whole.checked.empty, whole.checked.failed)

    def restore(self, changed: dict[Path, bytes]) -> None:
        for path, content in (self.files | changed).items():
            path.write_bytes(content)

    def validate(self, changed: dict[Path, bytes], *, noticed: bool = False) -> None:
        """Validate; faults are told, and a run without any is what was written."""
        self.restore(changed)
        found = validate.check_run(read_run(self.path))
        json.dumps(
            [vars(fault) if hasattr(fault, "__dict__") else str(fault) for fault in found.faults]
        )
        assert all(len(fault.reason) < 2000 for fault in found.faults)
        kinds = {fault.kind for fault in found.faults}
        if kinds - {"failed"}:
            raise RunDirectoryError("faults")
        assert (found.checked.ok, found.checked.empty, found.checked.failed) == self.states
        assert not noticed, "damage that was not noticed"

    def vouched(self, path: Path, content: bytes) -> bytes:
        """Return a marker with the checksum of another content of an output."""
        marker = json.loads(self.files[self.marker])
        marker["outputs"][path.relative_to(self.path).as_posix()] = {
            "sha256": hashlib.sha256(content).hexdigest(),
            "size": len(content),
        }
        return json.dumps(marker).encode()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = Run(tmp_path_factory.mktemp("fuzz"))
    run.validate({})
    return run


@pytest.fixture(scope="module")
def run_int8(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(tmp_path_factory.mktemp("fuzz-int8"), "int8")


def check_marker(run: Run, content: bytes) -> None:
    """Read a marker; what is taken for one names files of the run only."""
    run.marker.write_bytes(content)
    marker = Marker.read(run.marker)
    if marker is None:
        raise RunDirectoryError("damaged: its shard is made again")
    assert marker.tiles == marker.ok + marker.empty + marker.failed == len(marker.observations_mean)
    for name, output in marker.outputs.items():
        assert (run.path / name).resolve().is_relative_to(run.path.resolve())
        output.matches(run.path / name, verify=True)
    marker.write(run.marker)
    assert Marker.read(run.marker) == marker
    is_finished(run.dir, run.plan.shards[0])


def test_markers(run: Run) -> None:
    seed = run.files[run.marker]
    check_marker(run, seed)
    strategy = damaged_json([json.loads(seed)]) | damaged([seed])
    fuzz("marker", strategy, lambda content: check_marker(run, content))


def test_markers_when_validating(run: Run) -> None:
    seed = run.files[run.marker]
    strategy = damaged_json([json.loads(seed)]) | damaged([seed])
    fuzz(
        "marker, thor-geo validate",
        strategy,
        lambda content: run.validate({run.marker: content}),
        share=0.3,
    )


def check_status(run: Run, changed: dict[Path, bytes]) -> None:
    """Look how far the run is; what is told is JSON, and the counts are those of the plan."""
    run.restore(changed)
    found = count_markers(read_run(run.path))
    json.dumps(status.status_json(run.path, found), allow_nan=False)
    assert status.status_text(run.path, found)
    assert min(found.ok, found.empty, found.failed, found.left, found.shards_left) >= 0
    assert found.ok + found.empty + found.failed + found.left == len(run.plan)


def test_markers_when_looking(run: Run) -> None:
    seed = run.files[run.marker]
    check_status(run, {})
    strategy = damaged_json([json.loads(seed)]) | damaged([seed])
    fuzz(
        "marker, thor-geo status",
        strategy,
        lambda content: check_status(run, {run.marker: content}),
    )


def test_failures_when_looking(run: Run) -> None:
    seed = run.files[run.failures]
    strategy = damaged([seed]) | damaged_json([json.loads(seed.splitlines()[0])])
    fuzz(
        "failures, thor-geo status",
        strategy,
        lambda content: check_status(run, {run.failures: content}),
    )


def check_run_json(run: Run, content: bytes) -> None:
    """Join a run by its run.json, as a resumed command does."""
    run.dir.run_json.write_bytes(content)
    again = RunDirectory(run.path)
    model, data = Model(), Data(run.plan)
    document = again.document()
    json.loads(again.metadata)
    assert isinstance(again.fingerprint, str)
    settings = {**json.loads(run.files[run.dir.run_json])["settings"]}
    again.prepare(settings, {**data.info(), **model.info()}, run.plan)
    # another fingerprint is refused by `prepare`
    assert document["fingerprint"] == json.loads(run.files[run.dir.run_json])["fingerprint"]


def test_run_json(run: Run) -> None:
    seed = run.files[run.dir.run_json]
    run.restore({})
    check_run_json(run, seed)
    strategy = damaged_json([json.loads(seed)]) | damaged([seed])
    fuzz("run.json", strategy, lambda content: check_run_json(run, content))


def test_run_json_when_validating(run: Run) -> None:
    seed = run.files[run.dir.run_json]
    strategy = damaged_json([json.loads(seed)]) | damaged([seed])
    fuzz(
        "run.json, thor-geo validate",
        strategy,
        lambda content: run.validate({run.dir.run_json: content}),
        share=0.3,
    )


def test_plan(run: Run) -> None:
    path, seed = run.dir.plan_parquet, run.files[run.dir.plan_parquet]

    def check(content: bytes) -> None:
        path.write_bytes(content)
        plan: Plan = read_plan(path)
        assert plan.digest == run.plan.digest
        assert (plan.col == run.plan.col).all()
        assert (plan.row == run.plan.row).all()

    check(seed)
    fuzz("plan.parquet", damaged([seed]), check)


def test_overview_when_validating(run: Run) -> None:
    path = run.dir.overview
    seed = run.files[path]
    fuzz(
        "overview.parquet, thor-geo validate",
        damaged([seed]),
        lambda content: run.validate({path: content}),
        share=0.3,
    )


@pytest.mark.parametrize("name", ["pooled", "map"])
def test_outputs(run: Run, name: str) -> None:
    path: Path = getattr(run, name)
    seed = run.files[path]
    fuzz(
        f"{name}, thor-geo validate",
        damaged([seed]),
        lambda content: run.validate({path: content}, noticed=content != seed),
        share=0.3,
    )


@pytest.mark.parametrize("which", ["run", "run_int8"])
@pytest.mark.parametrize("name", ["pooled", "map"])
def test_outputs_that_the_marker_vouches_for(
    request: pytest.FixtureRequest, which: str, name: str
) -> None:
    run: Run = request.getfixturevalue(which)
    path: Path = getattr(run, name)

    def check(content: bytes) -> None:
        run.validate({path: content, run.marker: run.vouched(path, content)})

    check(run.files[path])
    fuzz(
        f"{name}{which.removeprefix('run')}, checksum fitting, thor-geo validate",
        damaged([run.files[path]]),
        check,
        share=0.5,
    )


@pytest.mark.parametrize(
    "name", ["grid.zarr/zarr.json", "grid.zarr/utm32n/embeddings/zarr.json", "failures"]
)
def test_other_files(run: Run, name: str) -> None:
    path = run.failures if name == "failures" else run.path / name
    seed = run.files[path]
    values: Any = [json.loads(line) for line in seed.splitlines()] if name == "failures" else None
    strategy = damaged([seed]) | damaged_json([values[0] if values else json.loads(seed)])
    fuzz(
        f"{name}, thor-geo validate",
        strategy,
        lambda content: run.validate({path: content}),
        share=0.3,
    )
