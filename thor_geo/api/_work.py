"""From items and their pixels to embeddings."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from thor_geo.api._assemble import cropped, one_map, one_vector
from thor_geo.api._encode import Encoder, Input, Outputs
from thor_geo.api._items import Canvas, EmbeddingItem, inspected, padded
from thor_geo.api._meta import metadata
from thor_geo.api.result import Embedding, map_array
from thor_geo.datamodules.source import SourceSpec
from thor_geo.specs import TemporalSpec
from thor_geo.support.arrays import Float32Array
from thor_geo.transforms import InputReport

if TYPE_CHECKING:
    from xarray import DataArray

_log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class _Open:
    """An item some of whose inputs have been embedded.

    Attributes:
        clear: (h, w) of what the cut takes: whether a pixel has an observation.
        scenes: Ids of the scenes behind it; None for given pixels.
        catalogues: Where the scenes of each sensor are from.
        report: What the inspection found.
        left: How many inputs are still to come.
        empty: Windows of fetched pixels that no scene shows.
        outputs: What there is, by window.
    """

    clear: npt.NDArray[np.bool_]
    scenes: tuple[str, ...] | None
    catalogues: tuple[str, ...]
    report: InputReport | None
    left: int
    empty: set[int] = field(default_factory=set)
    outputs: dict[int, Outputs] = field(default_factory=dict)


def embeddings(
    items: Sequence[EmbeddingItem],
    canvases: Iterable[Canvas],
    encoder: Encoder,
    *,
    window: TemporalSpec | None = None,
    source: SourceSpec | None = None,
) -> list[Embedding]:
    """Embed items; pixels are held only until their last input has gone through.

    Args:
        items: The items.
        canvases: The pixels of each, in the same order.
        encoder: The model.
        window: Time window, where pixels were fetched.
        source: Where from.

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
                catalogues=canvas.catalogues,
                report=report,
                left=len(windows),
            )
            for place, tile in enumerate(windows):
                pixels, observations = canvas.pixels, canvas.observations
                if tile is not None:
                    rows, cols = (slice(at, at + tile.size) for at in (tile.top, tile.left))
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
                )

    for (number, place), outputs in encoder(inputs()):
        one = under_way[number]
        # As in a run, what no scene shows has no embedding, though it went through the model.
        nothing = place in one.empty
        one.outputs[place] = {
            name: np.full_like(value, np.nan) if nothing else value.copy()
            for name, value in outputs.items()
        }
        one.left -= 1
        if one.left == 0:
            done[number] = _finished(items[number], under_way.pop(number), encoder, window, source)
    return [done[number] for number in range(len(items))]


def _finished(
    item: EmbeddingItem,
    one: _Open,
    encoder: Encoder,
    window: TemporalSpec | None,
    source: SourceSpec | None,
) -> Embedding:
    request = encoder.request
    resolution = request.resolution
    if one.scenes == ():
        _log.warning(
            "No scene passes at %s in EPSG:%s: the embedding is NaN. Try a longer window, a higher "
            "cloudy_pct, or another place (longitude comes first).",
            None if item.place is None else item.place.rect.bounds,
            None if item.place is None else item.place.epsg,
        )
    parts = [one.outputs[number] for number in sorted(one.outputs)]
    data: Float32Array | DataArray
    if request.output.kind == "pooled":
        weights = [0 if k in one.empty else own for k, own in enumerate(item.cut.weights)]
        data = one_vector([part["pooled"] for part in parts], weights, request.output.pooling)
    else:
        found = one_map(
            [part["grid"] for part in parts],
            item.cut,
            one.clear,
            corner=item.corner(resolution),
            resolution=resolution,
            cell=request.cutter.cell,
        )
        if request.crop:
            found = cropped(found, item.area(resolution))
        data = map_array(found, None if item.place is None else item.place.epsg)
    meta = metadata(
        item,
        encoder,
        inputs=len(parts),
        clear=one.clear,
        scenes=one.scenes,
        catalogues=one.catalogues,
        report=one.report,
        window=window,
        source=source,
    )
    return Embedding(data=data, meta=meta)
