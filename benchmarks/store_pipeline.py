"""How fast a run is that lies in an object store, against the same run in a folder.

    python -m benchmarks.store_pipeline --store "Ceph 16.2" s3://bucket http://127.0.0.1:7480
    python -m benchmarks.store_pipeline --quick ...    # few tiles, once each; writes nothing

The store must be running; `benchmarks.object_stores` says what it needs. With an encoder that costs
nothing and a warm cache in a folder, what is left is everything around the encoder, the store's own
work on the same cores included. Both sides take turns.
"""

from __future__ import annotations

import os
import secrets
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.support import predicting as ours
from benchmarks.support.faulty_store import Plan, faulty_store
from benchmarks.support.ground import Ground
from benchmarks.support.object_store import CREDENTIALS
from benchmarks.support.report import Report, parser
from benchmarks.support.side import Side
from benchmarks.support.timing import compare
from thor_geo.cli.main import ENVIRONMENT
from thor_geo.storage import Location, StoreAddress, StorePath

#: Least share of the folder's tiles per second.
WANTED = 0.85
#: Seconds that an answer of a store in the same region takes, about.
LATENCY_S = 0.03
REPEATS = 4

NOTES = (
    "The vectors of a tile are 768 float32; maps are left out, because writing 55 MB a shard into "
    "a store on the same two cores would time the store.",
    f"In the second part every request waits {LATENCY_S:g} s at a door before the store, about as "
    "it would in a cloud's own region. The door is Python on the same cores.",
    "A phase is counted as in `benchmarks.pipeline`: from before the workers start until the last "
    "marker, and what a run lays out at its end, is written.",
)


def measure(
    report: Report, part: str, calls: Mapping[str, Callable[[], float]], tiles: int
) -> None:
    """Time a store and a folder in turns; the ratio is that of their tiles per second."""
    timings = compare(calls, repeats=1 if report.quick else REPEATS, warm_up=1)
    folder, store = timings.values()
    for what, timing in timings.items():
        report.add(
            {
                "part": part,
                "what": what,
                "tiles": tiles,
                **timing.seconds_row(),
                "tiles/s": tiles / timing.median,
                "of the folder's": folder.median / timing.median,
            }
        )
    share = folder.median / store.median
    if share < WANTED:
        report.faults.append(
            f"{part}: {share:.0%} of the folder's tiles per second, {WANTED:.0%} are wanted."
        )


def main() -> int:
    """Run the benchmark; return the exit code."""
    arguments = parser(__doc__, "few tiles, once each")
    arguments.add_argument(
        "--store",
        nargs=3,
        required=True,
        metavar=("NAME", "ADDRESS", "ENDPOINT"),
        help="an S3 store on this machine",
    )
    options = arguments.parse_args()
    name, address, endpoint = options.store
    report = Report(
        name="store_pipeline",
        claim=f"A run into an object store has at least {WANTED:.0%} of the tiles per second of a "
        "run into a folder.",
        quick=options.quick,
        command="python -m benchmarks.store_pipeline --store NAME ADDRESS ENDPOINT",
        notes=list(NOTES),
    )
    for key, value in CREDENTIALS.items():
        os.environ.setdefault(key, value)
    with (
        tempfile.TemporaryDirectory(prefix="thor-geo-store-pipeline-") as text,
        faulty_store(endpoint, Plan(latency_s=LATENCY_S)) as door,
    ):
        folder = Path(text)
        across, down = (2, 1) if options.quick else (4, 2)
        ground = Ground(folder=folder / "ground", across=across, down=down)
        ground.fill()
        settings = ours.Settings(ground=ground, model_key=None, grid=False, workers=1)
        root = StorePath(StoreAddress.parse(f"{address}/thor-geo-{secrets.token_hex(4)}"))
        try:
            for part, at in (("", endpoint), (f", {LATENCY_S:g} s a request", door.url)):
                with patch.dict(os.environ, {"AWS_ENDPOINT_URL": at}):
                    us = Side(ENVIRONMENT)
                try:
                    us(ours.start)
                    calls = {
                        "a folder": partial(phase, us, settings, folder / "runs"),
                        name: partial(phase, us, settings, root),
                    }
                    measure(report, f"vectors{part}", calls, ground.tiles)
                finally:
                    us.close()
        finally:
            with patch.dict(os.environ, {"AWS_ENDPOINT_URL": endpoint}):
                for path in root.files():
                    path.unlink()
    return report.finish()


def phase(us: Side, settings: ours.Settings, root: Location) -> float:
    """Return the seconds of the phase of a new run below *root*."""
    taken: dict[str, Any] = us(ours.predict, settings, str(root / secrets.token_hex(4)))
    return float(taken["phase"])


if __name__ == "__main__":
    sys.exit(main())
