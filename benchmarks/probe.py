"""What a probe takes beside the build that fitted one model after the other, and the same answers.

Claim (docs/performance.md, "Probes"): a probe of 2,710 samples of 768 dimensions takes 15 times
less wall time, and its fits 15 times less CPU time, with 1.2 times the memory (two fits at a time);
those of the quickstart's probe take 5 times less CPU time. 10,000 samples of 768 dimensions and ten
classes with the default curve take less than a minute on two cores. Scores are within 0.005 of the
old build's, and 99 of 100 predictions of the saved probe are the same. 95 of 100 penalties are
those of the optimum, to which the old build comes when it is not stopped early.

    python -m benchmarks.probe            # 15 minutes, nearly all of them the old build's
    python -m benchmarks.probe --quick    # 1,000 samples of 64 dimensions: 1 minute

The old build is checked out in a temporary worktree of this repository. Both run in processes of
their own, in turn, on the same machine and environment; how much of the old build's time goes into
BLAS threads that wait for one another differs much between processors. The old build runs once more
for its answers alone, with scikit-learn's tolerance at 1e-7 instead of its default, at which the
weakest penalty stops early. The probe of the quickstart is the whole command, raw bands and
pictures too; of its CPU time that before the first fit (imports, pixels) is given apart. The other
features are made (`support/made_labels.py`).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

from benchmarks.support.commands import thor_geo
from benchmarks.support.made_labels import make_labels
from benchmarks.support.processes import Usage, python
from benchmarks.support.report import ROOT, Report, parser

#: The build before the fits were solved together.
OLD = "12ffb46"
#: Samples, dimensions and classes; the last is measured with the new build only.
COMPARED, LARGE, QUICK = (2_710, 768, 4), (10_000, 768, 10), (1_000, 64, 3)
FASTER, QUICKSTART_FASTER, MEMORY, LARGE_S = 15, 5, 1.2, 60
SCORE, PENALTIES, PREDICTIONS = 0.005, 0.95, 0.99

_SIDE = Path(__file__).parent / "support" / "probe_side.py"
_SCENE = "20220824T104031_20220824T104031_T32VPM_SCL.tif"
# Cloud shadow, vegetation, bare ground and water, thinned to the number of the claim.
_OPTIONS = ("--ignore", "0,1,2,7,8,9,10,11", "--max-samples", "1948")


@contextmanager
def old_build(folder: Path) -> Iterator[Path]:
    """Check the old build out in a folder."""
    path = folder / "old"
    git = ("git", "-C", str(ROOT), "worktree")
    subprocess.run([*git, "add", "--quiet", "--detach", str(path), OLD], check=True)
    try:
        yield path
    finally:
        subprocess.run([*git, "remove", "--force", str(path)], check=True)


def side(
    folder: Path, build: Path, *arguments: object, optimum: bool = False
) -> tuple[Usage, dict[str, Any]]:
    """Run one side with a build; return what it took, and what it told.

    Args:
        folder: Where it may write.
        build: The checkout.
        arguments: Of `probe_side`, ``{told}`` for the file that it writes.
        optimum: Whether fits are not stopped early; one BLAS thread then makes an end of it.
    """
    told = folder / "told.json"
    env = {"PYTHONPATH": str(build)}
    if optimum:
        env |= {"OPTIMUM": "1", "OPENBLAS_NUM_THREADS": "1"}
    usage = python(_SIDE, *(told if each == "{told}" else each for each in arguments), env=env)
    return usage, json.loads(told.read_text())


def same_penalties(theirs: dict[str, Any], new: dict[str, Any]) -> tuple[float, float]:
    """Return the share of equal choices, and the most mean recall between two that are not."""
    assert theirs["fits"].keys() == new["fits"].keys()
    other, lost = 0, 0.0
    for key, fit in new["fits"].items():
        penalty = theirs["fits"][key]["penalty"]
        if fit["penalty"] != penalty:
            other += 1
            by_penalty = dict(zip((1e-3, 1e-1, 10.0), fit["recalls"], strict=True))
            lost = max(lost, by_penalty[fit["penalty"]] - by_penalty[penalty])
    return 1 - other / len(new["fits"]), lost


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What a side found.

    Attributes:
        told: What it told.
        scores: Macro F1 along the curves.
        predictions: Classes that the saved probe gives.
    """

    told: dict[str, Any]
    scores: list[float]
    predictions: np.ndarray


def compare(
    report: Report, what: str, used: dict[str, Usage], found: dict[str, Answers], faster: float
) -> None:
    """Add the rows of both sides, and what differs.

    Args:
        report: The report.
        what: The features.
        used: What ``old`` and ``new`` took.
        found: What they found, and what ``optimum`` did.
        faster: How many times less CPU time the fits are to take.
    """
    for name, usage in used.items():
        told = found[name].told
        report.add(_row(what, name, usage, told))
    cpu = {name: found[name].told["cpu"] - found[name].told["cpu_before"] for name in used}
    peak = {name: found[name].told["peak_mb"] for name in used}
    fits, wall = cpu["old"] / cpu["new"], used["old"].seconds / used["new"].seconds
    times = report.figures.setdefault("old over new", [])
    times.append(
        {
            "what": what,
            "CPU of fits": fits,
            "CPU": used["old"].cpu / used["new"].cpu,
            "wall": wall,
        }
    )
    answers = {}
    for one, other in (("new", "optimum"), ("new", "old"), ("old", "optimum")):
        a, b = found[one], found[other]
        same, lost = same_penalties(b.told, a.told) if one == "new" else _same(a.told, b.told)
        score = max(abs(x - y) for x, y in zip(a.scores, b.scores, strict=True))
        equal = float((a.predictions == b.predictions).mean())
        answers[f"{one} and {other}"] = same, score, equal
        report.figures.setdefault("the same answers", []).append(
            {
                "what": what,
                "sides": f"{one} and {other}",
                "same penalty": f"{same:.1%}",
                "most recall between others": "" if one == "old" else f"{lost:.4f}",
                "largest difference of macro F1": f"{score:.4f}",
                "same predictions": f"{equal:.2%}",
            }
        )
    same, (_, score, equal) = answers["new and optimum"][0], answers["new and old"]
    for holds, fault in (
        (fits >= faster, f"fits take 1/{fits:.1f} of the CPU time"),
        (faster < FASTER or wall >= faster, f"it takes 1/{wall:.1f} of the wall time"),
        (peak["new"] <= MEMORY * peak["old"], "it takes more memory"),
        (score <= SCORE, f"a score differs by {score:.4f}"),
        (same >= PENALTIES, f"{same:.1%} of the penalties are the same"),
        (equal >= PREDICTIONS, f"{equal:.2%} of the predictions are the same"),
    ):
        if not holds:
            report.faults.append(f"{what}: {fault}")
    print(times[-1], answers, flush=True)


