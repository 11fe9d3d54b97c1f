"""If one of these fails, a program that opens a store takes what is no map for one, or ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import zarr

from tests.support.synthetic_run import DIMENSION, Data, write_run
from thor_geo.ground.plan import Plan
from thor_geo.runs import RunDirectory

WINDOWS = [("2022-06-01", "2022-07-01"), ("2022-07-01", "2022-09-01")]
PLACE = ("proj:", "spatial:", "grid_mapping")


@pytest.fixture(
    scope="module", params=["float32", "int8", "int8 in windows"], ids=lambda name: name.split()[-1]
)
def run(request: pytest.FixtureRequest, plan: Plan, tmp_path_factory: Any) -> RunDirectory:
    """Return a run of each kind, all of which lay out their stores by the same rules."""
    dtype, _, windows = request.param.partition(" in ")
    path: Path = tmp_path_factory.mktemp("rules") / "run"
    data = Data(plan, windows=WINDOWS) if windows else None
    return write_run(path, plan, only=0, dtype=dtype, data=data).run


def members(run: RunDirectory) -> dict[str, Any]:
    root = zarr.open_group(str(run.grid), mode="r", use_consolidated=False)
    return dict(root.members(max_depth=None))


def places(attributes: Any) -> list[str]:
    return [key for key in attributes if key.startswith(PLACE) and key != "grid_mapping_name"]


def test_only_maps_have_a_place_and_each_has_its_own(run: RunDirectory) -> None:
    maps = 0
    for name, member in members(run).items():
        attributes = dict(member.attrs)
        dimensions = getattr(getattr(member, "metadata", None), "dimension_names", None) or ()
        if tuple(dimensions[-2:]) != ("y", "x"):
            assert not places(attributes), name
            continue
        maps += 1
        assert attributes["grid_mapping"] == "spatial_ref", name
        assert attributes["spatial:dimensions"] == ["y", "x"]
        assert attributes["spatial:shape"] == list(member.shape[-2:])
        left, _, _, top = attributes["spatial:bbox"]
        assert attributes["spatial:transform"][2::3] == [left, top]
        assert {each["name"] for each in attributes["zarr_conventions"]} == {"proj", "spatial"}
        group = name.rsplit("/", 1)[0]
        for axis, size in zip(("y", "x"), member.shape[-2:], strict=True):
            assert members(run)[f"{group}/{axis}"].shape == (size,)
    assert maps >= 2


def test_what_is_no_map_has_one_dimension_at_most(run: RunDirectory) -> None:
    for name, member in members(run).items():
        if isinstance(member, zarr.Array) and member.ndim > 1:
            assert member.metadata.dimension_names[-2:] == ("y", "x"), name


def test_the_embeddings_name_what_belongs_to_them(run: RunDirectory) -> None:
    arrays = members(run)
    attributes = arrays["utm32n/embeddings"].attrs
    named = [*attributes["coordinates"].split(), attributes["grid_mapping"]]
    named += attributes.get("ancillary_variables", "").split()
    assert {f"utm32n/{name}" for name in named} <= arrays.keys()
    assert ("scale" in named) == ("utm32n/scale" in arrays)
    assert ("time_end" in named) == ("utm32n/time_end" in arrays)


def test_the_root_says_what_the_embeddings_are(run: RunDirectory) -> None:
    root = zarr.open_group(str(run.grid), mode="r")
    array = root["utm32n/embeddings"]
    assert root.attrs["geoemb:dimensions"] == DIMENSION == array.shape[-3]
    assert root.attrs["geoemb:data_type"] == str(array.dtype)
    assert root.attrs["geoemb:type"] == "chip"
    assert root.attrs["geoemb:chip_layout"]["chip_size"] == [48, 48]
    assert root.attrs["geoemb:build_version"]
    quantised = root.attrs.get("geoemb:quantization")
    assert (quantised is None) == ("scale" not in root["utm32n"])
    if quantised is not None:
        assert quantised["scale"]["array_name"] in root["utm32n"]
