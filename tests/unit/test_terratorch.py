"""If one of these fails, a user whose TerraTorch is broken is sent to install it once more."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from thor_geo.errors import DependencyError

REMEDY = r"pip install 'thor-geo\[terratorch\]'"


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return a folder that modules are imported from first; TerraTorch is not loaded yet."""
    for name in list(sys.modules):
        if name.partition(".")[0] == "terratorch" or name == "thor_geo.terratorch":
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_a_missing_terratorch_is_called_missing(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Nowhere:
        """Finds no terratorch, as if it were not installed."""

        def find_spec(self, name: str, path: object = None, target: object = None) -> None:
            if name == "terratorch":
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(sys, "meta_path", [Nowhere(), *sys.meta_path])
    with pytest.raises(DependencyError, match=rf"terratorch is not installed.*{REMEDY}") as caught:
        importlib.import_module("thor_geo.terratorch")
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("import albumentations_that_is_missing", "ModuleNotFoundError: No module named 'albument"),
        (
            "raise RuntimeError('operator torchvision::nms does not exist')",
            "RuntimeError: operator",
        ),
    ],
)
def test_a_broken_terratorch_is_called_broken_and_why(fresh: Path, source: str, cause: str) -> None:
    (fresh / "terratorch").mkdir()
    (fresh / "terratorch" / "__init__.py").write_text(source)
    with pytest.raises(DependencyError, match=rf"cannot be imported \({cause}.*{REMEDY}") as caught:
        importlib.import_module("thor_geo.terratorch")
    assert type(caught.value.__cause__).__name__ in cause
