"""The words of a quicklook."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from thor_geo.plan import Plan
from thor_geo.writers.rundir import RunDirectory

_DIGITS = 10


@dataclass(frozen=True, kw_only=True)
class Caption:
    """Title, line below it, a notice that must be seen (or nothing), and the run's mark."""

    title: str
    subtitle: str
    notice: str
    mark: str


def caption_of(run: RunDirectory, plan: Plan) -> Caption:
    """Word the caption of a run from its run.json.

    Reads ``settings.model`` (`model_key`, `pretrained`, `ckpt`, `seed`, `patch_size`) and
    ``settings.data`` (`start`, `end`, `source`); what a custom class does not give is left out.
    """
    document = run.document()
    settings: Mapping[str, Any] = document["settings"]
    model: Mapping[str, Any] = settings.get("model") or {}
    data: Mapping[str, Any] = settings.get("data") or {}
    name = model.get("model_key")
    lattice = plan.lattices[0]
    side = lattice.tile_size * lattice.resolution / 1000
    parts = [
        f"{_day(data['start'])} to {_day(data['end'])}" if {"start", "end"} <= set(data) else "",
        str(data.get("source") or ""),
        f"{len(plan):,} {'tile' if len(plan) == 1 else 'tiles'} of {side:g} km",
        f"{plan.area_km2:,.0f} km²",
        f"patch {model['patch_size']} px" if "patch_size" in model else "",
    ]
    return Caption(
        title=f"THOR embeddings, {name}" if name else "Embeddings",
        subtitle="   ·   ".join(part for part in parts if part),
        notice=_notice(model),
        mark=f"run {document['fingerprint'][:_DIGITS]}",
    )


def _notice(model: Mapping[str, Any]) -> str:
    if model.get("pretrained") is not False or model.get("ckpt"):
        return ""
    seed = f" (seed {model['seed']})" if model.get("seed") is not None else ""
    return f"random weights{seed}: colours show structure, not meaning"


def _day(value: object) -> str:
    return str(value)[:10]
