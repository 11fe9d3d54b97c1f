"""One encoder in a process of its own: how long the first tile takes, and how much memory.

`python -m benchmarks._encoder_process '{"what": "ours", ...}'` prints a line of JSON. Imports of
torch and of the encoder's code are over before the clock starts.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from benchmarks._literal import LiteralEncoder
from benchmarks._memory import resident_mb
from benchmarks.report import ROOT
from thor_geo.models import TokenLayout, build_from_layout, token_layout, variant
from thor_geo.specs.bands import S2_DEFAULT_BANDS, bands_from_ee

#: Side of a tile in pixels, and its channels: Sentinel-2's ten at 10 and 20 m.
SIDE = 288
CHANNELS = tuple(band.channel for band in bands_from_ee(S2_DEFAULT_BANDS))


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a process is asked.

    Attributes:
        what: ``ours`` or ``literal``.
        model_key: The variant.
        patch: Patch size in pixels.
        batch: Tiles in the one forward pass.
        blocks: Blocks that are run, from the first; all blocks take the same memory.
        weights: File of a state dict.
        threads: CPU threads.
    """

    what: str
    model_key: str
    patch: int
    batch: int
    blocks: int
    weights: str
    threads: int

    def ask(self) -> dict[str, float]:
        """Have a new process measure; see :func:`measure` for what comes back.

        Raises:
            RuntimeError: If the process fails.
        """
        command = [sys.executable, "-m", "benchmarks._encoder_process", json.dumps(asdict(self))]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{self} failed:\n{done.stderr}")
        found: dict[str, float] = json.loads(done.stdout)
        return found


def tile_layout(patch: int) -> TokenLayout:
    """Return the layout of a tile of 288 px with ten bands."""
    return token_layout(bands=CHANNELS, image_size=SIDE, patch_size=patch)


def tiles(batch: int) -> Tensor:
    """Return normalised input (batch, 10, 288, 288): the same for the same batch."""
    generator = torch.Generator().manual_seed(batch)
    return torch.randn(batch, len(CHANNELS), SIDE, SIDE, generator=generator)


def _build(question: Question) -> Callable[[Tensor], Tensor]:
    layout = tile_layout(question.patch)
    if question.what == "ours":
        encoder = build_from_layout(question.model_key, layout, ckpt=question.weights).encoder
        last = question.blocks - 1
        return lambda x: encoder.forward_features(x, [last], norm=True)[0]
    state = torch.load(question.weights, weights_only=True)
    literal = LiteralEncoder(variant(question.model_key), layout, state)
    return lambda x: literal(x, depth=question.blocks)


def measure(question: Question) -> dict[str, float]:
    """Build the encoder, run it once, and say what it took.

    Returns:
        Seconds to build (weights read from the file) and of the first and second forward pass;
        MB (10^6) of resident memory: the most in building, what remains of it, and the most in the
        forward passes.
    """
    torch.set_num_threads(question.threads)
    x = tiles(question.batch)
    times = [time.perf_counter()]
    encode = _build(question)
    times.append(time.perf_counter())
    building, built = resident_mb("VmHWM"), resident_mb("VmRSS")
    # 5: forget the peak so far.
    Path("/proc/self/clear_refs").write_text("5")
    with torch.inference_mode():
        for _ in range(2):
            began = time.perf_counter()
            encode(x)
            times.append(time.perf_counter() - began)
    return {
        "build_s": times[1] - times[0],
        "first_s": times[2],
        "second_s": times[3],
        "building_mb": building,
        "built_mb": built,
        "forward_mb": resident_mb("VmHWM"),
    }


if __name__ == "__main__":
    print(json.dumps(measure(Question(**json.loads(sys.argv[1])))))
