"""THOR as a TerraTorch backbone: importing this module registers the source ``thorgeo``.

``BACKBONE_REGISTRY.build("thorgeo_thor_v1_base", ...)`` is always this project's encoder. A plain
``thor_v1_base`` is looked up source by source, in the order of registration. The official extension
registers in TerraTorch's own source, which comes first: once the extension has been imported, plain
names are its own; until then they are this project's. Importing this module does not import the
extension, because that replaces parts of timm for the whole process: only `official_twin` does, for
users who ask for ``implementation: official``.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from thor_geo.errors import ConfigError, DependencyError, LayoutError, first_line
from thor_geo.models import VARIANTS, THORBackbone, TokenLayout, build_from_layout, make_layout
from thor_geo.models.checkpoint import DEFAULT_PREFIX, load_state
from thor_geo.models.layout import REF_PATCH_SIZE
from thor_geo.models.official import INSTALL as OFFICIAL_INSTALL
from thor_geo.models.official import MODULE as OFFICIAL_MODULE
from thor_geo.models.official import OfficialTHOR, require_official
from thor_geo.specs import Merge
from thor_geo.specs.bands import DEFAULT_MODEL_BANDS, Band, select_bands

try:
    from terratorch.registry import BACKBONE_REGISTRY, Registry
except Exception as error:
    # A broken installation raises whatever its parts raise, not only ImportError.
    missing = isinstance(error, ModuleNotFoundError) and error.name == "terratorch"
    problem = (
        "is not installed"
        if missing
        else f"is installed, but cannot be imported ({type(error).__name__}: {first_line(error)})"
    )
    raise DependencyError(
        f"`thor_geo.terratorch`: the package terratorch {problem}. Install it with its "
        "dependencies: pip install 'thor-geo[terratorch]'."
    ) from error

#: Prefix of the names under which TerraTorch always finds this project's encoder.
SOURCE = "thorgeo"

#: The official extension's options and their defaults.
INPUT_PARAMS: dict[str, Any] = {
    "ground_covers": [2880],
    "flexivit_patch_size_seqs": [8],
    "flexivit_ref_patch_size": REF_PATCH_SIZE,
    "select_patch_strategy": "min",
}


def input_layout(
    model_bands: Sequence[str],
    input_params: Mapping[str, Any] | None = None,
    *,
    image_size: int | None = None,
) -> TokenLayout:
    """Lay out the tokens from the official extension's options.

    Args:
        model_bands: TerraTorch band names, one per plane of the input.
        input_params: ``ground_covers`` (a list of one, metres), ``flexivit_patch_size_seqs`` (a
            list of candidates, pixels), ``flexivit_ref_patch_size``, ``select_patch_strategy``.
        image_size: Side of the input in pixels; see `thor_geo.models.make_layout`.

    Returns:
        The layout.

    Raises:
        BandError: If a band is unknown or asked for twice.
        ConfigError: If an option or the strategy is unknown, or an option has the wrong form.
        LayoutError: If the ground cover does not divide into patches.
    """
    unknown = sorted(set(input_params or {}) - set(INPUT_PARAMS))
    if unknown:
        raise ConfigError(
            "input_params", unknown, "unknown option", f"Choose from: {', '.join(INPUT_PARAMS)}."
        )
    params = {**INPUT_PARAMS, **(input_params or {})}
    covers = params["ground_covers"]
    if not isinstance(covers, (list, tuple)) or len(covers) != 1:
        raise LayoutError(
            "ground_covers", covers, "not a list of one ground cover", "Give e.g. [2880] (metres)."
        )
    sizes = params["flexivit_patch_size_seqs"]
    if not isinstance(sizes, (list, tuple)):
        raise LayoutError(
            "flexivit_patch_size_seqs",
            sizes,
            "not a list of patch sizes",
            "Give e.g. [8] (pixels).",
        )
    # TerraTorch's band enums carry the name as their value.
    names = [str(getattr(band, "value", band)) for band in model_bands]
    return make_layout(
        select_bands(names),
        ground_cover=covers[0],
        patch_size=sizes,
        strategy=params["select_patch_strategy"],
        ref_patch_size=params["flexivit_ref_patch_size"],
        image_size=image_size,
    )


def build_backbone(
    model_key: str,
    *,
    pretrained: bool = False,
    model_bands: Sequence[str] | None = None,
    out_indices: Sequence[int] | None = None,
    return_channel_params: bool = False,
    merge_method: Merge | None = None,
    ckpt: str | Path | None = None,
    input_params: Mapping[str, Any] | None = None,
    model_ckpt_type: str = DEFAULT_PREFIX,
    image_size: int | None = None,
    allow_resize: bool = False,
    seed: int = 0,
) -> THORBackbone:
    """Build a THOR backbone with the official extension's arguments.

    Args:
        model_key: Name of the variant.
        pretrained: Download the published weights.
        model_bands: TerraTorch band names, one per plane of the input; by default the 12
            Sentinel-2 bands, VV and VH.
        out_indices: Blocks whose features are returned; all by default.
        return_channel_params: Also return the channel parameters.
        merge_method: ``mean``, ``sum`` or ``concat`` returns maps, which TerraTorch's decoders
            need; None returns token sequences.
        ckpt: Checkpoint file to load instead of the published weights.
        input_params: Geometry; see `input_layout`.
        model_ckpt_type: Prefix of the encoder's keys in the checkpoint.
        image_size: Side of the only input that is accepted, in pixels; None accepts several.
        allow_resize: Accept inputs of any size and squash them to the ground cover, as the official
            extension does.
        seed: Seed of the random weights, which are used without *pretrained* and *ckpt*.

    Returns:
        The backbone, in eval mode.

    Raises:
        BandError: If a band is unknown or asked for twice.
        ConfigError: If a setting is unknown or out of range.
        LayoutError: If the ground cover does not divide into patches.
        CheckpointError: If weights cannot be found, read or matched.
    """
    bands = DEFAULT_MODEL_BANDS if model_bands is None else model_bands
    return build_from_layout(
        model_key,
        input_layout(bands, input_params, image_size=image_size),
        pretrained=pretrained,
        ckpt=ckpt,
        model_ckpt_type=model_ckpt_type,
        seed=seed,
        out_indices=out_indices,
        merge=merge_method,
        return_channel_params=return_channel_params,
        allow_resize=allow_resize,
    )


def official_twin(backbone: THORBackbone, blocks: Sequence[int]) -> OfficialTHOR:
    """Build the official extension's model with the weights of one of this project's.

    Imports the extension, which replaces parts of timm for the whole process: call it only if the
    official implementation is asked for.

    Args:
        backbone: The model whose weights it gets; all its groups have one patch size.
        blocks: The blocks whose tokens it returns, counted from 0.

    Returns:
        The twin, in eval mode.

    Raises:
        DependencyError: If the extension is not installed or cannot be imported.
        ConfigError: If the groups have different patch sizes.
        CheckpointError: If the names or shapes of its encoder's weights are not THOR v1's.
    """
    require_official()
    layout, row = backbone.layout, backbone.encoder.variant
    sizes = {group.patch_size for group in layout.groups}
    if len(sizes) > 1:
        raise ConfigError(
            "implementation",
            "official",
            f"the groups have different patch sizes {sorted(sizes)}",
            "Give one patch size.",
        )
    try:
        importlib.import_module(OFFICIAL_MODULE)
    except ImportError as error:
        raise DependencyError(
            f"`implementation='official'`: {OFFICIAL_MODULE} cannot be imported ({error}). Install "
            f"it again: {OFFICIAL_INSTALL}."
        ) from error
    wanted = sorted(set(blocks))
    wrapper = BACKBONE_REGISTRY.build(
        f"terratorch_{row.model_key}",
        pretrained=False,
        model_bands=[_official_name(band, layout) for band in layout.selection.bands],
        out_indices=wanted,
        return_channel_params=False,
        merge_method=None,
        input_params={
            "ground_covers": [layout.ground_cover],
            "flexivit_patch_size_seqs": sorted(sizes),
            "flexivit_ref_patch_size": layout.ref_patch_size,
            "select_patch_strategy": "min",
        },
    )
    twin = OfficialTHOR(wrapper, row=row, layout=layout, blocks=wanted)
    # The extension's own loader takes whatever keys match; this one needs all of them.
    state = dict(backbone.encoder.state_dict())
    load_state(twin.encoder, state, source=f"the official {row.model_key}")
    return twin.eval()


def _official_name(band: Band, layout: TokenLayout) -> str:
    """Return the extension's name for a band, with the GSD if it is not the band's usual one."""
    gsd = layout.selection.group_gsd[band.group]
    return band.names[0] if gsd == band.gsd else f"{band.names[-1]}_{gsd}"


def _builder(model_key: str) -> Callable[..., THORBackbone]:
    def build(**kwargs: Any) -> THORBackbone:
        """Build the variant; TerraTorch shows the docstring that is set below."""
        return build_backbone(model_key, **kwargs)

    build.__doc__ = f"Build {model_key}; see `thor_geo.terratorch.build_backbone`."
    return build


#: The builders by name: model keys and official long names.
THORGEO_BACKBONE_REGISTRY = Registry(
    **{
        name: _builder(row.model_key)
        for row in VARIANTS.values()
        for name in (row.model_key, row.long_name)
    }
)

# Registers once, even if the module is loaded again (importlib.reload).
if SOURCE not in BACKBONE_REGISTRY.keys():  # noqa: SIM118 (`in` alone asks for models, not sources)
    BACKBONE_REGISTRY.register_source(SOURCE, THORGEO_BACKBONE_REGISTRY)
