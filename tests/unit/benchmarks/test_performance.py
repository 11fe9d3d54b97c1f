"""If this fails, docs/performance.md shows other figures than were measured."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import performance
from benchmarks.growth import halves
from benchmarks.performance import DOCS, SHOWN, block
from benchmarks.report import EXIT_FAULTS, EXIT_NO_GPU, RESULTS, Report, renewed
from benchmarks.startup import imported


@pytest.mark.parametrize("name", SHOWN)
def test_the_page_is_made_of_the_results(name: str) -> None:
    text = DOCS.read_text(encoding="utf-8")
    new = renewed(text, {name: block(name)})
    assert new == text, "run: python -m benchmarks.report performance"


def test_the_page_has_no_other_tables() -> None:
    places = re.findall(r"<!-- table: (\w+) -->", DOCS.read_text(encoding="utf-8"))
    assert places == list(SHOWN)


@pytest.mark.parametrize("name", SHOWN)
def test_results_are_whole_runs_of_benchmarks_that_are_there(name: str) -> None:
    path = RESULTS / f"{name}.json"
    if not path.exists():
        pytest.skip("not run yet")
    result = json.loads(path.read_text(encoding="utf-8"))
    assert result["name"] == name
    assert not result["quick"]
    assert result["command"] == f"python -m benchmarks.{SHOWN[name]}"
    assert importlib.util.find_spec(f"benchmarks.{SHOWN[name]}") is not None


def test_a_result_is_shown_with_all_that_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert block("encoder_memory", tmp_path) == "Not run yet: `python -m benchmarks.encoder`."
    monkeypatch.setattr("benchmarks.report.ROOT", tmp_path)
    columns = {f"column {k}": float(k) for k in range(9)}
    Report(
        name="growth",
        claim="It grows.",
        command="grow",
        rows=[columns, columns],
        faults=["It does not."],
        figures={"slope": 1.5},
        notes=["By hand."],
    ).finish(tmp_path)
    shown = block("growth", tmp_path)
    for part in ("**Does not hold:** It grows.", "- **Does not hold:** It does not.", "`grow`"):
        assert part in shown
    for part in ("- slope: 1.5", "- By hand.", "| column 8 | 8.00 | 8.00 |"):
        assert part in shown
    machine = json.loads((tmp_path / "growth.json").read_text())["machine"]
    assert f"{machine['cores']} cores" in shown


def test_halves_leave_out_the_start_and_weigh_tiles() -> None:
    # ten shards of 4 tiles, the first after 60 s, then 1 s each; and two part-filled ones
    ends = [(60.0 + k, 4) for k in range(10)] + [(72.0, 2), (76.0, 2)]
    start, middle, end, first, second = halves(list(reversed(ends)))
    assert (start, middle, end) == (60.0, 65.0, 76.0)
    assert first == pytest.approx(5 / 20)
    assert second == pytest.approx(11 / 20)


def test_imports_are_counted_for_whom_they_were_made_first() -> None:
    log = """\
import time: self [us] | cumulative | imported package
import time:       100 |        100 |   site
import time:      1000 |       1000 |       heavy.core
import time:      2000 |       3000 |     heavy
import time:       500 |       3500 |   light.tools
import time:       300 |       3800 | light
import time:      4000 |       4000 |   heavy.more
import time:        10 |       4010 | command
"""
    own, by = imported(log)
    assert own["heavy"] == pytest.approx(0.007)
    assert own["light"] == pytest.approx(0.0008)
    assert by["heavy"] == "light"
    assert by["light"] == by["command"] == ""


@pytest.mark.parametrize(
    ("code", "said", "failed"),
    [
        (0, "holds", 0),
        (EXIT_FAULTS, "DOES NOT HOLD", 1),
        (EXIT_NO_GPU, "not run: no GPU", 0),
        (1, "BROKE OFF (exit code 1)", 1),
        (-9, "BROKE OFF (exit code -9)", 1),
    ],
)
def test_a_benchmark_that_breaks_off_is_not_one_whose_claim_fails(
    code: int,
    said: str,
    failed: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Otherwise `make bench` fails on every machine without a GPU, or hides a crash."""

    def ended(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, code)

    monkeypatch.setattr(subprocess, "run", ended)
    monkeypatch.setattr(sys, "argv", ["performance", "--quick", "growth"])
    assert performance.main() == failed
    assert capsys.readouterr().out.splitlines()[-1] == f"growth: {said}"
