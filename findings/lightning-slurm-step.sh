#!/usr/bin/env bash
# Lightning under SLURM: two steps of a job meet at one address and port, those on other nodes too.
#
# Versions: lightning 2.6.6 with torch 2.15.0; variables as SLURM 22.05 gives them to the tasks of
# `srun -N1 -n2 --ntasks-per-node=2 -w node2` in a job that has node1 and node2:
#
#   SLURM_JOB_ID=4711  SLURM_STEP_ID=1
#   SLURM_NODELIST=node[1-2]   (the job's: srun does not replace it)
#   SLURM_STEP_NODELIST=node2  (where the tasks are)
#
# SLURMEnvironment gives node1 as the first rank's address, where none of these tasks runs: they wait
# there for ever. It gives port 15000 + the last four digits of the job's id for every step, so of two
# steps on one node the second finds the port in use, or joins the ranks of the first.
#
# Needs Python 3.11 to 3.13, and 6 GB: PYTHON=python3 by default.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/check.py" <<'PY'
import os

from lightning.fabric.plugins.environments import SLURMEnvironment

JOB = {
    "SLURM_JOB_ID": "4711",
    "SLURM_NTASKS": "2",
    "SLURM_NTASKS_PER_NODE": "2",
    "SLURM_NODELIST": "node[1-2]",
    "SLURM_JOB_NODELIST": "node[1-2]",
}
seen = {}
for step, node in (("0", "node1"), ("1", "node2"), ("2", "node1")):
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        os.environ.pop(name, None)
    os.environ.update(JOB, SLURM_STEP_ID=step, SLURM_STEP_NODELIST=node)
    environment = SLURMEnvironment()
    seen[step, node] = (environment.main_address, environment.main_port)
    print(f"  step {step} on {node}: first rank at {seen[step, node]}")
assert set(seen.values()) == {("node1", 19711)}, seen
PY
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check lightning==2.6.6 torch==2.15.0
"$folder/venv/bin/python" "$folder/check.py" 2>/dev/null
echo "as described"
