#!/usr/bin/env bash
# Python: a signal handler of one's own is gone before the objects of modules are finalised; one
# that ignores the signal is not.
#
# Versions: CPython 3.11, 3.13; no package is needed. A process whose SIGTERM handler only takes a
# note gets a SIGTERM while it ends. Seen:
#
#   handler          in an atexit function   in __del__ of a module's object
#   a function       the function is called  killed by SIGTERM (143 in a shell)
#   signal.SIG_IGN   ignored                 ignored
#
# Before it finalises modules the interpreter gives every signal that has a Python function its
# default action back, and leaves alone those that are ignored. So a program that survives a second
# SIGTERM by a handler that does nothing is killed where its process pools, process groups or files
# are taken down last, although its work is done and it was about to exit with a code of its own.
#
# Needs Python 3.11 or newer: PYTHON=python3 by default.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/ends.py" <<'PY'
import atexit
import os
import signal
import sys

handler, place = sys.argv[1:]
signal.signal(signal.SIGTERM, signal.SIG_IGN if handler == "SIG_IGN" else lambda *_: None)


class Resource:
    """Something that takes a while to be taken down; meanwhile the scheduler sends SIGTERM."""

    def __init__(self):
        self.interrupt = lambda kill=os.kill, pid=os.getpid(), number=signal.SIGTERM: kill(pid, number)

    def __del__(self):
        self.interrupt()


if place == "atexit":
    atexit.register(os.kill, os.getpid(), signal.SIGTERM)
else:
    resource = Resource()
sys.exit(3)
PY
cat > "$folder/check.py" <<'PY'
import platform
import subprocess
import sys

print(platform.python_implementation(), platform.python_version())
seen = {}
for handler in ("function", "SIG_IGN"):
    for place in ("atexit", "__del__"):
        command = [sys.executable, sys.argv[1], handler, place]
        seen[handler, place] = code = subprocess.run(command, timeout=60).returncode
        print(f"  {handler}, SIGTERM in {place}: exit {code}")
assert seen == {
    ("function", "atexit"): 3,
    ("function", "__del__"): -15,
    ("SIG_IGN", "atexit"): 3,
    ("SIG_IGN", "__del__"): 3,
}, seen
PY
"${PYTHON:-python3}" "$folder/check.py" "$folder/ends.py"
echo "as described"
