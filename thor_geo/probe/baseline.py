"""The baseline of a probe: mean and standard deviation of each band over each sample."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from thor_geo.datamodules.reopened import pixels_of
from thor_geo.errors import ThorGeoError
from thor_geo.ground.plan import Plan
from thor_geo.probe.place_samples import ground_of
from thor_geo.probe.samples import PlaceSamples, Samples
from thor_geo.runs.opened_run import OpenedRun
from thor_geo.support.arrays import Float64Array
from thor_geo.support.progress import Progress


def band_features(
    opened: OpenedRun, samples: Samples, *, window: int | None = None, progress: bool = False
) -> Float64Array:
    """Return mean and standard deviation of the composite's bands over each sample's pixels.

    Values are in stored units; pixels without an observation do not count. Those of a place are its
    chip's, where its vector is pooled over a polygon those within it, and for ``centre`` those of
    the cell that holds it; for ``both`` there are features of each.

    Args:
        opened: The run; its composites are read from the cache, or fetched again.
        samples: Tiles, cells or places of the run.
        window: Which time window; needed only if there are several.
        progress: Whether to draw a progress bar on standard error, where that is a terminal.

    Returns:
        (N, 2 C): all means, then all standard deviations; NaN where a band has no observation. For
        ``both`` (N, 4 C): those of the chip, then those of the cell.

    Raises:
        ThorGeoError: If the pixels are gone.
    """
    wanted = np.unique(samples.tile)
    polygons = isinstance(samples, PlaceSamples) and samples.kind != "centre"
    cells = _cells(opened, samples)
    try:
        with pixels_of(opened, window=window) as pixels:
            # The datamodule stacks one plane of observations for each sensor.
            sensors = [name.partition(":")[0] for name in pixels.bands]
            order = list(dict.fromkeys(sensors))
            planes = [order.index(sensor) for sensor in sensors]
            features, more = (
                np.full((len(each), 2 * len(planes)), np.nan) for each in (samples, cells or ())
            )
            with Progress(len(wanted), "tiles", label="raw bands", shown=progress) as bar:
                for part in pixels.tiles(wanted):
                    seen = part.observations[:, planes] > 0
                    within = None if part.within is None else part.within[:, None] > 0
                    chip = seen & within if polygons and within is not None else seen
                    for k, tile in enumerate(part.tile.tolist()):
                        _add(features, opened.plan, samples, tile, part.image[k], chip[k])
                        if cells is not None:
                            _add(more, opened.plan, cells, tile, part.image[k], seen[k])
                        bar.advance()
    except ThorGeoError as error:
        error.add_note("Use --no-baseline to probe the embeddings alone.")
        raise
    return features if cells is None else np.concatenate([features, more], axis=1)


def _cells(opened: OpenedRun, samples: Samples) -> Samples | None:
    """Return samples of both vectors with the ground of the second, the cells; None for others."""
    if not isinstance(samples, PlaceSamples) or samples.kind != "both":
        return None
    ground = ground_of(opened, "centre")
    return replace(samples, x=ground.x[samples.tile], y=ground.y[samples.tile], side=ground.side)


def _add(
    features: Float64Array,
    plan: Plan,
    samples: Samples,
    tile: int,
    image: npt.NDArray[np.float32],
    seen: npt.NDArray[np.bool_],
) -> None:
    for k, rows, cols in _windows(plan, samples, tile):
        values, observed = image[:, rows, cols].astype(np.float64), seen[:, rows, cols]
        count = observed.sum(axis=(1, 2))
        measured = count > 0
        for c in np.flatnonzero(measured).tolist():
            known = values[c][observed[c]]
            features[k, c], features[k, len(image) + c] = known.mean(), known.std()


def _windows(plan: Plan, samples: Samples, tile: int) -> Iterator[tuple[int, slice, slice]]:
    """Yield the samples of a tile, with the rows and columns of their pixels."""
    square = plan.tile(tile)
    left, _, _, top = square.bounds
    resolution = square.resolution
    side = round(samples.side / resolution)
    for k in np.flatnonzero(samples.tile == tile).tolist():
        row = round((top - samples.y[k] - samples.side / 2) / resolution)
        col = round((samples.x[k] - samples.side / 2 - left) / resolution)
        yield k, slice(row, row + side), slice(col, col + side)
