"""Measured statistics: if one of these fails, a run is normalised by numbers of something else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from thor_geo.errors import ConfigError
from thor_geo.specs.bands import select_bands
from thor_geo.transforms import THORNormalize
from thor_geo.transforms.statistics import ChannelStatistics, Moments, Statistics

RED = ChannelStatistics(mean=0.1, std=0.05, pixels=7)
SWIR = ChannelStatistics(mean=0.2, std=0.25, pixels=9)
MEASURED = Statistics(channels={"S2:SWIR1": SWIR, "S2:Red": RED}, provenance={"area": "here"})


@pytest.mark.parametrize("parts", [1, 7, 250])
def test_one_pass_equals_numpy_over_everything(parts: int) -> None:
    # Deviations a millionth of the mean: what sums of squares would lose altogether.
    values = 1e6 + np.random.default_rng(1).normal(size=10_000)
    moments = Moments()
    for part in np.array_split(values, parts):
        moments.add(part)
        moments.add(part[:0])
    assert moments.count == 10_000
    assert moments.mean == pytest.approx(values.mean(), rel=1e-14)
    assert moments.std == pytest.approx(values.std(), rel=1e-9)


def test_equal_values_have_no_deviation() -> None:
    moments = Moments()
    assert (moments.count, moments.mean, moments.std) == (0, 0.0, 0.0)
    for length in (3, 1000, 7):
        moments.add(np.full(length, 1234.0))
    assert (moments.count, moments.mean, moments.std) == (1010, 1234.0, 0.0)


def test_the_file_gives_back_every_bit(tmp_path: Path) -> None:
    rows = {"S1:IW-VV": ChannelStatistics(mean=-12.1 / 3, std=1 / 3, pixels=10**13)}
    path = tmp_path / "new" / "folder" / "here.json"
    Statistics(channels=rows, provenance={"tiles": 3}).write(path)
    assert Statistics.read(path) == Statistics(channels=rows, provenance={"tiles": 3})
    assert [file.name for file in path.parent.iterdir()] == ["here.json"]


def test_bands_are_found_by_name_whatever_their_order() -> None:
    assert MEASURED.for_bands(select_bands(["RED", "SWIR_1"])) == ((0.1, 0.2), (0.05, 0.25))
    with pytest.raises(
        ConfigError, match=r"S2:Blue.*the file has S2:SWIR1, S2:Red.*thor-geo stats"
    ):
        MEASURED.for_bands(select_bands(["RED", "BLUE"]))
    flat = Statistics(channels={"S2:Red": ChannelStatistics(mean=0.1, std=0.0, pixels=5)})
    with pytest.raises(ConfigError, match=r"S2:Red.*cannot normalise"):
        flat.for_bands(select_bands(["RED"]))


def test_z_scores_are_by_what_was_measured() -> None:
    x = torch.tensor([[0, 1000, 10000], [0, 2000, 10000]], dtype=torch.int16)[:, None]
    transform = THORNormalize(["RED", "SWIR_1"], "dataset", statistics=MEASURED)
    want = [[(v / 10000 - 0.1) / 0.05 for v in (0, 1000, 10000)],
            [(v / 10000 - 0.2) / 0.25 for v in (0, 2000, 10000)]]  # fmt: skip
    np.testing.assert_allclose(transform(x)[:, 0].numpy(), want, atol=1e-5)
    settings = transform.settings()
    assert (settings["mean"], settings["std"]) == ([0.1, 0.2], [0.05, 0.25])


def written(tmp_path: Path, content: Any) -> Path:
    path = tmp_path / "file.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def with_row(row: Any) -> dict[str, Any]:
    return {"format": "thor-geo statistics 1", "channels": {"S2:Red": row}, "provenance": {}}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "not JSON"),
        ("[]", "format"),
        ({"format": "thor-geo statistics 2"}, "format"),
        ({"format": "thor-geo statistics 1", "channels": {}}, "no channels"),
        ({"format": "thor-geo statistics 1", "channels": {"a": {}}, "provenance": 3}, "channels"),
        (with_row({"mean": 1.0, "std": 1.0}), "S2:Red has no mean, std and pixels"),
        (with_row({"mean": "1", "std": 1.0, "pixels": 1}), "S2:Red has no mean"),
        (with_row({"mean": 1.0, "std": -1.0, "pixels": 1}), "S2:Red has no mean"),
        (with_row({"mean": True, "std": 1.0, "pixels": 1}), "S2:Red has no mean"),
        (with_row({"mean": 10**400, "std": 1.0, "pixels": 1}), "S2:Red"),
        (with_row([1, 2, 3]), "S2:Red has no mean"),
    ],
)
def test_another_file_is_refused(tmp_path: Path, content: Any, says: str) -> None:
    path = written(tmp_path, content)
    with pytest.raises(ConfigError, match=rf"statistics=.*file\.json.*{says}"):
        Statistics.read(path)


def test_a_missing_file_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"No such file.*thor-geo stats -c"):
        Statistics.read(tmp_path / "none.json")


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"`to=.*cannot be written"):
        MEASURED.write(tmp_path / "file" / "below.json")
