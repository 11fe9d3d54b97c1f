"""quicklook.png of a run of places, and pictures of some of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from thor_geo.errors import ConfigError
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.pictures.caption import SEPARATOR, colours_legend, format_days, run_caption
from thor_geo.pictures.classes import PlaceClasses, first_with_classes
from thor_geo.pictures.colours import RunColours, load_or_fit_colours
from thor_geo.pictures.place_map import PlaceGround
from thor_geo.pictures.place_panels import ChipPicture, PlacePicture
from thor_geo.pictures.place_sheet import draw_place_sheet
from thor_geo.pictures.zone_pictures import TrueColour
from thor_geo.runs.place_reading import id_column, own_columns, read_place_rows
from thor_geo.runs.rundir import RunDirectory
from thor_geo.support.arrays import BoolArray, Float32Array, Int64Array, UInt8Array
from thor_geo.support.words import counted

if TYPE_CHECKING:
    import pyarrow as pa
    from matplotlib.figure import Figure

#: Shards whose vectors are read for a picture: of more, an even sample.
MAX_PLACE_SHARDS = 4096
# Shards whose vectors are in memory at a time.
_AT_ONCE = 256
# Chips beside the maps, and alone; their side in pixels.
_CHIPS, _CHIPS_ALONE, _CHIP_PX = 8, 32, 192


def draw_places(
    run: RunDirectory,
    plan: PlacePlan,
    layers: Collection[str],
    *,
    truecolour: TrueColour | None = None,
    colours: RunColours | None = None,
    chosen: BoolArray | None = None,
    by: str | None = None,
    part: str | None = None,
) -> Figure:
    """Draw places: maps, counts by class, and some chips.

    Args:
        run: The run directory; places of shards that are not done are left out.
        plan: Its plan.
        layers: What to draw, from `thor_geo.pictures.quicklook.LAYERS`.
        truecolour: Source of pixels, called with EPSG code, bounds, shape and the index of a window
            of the plan; None leaves the chips out.
        colours: The run's colours; None to read or fit them.
        chosen: Which places of the plan to draw, (n,), at least one; None for all.
        by: Column whose values are counted; None for the first that has few.
        part: What is drawn in words, for the caption; None for all of the run.

    Returns:
        A figure 1600 pixels wide.

    Raises:
        RunDirectoryError: If a file cannot be read.
        ConfigError: If only chips are wanted, and the bands make no picture.
    """
    column = by if by is not None else _column(run, plan)
    fitted = load_or_fit_colours(run, plan) if colours is None else colours
    own = id_column(run)
    drawn = _read(run, plan, fitted, [n for n in dict.fromkeys((column, own)) if n is not None])
    wanted = np.ones(len(plan), dtype=np.bool_) if chosen is None else chosen
    side = plan.lattices[0].tile_size * plan.lattices[0].resolution
    among = np.flatnonzero(drawn.embedded & wanted)
    classes = None
    if column is not None and len(among):
        classes = PlaceClasses.of(column, drawn.columns[column].take(drawn.row[among]))
    chips: list[ChipPicture] = []
    if truecolour is not None and "composite" in layers:
        many = _CHIPS_ALONE if tuple(layers) == ("composite",) else _CHIPS
        ids = None if own is None else drawn.columns[own].take(drawn.row[among])
        chips = list(_chips(plan, truecolour, among, classes, ids, many))
    if tuple(layers) == ("composite",) and not chips:
        raise ConfigError(
            "--layer",
            "composite",
            "no place has an embedding, or the run's bands make no picture",
            "Take --layer pca.",
        )
    caption = run_caption(run, plan)
    if part is not None:
        caption = replace(caption, subtitle=f"{caption.subtitle}{SEPARATOR}part: {part}")
    picture = PlacePicture(
        ground=PlaceGround.around(plan.lon[wanted], plan.lat[wanted], least_m=4.0 * side),
        rgb=drawn.rgb[wanted],
        embedded=drawn.embedded[wanted],
        pictured=drawn.pictured[wanted],
        failed=drawn.failed[wanted],
        empty=drawn.empty[wanted],
        observations=drawn.observations[wanted],
        classes=classes,
        chips=chips,
        note="\n".join(_notes(run, plan, drawn, wanted)),
    )
    legend = colours_legend(fitted.get(drawn.dimension)) if "pca" in layers else ""
    return draw_place_sheet(picture, caption, legend, layers)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Drawn:
    """All places of a plan, (n,) each; see `PlacePicture`.

    Attributes:
        dimension: D of the embeddings, 0 without one.
        row: Row of each place in `columns`, -1 where its shard is not done.
        columns: Columns of the table.
    """

    dimension: int
    rgb: UInt8Array
    embedded: BoolArray
    pictured: BoolArray
    failed: BoolArray
    empty: BoolArray
    observations: Float32Array
    row: Int64Array
    columns: pa.Table


def _read(run: RunDirectory, plan: PlacePlan, colours: RunColours, columns: list[str]) -> _Drawn:
    """Read all places; the vectors of very many only in an even sample."""
    n, count, dimension = len(plan), len(plan.shards), 0
    rgb, pictured = np.zeros((n, 3), np.uint8), np.zeros(n, np.bool_)
    sample = np.unique(np.linspace(0, count - 1, min(count, MAX_PLACE_SHARDS)).round().astype(int))
    for start in range(0, count if colours else 0, _AT_ONCE):
        some = sample[start : start + _AT_ONCE].tolist()
        if not some:
            break
        part = read_place_rows(run, plan, vectors="embedding", shards=some)
        if part.vectors is None or not part.embedded.any():
            continue
        places, dimension = part.index[part.embedded], part.vectors.shape[1]
        rgb[places] = colours[dimension](part.vectors[part.embedded])
        pictured[places] = True
    rows = read_place_rows(run, plan, vectors=None, columns=columns)
    embedded, failed, empty = (np.zeros(n, np.bool_) for _ in range(3))
    embedded[rows.index], failed[rows.index] = rows.embedded, rows.failed
    empty[rows.index] = ~rows.embedded & ~rows.failed
    observations = np.full(n, np.nan, np.float32)
    observations[rows.index] = rows.observations
    row = np.full(n, -1, dtype=np.int64)
    row[rows.index] = np.arange(len(rows))
    return _Drawn(
        dimension=dimension,
        rgb=rgb,
        embedded=embedded,
        pictured=pictured,
        failed=failed,
        empty=empty,
        observations=observations,
        row=row,
        columns=rows.columns,
    )


def _column(run: RunDirectory, plan: PlacePlan) -> str | None:
    """Return the first kept column with few values, by the places of an even sample."""
    names = own_columns(run)
    if not names:
        return None
    count = len(plan.shards)
    sample = np.unique(np.linspace(0, count - 1, min(count, _AT_ONCE)).round().astype(int))
    rows = read_place_rows(run, plan, vectors=None, columns=names, shards=sample.tolist())
    return first_with_classes(rows.columns, names)


def _notes(run: RunDirectory, plan: PlacePlan, drawn: _Drawn, wanted: BoolArray) -> Iterator[str]:
    """Yield what a reader must know about the places that are not drawn."""
    rows = run.document()["settings"]["data"].get("places", {}).get("rows", len(plan))
    if skipped := int(rows) - len(plan):
        yield f"{counted(skipped, 'row')} of the table {'was' if skipped == 1 else 'were'} skipped."
    if waiting := int((wanted & (drawn.row < 0)).sum()):
        yield f"{counted(waiting, 'place is', 'places are')} not done yet."
    some, every = int((drawn.pictured & wanted).sum()), int((drawn.embedded & wanted).sum())
    if some < every:
        yield f"Colours: an even sample of {some:,} of {every:,} embeddings."


def _chips(
    plan: PlacePlan,
    truecolour: TrueColour,
    among: Int64Array,
    classes: PlaceClasses | None,
    ids: pa.ChunkedArray | None,
    many: int,
) -> Iterator[ChipPicture]:
    """Yield pictures of some places: of each class in turn, evenly spread along the plan."""
    for k in _spread(len(among), classes, many).tolist():
        index = int(among[k])
        tile, window = plan.tile(index), int(plan.window[index])
        pixels = truecolour(tile.epsg, tile.bounds, (_CHIP_PX, _CHIP_PX), window)
        if pixels is None:
            return
        name = f"place {int(plan.place[index])}" if ids is None else str(ids[k].as_py())
        words = [name, format_days(plan.windows[window])]
        if classes is not None:
            words.insert(0, classes.names[int(classes.codes[k])])
        yield ChipPicture(image=pixels, words=words)


def _spread(count: int, classes: PlaceClasses | None, many: int) -> Int64Array:
    if classes is None:
        return np.unique(np.linspace(0, count - 1, min(count, many)).round().astype(np.int64))
    members = [np.flatnonzero(classes.codes == k) for k in range(len(classes.names))]
    rounds = max(1, -(-many // max(1, len(members))))
    found: list[int] = []
    for turn in range(rounds):
        found += [
            int(each[int((turn + 0.5) * len(each) / min(rounds, len(each)))])
            for each in members
            if turn < min(rounds, len(each))
        ]
    return np.array(sorted(found[:many], key=lambda k: int(classes.codes[k])), dtype=np.int64)
