"""Which library finds similar vectors: faiss, usearch, or rows of our own around faiss's centres.

Claim (docs/performance.md, "Similar places"): ours finds at least 97 of 100 of the ten nearest,
within less memory than the others; what each takes to do so, the table shows.

    python -m benchmarks.similar_libraries              # an hour: a million vectors
    python -m benchmarks.similar_libraries --vectors N  # fewer; writes the result, too
    python -m benchmarks.similar_libraries --quick      # 20,000: five minutes

Installs pinned wheels in a temporary environment. All get the same made-up vectors of 768
dimensions in int8 (`benchmarks.support.similar_runs.Mixture`), on two threads, and the 40 best of
each are compared again by exact cosines from a file of all codes, in memory. For cells of a run
that would be a chunk of the maps for each: libraries that keep other values than the run's need it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.support.processes import python
from benchmarks.support.report import ROOT, Report, Row, parser
from benchmarks.support.similar_library import unit
from benchmarks.support.similar_runs import Mixture
from thor_geo.runs.quantise import quantise

VECTORS, SHORT, DIMENSION, ASKED, RECALL = 1_000_000, 20_000, 768, 200, 0.97
PINNED = ("faiss-cpu==1.15.1", "usearch==2.26.6", "numpy==2.4.6")
#: How broadly each searches, in its own measure: MiB, lists, or candidates.
BREADTHS = {"ours": (8, 48), "faiss": (8, 32), "usearch": (64, 256)}
_SCRIPT = ROOT / "benchmarks" / "support" / "similar_library.py"


def write_vectors(folder: Path, count: int) -> None:
    """Write vectors, the rows that are asked about, and their ten nearest."""
    mixture, at_once = Mixture(DIMENSION), 20_000
    path = folder / "codes.npy"
    codes = np.lib.format.open_memmap(path, "w+", np.int8, (count, DIMENSION))
    for start in range(0, count, at_once):
        part = codes[start : start + at_once]
        part[:] = quantise(mixture.draw(len(part)), axis=1)[0]
    codes.flush()
    asked = np.sort(np.random.default_rng(1).permutation(count)[:ASKED])
    directions = unit(codes[asked]).T
    cosine = np.concatenate(
        [unit(codes[start : start + at_once]) @ directions for start in range(0, count, at_once)]
    )
    cosine[asked, np.arange(ASKED)] = -2
    few = np.argpartition(-cosine, 10, axis=0)[:10]
    np.save(folder / "nearest.npy", few.T)
    np.save(folder / "asked.npy", asked)


def rows(library: str, run: Any, folder: Path) -> list[Row]:
    """Build and ask with a library; return a row for each breadth."""
    built = json.loads(run(library, "build", folder))
    out = []
    for breadth in BREADTHS[library]:
        asked = json.loads(run(library, "ask", folder, breadth))
        out.append(
            {
                "index": f"{library}, {breadth}",
                "build s": round(built["seconds"]),
                "build CPU s": round(built["cpu"]),
                "build peak MB": round(built["VmHWM"]),
                "disk MB": round(built["size"] / 1e6),
                "opening ms": round(asked["opening"] * 1e3),
                "first ms": round(asked["first"] * 1e3),
                "median ms": round(asked["median"] * 1e3, 1),
                "p95 ms": round(asked["p95"] * 1e3, 1),
                "CPU ms": round(asked["cpu"] / ASKED * 1e3, 1),
                "peak MB": round(asked["VmHWM"]),
                "of it mapped MB": round(asked["RssFile"]),
                "recall@10": round(asked["recall"], 4),
            }
        )
    return out


def main() -> int:
    """Run the benchmark; return the exit code."""
    arguments = parser(__doc__, "20,000 vectors")
    arguments.add_argument("--vectors", type=int, default=VECTORS, help="number of vectors")
    options = arguments.parse_args()
    count = SHORT if options.quick else options.vectors
    report = Report(
        name="similar_libraries",
        claim=f"Of {count:,} made vectors of {DIMENSION} dimensions in int8, our index finds "
        f"at least {RECALL:.0%} of the ten nearest",
        quick=options.quick,
    )
    with tempfile.TemporaryDirectory(prefix="thor-geo-libraries-") as name:
        folder = Path(name)
        venv.create(folder / "env", with_pip=True)
        other = folder / "env" / "bin" / "python"
        pip = [other, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PINNED]
        subprocess.run(pip, check=True)
        write_vectors(folder, count)

        def ours(*arguments: object) -> str:
            return python("-m", "benchmarks.support.similar_ours", *arguments).output

        def theirs(*arguments: object) -> str:
            command = [str(other), str(_SCRIPT), *map(str, arguments)]
            out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            return out.splitlines()[-1]  # faiss prints on its own account

        for library in BREADTHS:
            for row in rows(library, ours if library == "ours" else theirs, folder):
                report.add(row)
    report.faults += [
        f"{row['index']}: recall {row['recall@10']}"
        for row in report.rows
        if row["index"].startswith("ours") and row["recall@10"] < RECALL
    ]
    report.notes += [
        "the second figure of an index is how broadly it searches: MiB or number of "
        "lists that are read, or candidates of the graph that are followed",
        "CPU ms: of the whole process that asks, with imports, by answer",
    ]
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
