#!/usr/bin/env bash
# faiss: an index whose lists lie in a file of their own crashes at its first search if it was opened
# with IO_FLAG_MMAP.
#
# Versions: faiss-cpu 1.15.1 and numpy 2.4.6; wheels from the package index.
# Input: 4,000 random vectors in an IndexIVFFlat of 16 lists, merged by faiss.contrib.ondisk, as the
# project's own example does.
#
# IO_FLAG_MMAP is no single bit: it holds IO_FLAG_SKIP_IVF_DATA, and is meant for an index whose lists
# lie in its own file. Of one with OnDiskInvertedLists, read_index returns an index that looks whole
# (its number of vectors is right), and search ends the process with a segmentation fault: no
# exception, and in a server no answer to anyone. IO_FLAG_ONDISK_SAME_DIR alone maps the file of the
# lists anyway, and answers.
#
# Needs Python 3.11 or newer: PYTHON=python3.11 by default.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/check.py" <<'PY'
import subprocess
import sys

import faiss
import numpy as np
from faiss.contrib.ondisk import merge_ondisk

ASK = """
import sys, faiss, numpy as np
index = faiss.read_index("index", eval(sys.argv[1]))
print(index.ntotal, flush=True)
print(index.search(np.load("query.npy"), 3)[1][0].tolist())
"""

vectors = np.random.default_rng(0).standard_normal((4000, 32), dtype=np.float32)
empty = faiss.IndexIVFFlat(faiss.IndexFlatL2(32), 32, 16)
empty.train(vectors)
faiss.write_index(empty, "empty")
for k in range(2):
    part = faiss.read_index("empty")
    part.add_with_ids(vectors[k::2], np.arange(k, 4000, 2))
    faiss.write_index(part, f"part{k}")
merge_ondisk(empty, ["part0", "part1"], "lists")
faiss.write_index(empty, "index")
np.save("query.npy", vectors[:1])
for flags, code in (
    ("faiss.IO_FLAG_ONDISK_SAME_DIR", 0),
    ("faiss.IO_FLAG_MMAP", -11),
    ("faiss.IO_FLAG_MMAP | faiss.IO_FLAG_ONDISK_SAME_DIR", -11),
):
    done = subprocess.run([sys.executable, "-c", ASK, flags], capture_output=True, text=True)
    print(f"  faiss {faiss.__version__}, {flags}: exit {done.returncode}, {done.stdout.split()}")
    assert done.returncode == code, flags
    assert "4000" in done.stdout.split()
    assert (code != 0) or "[0," in done.stdout
PY
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check faiss-cpu==1.15.1 numpy==2.4.6
cd "$folder"
env/bin/python check.py
echo "as described"
