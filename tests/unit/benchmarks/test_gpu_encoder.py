"""If this fails, the GPU benchmark breaks on the GPU, or lets a wrong variant pass: CI has none."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks import gpu_encoder
from benchmarks.support import gpu_search
from benchmarks.support.attention import Mix, Way, geometry_error, ways
from benchmarks.support.flops import encoder_flops
from benchmarks.support.gpu_search import Limits, Search, Shape
from benchmarks.support.report import EXIT_FAULTS, EXIT_NO_GPU, Report
from benchmarks.support.timing import Timing
from thor_geo.models import THOREncoder, variant
from thor_geo.models.alibi import patch_centres

CPU = torch.device("cpu")
EAGER = Limits(executions=("eager",), batches=(1, 2), window=0.001, repeats=1)


@pytest.fixture
def shape() -> Shape:
    return gpu_encoder.shapes(["thor_v1_tiny"], 96, {16: 2})[0]


@pytest.fixture
def encoder(shape: Shape) -> THOREncoder:
    return THOREncoder(shape.variant, shape.layout).eval().requires_grad_(False).bfloat16()


def search(shape: Shape) -> Search:
    searched = Search(shape=shape, device=CPU, limits=EAGER, seconds=600)
    searched.run()
    return searched


@pytest.mark.parametrize(
    ("size", "patch", "gflop"),
    [("base", 16, 75.5), ("base", 8, 372.6), ("large", 16, 261.7), ("large", 8, 1237.4)],
)
def test_operations_of_a_tile(size: str, patch: int, gflop: float) -> None:
    shape = gpu_encoder.shapes([f"thor_v1_{size}"], 288, {patch: 1})[0]
    assert encoder_flops(shape.variant, shape.layout).total / 1e9 == pytest.approx(gflop, abs=0.05)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_every_way_is_right_and_the_fastest_is_chosen(shape: Shape, tmp_path: Path) -> None:
    searched = search(shape)
    tried = {trial.way for trial in searched.trials}
    assert tried == {"sdpa", "sdpa flash", "sdpa math", "flex", "flex table"}
    for trial in searched.trials:
        assert not trial.note
        assert trial.rate > 0
        assert trial.geometry is not None
        assert trial.geometry < 0.8
        assert trial.l2 is not None
        assert 0.002 < trial.l2 < 0.015, "bf16, and no worse than bf16"
    assert {trial.batch for trial in searched.trials} == {1, 2}
    assert searched.best is not None
    assert set(searched.parts) == {"linears", "attention"}

    rate = searched.best.rate * shape.flops / 0.25
    report = Report(name="gpu_encoder", claim="", command="", quick=True)
    gpu_encoder.judge(report, [searched], rate, quick=False)
    assert report.faults == ["thor_v1_tiny, patch 16: 25.0% of the measured matmul rate, not 60%"]
    (chosen,) = report.figures["fastest"]
    assert chosen["shape"] == "thor_v1_tiny, patch 16"
    assert chosen["share of matmul"] == pytest.approx(0.25)
    assert searched.best.timing is not None
    linears = searched.parts["linears"] / searched.best.timing.median
    assert chosen["linears"] == pytest.approx(linears)
    nested = {name: v for name, v in report.figures.items() if isinstance(v, (list, dict))}
    assert set(nested) == {"fastest"}
    assert isinstance(nested["fastest"], list), "a table, not a raw dict"
    assert chosen["attention"] == searched.best.way
    assert len({tuple(row) for row in report.rows}) == 1
    json.dumps(report.rows)
    assert report.finish(tmp_path) == EXIT_FAULTS
    assert not list(tmp_path.iterdir()), "the short form writes nothing"


def rounded_centres(encoder: THOREncoder) -> Mix:
    """Attend with patch centres in bf16, as SPEC 11.5 warns."""
    centres = patch_centres(encoder.layout).bfloat16()
    distance = (centres[:, None] - centres[None]).float().norm(dim=-1)
    bias = -encoder.encoder_slopes[:, None, None] * distance / encoder.layout.max_footprint
    return lambda q, k, v, _: torch.nn.functional.scaled_dot_product_attention(
        q, k, v, attn_mask=bias.to(q.dtype)
    )


def test_patch_centres_in_bf16_are_found_out() -> None:
    shape = gpu_encoder.shapes(["thor_v1_tiny"], 288, {8: 2})[0]
    encoder = THOREncoder(shape.variant, shape.layout).eval().requires_grad_(False).bfloat16()
    wrong = Way(name="rounded", mix=rounded_centres(encoder), rounds_bias=True)
    assert geometry_error(wrong, encoder, 13)[1] > 2
    assert geometry_error(ways(encoder)[0], encoder, 13)[1] < 1


def unscaled(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    return torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=1.0)


def unbiased(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    return torch.nn.functional.scaled_dot_product_attention(q, k, v)


def broken(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    raise RuntimeError("CUDA out of memory.\nTried to allocate 2 TiB.")


def breaking_later(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    if bool(q.any()):
        broken(q, k, v, bias)
    return torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)


@pytest.mark.parametrize(
    ("mix", "note", "faults"),
    [
        (unscaled, "WRONG: tokens, L2 error above 0.02", 1),
        (unbiased, "WRONG: distances, off by up to ", 1),
        (broken, "RuntimeError: CUDA out of memory.", 0),
        (breaking_later, "RuntimeError: CUDA out of memory.", 0),
    ],
)
def test_what_is_wrong_or_fails_is_told_and_not_timed(
    shape: Shape, mix: Mix, note: str, faults: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def two(encoder: THOREncoder) -> list[Way]:
        return [Way(name="bad", mix=mix, rounds_bias=True), ways(encoder)[0]]

    monkeypatch.setattr(gpu_search, "ways", two)
    searched = search(shape)
    bad = [trial for trial in searched.trials if trial.way == "bad"]
    assert [trial.note.startswith(note) for trial in bad] == [True]
    assert [trial.timing for trial in bad] == [None]
    assert searched.best is not None
    assert searched.best.way == "sdpa"
    report = Report(name="gpu_encoder", claim="", command="", quick=True)
    gpu_encoder.judge(report, [searched], 1.0, quick=True)
    assert len(report.faults) == faults


def test_out_of_time_is_told(shape: Shape) -> None:
    searched = Search(shape=shape, device=CPU, limits=EAGER, seconds=0)
    searched.run()
    report = Report(name="gpu_encoder", claim="", command="", quick=True)
    gpu_encoder.judge(report, [searched], 1.0, quick=False)
    assert report.faults == ["thor_v1_tiny, patch 16: no alternative ran"]
    assert "sdpa, eager" in report.notes[0]


def test_the_forward_pass_sends_nothing_from_the_host(encoder: THOREncoder, shape: Shape) -> None:
    """A CUDA graph cannot record a copy of an index list, nor a read of a value."""

    class Names(TorchDispatchMode):
        def __init__(self) -> None:
            super().__init__()
            self.names: set[str] = set()

        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            self.names.add(func.overloadpacket.__name__)
            return func(*args, **(kwargs or {}))

    x = torch.zeros(1, shape.layout.n_channels, 96, 96)
    with torch.no_grad():
        encoder(x)  # constants are made once
        with Names() as seen:
            encoder(x)
    assert "stack" in seen.names or "cat" in seen.names
    forbidden = {"index", "index_select", "lift_fresh", "_local_scalar_dense", "nonzero", "item"}
    assert not seen.names & forbidden


def test_torch_is_all_it_needs() -> None:
    script = """
