"""If these fail, a damaged config, archive, fault plan or checkpoint ends in a traceback."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import yaml
from hypothesis import strategies as st

from tests.support.fuzz_campaign import fuzz
from tests.support.fuzz_mutations import damaged, damaged_json
from thor_geo.cli.arguments import refuse_linked, with_whole_areas
from thor_geo.cli.parser import user_values
from thor_geo.emulator import Archive, FaultPlan, FaultRule, generate_archive
from thor_geo.emulator._faults import FaultCounter
from thor_geo.errors import CheckpointError
from thor_geo.models.checkpoint import load_state, read_file, select_encoder

FAULTS: list[Any] = [
    {
        "latency_s": 0.1,
        "rules": [
            {"status": 503, "nth": [2, 5], "message": "busy"},
            {"kind": "image:computePixels", "truncate": 0.5, "probability": 0.3, "seed": 1},
            {"headers": {"Retry-After": "1"}, "times": 2, "min_pixels": 100, "delay_s": 0.2},
        ],
    }
]
# Aliases that stand for a billion values, and for themselves.
BOMBS = [
    b"a: &a [x, x, x, x, x, x, x, x, x]\n"
    + b"".join(
        b"%c: &%c [%s]\n" % (k + 1, k + 1, b", ".join([b"*%c" % k] * 9)) for k in range(97, 117)
    ),
    b"a: &a {x: 1}\n"
    + b"".join(
        b"%c: &%c {%s}\n" % (k + 1, k + 1, b", ".join(b"k%d: *%c" % (n, k) for n in range(9)))
        for k in range(97, 117)
    ),
    b"data: &a {area: *a}\n",
    b"data: &a [*a]\n",
    b"[" * 3000,
    b"{a: " * 3000,
]


def test_fault_plans(tmp_path: Path) -> None:
    path = tmp_path / "faults.json"

    def check(content: bytes) -> None:
        path.write_bytes(content)
        plan = FaultPlan.from_json(path)
        assert all(isinstance(rule, FaultRule) for rule in plan.rules)
        # what is taken must work when requests come
        counter = FaultCounter(plan)
        for k in range(4):
            rule = counter.next("image:computePixels", b"%d" % k, 500)
            if rule is not None:
                assert rule.message.replace("{project}", "p") is not None
                assert all(isinstance(x, str) for pair in rule.headers.items() for x in pair)
                assert rule.delay_s >= 0
        path.write_text(plan.to_json())
        assert FaultPlan.from_json(path) == plan

    check(json.dumps(FAULTS[0]).encode())
    texts = [json.dumps(one, indent=1).encode() for one in FAULTS]
    fuzz("fault plan", damaged_json(FAULTS) | damaged(texts), check)


def test_archive_indices(tmp_path: Path) -> None:
    folder = generate_archive(tmp_path / "scenes", size_m=1200)
    index = folder / "index.json"
    seed = index.read_bytes()
    outside = tmp_path / "outside.tif"
    outside.write_bytes(b"not the archive's")

    def check(content: bytes) -> None:
        index.write_bytes(content)
        archive = Archive.open(folder)
        assert all(file.parent == folder for file in archive.files)
        for scene in archive.as_collection("A/B"):
            assert isinstance(scene.properties["system:index"], str)
            assert isinstance(scene.properties["system:time_start"], int | float)

    check(seed)
    fuzz("emulator archive index", damaged_json([json.loads(seed)]) | damaged([seed]), check)


def test_configs(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    seeds = [(root / "configs" / name).read_bytes() for name in ("quickstart.yaml", "gee.yaml")]

    def check(content: bytes) -> None:
        path.write_bytes(content)
        arguments = with_whole_areas(
            ["predict", "-c", str(path), "--data.area={bbox: [1, 2, 3, 4]}"]
        )
        keys = user_values(arguments)
        assert all(isinstance(key, str) for key in keys)
        refuse_linked(arguments)

    check(seeds[0])
    values = [yaml.load(seed, yaml.BaseLoader) for seed in seeds]
    strategy = damaged(seeds) | damaged_json(values) | st.sampled_from(BOMBS) | damaged(BOMBS)
    fuzz("config, YAML", strategy, check)


class Small(torch.nn.Module):
    """Stands for an encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = torch.nn.LayerNorm(4)
        self.head = torch.nn.Linear(4, 3)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_checkpoints(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"thor{suffix}"
    model = Small()
    state = {f"encoder.{key}": value for key, value in model.state_dict().items()}
    if suffix == ".pt":
        buffer = io.BytesIO()
        torch.save({"state_dict": state, "epoch": 3}, buffer)
        old = io.BytesIO()
        torch.save(state, old, _use_new_zipfile_serialization=False)
        seeds = [buffer.getvalue(), old.getvalue()]
    else:
        seeds = [safetensors.torch.save(state)]

    def check(content: bytes) -> None:
        path.write_bytes(content)
        other = Small()
        loaded = select_encoder(read_file(path), other.state_dict())
        load_state(other, loaded, source=str(path))
        for key, value in other.state_dict().items():
            assert value.shape == model.state_dict()[key].shape

    for seed in seeds:
        check(seed)
    fuzz(f"checkpoint, {suffix}", damaged(seeds), check)


def test_a_checkpoint_with_nothing_in_it_is_refused(tmp_path: Path) -> None:
    for name in ("a.pt", "a.safetensors"):
        (tmp_path / name).write_bytes(b"")
        with pytest.raises(CheckpointError):
            read_file(tmp_path / name)
