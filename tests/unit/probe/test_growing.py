"""Answers that come early and grow: first all labels, then the curve, from few labels up."""

from __future__ import annotations

import _thread
import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.label_raster import write_labels
from thor_geo.cli.main import main
from thor_geo.probe import compared, jobs, parts
from thor_geo.probe.curve import Contender, Problem
from thor_geo.probe.folds import Folds
from thor_geo.probe.growing import evaluate, grow
from thor_geo.probe.spec import ProbeSpec
from thor_geo.runs.opened_run import OpenedRun


def problem(n: int = 240, seed: int = 0) -> tuple[Problem, np.ndarray]:
    rng = np.random.default_rng(seed)
    targets, block = rng.integers(0, 3, n), np.arange(n) // 10
    features = (rng.normal(size=(3, 8))[targets] + rng.normal(size=(n, 8))).astype(np.float32)
    every = np.arange(n)
    folds = Folds(
        block=block,
        blocks=n // 10,
        block_m=1.0,
        buffer_m=0.0,
        across_m=0.0,
        splits=tuple((every[block % 3 != k], every[block % 3 == k]) for k in range(3)),
        buffered=0,
        words="",
    )
    spec = ProbeSpec(fractions=(0.05, 0.2, 1.0), repeats=2)
    asked = Problem(task="classification", targets=targets, classes=3, folds=folds, spec=spec)
    return asked, features


def test_all_labels_come_first_and_then_the_curve_from_few_labels_up() -> None:
    asked, features = problem()
    contenders = [
        Contender(name="embeddings", features=features, model="linear"),
        Contender(name="embeddings", features=features, model="knn"),
        Contender(name="none", features=features[:, :1], model="chance"),
    ]
    steps = list(grow(asked, contenders))
    seen = [[p.fraction for p in step.evaluations[0].curve] for step in steps]
    assert seen == [[1.0], [0.05, 1.0], [0.05, 0.2, 1.0]]
    assert [(step.measured, step.points) for step in steps] == [(1, 3), (2, 3), (3, 3)]
    assert all(len(step.evaluations[2].curve) == 1 for step in steps)
    for step in steps:
        assert step.evaluations[0].scores == steps[0].evaluations[0].scores
    alone = evaluate(asked, "embeddings", features, "linear")
    assert alone.curve == steps[-1].evaluations[0].curve
    np.testing.assert_array_equal(alone.predictions, steps[0].evaluations[0].predictions)


