"""What a plug-in is written against: the contracts of methods, data sets, metrics and networks.

A plug-in is a frozen dataclass of settings with one or two pure functions. The harness owns the network, the
optimiser, the data order, the randomness, the clock and the counters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Literal, Self, TypeVar, cast, dataclass_transform

import torch
from torch import Tensor, nn

from ebmark.derivatives import hooked, parts
from ebmark.meter import Meter, Passes
from ebmark.rng import Rng

__all__ = [
    "Auto",
    "Constants",
    "Dataset",
    "Energy",
    "Evaluation",
    "Meter",
    "Method",
    "Metric",
    "Network",
    "Passes",
    "RealDataset",
    "Rng",
    "Splits",
    "State",
    "Step",
    "Value",
    "added",
    "auto",
    "dataset",
    "learned",
    "mean_value",
    "method",
    "metric",
    "network",
    "resolve",
]


class Energy:
    """The energy as a method sees it: x ``(..., d)`` -> E(x) ``(...)``, p proportional to exp(-E).

    A method with several ``heads`` gets E(x) ``(..., heads)``. The energy carries the meter, on which ``ops``
    and ``samplers`` count and time themselves. Where x depends on an opponent's parameters (x requires a
    gradient), that opponent's loss costs one input gradient per point.
    """

    def __init__(self, module: nn.Module, meter: Meter | None = None) -> None:
        self.module = module
        self.meter = meter if meter is not None else Meter()
        self._parts: tuple[nn.Module, ...] | None = None  # looked up once, when they are asked for
        self._looked = False

    @property
    def ruled(self) -> bool:
        """Whether its derivatives follow rules (``derivatives``): every module has one, and no hooks."""
        if not self._looked:
            self._parts, self._looked = parts(self.module), True
        return self._parts is not None and not hooked(self._parts)

    def __call__(self, x: Tensor) -> Tensor:
        """E(x) ``(...)``, counted as one forward per point."""
        self.meter.count(points(x), graph=2, through=float(x.requires_grad), forward=1)
        return cast(Tensor, self.module(x))


def points(x: Tensor) -> int:
    """How many points ``x (..., d)`` holds."""
    return x.numel() // x.shape[-1]


def beside(t: Tensor, own: int, x: Tensor) -> Tensor:
    """``t (*lead, *own)`` as it broadcasts with ``x (*lead, ..., *own)``; ``own``: t's dimensions per run.

    Parameters and buffers of R runs side by side have one leading dimension R, those of a single run none.
    """
    lead = t.dim() - own
    return t.reshape(*t.shape[:lead], *[1] * (x.dim() - t.dim()), *t.shape[lead:]) if lead else t


# ------------------------------------------------------------------------------------------------- settings


@dataclass(frozen=True)
class Auto:
    """A setting resolved from the data: ``factor * sd**scale * d**dim``, sd the root mean variance."""

    factor: float
    scale: float = 1
    dim: float = 0


@dataclass(frozen=True)
class Each:
    """A setting that differs between R runs side by side: it stands in arithmetic where a number would.

    With a number it gives an ``Each``; with a tensor ``(R, ...)`` a tensor, where every run meets its own
    number.
    """

    values: tuple[float, ...]

    def _with(self, other: Any, operation: Callable[[Any, Any], Any]) -> Any:
        if isinstance(other, Tensor):
            return operation(beside(other.new_tensor(self.values), 0, other), other)
        others = other.values if isinstance(other, Each) else len(self.values) * (other,)
        return Each(tuple(map(operation, self.values, others)))

    def __add__(self, other: Any) -> Any:
        return self._with(other, lambda a, b: a + b)

    def __sub__(self, other: Any) -> Any:
        return self._with(other, lambda a, b: a - b)

    def __rsub__(self, other: Any) -> Any:
        return self._with(other, lambda a, b: b - a)

    def __mul__(self, other: Any) -> Any:
        return self._with(other, lambda a, b: a * b)

    def __truediv__(self, other: Any) -> Any:
        return self._with(other, lambda a, b: a / b)

    def __rtruediv__(self, other: Any) -> Any:
        return self._with(other, lambda a, b: b / a)

    def __pow__(self, other: Any) -> Any:
        return self._with(other, lambda a, b: a**b)

    __radd__ = __add__
    __rmul__ = __mul__


def pick(settings: Sequence[float], index: Tensor, like: Tensor) -> Tensor:
    """Of several settings, an Each by run, those numbered ``index (..., n)``, in the dtype of ``like``."""
    runs = next((len(s.values) for s in settings if isinstance(s, Each)), None)
    rows = [s.values if isinstance(s, Each) else (s,) * (runs or 1) for s in settings]
    table = like.new_tensor(rows).T  # (R, settings), R = 1 where the runs share them
    return table.expand(*index.shape[:-1], -1).gather(-1, index) if index.dim() > 1 else table[0][index]


P = TypeVar("P")


def auto(factor: float, *, scale: float = 1, dim: float = 0) -> float:
    """A default that follows the data: ``factor * sd**scale * d**dim``; a plug-in only sees the number."""
    return cast(float, Auto(factor, scale, dim))


def added(default: P) -> P:
    """The default of a setting that joined a published plug-in.

    At this default the setting is not written into a trial's id, so that earlier results are still found.
    """
    return field(default=default, metadata={"added": True})


def resolve(plugin: P, data: Tensor) -> P:
    """``plugin`` with every ``auto`` setting replaced by its number for ``data (n, d)``."""
    sd = math.sqrt(data.var(0).mean().item())
    numbers = {
        f.name: value.factor * sd**value.scale * data.shape[-1] ** value.dim
        for f in fields(plugin)  # type: ignore[arg-type]  # every plug-in is a dataclass
        if isinstance(value := getattr(plugin, f.name), Auto)
    }
    return replace(plugin, **numbers) if numbers else plugin  # type: ignore[type-var]


# -------------------------------------------------------------------------------------------------- methods


class Constants(nn.Module):
    """Learned numbers beside the network, such as the log-normaliser c of noise-contrastive estimation.

    Each has the shape of the leading dimensions, ``()`` for a single run; one per head has ``(..., heads)``.
    """

    def __init__(self, **values: Tensor) -> None:
        super().__init__()
        for name, value in values.items():
            self.register_parameter(name, nn.Parameter(value.clone()))


@dataclass(frozen=True, kw_only=True)
class State:
    """What a method keeps between steps.

    Attributes:
        params: modules by player. Those of ``energy`` are trained together with the network; any other player
            is an opponent with an optimiser of its own. Changed in place by the optimiser only.
        buffers: tensors; the only thing that a loss returns changed.
    """

    params: Mapping[str, nn.Module] = field(default_factory=dict)
    buffers: Mapping[str, Tensor] = field(default_factory=dict)

    def update(self, **buffers: Tensor) -> State:
        """This state with some buffers replaced."""
        return replace(self, buffers={**self.buffers, **buffers})


def mean_value(x: Tensor) -> Value:
    """The mean of independent numbers ``(n,)`` with its standard error."""
    return Value(value=x.mean().item(), se=x.std().item() / math.sqrt(len(x)))


def learned(state: State, name: str) -> Value:
    """A learned constant of a single run as a value; of several heads the sum."""
    return Value(value=state.params["energy"].get_parameter(name).sum().item())


@dataclass(frozen=True, kw_only=True)
class Step:
    """What a loss returns: each stepped player's loss ``(...)``, the new state and diagnostics ``(...)``."""

    losses: Mapping[str, Tensor]
    state: State
    logs: Mapping[str, Tensor] = field(default_factory=dict)


