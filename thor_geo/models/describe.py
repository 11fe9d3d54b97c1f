"""What a run records about a model that does not describe itself."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from thor_geo.errors import ConfigError

if TYPE_CHECKING:
    import torch
    from torch import nn

# Attributes that Lightning and PyTorch set while running, and that do not change the numbers.
_RUNTIME_ATTRIBUTES = frozenset(
    {"training", "prepare_data_per_node", "allow_zero_length_dataloader"}
)


def describe_module(module: nn.Module) -> dict[str, str]:
    """Return fingerprints that differ if two modules do: class, weights and plain attributes.

    Args:
        module: Any module.

    Returns:
        ``class``: qualified name; ``weights_sha256``: over the state dict's keys and bytes;
        ``attributes_sha256``: over class and plain public attributes (numbers, text, and
        sequences of them) of the module and all its parts, where constructor arguments such as the
        number of a layer are kept.
    """
    parts = {
        name: [_name(part), str(part.extra_repr()), _plain_attributes(part)]
        for name, part in module.named_modules()
    }
    text = json.dumps(parts, sort_keys=True, default=str)
    return {
        "class": _name(module),
        "weights_sha256": state_sha256(module),
        "attributes_sha256": hashlib.sha256(text.encode()).hexdigest(),
    }


def probe_shapes(module: Any, channels: int, size: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the outputs for one tile, by running the model on an empty tile.

    Args:
        module: A LightningModule.
        channels: Planes of the image.
        size: Side of the image in pixels.

    Raises:
        ConfigError: If `predict_step` does not return a dict with ``pooled`` or ``grid``.
    """
    import torch

    batch = {
        "image": torch.zeros(1, channels, size, size, device=module.device),
        "observations": torch.ones(1, 1, size, size, dtype=torch.uint8, device=module.device),
        "tile": torch.zeros(1, dtype=torch.int64, device=module.device),
    }
    with torch.no_grad():
        output = module.predict_step(batch, 0)
    needed = {"tile", "valid_fraction", "observations_mean"}
    if (
        not isinstance(output, dict)
        or not needed <= set(output)
        or not {"pooled", "grid"} & set(output)
    ):
        returned = sorted(output) if isinstance(output, dict) else type(output).__name__
        raise ConfigError(
            "model",
            _name(module),
            f"its predict_step returns {returned}",
            "It must return a dict with tile, valid_fraction, observations_mean, and pooled (B, D) "
            "or grid (B, D, h, w), as THOREmbeddingTask does.",
        )
    return {name: tuple(output[name].shape[1:]) for name in ("pooled", "grid") if name in output}


def _name(module: nn.Module) -> str:
    return f"{type(module).__module__}.{type(module).__qualname__}"


def _plain_attributes(module: nn.Module) -> dict[str, Any]:
    return {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_") and name not in _RUNTIME_ATTRIBUTES and _is_plain(value)
    }


def _is_plain(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return isinstance(value, bool | int | float | str)


def state_sha256(module: nn.Module, dtype: torch.dtype | None = None) -> str:
    """Return the sha256 of a module's state dict as 64 hexadecimal digits.

    Args:
        module: Any module.
        dtype: What tensors are converted to first; None leaves each as it is.

    Returns:
        Over the state dict, sorted by key: each key in UTF-8, then its tensor's bytes, row by row.
    """
    import torch

    digest = hashlib.sha256()
    for key, value in sorted(module.state_dict().items()):
        digest.update(key.encode())
        # As bytes, because NumPy has no bfloat16.
        flat = value.detach().to("cpu", dtype).contiguous().flatten()
        digest.update(memoryview(flat.view(torch.uint8).numpy()))
    return digest.hexdigest()
