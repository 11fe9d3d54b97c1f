"""colours.json: the mapping from embeddings to colours that all pictures of a run share.

run.json is written once, before there is any embedding, so the mapping that is fitted to embeddings
has a separate file. It depends on the embeddings alone: fitting it again gives the same result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from thor_geo.errors import RunDirectoryError
from thor_geo.ground.plan import Plan, Shard
from thor_geo.pictures.pca import Colours
from thor_geo.runs.reading import MapReader, VectorReader, cell_window
from thor_geo.runs.rundir import RunDirectory
from thor_geo.specs import Windows
from thor_geo.storage.files import write_bytes
from thor_geo.support.jsontext import indented_json, parse_json

# Version of the file.
_FORMAT = 1
# Number of embeddings that the colours are fitted to, and of the shards they come from.
_SAMPLE, _SAMPLE_SHARDS = 2048, 32
# Number of time windows they come from, if a run has several.
_SAMPLE_WINDOWS = 4
# Digits that distinguish any two float32 (IEEE 754-2019, 5.12.2).
_DIGITS = 9

#: Colours by the dimension of their embeddings: maps with `group_merge: concat` have more
#: dimensions than the vectors beside them, all other runs have one entry. Empty without embeddings.
RunColours = dict[int, Colours]


def load_or_fit_colours(run: RunDirectory, plan: Plan) -> RunColours:
    """Return the colours of a run from colours.json, or else fit them. Nothing is written.

    Args:
        run: The run directory. For an unfinished run, colours are fitted to the finished shards.
        plan: Its plan.

    Raises:
        RunDirectoryError: If colours.json is damaged or belongs to another run, or a sample cannot
            be read.
    """
    return load_colours(run) if run.colours.exists() else fit_colours(run, plan)


def write_colours(run: RunDirectory, plan: Plan, colours: RunColours | None = None) -> RunColours:
    """Write the colours of a finished run as colours.json.

    Args:
        run: The run directory.
        plan: Its plan.
        colours: The colours; None to fit them.

    Raises:
        RunDirectoryError: If a sample cannot be read.
        OSError: If the file cannot be written.
    """
    colours = fit_colours(run, plan) if colours is None else colours
    document = {
        "format": _FORMAT,
        "fingerprint": run.fingerprint,
        "colours": {str(dimension): _colours_json(entry) for dimension, entry in colours.items()},
    }
    write_bytes(run.colours, indented_json(document))
    return colours


def load_colours(run: RunDirectory) -> RunColours:
    """Read colours.json.

    Args:
        run: The run directory.

    Raises:
        RunDirectoryError: If it cannot be read, is damaged, or belongs to another run.
    """
    try:
        document = parse_json(run.colours.read_bytes())
        if document["fingerprint"] != run.fingerprint:
            raise ValueError("it belongs to another run")
        return {
            int(dimension): _read_colours(content, int(dimension))
            for dimension, content in document["colours"].items()
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        problem = f"no {error}" if isinstance(error, KeyError) else f"{error}"
        raise RunDirectoryError(
            f"`{run.colours}` cannot be used ({problem:.200}). Delete it: the colours depend "
            "only on the embeddings, and are fitted again."
        ) from error


def fit_colours(run: RunDirectory, plan: Plan) -> RunColours:
    """Fit colours to embeddings from shards spread evenly over all zones.

    Maps come first: vectors with as many dimensions take the maps' colours, so that a tile looks
    like its cells.

    Args:
        run: The run directory; shards that are not done are skipped.
        plan: Its plan.

    Raises:
        RunDirectoryError: If a shard's file cannot be read.
    """
    shards = _sampled(run, plan)
    fitted: RunColours = {}
    times = _times(run)
    sources: list[Callable[[Shard, int | None], npt.NDArray[np.float32]]] = []
    if run.has_grid:
        sources.append(_cells(run, plan))
    if run.has_pooled:
        sources.append(VectorReader(run).read)
    for read in sources:
        parts = list(_samples(read, shards, times))
        if parts and parts[0].shape[1] not in fitted:
            sample = np.concatenate(parts)
            fitted[sample.shape[1]] = Colours.fit(sample)
    return fitted


def _sampled(run: RunDirectory, plan: Plan) -> list[Shard]:
    """Choose shards that are done, the same ones for all finished runs of a plan."""
    done: Any = range(len(plan.shards))
    count = min(_SAMPLE_SHARDS, len(done))
    chosen = np.linspace(0, len(done) - 1, count).round().astype(int)
    if not run.all_marked(plan.shards[k] for k in chosen.tolist()):
        done = [k for k in done if run.marker_path(plan.shards[k]).exists()]
        count = min(_SAMPLE_SHARDS, len(done))
        chosen = np.linspace(0, max(len(done) - 1, 0), count).round().astype(int)
    return [plan.shards[done[k]] for k in chosen.tolist()]


def _times(run: RunDirectory) -> list[int | None]:
    """Return the time windows to sample, at even distances; None without a list of them."""
    windows = Windows.from_settings(run.document()["settings"]["data"])
    if not windows.listed:
        return [None]
    count = min(_SAMPLE_WINDOWS, len(windows))
    return [int(k) for k in np.linspace(0, len(windows) - 1, count).round()]


def _samples(
    read: Callable[[Shard, int | None], npt.NDArray[np.float32]],
    shards: list[Shard],
    times: list[int | None],
) -> Iterator[npt.NDArray[np.float32]]:
    share = -(-_SAMPLE // max(len(shards) * len(times), 1))
    for shard, time in product(shards, times):
        values = read(shard, time)
        values = values[np.isfinite(values).all(axis=1)]
        if len(values):
            yield values[:: max(1, -(-len(values) // share))]


def _cells(run: RunDirectory, plan: Plan) -> Callable[[Shard, int | None], npt.NDArray[np.float32]]:
    maps = MapReader(run, plan)

    def read(shard: Shard, time: int | None) -> npt.NDArray[np.float32]:
        """Return (cells, D) of every third cell a side, or of all if those have no embedding."""
        arrays = maps.open(shard.epsg)
        top, bottom, left, right = cell_window(arrays[0], shard.square.bounds)
        for step in (3, 1):
            rows, cols = slice(top, bottom, step), slice(left, right, step)
            values = maps.read(shard, arrays, rows, cols, time)
            if np.isfinite(values).any():
                break
        return values.reshape(-1, values.shape[-1])

    return read


def _colours_json(colours: Colours) -> dict[str, Any]:
    return {
        "mean": _numbers(colours.mean),
        "axes": [_numbers(axis) for axis in colours.axes.T],
        "low": _numbers(colours.low),
        "high": _numbers(colours.high),
        "share": list(colours.share),
    }


def _numbers(values: npt.NDArray[np.float32]) -> list[float]:
    return [float(f"{value:.{_DIGITS}g}") for value in values.tolist()]


def _read_colours(content: dict[str, Any], dimension: int) -> Colours:
    arrays = {
        name: np.array(content[name], dtype=np.float32) for name in ("mean", "axes", "low", "high")
    }
    red, green, blue = map(float, content["share"])
    shapes = {name: array.shape for name, array in arrays.items()}
    if shapes != {"mean": (dimension,), "axes": (3, dimension), "low": (3,), "high": (3,)}:
        raise ValueError(f"its colours for {dimension} dimensions have shapes {shapes}")
    return Colours(
        mean=arrays["mean"],
        axes=np.ascontiguousarray(arrays["axes"].T),
        low=arrays["low"],
        high=arrays["high"],
        share=(red, green, blue),
    )