class Plugin:
    """What the four kinds of plug-in share."""

    kind: ClassVar[str]
    name: ClassVar[str]


class Method(Plugin):
    """A way to train an energy: settings and a loss.

    Class attributes:
        year: of the publication.
        players: optimiser settings by player that differ from the study's default, e.g.
            ``{"energy": {"lr": 1e-3}}``; keys lr, beta1 and beta2.
        check_batch: points per replicate in the conformance test (fewer where the cost grows with n²).
        leading: the loss keeps leading dimensions. False for one that hands its batch to a library which does
            not: the conformance test then takes its replicates one by one, and seeds never share a program.
    """

    kind = "method"
    year: ClassVar[int]
    players: ClassVar[Mapping[str, Mapping[str, float]]] = {"energy": {}}
    check_batch: ClassVar[int] = 1024
    leading: ClassVar[bool] = True

    def init(self, energy: Energy, data: Tensor, rng: Rng) -> State:
        """The state before the first step; ``data (n, d)``: the training set or a fixed draw of a stream."""
        return State()

    def loss(self, energy: Energy, x: Tensor, state: State, rng: Rng) -> Tensor | Step:
        """The loss ``(...)`` of a batch ``x (..., n, d)``; a bare tensor is that of the player ``energy``."""
        raise NotImplementedError(f"{type(self).__name__} has no loss")

    def step(self, energy: Energy, x: Tensor, state: State, rng: Rng) -> Step:
        """What ``loss`` returns, a bare tensor made the step of the player ``energy``; for the harness."""
        out = self.loss(energy, x, state, rng)
        return out if isinstance(out, Step) else Step(losses={"energy": out}, state=state)

    def passes(self, d: int) -> Passes:
        """Work per data point of one step in which every player moves, in F as plain autograd costs it."""
        raise NotImplementedError(f"{type(self).__name__} declares no passes")

    def heads(self, d: int) -> int:
        """Energies on a shared trunk (levels, bridges); with more than one, E(x) is ``(..., heads)``."""
        return 1

    def graded(self, energy: Energy, state: State) -> Energy:
        """The energy of the density that is evaluated, x ``(..., d)`` -> ``(...)``."""
        return energy

    def log_z(self, energy: Energy, state: State, rng: Rng) -> Value | None:
        """The method's own value of log Z, or None: a learned constant, or a bound with its standard error.

        It is compared with log Z and never used.
        """
        return None

    def generate(self, energy: Energy, state: State, n: int, rng: Rng) -> Tensor | None:
        """Samples ``(n, d)`` of the method's own generator, or None where it has none."""
        return None

    def gaussian_precision(self, v: float) -> float | tuple[float, ...]:
        """The precision k of the minimiser among E = k|x - mu|^2/2 on data N(mu, v I); one per head."""
        return 1 / v

    def at_gaussian(self, mu: Tensor, v: float, k: Tensor) -> State:
        """The state at its exact best response to E = k|x - mu|^2/2 on data N(mu, v I).

        k is ``(...)``, with several heads ``(..., heads)``. Every player's loss must be in the step.
        """
        return State()

    def gaussian_gradients(self, v: float, d: int, k: float, k0: float) -> Mapping[str, float]:
        """Each player's mean gradient where the energy has precision k and the opponent stands at k0.

        The energy's is the derivative of its loss in k; an opponent's that of its own loss in k0, the only
        parameter of the module that ``at_gaussian(mu, v, k0)`` supplies. Required of an opponent; without one
        it may hold the energy's alone (chains held at k0).
        """
        return {}

    @classmethod
    def examples(cls, v: float) -> tuple[Self, ...]:
        """The settings at which ``ebmark check`` tests the method on data of variance ``v``."""
        return (cls(),)

    def skip(self, dataset: Dataset, network: Network) -> str | None:
        """Why this method cannot be used there, or None."""
        return None

    def declines(self, dataset: Dataset, network: Network) -> str | None:
        """What its ``skip`` or the network's says, or what the network lacks; for the harness."""
        heads = self.heads(dataset.dim)
        if heads > 1 and not network.many_heads:
            return f"{self.name} needs {heads} heads; the network {network.name} has one"
        if network.of_target and not dataset.exact:
            return f"the network {network.name} needs a known density; {dataset.name} has none"
        return network.skip(dataset.dim) or self.skip(dataset, network)


