"""The parser's prose, as the installed jsonargparse words it.

Each test makes a real mistake with the real parser. If one fails after an update, the pattern that
it names no longer fits: users would read the parser's own words instead of this project's.
"""

from __future__ import annotations

from pathlib import Path

import jsonargparse
import pytest

from thor_geo.cli import parser as module
from thor_geo.cli.parser import with_key
from thor_geo.cli.predict import make_cli
from thor_geo.cli.wording import PATTERNS, explain, key_of
from thor_geo.errors import ConfigError, LayoutError

QUICKSTART = str(Path(__file__).parents[3] / "configs" / "quickstart.yaml")

# A mistake for each way in which a pattern can match, and what must be read from the prose.
MISTAKES = {
    "key": (["--data.tile_size=big"], ["data", "tile_size"]),
    "class": (["--model=foo.Bar"], ["foo.Bar", "No module named"]),
    "not imported": (["--model=foo.Bar"], ["No module named"]),
    "not imported: attribute": (["--model=thor_geo.tasks.No"], ["has no attribute"]),
    "not imported: subclass": (
        ["--model=thor_geo.tasks.RunWriter"],
        ["does not correspond to a subclass of LightningModule"],
    ),
    "unknown: option": (["--data.tile_sise=1"], ["tile_sise"]),
    "unknown: group": (["-c", "group.yaml"], ["output", "poold"]),
    "unknown: subcommand": (["-c", "top.yaml"], ["modle"]),
    "unknown: argument": (["--colour=red"], ["--colour=red"]),
    "expected": (["--data.tile_size=big"], ["<class 'int'>", "big"]),
    "expected: choice": (["--model.pooling=no"], ["typing.Literal", "'grid_mean'", "no"]),
    "required": (["-c", "empty.yaml"], ["dir"]),
    "no file": (["-c", "nowhere.yaml"], ["File does not exist", "nowhere.yaml"]),
    "no file: folder": (["-c", "."], ["Path is not a file", "."]),
    "no value": (["--data.tile_size"], ["--data"]),
    "no group": (["--output=5"], ["Unable to load config"]),
    "no path": (["-c", "path.yaml"], ["Not of type Path: expected str"]),
    "class wanted": (["--model=5"], ["Expected a dot import path string: "]),
    "class wanted: group": (["--data.sentinel1=5"], ["Expected a dot import path string: "]),
}


@pytest.fixture
def prose(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Collect what the parser says, before it is put into words."""
    monkeypatch.chdir(tmp_path)
    Path("group.yaml").write_text("output: {poold: true}\n")
    Path("top.yaml").write_text("modle: {patch_size: 8}\n")
    Path("path.yaml").write_text("output: {dir: 2022}\n")
    Path("empty.yaml").write_text("data: {area: {bbox: [1, 2, 3, 4]}}\n")
    messages: list[str] = []

    def listen(message: str, keys: list[str], values: object) -> ConfigError | None:
        messages.append(message)
        return explain(message, keys, values)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "explain", listen)
    return messages


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_installed_parser_words_a_mistake_as_its_pattern_reads_it(
    mistake: str, prose: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    args, words = MISTAKES[mistake]
    base = [] if mistake == "required" else ["-c", QUICKSTART]
    line = ["predict", *base, *args]
    monkeypatch.setattr("sys.argv", ["thor-geo", *line])
    with pytest.raises(SystemExit):
        make_cli()
    name = mistake.partition(":")[0]
    (message,) = prose
    found = [
        group
        for match in PATTERNS[name].finditer(message)
        for group in (match[0], *match.groups())
        if group
    ]
    for word in words:
        assert any(word in group for group in found), (
            f"PATTERNS[{name!r}] of thor_geo/cli/wording.py does not read {word!r} from what "
            f"jsonargparse {jsonargparse.__version__} says:\n{message}"
        )


def test_every_pattern_has_a_mistake() -> None:
    assert {name.partition(":")[0] for name in MISTAKES} == set(PATTERNS)


@pytest.mark.parametrize("key", ["data.area", "data.sentinel1", "data.emulator"])
def test_a_group_is_a_mapping_to_a_user(
    key: str, prose: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["thor-geo", "predict", "-c", QUICKSTART, f"--{key}=5"])
    with pytest.raises(SystemExit):
        make_cli()
    assert f"`{key}=5`: wrong type or shape. Give a mapping of its keys" in capsys.readouterr().err


def test_what_is_not_understood_is_left_to_the_parsers_own_words() -> None:
    assert explain("Something new", [], {}) is None


@pytest.mark.parametrize(
    ("argument", "written", "key"),
    [
        ("image_size", [], "data.tile_size"),
        ("start", [], "data.start"),
        ("patch_size", [], "model.patch_size"),
        ("earthengine.service_account_file", [], "data.earthengine.service_account_file"),
        ("bbox", [], "data.area.bbox"),
        ("bands", ["data.sentinel2.bands"], "data.sentinel2.bands"),
        ("bands", ["data.bands"], "data.bands"),
        ("bands", [], None),
        ("paths", [], "data.paths"),
        ("data.start", [], None),
        ("model", [], None),
        ("trainer", [], None),
    ],
)
def test_an_argument_is_named_by_its_key(
    argument: str, written: list[str], key: str | None
) -> None:
    assert key_of(argument, dict.fromkeys(written, (1, ""))) == key


def test_of_two_settings_that_do_not_fit_the_one_that_was_set_is_named() -> None:
    error = LayoutError("image_size", 288, "it does not fit", "Take 280.")
    named = with_key(error, ["predict", "--model.patch_size=7"])
    assert str(named) == "`model.patch_size=7`: it does not fit. Take 280."
    both = with_key(error, ["predict", "--model.patch_size=7", "--data.tile_size=288"])
    assert str(both).startswith("`data.tile_size=288`")
