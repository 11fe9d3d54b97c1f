"""The encoder on a CPU, against a literal THOR, a plain ViT and the machine's own matrix products.

Claims (docs/performance.md, "Tiles per second"): base reaches 90 % of a float32 sgemm's rate at
batch 8, and every variant's tokens are within 1e-5 of a literal implementation's. As fast as a
plain ViT of the same size means that THOR's own parts cost nothing while the model is frozen.

    python -m benchmarks.encoder            # 13 minutes on 2 cores
    python -m benchmarks.encoder --quick    # tiny alone: half a minute

Needs timm, which the extra `test` brings.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from benchmarks.support.flops import encoder_flops
from benchmarks.support.literal import LiteralEncoder, relative_error
from benchmarks.support.report import Report, Row, parser
from benchmarks.support.timing import compare
from thor_geo.models import VARIANTS, THOREncoder, TokenLayout, Variant, token_layout
from thor_geo.specs.bands import S2_DEFAULT_BANDS, bands_from_ee

#: Side of a tile in pixels, and its channels: Sentinel-2's ten at 10 and 20 m.
SIDE = 288
CHANNELS = tuple(band.channel for band in bands_from_ee(S2_DEFAULT_BANDS))

_PATCHES, _BATCHES = (16, 8), (1, 8, 32)

#: Forward passes of more than this are left out, unless the target is about them: they would take
#: one to four minutes each.
_MOST_GFLOP = 4_000

#: A case is repeated until it has done about this much (the target's cases: the second figure), at
#: least once and at most so many times.
_WORK_GFLOP, _TARGET_GFLOP, _MOST_REPEATS = 300, 6_000, 7

#: The target for base at batch 8, as a share of the sgemm's rate.
_SHARE = 0.9

#: Allowed error against the literal encoder, maximum and L2.
_TOLERANCE = 1e-5

#: Side of the square matrices of the sgemm.
_SGEMM = 4096

Calls = dict[str, Callable[[Tensor], Tensor]]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One variant at one patch size and batch."""

    variant: Variant
    patch: int
    batch: int

    @property
    def name(self) -> str:
        """Its name in notes and faults."""
        return f"{self.variant.size}, patch {self.patch}, batch {self.batch}"

    @property
    def gflop(self) -> float:
        """GFLOP of one forward pass."""
        return self.batch * encoder_flops(self.variant, tile_layout(self.patch)).total / 1e9

    @property
    def target(self) -> bool:
        """Whether the target is about this case."""
        return self.variant.size == "base" and self.batch == 8

    @property
    def repeats(self) -> int:
        """How often it is timed."""
        work = _TARGET_GFLOP if self.target else _WORK_GFLOP
        return min(max(round(work / self.gflop), 1), _MOST_REPEATS)


def tile_layout(patch: int) -> TokenLayout:
    """Return the layout of a tile of 288 px with ten bands."""
    return token_layout(bands=CHANNELS, image_size=SIDE, patch_size=patch)


def tiles(batch: int) -> Tensor:
    """Return normalised input (batch, 10, 288, 288): the same for the same batch."""
    generator = torch.Generator().manual_seed(batch)
    return torch.randn(batch, len(CHANNELS), SIDE, SIDE, generator=generator)


def encoders(variant: Variant, patch: int) -> Calls:
    """Build the alternatives, ours first; ours and the literal one hold the same weights."""
    layout = tile_layout(patch)
    ours = THOREncoder(variant, layout, seed=0).eval().requires_grad_(False)
    literal = LiteralEncoder(variant, layout, ours.state_dict())
    return {"ours": ours, "literal": literal, "plain ViT": plain_vit(variant, layout)}