# ----------------------------------------------------------------------------------------------------- data


@dataclass(frozen=True, kw_only=True)
class Splits:
    """Real data: disjoint rows ``(n, d)`` for training, validation and test."""

    train: Tensor
    val: Tensor
    test: Tensor


class Dataset(Plugin):
    """A target with exact samples; where the truth is known also its log-density.

    Class attributes:
        exact: the log-density is known and normalised.
        smooth: it has a score almost everywhere (a density with score 0 is declined by second-order methods).
    """

    kind = "dataset"
    exact: ClassVar[bool] = True
    smooth: ClassVar[bool] = True
    dim: int

    def sample(self, n: int, rng: Rng) -> Tensor:
        """``n`` independent exact samples ``(n, d)``."""
        raise NotImplementedError(f"{type(self).__name__} has no sample")

    def log_prob(self, x: Tensor) -> Tensor:
        """The normalised log-density ``(...)`` of ``x (..., d)``, in nats."""
        raise NotImplementedError(f"{type(self).__name__} has no known density")

    def score(self, x: Tensor) -> Tensor:
        """The gradient of ``log_prob`` ``(..., d)``."""
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(self.log_prob(x).sum(), x)
        return gradient

    @property
    def entropy(self) -> float | None:
        """Differential entropy in nats, or None where it is not known."""
        return None

    @property
    def weights(self) -> Tensor | None:
        """The weights ``(K,)`` of the target's known components in float64, or None where it has none."""
        return None

    def components(self, x: Tensor) -> Tensor:
        """The posterior probability ``(..., K)`` of each component, given ``x (..., d)``."""
        raise NotImplementedError(f"{type(self).__name__} has no known components")


