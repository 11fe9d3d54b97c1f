"""The encoder's first tile and its memory: reports of processes that run one encoder each."""

from __future__ import annotations

import statistics
from pathlib import Path

import torch

from benchmarks._encoder_process import Question, tile_layout
from benchmarks._timing import Timing
from benchmarks.report import Report, Row
from thor_geo.models import VARIANTS, THOREncoder, Variant

#: Blocks run where memory is measured: more blocks take no more of it, only longer.
_MEMORY_BLOCKS = 2
#: Processes of each kind that are started for a first tile, in turns.
_REPEATS = 5
#: The same for memory.
_MEMORY_REPEATS = 3
#: Seconds and share by which the first tile may come later: its weights are checked.
_LATER_S, _LATER = 0.1, 0.05


def processes(folder: Path, *, quick: bool) -> list[Report]:
    """Measure the first tile and the peak of memory, every encoder in a process of its own."""
    first = Report(
        name="encoder_first_tile",
        claim=f"The first tile comes at most {_LATER_S} s and {_LATER:.0%} later than from a "
        "literal implementation, which checks nothing.",
        command="python -m benchmarks.encoder",
        quick=quick,
        notes=[
            "Seconds from a checkpoint file in the page cache to the first tile's tokens, in a new "
            "process that has imported its modules, at batch 1: median, min and max of "
            f"{1 if quick else _REPEATS} processes each, in turns; ratio: of the median to ours. "
            "The rest are medians: build reads the weights and, ours alone, checks them; the first "
            "pass makes the constants too; the second one comes after it. building, MB (10^6): the "
            "peak of resident memory until the weights are there.",
        ],
    )
    memory = Report(
        name="encoder_memory",
        claim=(
            "A larger batch takes no copy of the attention bias for each tile, and at no batch "
            "more memory than a literal implementation."
        ),
        command="python -m benchmarks.encoder",
        quick=quick,
        notes=[
            "MB (10^6) of one process: resident once the weights are there, and the peak of two "
            f"forward passes (VmHWM) over that; {_MEMORY_BLOCKS} blocks, since all take the same. "
            f"Medians of {1 if quick else _MEMORY_REPEATS} processes each, and min and max of the "
            "peak; ratio: of the median to ours. a bias: one copy of the attention's. Patch 8.",
        ],
    )
    for size in ("tiny",) if quick else ("tiny", "base"):
        row = VARIANTS[f"thor_v1_{size}"]
        weights = folder / f"{size}.pt"
        torch.save(THOREncoder(row, tile_layout(16), seed=0).state_dict(), weights)
        for patch in (16, 8):
            first.rows += _first_tile(first, row, patch, weights, 1 if quick else _REPEATS)
        batches, repeats = ((1, 8), 1) if quick else ((8, 32), _MEMORY_REPEATS)
        memory.rows += _memory(memory, row, weights, batches, repeats)
    return [first, memory]


def _ask(row: Variant, weights: Path, what: str, patch: int, batch: int, blocks: int) -> Row:
    return Question(
        what=what,
        model_key=row.model_key,
        patch=patch,
        batch=batch,
        blocks=blocks,
        weights=str(weights),
        threads=torch.get_num_threads(),
    ).ask()


def _first_tile(report: Report, row: Variant, patch: int, weights: Path, repeats: int) -> list[Row]:
    rows: list[Row] = []
    kinds = ("ours", "literal")
    runs = [
        {what: _ask(row, weights, what, patch, 1, row.depth) for what in kinds}
        for _ in range(repeats)
    ]
    totals = {
        what: Timing(seconds=tuple(run[what]["build_s"] + run[what]["first_s"] for run in runs))
        for what in kinds
    }
    for what in kinds:
        found = {key: statistics.median(run[what][key] for run in runs) for key in runs[0][what]}
        rows.append(
            {
                "variant": row.size,
                "patch": patch,
                **totals[what].row(what, against=totals["ours"]),
                "build": found["build_s"],
                "first pass": found["first_s"],
                "second pass": found["second_s"],
                "building, MB": found["building_mb"],
            }
        )
    ours, literal = (totals[what].median for what in kinds)
    if ours > literal * (1 + _LATER) + _LATER_S:
        report.faults.append(f"{row.size}, patch {patch}: {ours:.2f} s, literal {literal:.2f} s.")
    return rows


def _memory(
    report: Report, row: Variant, weights: Path, batches: tuple[int, int], repeats: int
) -> list[Row]:
    layout = tile_layout(8)
    bias = 4 * row.num_heads * layout.n_tokens**2 / 1e6
    rows: list[Row] = []
    peaks: dict[tuple[str, int], float] = {}
    for batch in batches:
        kinds = ("ours", "literal")
        runs = [
            {what: _ask(row, weights, what, 8, batch, _MEMORY_BLOCKS) for what in kinds}
            for _ in range(repeats)
        ]
        for what in kinds:
            over = [run[what]["forward_mb"] - run[what]["built_mb"] for run in runs]
            peaks[what, batch] = statistics.median(over)
            rows.append(
                {
                    "variant": row.size,
                    "batch": batch,
                    "what": what,
                    "built, MB": statistics.median(run[what]["built_mb"] for run in runs),
                    "peak over it, MB": peaks[what, batch],
                    "min": min(over),
                    "max": max(over),
                    "ratio": peaks[what, batch] / peaks["ours", batch],
                    "a bias, MB": bias,
                }
            )
        if peaks["ours", batch] > peaks["literal", batch]:
            report.faults.append(f"{row.size}, batch {batch}: more memory than the literal one.")
    low, high = batches
    more = (peaks["ours", high] - peaks["ours", low]) / (high - low)
    report.figures[f"{row.size}, MB for each tile more in a batch"] = round(more, 1)
    if more >= bias:
        report.faults.append(f"{row.size}: {more:.0f} MB a tile, as much as a bias ({bias:.0f}).")
    return rows
