"""One summer over a village, with three choices of cloud mask: the picture of docs/real-data.md.

    python -m benchmarks.masks --scenes ../shared/data/scenes/wc_be_31UDS    # half a minute

Claims nothing but what the picture shows; prints the figures below it. The scenes are WorldCereal's
sample `wc_be_31UDS`, see docs/real-data.md. They have no Cloud Score+ scores outside Earth Engine,
so the third choice is another set of SCL classes.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import rasterio
from matplotlib.figure import Figure

from benchmarks.support.report import ROOT, parser
from thor_geo.composites import BlockStore, DirectSource
from thor_geo.datasets.colour import true_colour
from thor_geo.emulator import EmulatorServer
from thor_geo.ground.lattice import Block
from thor_geo.sources.earthengine import SessionSpec
from thor_geo.specs import SensorSpec, TemporalSpec

WINDOW = TemporalSpec.range("2018-05-01", "2018-09-01")
ALL = SensorSpec(cloudy_pct=100)

#: Everything but vegetation, bare ground and water.
STRICT = (1, 2, 3, 7, 8, 9, 10, 11)

CHOICES = {
    "mask: none": ALL,
    "mask: scl": SensorSpec(cloudy_pct=100, mask="scl"),
    f"mask: scl, scl_classes: {list(STRICT)}": SensorSpec(
        cloudy_pct=100, mask="scl", scl_classes=STRICT
    ),
}

INK, MUTED = "#1b2733", "#5b6875"


class Composite(NamedTuple):
    """A composite: (10, 64, 64) uint16, (64, 64) uint8, and the number of its scenes."""

    pixels: npt.NDArray[np.uint16 | np.int16]
    observations: npt.NDArray[np.uint8]
    scenes: int


def compose(folder: Path) -> dict[str, Composite]:
    """Fetch the composite of each choice from an emulator over the scenes."""
    first = json.loads((folder / "scenes.json").read_text())["scenes"][0]
    with rasterio.open(folder / Path(first["file"]).name) as file:
        side, anchor, epsg = file.width, (file.transform.c, file.transform.f), file.crs.to_epsg()
    block = Block(epsg=epsg, size=side, resolution=10, left=0, top=0, anchor=anchor)
    composites = {}
    with EmulatorServer(folder) as server, tempfile.TemporaryDirectory() as cache:
        session = SessionSpec(credentials="anonymous", url=server.url)
        for name, sensor in CHOICES.items():
            stored = DirectSource(BlockStore(cache, sensor=sensor, window=WINDOW), session).get(
                block
            )
            composites[name] = Composite(*stored.read(), len(stored.scenes))
    return composites


def draw(composites: dict[str, Composite]) -> Figure:
    """Draw composites above, clear observations below, one column for each choice."""
    rgb, blue = [ALL.bands.index(band) for band in ("B4", "B3", "B2")], ALL.bands.index("B2")
    figure = Figure(figsize=(12, 8.4), layout="constrained", facecolor="white")
    axes = figure.subplots(2, len(composites))
    most = max(composite.observations.max() for composite in composites.values())
    for column, (choice, (pixels, counts, scenes)) in enumerate(composites.items()):
        above, below = axes[0, column], axes[1, column]
        above.imshow(true_colour(pixels[rgb], counts), interpolation="nearest")
        above.set_title(choice, fontsize=11, color=INK)
        average = f"B2: {round(float(pixels[blue][counts > 0].mean()), 1):g} DN on average"
        shown = below.imshow(counts, cmap="YlGnBu", vmin=0, vmax=most, interpolation="nearest")
        clear = (
            f"clear observations: {round(float(counts.mean()), 1):g} on average, "
            f"{counts.min()} at least"
        )
        print(f"{choice}: {scenes} scenes; {average}; {clear}")
        for axis, label in ((above, average), (below, clear)):
            axis.set(xticks=[], yticks=[])
            axis.set_xlabel(label, color=MUTED)
    bar = figure.colorbar(shown, ax=axes[1, :].tolist(), shrink=0.8)
    bar.set_label(f"of {scenes} scenes", color=MUTED)
    figure.suptitle("Median of May to August 2018, 640 m in Flanders", fontsize=13, color=INK)
    return figure


def main() -> None:
    """Make the composites, print their figures, draw the picture."""
    arguments = parser(__doc__)
    arguments.add_argument("--scenes", type=Path, required=True, help="folder of wc_be_31UDS")
    arguments.add_argument(
        "--picture", type=Path, default=ROOT / "docs" / "images" / "masks.png", help="where to"
    )
    options = arguments.parse_args()
    composites = compose(options.scenes)
    draw(composites).savefig(options.picture, format="png", dpi=100, metadata={"Software": None})
    print(options.picture)


if __name__ == "__main__":
    main()
