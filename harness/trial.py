"""A trial: one cell of a study, frozen and small; its id is a hash of everything that training depends on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from typing import Any

from ebmark.errors import SpecError
from ebmark.record import LANES

OUTSIDE_ID = (
    "metrics",
    "checkpoints",
    "costly",
    "max_gradients",
    "timeout",
    "study",
    "options",
    "pictures",
    "factor",
)
MAX_GRADIENTS = 1_500_000  # of the energy, on log Z and samples at one checkpoint


class _Part:
    """A part of a trial that many trials share: its text for their ids is made once."""

    @cached_property
    def text(self) -> str:
        """Canonical JSON of the fields."""
        return canonical(asdict(self))  # type: ignore[call-overload]  # the parts are dataclasses


@dataclass(frozen=True, kw_only=True)
class Ref(_Part):
    """A plug-in by name with all its settings: what travels instead of the object.

    Attributes:
        kind: method, dataset, metric or network.
        name: a registered name, or ``path/to/file.py:name``.
        args: canonical JSON of every setting, ``"auto"`` where the data decide.
    """

    kind: str
    name: str
    args: str = "{}"

    @cached_property
    def wherever(self) -> Ref:
        """The same plug-in without the place of its files."""
        return self if self.content == self.args else replace(self, args=self.content)

    @property
    def content(self) -> str:
        """``args`` as ids and seeds see them: rows named by their hash are the same wherever they lie."""
        args = json.loads(self.args)
        if not args.get("sha256"):
            return self.args
        return canonical({name: value for name, value in args.items() if name not in ("path", "folder")})


@dataclass(frozen=True, kw_only=True)
class Budget(_Part):
    """When training ends: at the first limit; ``passes`` is in F, summed over the points of all batches."""

    steps: int | None = None
    passes: float | None = None
    seconds: float | None = None
    batch: int = 256

    def __post_init__(self) -> None:
        limits = {"steps": self.steps, "passes": self.passes, "seconds": self.seconds}
        if all(limit is None for limit in limits.values()):
            raise SpecError("budget: none given; allowed: steps, passes or seconds, a positive number")
        for name, limit in {**limits, "batch": self.batch}.items():
            if limit is not None and limit <= 0:
                raise SpecError(f"budget.{name}: {limit} given; allowed: a positive number")


@dataclass(frozen=True, kw_only=True)
class Optimiser(_Part):
    """The optimiser of every player; ``lr`` is the energy's, None takes the method's own rate.

    Only adam has the decays ``beta1`` and ``beta2``.
    """

    name: str = "adam"
    lr: float | None = None
    beta1: float = 0.9
    beta2: float = 0.999
    schedule: str = "cosine"

    def __post_init__(self) -> None:
        if self.name not in ("adam", "normalised_sgd"):
            raise SpecError(f"optimiser.name: {self.name!r} given; allowed: 'adam', 'normalised_sgd'")
        if self.schedule not in ("cosine", "constant"):
            raise SpecError(f"optimiser.schedule: {self.schedule!r} given; allowed: 'cosine', 'constant'")
        if self.lr is not None and not self.lr > 0:
            raise SpecError(f"optimiser.lr: {self.lr} given; allowed: a positive number")
        for name, beta in (("beta1", self.beta1), ("beta2", self.beta2)):
            if not 0 <= beta < 1:
                raise SpecError(f"optimiser.{name}: {beta} given; allowed: at least 0 and below 1")


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One cell of a study.

    The id covers ``lane`` to ``n_train``; what is measured on the way (``metrics`` at ``checkpoints``, those
    that need log Z or samples at ``costly`` of them, for at most ``max_gradients`` each), for how long it may
    run (``timeout``), under which study's name and with which of its command line's ``options`` do not change
    what is trained. In a study that tunes, ``factor`` is the trial's rate over the study's own.
    """

    lane: str = "quality"
    repeat: int = 0
    seed: int
    method: Ref
    dataset: Ref
    network: Ref
    budget: Budget
    optimiser: Optimiser = field(default_factory=Optimiser)
    n_train: int | None = None
    metrics: tuple[Ref, ...] = ()
    checkpoints: int = 8
    costly: int = 1
    max_gradients: float = MAX_GRADIENTS
    timeout: float | None = None
    study: str = ""
    options: str = ""
    pictures: bool = False
    factor: float | None = None

    def __post_init__(self) -> None:
        if self.lane not in LANES:
            raise SpecError(f"lane: {self.lane!r} given; allowed: {', '.join(LANES)}")

    @cached_property
    def id(self) -> str:
        """Sixteen hexadecimal digits."""
        # The text of canonical(asdict(self)), of which that would take most of a large plan's time.
        parts = {name: getattr(self, name) for name in _INSIDE_ID}
        parts["dataset"] = self.dataset.wherever
        texts = (f'"{n}":{v.text if isinstance(v, _Part) else canonical(v)}' for n, v in parts.items())
        return hashlib.sha256(f"{{{','.join(texts)}}}".encode()).hexdigest()[:16]


_INSIDE_ID = sorted(f.name for f in fields(Trial) if f.name not in OUTSIDE_ID)


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text."""
    return _JSON.encode(value)


_JSON = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)
