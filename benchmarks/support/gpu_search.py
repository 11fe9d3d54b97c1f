"""The fastest way to run the encoder at one size and patch: tried, checked, then timed."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, field

import torch
from torch import Tensor

from benchmarks.support.attention import Way, geometry_error, ways
from benchmarks.support.flops import encoder_flops
from benchmarks.support.gpu import Call, Execution, exact_attention, parts, prepared, release, timed
from benchmarks.support.timing import Timing
from thor_geo.errors import first_line
from thor_geo.models import THOREncoder, TokenLayout, Variant

#: Largest L2 error of bf16 tokens relative to float32's. Rounding alone gives about 0.01.
MAX_L2 = 0.02

#: Tiles of a batch whose tokens are compared.
_COMPARED = 4

#: A larger batch that gains less than this is no gain; after two of them the sweep stops.
_GAIN = 1.01

#: What the package does as it is.
PACKAGE: tuple[str, Execution] = ("sdpa", "eager")


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What is encoded.

    Attributes:
        variant: The size.
        layout: The token layout.
        patch: Patch size in pixels.
        side: Side of the input in pixels.
        probe: Batch at which alternatives are compared first.
    """

    variant: Variant
    layout: TokenLayout
    patch: int
    side: int
    probe: int

    @property
    def name(self) -> str:
        """What it is called in the tables."""
        return f"{self.variant.model_key}, patch {self.patch}"

    @property
    def flops(self) -> int:
        """Floating-point operations of a tile."""
        return encoder_flops(self.variant, self.layout).total


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much is tried.

    Attributes:
        executions: How the encoder is run.
        batches: Batches of the sweep, ascending.
        window: Length of a timed turn, seconds.
        repeats: Timed turns of each alternative.
        leaders: How many ways to compute attention are compiled; the others are far behind.
    """

    executions: tuple[Execution, ...]
    batches: tuple[int, ...]
    window: float
    repeats: int
    leaders: int = 3


@dataclass(kw_only=True)
class Trial:
    """One alternative at one batch.

    Attributes:
        way: How attention is computed.
        execution: How the encoder is run.
        batch: Tiles at once.
        geometry: See `geometry_error`; the share of what rounding explains.
        l2: L2 error of the tokens over the L2 norm of float32's.
        worst: Largest error of a token's value over the largest value.
        gigabytes: Device memory it took at the most, beyond weights and inputs.
        timing: Seconds of a batch, or None if it was not timed.
        ratio: Its time over the package's as it is, in the same race.
        note: Why it was not timed.
    """

    way: str
    execution: Execution
    batch: int
    geometry: float | None = None
    l2: float | None = None
    worst: float | None = None
    gigabytes: float | None = None
    timing: Timing | None = None
    ratio: float | None = None
    note: str = ""

    @property
    def rate(self) -> float:
        """Tiles per second; 0 if it was not timed."""
        return self.batch / self.timing.median if self.timing else 0.0


@dataclass(kw_only=True)
class Search:
    """The search for one shape.

    Attributes:
        shape: What is encoded.
        device: Where.
        limits: How much is tried.
        seconds: What the search may take; what is left out for that is noted.
        trials: What was tried.
        best: The fastest of the last race, or None if nothing ran.
        parts: Times of the parts of the best, from `parts`.
        left_out: What was not tried for lack of time.
    """

    shape: Shape
    device: torch.device
    limits: Limits
    seconds: float
    trials: list[Trial] = field(default_factory=list)
    best: Trial | None = None
    parts: dict[str, float] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Make the encoder in float32 and in bf16."""
        self._began = time.monotonic()
        encoder = THOREncoder(self.shape.variant, self.shape.layout).eval().requires_grad_(False)
        self._reference = encoder.to(self.device)
        self._model = copy.deepcopy(self._reference).to(torch.bfloat16)
        self._ways = {way.name: way for way in ways(self._model)}
        self._geometry: dict[str, float] = {}
        self._wanted: tuple[Tensor, Tensor, list[int]] | None = None

    def run(self) -> None:
        """Search; the outcome is in the attributes."""
        with torch.no_grad():
            self._check_geometry()
            self._screen()
            if self.best is not None:
                self._sweep(self.best)
            if self.best is not None:
                self._finish(self.best)

    def _late(self, share: float, what: str) -> bool:
        late = time.monotonic() - self._began > share * self.seconds
        if late:
            self.left_out.append(f"{self.shape.name}: {what}")
        return late

    # -- checks ------------------------------------------------------------------------------------

    def _check_geometry(self) -> None:
        for name, way in list(self._ways.items()):
            trial = Trial(way=name, execution="eager", batch=self.shape.probe)
            try:
                error, share = geometry_error(way, self._model, self.shape.probe)
            except Exception as failure:  # whatever it is, it is this row's outcome
                trial.note = brief(failure)
            else:
                trial.geometry = self._geometry[name] = share
                if share <= 1:
                    continue
                trial.note = f"WRONG: distances, off by up to {error:.3g} in the logits"
            self.trials.append(trial)
            del self._ways[name]

    def _tiles(self, batch: int) -> tuple[Tensor, Tensor, list[int]]:
        """Return inputs, the tokens of some of them in float32, and which those are."""
        if self._wanted is None or len(self._wanted[0]) != batch:
            self._wanted = None
            side = self.shape.side
            generator = torch.Generator(self.device).manual_seed(batch)
            x = torch.randn(
                (batch, self.shape.layout.n_channels, side, side),
                generator=generator,
                device=self.device,
            )
            some = sorted({round(k * (batch - 1) / (_COMPARED - 1)) for k in range(_COMPARED)})
            with exact_attention():
                self._wanted = x, self._reference(x[some]), some
        return self._wanted

    def _attempt(self, way: Way, execution: Execution, batch: int) -> tuple[Trial, Call] | None:
        """Prepare an alternative and compare its tokens; None if it fails, does not fit or errs."""
        trial = Trial(way=way.name, execution=execution, batch=batch)
        trial.geometry = self._geometry[way.name]
        self.trials.append(trial)
        release(self.device)
        cuda = self.device.type == "cuda"
        try:
            x, wanted, some = self._tiles(batch)
            if cuda:
                torch.cuda.reset_peak_memory_stats(self.device)
                before = torch.cuda.memory_allocated(self.device)
            call = prepared(self._model, way, execution, torch.zeros_like(x))
            tokens = call(x)[some].float()
            if cuda:
                peak = torch.cuda.max_memory_allocated(self.device)
                trial.gigabytes = (peak - before) / 1e9
            trial.l2 = float((tokens - wanted).norm() / wanted.norm())
            trial.worst = float((tokens - wanted).abs().max() / wanted.abs().max())
        except Exception as failure:  # out of memory, no such kernel, does not compile
            trial.note = brief(failure)
            return None
        if not trial.l2 <= MAX_L2:  # NaN, too
            trial.note = f"WRONG: tokens, L2 error above {MAX_L2}"
            return None
        return trial, call

    # -- races -------------------------------------------------------------------------------------

    def _race(self, entrants: list[tuple[Trial, Call]], window: float) -> None:
        """Time alternatives of one batch in turns."""
        if not entrants:
            return
        x = self._tiles(entrants[0][0].batch)[0]
        calls = {
            f"{trial.way}, {trial.execution}": (lambda call=call: call(x))
            for trial, call in entrants
        }
        times = timed(calls, self.device, window=window, repeats=self.limits.repeats)
        package = times.get(", ".join(PACKAGE))
        for trial, _ in entrants:
            trial.timing = times[f"{trial.way}, {trial.execution}"]
            trial.ratio = trial.timing.median / package.median if package else None

    def _screen(self) -> None:
        """Compare all ways at one batch, and those that lead in compiled form as well."""
        batch = self.shape.probe
        entrants: list[tuple[Trial, Call]] = []

        def enter(way: Way, executions: tuple[Execution, ...]) -> None:
            for execution in executions:
                if execution not in self.limits.executions:
                    continue
                if self._late(0.45, f"{way.name}, {execution}"):
                    continue
                if entrant := self._attempt(way, execution, batch):
                    entrants.append(entrant)

        for way in self._ways.values():
            enter(way, ("eager", "graph"))
        self._race(entrants, self.limits.window)
        fastest: dict[str, float] = {}
        for trial, _ in entrants:
            fastest[trial.way] = max(trial.rate, fastest.get(trial.way, 0.0))
        leaders = sorted(fastest, key=lambda name: -fastest[name])[: self.limits.leaders]
        before = len(entrants)
        for name in leaders:
            enter(self._ways[name], ("compiled", "compiled graph"))
        if len(entrants) > before:
            self._race(entrants, self.limits.window)
        self.best = max((trial for trial, _ in entrants), key=lambda t: t.rate, default=None)

    def _entrants(
        self, alternatives: list[tuple[str, Execution]], batch: int
    ) -> list[tuple[Trial, Call]]:
        entrants = []
        for name, execution in dict.fromkeys(alternatives):
            if name in self._ways and (
                entrant := self._attempt(self._ways[name], execution, batch)
            ):
                entrants.append(entrant)
        return entrants

    def _sweep(self, first: Trial) -> None:
        """Run the fastest, and the package as it is beside it, in other batches."""
        chosen = (first.way, first.execution)
        up = [batch for batch in self.limits.batches if batch > first.batch]
        down = [batch for batch in reversed(self.limits.batches) if batch < first.batch]
        for batches in (up, down):
            without_gain = 0
            for batch in batches:
                if self._late(0.75, f"batch {batch}"):
                    continue
                entrants = self._entrants([chosen, PACKAGE], batch)
                self._race(entrants, self.limits.window)
                trial = next((t for t, _ in entrants if (t.way, t.execution) == chosen), None)
                if trial is None and batches is up:
                    break  # does not fit
                if trial is None or self.best is None:
                    continue
                without_gain = 0 if trial.rate > _GAIN * self.best.rate else without_gain + 1
                if trial.rate > self.best.rate:
                    self.best = trial
                if without_gain == 2 and batches is up:
                    break

    def _finish(self, best: Trial) -> None:
        """Race the best, the same with tuned kernels, and the package, in the best batch."""
        alternatives: list[tuple[str, Execution]] = [(best.way, best.execution), PACKAGE]
        tuned: Execution = "tuned graph"
        if tuned in self.limits.executions and not self._late(0.9, f"{best.way}, {tuned}"):
            alternatives.append((best.way, tuned))
        entrants = self._entrants(alternatives, best.batch)
        self._race(entrants, 2 * self.limits.window)
        self.best = max((trial for trial, _ in entrants), key=lambda t: t.rate, default=best)
        entrants.clear()
        self._wanted = None
        release(self.device)
        way = self._ways[best.way]
        try:
            self.parts = parts(self._model, way, best.batch, self.device, self.limits.window)
        except Exception as failure:  # the rest of the search is worth keeping
            self.left_out.append(f"{self.shape.name}: the parts alone ({brief(failure)})")


def brief(failure: Exception) -> str:
    """Return an exception's type and the first line of its text."""
    return f"{type(failure).__name__}: {first_line(failure)}"
