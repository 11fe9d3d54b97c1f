"""Reading THOR checkpoints, and refusing those that do not fit.

The official loader accepts any file and keeps whatever keys happen to match, so that a wrong file
gives a random model without a word. Here every key must be present with the right shape.
"""

from __future__ import annotations

import hashlib
import pickle
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from thor_geo.errors import CheckpointError, DependencyError, first_line
from thor_geo.models.variants import VARIANTS, Variant

#: Prefix of the encoder's keys in the published files (pre-training heads have others).
DEFAULT_PREFIX = "encoder"

#: Keys that are dropped after the prefix: parts of the pre-training model (official loader).
IGNORED_KEYS: tuple[str, ...] = (r"decoder_.*", r"decode_.*", r"ref_pos_embed.*", r"pos_embed.*")

_SHOWN = 10


def _shorten(names: Iterable[object]) -> str:
    listed = [str(name) for name in names]
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return ", ".join(listed[:_SHOWN]) + more


def _guess_variant(state: Mapping[str, Tensor]) -> str:
    norm = state.get("norm.weight")
    if norm is None or norm.ndim != 1:
        return ""
    blocks = {key.split(".")[1] for key in state if key.startswith("blocks.")}
    for row in VARIANTS.values():
        if (row.embed_dim, row.depth) == (norm.numel(), len(blocks)):
            return (
                f" By width {norm.numel()} and {len(blocks)} blocks it looks like {row.model_key}."
            )
    return f" Width {norm.numel()} and {len(blocks)} blocks fit no THOR v1 variant."


def checkpoint_path(ckpt: str | Path) -> Path:
    """Return the path of a checkpoint file, the home folder spelled out.

    Args:
        ckpt: The path as the user gave it.

    Raises:
        CheckpointError: If there is no such file.
    """
    path = Path(ckpt).expanduser()
    if not path.is_file():
        raise CheckpointError(
            f"`ckpt={str(ckpt)!r}`: there is no such file. Give the path of a .pt or .safetensors "
            "file, or leave it out for the published weights."
        )
    return path


def download(variant: Variant) -> Path:
    """Fetch the published weights of a variant, or find them in the Hugging Face cache.

    Args:
        variant: The size.

    Returns:
        Path of the file in the cache.

    Raises:
        DependencyError: If huggingface_hub is not installed.
        CheckpointError: If the file can neither be found nor downloaded.
    """
    try:
        import huggingface_hub
    except ImportError as error:
        raise DependencyError(
            "`pretrained=True` needs the package huggingface_hub: pip install huggingface_hub, or "
            f"download {variant.hub_file} from the Hugging Face repository {variant.hub_repo} and "
            "pass its path as `ckpt=`."
        ) from error
    try:
        return Path(huggingface_hub.hf_hub_download(variant.hub_repo, variant.hub_file))
    except Exception as error:
        # The errors of the hub, of its HTTP client and of the disk share no narrower base.
        raise CheckpointError(
            f"`pretrained=True`: could not get {variant.hub_file} from the Hugging Face repository "
            f"{variant.hub_repo} ({type(error).__name__}: {error}). On a machine without internet "
            "fetch the file elsewhere and pass its path as `ckpt=`, or point HF_HOME to a cache "
            "that holds it."
        ) from error


def read_file(path: str | Path) -> dict[str, object]:
    """Read a checkpoint file without running code from it.

    Args:
        path: A ``.safetensors`` file, or one that torch.save wrote (``.pt``, ``.pth``, ``.ckpt``).

    Returns:
        The mapping in the file, or its entry ``state_dict`` if there is one.

    Raises:
        CheckpointError: If the file is missing, unreadable, or holds something else.
        DependencyError: If it is a safetensors file and the package safetensors is not installed.
    """
    path = checkpoint_path(path)
    try:
        if path.suffix == ".safetensors":
            loaded: object = _read_safetensors(path)
        else:
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"`ckpt={str(path)!r}`: the file holds more than plain tensors, or is no checkpoint, "
            f"and is not loaded because that could run code ({first_line(error)}). Save "
            "its state dict alone with torch.save, or as safetensors."
        ) from error
    except DependencyError:
        raise
    except Exception as error:
        # What torch's unpickler meets in a damaged file comes as whatever Python makes of it.
        raise CheckpointError(
            f"`ckpt={str(path)!r}`: the file cannot be read ({type(error).__name__}: "
            f"{first_line(error)}). It may be incomplete: download it again."
        ) from error
    if isinstance(loaded, Mapping) and "state_dict" in loaded:
        loaded = loaded["state_dict"]
    if not isinstance(loaded, Mapping) or not loaded:
        raise CheckpointError(
            f"`ckpt={str(path)!r}`: expected a mapping from names to tensors, found "
            f"{type(loaded).__name__}. Pass a checkpoint that holds a state dict."
        )
    return {str(key): value for key, value in loaded.items()}


def _read_safetensors(path: Path) -> object:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise DependencyError(
            f"`ckpt={str(path)!r}` needs the package safetensors: pip install safetensors."
        ) from error
    try:
        # Copies: what it returns is mapped from the file, and would change with it.
        return {key: tensor.clone() for key, tensor in load_file(path).items()}
    except SafetensorError as error:
        raise ValueError(str(error)) from error


