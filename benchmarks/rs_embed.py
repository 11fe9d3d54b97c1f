"""How many places a second this project embeds beside rs-embed, and whether the vectors agree.

Claim (docs/performance.md, "Places"): 64 places whose pixels are given, 288 x 288 of them each,
are embedded by thor_v1_tiny at patch 16 at least 1.5 times as fast as by rs-embed, with the same
weights and vectors that differ by at most 1e-5.

    python -m benchmarks.rs_embed --rs-embed ENVIRONMENT/bin/python    # 2 minutes
    python -m benchmarks.rs_embed --rs-embed ... --quick               # 8 places, once each

rs-embed needs Python 3.12 and an environment of its own (pip install rs-embed), best with the same
torch. All sides take turns in this run, on the same pixels and number of threads.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
import numpy.typing as npt

from benchmarks.support import given
from benchmarks.support.ground import BANDS, Ground
from benchmarks.support.report import Report, parser
from benchmarks.support.side import Side
from benchmarks.support.timing import compare
from thor_geo.specs import SensorSpec

#: Least factor over rs-embed, and largest difference of any element of the vectors.
WANTED, TOLERANCE = 1.5, 1e-5

MODEL, PATCH, THREADS = "thor_v1_tiny", 16, 2

OURS, THEIRS = "thor_geo.get_embeddings_batch", "rs_embed.get_embeddings_batch_from_data"

NOTES = (
    "The places are tiles of a made-up landscape, uint16, in memory on both sides. Neither side "
    "resizes: rs-embed takes its native path, this project does what it does by itself.",
    "Weights are random, and the same: one file in the published layout, which both load and "
    "keep between calls.",
    "Each side has a process of its own: ours this project's Python, theirs one with rs-embed. "
    "Imports and a first call are not counted.",
)


class RsEmbed:
    """A process of a Python that has rs-embed; see `benchmarks.support.rs_embed_side`."""

    def __init__(self, python: Path, weights: Path) -> None:
        """Start the process.

        Args:
            python: The interpreter.
            weights: Checkpoint in the published layout.
        """
        script = Path(__file__).parent / "support" / "rs_embed_side.py"
        self._process = subprocess.Popen(
            [python, "-P", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={
                **{k: v for k, v in os.environ.items() if not k.startswith("PYTHON")},
                "OMP_NUM_THREADS": str(THREADS),
                "RS_EMBED_THOR_CKPT": str(weights),
                "RS_EMBED_THOR_PATCH_SIZE": str(PATCH),
            },
        )

    def __call__(self, *request: object) -> Any:
        """Return the answer to a request.

        Raises:
            RuntimeError: If the process has ended; what it said is on the standard error.
        """
        pipes: tuple[IO[str] | None, IO[str] | None] = self._process.stdin, self._process.stdout
        assert pipes[0] is not None
        assert pipes[1] is not None
        pipes[0].write(json.dumps(request) + "\n")
        pipes[0].flush()
        line = pipes[1].readline()
        if not line:
            raise RuntimeError(f"rs-embed's side ended with {self._process.wait()}.")
        return json.loads(line)

    def __enter__(self) -> Self:
        """Return the process."""
        return self

    def __exit__(self, *exception: object) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def places(folder: Path, count: int) -> npt.NDArray[np.uint16]:
    """Return the pixels of places, (count, bands, 288, 288)."""
    ground = Ground(folder=folder / "ground", across=1, down=1)
    ground.fill()
    return np.stack(ground.images()[:count]).astype(np.uint16)


def main() -> int:
    """Run the benchmark; return the exit code."""
    arguments = parser(__doc__, "8 places, once each")
    arguments.add_argument(
        "--rs-embed", type=Path, required=True, metavar="PYTHON", help="a Python that has rs-embed"
    )
    options = arguments.parse_args()
    count, repeats = (8, 1) if options.quick else (64, 5)
    report = Report(
        name="rs_embed",
        claim=f"{count} places with given pixels are embedded at least {WANTED} times as fast as "
        f"by rs-embed, with the same weights and vectors that differ by at most {TOLERANCE:g}.",
        quick=options.quick,
        command="python -m benchmarks.rs_embed --rs-embed PYTHON",
        notes=list(NOTES),
    )
    with tempfile.TemporaryDirectory(prefix="thor-geo-rs-embed-") as name:
        folder = Path(name)
        pixels, weights = folder / "pixels.npy", folder / "weights.pt"
        np.save(pixels, places(folder, count))
        given.write_weights(weights, MODEL, PATCH)
        us = Side({"OMP_NUM_THREADS": str(THREADS)})
        try:
            with RsEmbed(options.rs_embed, weights) as them:
                measure(report, us, them, folder, repeats)
        finally:
            us.close()
    return report.finish()


def measure(report: Report, us: Side, them: RsEmbed, folder: Path, repeats: int) -> None:
    """Time both sides in turns, compare their vectors, and report."""
    collection = SensorSpec().collection
    about = them("load", str(folder / "pixels.npy"), collection, list(BANDS), "tiny")
    ours = us(given.load, folder / "pixels.npy", folder / "weights.pt", MODEL, PATCH)
    if about["threads"] != ours["threads"]:
        raise RuntimeError(f"the numbers of threads differ: {about} and {ours}")
    if (about["strategy"], about["size"]) != ("native_snap", ours["size"]):
        raise RuntimeError(f"the geometries differ: {about} and {ours}")
    cpu: dict[str, list[float]] = {THEIRS: [], OURS: []}

    def timed(side: str, call: Callable[[], Sequence[float]]) -> float:
        seconds, used = call()
        cpu[side].append(used)
        return seconds

    calls = {
        THEIRS: lambda: timed(THEIRS, lambda: them("embed")),
        OURS: lambda: timed(OURS, lambda: us(given.embed)),
    }
    timings = compare(calls, repeats=repeats)
    for what, timing in timings.items():
        report.add(
            {
                "what": what,
                "places": ours["places"],
                **timing.seconds_row(),
                "CPU s, median": statistics.median(cpu[what][1:]),
                "places/s": ours["places"] / timing.median,
                "ratio": timing.median / timings[THEIRS].median,
            }
        )
    factor = timings[THEIRS].median / timings[OURS].median
    them("vectors", str(folder / "theirs.npy"))
    difference = float(np.abs(np.load(folder / "theirs.npy") - us(given.vectors)).max())
    report.figures |= {
        "times rs-embed's places/s": round(factor, 2),
        "largest difference of the vectors": float(f"{difference:.2g}"),
        "largest element of the vectors": float(f"{np.abs(us(given.vectors)).max():.3g}"),
        "rs-embed's side": f"Python {about['python']}, {versions(about['packages'])}",
        "threads of each side": ours["threads"],
    }
    if factor < WANTED:
        report.faults.append(f"{factor:.2f} times rs-embed's places/s, {WANTED} are wanted.")
    if not difference <= TOLERANCE:
        report.faults.append(f"The two sides' vectors differ by up to {difference:.2g}.")


def versions(packages: dict[str, str]) -> str:
    """Return names and versions in one line."""
    return ", ".join(f"{name} {version}" for name, version in packages.items())


if __name__ == "__main__":
    sys.exit(main())
