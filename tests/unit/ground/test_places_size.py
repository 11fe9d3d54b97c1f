"""If these fail, a million rows take minutes to read, or more memory than a node has."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest

ROWS = 1_000_000
# Seconds of processor time, and GB; measured are 6 and 0.8 for CSV, 1.5 and 0.5 for Parquet.
MOST_SECONDS, MOST_GB = 30, 1.2

_LOAD = """
import resource, sys
from pathlib import Path
from thor_geo.ground.places import PlacesSpec
places = PlacesSpec(
    file=Path(sys.argv[1]), id="plot_id", date="surveyed",
    keep=["crop", "country", "yield", "count", "code"],
).load()
used = resource.getrusage(resource.RUSAGE_SELF)
# Not `ru_maxrss`, which begins with that of the process that started this one.
status = Path("/proc/self/status").read_text()
(peak,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
print(len(places), used.ru_utime + used.ru_stime, int(peak) * 1024 / 1e9)
"""


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_a_million_rows_are_read_in_seconds_and_a_gigabyte(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    days = np.datetime64("2018-01-01") + draw.integers(0, 1500, ROWS)
    table = pa.table(
        {
            "plot_id": [f"P{k:07d}" for k in range(ROWS)],
            "lon": np.round(draw.uniform(-10, 30, ROWS), 6),
            "lat": np.round(draw.uniform(35, 70, ROWS), 6),
            "surveyed": days.astype("datetime64[D]"),
            "crop": np.array(["maize", "wheat", "barley"])[draw.integers(0, 3, ROWS)],
            "country": np.array(["NO", "DE", "FR"])[draw.integers(0, 3, ROWS)],
            "yield": np.round(draw.normal(5, 1, ROWS), 3),
            "count": pa.array(draw.integers(0, 100, ROWS), mask=draw.random(ROWS) < 0.1),
            "code": np.array(["007", "012"])[draw.integers(0, 2, ROWS)],
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    pc.write_csv(table, tmp_path / "a.csv")
    for name in ("a.parquet", "a.csv"):
        command = [sys.executable, "-c", _LOAD, str(tmp_path / name)]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        rows, seconds, peak = map(float, out.split())
        assert rows == ROWS
        assert seconds < MOST_SECONDS
        assert peak < MOST_GB
