"""Reading THOR checkpoints, and refusing those that do not fit.

The official loader accepts any file and takes whatever keys happen to match, so a wrong file
silently gives a random model. Here every key must be present and have the right shape.
"""

from __future__ import annotations

import pickle
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from thor_geo.errors import CheckpointError, DependencyError, first_line
from thor_geo.models.describe import state_sha256
from thor_geo.models.variants import VARIANTS, Variant

#: Prefix of the encoder's keys in the published files; the pre-training heads have others.
DEFAULT_PREFIX = "encoder"

#: Keys to drop, matched after the prefix: parts of the pre-training model (official loader).
IGNORED_KEYS: tuple[str, ...] = (r"decoder_.*", r"decode_.*", r"ref_pos_embed.*", r"pos_embed.*")

_MOST_LISTED = 10


def _shorten(names: Iterable[object]) -> str:
    listed = [str(name) for name in names]
    more = f" and {len(listed) - _MOST_LISTED} more" if len(listed) > _MOST_LISTED else ""
    return ", ".join(listed[:_MOST_LISTED]) + more


def _guess_variant(state: Mapping[str, Tensor]) -> str:
    norm = state.get("norm.weight")
    if norm is None or norm.ndim != 1:
        return ""
    blocks = {key.split(".")[1] for key in state if key.startswith("blocks.")}
    for row in VARIANTS.values():
        if (row.embed_dim, row.depth) == (norm.numel(), len(blocks)):
            return f" Width {norm.numel()} and {len(blocks)} blocks look like {row.model_key}."
    return f" Width {norm.numel()} and {len(blocks)} blocks fit no THOR v1 variant."


def checkpoint_path(ckpt: str | Path) -> Path:
    """Return the path of a checkpoint file, with ``~`` expanded.

    Args:
        ckpt: The path as the user gave it.

    Raises:
        CheckpointError: If there is no such file.
    """
    path = Path(ckpt).expanduser()
    if not path.is_file():
        raise CheckpointError(
            f"`ckpt={str(ckpt)!r}`: no such file. Give the path of a .pt or "
            ".safetensors file, or leave it out for the published weights."
        )
    return path


def download(variant: Variant) -> Path:
    """Return the published weights of a variant, downloaded unless the cache has them.

    What the cache has is taken without a request: a newer revision is not looked for, and the
    processes of a cluster ask nothing of the hub at once. Which weights a run used, its run.json
    says by their checksum.

    Args:
        variant: The size.

    Returns:
        Path of the file in the Hugging Face cache.

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
    from huggingface_hub.errors import LocalEntryNotFoundError

    where = (variant.hub_repo, variant.hub_file)
    try:
        try:
            return Path(huggingface_hub.hf_hub_download(*where, local_files_only=True))
        except LocalEntryNotFoundError:
            return Path(huggingface_hub.hf_hub_download(*where))
    except Exception as error:
        # Errors of the hub, of its HTTP client and of the disk have no narrower base in common.
        raise CheckpointError(
            f"`pretrained=True`: could not get {variant.hub_file} from the Hugging Face repository "
            f"{variant.hub_repo} ({type(error).__name__}: {error}). Without internet access, "
            "download the file on another machine and pass its path as `ckpt=`, or set HF_HOME to "
            "a cache that holds it."
        ) from error


def read_file(path: str | Path) -> dict[str, object]:
    """Read a checkpoint file without running any code that it holds.

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
            f"`ckpt={str(path)!r}`: the file is not a checkpoint, or holds more than plain "
            f"tensors; loading it could run code ({first_line(error)}). Save only its state dict, "
            "with torch.save or as safetensors."
        ) from error
    except DependencyError:
        raise
    except Exception as error:
        # In a damaged file, torch's unpickler may raise anything.
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
        # Copies: the loaded tensors are mapped from the file, and would change with it.
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
    """Return the encoder's tensors from a checkpoint.

    Args:
        loaded: Names and tensors, as `read_file` returns them.
        expected: The names that the encoder needs.
        model_ckpt_type: Prefix, up to the first dot, of the part to take.
        ignore: More regular expressions (anchored at the start) of keys to drop.
        source: Where the checkpoint came from, for messages.

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
                f"{source}: no key starts with {start!r}, nor are the keys exactly those of "
                f"the encoder. Prefixes in the file: {_shorten(prefixes)}; first keys: "
                f"{_shorten(sorted(loaded))}. Pass a THOR v1 checkpoint, or name the part to take "
                "with `model_ckpt_type=`."
            )
        picked = dict(loaded)
    state: dict[str, Tensor] = {}
    for key, value in picked.items():
        if not isinstance(value, Tensor):
            raise CheckpointError(
                f"{source}: {key!r} is a {type(value).__name__}, not a tensor. If it is not a "
                "weight, drop it with `ckpt_ignore=`."
            )
        state[key] = value
    return state


def load_state(encoder: nn.Module, state: Mapping[str, Tensor], *, source: str) -> None:
    """Load tensors into an encoder, all or nothing.

    Args:
        encoder: The encoder.
        state: Tensors by name, without prefix. The encoder takes them over, without a copy where
            possible: do not write to them afterwards.
        source: Where they came from, for messages.

    Raises:
        CheckpointError: If a key is missing or unexpected, or a tensor has another shape or is not
            floating point. The encoder is then unchanged.
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
        f"{problem} ({len(names)}): {_shorten(names)}."
        for problem, names in (
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
    """Return the tensors in the dtype and on the device of *wanted*, each in memory of its own."""
    users = Counter(_storage(tensor) for tensor in state.values())
    owned = {}
    for key, tensor in state.items():
        # A view would keep its whole base alive; tensors that share memory would train as one.
        alone = users[_storage(tensor)] == 1 and _storage(tensor)[1] == tensor.nbytes
        owned[key] = tensor.detach().to(wanted[key], copy=not alone).contiguous()
    return owned


def _storage(tensor: Tensor) -> tuple[int, int]:
    if tensor.layout != torch.strided:
        return 0, -1  # such a tensor has several storages
    storage = tensor.untyped_storage()
    return storage.data_ptr(), storage.nbytes()


def weights_sha256(module: nn.Module) -> str:
    """Return the fingerprint of an encoder's weights.

    Args:
        module: A THOREncoder, or a module that holds one as ``encoder``.

    Returns:
        Hexadecimal sha256 over the state dict, sorted by key: each key in UTF-8, then its tensor's
        float32 bytes, row by row, little-endian.
    """
    return state_sha256(getattr(module, "encoder", module), torch.float32)
