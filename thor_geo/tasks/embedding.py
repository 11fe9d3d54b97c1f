"""THOREmbeddingTask: a frozen encoder whose predict_step returns embeddings."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities import rank_zero_only, rank_zero_warn
from torch import Tensor, nn

from thor_geo.errors import ConfigError
from thor_geo.models import (
    Readout,
    THORBackbone,
    build_from_layout,
    checkpoint_path,
    make_layout,
    pool_tokens,
    variant,
    warn_extrapolation,
    weights_sha256,
)
from thor_geo.models.describe import describe_module
from thor_geo.models.encoder import check_indices
from thor_geo.models.official import OfficialTHOR, official_version, require_official
from thor_geo.specs import Implementation, Merge, Pooling, check_choice
from thor_geo.specs.bands import S2_DEFAULT_BANDS, bands_from_ee, select_bands
from thor_geo.tasks.features import generic_features

# Attention biases above this are refused: N x N for every head, float32, beside the activations.
_MAX_BIAS_BYTES = 32 * 2**30

#: The ten Sentinel-2 bands at 10 and 20 m as THOR channels, in the order of the default sensor.
DEFAULT_CHANNELS: tuple[str, ...] = tuple(band.channel for band in bands_from_ee(S2_DEFAULT_BANDS))


class THOREmbeddingTask(LightningModule):
    """Embeds tiles with a frozen THOR encoder, or with any other backbone.

    `predict_step` takes a batch of ``image`` (normalised, (B, C, H, W)), ``observations``
    ((B, S, H, W) uint8) and ``tile`` ((B,) int64), and returns a dict of tensors:

    * ``pooled``: float32 (B, D), by default the mean over all patch tokens of the last block,
      before the final norm (with groups of unequal token counts, the finer group weighs more). With
      ``group_mean`` D times the number of groups, ascending; several layers stand one after the
      other, in the order given. `info` names the parts, each D wide, as ``pooled_parts``
    * ``grid``: (B, D', h, w), the groups' token maps brought to the finest and merged; row 0 is
      north. D' is D, or D times the number of groups for ``concat``; of several layers, one after
      the other along the channels (``grid_parts``)
    * ``tile``, ``valid_fraction`` (share of pixels with an observation), ``observations_mean``

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
        backbone: nn.Module | None = None,
    ) -> None:
        """Initialize a new THOREmbeddingTask instance.

        Args:
            model_key: ``thor_v1_tiny``, ``_small``, ``_base`` or ``_large``.
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
            layers: Blocks whose tokens are taken, negative ones from the end; those of several
                stand side by side.
            norm: Apply the final LayerNorm to the tokens.
            implementation: ``thorgeo``, or ``official`` for the authors' TerraTorch extension,
                which must be installed, patches timm, and gives the same numbers.
            pooled: Return pooled vectors (linked to the output).
            grid: Return grids (linked to the output).
            seed: Seed of the random weights when `pretrained` is false and `ckpt` is None.
            threads: CPU threads per process, part of a CPU run's fingerprint; None takes all cores.
            backbone: Another frozen model, returning tokens (B, N, D) or a map (B, D, h, w), used
                instead of THOR.

        Raises:
            ConfigError: If a choice is unknown, a block does not exist or comes twice, neither
                output is asked for, or another backbone is to do what only THOR can.
            LayoutError: If `patch_size` does not divide a group's image.
            BandError: If a band is unknown or repeated.
            CheckpointError: If *ckpt* is no file.
            DependencyError: If the official implementation is asked for, and not installed.
        """
        super().__init__()
        check_choice("group_merge", group_merge, Merge)
        check_choice("pooling", pooling, Pooling)
        check_choice("implementation", implementation, Implementation)
        if not (pooled or grid):
            raise ConfigError(
                "output", {"pooled": pooled, "grid": grid}, "no output", "Set one of them to true."
            )
        if threads is not None and threads < 1:
            raise ConfigError("threads", threads, "not positive", "Give 1 or more, or null.")
        self.model_key = model_key
        self.pretrained = pretrained
        self.ckpt = None if ckpt is None else checkpoint_path(ckpt)
        self.bands = tuple(bands)
        self.image_size = image_size
        self.resolution = resolution
        self.ground_cover = image_size * resolution if ground_cover is None else ground_cover
        self.patch_size = patch_size
        self.group_merge: Merge = group_merge
        self.pooling: Pooling = pooling
        self.norm = norm
        self.implementation: Implementation = implementation
        self.pooled = pooled
        self.grid = grid
        self.seed = seed
        self.threads = threads
        self.generic = backbone
        self.thor: THORBackbone | OfficialTHOR | None = None
        if backbone is not None:
            _refuse_thors(pooling=pooling, layers=layers, norm=norm, implementation=implementation)
        else:
            # Validates everything about patches and groups before anything is downloaded.
            row = variant(model_key)
            heads = row.num_heads
            self.layers = check_indices(layers, row.depth, argument="layers")
            if len(set(self.layers)) < len(self.layers):
                raise ConfigError(
                    "layers", list(layers), "a block comes twice", "Name each block once."
                )
            if self._official:
                require_official()
            self.layout = make_layout(
                select_bands(self.bands),
                ground_cover=self.ground_cover,
                patch_size=patch_size,
                image_size=image_size,
            )
            self.readout = Readout(
                layout=self.layout, layers=self.layers, pooling=pooling, merge=group_merge
            )
            if (needed := 4 * heads * self.layout.n_tokens**2) > _MAX_BIAS_BYTES:
                raise ConfigError(
                    "tile_size",
                    image_size,
                    f"{self.layout.n_tokens:,} tokens of patch_size={patch_size} need "
                    f"{needed / 2**30:,.0f} GiB for attention biases alone",
                    "Take smaller tiles (288 is what THOR was trained on) or larger patches.",
                )
            # Said by whoever makes the configuration, and by one process of a run.
            warn_extrapolation(self.layout, aloud=getattr(rank_zero_only, "rank", 0) == 0)

    def setup(self, stage: str) -> None:
        """Set the number of CPU threads: results differ in the last bits with it.

        Lightning would divide the cores by the ranks; the same run on another number of devices
        would then give other numbers.
        """
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        elif self._on_cpu():
            cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
            torch.set_num_threads(cores or os.cpu_count() or 1)
            if self.trainer.world_size > 1:
                rank_zero_warn(
                    f"{self.trainer.world_size} ranks on the CPU take {torch.get_num_threads()} "
                    "threads each, so that their numbers are those of one rank. Set model.threads "
                    "to share the cores out."
                )

    def _on_cpu(self) -> bool:
        trainer = self._trainer
        return trainer is None or trainer.strategy.root_device.type == "cpu"

    def configure_model(self) -> None:
        """Load the weights, once.

        Raises:
            CheckpointError: If weights are missing or do not match.
            DependencyError: If the official implementation does not import.
        """
        if self.generic is None and self.thor is None:
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
        self.requires_grad_(False)
        self.eval()

    def predict_step(
        self, batch: Mapping[str, Tensor], batch_idx: int = 0, dataloader_idx: int = 0
    ) -> dict[str, Tensor]:
        """Embed one batch; see the class for keys and shapes.

        Raises:
            InputError: If grids are asked for and the backbone's tokens form none.
        """
        features = self.embed(batch["image"])
        observations = batch["observations"].float()
        clear = (batch["observations"] > 0).any(dim=1)
        return {
            **features,
            "tile": batch["tile"],
            "valid_fraction": clear.float().mean(dim=(1, 2)),
            "observations_mean": observations.mean(dim=(1, 2, 3)),
        }

    def embed(self, image: Tensor) -> dict[str, Tensor]:
        """Return ``pooled`` and/or ``grid`` of normalised images (B, C, H, W), as float32."""
        out: dict[str, Tensor] = {}
        if self.generic is not None:
            features = generic_features(self.generic(image))
            if self.pooled:
                out["pooled"] = pool_tokens(features.tokens, self.pooling)
            if self.grid:
                out["grid"] = features.require_grid().float()
            return out
        tokens = self._thor.features(image, self.layers, norm=self.norm)
        if self.pooled:
            out["pooled"] = self.readout.pooled(tokens)
        if self.grid:
            out["grid"] = self.readout.grid(tokens)
        return out

    @property
    def _thor(self) -> THORBackbone | OfficialTHOR:
        if self.thor is None:
            raise RuntimeError("configure_model has not run: there are no weights yet")
        return self.thor

    def output_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of one tile's outputs: ``pooled`` (D,) and/or ``grid`` (D', h, w)."""
        if self.generic is not None:
            with torch.no_grad():
                outputs = self.embed(self._blank())
            return {key: tuple(value.shape[1:]) for key, value in outputs.items()}
        shapes: dict[str, tuple[int, ...]] = {}
        if self.pooled:
            shapes["pooled"] = self.readout.pooled_shape(self._thor.embed_dim)
        if self.grid:
            shapes["grid"] = self.readout.grid_shape(self._thor.embed_dim)
        return shapes

    def _blank(self) -> Tensor:
        # What a backbone returns only it knows: ask it once, with an empty image.
        side = self.image_size
        return torch.zeros(1, len(self.bands), side, side, device=self.device)

    def settings(self) -> dict[str, Any]:
        """Return everything of the model that changes the numbers."""
        trainer = self._trainer
        model: dict[str, Any]
        if self.generic is None:
            model = {
                "model": self.model_key,
                "weights_sha256": weights_sha256(self._thor),
                "implementation": self.implementation,
                "layers": list(self.layers),
                "norm": self.norm,
            }
        else:
            model = {**describe_module(self.generic)}
        return {
            **model,
            "bands": list(self.bands),
            "image_size": self.image_size,
            "ground_cover_m": self.ground_cover,
            "patch_size": self.patch_size,
            "group_merge": self.group_merge,
            "pooling": self.pooling,
            "precision": "32-true" if trainer is None else str(trainer.precision),
            "float32_matmul": torch.get_float32_matmul_precision(),
            "device": self.device.type,
            # Elsewhere than on the CPU they change nothing.
            "threads": torch.get_num_threads() if self._on_cpu() else None,
        }

    def info(self) -> dict[str, Any]:
        """Return what a reader of the outputs wants to know besides the settings."""
        common = {
            "image_size": self.image_size,
            "ground_cover_m": self.ground_cover,
            "pooling": self.pooling,
            "patch_size": self.patch_size,
            "group_merge": self.group_merge,
        }
        if self.generic is not None:
            features = generic_features(self.generic(self._blank()))
            return {
                **common,
                "model_key": type(self.generic).__name__,
                "pretrained": None,
                "ckpt": None,
                "weights": "the backbone's own",
                "cls_removed": features.cls_removed,
                "grid_kind": "patch_tokens",
                "expected_patch_tokens": features.tokens.shape[1],
            }
        return {
            **common,
            "model_key": self.model_key,
            "pretrained": self.pretrained,
            # Its name only: outputs carry this, and must not depend on where the file lies.
            "ckpt": None if self.ckpt is None else self.ckpt.name,
            "weights": self._weights_note(),
            "cls_removed": False,
            "grid_kind": "thor_group_grid",
            "expected_patch_tokens": self.layout.n_tokens,
            "group_patch_sizes": {f"group{g.group}": g.patch_size for g in self.layout.groups},
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


def _refuse_thors(
    *, pooling: Pooling, layers: Sequence[int], norm: bool, implementation: Implementation
) -> None:
    """Refuse what another backbone, of one map and one layer, cannot do.

    Raises:
        ConfigError: If one is asked for.
    """
    for name, value, usual in (
        ("pooling", pooling, pooling if pooling in ("mean", "max") else "mean"),
        ("layers", tuple(layers), (-1,)),
        ("norm", norm, False),
        ("implementation", implementation, "thorgeo"),
    ):
        if value != usual:
            raise ConfigError(
                name,
                value,
                "it is THOR's, and `backbone` is another model",
                f"Leave it at {usual!r}, and have the backbone return what you want.",
            )
