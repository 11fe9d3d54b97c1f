"""If this fails, a file for a bucket ends up in a folder named ``s3:`` on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from thor_geo.cli.main import EXIT_ERROR, main


@pytest.mark.parametrize(
    "args",
    [
        ["merge", "out/oslo", "--to", "s3://bucket/all.parquet"],
        ["export", "out/oslo", "--cog", "gs://bucket/maps"],
        ["view", "out/oslo", "--png", "s3://bucket/map.png"],
        ["probe", "out/oslo", "--target", "class", "--labels", "https://host/labels.gpkg"],
    ],
)
def test_what_is_made_from_a_run_lies_on_this_machine(
    args: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(args)
    assert ended.value.code == EXIT_ERROR
    assert f"{args[-1]!r} is an address, and this file" in capsys.readouterr().err
