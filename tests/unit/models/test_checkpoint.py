"""Checkpoints: a file that does not fit must never leave a random model behind."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import safetensors.torch
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from torch import Tensor

from thor_geo.errors import CheckpointError, ConfigError
from thor_geo.models import THORBackbone, build_thor, weights_sha256

State = dict[str, Tensor]
MISSING = "blocks.3.attn.qkv.weight"


def build(ckpt: Path | None = None, model_key: str = "thor_v1_tiny", **kwargs: Any) -> THORBackbone:
    return build_thor(model_key, bands=["RED"], image_size=32, ckpt=ckpt, **kwargs)


@pytest.fixture(scope="module")
def state() -> State:
    return build(seed=5).encoder.state_dict()


def prefixed(state: State, prefix: str = "encoder.") -> State:
    return {prefix + key: value for key, value in state.items()}


def official(state: State) -> dict[str, object]:
    heads = {
        "encoder.decoder_embed.weight": torch.zeros(3),
        "encoder.decode_head.bias": torch.zeros(3),
        "encoder.pos_embed": torch.zeros(3),
        "encoder.ref_pos_embed": torch.zeros(3),
        "decoder.blocks.0.norm1.weight": torch.zeros(3),
        "loss.scale": torch.zeros(1),
    }
    return {"state_dict": {**prefixed(state), **heads}, "epoch": 3}


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt"])
def test_official_nesting_loads(state: State, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"thor{suffix}"
    torch.save(official(state), path)
    backbone = build(path)
    for key, value in backbone.encoder.state_dict().items():
        assert torch.equal(value, state[key]), key
    assert backbone.weights is not None
    assert (backbone.weights.kind, backbone.weights.location) == ("file", str(path))


def test_plain_mapping_without_nesting_or_prefix_loads(state: State, tmp_path: Path) -> None:
    for name, content in (("prefixed", prefixed(state)), ("bare", state)):
        path = tmp_path / f"{name}.pt"
        torch.save(content, path)
        assert torch.equal(build(path).encoder.norm.weight, state["norm.weight"])


def test_safetensors_load(state: State, tmp_path: Path) -> None:
    path = tmp_path / "thor.safetensors"
    safetensors.torch.save_file(prefixed(state), path)
    assert weights_sha256(build(path)) == weights_sha256(build(seed=5))


def test_another_prefix_can_be_named(state: State, tmp_path: Path) -> None:
    path = tmp_path / "ema.pt"
    torch.save(
        {"state_dict": {**prefixed(state, "ema."), **prefixed(build().encoder.state_dict())}}, path
    )
    backbone = build(path, model_ckpt_type="ema")
    assert weights_sha256(backbone) == weights_sha256(build(seed=5))


def test_slopes_and_group_codes_are_taken_from_the_file(state: State, tmp_path: Path) -> None:
    changed = {**state, "encoder_slopes": state["encoder_slopes"] * 2}
    changed["band_embed.group0"] = state["band_embed.group0"] + 1
    path = tmp_path / "thor.pt"
    torch.save(prefixed(changed), path)
    encoder = build(path).encoder
    assert torch.equal(encoder.encoder_slopes, changed["encoder_slopes"])
    assert torch.equal(encoder.state_dict()["band_embed.group0"], changed["band_embed.group0"])
    fixed = [name for name, p in encoder.named_parameters() if not p.requires_grad]
    assert len(fixed) == 10


def test_half_precision_files_load_as_float32(state: State, tmp_path: Path) -> None:
    path = tmp_path / "thor.pt"
    torch.save(prefixed({key: value.half() for key, value in state.items()}), path)
    assert {value.dtype for value in build(path).encoder.state_dict().values()} == {torch.float32}


def test_tensors_that_share_memory_in_the_file_do_not_in_the_model(
    state: State, tmp_path: Path
) -> None:
    first, second = "blocks.0.norm1.weight", "blocks.1.norm1.weight"
    flat = torch.cat([state["blocks.2.norm1.weight"], state["blocks.3.norm1.weight"]])
    torch.save(prefixed({**state, first: flat[:192], second: flat[:192]}), tmp_path / "shared.pt")
    encoder = build(tmp_path / "shared.pt").encoder
    left, right = encoder.get_parameter(first), encoder.get_parameter(second)
    assert torch.equal(left, right)
    assert left.untyped_storage().nbytes() == left.nbytes
    assert left.data_ptr() != right.data_ptr()
    assert left.requires_grad
    assert not encoder.get_parameter("band_embed.group0").requires_grad


def drop_one(state: State) -> State:
    return {key: value for key, value in state.items() if key != MISSING}


def drop_slopes(state: State) -> State:
    return {key: value for key, value in state.items() if key != "encoder_slopes"}


def drop_a_block(state: State) -> State:
    return {key: value for key, value in state.items() if not key.startswith("blocks.11.")}


def add_one(state: State) -> State:
    return {**state, "blocks.0.ls1.gamma": torch.zeros(192)}


def misshape(state: State) -> State:
    return {**state, "norm.weight": torch.zeros(7)}


def make_integers(state: State) -> State:
    return {**state, "norm.bias": torch.zeros(192, dtype=torch.int64)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop_one, r"Missing keys \(1\): blocks.3.attn.qkv.weight"),
        (drop_slopes, r"Missing keys \(1\): encoder_slopes"),
        (drop_a_block, r"Missing keys \(12\): blocks.11.*and 2 more.*11 blocks fit no THOR"),
        (
            add_one,
            r"Unexpected keys \(1\): blocks.0.ls1.gamma.*look like thor_v1_tiny.*ckpt_ignore",
        ),
        (misshape, r"wrong shape \(1\): norm.weight \(7,\) instead of \(192,\)"),
        (make_integers, r"not floating point \(1\): norm.bias"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_files_that_do_not_match_are_refused_by_name(
    state: State, tmp_path: Path, change: Callable[[State], State], message: str
) -> None:
    path = tmp_path / "thor.pt"
    torch.save({"state_dict": prefixed(change(state))}, path)
    with pytest.raises(CheckpointError, match=message):
        build(path)


def test_unexpected_keys_can_be_waved_through(state: State, tmp_path: Path) -> None:
    path = tmp_path / "thor.pt"
    torch.save(prefixed(add_one(state)), path)
    assert weights_sha256(build(path, ckpt_ignore=[r"blocks\.\d+\.ls1"])) == weights_sha256(
        build(seed=5)
    )


def test_the_file_of_another_variant_is_recognised(state: State, tmp_path: Path) -> None:
    path = tmp_path / "thor.pt"
    torch.save(prefixed(state), path)
    with pytest.raises(CheckpointError, match=r"wrong shape.*and .* more.*look like thor_v1_tiny"):
        build(path, "thor_v1_small")


@pytest.mark.parametrize("change", [drop_one, add_one], ids=lambda change: change.__name__)
def test_without_prefix_all_keys_must_match(
    state: State, tmp_path: Path, change: Callable[[State], State]
) -> None:
    path = tmp_path / "thor.pt"
    torch.save(change(state), path)
    with pytest.raises(CheckpointError, match=r"no key starts with 'encoder.'.*band_embed, blocks"):
        build(path)


def test_another_models_file_is_refused_with_its_keys(tmp_path: Path) -> None:
    path = tmp_path / "resnet.pt"
    torch.save({"layer1.0.conv1.weight": torch.zeros(1), "fc.bias": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match=r"Prefixes in the file: fc, layer1.*conv1.weight"):
        build(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nowhere.pt.*no such file"):
        build(tmp_path / "nowhere.pt")


class Bomb:
    """Runs code when unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("exploded",)


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {}, "bomb": Bomb()}, "bomb.pt")
    with pytest.raises(CheckpointError, match="could run code"):
        build(Path("bomb.pt"))
    assert not Path("exploded").exists()


