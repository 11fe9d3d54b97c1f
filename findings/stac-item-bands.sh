#!/usr/bin/env bash
# STAC 1.1: an item may list `bands` in its properties only if one of its assets has `bands`, too.
# The specification's section on bands does not say so; the schema of items does, by a condition.
#
# Versions: the schemas of STAC 1.1.0, as pystac 1.15.2 brings them. Nothing is asked of a network.
#
#   bands in properties, no asset        refused
#   bands in properties, asset without   refused
#   bands in properties, asset with      valid
#
# The extension for machine-learning models (MLM 1.5.2) wants the names of a model's bands in the
# properties of its item, so that an item whose weights lie nowhere cannot have any.
#
# Needs Python 3.11 to 3.14: PYTHON=python3 by default.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/check.py" <<'PY'
import logging

import pystac
from pystac.validation import validate_dict

logging.disable(logging.CRITICAL)
BANDS = [{"name": "red"}]


def valid(assets):
    """Return whether an item with bands in its properties is valid."""
    item = {
        "type": "Feature", "stac_version": "1.1.0", "id": "x", "geometry": None, "links": [],
        "properties": {"datetime": "2022-06-01T00:00:00Z", "bands": BANDS}, "assets": assets,
    }
    try:
        validate_dict(item, pystac.STACObjectType.ITEM, "1.1.0", extensions=[])
    except pystac.STACValidationError:
        return False
    return True


asset = {"href": "./model.pt"}
found = [valid({}), valid({"model": asset}), valid({"model": {**asset, "bands": BANDS}})]
print("no asset, asset without bands, asset with bands:", found)
assert found == [False, False, True], "STAC's schema has changed"
PY
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "pystac[validation]==1.15.2"
"$folder/venv/bin/python" "$folder/check.py"
echo "as described"
