"""The THOR v1 encoder: variants, token layout, checkpoints, and pooling and merging of tokens."""

from __future__ import annotations

from thor_geo.models.backbone import EncoderOutput, THORBackbone, WeightsSource
from thor_geo.models.builder import build_from_layout, build_thor
from thor_geo.models.checkpoint import checkpoint_path, weights_sha256
from thor_geo.models.encoder import THOREncoder
from thor_geo.models.extrapolation import warn_extrapolation
from thor_geo.models.layout import GroupLayout, TokenLayout, make_layout, token_layout
from thor_geo.models.merge import merge_groups, pool_tokens, pooled_dim, split_groups
from thor_geo.models.readout import Readout
from thor_geo.models.variants import VARIANTS, Variant, variant

__all__ = [
    "VARIANTS",
    "EncoderOutput",
    "GroupLayout",
    "Readout",
    "THORBackbone",
    "THOREncoder",
    "TokenLayout",
    "Variant",
    "WeightsSource",
    "build_from_layout",
    "build_thor",
    "checkpoint_path",
    "make_layout",
    "merge_groups",
    "pool_tokens",
    "pooled_dim",
    "split_groups",
    "token_layout",
    "variant",
    "warn_extrapolation",
    "weights_sha256",
]
