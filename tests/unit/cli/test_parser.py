from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from thor_geo.cli import help as pages
from thor_geo.cli.main import main
from thor_geo.cli.parser import user_values
from thor_geo.cli.settings import CLASSES, section_settings
from thor_geo.errors import ConfigError

QUICKSTART = Path(__file__).parents[3] / "configs" / "quickstart.yaml"

Refused = Callable[..., str]


@pytest.fixture
def refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Refused:
    """Return the message of a command line that is refused, after checking what all have."""
    monkeypatch.chdir(tmp_path)

    def run(*args: str, config: str | None = None) -> str:
        path = QUICKSTART
        if config is not None:
            path = tmp_path / "mine.yaml"
            path.write_text(config)
        line = ["predict", *([] if "-c" in args else ["-c", str(path)]), *args]
        monkeypatch.setattr(sys, "argv", ["thor-geo", *line])
        try:
            code = main(line)
        except SystemExit as leave:
            code = int(str(leave.code))
        out, message = capsys.readouterr()
        assert code == 2
        assert out == ""
        assert message.startswith("thor-geo: ")
        assert len(message.splitlines()) <= 4, message
        for noise in ("Traceback", "Namespace(", "NestedArg", "usage:", "Union", "<class"):
            assert noise not in message
        assert list(tmp_path.iterdir()) in ([], [tmp_path / "mine.yaml"])
        return message

    return run


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--data.tile_sise", "144"], ["data.tile_sise=144", "Did you mean `data.tile_size`"]),
        (["--data.tile_sise=144"], ["data.tile_sise=144", "Did you mean `data.tile_size`"]),
        (["--data.area.bx=[1,2,3,4]"], ["data.area.bx=[1, 2, 3, 4]", "`data.area.bbox`"]),
        (["--model.patchsize=8"], ["model.patchsize=8", "Did you mean `model.patch_size`"]),
        (["--trainer.devcies=1"], ["trainer.devcies=1", "Did you mean `trainer.devices`"]),
        (["--tile_size=96"], ["tile_size=96", "Did you mean `data.tile_size`"]),
        (["--colour=red"], ["colour='red'", "no such key", "predict --help"]),
        (["--aa=1", "--bb=2"], ["aa=1", "--bb=2", "predict --help"]),
        (["stray"], ["stray", "--key=value"]),
        (["--data.tile_size=big"], ["data.tile_size='big'", "an integer"]),
        (["--data.tile_size"], ["data.tile_size", "needs a value", "--data.tile_size="]),
        (["--data.area.bbox=[1,2]"], ["data.area.bbox=[1, 2]", "4 elements"]),
        (["--data.area={bbox: [1,2]}"], ["data.area.bbox=[1, 2]", "4 elements"]),
        (["--data.area=5"], ["data.area=5", "mapping"]),
        (["--data.mask=scl"], ["data.mask='scl'", "moved to data.sentinel2.mask"]),
        (
            ["--data.earthengine.projct=p"],
            ["data.earthengine.projct='p'", "Did you mean `data.earthengine.project`"],
        ),
        (["--data.sentinel2.maks=scl"], ["Did you mean `data.sentinel2.mask`"]),
        (["--data.emulator=null"], ["no source of composites", "data.earthengine, data.emulator"]),
        (["--data.emulator={}", "--data.stac.url=x"], ["set together with data.stac", "null"]),
        (["--data.stac.collection=x"], ["data.stac.url", "required"]),
        (["--data.sentinel2.cloudy_pct=abc"], ["data.sentinel2.cloudy_pct='abc'", "a number"]),
        (["--output.pooled=maybe"], ["output.pooled='maybe'", "true or false"]),
        (["--seed_everything=x"], ["seed_everything='x'", "an integer"]),
        (
            ["--data.sentinel2.mask", "clouds"],
            ["data.sentinel2.mask='clouds'", "Choose none, scl or cloud_score_plus"],
        ),
        (["--model.group_merge=max"], ["model.group_merge='max'", "mean, sum or concat"]),
        (
            ["--data.sentinel2.bands", "[B2,B99]"],
            ["BandError: `data.sentinel2.bands='B99'`", "Choose from: B4"],
        ),
        (["--data.start=June"], ["ConfigError: `data.start='June'`", "YYYY-MM-DD"]),
        (["--data.windows=[[2022-06-01,June]]"], ["`data.windows=", "end='June'", "YYYY-MM-DD"]),
        (
            ["--data.windows=[2022-06-01,2022-07-01]"],
            ["windows=", "a list of [start, end] pairs"],
        ),
        (["--data.windows=[[2022,2023]]"], ["data.windows=[[2022, 2023]]", "[start, end] pairs"]),
        (["--model=foo.Bar"], ["model.class_path='foo.Bar'", "No module named 'foo'"]),
        (
            ["--data.class_path=thor_geo.datamodules.No"],
            ["class_path='thor_geo.datamodules.No'", "attribute"],
        ),
        (["--model=thor_geo.tasks.RunWriter"], ["model.class_path=", "to a subclass of Lightning"]),
        (["-c", "nope.yaml"], ["nope.yaml", "no such file", "Correct the path"]),
        (["-c", "."], ["config=", "not a file", "Correct the path"]),
        (["--trainer.accelerator=nope"], ["trainer=", "'nope'", "leave it out"]),
        (["--trainer.devices=0"], ["trainer=", "'devices': '0'", "leave it out"]),
        (["--trainer.devices=x"], ["trainer=", "'devices': 'x'", "leave it out"]),
        (["--trainer.strategy=foo"], ["trainer=", "'strategy': 'foo'", "ddp", "leave it out"]),
    ],
    ids=lambda part: part[0] if isinstance(part, list) and part[0].startswith("-") else None,
)
def test_a_mistake_on_the_command_line(refused: Refused, args: list[str], words: list[str]) -> None:
    message = refused(*args)
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("  tile_size:", "  tile_sise:", ["data.tile_sise=288", "mine.yaml", "`data.tile_size`"]),
        ("  pooled: true", "  poold: true", ["output.poold=True", "mine.yaml", "`output.pooled`"]),
        ("{bbox:", "{bbbox:", ["data.area.bbbox=[11.94", "mine.yaml", "`data.area.bbox`"]),
        ("model: #", "modle: #", ["modle.", "mine.yaml", "Did you mean `model."]),
        ("tile_size: 288", "tile_size: big", ["data.tile_size='big'", "mine.yaml", "an integer"]),
        ("  end: 2022-09-01", "", ["data.end", "required", "--data.end="]),
        ("  dir: out/quickstart", "", ["output.dir", "required", "--output.dir="]),
        ("  tile_size: 288", "  tile_size: ]", ["mine.yaml", "line ", "column "]),
    ],
)
def test_a_mistake_in_a_config(refused: Refused, old: str, new: str, words: list[str]) -> None:
    text = QUICKSTART.read_text()
    assert text.count(old) == 1
    message = refused(config=text.replace(old, new))
    for word in words:
        assert word in message


