"""Draws the pictures of docs/gallery.md by running the page's own commands.

    python -m benchmarks.gallery    # some minutes

Claims that the page's commands make its pictures. Runs the page's ``bash`` blocks in order in a
temporary folder, stops at the first that fails, and writes docs/images/gallery/.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from benchmarks.support.report import ROOT, parser

PAGE = ROOT / "docs" / "gallery.md"
FOLDER = ROOT / "docs" / "images" / "gallery"

#: The commands' pictures, by their names on the page.
PICTURES = {
    "quicklook": "out/quickstart/quicklook.png",
    "part": "part.png",
    "cog": "cog.png",
    "similar": "similar.png",
    "places": "out/quickstart_places/quicklook.png",
    "places_similar": "places_similar.png",
    "confusion": "probe/confusion.png",
    "curve": "probe/curve.png",
    "windows": "windows.png",
    "change": "change/change.png",
    "sensors": "out/quickstart_s1s2/quicklook.png",
}

#: Opens a browser and serves until it is stopped; docs/explorer.md has its pictures.
BY_HAND = "thor-geo view out/quickstart\n"

#: Most pixels a side.
WIDTH, HEIGHT = 1200, 1500
#: A COG has a pixel for each cell: it is enlarged without blurring, as in QGIS.
_CELL = 8

_BLOCK = re.compile(r"^```bash\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: Path = PAGE) -> list[str]:
    """Return the page's blocks of commands, in their order."""
    return _BLOCK.findall(page.read_text(encoding="utf-8"))


def run(folder: Path) -> None:
    """Run the commands in a folder; raises CalledProcessError at the first that fails."""
    (folder / "configs").symlink_to(ROOT / "configs")
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    for block in blocks():
        if block == BY_HAND:
            continue
        print(block, flush=True)
        subprocess.run(["bash", "-euc", block], cwd=folder, env=environment, check=True)


def keep(source: Path, target: Path) -> None:
    """Write a picture small enough for a page: fewer pixels, 256 colours."""
    with Image.open(source) as opened:
        picture = opened.convert("RGBA")
    if max(picture.size) < 300:
        size = (picture.width * _CELL, picture.height * _CELL)
        picture = picture.resize(size, Image.Resampling.NEAREST)
    picture.thumbnail((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
    flat = Image.new("RGB", picture.size, "white")
    flat.paste(picture, mask=picture.getchannel("A"))
    target.parent.mkdir(parents=True, exist_ok=True)
    flat.quantize(256, dither=Image.Dither.NONE).save(target, optimize=True)


def main() -> int:
    """Run the commands and write the pictures."""
    parser(__doc__).parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run(folder)
        for picture, source in PICTURES.items():
            keep(folder / source, FOLDER / f"{picture}.png")
    for path in sorted(FOLDER.glob("*.png")):
        print(f"{path.relative_to(ROOT)}  {path.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