def plain_vit(variant: Variant, layout: TokenLayout) -> Callable[[Tensor], Tensor]:
    """Return timm's ViT with as many tokens, and neither bias nor groups.

    Its image is a rectangle of one group's patches; a call only takes the batch size from THOR's
    input.
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
        embed_dim=variant.embed_dim,
        depth=variant.depth,
        num_heads=variant.num_heads,
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


def timed(case: Case, calls: Calls, product: Callable[[], Tensor]) -> tuple[list[Row], float]:
    """Time a case.

    Returns:
        The rows, ours first and the sgemm last, and the error of the timed outputs of ours against
        the literal encoder's.
    """
    x = tiles(case.batch)
    outputs: dict[str, Tensor] = {}

    def run(name: str) -> Callable[[], None]:
        def call() -> None:
            outputs[name] = calls[name](x)

        return call

    # The longest are warm enough: the same encoders' smaller batches came before.
    timings = compare(
        {**{name: run(name) for name in calls}, "sgemm": product},
        repeats=case.repeats,
        warm_up=int(case.gflop < _WORK_GFLOP / 2),
    )
    sgemm_gflop = 2 * _SGEMM**3 / 1e9
    peak = sgemm_gflop / timings["sgemm"].median
    rows = []
    for name, timing in timings.items():
        encoder = name != "sgemm"
        rate = (case.gflop if encoder else sgemm_gflop) / timing.median
        rows.append(
            {
                "variant": case.variant.size,
                "patch": case.patch,
                "batch": case.batch,
                **timing.row(name, against=timings["ours"] if encoder else None),
                "repeats": case.repeats,
                "tiles_s": case.batch / timing.median if encoder else None,
                "gflop_s": rate,
                "of_sgemm": rate / peak,
            }
        )
    return rows, relative_error(outputs["ours"], outputs["literal"])


def rates(cases: Sequence[Case], left_out: Sequence[Case], *, quick: bool) -> Report:
    """Compare the rates of all cases."""
    report = Report(
        name="encoder",
        claim=f"Base reaches {_SHARE:.0%} of a float32 sgemm's rate at batch 8, and every "
        f"variant's tokens are within {_TOLERANCE:g} of a literal implementation's.",
        quick=quick,
        notes=[
            "Seconds of a forward pass on a batch of tiles, 10 bands of 288 px, float32, random "
            "weights; ratio: its median over ours. Alternatives take turns.",
            "literal: one convolution for each channel, kernels resampled and bias built in every "
            "pass, on the same weights. plain ViT: timm's, same width, depth, heads and number of "
            f"tokens, no bias. sgemm: {_SGEMM} x {_SGEMM}, in turn with the others.",
            "gflop_s counts THOR's matrix products, for the plain ViT too (whose patch embedding "
            "differs by less than 1 % of all).",
            f"Left out, more than {_MOST_GFLOP:,} GFLOP a pass: "
            f"{'; '.join(f'{c.name} ({c.gflop:,.0f})' for c in left_out) or 'nothing'}.",
            f"Threads: {torch.get_num_threads()}.",
        ],
    )
    errors = []
    product = sgemm()
    for (size, patch), group in groupby(cases, lambda case: (case.variant.size, case.patch)):
        calls = encoders(VARIANTS[f"thor_v1_{size}"], patch)
        # Nothing is timed that is not equal.
        single = tiles(1)
        errors.append(relative_error(calls["ours"](single), calls["literal"](single)))
        _judge(report, f"{size}, patch {patch}, before timing", errors[-1])
        for case in group:
            rows, error = timed(case, calls, product)
            for row in rows:
                report.add(row)
            errors.append(error)
            _judge(report, case.name, error)
            if case.target and rows[0]["of_sgemm"] < _SHARE:
                share = rows[0]["of_sgemm"]
                report.faults.append(f"{case.name}: {share:.3f} of the sgemm's rate.")
    report.figures["largest error against the literal encoder"] = f"{max(errors):.1e}"
    return report


def _judge(report: Report, name: str, error: float) -> None:
    if not error <= _TOLERANCE:
        report.faults.append(f"{name}: error {error:.1e} against the literal encoder.")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code."""
    quick = parser(__doc__, "tiny alone, small batches").parse_args(argv).quick
    all_cases = [
        Case(variant=VARIANTS[key], patch=patch, batch=batch)
        for key in (["thor_v1_tiny"] if quick else VARIANTS)
        for patch in _PATCHES
        for batch in ((1, 8) if quick else _BATCHES)
    ]
    cases = [case for case in all_cases if case.gflop <= _MOST_GFLOP or case.target]
    left_out = [case for case in all_cases if case not in cases]
    with torch.inference_mode():
        return rates(cases, left_out, quick=quick).finish()


if __name__ == "__main__":
    sys.exit(main())