def test_who_has_seen_enough_waits_for_no_more_than_what_is_running(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A curve of hours that could not be left would be worse than none."""
    asked, features = problem()
    fitted: list[int] = []
    fit = parts.fit_predict

    def counting(*args: Any, **kwargs: Any) -> Any:
        fitted.append(1)
        return fit(*args, **kwargs)

    monkeypatch.setattr(parts, "fit_predict", counting)
    monkeypatch.setattr(parts, "usable_cores", lambda: 2)
    growing = grow(asked, [Contender(name="embeddings", features=features, model="knn")])
    next(growing)
    assert len(fitted) == 3
    next(growing)
    growing.close()
    assert len(fitted) <= 3 + 12


def test_threads_leave_the_filters_of_warnings_as_they_were(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each fit hides a warning of scikit-learn's about classes with fewer samples than folds."""
    monkeypatch.setattr(parts, "usable_cores", lambda: 4)
    asked, features = problem()
    asked.targets[:2] = 3
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        before = list(warnings.filters)
        evaluate(replace(asked, classes=4), "embeddings", features, "linear")
        assert list(warnings.filters) == before
    assert not seen


def test_many_cores_do_not_multiply_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of 64 fits of 10,000 x 768 would hold a few copies of it: 10 GB."""
    monkeypatch.setattr(parts, "usable_cores", lambda: 64)
    assert parts.fits_at_a_time(10_000 * 768) == 6
    assert parts.fits_at_a_time(2_000 * 192) == 64
    assert parts.fits_at_a_time(10**9) == 1


@pytest.fixture(scope="module")
def command(opened: OpenedRun, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return a command that probes waves of two classes, without its folder."""
    path = write_labels(
        opened,
        tmp_path_factory.mktemp("waves") / "waves.tif",
        lambda x, y: 1 + (np.sin(x / 1000) + np.cos(y / 900) > 0),
    )
    options = ["--no-baseline", "--fractions", "2,10,100", "--repeats", "2"]
    return ["probe", str(opened.run.path), "--labels", str(path), *options]


def test_the_number_of_cores_changes_no_byte(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for cores in (1, 3):
        monkeypatch.setattr(parts, "usable_cores", lambda cores=cores: cores)
        assert main([*command, "--to", str(tmp_path / f"{cores}")]) == 0
    for name in ("probe.json", "model.json", "curve.png", "confusion.png"):
        one, three = ((tmp_path / cores / name).read_bytes() for cores in ("1", "3"))
        assert one == three, name
    assert json.loads((tmp_path / "1" / "probe.json").read_text())["curve_complete"] is True


def _while_writing(monkeypatch: pytest.MonkeyPatch) -> None:
    write = jobs.write_curve
    asked: list[Path] = []

    def interrupted(*args: Any) -> Path:
        asked.append(args[1])
        if len(asked) == 1:
            raise KeyboardInterrupt
        return write(*args)

    monkeypatch.setattr(jobs, "_REDRAW_S", 0)
    monkeypatch.setattr(jobs, "write_curve", interrupted)


def _while_fitting(monkeypatch: pytest.MonkeyPatch) -> None:
    fit = parts.fit_predict

    def interrupting(*args: Any, **kwargs: Any) -> Any:
        if 50 < len(args[1][0]) < 500:  # the second point of the curve
            _thread.interrupt_main()
        return fit(*args, **kwargs)

    monkeypatch.setattr(parts, "fit_predict", interrupting)


@pytest.mark.parametrize("interrupt", [_while_writing, _while_fitting])
def test_ctrl_c_during_the_curve_keeps_all_that_is_done(
    interrupt: Callable[[pytest.MonkeyPatch], None],
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with monkeypatch.context() as patch:
        interrupt(patch)
        assert main([*command, "--to", str(tmp_path)]) == 130
    out, err = capsys.readouterr()
    assert "macro F1" in out
    assert "of 3 points" in err
    assert "--overwrite" in err
    report = json.loads((tmp_path / "probe.json").read_text())
    assert report["curve_complete"] is False
    assert len(report["results"][0]["curve"]) in (1, 2)
    assert report["results"][0]["curve"][-1]["fraction"] == 1
    names = {path.name for path in tmp_path.iterdir()}
    expected = {"probe.json", "model.json", "confusion.png", "curve.png", "map_utm32n.tif"}
    assert names == expected
    for name in ("confusion.png", "curve.png"):
        with Image.open(tmp_path / name) as picture:
            picture.load()
    assert main([*command, "--to", str(tmp_path), "--overwrite"]) == 0
    whole = json.loads((tmp_path / "probe.json").read_text())
    assert len(whole["results"][0]["curve"]) == 3
    assert whole["results"][0]["scores"] == report["results"][0]["scores"]


def test_without_a_curve_there_are_the_scores_alone(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([*command, "--no-curve", "--to", str(tmp_path)])
    assert "--fractions" in capsys.readouterr().err
    plain = command[: command.index("--fractions")]
    assert main([*plain, "--no-curve", "--to", str(tmp_path)]) == 0
    report = json.loads((tmp_path / "probe.json").read_text())
    assert report["curve_complete"] is True
    assert [len(result["curve"]) for result in report["results"]] == [1, 1, 1]
    assert not (tmp_path / "curve.png").exists(), "there is no curve to draw"


def test_ctrl_c_while_other_folds_are_scored_keeps_the_scores(
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A hundred divisions take minutes, and what they are added to is there before."""

    def interrupted(*_: Any) -> None:
        assert (tmp_path / "probe.json").exists()
        raise KeyboardInterrupt

    monkeypatch.setattr(compared, "seed_noise", interrupted)
    assert main([*command, "--seed-noise", "100", "--to", str(tmp_path)]) == 130
    out, err = capsys.readouterr()
    assert "macro F1" in out
    assert "(--seed-noise) are missing" in err
    report = json.loads((tmp_path / "probe.json").read_text())
    assert report["seed_noise"] is None
    assert report["results"][0]["scores"]["macro_f1"][0] > 0
    assert (tmp_path / "map_utm32n.tif").exists()
