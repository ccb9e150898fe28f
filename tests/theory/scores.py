"""Methods that match scores: what they estimate, how well, and what their projections cost in variance."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ebmark import registry
from ebmark.api import Dataset, Energy, Evaluation, Rng, State, Value, dataset
from ebmark.metrics.fisher import FisherDivergence
from ebmark.metrics.kl import KullbackLeibler
from ebmark.networks.quadratic import Quadratic
from ebmark.ops import score_and_curve
from tests.theory.core import (
    Row,
    Scripted,
    digits,
    estimates,
    item,
    polynomial,
    population,
    simulated_row,
    spread,
    stream,
)
from tests.theory.families import Along, ones


def covariance(d: int, key: str) -> Tensor:
    """A covariance without structure."""
    a = stream("covariance", key).normal((d, d))
    return a @ a.mT / d + 0.3 * torch.eye(d, dtype=torch.float64)


def exact_moments(x: Tensor) -> Tensor:
    """The sample ``x (n, d)`` moved and stretched to mean 0 and covariance I, divisor n."""
    x = x - x.mean(0)
    return torch.linalg.solve_triangular(torch.linalg.cholesky(x.mT @ x / len(x)), x.mT, upper=False).mT


def gradient(name: str, module: nn.Module, x: Tensor, rng: Rng, **settings: object) -> float:
    """The largest entry of the gradient of a method's loss on ``x (n, d)``."""
    loss = registry.get("method", name)(**settings).step(Energy(module), x, State(), rng).losses["energy"]
    return max(g.abs().max().item() for g in torch.autograd.grad(loss, [*module.parameters()]))


@item("score matching is maximum likelihood on the full Gaussian family: the gradient at the MLE")
def sm_at_the_mle() -> Iterator[Row]:
    for d in (1, 3, 6):
        x = stream("sample", d).normal((50, d)) @ torch.linalg.cholesky(covariance(d, "data")).mT + 1
        centred = x - x.mean(0)
        K = torch.linalg.inv(centred.mT @ centred / len(x))
        module = Quadratic(x.mean(0), torch.linalg.cholesky(K))
        yield Row(what=f"sm, d = {d}", expected=0.0, found=gradient("sm", module, x, stream()), within=1e-12)
        off = Quadratic(x.mean(0), torch.linalg.cholesky(1.1 * K))
        found = gradient("sm", off, x, stream())
        yield Row(what=f"sm at 1.1 K, d = {d}: no longer 0", expected=-0.01, found=-found, bound=True)


A = torch.ones(3, 3, dtype=torch.float64) - torch.eye(3, dtype=torch.float64)


@item("score matching on K = I + tA: the estimate in closed form")
def sm_on_a_line_of_precisions() -> Iterator[Row]:
    for key, B in (("ones - I", A), ("no structure", covariance(4, "A"))):
        x = stream("line", key).normal((40, len(B)))
        S = x.mT @ x / len(x)
        t = ((B.trace() - (B @ S).trace()) / (S @ B @ B).trace()).item()
        found = gradient("sm", Along(ones(1, t), B), x[None], stream())
        yield Row(what=f"A = {key}: gradient at t = {t:.4f}", expected=0.0, found=found, within=1e-12)


@item("K = I + tA, t = 0.3: n var of t by maximum likelihood and by score matching")
def variances_on_a_line() -> Iterator[Row]:
    runs, n, t = 2000, 400, 0.3
    tril = torch.linalg.cholesky(torch.linalg.inv(torch.eye(3, dtype=torch.float64) + t * A))
    x = stream("variances").normal((runs, n, 3)) @ tril.mT
    methods = {"mle": {"normaliser": "known"}, "sm": {}}
    for (name, settings), text in zip(methods.items(), ("0.35435", "0.41813"), strict=True):
        method = registry.get("method", name)(**settings)

        def problem(m: int) -> tuple[nn.Module, State]:
            return Along(ones(m, t), A), State()

        expected = population(method, problem, polynomial(tril)).variances[0]
        yield digits(f"{name}, by quadrature", text, expected)
        ((found, se),) = spread(estimates(method, problem, x), n)
        yield simulated_row(f"{name}, {runs} data sets of {n}", expected, found, se)


# --------------------------------------------------------------------------------- divergences in closed form


@dataset("theory_standard")
class Standard(Dataset):
    """N(0, I)."""

    dim: int = 1

    def log_prob(self, x: Tensor) -> Tensor:
        """Log N(x; 0, I)."""
        return -0.5 * x.square().sum(-1) - 0.5 * self.dim * math.log(2 * math.pi)


def divergences(mean: float, precision: float, d: int) -> tuple[float, float]:
    """KL and Fisher divergence of N(mean, I/precision) from N(0, I), on a test set with exact moments."""
    at = torch.full((d,), mean, dtype=torch.float64)
    energy = Energy(Quadratic(at, math.sqrt(precision) * torch.eye(d, dtype=torch.float64)))
    evaluation = Evaluation(
        energy=energy,
        dataset=Standard(dim=d),
        test=exact_moments(stream("test", d).normal((500, d))),
        log_z=lambda: Value(value=0.5 * d * math.log(2 * math.pi / precision), se=0.0),
        samples=lambda: None,
        true_pair=lambda i, n: (torch.empty(0), torch.empty(0)),
        rng=stream(),
        floors={},
    )
    kl, fisher = KullbackLeibler().measure(evaluation), FisherDivergence().measure(evaluation)
    assert kl is not None
    assert fisher is not None
    return kl.value, fisher.value


