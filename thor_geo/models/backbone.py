"""THORBackbone: the encoder as runs and TerraTorch use it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from thor_geo.models.encoder import THOREncoder, check_indices
from thor_geo.models.layout import TokenLayout
from thor_geo.models.merge import check_merge, merge_groups
from thor_geo.specs import Merge


@dataclass(frozen=True, kw_only=True)
class EncoderOutput:
    """The result of one pass through the encoder.

    Attributes:
        tokens: Patch tokens (B, N, D) after the last block, without the final LayerNorm.
        cls_token: CLS token (B, D) after the last block, or None; the published models have none.
    """

    tokens: Tensor
    cls_token: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class WeightsSource:
    """Where a model's weights came from.

    Attributes:
        kind: ``random``, ``file`` or ``hub``.
        location: Path of the file, or ``repo/file`` on the hub; empty for random weights.
        seed: Seed of random weights.
    """

    kind: Literal["random", "file", "hub"]
    location: str = ""
    seed: int | None = None


BlockTokens = list[Tensor]
ChannelParams = dict[str, dict[str, int]]


class THORBackbone(nn.Module):
    """THOR v1 as a feature extractor; build it with `thor_geo.models.build_thor`.

    Attributes:
        encoder: The THOR encoder.
        out_indices: Blocks whose tokens `forward` returns, from 0, in order.
        merge: How groups become one map in `forward`, or None for token sequences.
        weights: Where the weights came from.
    """

    encoder: THOREncoder

    def __init__(
        self,
        encoder: THOREncoder,
        *,
        out_indices: Sequence[int] | None = None,
        merge: Merge | None = None,
        return_channel_params: bool = False,
        weights: WeightsSource | None = None,
    ) -> None:
        """Initialize a new THORBackbone instance.

        Args:
            encoder: The THOR encoder.
            out_indices: Block indices, negative ones from the end; all blocks by default.
            merge: ``mean``, ``sum`` or ``concat`` the groups' maps in `forward`.
            return_channel_params: Also return the channel parameters from `forward`.
            weights: Where the weights came from.

        Raises:
            ConfigError: If an index is out of range, the list is empty, or *merge* is unknown.
        """
        super().__init__()
        check_merge(merge)
        self.encoder = encoder
        self.out_indices = check_indices(out_indices, encoder.variant.depth)
        self.merge = merge
        self.return_channel_params = return_channel_params
        self.weights = weights

    @property
    def model_key(self) -> str:
        """Name of the variant, e.g. ``thor_v1_base``."""
        return self.encoder.variant.model_key

    @property
    def embed_dim(self) -> int:
        """Token width D."""
        return self.encoder.variant.embed_dim

    @property
    def layout(self) -> TokenLayout:
        """The token layout."""
        return self.encoder.layout

    @property
    def out_channels(self) -> list[int]:
        """Channels of every feature that `forward` returns."""
        return [self.grid_dim(self.merge)] * len(self.out_indices)

    def grid_dim(self, merge: Merge | None) -> int:
        """Return the channels of a merged map: D, or D times the groups in use for ``concat``."""
        return self.layout.merged_dim(self.embed_dim, merge)

    def embed(self, x: Tensor) -> EncoderOutput:
        """Encode once, for all outputs of a run.

        Args:
            x: Normalised input (B, C, side, side), floating point.

        Returns:
            The tokens after the last block, without the final norm: pool them with
            `thor_geo.models.pool_tokens`, map them with
            `thor_geo.models.merge_groups`.

        Raises:
            InputError: If *x* does not fit the layout.
        """
        tokens = self.encoder.forward_features(x, [-1])[0]
        if self.encoder.n_prefix:
            return EncoderOutput(tokens=tokens[:, 1:], cls_token=tokens[:, 0])
        return EncoderOutput(tokens=tokens)

    def features(
        self, x: Tensor, indices: Sequence[int] | None = None, *, norm: bool = False
    ) -> BlockTokens:
        """Return the patch tokens after some blocks; later blocks are not run.

        Args:
            x: Normalised input (B, C, side, side), floating point.
            indices: Block indices, negative ones from the end; all blocks by default.
            norm: Apply the final LayerNorm to each.

        Returns:
            Tokens (B, N, D) for each index, in the order given, without a CLS token.

        Raises:
            ConfigError: If an index is out of range.
            InputError: If *x* does not fit the layout.
        """
        tokens = self.encoder.forward_features(x, indices, norm=norm)
        prefix = self.encoder.n_prefix
        return [block_tokens[:, prefix:] for block_tokens in tokens] if prefix else tokens

    def forward(
        self, x: Tensor, **unused: object
    ) -> BlockTokens | tuple[BlockTokens, ChannelParams]:
        """Return features after the blocks `out_indices`, without the final norm.

        Args:
            x: Normalised input (B, C, side, side), floating point.
            unused: Everything else in a batch, which TerraTorch's tasks pass on by name.

        Returns:
            One tensor per index: patch tokens (B, N, D), or with `merge` maps
            (B, D', n_max, n_max). With `return_channel_params` a pair of that list and the layout's
            ``channel_params``.

        Raises:
            InputError: If *x* does not fit the layout.
        """
        features = self.features(x, self.out_indices)
        if self.merge is not None:
            features = [merge_groups(tokens, self.layout, self.merge) for tokens in features]
        if self.return_channel_params:
            return features, self.layout.channel_params
        return features

    def for_layout(self, layout: TokenLayout) -> THORBackbone:
        """Return a backbone for another layout that shares this one's weights.

        Args:
            layout: Its token layout.
        """
        return THORBackbone(
            self.encoder.for_layout(layout),
            out_indices=self.out_indices,
            merge=self.merge,
            return_channel_params=self.return_channel_params,
            weights=self.weights,
        ).train(self.training)

    def freeze(self) -> None:
        """Stop training: no parameter requires a gradient any more."""
        self.requires_grad_(False)
