"""What a probe takes beside the build that fitted one model after the other, and the same answers.

Claim (docs/performance.md, "Probes"): the probe of the quickstart, and one of 2,710 samples of 768
dimensions, takes 15 times less wall time, and its fits 15 times less CPU time, with no more memory;
scores within 0.005, the same penalty in 95 of 100 choices, and the same prediction for 99 of 100
samples. 10,000 samples of 768 dimensions and ten classes with the default curve take less than a
minute on two cores.

    python -m benchmarks.probe            # 25 minutes, nearly all of them the old build's
    python -m benchmarks.probe --quick    # 1,000 samples of 64 dimensions: 1 minute

The old build is checked out in a temporary worktree of this repository. Both run in processes of
their own, in turn, on the same machine and environment. The probe of the quickstart is the whole
command, raw bands and pictures too; of its CPU time that before the first fit (imports, pixels) is
given apart. The other features are made (`support/made_labels.py`).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
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
FASTER, SCORE, PENALTIES, PREDICTIONS, LARGE_S = 15, 0.005, 0.95, 0.99, 60

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


def side(build: Path, *arguments: object) -> Usage:
    """Run one side with a build."""
    return python(_SIDE, *arguments, env={"PYTHONPATH": str(build)})


def same_penalties(old: dict[str, Any], new: dict[str, Any]) -> tuple[float, float]:
    """Return the share of equal choices, and the most mean recall that another one has cost."""
    assert old["fits"].keys() == new["fits"].keys()
    other, lost = 0, 0.0
    for key, fit in new["fits"].items():
        penalty = old["fits"][key]["penalty"]
        if fit["penalty"] != penalty:
            other += 1
            by_penalty = dict(zip((1e-3, 1e-1, 10.0), fit["recalls"], strict=True))
            lost = max(lost, by_penalty[fit["penalty"]] - by_penalty[penalty])
    return 1 - other / len(new["fits"]), lost


def compare(
    report: Report,
    what: str,
    used: dict[str, Usage],
    told: dict[str, dict[str, Any]],
    difference: float,
    equal: float,
) -> None:
    """Add the rows of both sides, and what differs."""
    fits = {name: each["cpu"] - each["cpu_before"] for name, each in told.items()}
    for name, usage in used.items():
        report.add(
            {
                "what": what,
                "build": name,
                "CPU s": usage.cpu,
                "of these fits": fits[name],
                "wall s": usage.seconds,
                "peak MB": usage.peak_mb,
            }
        )
    same, lost = same_penalties(told["old"], told["new"])
    times = fits["old"] / fits["new"], used["old"].seconds / used["new"].seconds
    differs = report.figures.setdefault("old over new, and what differs", [])
    differs.append(
        {
            "what": what,
            "CPU of fits": times[0],
            "CPU": used["old"].cpu / used["new"].cpu,
            "wall": times[1],
            "same penalty": f"{same:.1%}",
            "most recall lost": f"{lost:.4f}",
            "largest difference of macro F1": f"{difference:.4f}",
            "same predictions": f"{equal:.2%}",
        }
    )
    print(differs[-1], flush=True)
    for holds, fault in (
        (times[0] >= FASTER, f"fits take 1/{times[0]:.1f} of the CPU time"),
        (times[1] >= FASTER, f"it takes 1/{times[1]:.1f} of the wall time"),
        (used["new"].peak_mb <= used["old"].peak_mb, "it takes more memory"),
        (difference <= SCORE, f"a score differs by {difference:.4f}"),
        (same >= PENALTIES, f"{same:.1%} of the penalties are the same"),
        (equal >= PREDICTIONS, f"{equal:.2%} of the predictions are the same"),
    ):
        if not holds:
            report.faults.append(f"{what}: {fault}")


def made(report: Report, folder: Path, builds: dict[str, Path], size: tuple[int, int, int]) -> None:
    """Compare the builds on made features."""
    data = folder / "made.npz"
    make_labels(data, *size)
    used, told = {}, {}
    for name, build in builds.items():
        used[name] = side(build, "made", data, folder / "told.json")
        told[name] = json.loads((folder / "told.json").read_text())
        print(f"{size} {name}: {used[name].cpu:.1f} CPU s", flush=True)
    difference = max(
        abs(a - b)
        for model, curve in told["old"]["curves"].items()
        for a, b in zip(curve, told["new"]["curves"][model], strict=True)
    )
    equal = float(np.mean(np.equal(told["old"]["saved"], told["new"]["saved"])))
    what = "made: {:,} x {}, {} classes".format(*size)
    compare(report, what, used, told, difference, equal)


def quickstart(report: Report, folder: Path, builds: dict[str, Path]) -> None:
    """Compare the commands on the quickstart."""
    run, cache = folder / "run", folder / "cache"
    thor_geo("predict", "-c", "configs/quickstart.yaml", f"--output.dir={run}",
             f"--data.cache_dir={cache}")  # fmt: skip
    labels = folder / "scl.tif"
    labels.write_bytes((cache / "emulator-archive" / _SCENE).read_bytes())
    used, told, results, maps = {}, {}, {}, {}
    for name, build in builds.items():
        out = folder / f"probe-{name}"
        used[name] = side(
            build, "command", folder / "told.json",
            "probe", run, "--labels", labels, *_OPTIONS, "--to", out,
        )  # fmt: skip
        told[name] = json.loads((folder / "told.json").read_text())
        results[name] = json.loads((out / "probe.json").read_text())["results"]
        maps[name] = [rasterio.open(path).read(1) for path in sorted(out.glob("map_*.tif"))]
        print(f"quickstart {name}: {used[name].cpu:.1f} CPU s", flush=True)
    difference = max(
        abs(a["scores"]["macro_f1"][0] - b["scores"]["macro_f1"][0])
        for old, new in zip(results["old"], results["new"], strict=True)
        for a, b in zip(old["curve"], new["curve"], strict=True)
    )
    pairs = zip(maps["old"], maps["new"], strict=True)
    equal = np.concatenate([(a == b)[a > 0] for a, b in pairs]).mean()
    compare(report, "quickstart: 1,948 x 192, 4 classes", used, told, difference, float(equal))


def large(report: Report, folder: Path, build: Path) -> None:
    """Measure the new build alone on many samples."""
    data = folder / "large.npz"
    make_labels(data, *LARGE)
    usage = side(build, "made", data, folder / "told.json")
    told = json.loads((folder / "told.json").read_text())
    report.add(
        {
            "what": "made: {:,} x {}, {} classes".format(*LARGE),
            "build": "new",
            "CPU s": usage.cpu,
            "of these fits": told["cpu"] - told["cpu_before"],
            "wall s": usage.seconds,
            "peak MB": usage.peak_mb,
        }
    )
    report.figures["10,000 samples: seconds until the scores with all labels"] = told["first"]
    if usage.seconds > LARGE_S:
        report.faults.append(f"10,000 samples take {usage.seconds:.0f} s")


def main() -> int:
    """Run the benchmark; return the exit code."""
    quick = parser(__doc__, "a small problem").parse_args().quick
    report = Report(
        name="probe",
        claim=f"{FASTER} times less CPU time for the fits and {FASTER} times less wall time than "
        f"build {OLD}, with no more memory; macro F1 within {SCORE}, the same penalty in "
        f"{PENALTIES:.0%} and the same predictions for {PREDICTIONS:.0%}; 10,000 samples of 768 "
        f"dimensions and ten classes in less than {LARGE_S} s",
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
