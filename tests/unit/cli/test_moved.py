"""If one of these fails, a config of before settings were grouped fails without a way forward."""

from __future__ import annotations

from pathlib import Path

import pytest

from thor_geo.cli.arguments import with_one_source
from thor_geo.cli.moved import MOVED, refuse_moved
from thor_geo.cli.settings import section_settings
from thor_geo.errors import ConfigError

FOLDER = "--data.class_path=thor_geo.datamodules.FolderDataModule"


@pytest.mark.parametrize("key", MOVED)
def test_every_key_that_has_moved_names_the_new_one(key: str, tmp_path: Path) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(f"data:\n  {key}: x\n")
    nested = tmp_path / "nested.yaml"
    nested.write_text(f"data:\n  init_args: {{{key}: x}}\n")
    for args in (
        [f"--data.{key}=x"],
        [f"--data.{key}", "x"],
        [f"--data.init_args.{key}=x"],
        ["-c", str(config)],
        ["-c", str(nested)],
    ):
        with pytest.raises(
            ConfigError, match=rf"`data\.{key}='x'`: moved to data\.{MOVED[key]}\. "
        ):
            refuse_moved(["predict", *args])
        refuse_moved(["predict", FOLDER, *args])  # another class may have such a key


def test_the_new_keys_exist_and_the_old_ones_do_not() -> None:
    keys = {row.key for row in section_settings("data")}
    assert set(MOVED.values()) <= keys
    assert set(MOVED).isdisjoint(keys)


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("--data.source=stac", r"moved to data\.stac\. Set data\.stac, e\.g\. data\.stac: \{url"),
        ("--data.source=emulator", r"moved to data\.emulator"),
        ("--data.bands=[]", r"Set data\.sentinel2 to null for Sentinel-1 alone"),
        ("--data.bands+=B4", r"moved to data\.sentinel2\.bands"),
        ("--data.stac_assets.B4=red", r"moved to data\.stac\.assets"),
    ],
)
def test_special_values_lead_to_what_replaces_them(argument: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        refuse_moved(["predict", argument])


@pytest.mark.parametrize(
    ("args", "replaced"),
    [
        (["-c", "gee.yaml"], []),
        (["-c", "gee.yaml", "--data.earthengine.project=p"], []),
        (["-c", "gee.yaml", "--data.stac.url=x"], ["earthengine"]),
        (["-c", "gee.yaml", "--data.emulator={}"], ["earthengine"]),
        (["-c", "gee.yaml", "--data.emulator", "{}"], ["earthengine"]),
        (["-c", "gee.yaml", "--data.init_args.stac.url=x"], ["earthengine"]),
        (["-c", "gee.yaml", "-c", "stac.yaml"], ["earthengine"]),
        (["-c", "gee.yaml", "-c", "stac.yaml", "--data.emulator={}"], ["earthengine", "stac"]),
        (["-c", "stac.yaml", "-c", "gee.yaml", "--data.earthengine.project=p"], ["stac"]),
        (["-c", "gee.yaml", "--data.stac=null"], []),
        # Two at once are a mistake, which the datamodule names.
        (["-c", "gee.yaml", "--data.emulator={}", "--data.stac.url=x"], ["earthengine"]),
        (["--data.emulator={}", "--data.stac.url=x"], []),
    ],
)
def test_a_source_replaces_the_one_of_an_earlier_config(
    args: list[str], replaced: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("gee.yaml").write_text("data:\n  earthengine: {project: p}\n  emulator: null\n")
    Path("stac.yaml").write_text("data:\n  stac: {url: x}\n")
    expected = [*args, *(f"--data.{name}=null" for name in replaced)]
    assert with_one_source(args) == expected


@pytest.mark.parametrize(
    ("args", "replaced"),
    [
        (["-c", "area.yaml", "--data.places.file=x.csv"], ["area"]),
        (["-c", "places.yaml", "--data.area={bbox: [1, 2, 3, 4]}"], ["places"]),
        (["-c", "places.yaml", "--data.places.id=plot"], []),
        (["-c", "places.yaml", "--data.places=null", "--data.area.file=x.gpkg"], []),
        (["-c", "area.yaml", "--data.area.file=a", "--data.places.file=x.csv"], []),
    ],
)
def test_places_replace_the_area_of_an_earlier_config_and_the_other_way_round(
    args: list[str], replaced: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("area.yaml").write_text("data:\n  area: {bbox: [1, 2, 3, 4]}\n")
    Path("places.yaml").write_text("data:\n  places: {file: survey.csv}\n")
    assert with_one_source(args) == [*args, *(f"--data.{name}=null" for name in replaced)]


def test_another_backbone_needs_another_class(tmp_path: Path) -> None:
    (config := tmp_path / "run.yaml").write_text("model: {backbone: {class_path: my.Encoder}}")
    for args in (["--model.backbone=my.Encoder"], ["-c", str(config)]):
        with pytest.raises(ConfigError, match=r"`model\.backbone=.*BackboneEmbeddingTask"):
            refuse_moved(["predict", *args])
        refuse_moved(["predict", "--model=thor_geo.tasks.BackboneEmbeddingTask", *args])
