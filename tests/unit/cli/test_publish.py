"""If one of these fails, the command lets people rely on an address that fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.file_server import serve_folder
from tests.support.synthetic_run import write_run
from thor_geo.cli.main import main as command
from thor_geo.ground.plan import Plan


@pytest.fixture
def finished(tmp_path: Path, plan: Plan) -> Path:
    """Return a finished run."""
    write_run(tmp_path / "oslo", plan)
    return tmp_path / "oslo"


def test_it_names_what_it_wrote_and_what_is_missing(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(["publish", str(finished)]) == 0
    said = capsys.readouterr().out
    for name in ("index.html", "collection.json", "items/utm32n.json", "items/utm33n.json"):
        assert f"written   {finished / name}" in said
    assert "no licence is stated: add --licence" in said
    assert command(["publish", str(finished)]) == 0
    assert f"as it was {finished / 'collection.json'}" in capsys.readouterr().out


def test_an_address_decides_the_exit_code(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serve_folder(finished) as server:
        asked = ["publish", str(finished), "--license", "CC0-1.0", "--url", server.url]
        assert command(asked) == 0
        assert f"{server.url}: CORS, ranges and content types are as" in capsys.readouterr().out
        server.origin = None
        assert command(asked) == 1
        said = capsys.readouterr().out
        assert "no Access-Control-Allow-Origin" in said
        assert said.count("Send `Access-Control-Allow-Origin: *`") == 1


def test_a_web_address_cannot_be_written_to(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serve_folder(finished) as server:
        assert command(["publish", server.url]) == 2
    assert "a web server cannot be written to" in capsys.readouterr().err


def test_a_folder_that_is_no_run_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(["publish", str(tmp_path)]) == 2
    assert "no run.json" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