@pytest.mark.parametrize("text", ["010", "-0_17", "[7, 010]"])
@pytest.mark.parametrize(
    "key", ["data.concurrency", "data.sentinel2.cloudy_pct", "trainer.devices"]
)
def test_a_number_that_begins_with_0_is_refused_wherever_it_stands(
    refused: Refused, key: str, text: str
) -> None:
    section, *_, name = key.split(".")
    inner = f"sentinel2: {{{name}: {text}}}" if "sentinel2" in key else f"{name}: {text}"
    messages = [
        refused(f"--{key}={text}"),
        refused(f"--{key}", text),
        refused(config=f"{section}:\n  {inner}\n"),
    ]
    for message in messages:
        assert f"`{key}=" in message
        assert "begins with 0" in message
    assert "mine.yaml" in messages[-1]


def test_both_numbers_that_a_leading_0_may_mean_are_named(refused: Refused) -> None:
    message = refused("--data={concurrency: 010}")
    assert "configs mean 8 by it (octal), the command line means 10. Write 10, or 8" in message
    # The remedy works: what is refused then is something else.
    assert "begins with 0" not in refused("--data={concurrency: 10, tile_size: big}")
    for same in ("007", "00", "089", "0.10", "2022-06-01"):
        assert "begins with 0" not in refused(f"--data.concurrency={same}", "--data.tile_size=big")


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("data.earthengine.project", "12345678"),
        ("data.earthengine.project", "no"),
        ("data.earthengine.project", "1e3"),
        ("data.earthengine.project", "010"),
        ("data.stac.collection", "2022"),
        ("data.start", "20220601"),
        ("output.dir", "2022"),
        ("trainer.max_time", "1:12:00:00"),
    ],
)
def test_text_that_yaml_reads_as_something_else_is_wanted_in_quotes(
    refused: Refused, key: str, text: str
) -> None:
    section, *groups, name = key.split(".")
    body = f"{name}: {text}"
    for group in reversed(groups):
        body = f"{group}: {{{body}}}"
    message = refused(config=f"{section}:\n  {body}\n")
    assert f"`{key}=" in message
    assert f'mine.yaml. Give text: put it in quotes, as in {name}: "{text}".' in message


