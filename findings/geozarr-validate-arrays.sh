#!/usr/bin/env bash
# geozarr-toolkit: `geozarr validate STORE` passes a store whose arrays break the conventions.
#
# Versions: geozarr-toolkit 0.1.2 with zarr 3.4.2; wheels from the package index.
# Input: a store with one array, and beside it a group. Both carry the same attributes: they declare
# the convention spatial: and give an affine transform of two numbers, which needs six.
#
#   geozarr validate STORE          "No conventions detected in store", exit code 0
#   geozarr validate STORE/group    FAIL, exit code 1
#   geozarr validate STORE/array    "Failed to open Zarr store", exit code 1
#
# Only the attributes of the one group that is named are looked at: neither its arrays nor the
# groups below. The conventions allow (and for maps of several shapes need) attributes on arrays,
# and those cannot be validated at all. zarr-cm's validate_all(attributes) does it array by array.
#
# Needs Python 3.12 or 3.13: PYTHON=python3.12 by default.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.12}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check \
  geozarr-toolkit==0.1.2 zarr==3.4.2 zarr-cm==0.5.0
cat > "$folder/make.py" <<'PY'
import sys

import numpy as np
import zarr
import zarr_cm

url = "https://raw.githubusercontent.com/zarr-conventions/spatial/refs/tags/v0.1/schema.json"
attributes = {
    "zarr_conventions": [
        {"uuid": "689b58e2-cf7b-45e0-9fff-9cfc0883d6b4", "name": "spatial:", "schema_url": url}
    ],
    "spatial:dimensions": ["y", "x"],
    "spatial:transform": [1, 2],
}
root = zarr.create_group(sys.argv[1])
root.create_array(
    "array", data=np.zeros((4, 4)), dimension_names=("y", "x"), attributes=attributes
)
root.create_group("group", attributes=attributes)
try:
    zarr_cm.validate_all(attributes)
except ValueError as error:
    print(f"zarr-cm 0.5.0: {error}")
else:
    raise AssertionError("zarr-cm takes the attributes")
PY
"$folder/env/bin/python" "$folder/make.py" "$folder/store.zarr"
check() { # place, exit code, part of the output
  code=0
  said=$("$folder/env/bin/geozarr" validate "$1" 2>&1) || code=$?
  echo "$(basename "$1"): exit code $code: $(tail -1 <<< "$said" | cut -c 1-60)"
  test "$code" = "$2"
  grep -q "$3" <<< "$said"
}
check "$folder/store.zarr" 0 "No conventions detected"
check "$folder/store.zarr/group" 1 "FAIL"
check "$folder/store.zarr/array" 1 "Failed to open Zarr store"
echo "as described"
