"""The four published sizes of THOR v1, and the names they go by."""

from __future__ import annotations

from dataclasses import dataclass

from thor_geo.errors import ConfigError

#: Side in pixels of every stored patch kernel. Kernels are resampled to the patch size in use.
KERNEL_SIZE = 16

#: Ratio of the MLP's hidden width to the token width, in all variants.
MLP_RATIO = 4

#: Epsilon of every LayerNorm.
NORM_EPS = 1e-6

#: Number of spectral groups, used or not.
N_GROUPS = 10


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One published size of THOR v1.

    Attributes:
        model_key: The name used everywhere in thor-geo, e.g. ``thor_v1_base``.
        size: ``tiny``, ``small``, ``base`` or ``large``.
        embed_dim: Token width D.
        depth: Number of transformer blocks L.
        num_heads: Attention heads H, each 64 wide.
        group_dim: Width of the group code; the footprint code fills the rest of D.
        hub_repo: Hugging Face repository of the published weights.
        hub_file: File name in that repository.
    """

    model_key: str
    size: str
    embed_dim: int
    depth: int
    num_heads: int
    group_dim: int
    hub_repo: str
    hub_file: str

    @property
    def footprint_dim(self) -> int:
        """Width of the patch-footprint code."""
        return self.embed_dim - self.group_dim

    @property
    def long_name(self) -> str:
        """The long name under which the official extension registers the variant."""
        return f"thor_vit_{self.size}_encoder_alibi_patch_size_embed_v1"

    @property
    def names(self) -> tuple[str, ...]:
        """All accepted names, the model key first."""
        return self.model_key, self.long_name, f"thor_1_0_{self.size}"


def _variant(size: str, embed_dim: int, depth: int, num_heads: int, group_dim: int) -> Variant:
    return Variant(
        model_key=f"thor_v1_{size}",
        size=size,
        embed_dim=embed_dim,
        depth=depth,
        num_heads=num_heads,
        group_dim=group_dim,
        hub_repo=f"FM4CS/THOR-1.0-{size}",
        hub_file=f"thor_v1_vit_{size}.pt",
    )


#: The published variants by model key (Hugging Face: FM4CS/THOR-1.0-*).
VARIANTS: dict[str, Variant] = {
    row.model_key: row
    for row in (
        _variant("tiny", 192, 12, 3, 32),
        _variant("small", 384, 12, 6, 64),
        _variant("base", 768, 12, 12, 128),
        _variant("large", 1024, 24, 16, 256),
    )
}

_BY_NAME: dict[str, Variant] = {name: row for row in VARIANTS.values() for name in row.names}


def variant(model_key: str) -> Variant:
    """Look up a variant.

    Args:
        model_key: ``thor_v1_base``, the official long name
            (``thor_vit_base_encoder_alibi_patch_size_embed_v1``) or ``thor_1_0_base``.

    Returns:
        The row of the table.

    Raises:
        ConfigError: If no variant has that name.
    """
    row = _BY_NAME.get(model_key) if isinstance(model_key, str) else None
    if row is None:
        raise ConfigError(
            "model_key", model_key, "unknown model", f"Choose from: {', '.join(VARIANTS)}."
        )
    return row
