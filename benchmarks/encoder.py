"""The encoder on the CPU, against a literal one, a plain ViT and the machine.

`python -m benchmarks.encoder [--quick]`. Needs timm, which the extra `test` brings.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from benchmarks._encoder_process import CHANNELS, tile_layout, tiles
from benchmarks._encoder_processes import processes
from benchmarks._flops import encoder_flops
from benchmarks._literal import LiteralEncoder, relative_error
from benchmarks._products import ATTENTION, PRODUCTS, products_alone
from benchmarks._timing import Timing, compare
from benchmarks.report import Report, Row
from thor_geo.models import VARIANTS, THOREncoder, TokenLayout, Variant

_PATCHES = (16, 8)
_BATCHES = (1, 8, 32)

#: Forward passes of more than this are left out, unless the target is about them: they would take
#: one to four minutes each. The notes list what is left out.
_MOST_GFLOP = 4_000

#: A case is repeated until it has done about this much, but within the limits below.
_WORK_GFLOP = 300
_REPEATS = (1, 7)

#: Cases that the target is about are repeated until they have done this much.
_TARGET_GFLOP = 6_000

#: The target for base at batch 8, as a share of the sgemm's rate.
_SHARE = 0.9

#: THOR's own tolerance, for maximum and L2 error.
_TOLERANCE = 1e-5

#: Side of the square matrices of the sgemm.
_SGEMM = 4096


@dataclass(frozen=True, kw_only=True)
class Case:
    """One variant at one patch size and batch."""

    row: Variant
    patch: int
    batch: int

    @property
    def name(self) -> str:
        """How notes and faults call it."""
        return f"{self.row.size}, patch {self.patch}, batch {self.batch}"

    @property
    def gflop(self) -> float:
        """GFLOP of one forward pass."""
        return self.batch * encoder_flops(self.row, tile_layout(self.patch)).total / 1e9

    @property
    def target(self) -> bool:
        """Whether the target is about this case."""
        return self.row.size == "base" and self.batch == 8

    @property
    def floors(self) -> bool:
        """Whether the products alone are timed too."""
        return self.batch == 8

    @property
    def repeats(self) -> int:
        """How often it is timed."""
        low, high = _REPEATS
        work = _TARGET_GFLOP if self.target else _WORK_GFLOP
        return min(max(round(work / self.gflop), low), high)


@dataclass(frozen=True, kw_only=True)
class Encoders:
    """The alternatives for one variant and patch size, by name, ours first."""

    ours: THOREncoder
    calls: dict[str, Callable[[Tensor], Tensor]]

    @classmethod
    def of(cls, row: Variant, patch: int) -> Encoders:
        """Build them; ours and the literal one hold the same weights."""
        layout = tile_layout(patch)
        ours = THOREncoder(row, layout, seed=0).eval().requires_grad_(False)
        literal = LiteralEncoder(row, layout, ours.state_dict())
        calls = {"ours": ours, "literal": literal, "plain ViT": plain_vit(row, layout)}
        return cls(ours=ours, calls=calls)


def plain_vit(row: Variant, layout: TokenLayout) -> Callable[[Tensor], Tensor]:
    """Return timm's ViT with as many tokens, and neither bias nor groups.

    Its image is a rectangle of one group's patches; a call takes THOR's input for its batch size.
    """
    from timm.models.vision_transformer import VisionTransformer

    patch = layout.groups[0].patch_size
    height = max(k for k in range(1, 100) if layout.n_tokens % k == 0 and k * k <= layout.n_tokens)
    size = (height * patch, layout.n_tokens // height * patch)
    torch.manual_seed(0)
    vit = VisionTransformer(
        img_size=size,
        patch_size=patch,
        in_chans=len(CHANNELS),
        num_classes=0,
        global_pool="",
        embed_dim=row.embed_dim,
        depth=row.depth,
        num_heads=row.num_heads,
        class_token=False,
    )
    vit.eval().requires_grad_(False)
    images = torch.randn(max(_BATCHES), len(CHANNELS), *size)

    def call(x: Tensor) -> Tensor:
        out: Tensor = vit(images[: len(x)])
        return out

    return call


def sgemm() -> Callable[[], Tensor]:
    """Return the product of two large matrices, as a call."""
    a, b = torch.randn(2, _SGEMM, _SGEMM)
    out = torch.empty(_SGEMM, _SGEMM)
    return lambda: torch.mm(a, b, out=out)


def timed(case: Case, encoders: Encoders, machine: Callable[[], Tensor]) -> tuple[list[Row], float]:
    """Time a case.

    Returns:
        The rows, ours first and the sgemm last, and the error of ours against the literal encoder:
        of the outputs of the timed calls.
    """
    x = tiles(case.batch)
    outputs: dict[str, Tensor] = {}

    def run(name: str) -> Callable[[], None]:
        def call() -> None:
            outputs[name] = encoders.calls[name](x)

        return call

    calls: dict[str, Callable[[], object]] = {name: run(name) for name in encoders.calls}
    if case.floors:
        calls |= products_alone(encoders.ours, x)
    calls["sgemm"] = machine
    # The longest are warm enough: the same encoders' smaller batches came before.
    found = compare(calls, repeats=case.repeats, warm_up=int(case.gflop < _WORK_GFLOP / 2))
    error = relative_error(outputs["ours"], outputs["literal"])
    peak = 2 * _SGEMM**3 / 1e9 / found["sgemm"].median
    return [_row(case, name, found, peak) for name in calls], error


def _gflop(case: Case, name: str) -> float:
    flops = encoder_flops(case.row, tile_layout(case.patch))
    parts = {
        PRODUCTS: flops.linear + flops.attention,
        ATTENTION: flops.attention,
        "sgemm": 2 * _SGEMM**3 / case.batch,
    }
    return case.batch * parts.get(name, flops.total) / 1e9


def _row(case: Case, name: str, found: dict[str, Timing], peak: float) -> Row:
    timing = found[name]
    encoder = name != "sgemm"
    whole = name in ("ours", "literal", "plain ViT")
    rate = _gflop(case, name) / timing.median
    return {
        "variant": case.row.size,
        "patch": case.patch,
        "batch": case.batch,
        **timing.row(name, against=found["ours"] if encoder else None),
        "repeats": case.repeats,
        "tiles_s": case.batch / timing.median if whole else None,
        "gflop_s": rate,
        "of_sgemm": rate / peak,
    }


def rates(cases: Sequence[Case], left_out: Sequence[Case], *, quick: bool) -> Report:
    """Compare the rates of all cases."""
    report = Report(
        name="encoder",
        claim=(
            f"Base reaches {_SHARE:.0%} of a float32 sgemm's rate at batch 8, and every variant's "
            f"tokens are within {_TOLERANCE:g} of a literal implementation's."
        ),
        command="python -m benchmarks.encoder",
        quick=quick,
        notes=[
            "Seconds of a forward pass on a batch of tiles, 10 bands of 288 px, float32, random "
            "weights; ratio: its median over ours. Alternatives take turns.",
            "literal: one convolution for each channel, kernels resampled and bias built in every "
            "pass, on the same weights. plain ViT: timm's, same width, depth, heads and number of "
            f"tokens, no bias. sgemm: {_SGEMM} x {_SGEMM}, in turn with the others.",
            "gflop_s counts THOR's matrix products, for the plain ViT too (whose patch embedding "
            "differs by less than 1 % of all).",
            "its products alone: the blocks' matrix products and attention with its bias, in the "
            "same parts, without patch embedding, norms, GELU and residuals: the floor, batch 8 "
            "only. its attention alone: of that, PyTorch's attention with a bias.",
            f"Left out, more than {_MOST_GFLOP:,} GFLOP a pass: "
            f"{'; '.join(f'{c.name} ({c.gflop:,.0f})' for c in left_out) or 'nothing'}.",
            f"Threads: {torch.get_num_threads()}.",
        ],
    )
    worst = 0.0
    machine = sgemm()
    for group in _by_encoder(cases):
        encoders = Encoders.of(group[0].row, group[0].patch)
        one = tiles(1)
        # Right first: nothing is timed that is not equal.
        before = relative_error(encoders.calls["ours"](one), encoders.calls["literal"](one))
        _judge(report, f"{group[0].row.size}, patch {group[0].patch}, before timing", before)
        for case in group:
            rows, error = timed(case, encoders, machine)
            report.rows += rows
            _judge(report, case.name, error)
            worst = max(worst, before, error)
            share = rows[0]["of_sgemm"]
            if case.target and share < _SHARE:
                floor = next(row for row in rows if row["what"] == PRODUCTS)
                report.faults.append(
                    f"{case.name}: {share:.3f} of the sgemm's rate. Floor: its matrix products "
                    f"alone reach {floor['of_sgemm']:.3f}."
                )
            print(
                case.name,
                *(f"{row['what']} {row['median']:.3f} s" for row in rows),
                sep=", ",
                flush=True,
            )
    report.figures["largest error against the literal encoder"] = f"{worst:.1e}"
    return report


def _judge(report: Report, name: str, error: float) -> None:
    if not error <= _TOLERANCE:
        report.faults.append(f"{name}: error {error:.1e} against the literal encoder.")


def _by_encoder(cases: Sequence[Case]) -> Iterator[list[Case]]:
    for key in dict.fromkeys((case.row.size, case.patch) for case in cases):
        yield [case for case in cases if (case.row.size, case.patch) == key]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny alone, small batches; no JSON")
    quick = parser.parse_args(argv).quick
    keys = ["thor_v1_tiny"] if quick else list(VARIANTS)
    every = [
        Case(row=VARIANTS[key], patch=patch, batch=batch)
        for key in keys
        for patch in _PATCHES
        for batch in ((1, 8) if quick else _BATCHES)
    ]
    cases = [case for case in every if case.gflop <= _MOST_GFLOP or case.target]
    left_out = [case for case in every if case not in cases]
    with tempfile.TemporaryDirectory(prefix="thor-geo-encoder-") as name:
        codes = [report.finish() for report in processes(Path(name), quick=quick)]
    with torch.inference_mode():
        codes.append(rates(cases, left_out, quick=quick).finish())
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
