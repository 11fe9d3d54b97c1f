"""Keys that have moved, of `data` into groups: a message names the new one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from thor_geo.cli.arguments import is_composite, section_class, section_values
from thor_geo.errors import ConfigError

#: Where each key of `data` is now.
MOVED: Mapping[str, str] = {
    "source": "earthengine",
    "project": "earthengine.project",
    "credentials": "earthengine.credentials",
    "service_account_file": "earthengine.service_account_file",
    "url": "earthengine.url",
    "emulator_archive": "emulator.archive",
    "stac_url": "stac.url",
    "stac_collection": "stac.collection",
    "stac_assets": "stac.assets",
    "stac_offset": "stac.offset",
    "stac_sign": "stac.sign",
    "collection": "sentinel2.collection",
    "bands": "sentinel2.bands",
    "cloudy_pct": "sentinel2.cloudy_pct",
    "composite": "sentinel2.composite",
    "percentile": "sentinel2.percentile",
    "mask": "sentinel2.mask",
    "scl_classes": "sentinel2.scl_classes",
    "cloud_score_band": "sentinel2.cloud_score_band",
    "cloud_score_threshold": "sentinel2.cloud_score_threshold",
    "scenes": "sentinel2.scenes",
}


_THOR = "THOREmbeddingTask"


def refuse_moved(args: Sequence[str]) -> None:
    """Refuse keys of `data` that have moved, and `model.backbone` of THOR.

    Args:
        args: Arguments; configs named by ``-c`` or ``--config`` are looked into.

    Raises:
        ConfigError: If one is given; names the key to set instead.
    """
    _refuse_backbone(args)
    if not is_composite(args):
        return
    for _, _, values in section_values(args, "data"):
        for key, value in values.items():
            name = key.rstrip("+").split(".")[0]
            if name in MOVED:
                target, remedy = _target(name, value)
                raise ConfigError(f"data.{name}", value, f"moved to data.{target}", remedy)


def _refuse_backbone(args: Sequence[str]) -> None:
    if section_class(args, "model", _THOR) != _THOR:
        return
    for _, _, values in section_values(args, "model"):
        for key, value in values.items():
            if key.split(".")[0] == "backbone":
                raise ConfigError(
                    "model.backbone",
                    value,
                    f"{_THOR} takes no other backbone",
                    "Set model.class_path to thor_geo.tasks.BackboneEmbeddingTask, which does.",
                )


def _target(name: str, value: Any) -> tuple[str, str]:
    """Return the new key, and what to do."""
    if name == "source" and value in ("emulator", "stac"):
        example = "{url: ...}" if value == "stac" else "{}"
        return value, f"Set data.{value}, e.g. data.{value}: {example}."
    if name == "source":
        return MOVED[name], "Set data.earthengine, e.g. data.earthengine: {project: my-project}."
    if name == "bands" and value in ([], "[]"):
        return MOVED[name], "Set data.sentinel2 to null for Sentinel-1 alone."
    return MOVED[name], f"Set data.{MOVED[name]}."