def _same(one: dict[str, Any], other: dict[str, Any]) -> tuple[float, float]:
    """Return the share of equal choices of two sides that tell no recalls."""
    pairs = [(fit["penalty"], other["fits"][key]["penalty"]) for key, fit in one["fits"].items()]
    return sum(a == b for a, b in pairs) / len(pairs), float("nan")


def _row(what: str, name: str, usage: Usage, told: dict[str, Any]) -> dict[str, Any]:
    return {
        "what": what,
        "build": name,
        "CPU s": usage.cpu,
        "of these fits": told["cpu"] - told["cpu_before"],
        "wall s": usage.seconds,
        "peak MB": told["peak_mb"],
    }


def made(report: Report, folder: Path, builds: dict[str, Path], size: tuple[int, int, int]) -> None:
    """Compare the builds on made features."""
    data = folder / "made.npz"
    make_labels(data, *size)
    used, found = {}, {}
    for name, build in (*builds.items(), ("optimum", builds["old"])):
        usage, told = side(folder, build, "made", data, "{told}", optimum=name == "optimum")
        scores = [score for curve in told["curves"].values() for score in curve]
        found[name] = Answers(told=told, scores=scores, predictions=np.array(told["saved"]))
        if name in builds:
            used[name] = usage
        print(f"{size} {name}: {usage.cpu:.1f} CPU s", flush=True)
    compare(report, "made: {:,} x {}, {} classes".format(*size), used, found, FASTER)


def quickstart(report: Report, folder: Path, builds: dict[str, Path]) -> None:
    """Compare the commands on the quickstart."""
    run, cache = folder / "run", folder / "cache"
    thor_geo("predict", "-c", "configs/quickstart.yaml", f"--output.dir={run}",
             f"--data.cache_dir={cache}")  # fmt: skip
    labels = folder / "scl.tif"
    labels.write_bytes((cache / "emulator-archive" / _SCENE).read_bytes())
    used, found = {}, {}
    for name, build in (*builds.items(), ("optimum", builds["old"])):
        out = folder / f"probe-{name}"
        usage, told = side(
            folder, build, "command", "{told}",
            "probe", run, "--labels", labels, *_OPTIONS, "--to", out,
            optimum=name == "optimum",
        )  # fmt: skip
        results = json.loads((out / "probe.json").read_text())["results"]
        maps = [rasterio.open(path).read(1) for path in sorted(out.glob("map_*.tif"))]
        found[name] = Answers(
            told=told,
            scores=[p["scores"]["macro_f1"][0] for each in results for p in each["curve"]],
            predictions=np.concatenate([each[each > 0] for each in maps]),
        )
        if name in builds:
            used[name] = usage
        print(f"quickstart {name}: {usage.cpu:.1f} CPU s", flush=True)
    compare(report, "quickstart: 1,948 x 192, 4 classes", used, found, QUICKSTART_FASTER)


def large(report: Report, folder: Path, build: Path) -> None:
    """Measure the new build alone on many samples."""
    data = folder / "large.npz"
    make_labels(data, *LARGE)
    usage, told = side(folder, build, "made", data, "{told}")
    report.add(_row("made: {:,} x {}, {} classes".format(*LARGE), "new", usage, told))
    report.figures["10,000 samples: seconds until the scores with all labels"] = told["first"]
    if usage.seconds > LARGE_S:
        report.faults.append(f"10,000 samples take {usage.seconds:.0f} s")


def main() -> int:
    """Run the benchmark; return the exit code."""
    quick = parser(__doc__, "a small problem").parse_args().quick
    report = Report(
        name="probe",
        claim=f"{FASTER} times less CPU time for the fits and {FASTER} times less wall time than "
        f"build {OLD}, with {MEMORY} times the memory ({QUICKSTART_FASTER} times for the "
        f"quickstart's fits); macro F1 within {SCORE}, the same predictions for {PREDICTIONS:.0%}, "
        f"the optimum's penalty in {PENALTIES:.0%}; 10,000 samples of 768 dimensions and ten "
        f"classes in less than {LARGE_S} s",
        quick=quick,
    )
    with (
        tempfile.TemporaryDirectory(prefix="thor-geo-probe-") as name,
        old_build(Path(name)) as old,
    ):
        builds, folder = {"new": ROOT, "old": old}, Path(name)
        if quick:
            made(report, folder, builds, QUICK)
        else:
            large(report, folder, ROOT)
            quickstart(report, folder, builds)
            made(report, folder, builds, COMPARED)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
