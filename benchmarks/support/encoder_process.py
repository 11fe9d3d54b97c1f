"""One encoder in a process of its own: how much memory it takes.

    python -m benchmarks.support.encoder_process '{"what": "ours", ...}'

prints a line of JSON; benchmarks/encoder.py calls it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.support.literal import LiteralEncoder
from benchmarks.support.processes import python, resident_mb
from thor_geo.models import TokenLayout, build_from_layout, token_layout, variant
from thor_geo.specs.bands import S2_DEFAULT_BANDS, bands_from_ee

#: Side of a tile in pixels, and its channels: Sentinel-2's ten at 10 and 20 m.
SIDE = 288
CHANNELS = tuple(band.channel for band in bands_from_ee(S2_DEFAULT_BANDS))


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a process does.

    Attributes:
        what: ``ours`` or ``literal``.
        model_key: The variant.
        patch: Patch size in pixels.
        batch: Tiles in a forward pass.
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

    def run(self) -> dict[str, float]:
        """Have a new process measure; see `measure` for what comes back."""
        done = python("-m", "benchmarks.support.encoder_process", json.dumps(asdict(self)))
        result: dict[str, float] = json.loads(done.output)
        return result


def tile_layout(patch: int) -> TokenLayout:
    """Return the layout of a tile of 288 px with ten bands."""
    return token_layout(bands=CHANNELS, image_size=SIDE, patch_size=patch)


def tiles(batch: int) -> Tensor:
    """Return normalised input (batch, 10, 288, 288): the same for the same batch."""
    generator = torch.Generator().manual_seed(batch)
    return torch.randn(batch, len(CHANNELS), SIDE, SIDE, generator=generator)


def _build(job: Job) -> Callable[[Tensor], Tensor]:
    layout = tile_layout(job.patch)
    if job.what == "ours":
        encoder = build_from_layout(job.model_key, layout, ckpt=job.weights).encoder
        last = job.blocks - 1
        return lambda x: encoder.forward_features(x, [last], norm=True)[0]
    state = torch.load(job.weights, weights_only=True)
    literal = LiteralEncoder(variant(job.model_key), layout, state)
    return lambda x: literal(x, depth=job.blocks)


def measure(job: Job) -> dict[str, float]:
    """Build the encoder, run it twice, and return MB (10^6 bytes) of resident memory.

    Returns:
        ``built``, what is there once the weights are, and ``forward``, the most in the passes.
    """
    torch.set_num_threads(job.threads)
    x = tiles(job.batch)
    encode = _build(job)
    built = resident_mb("VmRSS")
    # 5: forget the peak so far.
    Path("/proc/self/clear_refs").write_text("5")
    with torch.inference_mode():
        for _ in range(2):
            encode(x)
    return {"built": built, "forward": resident_mb()}


if __name__ == "__main__":
    print(json.dumps(measure(Job(**json.loads(sys.argv[1])))))
