"""Building THOR: settings are checked first, then weights located, then memory allocated."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from thor_geo.models.backbone import THORBackbone, WeightsSource
from thor_geo.models.checkpoint import (
    DEFAULT_PREFIX,
    checkpoint_path,
    download,
    load_state,
    read_file,
    select_encoder,
)
from thor_geo.models.encoder import THOREncoder, check_indices
from thor_geo.models.extrapolation import warn_extrapolation
from thor_geo.models.layout import REF_PATCH_SIZE, Strategy, TokenLayout, token_layout
from thor_geo.models.merge import check_merge
from thor_geo.models.variants import variant
from thor_geo.specs import Merge
from thor_geo.specs.bands import BandSelection

logger = logging.getLogger(__name__)


def build_from_layout(
    model_key: str,
    layout: TokenLayout,
    *,
    pretrained: bool = False,
    ckpt: str | Path | None = None,
    model_ckpt_type: str = DEFAULT_PREFIX,
    ckpt_ignore: Sequence[str] = (),
    seed: int = 0,
    out_indices: Sequence[int] | None = None,
    merge: Merge | None = None,
    return_channel_params: bool = False,
    allow_resize: bool = False,
) -> THORBackbone:
    """Build a THOR backbone for a layout that is already validated.

    Args:
        model_key: Name of the variant; see `thor_geo.models.variant`.
        layout: The token layout.
        pretrained: Download the published weights.
        ckpt: Checkpoint file to load instead; wins over *pretrained*.
        model_ckpt_type: Prefix of the encoder's keys in the checkpoint.
        ckpt_ignore: Regular expressions (anchored at the start, after the prefix) of keys to drop
            from the checkpoint; the pre-training heads are always dropped.
        seed: Seed of the random weights that are used without *pretrained* and *ckpt*.
        out_indices: Blocks whose features `THORBackbone.forward` returns; all by default.
        merge: How `THORBackbone.forward` merges groups; None returns token sequences.
        return_channel_params: Also return channel parameters from `THORBackbone.forward`.
        allow_resize: Accept inputs of any size and squash them to the tile.

    Returns:
        The backbone, in eval mode, on the CPU, float32.

    Raises:
        ConfigError: If a setting is unknown or out of range.
        CheckpointError: If weights cannot be found, read or matched.
        DependencyError: If reading the weights needs a package that is missing.
    """
    row = variant(model_key)
    check_merge(merge)
    check_indices(out_indices, row.depth)
    warn_extrapolation(layout)
    source = WeightsSource(kind="random", seed=seed)
    path: Path | None = None
    if ckpt is not None:
        path = checkpoint_path(ckpt)
        source = WeightsSource(kind="file", location=str(path))
    elif pretrained:
        path = download(row)
        source = WeightsSource(kind="hub", location=f"{row.hub_repo}/{row.hub_file}")
    encoder = THOREncoder(
        row, layout, allow_resize=allow_resize, seed=seed if path is None else None
    )
    if path is None:
        logger.warning(
            "%s has RANDOM weights (seed %d): its embeddings are meaningless and only good for "
            "testing the pipeline. `pretrained` takes the published ones, `ckpt` those of a file.",
            row.model_key,
            seed,
        )
    else:
        name = f"`ckpt={str(path)!r}`" if ckpt is not None else source.location
        state = select_encoder(
            read_file(path),
            encoder.state_dict(),
            model_ckpt_type=model_ckpt_type,
            ignore=ckpt_ignore,
            source=name,
        )
        load_state(encoder, state, source=name)
    backbone = THORBackbone(
        encoder,
        out_indices=out_indices,
        merge=merge,
        return_channel_params=return_channel_params,
        weights=source,
    )
    return backbone.eval()


def build_thor(
    model_key: str,
    *,
    bands: Sequence[str] | BandSelection,
    image_size: int,
    resolution: int = 10,
    patch_size: int | Sequence[int] = 16,
    strategy: Strategy = "min",
    ref_patch_size: int = REF_PATCH_SIZE,
    pretrained: bool = False,
    ckpt: str | Path | None = None,
    model_ckpt_type: str = DEFAULT_PREFIX,
    ckpt_ignore: Sequence[str] = (),
    seed: int = 0,
    out_indices: Sequence[int] | None = None,
    merge: Merge | None = None,
    return_channel_params: bool = False,
    allow_resize: bool = False,
) -> THORBackbone:
    """Build a THOR backbone for images of a given size.

    Args:
        model_key: ``thor_v1_tiny``, ``thor_v1_small``, ``thor_v1_base`` or ``thor_v1_large`` (or
            an official long name, or ``thor_1_0_base``).
        bands: TerraTorch names or THOR channels, one per plane of the input; or a selection.
        image_size: Side of the input in pixels.
        resolution: Pixel size of the input in metres.
        patch_size: Patch size in pixels of a group's own grid, or several to choose from.
        strategy: How to choose among several; see `thor_geo.models.make_layout`.
        ref_patch_size: Reference patch size of the footprint code. Leave it at 4.
        pretrained: Download the published weights.
        ckpt: Checkpoint file to load instead; wins over *pretrained*.
        model_ckpt_type: See `build_from_layout`.
        ckpt_ignore: See `build_from_layout`.
        seed: See `build_from_layout`.
        out_indices: See `build_from_layout`.
        merge: See `build_from_layout`.
        return_channel_params: See `build_from_layout`.
        allow_resize: See `build_from_layout`.

    Returns:
        The backbone, in eval mode, on the CPU, float32.

    Raises:
        BandError: If a band is unknown or asked for twice.
        ConfigError: If a setting is unknown or out of range.
        LayoutError: If the image does not divide into patches; the message names sizes that do.
        CheckpointError: If weights cannot be found, read or matched.
        DependencyError: If reading the weights needs a package that is missing.
    """
    layout = token_layout(
        bands=bands,
        image_size=image_size,
        resolution=resolution,
        patch_size=patch_size,
        strategy=strategy,
        ref_patch_size=ref_patch_size,
    )
    return build_from_layout(
        model_key,
        layout,
        pretrained=pretrained,
        ckpt=ckpt,
        model_ckpt_type=model_ckpt_type,
        ckpt_ignore=ckpt_ignore,
        seed=seed,
        out_indices=out_indices,
        merge=merge,
        return_channel_params=return_channel_params,
        allow_resize=allow_resize,
    )