class RealDataset(Dataset):
    """Rows of a file; ``splits`` never depends on a trial's seed: every seed is tested on the same rows."""

    exact = False

    def content(self) -> Mapping[str, str]:
        """Settings that a planned trial gets besides those given: ``sha256`` of the files behind the rows.

        With them a trial's id names the rows themselves; where they lie (``path``, ``folder``) is not in it.

        Raises:
            EbmarkError: the files are missing, or not what they should be.
        """
        return {}

    def log_det(self, x: Tensor) -> Tensor | None:
        """What preprocessing adds in nats at ``x (..., d)``: the log-density of the raw data is higher by it.

        None where likelihoods are compared as they are, or nothing was done.
        """
        return None

    def splits(self) -> Splits:
        """Train, validation and test rows (70/15/15)."""
        raise NotImplementedError(f"{type(self).__name__} has no splits")

    def sample(self, n: int, rng: Rng) -> Tensor:
        """``n`` training rows drawn with replacement."""
        train = self.splits().train
        return train[rng.integers(len(train), (n,))]


# ------------------------------------------------------------------------------------------------- networks


class Network(Plugin):
    """An architecture: settings and ``build``.

    Class attributes:
        smooth: it has second derivatives (a ReLU network has not).
        normalisable: exp(-E) has a finite integral whatever the parameters are.
        many_heads: ``build`` takes one more argument ``heads``; with more than one the module maps x
            ``(..., d)`` to ``(..., heads)``, energies on a shared trunk.
        known_z: the module has a method ``log_z()``, log Z ``()`` in closed form, differentiable.
        of_target: ``build`` takes one more argument ``dataset``, whose density must be known.
    """

    kind = "network"
    smooth: bool = True
    normalisable: bool = True
    many_heads: ClassVar[bool] = False
    known_z: bool = False
    of_target: ClassVar[bool] = False

    def skip(self, d: int) -> str | None:
        """Why it cannot be built for data of dimension ``d``, or None."""
        return None

    def build(self, data: Tensor, rng: Rng) -> nn.Module:
        """A freshly initialised energy for data like ``data (n, d)``, in the data's dtype and device."""
        raise NotImplementedError(f"{type(self).__name__} has no build")


# -------------------------------------------------------------------------------------------------- metrics


