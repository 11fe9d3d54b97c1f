"""If these fail, a setting on the command line means something else than it says."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml

from thor_geo.cli.arguments import with_nested_nulls
from thor_geo.cli.predict import make_cli, prepared

QUICKSTART = Path(__file__).parents[3] / "configs" / "quickstart.yaml"


@pytest.mark.parametrize("null", [["--data.stac.collection=null"], ["--data.stac.collection", "~"]])
def test_null_for_a_member_of_a_group_is_null_and_keeps_the_others(
    null: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--data.stac.url=catalog.json", "--data.stac.collection=l2a", *null]
    line = prepared(["predict", "-c", str(QUICKSTART), *given, "--print_config"])
    monkeypatch.setattr(sys, "argv", ["thor-geo", *line])
    with pytest.raises(SystemExit):
        make_cli()
    stac = yaml.safe_load(capsys.readouterr().out)["data"]["init_args"]["stac"]
    assert stac["collection"] is None
    assert stac["url"] == "catalog.json"


@pytest.mark.parametrize(
    "args",
    [
        ["--data.start=null"],
        ["--data.stac.url", "x", "--output.dir=null"],
        ["--data.emulator.archive="],
        ["--model.init_args.backbone=null"],
        ["--data.stac.collection"],
    ],
)
def test_other_arguments_stay_as_they_are(args: list[str]) -> None:
    assert with_nested_nulls(args) == args
