"""The conformance test of a metric: does it see a worse model, and is its standard error the true one?

Data N(0, I) in two dimensions, models N(m e₁, I/k) with exact log Z and exact samples. Over replicates, each
with test points, samples and a stream of its own, the mean value at the worse model must be worse than at the
truth, the spread of the values must be what their standard errors say, and where the metric declares its
exact value (``Metric.gaussian_value``) the mean must be that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ebmark.api import Dataset, Energy, Evaluation, Metric, Rng, Value
from ebmark.gradient_test import IsotropicGaussian
from ebmark.plugin_checks import Finding, at_defaults, pickles, raised

REPLICATES = 50
POINTS = 500  # test points, and model samples
TRUTH, WORSE = (0.0, 1.0), (0.5, 0.7)  # m and k of the models
DIM = 2
FAR = 4.0  # standard errors
# Of the mean standard error to the spread of 50 values, whose own error is 10 %.
HONEST = (0.65, 1.55)
NEEDS = ("density", "log_z", "samples")


@dataclass(frozen=True, kw_only=True)
class _Normal(Dataset):
    """N(0, I)."""

    name = "standard normal"
    dim: int = DIM

    def sample(self, n: int, rng: Rng) -> Tensor:
        return rng.normal((n, self.dim))

    def log_prob(self, x: Tensor) -> Tensor:
        return -0.5 * x.square().sum(-1) - 0.5 * self.dim * math.log(2 * math.pi)


def check_metric(cls: type[Metric]) -> Iterator[Finding]:
    """Every check of a metric, lazily, at its defaults."""
    metric = at_defaults(cls)
    if isinstance(metric, Finding):
        yield metric
        return
    tests: tuple[tuple[str, Callable[[Metric], Iterator[Finding]]], ...] = (
        ("pickles", lambda metric: iter((pickles(metric),))),
        ("declared", _declared),
        ("values", _values),
    )
    for name, test in tests:
        try:
            yield from test(metric)
        except Exception as error:  # noqa: BLE001  # a plug-in may raise anything; that is the finding
            yield raised(f"{metric!r}: {name}", error)


def _declared(metric: Metric) -> Iterator[Finding]:
    ok = metric.better in ("lower", "higher") and set(metric.needs) <= set(NEEDS)
    found = f"better = {metric.better!r}, needs = {metric.needs!r}, unit = {metric.unit!r}"
    allowed = "" if ok else f"; allowed: lower or higher, and of {', '.join(NEEDS)}"
    yield Finding(what=f"{metric!r}: declared", ok=ok, found=found + allowed)


def _values(metric: Metric) -> Iterator[Finding]:
    first, again = (metric.measure(_at(TRUTH, 0)) for _ in range(2))
    if first is None:
        yield Finding(what=f"{metric!r}: value", ok=True, found="none on a Gaussian: nothing is tested there")
        return
    same = again is not None and first.value == again.value
    found = "bit for bit" if same else "two calls differ; draw only from at.rng"
    yield Finding(what=f"{metric!r}: same points, same value", ok=same, found=found)
    true, worse = (_replicates(metric, model) for model in (TRUTH, WORSE))
    if metric.ranks:
        yield _sees(metric, true, worse)
    yield from _honest(metric, worse)
    for model, values in ((TRUTH, true), (WORSE, worse)):
        yield from _exact(metric, model, values)


def _sees(metric: Metric, true: list[Value], worse: list[Value]) -> Finding:
    gap, z = _gap([v.value for v in worse], [v.value for v in true])
    z = z if metric.better == "lower" else -z
    found = f"differs by {gap:.3g} from the truth's, z = {z:.1f}, expected z > {FAR:g}"
    what = f"{metric!r}: a worse model is worse"
    return Finding(what=what, ok=z > FAR, found=found if z > FAR else f"{found}; is `better` the other way?")


def _honest(metric: Metric, values: list[Value]) -> Iterator[Finding]:
    errors = torch.tensor([v.se for v in values])
    what = f"{metric!r}: standard error"
    if errors.isnan().any():
        yield Finding(what=what, ok=True, found="none is given: its values never carry an interval")
        return
    spread = torch.tensor([v.value for v in values]).std().item()
    ratio = errors.mean().item() / spread
    ok = HONEST[0] <= ratio <= HONEST[1]
    found = f"{ratio:.2f} times the spread of {REPLICATES} values, expected {HONEST[0]:g} to {HONEST[1]:g}"
    yield Finding(what=what, ok=ok, found=found)


def _exact(metric: Metric, model: tuple[float, float], values: list[Value]) -> Iterator[Finding]:
    m, k = model
    exact = metric.gaussian_value(m, k, DIM)
    if exact is None:
        return
    gap, z = _gap([v.value for v in values], [exact])
    ok = abs(z) <= FAR
    found = f"mean {exact + gap:.5g}, declared {exact:.5g}, z = {z:.1f}, expected |z| <= {FAR:g}"
    yield Finding(what=f"{metric!r}: value at N({m:g}, 1/{k:g})", ok=ok, found=found)


def _gap(one: list[float], other: list[float]) -> tuple[float, float]:
    """Difference of the means, and the same in standard errors."""
    a, b = (torch.tensor(values, dtype=torch.float64) for values in (one, other))
    variance = sum(x.var().item() / len(x) for x in (a, b) if len(x) > 1)
    gap = (a.mean() - b.mean()).item()
    return gap, gap / max(math.sqrt(variance), 1e-12 + 1e-9 * abs(gap))


def _replicates(metric: Metric, model: tuple[float, float]) -> list[Value]:
    floors: dict[tuple[object, ...], tuple[float, float]] = {}
    found = [metric.measure(_at(model, i, floors)) for i in range(REPLICATES)]
    return [value for value in found if value is not None]


def _at(
    model: tuple[float, float], i: int, floors: dict[tuple[object, ...], tuple[float, float]] | None = None
) -> Evaluation:
    """The evaluation of N(m e₁, I/k) in the i-th replicate."""
    (m, k), truth = model, _Normal()
    rng = Rng.of("metric_check", i, dtype=torch.float64)
    mean = torch.zeros(DIM, dtype=torch.float64)
    mean[0] = m
    log_z = 0.5 * DIM * math.log(2 * math.pi / k)
    return Evaluation(
        energy=Energy(IsotropicGaussian(mean, torch.tensor(k, dtype=torch.float64))),
        dataset=truth,
        test=truth.sample(POINTS, rng.split("test")),
        log_z=lambda: Value(value=log_z, se=0.0, lo=log_z, hi=log_z),
        samples=lambda: mean + rng.split("model").normal((POINTS, DIM)) / math.sqrt(k),
        true_pair=lambda j, n: (
            truth.sample(n, Rng.of("metric_check", "pair", j, dtype=torch.float64)),
            truth.sample(POINTS, Rng.of("metric_check", "other", j, dtype=torch.float64)),
        ),
        rng=rng.split("metric"),
        floors={} if floors is None else floors,
        own_log_z=lambda: Value(value=log_z),
    )