def bare(path: Path) -> None:
    path.write_bytes(pickle.dumps(Bomb()))


def before_zip(path: Path) -> None:
    torch.save({"encoder.a": Bomb()}, path, _use_new_zipfile_serialization=False)


def nested(path: Path) -> None:
    torch.save({"state_dict": {"encoder.norm.weight": [Bomb()]}}, path)


def in_the_protocol_list(path: Path) -> None:
    # the old format is several pickles, one after the other
    path.write_bytes(pickle.dumps(Bomb(), protocol=2) * 4)


@pytest.mark.parametrize("suffix", [".pt", ".ckpt", ".bin", ".safetensors"])
@pytest.mark.parametrize("write", [bare, before_zip, nested, in_the_protocol_list])
def test_code_is_not_run_however_it_is_wrapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path], None], suffix: str
) -> None:
    monkeypatch.chdir(tmp_path)
    # what a user may have set for the sake of another project
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    path = tmp_path / f"bomb{suffix}"
    write(path)
    with pytest.raises(CheckpointError, match=f"bomb{suffix}"):
        build(path)
    assert not Path("exploded").exists()


@pytest.mark.parametrize("name", ["thor.pt", "thor.safetensors"])
def test_damaged_files(tmp_path: Path, name: str, state: State) -> None:
    path = tmp_path / name
    if path.suffix == ".pt":
        torch.save(prefixed(state), path)
    else:
        safetensors.torch.save_file(prefixed(state), path)
    path.write_bytes(path.read_bytes()[:1_000_000])
    with pytest.raises(CheckpointError, match=r"cannot be read.*download it again"):
        build(path)


