"""From items and their pixels to embeddings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from datamodules.source import SourceSpec
from thor_geo.api._assemble import cropped, one_map, one_vector
from thor_geo.api._encode import Encoder, Input, Outputs
from thor_geo.api._items import Canvas, Item, padded
from thor_geo.api._meta import metadata
from thor_geo.api.result import Embedding, Vector, map_array
from thor_geo.specs import TemporalSpec
from thor_geo.transforms import InputReport, inspect_input

if TYPE_CHECKING:
    from xarray import DataArray


@dataclass(kw_only=True)
class _Open:
    """An item some of whose inputs have been embedded.

    Attributes:
        clear: (h, w) of what the cut takes: whether a pixel has an observation.
        scenes: Ids of the scenes behind it; None for given pixels.
        report: What the inspection found.
        left: How many inputs are still to come.
        outputs: What there is, by window.
    """

    clear: npt.NDArray[np.bool_]
    scenes: tuple[str, ...] | None
    report: InputReport | None
    left: int
    outputs: dict[int, Outputs] = field(default_factory=dict)


def embeddings(
    items: Sequence[Item],
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
            report = _inspected(encoder, canvas)
            windows = cut.windows or (None,)
            under_way[number] = _Open(
                clear=np.asarray((canvas.observations > 0).any(axis=0)),
                scenes=canvas.scenes,
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
                yield Input(
                    key=(number, place),
                    pixels=pixels,
                    observations=observations,
                    image_size=cut.image_size,
                    ground_cover=cut.ground_cover,
                )

    for (number, place), outputs in encoder(inputs()):
        one = under_way[number]
        one.outputs[place] = outputs
        one.left -= 1
        if one.left == 0:
            done[number] = _finished(items[number], under_way.pop(number), encoder, window, source)
    return [done[number] for number in range(len(items))]


def _inspected(encoder: Encoder, canvas: Canvas) -> InputReport | None:
    request = encoder.request
    if request.inspect is None:
        return None
    report = inspect_input(
        torch.from_numpy(canvas.pixels),
        request.selection,
        fill_value=request.fill_values,
    )
    if request.inspect == "error":
        report.raise_if_bad()
    return report


def _finished(
    item: Item,
    one: _Open,
    encoder: Encoder,
    window: TemporalSpec | None,
    source: SourceSpec | None,
) -> Embedding:
    request = encoder.request
    resolution = request.resolution
    parts = [one.outputs[number] for number in sorted(one.outputs)]
    data: Vector | DataArray
    if request.output.kind == "pooled":
        data = one_vector([part["pooled"] for part in parts], request.output.pooling)
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
        report=one.report,
        window=window,
        source=source,
    )
    return Embedding(data=data, meta=meta)
