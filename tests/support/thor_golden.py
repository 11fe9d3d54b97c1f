"""The golden cases: deterministic weights, inputs, and what the reference made of them."""

from __future__ import annotations

import hashlib
import json
import math
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from thor_geo.models import THOREncoder, TokenLayout, make_layout, variant
from thor_geo.specs.bands import Band, select_bands

GOLDEN = Path(__file__).parents[1] / "data" / "golden"

Array = npt.NDArray[Any]
Case = dict[str, Any]

CASES: list[Case] = json.loads((GOLDEN / "cases.json").read_text())["cases"]
KEYS: dict[str, Any] = json.loads((GOLDEN / "state_dict_keys.json").read_text())
SHA256: dict[str, str] = next(v for k, v in KEYS.items() if k.startswith("filled_state_dict"))


def units() -> dict[str, Array]:
    """Return the pieces of units.npz."""
    with np.load(GOLDEN / "units.npz") as pieces:
        return {name: pieces[name] for name in pieces}


def expected(case: Case) -> dict[str, Array]:
    """Return what the reference gave for a case."""
    with np.load(GOLDEN / f"{case['name']}.npz") as pieces:
        return {name: pieces[name] for name in pieces}


def weight_of(key: str, shape: tuple[int, ...]) -> Array:
    """Return the deterministic test weight of a key (specification, section 13)."""
    n = math.prod(shape)
    raw = np.random.PCG64(zlib.crc32(key.encode())).random_raw(n)
    u = (raw >> np.uint64(40)).astype(np.float64) / 2**23 - 1
    parts = key.split(".")
    if parts[-1] == "weight" and parts[-2] in ("norm", "norm1", "norm2"):
        u = 1 + 0.25 * u
    elif len(shape) >= 2:
        u *= math.sqrt(3 / math.prod(shape[1:]))
    else:
        u *= 0.1
    return u.astype(np.float32).reshape(shape)


def fill(encoder: nn.Module) -> None:
    """Give an encoder the test weights; codes and slopes keep their constructed values."""
    with torch.no_grad():
        for key, tensor in encoder.state_dict().items():
            if not key.startswith("band_embed.") and key != "encoder_slopes":
                tensor.copy_(torch.from_numpy(weight_of(key, tuple(tensor.shape))))


@lru_cache(maxsize=1)
def state_of(model_key: str, cls_token: bool) -> dict[str, Tensor]:
    """Return the test weights of a variant; only the last one asked for is kept."""
    layout = make_layout(select_bands(["RED"]), ground_cover=960)
    encoder = THOREncoder(variant(model_key), layout, cls_token=cls_token, seed=None)
    fill(encoder)
    return encoder.state_dict()


def case_layout(case: Case) -> TokenLayout:
    """Return the layout of a case."""
    return make_layout(
        select_bands(case["bands"]),
        ground_cover=case["ground_cover"],
        patch_size=case["patch_size"],
        strategy=case.get("select_patch_strategy", "min"),
        ref_patch_size=case.get("flexivit_ref_patch_size", 4),
    )


def case_encoder(case: Case) -> THOREncoder:
    """Return the encoder of a case with the test weights, in eval mode."""
    cls_token = bool(case.get("cls_token", False))
    state = state_of(case["variant"], cls_token)
    encoder = THOREncoder(
        variant(case["variant"]),
        case_layout(case),
        cls_token=cls_token,
        allow_resize=case["hw"] is not None,
        seed=None,
    )
    encoder.load_state_dict(state, assign=True)
    return encoder.eval()


def raw_planes(case: Case) -> list[tuple[Band, Array, int]]:
    """Return for each band its stored integers (B, side, side) and the divisor of one unit."""
    rng = np.random.default_rng(case["seed"])
    side = case["side"] or max(case["hw"])
    shape = (case["batch"], side, side)
    planes: list[tuple[Band, Array, int]] = []
    for band in select_bands(case["bands"]).bands:
        if band.sensor == "S1":
            planes.append((band, rng.integers(-3000, 501, shape), 100))
        elif "_BT_" in band.channel:
            planes.append((band, rng.integers(22000, 32001, shape), 100))
        else:
            planes.append((band, rng.integers(0, 10001, shape), 10000))
    if case["hw"] is not None:
        height, width = case["hw"]
        planes = [(band, raw[:, :height, :width], divisor) for band, raw, divisor in planes]
    return planes


def case_input(case: Case) -> Tensor:
    """Return the normalised input of a case; its sha256 is checked."""
    planes = []
    for band, raw, divisor in raw_planes(case):
        physical = raw.astype(np.float32) / np.float32(divisor)
        planes.append((physical - np.float32(band.mean)) / np.float32(band.std))
    x = np.ascontiguousarray(np.stack(planes, axis=1))
    assert hashlib.sha256(x.tobytes()).hexdigest() == case["input_sha256"]
    return torch.from_numpy(x)