@dataclass(frozen=True, kw_only=True)
class Value:
    """One measured number. An interval ``lo, hi`` where the standard error is not the whole story."""

    value: float
    se: float = math.nan
    lo: float = math.nan
    hi: float = math.nan
    source: str = ""
    trusted: bool = True
    reasons: str = ""
    floor_mean: float = math.nan
    floor_sd: float = math.nan


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What a metric may look at: the fitted energy, the target, held-out points and (lazily) model samples.

    Attributes:
        test: held-out points ``(n, d)``, the same for every method.
        log_z: log Z of the energy with its error, computed once per checkpoint and shared.
        samples: model samples ``(m, d)`` drawn by the one sampler and budget that all methods share; None
            where the energy is not finite. Those of the method's own generator where ``source`` says so.
        true_pair: ``true_pair(i, n)`` gives two independent true samples ``(n, d)`` and one of the test set's
            size, the i-th of the pairs behind the noise floor; the same for every method.
        rng: the stream of the evaluation, the same for every method.
        floors: noise floors of this target by metric and sample sizes. They depend on neither model nor seed,
            so a process keeps them from one trial to the next.
        source: where ``samples`` come from.
        own_log_z: the method's own value of log Z, None where it has none.
    """

    energy: Energy
    dataset: Dataset
    test: Tensor
    log_z: Callable[[], Value]
    samples: Callable[[], Tensor | None]
    true_pair: Callable[[int, int], tuple[Tensor, Tensor]]
    rng: Rng
    floors: MutableMapping[tuple[object, ...], tuple[float, float]]
    source: Literal["smc", "own_generator"] = "smc"
    own_log_z: Callable[[], Value | None] = lambda: None


class Metric(Plugin):
    """A number about a fitted energy: settings and ``measure``.

    Class attributes:
        unit: of the value, "" for a pure number.
        better: "lower" or "higher".
        needs: what it cannot do without: "density" (a known truth), "log_z", "samples".
        ranks: it tells a better model from a worse one; a diagnostic of a sampler does not.
    """

    kind = "metric"
    unit: ClassVar[str] = ""
    better: ClassVar[str] = "lower"
    needs: ClassVar[tuple[str, ...]] = ()
    ranks: ClassVar[bool] = True

    def measure(self, at: Evaluation) -> Value | None:
        """The value with its standard error, or None where it does not apply; never a default number."""
        raise NotImplementedError(f"{type(self).__name__} has no measure")

    def gaussian_value(self, m: float, k: float, d: int) -> float | None:
        """The exact value for data N(0, I) and the model N(m e₁, I/k) in d dimensions, None where unknown."""
        return None


# ----------------------------------------------------------------------------------------------- decorators

T = TypeVar("T", bound=type)


def _register(kind: str, name: str, **facts: object) -> Callable[[T], T]:
    def wrap(cls: T) -> T:
        if getattr(cls, "kind", None) != kind:
            raise TypeError(f"@{kind}({name!r}) decorates a subclass of {kind.capitalize()}, got {cls!r}")
        made = cast(Any, dataclass(frozen=True, kw_only=True)(cls))
        made.name = name
        for key, value in facts.items():
            setattr(made, key, value)
        return cast(T, made)

    return wrap


@dataclass_transform(frozen_default=True, kw_only_default=True)
def method(name: str, *, year: int) -> Callable[[T], T]:
    """Makes a ``Method`` subclass a frozen dataclass and gives it its name."""
    return _register("method", name, year=year)


@dataclass_transform(frozen_default=True, kw_only_default=True)
def dataset(name: str) -> Callable[[T], T]:
    """Makes a ``Dataset`` subclass a frozen dataclass and gives it its name."""
    return _register("dataset", name)


@dataclass_transform(frozen_default=True, kw_only_default=True)
def network(name: str) -> Callable[[T], T]:
    """Makes a ``Network`` subclass a frozen dataclass and gives it its name."""
    return _register("network", name)


@dataclass_transform(frozen_default=True, kw_only_default=True)
def metric(name: str) -> Callable[[T], T]:
    """Makes a ``Metric`` subclass a frozen dataclass and gives it its name."""
    return _register("metric", name)
