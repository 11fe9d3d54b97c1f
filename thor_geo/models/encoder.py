"""The THOR v1 encoder, with the official state-dict keys.

The fused group kernels and the attention bias do not change while the encoder is frozen: they are
computed once and kept outside the state dict. They are computed again when a tensor they depend on
is replaced, written to or moved, and on every call while such a tensor is being trained.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from thor_geo.errors import ConfigError
from thor_geo.models.alibi import alibi_bias, alibi_slopes
from thor_geo.models.blocks import TransformerBlock
from thor_geo.models.codes import group_code
from thor_geo.models.embedding import GroupKernel, IndividualPatchEmbed, embed_group, group_kernel
from thor_geo.models.inputs import check_image
from thor_geo.models.layout import TokenLayout
from thor_geo.models.variants import MLP_RATIO, N_GROUPS, NORM_EPS, Variant

#: Standard deviation of random linear weights, the usual one for vision transformers.
_INIT_STD = 0.02

#: On a CPU, a large batch is processed in parts whose hidden layer has at most this size (but at
#: least one sample). A batch of any size then needs the memory of one part, and the allocator
#: reuses tensors below 32 MB, while it requests larger ones from the system every time.
_CPU_PART_BYTES = 24 * 2**20

_Fingerprint = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, kw_only=True)
class Constants:
    """The tensors that a forward pass needs besides the blocks' weights.

    Attributes:
        kernels: The fused kernel of every group in use.
        bias: Attention bias (1, H, N, N), or with a CLS token (1, H, N + 1, N + 1).
    """

    kernels: tuple[GroupKernel, ...]
    bias: Tensor


def _fingerprint(tensors: Sequence[Tensor]) -> _Fingerprint:
    # Tensors made in inference mode have no version counter, and cannot be trained.
    return tuple((id(t), t.data_ptr(), -1 if t.is_inference() else t._version) for t in tensors)


class THOREncoder(nn.Module):
    """THOR v1: a ViT over the tokens of several spectral groups, with 2-D ALiBi.

    An instance belongs to one layout. All 46 patch kernels exist, whatever bands are used, so that
    every official checkpoint of the variant fits.
    """

    encoder_slopes: Tensor

    def __init__(
        self,
        variant: Variant,
        layout: TokenLayout,
        *,
        cls_token: bool = False,
        allow_resize: bool = False,
        seed: int | None = 0,
    ) -> None:
        """Initialize a new THOREncoder instance.

        Args:
            variant: The size.
            layout: The token layout.
            cls_token: Whether a learned CLS token comes first (no published weights have one).
            allow_resize: Accept inputs of any height and width, and squash them to the tile.
            seed: Seed of the random weights, which do not depend on torch's global generator. None
                leaves the weights uninitialised, for a state dict that is loaded right after.
        """
        super().__init__()
        self.variant = variant
        self.layout = layout
        self.allow_resize = allow_resize
        self.n_prefix = int(cls_token)
        dim = variant.embed_dim
        # Not on "meta": its first use in a process imports sympy, which takes half a second.
        with torch.device("cpu"):
            if cls_token:
                self.cls_token = nn.Parameter(torch.empty(1, 1, dim))
            self.ind_patch_embed = IndividualPatchEmbed(dim)
            self.band_embed = nn.ParameterDict(
                {
                    f"group{k}": nn.Parameter(torch.empty(variant.group_dim), requires_grad=False)
                    for k in range(N_GROUPS)
                }
            )
            self.blocks = nn.ModuleList(
                TransformerBlock(dim, variant.num_heads) for _ in range(variant.depth)
            )
            self.norm = nn.LayerNorm(dim, eps=NORM_EPS)
        self._kernels: tuple[object, tuple[GroupKernel, ...]] | None = None
        self._bias: tuple[object, Tensor] | None = None
        self.register_buffer("encoder_slopes", alibi_slopes(variant.num_heads))
        for k in range(N_GROUPS):
            self.band_embed[f"group{k}"].data.copy_(group_code(k, variant.group_dim))
        if seed is not None:
            self.reset_parameters(seed)
        self.register_load_state_dict_post_hook(_forget_constants)  # type: ignore[no-untyped-call]

    # -- weights -----------------------------------------------------------------------------------

    def reset_parameters(self, seed: int) -> None:
        """Draw random weights, which depend on the seed alone and not on torch's global generator.

        Linear weights and kernels are normal, biases zero, norms one; slopes and group codes are
        not random and stay.

        Args:
            seed: Any integer that torch's generator takes.
        """
        generator = torch.Generator(device="cpu").manual_seed(seed)
        with torch.no_grad():
            for name, tensor in self.named_parameters():
                if name.startswith("band_embed."):
                    continue
                if tensor.ndim == 1:
                    tensor.fill_(1.0 if "norm" in name and name.endswith("weight") else 0.0)
                    continue
                # Patch kernels: sums over pixels have variance one, so content outweighs codes.
                std = 1 / math.sqrt(tensor[0].numel()) if tensor.ndim == 4 else _INIT_STD
                # As nn.init.trunc_normal_ with its default bounds (-2 and 2, not in units of std).
                if tensor.is_cpu and tensor.dtype == torch.float32:
                    tensor.normal_(0.0, std, generator=generator)
                else:
                    tensor.copy_(torch.empty(tensor.shape).normal_(0.0, std, generator=generator))
        self.forget_constants()

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the weights, and of the tokens that come out."""
        return self.norm.weight.dtype

    def for_layout(self, layout: TokenLayout) -> Self:
        """Return an encoder for another layout that shares this one's weights.

        Args:
            layout: Its token layout.
        """
        twin = copy.copy(self)
        twin.layout = layout
        twin.forget_constants()
        return twin

    def forget_constants(self) -> None:
        """Drop the constants; needed only after writing to a weight's ``.data``."""
        self._kernels = None
        self._bias = None

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        slopes = self._buffers.get("encoder_slopes")
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        moved = self._buffers.get("encoder_slopes")
        if slopes is not None and moved is not None and moved.dtype != slopes.dtype:
            # The geometry of a half-precision model stays float32.
            self._buffers["encoder_slopes"] = slopes.to(moved.device)
        self.forget_constants()
        return self

    def train(self, mode: bool = True) -> Self:
        """Set training mode; see `torch.nn.Module.train`."""
        super().train(mode)
        if any(tensor.requires_grad for tensor in self._kernel_sources()):
            self._kernels = None  # an optimizer may have written to .data meanwhile
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Pickle and copy without the constants."""
        return {**self.__dict__, "_kernels": None, "_bias": None}

    # -- constants ---------------------------------------------------------------------------------

    def _kernel_sources(self) -> list[Tensor]:
        sources: list[Tensor] = []
        for group in self.layout.groups:
            kernels, biases = self.ind_patch_embed.tensors(group)
            sources += [*kernels, *biases, self.band_embed[f"group{group.group}"]]
        return sources

    def _build_kernels(self, device: torch.device) -> tuple[GroupKernel, ...]:
        built = []
        for group in self.layout.groups:
            kernels, biases = self.ind_patch_embed.tensors(group)
            built.append(
                group_kernel(
                    [kernel.to(device) for kernel in kernels],
                    [bias.to(device) for bias in biases],
                    self.band_embed[f"group{group.group}"].to(device),
                    group=group,
                    layout=self.layout,
                )
            )
        return tuple(built)

    def _current_kernels(self) -> tuple[GroupKernel, ...]:
        sources = self._kernel_sources()
        device = self.norm.weight.device
        trained = any(tensor.requires_grad for tensor in sources)
        if trained and (self.training or torch.is_grad_enabled()):
            with torch.autocast(device.type, enabled=False):
                return tuple(
                    GroupKernel(weight=k.weight.to(self.dtype), bias=k.bias.to(self.dtype))
                    for k in self._build_kernels(device)
                )
        key = (_fingerprint(sources), device, self.dtype)
        if self._kernels is None or self._kernels[0] != key:
            # Outside inference mode: what is made inside could never be used in training. On the
            # CPU: the products must not be rounded to TF32.
            with torch.inference_mode(False), torch.no_grad(), torch.autocast("cpu", enabled=False):
                kernels = tuple(
                    GroupKernel(
                        weight=k.weight.to(device, self.dtype), bias=k.bias.to(device, self.dtype)
                    )
                    for k in self._build_kernels(torch.device("cpu"))
                )
            self._kernels = (key, kernels)
        return self._kernels[1]

    def _current_bias(self) -> Tensor:
        device = self.norm.weight.device
        dtype = self.dtype
        if torch.is_autocast_enabled(device.type):
            dtype = torch.get_autocast_dtype(device.type)
        key = (_fingerprint([self.encoder_slopes]), device, dtype)
        if self._bias is None or self._bias[0] != key:
            with (
                torch.inference_mode(False),
                torch.no_grad(),
                torch.autocast(device.type, enabled=False),
            ):
                # Only the finished bias is rounded to the dtype that attention computes in.
                bias = alibi_bias(
                    self.layout, self.encoder_slopes, cls_token=bool(self.n_prefix), dtype=dtype
                )
                self._bias = (key, bias.unsqueeze(0))
        return self._bias[1]

    def constants(self) -> Constants:
        """Return the constants for the current weights, device and precision."""
        return Constants(kernels=self._current_kernels(), bias=self._current_bias())

    # -- forward -----------------------------------------------------------------------------------

    def check_input(self, x: Tensor) -> None:
        """Refuse an input that is not what the layout was made for; see `check_image`."""
        check_image(x, self.layout, allow_resize=self.allow_resize)

    def embed_tokens(self, x: Tensor, constants: Constants) -> Tensor:
        """Return the sequence that enters the first block.

        Args:
            x: Normalised input (B, C, side, side).
            constants: What `constants` returned.

        Returns:
            Tokens (B, N, D), groups ascending, rows from the top; a CLS token, if any, first.
        """
        parts = [
            embed_group(x, group, kernel).to(self.dtype)
            for group, kernel in zip(self.layout.groups, constants.kernels, strict=True)
        ]
        if self.n_prefix:
            parts.insert(0, self.cls_token.expand(x.shape[0], -1, -1))
        return torch.cat(parts, dim=1)

    def forward_features(
        self, x: Tensor, indices: Sequence[int] | None = None, *, norm: bool = False
    ) -> list[Tensor]:
        """Return the tokens after some blocks; later blocks are not run.

        Args:
            x: Normalised input (B, C, side, side), floating point.
            indices: Block indices, negative ones from the end; all blocks by default.
            norm: Apply the final LayerNorm to each.

        Returns:
            One tensor (B, N, D) per index, in the order of *indices*, with the CLS token if there
            is one.

        Raises:
            ConfigError: If an index is out of range.
            InputError: If *x* does not fit the layout.
        """
        wanted = check_indices(indices, self.variant.depth)
        self.check_input(x)
        constants = self.constants()
        size = self._part(x)
        if len(x) <= size:
            return self._features(x, wanted, constants, norm=norm)
        whole: list[Tensor] = []
        for start in range(0, len(x), size):
            part = self._features(x[start : start + size], wanted, constants, norm=norm)
            whole = whole or [tokens.new_empty(len(x), *tokens.shape[1:]) for tokens in part]
            for tokens, features in zip(whole, part, strict=True):
                tokens[start : start + size] = features
        return whole

    def _part(self, x: Tensor) -> int:
        """Return how many samples of *x* go through the blocks together."""
        if x.device.type != "cpu" or torch.is_grad_enabled():
            return len(x)
        hidden = self.layout.n_tokens * MLP_RATIO * self.variant.embed_dim * self.dtype.itemsize
        return max(_CPU_PART_BYTES // hidden, 1)

    def _features(
        self, x: Tensor, wanted: Sequence[int], constants: Constants, *, norm: bool
    ) -> list[Tensor]:
        tokens = self.embed_tokens(x, constants)
        features: dict[int, Tensor] = {}
        for number, block in enumerate(self.blocks[: max(wanted) + 1]):
            tokens = block(tokens, constants.bias)
            if number in wanted:
                features[number] = self.norm(tokens) if norm else tokens
        return [features[number] for number in wanted]

    def forward(self, x: Tensor) -> Tensor:
        """Encode.

        Args:
            x: Normalised input (B, C, side, side), floating point.

        Returns:
            Final-normed tokens (B, N, D), after the CLS token if there is one.

        Raises:
            InputError: If *x* does not fit the layout.
        """
        return self.forward_features(x, [-1], norm=True)[0]


def check_indices(
    out_indices: Sequence[int] | None, depth: int, *, argument: str = "out_indices"
) -> tuple[int, ...]:
    """Resolve block indices.

    Args:
        out_indices: Block indices, negative ones from the end; all blocks by default.
        depth: Number of blocks.
        argument: Name of the argument, for messages.

    Returns:
        Indices from 0, in the order given.

    Raises:
        ConfigError: If an index is out of range, or there is none.
    """
    if out_indices is None:
        return tuple(range(depth))
    if isinstance(out_indices, int) or not out_indices:
        raise ConfigError(argument, out_indices, "not a list of block indices", "Give e.g. [-1].")
    for index in out_indices:
        if not isinstance(index, int) or isinstance(index, bool) or not -depth <= index < depth:
            raise ConfigError(
                argument,
                index,
                f"the model has {depth} blocks",
                f"Give indices from {-depth} to {depth - 1}.",
            )
    return tuple(index % depth for index in out_indices)


def _forget_constants(module: nn.Module, incompatible_keys: object) -> None:
    if isinstance(module, THOREncoder):
        module.forget_constants()