import sys
blocked = "numpy lightning torchgeo terratorch rasterio ee geopandas shapely pyarrow zarr yaml"
for name in blocked.split():
    sys.modules[name] = None
import torch
from benchmarks import gpu_encoder
shape = gpu_encoder.shapes(["thor_v1_tiny"], 96, {16: 1})[0]
encoder = gpu_encoder.Search(shape=shape, device=torch.device("cpu"), limits=None, seconds=0)
assert torch.isfinite(encoder._reference(torch.zeros(1, 10, 96, 96))).all()
"""
    root = Path(gpu_encoder.__file__).parents[1]
    subprocess.run([sys.executable, "-c", script], check=True, cwd=root, timeout=120)


def test_without_a_gpu_it_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(SystemExit) as ended:
        gpu_encoder.main([])
    assert ended.value.code == EXIT_NO_GPU
    assert "--device cpu --quick" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        gpu_encoder.main(["--device", "cpu"])
    assert "add --quick" in capsys.readouterr().err


def test_rates_of_a_trial(shape: Shape) -> None:
    trial = gpu_search.Trial(way="sdpa", execution="eager", batch=8)
    assert trial.rate == 0
    trial.timing = Timing(seconds=(1.0, 2.0, 4.0))
    searched = gpu_encoder.row(shape, trial, 8.0 * shape.flops)
    assert searched["tiles/s"] == 4
    assert searched["% of matmul"] == 50
    assert searched["TFLOP/s"] == pytest.approx(
        4 * encoder_flops(variant("thor_v1_tiny"), shape.layout).total / 1e12
    )
