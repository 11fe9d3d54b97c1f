"""The embeddings of one shard, collected from batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from thor_geo.errors import ThorGeoError
from thor_geo.ground.place_plan import PlacePlan
from thor_geo.ground.plan import Plan, Shard
from thor_geo.runs.zone_grid import Trim, centre_trim
from thor_geo.support.redact import redact

Status = Literal["ok", "empty", "failed"]
Dtype = Literal["float32", "float16", "int8"]


@dataclass(frozen=True, kw_only=True)
class Shapes:
    """Shapes of one tile's embeddings.

    Attributes:
        pooled: (D,), or None where no vectors are written.
        grid: (D', h, w), or None where no maps are written.
        centre: (D',) of the cell that holds the place, or None where it is not written.
        dtype: NumPy dtype name on disk, of all.
    """

    pooled: tuple[int] | None
    grid: tuple[int, int, int] | None
    centre: tuple[int] | None = None
    dtype: Dtype = "float32"

    @property
    def collected(self) -> Literal["float32", "float16"]:
        """NumPy dtype name in memory: whole tiles become int8 only when the shard is written."""
        return "float32" if self.dtype == "int8" else self.dtype


class ShardResult:
    """The embeddings of one shard, filled batch by batch, on the CPU.

    Attributes:
        shard: The shard; its n tiles are in plan order below.
        pooled: (n, D), NaN where a tile has no embedding; or None.
        centre: (n, D'), NaN likewise; or None.
        grid: (D', k s, k s), the shard's whole square, row 0 = north, NaN likewise; or None. It
            holds the centre of each tile, s cells a side: the whole tile if tiles do not overlap.
            Of places (n, D', h, w), each with its whole map.
        valid_fraction: (n,) float32.
        observations_mean: (n,) float32.
        status: n words.
        error: n texts or None.
        scenes: n tuples of scene ids.
        batches: Shape of every batch of images, in order.
    """

    def __init__(self, plan: Plan, shard: Shard, shapes: Shapes, *, strict: bool = False) -> None:
        """Initialize a new ShardResult instance, all fill.

        Args:
            plan: The plan.
            shard: One of its shards.
            shapes: What to collect.
            strict: Refuse a tile without a finite embedding, instead of recording it as failed.

        Raises:
            ConfigError: If maps cannot be trimmed to the tiles' centres.
        """
        n = len(shard)
        self.shard = shard
        self.pooled: npt.NDArray[Any] | None = None
        self.centre: npt.NDArray[Any] | None = None
        self.grid: npt.NDArray[Any] | None = None
        self._trim: Trim | None = None
        if shapes.pooled is not None:
            self.pooled = np.full((n, *shapes.pooled), np.nan, dtype=shapes.collected)
        if shapes.centre is not None:
            self.centre = np.full((n, *shapes.centre), np.nan, dtype=shapes.collected)
        if shapes.grid is not None and isinstance(plan, PlacePlan):
            self.grid = np.full((n, *shapes.grid), np.nan, dtype=shapes.collected)
        elif shapes.grid is not None:
            lattice = plan.lattices[0]
            self._trim = centre_trim(lattice, shapes.grid[1:])
            side = lattice.shard_tiles * self._trim.side
            self.grid = np.full((shapes.grid[0], side, side), np.nan, dtype=shapes.collected)
        self.valid_fraction = np.zeros(n, dtype=np.float32)
        self.observations_mean = np.zeros(n, dtype=np.float32)
        self.status: list[Status] = ["failed"] * n
        self.error: list[str | None] = [None] * n
        self.scenes: list[tuple[str, ...]] = [()] * n
        self.batches: list[tuple[int, ...]] = []
        self._plan = plan
        self._shapes = shapes
        self._strict = strict
        self._seen = np.zeros(n, dtype=np.bool_)

    @property
    def complete(self) -> bool:
        """Whether every tile has been added."""
        return bool(self._seen.all())

    def add(self, prediction: Mapping[str, Any], batch: Mapping[str, Any]) -> None:
        """Add one batch.

        Args:
            prediction: Result of `predict_step`, tensors on any device.
            batch: The batch: `image`, `tile`, `error`, `scenes`.

        Raises:
            ThorGeoError: If the batch crosses the shard, repeats a tile, or an array has another
                shape than expected; if *strict*, also if an embedding is not finite.
        """
        tiles = np.asarray(_array(prediction["tile"]), dtype=np.int64)
        self._check(tiles, batch["error"], batch["scenes"])
        outputs = {
            name: _wanted(prediction, name, len(tiles), shape)
            for name in ("pooled", "grid", "centre")
            if (shape := getattr(self._shapes, name)) is not None
        }
        valid = _array(prediction["valid_fraction"])
        observations = _array(prediction["observations_mean"])
        for k, tile in enumerate(tiles.tolist()):
            slot = tile - self.shard.start
            self.valid_fraction[slot], self.observations_mean[slot] = valid[k], observations[k]
            self.scenes[slot] = tuple(batch["scenes"][k])
            if batch["error"][k] is not None:
                self.error[slot] = redact(batch["error"][k])
                continue
            if valid[k] == 0:
                self.status[slot] = "empty"
                continue
            with np.errstate(over="ignore"):  # the next line checks for infinity
                values = {
                    name: array[k].astype(self._shapes.collected) for name, array in outputs.items()
                }
            if not all(np.isfinite(value).all() for value in values.values()):
                why = _why_not_finite(self._shapes.dtype, [a[k] for a in outputs.values()])
                if self._strict:
                    raise ThorGeoError(f"`strict=True`: tile {self._plan.tile(tile).id}: {why}.")
                self.error[slot] = why
                continue
            self.status[slot] = "ok"
            self._store(tile, slot, values)
        self._seen[tiles - self.shard.start] = True
        self.batches.append(tuple(batch["image"].shape))

    def _store(self, tile: int, slot: int, values: Mapping[str, npt.NDArray[Any]]) -> None:
        for name, into in (("pooled", self.pooled), ("centre", self.centre)):
            if into is not None:
                into[slot] = values[name]
        if self.grid is None:
            return
        if self._trim is None:
            self.grid[slot] = values["grid"]
            return
        side, kept = self._trim.side, self._trim.kept
        row, col = (side * index for index in self.shard.tile_position(self._plan.tile(tile)))
        self.grid[:, row : row + side, col : col + side] = values["grid"][:, kept, kept]

    def _check(
        self, tiles: npt.NDArray[np.int64], errors: Sequence[Any], scenes: Sequence[Any]
    ) -> None:
        shard = self.shard
        if not len(tiles) == len(errors) == len(scenes):
            raise ThorGeoError(
                f"A batch of shard {shard.id} has {len(tiles)} tiles, {len(errors)} errors and "
                f"{len(scenes)} lists of scenes: one of each per tile is needed."
            )
        slots = tiles - shard.start
        if slots.min() < 0 or slots.max() >= len(shard):
            raise ThorGeoError(
                f"A batch holds tiles {tiles.min()} to {tiles.max()}, shard {shard.id} has "
                f"{shard.start} to {shard.stop - 1}: a batch must not cross shards, and a shard's "
                "batches must follow one another. Use the datamodule's own batch sampler, with "
                "`trainer.use_distributed_sampler=false`."
            )
        if self._seen[slots].any() or len(np.unique(slots)) < len(slots):
            raise ThorGeoError(
                f"A tile of shard {shard.id} came twice: every tile must come once. Use the "
                "datamodule's own batch sampler, with `trainer.use_distributed_sampler=false`."
            )


def _array(value: Any) -> npt.NDArray[Any]:
    """Return a tensor of any device and dtype as an array, shorter floats as float32."""
    import torch

    if not isinstance(value, torch.Tensor):
        return np.asarray(value)
    value = value.detach()
    # NumPy has no bfloat16. float64 stays: as float32, values too large for it would become
    # infinity, and the tile's error would not say why.
    if value.is_floating_point() and value.dtype != torch.float64:
        value = value.float()
    array: npt.NDArray[Any] = value.cpu().numpy()
    return array


def _wanted(
    prediction: Mapping[str, Any], name: str, tiles: int, shape: tuple[int, ...]
) -> npt.NDArray[Any]:
    value = _array(prediction[name])
    if value.shape != (tiles, *shape):
        raise ThorGeoError(
            f"`{name}` has shape {value.shape}, announced was {(tiles, *shape)}: predict_step and "
            "output_shapes() of the model disagree."
        )
    return value


def _why_not_finite(dtype: Dtype, values: Sequence[npt.NDArray[Any]]) -> str:
    if all(np.isfinite(value).all() for value in values):
        largest = max(float(np.abs(value).max()) for value in values)
        remedy = "use output.dtype=float32"
        if largest > float(np.finfo(np.float32).max):
            remedy = "no output.dtype holds it, look at the model's weights and its input"
        return f"the embedding does not fit {dtype} (largest value {largest:.4g}): {remedy}"
    return "the embedding holds NaN or infinity: try trainer.precision=32-true"
