from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys

import pytest

import thor_geo
from thor_geo.cli import similar, status, view
from thor_geo.cli.main import COMMANDS, ENVIRONMENT, main
from thor_geo.errors import RunDirectoryError
from thor_geo.pictures.quicklook import LAYERS
from thor_geo.results.tables import DRIVERS

HEAVY = {"torch", "lightning", "torchgeo", "ee", "rasterio", "numpy", "terratorch", "matplotlib"}


def loaded_by(code: str) -> set[str]:
    """Return the heavy packages that a fresh process has loaded after some code."""
    report = "import json, sys; print(json.dumps(sorted(m.split('.')[0] for m in sys.modules)))"
    out = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True
    )
    return HEAVY & set(json.loads(out.stdout.splitlines()[-1]))


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert loaded_by("import thor_geo") == set()


def test_help_is_there_before_anything_heavy_is_loaded() -> None:
    assert loaded_by("from thor_geo.cli.main import main; main(['--help'])") == set()


def test_the_model_needs_only_torch() -> None:
    code = "import thor_geo.models, thor_geo.transforms, thor_geo.specs.bands, thor_geo.errors"
    assert loaded_by(code) <= {"torch", "numpy"}


def test_every_public_name_can_be_had() -> None:
    for name in thor_geo.__all__:
        assert getattr(thor_geo, name).__name__ == name
    assert thor_geo.__version__.count(".") == 2
    with pytest.raises(AttributeError, match="no attribute 'thor'"):
        _ = thor_geo.thor


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert main([]) == 0
    out = capsys.readouterr().out
    for command in COMMANDS:
        assert f"\n  {command} " in out
    assert main(["--version"]) == 0
    assert thor_geo.__version__ in capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_every_command_has_an_example(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    # argparse ends the process, `thor_geo.cli.help` returns
    with contextlib.suppress(SystemExit):
        main([command, "--help"])
    out = capsys.readouterr().out
    assert out.startswith(f"usage: thor-geo {command} ")
    assert f"\n  thor-geo {command} " in out.replace("usage:", "", 1)


def test_an_unknown_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["embed"]) == 2
    assert "predict" in capsys.readouterr().err


def test_notes_of_an_error_are_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(args: list[str]) -> int:
        error = RunDirectoryError("The pixels are gone.")
        error.add_note("Use --no-baseline.")
        raise error

    monkeypatch.setattr(status, "run_status", fails)
    assert main(["status", "out"]) == 2
    assert capsys.readouterr().err.endswith("The pixels are gone.\nUse --no-baseline.\n")


def test_libraries_find_their_settings_unless_the_user_has_made_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ENVIRONMENT:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    main(["embed"])
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
    assert os.environ["THP_MEM_ALLOC_ENABLE"] == "1"


def test_a_closed_output_gives_no_traceback() -> None:
    code = (
        "import sys, thor_geo.cli.main as cli; cli.COMMANDS['status'] = ('builtins', 'print'); "
        "sys.exit(cli.main(['status', 'much']))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.close()  # as `head` does when it has enough
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_help_names_every_layer_and_kind_of_table() -> None:
    """The parsers repeat them, so that help need not load the modules that define them."""
    assert (*LAYERS, "all") == view.LAYER_CHOICES
    shown = similar.parser().format_help()
    assert all(suffix in shown for suffix in DRIVERS)
