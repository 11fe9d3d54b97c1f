#!/usr/bin/env bash
# NumPy 2.5: np.where refuses a Python integer that does not fit; np.select, np.choose and np.pad
# still wrap it around without a word.
#
# Versions: NumPy 2.5.5 beside 2.4.4. A common way to write no data into uint16 pixels is to choose
# between them and a bare -1 or 65536. Seen with a uint16 array:
#
#                                    2.4.4           2.5.5
#   np.where(mask, pixels, -1)       65535           OverflowError
#   np.select([mask], [pixels], -1)  65535           65535
#   np.choose(index, [pixels, -1])   65535           65535
#   np.pad(..., constant_values=-1)  65535           65535
#   np.full(2, -1, np.uint16)        OverflowError   OverflowError
#
# Code that ran by the old wrapping stops at np.where with a traceback, while code with the same
# mistake in the three others goes on to give wrong pixels.
#
# Needs Python 3.12 to 3.14 (NumPy 2.5 has no wheels for older ones): PYTHON=python3.12 by default.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/check.py" <<'PY'
import numpy as np

pixels = np.array([1, 2, 3], np.uint16)
mask = pixels > 1
calls = {
    "where": lambda: np.where(mask, pixels, -1)[0],
    "select": lambda: np.select([mask], [pixels], -1)[0],
    "choose": lambda: np.choose((~mask).astype(int), [pixels, -1])[0],
    "pad": lambda: np.pad(pixels, 1, constant_values=-1)[0],
    "full": lambda: np.full(2, -1, np.uint16)[0],
}
seen = {}
print(f"numpy {np.__version__}")
for name, call in calls.items():
    try:
        seen[name] = int(call())
    except OverflowError:
        seen[name] = "OverflowError"
    print(f"  np.{name}: {seen[name]}")
refuses = {"2.4.4": False, "2.5.5": True}[np.__version__]
assert seen == {
    "where": "OverflowError" if refuses else 65535,
    "select": 65535,
    "choose": 65535,
    "pad": 65535,
    "full": "OverflowError",
}, seen
PY
for version in 2.4.4 2.5.5; do
  "${PYTHON:-python3.12}" -m venv "$folder/$version"
  "$folder/$version/bin/pip" install --quiet --disable-pip-version-check "numpy==$version"
  "$folder/$version/bin/python" "$folder/check.py"
done
echo "as described"
