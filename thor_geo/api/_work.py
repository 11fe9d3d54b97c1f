"""Embeddings of items from their pixels."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from thor_geo.api._assemble import cell_at, crop_map, merge_maps, merge_vectors
from thor_geo.api._canvas import Canvas
from thor_geo.api._encode import Encoder, Input, Outputs
from thor_geo.api._items import EmbeddingItem, inspected, padded
from thor_geo.api._meta import metadata
from thor_geo.api.result import Embedding, map_array
from thor_geo.datamodules.source import CompositeSource
from thor_geo.support.arrays import Float32Array
from thor_geo.transforms import InputReport

if TYPE_CHECKING:
    from xarray import DataArray

_log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class _Open:
    """An item of which only some inputs have been embedded.

    Attributes:
        clear: Whether each pixel of the cut has an observation, (h, w).
        scenes: Ids of the scenes behind it; None for the user's own pixels.
        left_out: Why scenes that could not be used are not among them, by id.
        catalogues: Catalogue of the scenes of each sensor.
        report: Findings of the inspection.
        left: Number of inputs that are still to come.
        empty: Windows of fetched pixels without an observation.
        outputs: Outputs by window.
    """

    clear: npt.NDArray[np.bool_]
    scenes: tuple[str, ...] | None
    catalogues: tuple[str, ...]
    report: InputReport | None
    left: int
    left_out: Mapping[str, str] = field(default_factory=dict)
    empty: set[int] = field(default_factory=set)
    outputs: dict[int, Outputs] = field(default_factory=dict)


def embeddings(
    items: Sequence[EmbeddingItem],
    canvases: Iterable[Canvas],
    encoder: Encoder,
    *,
    source: CompositeSource | None = None,
) -> list[Embedding]:
    """Embed items; an item's pixels are held until its last input is embedded.

    Args:
        items: The items.
        canvases: The pixels of each, in the same order.
        encoder: The model.
        source: Source of fetched pixels.

    Raises:
        InputError: If strict inspection finds bad pixels.
    """
    request = encoder.request
    under_way: dict[int, _Open] = {}
    done: dict[int, Embedding] = {}

    def inputs() -> Iterator[Input]:
        for number, (item, canvas) in enumerate(zip(items, canvases, strict=True)):
            cut = item.cut
            report = None if request.inspect is None else inspected(canvas.pixels, request)
            windows = cut.windows or (None,)
            under_way[number] = _Open(
                clear=np.asarray((canvas.observations > 0).any(axis=0)),
                scenes=canvas.scenes,
                left_out=canvas.left_out,
                catalogues=canvas.catalogues,
                report=report,
                left=len(windows),
            )
            for place, tile in enumerate(windows):
                pixels, observations = canvas.pixels, canvas.observations
                if tile is not None:
                    rows, cols = (slice(edge, edge + tile.size) for edge in (tile.top, tile.left))
                    part = pixels[:, rows, cols]
                    pixels, _ = padded(part, tile.size, tile.size, request.fill_values)
                    observations, _ = tile.cut(observations)
                if canvas.scenes is not None and not observations.any():
                    under_way[number].empty.add(place)
                yield Input(
                    key=(number, place),
                    pixels=pixels,
                    observations=observations,
                    image_size=cut.image_size,
                    ground_cover=cut.ground_cover,
                    within=item.within,
                )

    for (number, place), outputs in encoder(inputs()):
        state = under_way[number]
        # As in a run, an input without an observation has no embedding.
        nothing = place in state.empty
        state.outputs[place] = {
            name: np.full_like(value, np.nan) if nothing else value.copy()
            for name, value in outputs.items()
        }
        state.left -= 1
        if state.left == 0:
            done[number] = _finished(items[number], under_way.pop(number), encoder, source)
    return [done[number] for number in range(len(items))]


def _finished(
    item: EmbeddingItem,
    state: _Open,
    encoder: Encoder,
    source: CompositeSource | None,
) -> Embedding:
    request = encoder.request
    resolution = request.resolution
    if state.scenes == ():
        _log.warning(
            "No scene passes at %s in EPSG:%s: the embedding is NaN. Try a longer window, a higher "
            "cloudy_pct, or another place (longitude comes first).",
            None if item.place is None else item.place.rect.bounds,
            None if item.place is None else item.place.epsg,
        )
    parts = [state.outputs[number] for number in sorted(state.outputs)]
    data: Float32Array | DataArray
    if request.output.kind == "pooled":
        weights = [0 if k in state.empty else weight for k, weight in enumerate(item.cut.weights)]
        data = merge_vectors([part["pooled"] for part in parts], weights, request.output.pooling)
    else:
        embedding_map = merge_maps(
            [part["grid"] for part in parts],
            item.cut,
            state.clear,
            corner=item.corner(resolution),
            resolution=resolution,
            cell=request.cutter.cell,
        )
        if request.crop:
            embedding_map = crop_map(embedding_map, item.area(resolution))
        if request.output.kind == "centre":
            data = cell_at(embedding_map, item.point)
        else:
            data = map_array(embedding_map, None if item.place is None else item.place.epsg)
    meta = metadata(
        item,
        encoder,
        inputs=len(parts),
        clear=state.clear,
        scenes=state.scenes,
        left_out=state.left_out,
        catalogues=state.catalogues,
        report=state.report,
        source=source,
    )
    return Embedding(data=data, meta=meta)
