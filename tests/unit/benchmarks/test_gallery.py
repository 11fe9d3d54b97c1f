"""If one of these fails, the gallery shows a command that does not run or a picture of none."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.gallery import FOLDER, PAGE, PICTURES, blocks
from thor_geo.cli.main import main

ROOT = Path(__file__).parents[3]
COMMANDS = [
    line.removeprefix("thor-geo ")
    for block in blocks()
    for line in block.replace("\\\n", " ").splitlines()
    if line.startswith("thor-geo ")
]


class Parsed(Exception):  # noqa: N818 (no error: it ends a command where its work would begin)
    pass


def test_the_page_has_commands() -> None:
    assert len(COMMANDS) >= 8


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_taken(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    args = shlex.split(command)
    if args[0] == "predict":
        with pytest.raises(SystemExit) as ended:
            main([*args, "--print_config"])
        assert ended.value.code == 0
        return
    parse = argparse.ArgumentParser.parse_args

    def stop(parser: argparse.ArgumentParser, given: Sequence[str]) -> None:
        parse(parser, given)
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    with pytest.raises(Parsed):
        main(args)


def test_every_picture_is_made_by_the_script_and_small() -> None:
    shown = re.findall(r"\]\(images/gallery/(\w+)\.png\)", PAGE.read_text())
    stored = {path.stem: path for path in FOLDER.glob("*.png")}
    assert len(shown) == len(PICTURES)
    assert set(shown) == set(PICTURES) == set(stored)
    assert sum(path.stat().st_size for path in stored.values()) < 3_000_000
    for path in stored.values():
        with Image.open(path) as picture:
            picture.verify()
