"""If this fails, an environment variable of rs-embed is ignored, misread, or wins over a key."""

from __future__ import annotations

from pathlib import Path

import pytest

from thor_geo.errors import ConfigError
from thor_geo.specs.environment import VARIABLES, resolve, run_defaults


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in VARIABLES.values():
        monkeypatch.delenv(variable.name, raising=False)


def test_an_argument_comes_before_the_environment_and_that_before_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert (resolve("patch_size").value, resolve("patch_size").origin) == (16, "default")
    monkeypatch.setenv("RS_EMBED_THOR_PATCH_SIZE", "8")
    assert (resolve("patch_size").value, resolve("patch_size").origin) == (8, "environment")
    assert (resolve("patch_size", 4).value, resolve("patch_size", 4).origin) == (4, "argument")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("model", "thor_v1_tiny", "thor_v1_tiny"),
        ("ckpt", "~/w.pt", Path("~/w.pt").expanduser()),
        ("pretrained", "0", False),
        ("pretrained", "true", True),
        ("image_size", "192", 192),
        ("normalize", "raw", "none"),
        ("normalize", "unit_scale", "unit_scale"),
        ("group_merge", "concat", "concat"),
        ("fetch_workers", "3", 3),
    ],
)
def test_values_are_read(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str, value: object
) -> None:
    monkeypatch.setenv(VARIABLES[name].name, text)
    assert resolve(name).value == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pretrained", "maybe"),
        ("image_size", "0"),
        ("patch_size", "sixteen"),
        ("normalize", "zscore"),
        ("group_merge", "max"),
        ("fetch_workers", "-1"),
    ],
)
def test_nonsense_is_refused_and_the_variable_named(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str
) -> None:
    monkeypatch.setenv(VARIABLES[name].name, text)
    with pytest.raises(ConfigError, match=f"{VARIABLES[name].name}={text!r}"):
        resolve(name)
    with pytest.raises(ConfigError, match=VARIABLES[name].name):
        run_defaults()


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RS_EMBED_THOR_CKPT", "")
    assert resolve("ckpt").value is None
    assert run_defaults() == {"model": {}, "data": {}}


def test_runs_take_what_is_set_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RS_EMBED_THOR_PATCH_SIZE", "8")
    monkeypatch.setenv("RS_EMBED_THOR_IMG", "192")
    assert run_defaults() == {"model": {"patch_size": 8}, "data": {"tile_size": 192}}
