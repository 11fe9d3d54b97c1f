"""The words of pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from thor_geo.ground.place_plan import PlacePlan
from thor_geo.ground.plan import Plan
from thor_geo.pictures.pca import Colours
from thor_geo.runs.rundir import RunDirectory
from thor_geo.specs import TemporalSpec, Windows
from thor_geo.support.words import counted

_DIGITS = 10
#: Between the parts of a subtitle.
SEPARATOR = "   ·   "


@dataclass(frozen=True, kw_only=True)
class Caption:
    """The words of a quicklook, except those on its maps.

    Attributes:
        title: Title.
        subtitle: The line below.
        notice: A warning that must be seen, or nothing.
        weights: Says that the weights are random, or nothing; part of the notice.
        mark: Identifies the run.
        picture: Describes the composite's colours.
        rest: Names what is not drawn for lack of room, or nothing.
    """

    title: str
    subtitle: str
    notice: str
    mark: str
    weights: str = ""
    picture: str = "true colour"
    rest: str = ""


def run_caption(run: RunDirectory, plan: Plan) -> Caption:
    """Return the caption of a run, made from its run.json.

    It reads from settings or info, for the model `model_key`, `patch_size`, `pretrained`, `ckpt`
    and `weights` (a note), and for the data `start` and `end` or `windows`, `collection` or
    `collections`, `source` and `picture`. Keys that a custom class does not have are left out.
    """
    document = run.document()
    model, data = (
        {**document["settings"].get(part, {}), **document["info"].get(part, {})}
        for part in ("model", "data")
    )
    name = model.get("model_key")
    random = _random_weights(model)
    parts = [
        _when(data),
        _source(data),
        *_ground(plan),
        f"patch {model['patch_size']} px" if "patch_size" in model else "",
    ]
    return Caption(
        title=f"THOR embeddings, {name}" if name else "Embeddings",
        subtitle=SEPARATOR.join(part for part in parts if part),
        notice=f"{random}: colours show structure, not meaning" if random else "",
        weights=random,
        mark=f"run {document['fingerprint'][:_DIGITS]}",
        picture=str(data.get("picture", Caption.picture)),
    )


def _ground(plan: Plan) -> list[str]:
    side = plan.lattices[0].tile_size * plan.lattices[0].resolution / 1000
    if isinstance(plan, PlacePlan):
        windows = counted(len(plan.windows), "window")
        return [counted(len(plan), "place"), windows, f"chips of {side:g} km"]
    return [
        f"{counted(len(plan), 'tile')} of {side:g} km",
        f"{plan.area_km2:,.{0 if plan.area_km2 >= 10 else 2}f} km²",
    ]


def _random_weights(model: Mapping[str, Any]) -> str:
    if model.get("pretrained") is not False or model.get("ckpt"):
        return ""
    return str(model.get("weights") or "random weights")


def _source(data: Mapping[str, Any]) -> str:
    collections, source = " + ".join(map(str, data.get("collections", ()))), data.get("source")
    if collections and source == "emulator":
        return f"{collections} (emulator)"
    return collections or str(source or "")


def format_days(window: TemporalSpec) -> str:
    """Return a time window for reading, by its first day and the day after its last."""
    return f"{_day(window.start.isoformat())} to {_day(window.end.isoformat())}"


def _when(data: Mapping[str, Any]) -> str:
    if "windows" in data:
        windows = Windows.from_settings(data)
        return f"{counted(len(windows), 'window')}, {format_days(windows.span)}"
    return f"{_day(data['start'])} to {_day(data['end'])}" if {"start", "end"} <= set(data) else ""


def _day(value: object) -> str:
    return str(value)[:10]


def colours_legend(colours: Colours | None, hidden: int = 0) -> str:
    """Return the meaning of the colours of embeddings in words.

    Args:
        colours: The colours; None if no tile has an embedding.
        hidden: Number of zones that are not drawn.
    """
    if colours is None:
        text = "No tile has an embedding."
    else:
        parts = [
            f"{name} {share:.0%}"
            for name, share in zip(("red", "green", "blue"), colours.share, strict=True)
        ]
        text = (
            f"Colours: first three principal components of the embeddings ({', '.join(parts)} of "
            "the variance), one fit for the whole run, 2nd to 98th percentile."
        )
    if hidden:
        text += f" {counted(hidden, 'more zone is', 'more zones are')} not drawn."
    return text