def select_encoder(
    loaded: Mapping[str, object],
    expected: Iterable[str],
    *,
    model_ckpt_type: str = DEFAULT_PREFIX,
    ignore: Sequence[str] = (),
    source: str = "checkpoint",
) -> dict[str, Tensor]:
    """Take the encoder's tensors out of a checkpoint.

    Args:
        loaded: Names and tensors, as `read_file` returns them.
        expected: The names that the encoder wants.
        model_ckpt_type: Prefix, up to the first dot, of the part to take.
        ignore: More regular expressions (anchored at the start) of keys to drop.
        source: Where it came from, for messages.

    Returns:
        Tensors by name, without the prefix. A file without any prefix is taken only if its keys
        are exactly *expected*.

    Raises:
        CheckpointError: If there is no such part, or it holds something other than tensors.
    """
    dropped = re.compile("|".join(f"(?:{pattern})" for pattern in (*IGNORED_KEYS, *ignore)))
    start = f"{model_ckpt_type}."
    picked = {key[len(start) :]: value for key, value in loaded.items() if key.startswith(start)}
    picked = {key: value for key, value in picked.items() if not dropped.match(key)}
    if not picked:
        if set(loaded) != set(expected):
            prefixes = sorted({key.split(".")[0] for key in loaded})
            raise CheckpointError(
                f"{source}: no key starts with {start!r}, and the keys are not exactly the "
                f"encoder's either. Prefixes found: {_shorten(prefixes)}; first keys: "
                f"{_shorten(sorted(loaded))}. Pass a THOR v1 checkpoint, or name the part to take "
                "with `model_ckpt_type=`."
            )
        picked = dict(loaded)
    state: dict[str, Tensor] = {}
    for key, value in picked.items():
        if not isinstance(value, Tensor):
            raise CheckpointError(
                f"{source}: {key!r} is a {type(value).__name__}, not a tensor. If it is no weight, "
                "drop it with `ckpt_ignore=`."
            )
        state[key] = value
    return state


def load_state(encoder: nn.Module, state: Mapping[str, Tensor], *, source: str) -> None:
    """Load tensors into an encoder, all or nothing.

    Args:
        encoder: The encoder.
        state: Tensors by name, without prefix. They become the encoder's own, without a copy where
            none is needed: do not write to them afterwards.
        source: Where they came from, for messages.

    Raises:
        CheckpointError: If a key is missing or unexpected, or a tensor has another shape or is not
            floating point. The encoder is unchanged then.
    """
    wanted = encoder.state_dict()
    missing = sorted(wanted.keys() - state.keys())
    unexpected = sorted(state.keys() - wanted.keys())
    common = sorted(wanted.keys() & state.keys())
    misshaped = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(wanted[key].shape)}"
        for key in common
        if state[key].shape != wanted[key].shape
    ]
    not_float = [
        f"{key} ({state[key].dtype})" for key in common if not state[key].is_floating_point()
    ]
    faults = [
        f"{what} ({len(names)}): {_shorten(names)}."
        for what, names in (
            ("Missing keys", missing),
            ("Unexpected keys", unexpected),
            ("Tensors of the wrong shape", misshaped),
            ("Tensors that are not floating point", not_float),
        )
        if names
    ]
    if faults:
        hint = " Drop keys that do not matter with `ckpt_ignore=`." if unexpected else ""
        raise CheckpointError(
            f"{source} does not match the model. {' '.join(faults)}{_guess_variant(state)}{hint}"
        )
    encoder.load_state_dict(_owned(state, wanted), strict=True, assign=True)


def _owned(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors as *wanted* has them (dtype, device), each alone in its memory."""
    users = Counter(_storage(tensor) for tensor in state.values())
    owned = {}
    for key, tensor in state.items():
        # A view would keep all it is a view of; two in one place would be trained as one.
        alone = users[_storage(tensor)] == 1 and _storage(tensor)[1] == tensor.nbytes
        owned[key] = tensor.detach().to(wanted[key], copy=not alone).contiguous()
    return owned


def _storage(tensor: Tensor) -> tuple[int, int]:
    if tensor.layout != torch.strided:
        return 0, -1  # no single one
    storage = tensor.untyped_storage()
    return storage.data_ptr(), storage.nbytes()


def weights_sha256(module: nn.Module) -> str:
    """Return the fingerprint of an encoder's weights.

    Args:
        module: A THOREncoder, or a module that holds one as ``encoder``.

    Returns:
        Hexadecimal sha256 over the state dict's keys, sorted: for each the key in UTF-8, then the
        tensor's float32 bytes, row by row, little-endian.
    """
    inner = getattr(module, "encoder", module)
    digest = hashlib.sha256()
    for key, tensor in sorted(inner.state_dict().items()):
        digest.update(key.encode())
        plain = tensor.detach().to("cpu", torch.float32).contiguous()
        digest.update(memoryview(plain.numpy()).cast("B"))
    return digest.hexdigest()
