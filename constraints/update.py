"""Renews the locks: `make update` writes each file anew, and shows what moved.

    python constraints/update.py            # every lock whose Python is on this machine
    python constraints/update.py 3.13       # this one

pip resolves what tests and documentation need (`.[test,docs]`), and installs none of it.
This needs nothing but Python and the network.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent

HEAD = """\
# Versions known to work together ({where}, {date}):
# what `make` installs with Python {version}. `make update` writes it; the ranges,
# and the reason for each bound, are in pyproject.toml.
"""


def interpreter(version: str) -> str | None:
    """Return the path of a Python, from PATH or pyenv; None if there is none.

    Args:
        version: Major and minor version, e.g. "3.13".
    """
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    on_path = [shutil.which(f"python{version}"), shutil.which("python3"), sys.executable]
    ask = "import sys; print('%d.%d' % sys.version_info[:2])"
    for path in [*on_path, *map(str, sorted(pyenv.glob(f"{version}.*/bin/python")))]:
        if path is None:
            continue
        # A shim of pyenv is there even for versions that are switched off.
        answer = subprocess.run([path, "-c", ask], capture_output=True, text=True, check=False)
        if answer.stdout.strip() == version:
            return path
    return None


def resolve(python: str) -> dict[str, str]:
    """Return the newest versions that fit together, by name."""
    with tempfile.TemporaryDirectory(prefix="thor-geo-lock-") as folder:
        report = Path(folder, "report.json")
        subprocess.run([python, "-m", "venv", f"{folder}/venv"], check=True)
        command = [f"{folder}/venv/bin/python", "-m", "pip", "install", "--dry-run", "--quiet"]
        command += ["--disable-pip-version-check", "--ignore-installed", f"--report={report}"]
        subprocess.run([*command, "-e", f"{ROOT}[test,docs]"], check=True)
        installed = json.loads(report.read_text())["install"]
    found = {part["metadata"]["name"]: part["metadata"]["version"] for part in installed}
    del found["thor-geo"]
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def pins(lock: Path) -> dict[str, str]:
    """Return the versions in a lock, by name."""
    return dict(re.findall(r"^([\w.-]+)==(\S+)$", lock.read_text(), re.MULTILINE))


def moves(old: dict[str, str], new: dict[str, str]) -> list[str]:
    """Return a line for each package that came, went, or has another version."""
    # Names are equal whatever their case and punctuation (PEP 503).
    before, after = (
        {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in side.items()}
        for side in (old, new)
    )
    return [
        f"{name}: {before.get(name, 'new')} -> {after.get(name, 'gone')}"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]


def main() -> int:
    """Renew locks; return 1 if one was asked for whose Python is not there."""
    wanted = sys.argv[1:]
    missing = 0
    for lock in sorted(FOLDER.glob("python*.txt")):
        version = lock.stem.removeprefix("python")
        if wanted and version not in wanted:
            continue
        python = interpreter(version)
        if python is None:
            print(f"{lock.name}: left as it is, for want of python{version} (PATH, pyenv)")
            missing += version in wanted
            continue
        new = resolve(python)
        changed = moves(pins(lock), new)
        print(f"{lock.name}: {len(changed)} of {len(new)} packages moved", *changed, sep="\n  ")
        where = f"Python {version} on {platform.system()} {platform.machine()}"
        head = HEAD.format(version=version, where=where, date=datetime.date.today())
        lock.write_text(head + "".join(f"{name}=={pin}\n" for name, pin in new.items()))
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
