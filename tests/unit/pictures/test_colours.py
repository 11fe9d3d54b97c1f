"""If one of these fails, two pictures of one run show the same embedding in two colours."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.support.synthetic_run import DIMENSION, embed, write_run
from thor_geo.checks.validate import check_run
from thor_geo.errors import RunDirectoryError
from thor_geo.ground.plan import Plan
from thor_geo.pictures.colours import fit_colours, load_or_fit_colours
from thor_geo.runs import RunDirectory
from thor_geo.runs.opened_run import read_run


def vectors(plan: Plan) -> np.ndarray:
    return np.stack([embed(plan.tile(k))[0] for k in range(len(plan))])


def test_the_file_gives_the_colours_that_were_fitted(tmp_path: Path, plan: Plan) -> None:
    run = write_run(tmp_path, plan, quicklook=True).run
    assert run.colours.exists()
    read, fitted = load_or_fit_colours(run, plan), fit_colours(run, plan)
    assert list(read) == list(fitted) == [DIMENSION]
    for name in ("mean", "axes", "low", "high", "share"):
        np.testing.assert_array_equal(
            getattr(read[DIMENSION], name), getattr(fitted[DIMENSION], name)
        )
    sample = vectors(plan)
    np.testing.assert_array_equal(read[DIMENSION](sample), fitted[DIMENSION](sample))


def test_a_run_drawn_twice_or_in_two_goes_has_the_same_file(tmp_path: Path, plan: Plan) -> None:
    whole = write_run(tmp_path / "whole", plan, quicklook=True).run
    write_run(tmp_path / "parts", plan, quicklook=True, failed={3: "lost"}, only=1)
    assert not (tmp_path / "parts" / "colours.json").exists(), "of a part they would be others"
    write_run(tmp_path / "parts", plan, quicklook=True, failed={3: "lost"})
    parts = write_run(tmp_path / "parts", plan, quicklook=True).run
    assert parts.colours.read_bytes() == whole.colours.read_bytes()


def test_looking_at_a_run_writes_nothing(tmp_path: Path, plan: Plan) -> None:
    run = write_run(tmp_path, plan, only=1).run
    before = sorted(path.name for path in tmp_path.iterdir())
    assert list(load_or_fit_colours(run, plan)) == [DIMENSION]
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_run_without_an_embedding_has_no_colours(tmp_path: Path, plan: Plan) -> None:
    run = write_run(tmp_path, plan, quicklook=True, empty=tuple(range(len(plan)))).run
    assert load_or_fit_colours(run, plan) == {}


@pytest.fixture(scope="module")
def drawn(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a whole run with a picture. Do not change it."""
    path = tmp_path_factory.mktemp("drawn") / "run"
    write_run(path, plan, quicklook=True)
    assert check_run(read_run(path)).faults == []
    return path


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-20],
        lambda text: text.replace('"fingerprint": "', '"fingerprint": "0'),
        lambda text: text.replace('"mean"', '"median"'),
        lambda text: json.dumps({**json.loads(text), "colours": {"7": {}}}),
        lambda text: "[]",
        lambda text: text.replace('"5"', '"6"'),
    ],
)
def test_a_damaged_file_is_named_and_found(
    tmp_path: Path, plan: Plan, drawn: Path, damage: Callable[[str], str]
) -> None:
    run = RunDirectory(shutil.copytree(drawn, tmp_path, dirs_exist_ok=True))
    run.colours.write_text(damage(run.colours.read_text()))
    with pytest.raises(RunDirectoryError, match=r"colours.json` cannot be used.*Delete it"):
        load_or_fit_colours(run, plan)
    (fault,) = check_run(read_run(tmp_path)).faults
    assert (fault.kind, fault.file) == ("run", "colours.json")
    run.colours.unlink()
    assert load_or_fit_colours(RunDirectory(tmp_path), plan)