@item("KL is at most the Fisher divergence times the log-Sobolev constant, and equal for a shift")
def log_sobolev() -> Iterator[Row]:
    for m in (0.3, 2.0):
        kl, fisher = divergences(m, 1.0, 1)
        yield Row(what=f"KL, N({m:g}, 1) against N(0, 1)", expected=m * m / 2, found=kl, within=1e-12)
        yield Row(what=f"F, N({m:g}, 1) against N(0, 1)", expected=m * m / 2, found=fisher, within=1e-12)
    for k in (0.3, 0.9, 4.0):  # the model's log-Sobolev constant is 1/k
        kl, fisher = divergences(0.4, k, 3)
        yield Row(what=f"KL, mean 0.4, precision {k:g}, d = 3", expected=fisher / k, found=kl, bound=True)


@item("denoising score matching: the optimum (S + sigma² I)⁻¹ and its distance from the data")
def dsm_optimum() -> Iterator[Row]:
    d, mu = 3, torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    S, both = covariance(d, "dsm"), exact_moments(stream("dsm").normal((400, 2 * d)))
    x, ε = mu + both[:, :d] @ torch.linalg.cholesky(S).mT, both[:, d:]
    for σ in (0.1, 0.3, 1.0):
        K = torch.linalg.inv(S + σ**2 * torch.eye(d, dtype=torch.float64))
        found = gradient("dsm", Quadratic(mu, torch.linalg.cholesky(K)), x, Scripted(ε), sigma=σ)
        yield Row(what=f"gradient, full covariance, sigma = {σ:g}", expected=0.0, found=found, within=1e-12)
    for σ, text in ((0.1, "2.47e-5"), (0.3, "1.80e-3"), (1.0, "9.657e-2")):
        precision = registry.get("method", "dsm")(sigma=σ).gaussian_precision(1.0)
        yield digits(
            f"KL(p | p_sigma) per dimension, sigma = {σ:g}", text, divergences(0.0, precision, 4)[0] / 4
        )


# ------------------------------------------------------------------------------------------------ projections


@item("trace estimators: mean and variance over v of v'Hv, v Gaussian, Rademacher, on a sphere")
def trace_estimators() -> Iterator[Row]:
    d, n = 5, 200_000
    H = -covariance(d, "hessian")
    module = Quadratic(torch.zeros(d, dtype=torch.float64), torch.linalg.cholesky(-H))
    z = stream("projections").normal((n, d))
    squared, own, trace = H.square().sum(), H.diagonal().square().sum(), H.trace()
    laws = {
        "Gaussian": (z, 2 * squared),
        "Rademacher": (stream("projections").sign((n, d)), 2 * (squared - own)),
        "sphere": (
            math.sqrt(d) * z / z.norm(dim=-1, keepdim=True),
            2 * d / (d + 2) * (squared - trace**2 / d),
        ),
    }
    for name, (v, expected) in laws.items():
        _, curvature = score_and_curve(Energy(module), torch.zeros(n, d, dtype=torch.float64), v[None])
        c = curvature[0].detach()
        se = c.std().item() / math.sqrt(n)
        yield Row(what=f"mean, {name}", expected=trace.item(), found=c.mean().item(), se=se)
        squares = (c - c.mean()).square()
        se = squares.std().item() / math.sqrt(n)
        yield Row(what=f"variance, {name}", expected=expected.item(), found=squares.mean().item(), se=se)
    expected = (2 * (squared - own)).item()
    se = math.sqrt(2 / n) * expected  # as if v'Hv were normal; its tails are lighter
    for name in ("ssm", "ssm_vr"):
        method = registry.get("method", name)()
        step = method.step(Energy(module), torch.zeros(n, d, dtype=torch.float64), State(), stream(name))
        found = step.logs["projected_variance"].item()
        what = f"variance that {name} logs: its own draws are Rademacher"
        yield Row(what=what, expected=expected, found=found, se=se)


@item("finite differences are exact on a quadratic energy: fd_ssm = ssm for every eps")
def finite_differences() -> Iterator[Row]:
    d = 4
    module = Quadratic(stream("mean").normal((d,)), torch.linalg.cholesky(covariance(d, "fd")))
    x = stream("fd").normal((100, d))

    def loss(name: str, **settings: float) -> float:
        method = registry.get("method", name)(**settings)
        return method.step(Energy(module), x, State(), stream("directions")).losses["energy"].item()

    for eps in (1e-3, 0.05, 1.0, 30.0):
        # The second difference is known to a rounding error of E over eps².
        within = 1e-12 * (1 + d / eps**2)
        yield Row(what=f"eps = {eps:g}", expected=loss("ssm"), found=loss("fd_ssm", eps=eps), within=within)


class Constant(nn.Module):
    """A critic f(x) = f ``(d,)``."""

    def __init__(self, f: Tensor) -> None:
        super().__init__()
        self.f = nn.Parameter(f.clone())

    def forward(self, x: Tensor) -> Tensor:
        return self.f + 0 * x


@item("learned Stein discrepancy: its value at the best critic, p = N(mu, I), model N(0, I)")
def lsd_optimum() -> Iterator[Row]:
    mu = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)
    x = mu + exact_moments(stream("lsd").normal((200, 3)))
    energy = Energy(Quadratic(torch.zeros(3, dtype=torch.float64), torch.eye(3, dtype=torch.float64)))
    for λ in (0.5, 2.0):
        method = registry.get("method", "lsd")(lam=λ)
        best = -mu / (2 * λ)  # the difference of the scores is -mu everywhere
        expected = (mu @ mu).item() / (4 * λ)
        for factor in (1.0, 0.7, 1.4):
            state = State(params={"critic": Constant(factor * best)}, buffers={"count": torch.zeros(())})
            found = method.step(energy, x, state, stream("lsd", "v")).losses["energy"].item()
            value = expected * (2 * factor - factor**2)
            what = f"lambda = {λ:g}, critic at {factor:g} of the best"
            yield Row(what=what, expected=value, found=found, within=1e-12)
