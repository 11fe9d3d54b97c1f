"""Fault plans: what the emulator should get wrong, and when."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from threading import Lock
from typing import Any

from thor_geo.emulator._errors import ArchiveError
from thor_geo.support.jsontext import fits, parse_json

#: Kinds of requests, as rules and statistics name them.
KINDS = ("discovery", "algorithms", "value:compute", "image:computePixels")

#: The two refusals a new user meets, as the service words them.
API_NOT_ENABLED = (
    "Earth Engine API has not been used in project {project} before or it is disabled. Enable it "
    "by visiting https://console.developers.google.com/apis/api/earthengine.googleapis.com/"
    "overview?project={project} then retry. If you enabled this API recently, wait a few minutes "
    "for the action to propagate to our systems and retry."
)
NO_PERMISSION = (
    "Caller does not have required permission to use project {project}. Grant the caller the "
    "roles/serviceusage.serviceUsageConsumer role, or a custom role with the "
    "serviceusage.services.use permission, by visiting https://console.developers.google.com/"
    "iam-admin/iam/project?project={project} and then retry. Propagation of the new permission may "
    "take a few minutes."
)
#: The header by which the service tells that a project is over its quota.
RESTRICTED = {"x-earth-engine-quota-status": "parallelism_restricted=true"}


_EFFECTS = ("status", "headers", "drop", "reset", "hide", "delay_s")


@dataclass(frozen=True, kw_only=True)
class FaultRule:
    """One thing to get wrong. A request must meet every condition that is set.

    Args:
        kind: Kind of request, one of `KINDS`; None for any.
        nth: Numbers of the requests of that kind, from 1.
        after: Only requests of that kind after the first so many.
        first_times: Only the first so many times that a request of the same content comes.
        min_pixels: Only requests of more pixels than this, to play "User memory limit exceeded."
        probability: Share of requests, 0 to 1. Drawn from seed, request and how often that request
            has come, so it does not depend on the order in which threads ask.
        seed: Seed of the draw.
        times: Stop after this many faults.
        status: HTTP status to answer with; None leaves the answer as it is.
        message: Text of the error. ``{project}`` is replaced by the request's project.
        headers: Headers to add, also to a good answer (``Retry-After``, `RESTRICTED`).
        drop: Close the connection without an answer.
        reset: Reset the connection (TCP RST) without an answer.
        hide: Ids of scenes that the answer leaves out, as if they came later.
        truncate: Send this share of the body, 0 to 1, and close the connection.
        delay_s: Wait before answering.

    Raises:
        ValueError: If a value is out of range, or the rule does nothing.
    """

    kind: str | None = None
    nth: tuple[int, ...] = ()
    after: int | None = None
    first_times: int | None = None
    min_pixels: int | None = None
    probability: float | None = None
    seed: int = 0
    times: int | None = None
    status: int | None = None
    message: str = "Fault plan."
    headers: Mapping[str, str] = field(default_factory=dict)
    drop: bool = False
    reset: bool = False
    hide: tuple[str, ...] = ()
    truncate: float | None = None
    delay_s: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "nth", tuple(self.nth))
        object.__setattr__(self, "hide", tuple(self.hide))
        for entry in fields(self):
            value = getattr(self, entry.name)
            if not fits(str(entry.type), value):
                raise ValueError(f"`{entry.name}={value!r:.80}` is not of type {entry.type}.")
        if self.kind is not None and self.kind not in KINDS:
            raise ValueError(f"`kind={self.kind!r}` is unknown. Choose one of {KINDS}.")
        if self.probability is not None and not 0 <= self.probability <= 1:
            raise ValueError(f"`probability={self.probability}` must lie in 0 to 1.")
        if self.truncate is not None and not 0 <= self.truncate < 1:
            raise ValueError(f"`truncate={self.truncate}` must be at least 0 and below 1.")
        if self.status is not None and not 400 <= self.status < 600:
            raise ValueError(f"`status={self.status}` must be an error, 400 to 599.")
        if self.delay_s < 0 or (self.times is not None and self.times < 1):
            raise ValueError(f"`delay_s={self.delay_s}`, `times={self.times}` must be positive.")
        if min(self.nth, default=1) < 1:
            raise ValueError(f"`nth={self.nth}` counts from 1.")
        for name in ("after", "first_times"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"`{name}={value}` counts from 1.")
        if not any(bool(getattr(self, name)) for name in _EFFECTS) and self.truncate is None:
            raise ValueError(f"A rule needs one of truncate, {', '.join(_EFFECTS)}.")


@dataclass(frozen=True, kw_only=True)
class FaultPlan:
    """What goes wrong: the first rule that a request meets is applied.

    Args:
        latency_s: Wait before every answer to ``value:compute`` and ``image:computePixels``.
        rules: The rules, in order.
    """

    latency_s: float = 0.0
    rules: tuple[FaultRule, ...] = ()

    def __post_init__(self) -> None:
        if not fits("float", self.latency_s) or self.latency_s < 0:
            raise ValueError(f"`latency_s={self.latency_s}` must not be negative.")
        object.__setattr__(self, "rules", tuple(self.rules))

    @classmethod
    def from_json(cls, path: str | Path) -> FaultPlan:
        """Read a plan: ``{"latency_s": 0.1, "rules": [{"status": 503, "nth": [2]}]}``.

        Args:
            path: The JSON file.

        Raises:
            ArchiveError: If it cannot be read, a key is unknown or a value invalid.
        """
        try:
            content = parse_json(Path(path).read_bytes())
            rules = tuple(FaultRule(**_known(rule, FaultRule)) for rule in content.pop("rules", []))
            return cls(**_known(content, FaultPlan), rules=rules)
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise ArchiveError(f"`faults={path}`: not a valid fault plan: {error}") from error

    def to_json(self) -> str:
        """Return the plan as JSON that `from_json` reads."""
        return json.dumps(asdict(self), indent=1)


def _known(entry: dict[str, Any], cls: type[FaultRule] | type[FaultPlan]) -> dict[str, Any]:
    names = [f.name for f in fields(cls)]
    unknown = sorted(set(entry) - set(names))
    if unknown:
        raise ValueError(f"unknown key {unknown[0]!r}, choose from {names}")
    return entry


class FaultCounter:
    """Decides which rule a request meets, keeping the counts that rules need. Thread-safe."""

    def __init__(self, plan: FaultPlan) -> None:
        self.plan = plan
        self._lock = Lock()
        self._seen: dict[str | None, int] = {}
        self._repeats: dict[bytes, int] = {}
        self._applied = [0] * len(plan.rules)

    def next(self, kind: str, body: bytes, pixels: int) -> FaultRule | None:
        """Count a request and return the rule to apply to it.

        Args:
            kind: Kind of request.
            body: Its body.
            pixels: Pixels it asks for.
        """
        if not self.plan.rules:
            return None
        digest = hashlib.blake2b(kind.encode() + b"\0" + body, digest_size=16).digest()
        with self._lock:
            for key in (kind, None):
                self._seen[key] = self._seen.get(key, 0) + 1
            repeat = self._repeats[digest] = self._repeats.get(digest, 0) + 1
            for index, rule in enumerate(self.plan.rules):
                if self._meets(rule, index, kind, digest, repeat, pixels):
                    self._applied[index] += 1
                    return rule
        return None

    def _meets(
        self, rule: FaultRule, index: int, kind: str, digest: bytes, repeat: int, pixels: int
    ) -> bool:
        if rule.kind not in (None, kind) or (rule.times and self._applied[index] >= rule.times):
            return False
        if rule.nth and self._seen[rule.kind] not in rule.nth:
            return False
        if rule.after is not None and self._seen[rule.kind] <= rule.after:
            return False
        if rule.first_times is not None and repeat > rule.first_times:
            return False
        if rule.min_pixels is not None and pixels <= rule.min_pixels:
            return False
        if rule.probability is None:
            return True
        seeded = hashlib.blake2b(f"{rule.seed}:{index}:{repeat}:".encode() + digest, digest_size=8)
        return int.from_bytes(seeded.digest()) / 2**64 < rule.probability
