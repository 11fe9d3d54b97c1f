"""THOREmbeddingTask: a frozen THOR encoder whose predict_step returns embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from thor_geo.errors import CheckpointError, ConfigError
from thor_geo.models import (
    Readout,
    THORBackbone,
    build_from_layout,
    checkpoint_path,
    make_layout,
    variant,
    warn_extrapolation,
    weights_sha256,
)
from thor_geo.models.encoder import check_indices
from thor_geo.models.layout import TokenLayout
from thor_geo.models.official import OfficialTHOR, official_version, require_official
from thor_geo.specs import Implementation, Merge, Pooling, check_choice
from thor_geo.specs.bands import S2_DEFAULT_BANDS, bands_from_ee, select_bands
from thor_geo.tasks.base import EmbeddingTask

# Attention biases above this are refused: N x N for every head, float32, beside the activations.
_MAX_BIAS_BYTES = 32 * 2**30

#: The ten Sentinel-2 bands at 10 and 20 m as THOR channels, in the order of the default sensor.
DEFAULT_CHANNELS: tuple[str, ...] = tuple(band.channel for band in bands_from_ee(S2_DEFAULT_BANDS))


class THOREmbeddingTask(EmbeddingTask):
    """Embeds tiles with a frozen THOR encoder; see `EmbeddingTask` for the batch and the outputs.

    * ``pooled``: float32 (B, D), by default the mean over all patch tokens of the last block,
      before the final norm (with groups of unequal token counts, the finer group weighs more). With
      ``group_mean`` D times the number of groups, ascending; several layers are concatenated in
      the order given. `info` names the parts, each D wide, as ``pooled_parts``
    * ``grid``: (B, D', h, w), the groups' token maps brought to the finest one and merged. D' is D,
      or D times the number of groups for ``concat``; several layers are concatenated along the
      channels (``grid_parts``)
    * ``centre``: (B, D'), the grid's cell that holds a place

    Weights are loaded in `configure_model`, never in the constructor.
    """

    def __init__(
        self,
        model_key: str = "thor_v1_base",
        pretrained: bool = True,
        ckpt: Path | None = None,
        bands: Sequence[str] = DEFAULT_CHANNELS,
        image_size: int = 288,
        resolution: int = 10,
        ground_cover: int | None = None,
        patch_size: int = 16,
        group_merge: Merge = "mean",
        pooling: Pooling = "mean",
        layers: Sequence[int] = (-1,),
        norm: bool = False,
        implementation: Implementation = "thorgeo",
        pooled: bool = True,
        grid: bool = True,
        seed: int = 0,
        threads: int | None = None,
        centre: bool = False,
    ) -> None:
        """Initialize a new THOREmbeddingTask instance.

        Everything about patches and groups is checked here, before anything is downloaded.

        Args:
            model_key: Variant of THOR: ``thor_v1_tiny``, ``_small``, ``_base`` or ``_large``.
            pretrained: Download the published weights; false gives seeded random ones.
            ckpt: Checkpoint file to load instead of the published weights.
            bands: THOR channels or TerraTorch names of the image's planes (linked to the data).
            image_size: Side of a tile in pixels (linked to the data's tile_size).
            resolution: Pixel size in metres (linked to the data).
            ground_cover: Side of a tile on the ground in metres, where its pixels were resampled;
                None for `image_size` times `resolution`.
            patch_size: Side of a patch in pixels of each group's own grid.
            group_merge: How the groups' maps become one: ``mean``, ``sum`` or ``concat``.
            pooling: How tokens become one vector: ``mean`` or ``max`` of all, ``grid_mean`` of the
                merged grid, ``group_mean`` of each group, side by side.
            layers: Blocks whose tokens are taken, negative ones counted from the end. Tokens of
                several stand side by side.
            norm: Apply the final LayerNorm to the tokens.
            implementation: Code of the encoder: ``thorgeo``, or ``official`` for the authors'
                TerraTorch extension, which must be installed and patches timm. Both give the same
                numbers.
            pooled: Return pooled vectors (linked to the output).
            grid: Return grids (linked to the output).
            seed: Seed of the random weights when `pretrained` is false and `ckpt` is None.
            threads: CPU threads per process; they change the last digits of a CPU run's results.
                None for one thread per core.
            centre: Return the grid's cell that holds a place (linked to the output).

        Raises:
            ConfigError: If a choice is unknown, a block does not exist or is repeated, or no output
                is wanted.
            LayoutError: If `patch_size` does not divide a group's image.
            BandError: If a band is unknown or repeated.
            CheckpointError: If *ckpt* is not a file.
            DependencyError: If the official implementation is wanted, and not installed.
        """
        super().__init__(
            bands=bands,
            image_size=image_size,
            ground_cover=image_size * resolution if ground_cover is None else ground_cover,
            pooled=pooled,
            grid=grid,
            threads=threads,
            centre=centre,
        )
        check_choice("group_merge", group_merge, Merge)
        check_choice("pooling", pooling, Pooling)
        check_choice("implementation", implementation, Implementation)
        row = variant(model_key)
        if implementation == "official":
            require_official()
        self.model_key = model_key
        self.pretrained = pretrained
        self.ckpt = None if ckpt is None else checkpoint_path(ckpt)
        self.patch_size = patch_size
        self.group_merge: Merge = group_merge
        self.pooling: Pooling = pooling
        self.layers = _check_layers(layers, row.depth)
        self.norm = norm
        self.implementation: Implementation = implementation
        self.seed = seed
        self.thor: THORBackbone | OfficialTHOR | None = None
        self._loaded_sha256: str | None = None
        self.layout = make_layout(
            select_bands(self.bands),
            ground_cover=self.ground_cover,
            patch_size=patch_size,
            image_size=image_size,
        )
        _check_memory(self.layout, image_size, patch_size, row.num_heads)
        self.readout = Readout(
            layout=self.layout, layers=self.layers, pooling=pooling, merge=group_merge
        )
        # Whoever makes the configuration warns, and in a run one process.
        warn_extrapolation(self.layout, aloud=getattr(rank_zero_only, "rank", 0) == 0)

    def configure_model(self) -> None:
        """Load the weights, once.

        Raises:
            CheckpointError: If weights are missing or do not match.
            DependencyError: If the official implementation does not import.
        """
        if self.thor is None:
            ours = build_from_layout(
                self.model_key,
                self.layout,
                pretrained=self.pretrained,
                ckpt=self.ckpt,
                seed=self.seed,
            )
            if self._official:
                from thor_geo.terratorch import official_twin

                self.thor = official_twin(ours, self.layers)
            else:
                self.thor = ours
        if self._loaded_sha256 is None:
            self._loaded_sha256 = weights_sha256(self._thor)
        super().configure_model()

    def embed(self, image: Tensor, within: Tensor | None = None) -> dict[str, Tensor]:
        """Return ``pooled`` and/or ``grid``, as float32; ``grid`` also where `centre` is wanted.

        Args:
            image: Normalised images (B, C, H, W).
            within: (B, H, W), 1 for pixels within the polygon over which vectors are pooled; None
                for whole tiles.
        """
        tokens = self._thor.features(image, self.layers, norm=self.norm)
        out: dict[str, Tensor] = {}
        if self.pooled:
            out["pooled"] = self.readout.pooled(tokens, within)
        if self.grid or self.centre:
            out["grid"] = self.readout.grid(tokens)
        return out

    @property
    def _thor(self) -> THORBackbone | OfficialTHOR:
        if self.thor is None:
            raise RuntimeError("configure_model has not run: there are no weights yet")
        return self.thor

    def output_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of one tile's outputs that are wanted.

        Returns:
            ``pooled`` (D,), ``grid`` (D', h, w), ``centre`` (D',).
        """
        shapes: dict[str, tuple[int, ...]] = {}
        grid = self.readout.grid_shape(self._thor.embed_dim)
        if self.pooled:
            shapes["pooled"] = self.readout.pooled_shape(self._thor.embed_dim)
        if self.grid:
            shapes["grid"] = grid
        if self.centre:
            shapes["centre"] = grid[:1]
        return shapes

    def on_predict_start(self) -> None:
        """Refuse weights other than those that were loaded.

        Raises:
            CheckpointError: If something has replaced them since.
        """
        self._current_sha256()

    def _current_sha256(self) -> str:
        digest = weights_sha256(self._thor)
        if self._loaded_sha256 not in (None, digest):
            raise CheckpointError(
                f"`model.model_key={self.model_key!r}`: the {self._weights_note()} were replaced "
                "after they had been loaded. Lightning does that with `ckpt_path` and, under "
                "SLURM, with an hpc_ckpt_*.ckpt in the trainer's default_root_dir. Move that file "
                "away; weights of your own are model.ckpt."
            )
        return digest

    def settings(self) -> dict[str, Any]:
        """Return everything about the model that changes the numbers."""
        return {
            **super().settings(),
            "model": self.model_key,
            "weights_sha256": self._current_sha256(),
            "implementation": self.implementation,
            "layers": list(self.layers),
            "norm": self.norm,
            "patch_size": self.patch_size,
            "group_merge": self.group_merge,
        }

    def info(self) -> dict[str, Any]:
        """Return what a reader of the outputs wants to know besides the settings."""
        return {
            **super().info(),
            "patch_size": self.patch_size,
            "group_merge": self.group_merge,
            "model_key": self.model_key,
            "pretrained": self.pretrained,
            # Its name only: outputs carry this, and must not depend on where the file lies.
            "ckpt": None if self.ckpt is None else self.ckpt.name,
            "weights": self._weights_note(),
            "weights_url": self._weights_url(),
            "cls_removed": False,
            "grid_kind": "thor_group_grid",
            "expected_patch_tokens": self.layout.n_tokens,
            "group_patch_px": {f"group{g.group}": g.patch_size for g in self.layout.groups},
            "group_grid_side": {f"group{g.group}": g.n for g in self.layout.groups},
            "implementation": self.implementation,
            "implementation_version": official_version() if self._official else None,
            "layers": list(self.layers),
            "norm": self.norm,
            "pooled_parts": self.readout.pooled_parts,
            "grid_parts": self.readout.grid_parts,
        }

    @property
    def _official(self) -> bool:
        return self.implementation == "official"

    def _weights_note(self) -> str:
        if self.ckpt is not None:
            return f"checkpoint {self.ckpt.name}"
        return "published weights" if self.pretrained else f"random weights (seed {self.seed})"

    def _weights_url(self) -> str | None:
        """Return the page of published weights; None for others."""
        if self.ckpt is not None or not self.pretrained:
            return None
        return f"https://huggingface.co/{variant(self.model_key).hub_repo}"


def _check_layers(layers: Sequence[int], depth: int) -> tuple[int, ...]:
    """Return the blocks counted from 0; refuse those that do not exist or are repeated."""
    indices = check_indices(layers, depth, argument="layers")
    if len(set(indices)) < len(indices):
        raise ConfigError("layers", list(layers), "a block is named twice", "Name each block once.")
    return indices


def _check_memory(layout: TokenLayout, image_size: int, patch_size: int, heads: int) -> None:
    """Refuse tiles whose attention biases cannot fit into memory."""
    needed = 4 * heads * layout.n_tokens**2
    if needed > _MAX_BIAS_BYTES:
        raise ConfigError(
            "tile_size",
            image_size,
            f"{layout.n_tokens:,} tokens of patch_size={patch_size} need "
            f"{needed / 2**30:,.0f} GiB for attention biases alone",
            "Use smaller tiles (THOR was trained on 288) or larger patches.",
        )
