"""The metadata of an embedding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from thor_geo.api._encode import Encoder
from thor_geo.api._items import EmbeddingItem
from thor_geo.datamodules.source import CompositeSource
from thor_geo.runs.fingerprint import package_versions
from thor_geo.sources.stac.spec import public
from thor_geo.specs.sources import StacSpec
from thor_geo.support.redact import redact_json
from thor_geo.transforms import InputReport


def metadata(
    item: EmbeddingItem,
    encoder: Encoder,
    *,
    inputs: int,
    clear: npt.NDArray[np.bool_],
    scenes: tuple[str, ...] | None,
    left_out: Mapping[str, str],
    catalogues: tuple[str, ...],
    report: InputReport | None,
    source: CompositeSource | None,
) -> dict[str, Any]:
    """Return the metadata of one embedding, as plain values.

    Args:
        item: The place or image that was embedded.
        encoder: The model.
        inputs: Number of its inputs.
        clear: Whether each pixel of the cut has an observation, (h, w).
        scenes: Ids of the scenes.
        left_out: Why scenes that could not be used are not among them, by id.
        catalogues: Catalogue of the scenes of each sensor.
        report: Findings of the inspection.
        source: Source of fetched pixels.
    """
    request, cut = encoder.request, item.cut
    task = encoder.task(cut.image_size, cut.ground_cover)
    (top, bottom), (left, right) = cut.result
    observed = int(clear[top:bottom, left:right].sum())
    cropped, beyond = cut.margins(*item.shape)
    origins: dict[str, str] = dict(request.origins)
    if cut.mode == "native":
        origins["image_size"] = "input"
    meta: dict[str, Any] = {
        **task.info(),
        "ckpt_path": None if request.ckpt is None else str(request.ckpt),
        "weights_sha256": encoder.weights_sha256,
        "output": request.output.kind,
        "normalization": request.normalize,
        **encoder.normalization(),
        "input_prep": cut.mode,
        "ground_cover": request.prep.ground_cover,
        "halo": request.prep.halo if cut.mode == "tile" else None,
        "n_inputs": inputs,
        "tiles": cut.tiles,
        "input_size": list(item.shape),
        "cropped": cropped,
        "extended" if item.image is None else "padded": beyond,
        "tokens_shape": [inputs, task.layout.n_tokens, encoder.embed_dim],
        "groups_used": [f"group{group.group}" for group in task.layout.groups],
        "bands": [band.channel for band in request.selection.bands],
        "resolution": request.resolution,
        "sensor": None
        if source is None
        else [asdict(sensor) for sensor in request.sensors.by_kind.values()],
        "temporal": None
        if item.window is None
        else {"start": item.window.start.isoformat(), "end": item.window.end.isoformat()},
        "scenes": None if scenes is None else list(scenes),
        "scenes_left_out": None if scenes is None else dict(left_out),
        "raster": item.raster,
        "input_scale": request.input_scale,
        # Of the result's pixels: padding counts, though it lies beyond the array.
        "valid_fraction": observed / ((bottom - top) * (right - left)),
        "crs": None if item.place is None else f"EPSG:{item.place.epsg}",
        "bounds": None if item.place is None else list(item.rect.bounds),
        "provider": None
        if source is None
        else _provider(source, catalogues, request.fetch_workers),
        "batch_size": encoder.batch_size,
        "device": encoder.device.type,
        "threads": torch.get_num_threads() if encoder.device.type == "cpu" else None,
        "float32_matmul": torch.get_float32_matmul_precision(),
        "origins": origins,
        "packages": package_versions(),
    }
    if report is not None:
        meta["input"] = {
            **asdict(report),
            "expected_channels": report.expected_channels,
            "problems": list(report.problems),
        }
    return meta


def _provider(source: CompositeSource, catalogues: tuple[str, ...], workers: int) -> dict[str, Any]:
    settings: dict[str, Any] = redact_json(
        {k: str(v) if isinstance(v, Path) else v for k, v in vars(source.source).items()}
    )
    if isinstance(source.source, StacSpec):  # its address may be signed
        settings["url"] = public(source.source.url)
    return {
        "backend": "gee" if source.name == "earthengine" else source.name,
        source.name: settings,
        "collections": list(source.collections.values()),
        "catalogues": list(catalogues),
        "fetch_workers": workers,
        "cache_dir": str(source.cache_dir),
    }