def test_a_list_of_texts_is_wanted_in_quotes_too(refused: Refused) -> None:
    base = ("--data.emulator=null", "--data.stac.url=x")
    assert "put each in quotes" in refused(*base, "--data.stac.exclude=[no]")
    assert "Give a list" in refused(*base, "--data.stac.exclude=S2A")


def test_the_line_of_a_syntax_error_is_the_files(refused: Refused) -> None:
    assert "line 3," in refused(config="model:\n  patch_size: 8\n  seed: ]\n")


def test_a_config_that_is_not_a_mapping(refused: Refused) -> None:
    assert "not a mapping" in refused(config="hello")


@pytest.mark.parametrize("section", ["trainer", "model", "data", "output"])
def test_a_section_without_keys_is_named(refused: Refused, section: str) -> None:
    message = refused(config=f"{section}:\n  # devices: 1\n")
    for word in (f"`{section}=None`", "without keys", "mine.yaml", "delete the line"):
        assert word in message


def test_everything_required_is_named_at_once(refused: Refused) -> None:
    area = "data: {area: {point: [10.75, 59.91], buffer_m: 500}}"
    message = refused(config=f"output: {{dir: out}}\n{area}")
    assert "data.start" in message
    assert "data.end" in message
    assert "data.windows" in message


def test_an_unknown_key_of_another_class_gets_none_of_ours(refused: Refused) -> None:
    path = "--data.class_path=lightning.pytorch.demos.boring_classes.BoringDataModule"
    message = refused(path, "--data.tile_sise=1", config="output: {dir: out}")
    assert "data.tile_sise=1" in message
    assert "data.tile_size" not in message


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_needs_no_config_and_names_every_key(
    flag: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert main(["predict", flag]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 240
    assert max(map(len, lines)) <= 100
    first = {line.split()[0] for line in lines if line.startswith("  ")}
    for section, kind in CLASSES.items():
        assert {row.name for row in section_settings(section)} <= first
        assert f"{section}.*: {kind.rpartition('.')[2]}" in lines
    assert "data.sentinel2.*: SensorSpec" in lines
    assert "image_size" not in first
    assert any("143" in line for line in lines)


def test_help_fits_narrow_terminals() -> None:
    body = pages.page(width=60).partition("model.*")[2].partition("trainer.*")[0]
    assert max(map(len, body.splitlines())) <= 60


def test_the_parsers_own_pages_still_work(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for args, word in (
        (["-c", str(QUICKSTART), "--print_config"], "tile_size: 288"),
        (["--data.help", "thor_geo.datamodules.CompositeDataModule"], "--data.tile_size"),
    ):
        line = ["predict", *args]
        monkeypatch.setattr(sys, "argv", ["thor-geo", *line])
        with pytest.raises(SystemExit) as leave:
            main(line)
        assert leave.value.code == 0
        assert word in capsys.readouterr().out


# Each line repeats the one before nine times.
BILLION = "a0: &a0 [x]\n" + "".join(
    f"a{k + 1}: &a{k + 1} [{', '.join([f'*a{k}'] * 9)}]\n" for k in range(20)
)


@pytest.mark.parametrize(
    "text",
    [
        "a: &a {b: *a}",
        "a: &a [*a]",
        BILLION,
        "[" * 3000,
        "start: 2022-13-45",
        "n: " + "9" * 5000,
    ],
    ids=["itself", "list", "billion", "deep", "date", "digits"],
)
def test_a_config_that_cannot_be_walked_through_is_not_yaml(tmp_path: Path, text: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match="not YAML"):
        user_values(["predict", "-c", str(path)])
