"""An encoder made ready to run on a device, and its time beside that of others."""

from __future__ import annotations

import copy
import gc
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.support.attention import Way, use
from benchmarks.support.timing import Timing, compare
from thor_geo.models import THOREncoder
from thor_geo.models.variants import MLP_RATIO

#: How the encoder is run: op by op, compiled block by block, compiled with kernels chosen by timing
#: them; and with "graph", all launches recorded once and replayed.
Execution = Literal["eager", "graph", "compiled", "compiled graph", "tuned graph"]

Call = Callable[[Tensor], Tensor]


def set_up() -> None:
    """Have float32 mean float32, and let one function be compiled for many shapes."""
    torch.set_float32_matmul_precision("highest")
    # Beyond the limit, 8 by default, torch refuses to compile another shape of the same code.
    torch._dynamo.config.recompile_limit = 512
    torch._dynamo.config.accumulated_recompile_limit = 4096


def card(device: torch.device) -> str:
    """Return the name of the device, with its memory and CUDA's version."""
    if device.type != "cuda":
        return "CPU"
    about = torch.cuda.get_device_properties(device)
    return f"{about.name}, {about.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}"


def prepared(model: THOREncoder, way: Way, execution: Execution, x: Tensor) -> Call:
    """Return an encoder that runs this way.

    The package's own forward runs in all cases; blocks and patch embedding are what is compiled,
    the blocks once for all. Compiled and recorded code is bound to the shape of *x*.

    Args:
        model: The encoder; its weights are shared, and it stays as it is.
        way: How it computes attention.
        execution: How it is run.
        x: Input of the shape wanted, other than what the outputs are checked with: a recording
            that does not depend on its input shows.

    Returns:
        What maps inputs to final-normed tokens. A recording returns the same memory every time.
    """
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    encoder: THOREncoder = copy.deepcopy(model, shared)  # its own modules, the same weights
    use(encoder, way)
    if execution.startswith(("compiled", "tuned")):
        mode = "max-autotune-no-cudagraphs" if execution.startswith("tuned") else "default"
        for block in encoder.blocks:
            block.compile(fullgraph=True, dynamic=False, mode=mode)
        embed = torch.compile(encoder.embed_tokens, fullgraph=True, dynamic=False, mode=mode)
        encoder.embed_tokens = embed  # type: ignore[method-assign]
    call: Call = _recorded(encoder, x) if execution.endswith("graph") else encoder
    call(x)
    return call


def _recorded(call: Call, x: Tensor) -> Call:
    fixed = x.clone()
    replay, out = _record(call, fixed)

    def run(x: Tensor) -> Tensor:
        fixed.copy_(x)
        replay()
        return out

    return run


def _record(call: Call, fixed: Tensor) -> tuple[Callable[[], None], Tensor]:
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):  # constants, compilation and the libraries' workspaces
            call(fixed)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = call(fixed)
    return graph.replay, out


@contextmanager
def exact_attention() -> Iterator[None]:
    """Have SDPA multiply matrices plainly: fused kernels may use TF32 for float32."""
    with sdpa_kernel(SDPBackend.MATH):
        yield


def release(device: torch.device) -> None:
    """Give back the memory of what is no longer referred to."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def wait(device: torch.device) -> None:
    """Wait until the device has done all it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timed(
    calls: Mapping[str, Callable[[], object]],
    device: torch.device,
    *,
    window: float,
    repeats: int,
) -> dict[str, Timing]:
    """Time alternatives in turns, many calls to a turn.

    Args:
        calls: What to call, by name.
        device: What the calls keep busy; each turn ends when it is done.
        window: Length of a turn, seconds.
        repeats: Turns of each.

    Returns:
        Seconds of one call by name.
    """

    def turn(call: Callable[[], object], times: int) -> None:
        for _ in range(times):
            call()
        wait(device)

    counts = {}
    for name, call in calls.items():
        turn(call, 2)
        began = time.perf_counter()
        turn(call, 2)
        counts[name] = max(1, round(2 * window / (time.perf_counter() - began)))
    turns = {name: partial(turn, calls[name], counts[name]) for name in calls}
    timings = compare(turns, repeats=repeats, warm_up=0)
    return {
        name: Timing(seconds=tuple(second / counts[name] for second in timing.seconds))
        for name, timing in timings.items()
    }


def matmul_rate(side: int, dtype: torch.dtype, device: torch.device, window: float) -> float:
    """Return the median rate of a square matrix product of random numbers, operations a second."""
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    out = torch.empty_like(a)
    name = f"{side}"
    timing = timed({name: lambda: torch.mm(a, b, out=out)}, device, window=window, repeats=5)
    return 2 * side**3 / timing[name].median


def parts(
    model: THOREncoder, way: Way, batch: int, device: torch.device, window: float
) -> dict[str, float]:
    """Time the linear layers of all blocks alone, and attention alone, as recorded launches.

    What the encoder takes beyond these is patch embedding, norms, GELU and residuals, which move
    memory only.

    Returns:
        Median seconds for a batch: ``linears`` and ``attention``.
    """
    n, d, heads = model.layout.n_tokens, model.variant.embed_dim, model.variant.num_heads
    bias = model.constants().bias

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, device=device, dtype=model.dtype)

    tokens, hidden = random(batch, n, d), random(batch, n, MLP_RATIO * d)
    layers = [
        (random(to, wide * d) / (wide * d) ** 0.5, random(to))
        for wide, to in ((1, 3 * d), (1, d), (1, MLP_RATIO * d), (MLP_RATIO, d))
    ]
    qkv = random(batch, n, 3, heads, d // heads)

    def linears(x: Tensor) -> Tensor:
        for _ in range(model.variant.depth):
            for weight, shift in layers:
                out = F.linear(x if weight.shape[1] == d else hidden, weight, shift)
        return out

    def attention(x: Tensor) -> Tensor:
        q, k, v = x.permute(2, 0, 3, 1, 4).unbind(0)
        for _ in range(model.variant.depth):
            out = way(q, k, v, bias)
        return out

    calls: dict[str, Callable[[], object]] = {}
    for name, work, given in (("linears", linears, tokens), ("attention", attention, qkv)):
        if device.type == "cuda":
            calls[name] = _record(work, given)[0]
        else:
            calls[name] = partial(work, given)
    times = timed(calls, device, window=window, repeats=5)
    return {name: timing.median for name, timing in times.items()}
