"""The authors' own extension: the same numbers where it is installed, its place where it is not."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from thor_geo.errors import DependencyError, InputError
from thor_geo.models import THORBackbone
from thor_geo.models.official import INSTALL, MODULE, OfficialTHOR, require_official
from thor_geo.tasks import THOREmbeddingTask

pytest.importorskip(
    "terratorch", reason="terratorch is not installed: pip install 'thor-geo[terratorch]'"
)

from terratorch.registry import TERRATORCH_BACKBONE_REGISTRY

from thor_geo.terratorch import build_backbone

# Looked for before any test puts a stand-in there.
INSTALLED = find_spec(MODULE) is not None

BANDS = ["S2:Blue", "S2:Green", "S2:Red", "S2:SWIR1", "S1:IW-VV"]
CHOICES: list[dict[str, Any]] = [
    {},
    {"layers": [-1, 0, 7], "norm": True, "pooling": "group_mean"},
    {"group_merge": "concat", "pooling": "grid_mean"},
    {"patch_size": 16, "pooling": "max", "seed": 3},
]


def task(**kwargs: Any) -> THOREmbeddingTask:
    settings: dict[str, Any] = {"bands": BANDS, "image_size": 96, "patch_size": 8, **kwargs}
    made = THOREmbeddingTask("thor_v1_tiny", pretrained=False, **settings)
    made.configure_model()
    return made


def image() -> Tensor:
    return torch.randn(2, len(BANDS), 96, 96, generator=torch.Generator().manual_seed(5))


def compare(kwargs: dict[str, Any]) -> None:
    """Compare both implementations: weights bit by bit, outputs to float32 rounding."""
    ours, theirs = task(**kwargs), task(implementation="official", **kwargs)
    assert isinstance(ours.thor, THORBackbone)
    assert isinstance(theirs.thor, OfficialTHOR)
    assert ours.settings()["weights_sha256"] == theirs.settings()["weights_sha256"]
    with torch.inference_mode():
        for name, want in ours.embed(image()).items():
            got = theirs.embed(image())[name]
            assert got.shape == want.shape
            assert float((got - want).abs().max() / want.abs().max()) <= 1e-5, name
    assert ours.output_shapes() == theirs.output_shapes()


@pytest.mark.skipif(not INSTALLED, reason=f"{MODULE} is not installed: {INSTALL}")
@pytest.mark.parametrize("kwargs", CHOICES, ids=str)
def test_the_official_extension_gives_the_same_numbers(kwargs: dict[str, Any]) -> None:
    compare(kwargs)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Put this project's encoder where the extension would be; return what it is asked for."""
    asked: list[dict[str, Any]] = []

    class Wrapper(nn.Module):
        """Returns blocks in ascending order whatever the request's, as a loop over blocks does."""

        def __init__(self, **kwargs: Any) -> None:
            super().__init__()
            backbone = build_backbone("thor_v1_tiny", seed=99, **kwargs)
            self.model = backbone.encoder
            self.indices = sorted(backbone.out_indices)

        def forward(self, x: Tensor) -> list[Tensor]:
            return self.model.forward_features(x, self.indices)

    def thor_v1_tiny(**kwargs: Any) -> nn.Module:
        asked.append(dict(kwargs))
        assert kwargs.pop("pretrained") is False
        return Wrapper(**kwargs)

    monkeypatch.setitem(sys.modules, MODULE, ModuleType(MODULE))
    monkeypatch.setitem(TERRATORCH_BACKBONE_REGISTRY._registry, "thor_v1_tiny", thor_v1_tiny)
    return asked


@pytest.mark.skipif(INSTALLED, reason="the extension itself is compared")
@pytest.mark.parametrize("kwargs", CHOICES, ids=str)
def test_what_goes_in_and_out_of_the_extension(
    stand_in: list[dict[str, Any]], kwargs: dict[str, Any]
) -> None:
    compare(kwargs)
    (asked,) = stand_in
    assert asked["model_bands"] == ["BLUE", "GREEN", "RED", "SWIR_1", "VV"]
    assert asked["input_params"]["ground_covers"] == [960]
    assert asked["input_params"]["flexivit_patch_size_seqs"] == [kwargs.get("patch_size", 8)]
    assert asked["out_indices"] == sorted(asked["out_indices"])


@pytest.mark.skipif(INSTALLED, reason="the extension itself is compared")
def test_a_gsd_of_sentinel_1_goes_into_the_bands_name(stand_in: list[dict[str, Any]]) -> None:
    made = task(implementation="official", bands=["VV_60", "VH_60"], image_size=96, resolution=60)
    assert stand_in[0]["model_bands"] == ["IW_VV_60", "IW_VH_60"]
    with pytest.raises(InputError, match="96 x 96"):
        made.embed(torch.zeros(1, 2, 48, 48))  # the extension would enlarge it


@pytest.mark.skipif(INSTALLED, reason="the extension is installed")
def test_without_the_extension_the_constructor_says_how_to_install_it() -> None:
    with pytest.raises(DependencyError, match=r"implementation='official'.*pip install.*git\+"):
        THOREmbeddingTask("thor_v1_tiny", pretrained=False, implementation="official")


def test_it_is_looked_for_without_being_imported(tmp_path: Path, root: Path) -> None:
    # Its import replaces parts of timm for the whole process.
    package = tmp_path / MODULE
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('imported')")
    code = (
        "import sys\n"
        f"sys.path.insert(0, {str(tmp_path)!r})\n"
        "from thor_geo.tasks import THOREmbeddingTask\n"
        "THOREmbeddingTask('thor_v1_tiny', pretrained=False, implementation='official')\n"
        "import thor_geo.terratorch\n"
        f"assert {MODULE!r} not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.usefixtures("stand_in")
def test_a_module_in_its_place_counts_as_installed() -> None:
    require_official()


def test_an_extension_that_does_not_import_is_told(
    stand_in: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    # In `sys.modules`, None makes an import fail.
    made = THOREmbeddingTask("thor_v1_tiny", pretrained=False, implementation="official")
    monkeypatch.setitem(sys.modules, MODULE, None)
    monkeypatch.setattr("thor_geo.terratorch.require_official", lambda: None)
    with pytest.raises(DependencyError, match=r"cannot be imported.*pip install"):
        made.configure_model()
