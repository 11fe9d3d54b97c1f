"""The authors' own encoder, with the interface of this project's."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from torch import Tensor, nn

from thor_geo.errors import ConfigError, DependencyError
from thor_geo.models.encoder import check_indices
from thor_geo.models.inputs import check_image
from thor_geo.models.layout import TokenLayout
from thor_geo.models.variants import Variant

#: Module of the official extension for TerraTorch, and the command that installs it.
MODULE = "thor_terratorch_ext"
INSTALL = "pip install 'thor-terratorch-ext @ git+https://github.com/FM4CS/thor_terratorch_ext'"


def require_official() -> None:
    """Refuse if the official extension is not installed, without importing it.

    Raises:
        DependencyError: If it is not installed; says how to install it.
    """
    for name in ("terratorch", MODULE):
        try:
            installed = find_spec(name) is not None
        except ValueError:  # a stand-in module without a spec
            installed = True
        if not installed:
            raise DependencyError(
                f"`implementation='official'` needs the module {name}: {INSTALL}, or use "
                "implementation='thorgeo', which gives the same numbers."
            )


def official_version() -> str | None:
    """Return the version of the official extension, or None if it has no metadata."""
    try:
        return version("thor-terratorch-ext")
    except PackageNotFoundError:
        return None


class OfficialTHOR(nn.Module):
    """The official extension's model; build it with `thor_geo.terratorch.official_twin`.

    Attributes:
        wrapper: The extension's model: takes (B, C, side, side), returns a list of tokens.
        layout: The token layout.
        blocks: The blocks whose tokens `wrapper` returns, ascending.
    """

    def __init__(
        self, wrapper: nn.Module, *, row: Variant, layout: TokenLayout, blocks: Sequence[int]
    ) -> None:
        """Initialize a new OfficialTHOR instance.

        Args:
            wrapper: The extension's model, built for *blocks*.
            row: Its variant.
            layout: The token layout it was built for.
            blocks: Indices from 0, ascending.
        """
        super().__init__()
        self.wrapper = wrapper
        self.variant = row
        self.layout = layout
        self.blocks = tuple(blocks)

    @property
    def encoder(self) -> nn.Module:
        """The encoder inside, with the official state-dict keys."""
        encoder = self.wrapper.model
        assert isinstance(encoder, nn.Module)
        return encoder

    @property
    def embed_dim(self) -> int:
        """Token width D."""
        return self.variant.embed_dim

    def features(
        self, x: Tensor, indices: Sequence[int] | None = None, *, norm: bool = False
    ) -> list[Tensor]:
        """Return the patch tokens after some blocks; like the extension, run all of them.

        Args:
            x: Normalised input (B, C, side, side), floating point.
            indices: Some of `blocks`, negative ones from the end; all of them by default.
            norm: Apply the final LayerNorm to each.

        Returns:
            Tokens (B, N, D) for each index, in the order given.

        Raises:
            ConfigError: If an index is not among `blocks`.
            InputError: If *x* does not fit the layout; the extension would resize it.
        """
        wanted = self.blocks if indices is None else check_indices(indices, self.variant.depth)
        if missing := sorted(set(wanted) - set(self.blocks)):
            raise ConfigError(
                "indices",
                missing,
                f"the model was built for {list(self.blocks)}",
                "Build it again.",
            )
        check_image(x, self.layout)
        tokens_by_block = dict(zip(self.blocks, self.wrapper(x), strict=True))
        tokens = [tokens_by_block[index] for index in wanted]
        if not norm:
            return tokens
        final = self.encoder.norm
        assert isinstance(final, nn.Module)
        return [final(block_tokens) for block_tokens in tokens]
