#!/usr/bin/env bash
# torchgeo 0.9.0 cannot be imported after `pip install torchgeo==0.9.0` into an empty environment.
#
# Versions: torchgeo 0.9.0 with huggingface_hub 2.4.0. `import torchgeo.datasets` imports requests,
# which torchgeo does not declare. It came along with huggingface_hub, whose releases from 1.0 on use
# httpx in its place. Seen:
#
#   ModuleNotFoundError: No module named 'requests'      (torchgeo/datasets/openstreetmap.py)
#   after `pip install requests`: imported
#
# So a lock of torchgeo 0.9.0 made by its metadata alone does not run; TerraTorch 1.2.12 and 1.2.13 need
# just this torchgeo, and bring requests by way of other packages.
#
# Needs Python 3.12 or 3.13 (PYTHON=python3.13 by default) and 5 GB, in a folder that ENVIRONMENT names
# and keeps for the other scripts on torchgeo; by default in a temporary one.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
venv=${ENVIRONMENT:-$folder/venv}
"${PYTHON:-python3.13}" -m venv "$venv"
"$venv/bin/pip" uninstall --quiet --yes requests 2> /dev/null
"$venv/bin/pip" install --quiet --disable-pip-version-check torchgeo==0.9.0 huggingface_hub==2.4.0
"$venv/bin/pip" check
message=$("$venv/bin/python" -c "import torchgeo.datasets" 2>&1 | tail -n 1) || true
echo "torchgeo 0.9.0, huggingface_hub 2.4.0: $message"
test "$message" = "ModuleNotFoundError: No module named 'requests'"
"$venv/bin/pip" install --quiet --disable-pip-version-check requests
"$venv/bin/python" -W ignore -c "import torchgeo.datasets"
echo "after pip install requests: imported"
echo "as described"
