#!/usr/bin/env bash
# zarr: two threads that use `with zarr.config.set(...)` at the same time leave the setting set, and
# one may write without it.
#
# Versions: zarr 3.1.6, donfig 0.8.1.post1, numpy 2.4.6; wheels from the package index.
# Input: arrays in memory, in chunks that equal the fill value.
#
# The settings are the process's. Each thread remembers what it found and puts that back: of two whose
# blocks overlap, the second finds what the first has set. When the first ends, the second is inside
# its block without the setting, and loses chunks that it wanted written; when the second ends, the
# setting stays for all that follows, and the same call writes more files than before. The setting of
# an array itself (`Array.with_config`, or `config=` where it is created) is its own.
#
# Needs Python 3.11 or newer: PYTHON=python3.11 by default.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/check.py" <<'PY'
import threading
from importlib.metadata import version

import numpy as np
import zarr
from zarr.storage import MemoryStore

print(f"zarr {version('zarr')}, donfig {version('donfig')}, numpy {np.__version__}")
KEY = "array.write_empty_chunks"
second_in, first_out = threading.Event(), threading.Event()
written = {}


def chunks(**how):
    """Return the number of chunks that are stored of an array of zeros."""
    files = {}
    array = zarr.create_array(MemoryStore(files), shape=4, chunks=1, dtype="i4", fill_value=0, **how)
    array[:] = np.zeros(4, "i4")
    return sum(name != "zarr.json" for name in files)


def first():
    with zarr.config.set({KEY: True}):
        assert second_in.wait(20)
    first_out.set()


def second():
    with zarr.config.set({KEY: True}):
        second_in.set()
        assert first_out.wait(20)
        written["inside"] = chunks()


written["before"] = chunks()
one = threading.Thread(target=first)
one.start()
while not zarr.config.get(KEY):
    pass
two = threading.Thread(target=second)
two.start()
one.join()
two.join()
written["after"] = chunks()
print(f"  chunks of zeros that are stored, of 4: {written}")
own = chunks(config={"write_empty_chunks": False})
print(f"  with the array's own setting, after that: {own}")
assert written == {"before": 0, "inside": 0, "after": 4}
assert own == 0
PY
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check \
    zarr==3.1.6 donfig==0.8.1.post1 numpy==2.4.6
"$folder/env/bin/python" "$folder/check.py"
echo "as described"
