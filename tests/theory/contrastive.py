"""Methods that contrast data with noise or with neighbours: what they estimate and how well."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from ebmark import registry
from ebmark.api import Constants, Dataset, Energy, Method, State
from ebmark.gradient_test import IsotropicGaussian
from ebmark.noise import _components, log_prob
from tests.theory.core import (
    Law,
    Population,
    Problem,
    Row,
    Scripted,
    additive,
    derivatives,
    digits,
    estimates,
    item,
    normal,
    on_line,
    population,
    simulated_row,
    spread,
    stream,
)
from tests.theory.families import Line, Weight, ones

TABLE = {  # noise's mean and standard deviation -> n var of (b, k, c) at nu = 1, 10, 100; data N(0, 1)
    (0.0, 1.0): ("2.0000 4.0000 1.0000", "1.1000 2.2000 0.5500", "1.0100 2.0200 0.5050"),
    (0.0, 1.5): ("1.6921 2.9784 1.3380", "1.0761 2.1121 0.5907", "1.0077 2.0114 0.5092"),
    (0.0, 0.7): ("3.4665 12.489 1.2734", "1.3928 3.9008 0.6967", "1.0712 2.4341 0.5587"),
    (2.0, 1.0): ("30.193 22.676 10.909", "6.0192 8.2268 1.7376", "1.8909 3.9569 0.7415"),
}
NU = (1, 10, 100)


def gaussian_noise(method: Method, n: int, mean: float, c: float) -> State:
    """The state with noise N(mean, scale²) and the log-normaliser at c, for n runs."""
    state = method.at_gaussian(torch.tensor([mean], dtype=torch.float64), 1.0, ones(n))
    for p in state.params["energy"].parameters():
        p.data.fill_(c)
    return state


def line(method: Method, mean: float) -> Problem:
    """N(0, 1) in its natural parameters, contrasted with N(mean, scale²)."""
    return lambda n: (
        Line(ones(n, 0.0), ones(n)),
        gaussian_noise(method, n, mean, 0.5 * math.log(2 * math.pi)),
    )


def nce_population(mean: float, sd: float, nu: int) -> Population:
    method = registry.get("method", "nce")(nu=nu, scale=sd)
    return additive(method, line(method, mean), normal(half=12.0), normal(half=12.0), nu)


@item("NCE: n var of (b, k, c) on N(0, 1), from gradient and Hessian of its loss by quadrature")
def nce_variances() -> Iterator[Row]:
    for (mean, sd), columns in TABLE.items():
        for nu, expected in zip(NU, columns, strict=True):
            found = nce_population(mean, sd, nu)
            where = f"noise N({mean:g}, {sd:g}²), nu = {nu}"
            yield Row(
                what=f"gradient, {where}", expected=0.0, found=found.gradient.abs().max().item(), within=1e-9
            )
            for name, value, text in zip("bkc", found.variances, expected.split(), strict=True):
                yield digits(f"n var {name}, {where}", text, value)


@item("NCE with one noise point: sum over datum and noise, or their joint law")
def nce_joint() -> Iterator[Row]:
    method = registry.get("method", "nce")(nu=1, scale=1.5)
    found = population(method, line(method, 0.0), normal(0.1), normal(0.1)).variances
    for name, one, other in zip("bkc", found, nce_population(0.0, 1.5, 1).variances, strict=True):
        yield Row(what=f"n var {name}", expected=other, found=one, within=1e-8)


def _simulated(mean: float, sd: float, nu: int, runs: int, n: int, few: bool = False) -> Iterator[Row]:
    method = registry.get("method", "nce")(nu=nu, scale=sd)
    expected = nce_population(mean, sd, nu).variances
    x = stream("nce", mean, sd, nu).normal((runs, n, 1))
    found = spread(estimates(method, line(method, mean), x, "nce noise", nu, at_once=2_000_000 // nu), n)
    for name, value, (var, se) in zip("bkc", expected, found, strict=True):
        what = f"n var {name}, noise N({mean:g}, {sd:g}²), nu = {nu}, {runs} data sets of {n}"
        row = simulated_row(what, value, var, se)
        yield replace(row, share=None, within=0.1 * value) if few else row


@item("NCE: simulated n var of (b, k, c)")
def nce_simulated() -> Iterator[Row]:
    yield from _simulated(0.0, 1.5, 1, runs=2000, n=1000)


@item("NCE: simulated n var of (b, k, c), every row of the table", slow=True)
def nce_simulated_all() -> Iterator[Row]:
    for mean, sd in TABLE:
        for nu in (1, 10):
            yield from _simulated(mean, sd, nu, runs=2000, n=4000 if mean else 1500)


@item(
    "NCE: simulated n var of (b, k, c) at nu = 100, within 10 % beside the error of few data sets", slow=True
)
def nce_simulated_with_much_noise() -> Iterator[Row]:
    for mean, sd in TABLE:
        yield from _simulated(mean, sd, 100, runs=500, n=400, few=True)


@item("NCE with the data's law as noise: covariance (1 + 1/nu) times maximum likelihood's")
def nce_on_its_own_law() -> Iterator[Row]:
    mle = registry.get("method", "mle")(normaliser="known")
    gaussian = population(mle, lambda n: (Line(ones(n, 0.0), ones(n)), State()), normal()).variances
    for nu in (1, 5):
        found = nce_population(0.0, 1.0, nu).variances
        for name, value, best in zip("bkc", found, [*gaussian, 0.5], strict=True):
            yield Row(
                what=f"N(0, 1), {name}, nu = {nu}", expected=(1 + 1 / nu) * best, found=value, within=1e-9
            )
    yield from _nce_on_two_modes(m=1.5, weight=0.3)


def _nce_on_two_modes(m: float, weight: float) -> Iterator[Row]:
    """Another family: the weight of two modes, with the mixture itself as noise."""
    data = on_line(registry.get("dataset", "two_modes")(dim=1, m=m, weight=weight).log_prob, 12.0)
    mle = registry.get("method", "mle")(normaliser="known")
    (best,) = population(mle, lambda n: (Weight(n, m, weight=weight), State()), data).variances
    w = torch.tensor([weight, 1 - weight], dtype=torch.float64)
    means = torch.tensor([[-m], [m]], dtype=torch.float64)
    modes = _components(w, means, torch.ones(2, 1, 1, dtype=torch.float64))
    # A noise point is a place in its component, drawn first, and a uniform number that picks the component.
    z, picks = normal(), (0.5 * weight, 0.5 * (1 + weight))
    nodes = torch.cat([torch.stack([z.nodes[:, 0], ones(len(z.nodes), u)], -1) for u in picks])
    noise = Law(nodes, torch.cat([share * z.weights for share in w.tolist()]))

    def problem(n: int) -> tuple[nn.Module, State]:
        return Weight(n, m, weight=weight), State(params={"energy": Constants(c=ones(n, 0.0))}, buffers=modes)

    for nu in (1, 5):
        method = registry.get("method", "nce")(nu=nu)
        found = additive(method, problem, data, noise, nu).variances[0]
        yield Row(
            what=f"weight of two modes, nu = {nu}", expected=(1 + 1 / nu) * best, found=found, within=1e-8
        )


# ------------------------------------------------------------------------------------------------- neighbours


def precision(k: float) -> Problem:
    """N(0, 1) with its precision alone to be learned, the energy at precision k."""
    return lambda n: (Line(ones(n, 0.0), ones(n, k), learn_b=False), State())


@item("CNCE with one neighbour: n var of a precision, and the gradient at the truth")
def cnce_variances() -> Iterator[Row]:
    for eps, text in ((0.1, "405.9"), (1.0, "9.05")):
        method = registry.get("method", "cnce")(kappa=1, eps=eps)
        found = population(method, precision(1.0), normal(), normal())
        yield digits(f"n var k, eps = {eps:g}", text, found.variances[0])
    for eps in (0.03, 0.3, 3.0):
        method = registry.get("method", "cnce")(kappa=1, eps=eps)
        found = population(method, precision(1.0), normal(), normal(0.02 if eps > 1 else 0.04))
        yield Row(what=f"gradient, eps = {eps:g}", expected=0.0, found=found.gradient.item(), within=1e-10)


@item("CNCE with one neighbour: simulated n var of a precision")
def cnce_simulated() -> Iterator[Row]:
    runs, n = 2000, 1000
    method = registry.get("method", "cnce")(kappa=1, eps=1.0)
    expected = population(method, precision(1.0), normal(), normal()).variances[0]
    x = stream("cnce").normal((runs, n, 1))
    ((found, se),) = spread(estimates(method, precision(1.0), x, "cnce neighbours"), n)
    yield simulated_row(f"n var k, eps = 1, {runs} data sets of {n}", expected, found, se)


def isotropic(k: float, d: int = 2) -> Problem:
    """N(0, I) in d dimensions with its precision alone to be learned, the energy at precision k."""
    return lambda n: (IsotropicGaussian(torch.zeros(d, dtype=torch.float64), ones(n, k)), State())


def _discrepancy_root(M: int, w: float, t: float, points: int) -> tuple[float, float]:
    """The precision that minimises the loss on data from N(0, I), d = 2, with its standard error."""
    method = registry.get("method", "energy_discrepancy")(M=M, w=w, t=t)
    sets = 20  # independent of each other: their spread is the error
    x = stream("discrepancy", M).normal((sets, points // sets, 2))
    x = x * x.square().mean((-2, -1), keepdim=True).rsqrt()  # what the sample's own variance adds is no news
    roots = estimates(method, isotropic(1.0), x, "perturbations", M, w, t)
    return roots.mean().item(), roots.std().item() / math.sqrt(sets)


@item("energy discrepancy: the minimising precision on N(0, I), d = 2")
def discrepancy_minimisers() -> Iterator[Row]:
    for M, t in ((1, 0.25), (2, 1.0), (16, 0.25)):
        root, se = _discrepancy_root(M, 1.0, t, 100_000)
        yield Row(what=f"w = 1, M = {M}, t = {t:g}", expected=1.0, found=root, se=se, within=0.002)
    for M, expected in ((4, 1.8), (8, 1.3), (16, 1.1)):  # two digits are known
        root, se = _discrepancy_root(M, 0.0, 0.25, 100_000)
        yield Row(what=f"w = 0, M = {M}, t = 0.25", expected=expected, found=root, se=se, within=0.05)
    for t in (0.25, 0.5):  # the bias at w = 0 falls as 1/M
        root, se = _discrepancy_root(512, 0.0, t, 4000)
        yield Row(what=f"w = 0, M = 512, t = {t:g}", expected=1.0, found=root, se=se, within=0.01)


@item("energy discrepancy: with M = 1 and w = 0 the loss falls in k forever, at the rate -d t")
def discrepancy_without_minimiser() -> Iterator[Row]:
    t, d = 0.25, 2
    method = registry.get("method", "energy_discrepancy")(M=1, w=0.0, t=t)
    for k in (0.5, 1.0, 4.0, 100.0):
        module, state = isotropic(k)(100)
        x = stream("no minimiser").normal((100, 2000, d))
        _, G, _ = derivatives(method, module, state, x, stream("no minimiser", "noise"), second=False)
        se = G.std().item() / 10
        yield Row(what=f"gradient at k = {k:g}", expected=-d * t, found=G.mean().item(), se=se)


# -------------------------------------------------------------------------------- likelihoods and normalisers


@item("self-normalised likelihood: below the log-likelihood, tight at b = log Z")
def snl_bounds() -> Iterator[Row]:
    data = normal(half=12.0)
    method = registry.get("method", "snl")(M=3, scale=1.5)
    for k, shift in ((1.0, 0.0), (1.0, 0.7), (1.0, -0.7), (0.6, 0.0), (1.7, 0.3), (1.7, -1.5)):
        log_z = 0.5 * math.log(2 * math.pi / k)

        def problem(n: int, k: float = k, b: float = log_z + shift) -> tuple[nn.Module, State]:
            return Line(ones(n, 0.0), ones(n, k)), gaussian_noise(method, n, 0.0, b)

        bound = -additive(method, problem, data, data, 3).loss
        likelihood = -0.5 * k - log_z
        what = f"model N(0, 1/{k:g}), b - log Z = {shift:g}"
        short = shift + math.expm1(-shift)  # of the bound, for whatever model and noise
        yield Row(what=what, expected=likelihood - short, found=bound, within=1e-9)
        yield Row(what=f"{what}: at most", expected=likelihood, found=bound, within=1e-9, bound=True)


def _separated(R: float, centre: float) -> tuple[Population, float]:
    """NCE of N(centre, 1) on data N(R, 1) with noise N(0, 1): the population, and the overlap it logs."""
    method = registry.get("method", "nce")()
    z = normal(0.02, half=14.0)
    data = Law(z.nodes + R, z.weights)

    def problem(n: int) -> tuple[nn.Module, State]:
        c = 0.5 * centre**2 + 0.5 * math.log(2 * math.pi)
        return Line(ones(n, centre), ones(n)), gaussian_noise(method, n, 0.0, c)

    module, state = problem(len(data.nodes))
    step = method.step(Energy(module), data.nodes[:, None], state, Scripted(ones(len(data.nodes), 0.0)))
    return additive(method, problem, data, z, 1), data.mean(step.logs["overlap"]).item()


@item("NCE, p = N(R, 1) and q = N(0, 1): overlap and flatness")
def nce_flatness() -> Iterator[Row]:
    overlaps = {}
    for R, text in ((2, "0.2248"), (4, "3.430e-2"), (8, "4.911e-5"), (16, "9.74e-16")):
        overlaps[R] = _separated(R, R)[1]
        yield digits(f"overlap, R = {R}", text, overlaps[R])
    for near, far in ((4, 8), (8, 16), (16, 22)):
        a, b = (overlaps.get(R) or _separated(R, R)[1] for R in (near, far))
        slope = (math.log(b) - math.log(a)) / (far**2 - near**2)
        yield Row(
            what=f"slope of log overlap in R², {near} to {far}",
            expected=-0.125,
            found=slope,
            within=0.5 / near**2,
        )
    gap = (_separated(16, 12)[0].loss - _separated(16, 16)[0].loss) / 2  # per point, data and noise alike
    yield digits("loss gap at R = 16, the mean at 12", "1.5e-9", gap)
    step = torch.finfo(torch.float32).eps / 2 * math.log(2)
    yield Row(what="the same against a rounding step of float32", expected=step, found=gap, bound=True)


class Truth(nn.Module):
    """E = -log p of a data set."""

    def __init__(self, target: Dataset) -> None:
        super().__init__()
        self.target = target

    def forward(self, x: Tensor) -> Tensor:
        return -self.target.log_prob(x)


@item("NCE with moment-matched Gaussian noise on products of bimodals: overlap at most BC^d/2")
def nce_overlap_in_high_dimension() -> Iterator[Row]:
    for m, text, last in ((2.0, "0.95179", 266), (3.0, "0.85845", 86)):
        target = registry.get("dataset", "bimodal_product")(dim=1, m=m)
        bc = _bhattacharyya(target, m)
        yield digits(f"BC, m/s = {m:g}", text, bc)
        below = math.ceil(math.log(2e-6) / math.log(bc))
        yield Row(what=f"d at which BC^d/2 < 1e-6, m/s = {m:g}", expected=last, found=below)
        for d in (1, 4, 16):
            found, se = _overlap(m, d)
            what = f"overlap, m/s = {m:g}, d = {d}"
            yield Row(what=what, expected=0.5 * bc**d, found=found, se=se, bound=True)


def _bhattacharyya(target: Dataset, m: float) -> float:
    """∫ √(pq) of one coordinate, q NCE's Gaussian with the mean and variance of p."""
    q = gaussian_noise(registry.get("method", "nce")(scale=math.sqrt(1 + m * m)), 1, 0.0, 0.0).buffers
    root = on_line(lambda x: 0.5 * (target.log_prob(x) + log_prob(x, q)), 12 + 3 * m)
    return root.weights.sum().item()


def _overlap(m: float, d: int, runs: int = 50, n: int = 2000) -> tuple[float, float]:
    """The overlap that NCE logs at the truth, with noise of the data's mean and covariance."""
    method = registry.get("method", "nce")(scale=math.sqrt(1 + m * m))
    target = registry.get("dataset", "bimodal_product")(dim=d, m=m)
    state = method.at_gaussian(torch.zeros(d, dtype=torch.float64), 1.0, ones(runs))
    state.params["energy"].get_parameter("c").data.zero_()
    x = target.sample(runs * n, stream("product", m, d)).reshape(runs, n, d)
    logged = method.step(Energy(Truth(target)), x, state, stream("product noise", m, d)).logs["overlap"]
    return logged.mean().item(), logged.std().item() / math.sqrt(runs)