@pytest.mark.parametrize("content", [[1, 2], {}, torch.zeros(3)], ids=["list", "empty", "tensor"])
def test_files_without_a_state_dict(tmp_path: Path, content: object) -> None:
    path = tmp_path / "thor.pt"
    torch.save(content, path)
    with pytest.raises(CheckpointError, match="expected a mapping"):
        build(path)


def test_other_things_than_tensors_are_refused(state: State, tmp_path: Path) -> None:
    path = tmp_path / "thor.pt"
    torch.save({**prefixed(state), "encoder.version": 3}, path)
    with pytest.raises(CheckpointError, match=r"'version' is a int.*ckpt_ignore"):
        build(path)


def test_download(state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "thor_v1_vit_tiny.pt"
    torch.save(official(state), path)
    asked: list[tuple[str, str]] = []

    def fake(repo: str, file: str, *, local_files_only: bool = False) -> str:
        if local_files_only:
            raise LocalEntryNotFoundError("not in the cache")
        asked.append((repo, file))
        return str(path)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fake)
    backbone = build(pretrained=True)
    assert asked == [("FM4CS/THOR-1.0-tiny", "thor_v1_vit_tiny.pt")]
    assert weights_sha256(backbone) == weights_sha256(build(seed=5))
    assert backbone.weights is not None
    assert backbone.weights.location == "FM4CS/THOR-1.0-tiny/thor_v1_vit_tiny.pt"


def test_weights_in_the_cache_are_taken_without_a_request(
    state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def do_GET(self) -> None:
            self.do_HEAD()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as hub:
        threading.Thread(target=hub.serve_forever, daemon=True).start()
        monkeypatch.setattr(
            huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{hub.server_port}"
        )
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
        # What is not in the cache is asked for: the hub really is this one.
        with pytest.raises(CheckpointError, match="could not get"):
            build(pretrained=True)
        assert asked
        asked.clear()
        # As huggingface_hub lays its cache out.
        folder = tmp_path / "models--FM4CS--THOR-1.0-tiny"
        (folder / "refs").mkdir(parents=True)
        (folder / "refs" / "main").write_text("a" * 40)
        snapshot = folder / "snapshots" / ("a" * 40)
        snapshot.mkdir(parents=True)
        torch.save(official(state), snapshot / "thor_v1_vit_tiny.pt")
        assert weights_sha256(build(pretrained=True)) == weights_sha256(build(seed=5))
        hub.shutdown()
    assert asked == []


def test_ckpt_wins_over_the_download(
    state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(repo: str, file: str) -> str:
        raise AssertionError("downloaded in spite of ckpt")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    path = tmp_path / "thor.pt"
    torch.save(official(state), path)
    assert build(path, pretrained=True).weights is not None


def test_bad_settings_fail_before_any_download(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(repo: str, file: str) -> str:
        raise AssertionError("downloaded before the settings were checked")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    for name, bad, message in (
        ("patch_size", 17, "17 x 10 = 170"),
        ("merge", "median", "group_merge"),
        ("out_indices", [12], "out_indices"),
        ("strategy", "middle", "strategy"),
        ("model_key", "thor_v9", "model_key"),
        ("bands", ["CIRRUS"], "B10"),
    ):
        arguments: dict[str, Any] = {"model_key": "thor_v1_tiny", "bands": ["RED"], name: bad}
        with pytest.raises(ConfigError, match=message):
            build_thor(image_size=32, pretrained=True, **arguments)


def test_offline_error_names_repository_file_and_remedy(tmp_path: Path) -> None:
    # A process of its own: huggingface_hub reads the environment when it is imported.
    code = (
        "from thor_geo.models import build_thor\n"
        "from thor_geo.errors import CheckpointError\n"
        "try:\n"
        "    build_thor('thor_v1_base', bands=['RED'], image_size=32, pretrained=True)\n"
        "except CheckpointError as error:\n"
        "    print(error)\n"
    )
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    root = str(Path(__file__).parents[3])
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, cwd=root, capture_output=True, text=True, check=True
    )
    for word in ("FM4CS/THOR-1.0-base", "thor_v1_vit_base.pt", "`ckpt=`"):
        assert word in done.stdout


def test_importing_the_model_imports_nothing_heavy() -> None:
    code = (
        "import sys, thor_geo.models, thor_geo.transforms\n"
        "heavy = {'torchgeo', 'terratorch', 'lightning', 'rasterio', 'ee', 'timm', 'pandas',\n"
        "         'huggingface_hub', 'safetensors', 'geopandas', 'torchvision'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
