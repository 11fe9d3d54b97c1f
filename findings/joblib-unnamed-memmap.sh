#!/usr/bin/env bash
# joblib: an array mapped from an unnamed temporary file cannot be sent to its processes.
#
# Versions: joblib 1.6.0, NumPy 2.4.6, wheels from the package index.
# Input: an array of ones in np.memmap(tempfile.TemporaryFile(), ...), which takes disk space for as
# long as it lives and needs no cleaning up; and the same in a file with a name.
#
#                                       Parallel(n_jobs=2)(delayed(np.sum)(x) ...)
#   np.memmap of a file with a name     the sums
#   np.memmap of TemporaryFile()        BrokenProcessPool: A task has failed to un-serialize
#   the same as np.asarray(x)           BrokenProcessPool
#   np.array(x), a copy                 the sums
#
# pickle copies the content of either array. joblib sends the name of the file behind an array instead,
# with max_nbytes=None, too, and the name of an unnamed file is None: the process fails to open it, and
# the message says nothing of files. So scikit-learn with n_jobs=2 fails on such a matrix.
#
# Needs a Python that these versions have wheels for: PYTHON=python3.11 by default.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/check.py" <<'PY'
import sys
import tempfile

import joblib
import numpy as np
from joblib import Parallel, delayed
from joblib.externals.loky.process_executor import BrokenProcessPool


def answer(array):
    try:
        sums = Parallel(n_jobs=2, max_nbytes=None)(delayed(np.sum)(array[k::2]) for k in range(2))
    except BrokenProcessPool as error:
        return f"{type(error).__name__}: {str(error).split('.')[0]}"
    return f"{sum(map(float, sums)):g}"


if __name__ == "__main__":
    print(f"joblib {joblib.__version__}, NumPy {np.__version__}")
    shape = {"dtype": np.float32, "mode": "w+", "shape": (1000, 8)}
    named = np.memmap(f"{sys.argv[1]}/named.float32", **shape)
    unnamed = np.memmap(tempfile.TemporaryFile(), **shape)
    named[:] = unnamed[:] = 1
    seen = {
        "named": answer(named),
        "unnamed": answer(unnamed),
        "np.asarray(unnamed)": answer(np.asarray(unnamed)),
        "np.array(unnamed)": answer(np.array(unnamed)),
    }
    for what, told in seen.items():
        print(f"  {what}: {told}")
    broken = "BrokenProcessPool: A task has failed to un-serialize"
    assert list(seen.values()) == ["8000", broken, broken, "8000"], "this has changed"
PY
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check joblib==1.6.0 numpy==2.4.6
"$folder/venv/bin/python" "$folder/check.py" "$folder" 2>/dev/null
echo "as described"
