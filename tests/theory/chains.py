"""Langevin chains and contrastive divergence on Gaussians."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from ebmark import registry
from ebmark.api import Energy, State
from ebmark.gradient_test import VARIANCE, IsotropicGaussian, gradients, z_score
from ebmark.samplers import adapt, hmc, langevin
from tests.theory.core import Row, digits, item, stream
from tests.theory.families import ones


def energy(precision: float, d: int = 1) -> Energy:
    """N(0, I/precision)."""
    at = torch.tensor(precision, dtype=torch.float64)
    return Energy(IsotropicGaussian(torch.zeros(d, dtype=torch.float64), at))


def number(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


@item("stationary variance: ULA 1/(lam (1 - h lam/2)), MALA and HMC 1/lam")
def stationary_variances() -> Iterator[Row]:
    lam, n = 2.5, 200_000
    for h in (0.02, 0.2, 0.5):
        exact = 1 / (lam * (1 - h * lam / 2))
        x = stream("ula", h).normal((n, 1)) * math.sqrt(exact)
        # The second moment is a fixed point of one step, and draws near from elsewhere as (1 - h lam)².
        y = langevin(energy(lam), x, k=5, h=number(h), rng=stream("ula chain", h), adjust=False, test=False).x
        yield _variance(f"ULA, lam = {lam:g}, h = {h:g}", exact, y)
        x = stream("mala", h).normal((n, 1)) / math.sqrt(lam)
        y = langevin(energy(lam), x, k=20, h=number(h), rng=stream("mala chain", h), adjust=True).x
        yield _variance(f"MALA, lam = {lam:g}, h = {h:g}", 1 / lam, y)
        y = hmc(energy(lam), x, k=5, leapfrogs=3, h=number(h), rng=stream("hmc chain", h)).x
        yield _variance(f"HMC, lam = {lam:g}, h = {h:g}", 1 / lam, y)


def _variance(what: str, expected: float, x: Tensor) -> Row:
    squares = x.square()
    se = squares.std().item() / math.sqrt(len(x))
    return Row(what=what, expected=expected, found=squares.mean().item(), se=se)


@item("ULA diverges at h lam = 2")
def ula_limit() -> Iterator[Row]:
    lam, k = 4.0, 200
    # From x = 1 the mean is (1 - h lam)^k and the variance a sum over the same powers squared.
    for product in (1.9, 2.1):
        h, a2 = product / lam, (1 - product) ** 2
        x = torch.ones(50_000, 1, dtype=torch.float64)
        y = langevin(
            energy(lam), x, k=k, h=number(h), rng=stream("limit", product), adjust=False, test=False
        ).x
        expected = a2**k + 2 * h * (1 - a2**k) / (1 - a2)
        yield _variance(f"E x² after {k} steps, h lam = {product:g}", expected, y)


def expected_acceptance(h: float, d: int) -> float:
    """MALA's acceptance on N(0, I_d) in its stationary law: E min(1, exp(h (|x|² - |y|²)/4)).

    In each coordinate x² - y² is a quadratic form of two normal numbers, and its eigenvalues those of two
    independent chi-squared numbers with d degrees of freedom.
    """
    from scipy.stats import chi2

    a, b = 1 - h, math.sqrt(2 * h)
    form = torch.tensor([[1 - a * a, -a * b], [-a * b, -b * b]], dtype=torch.float64)
    n = 1000
    q = chi2(d).ppf((torch.arange(n, dtype=torch.float64) + 0.5).numpy() / n)
    c = torch.as_tensor(q)
    low, high = torch.linalg.eigvalsh(form).tolist()
    gap = low * c[:, None] + high * c[None, :]
    return (0.25 * h * gap).clamp(max=0).exp().mean().item()


def best_step(d: int) -> float:
    """The step at which MALA accepts 0.574, by bisection."""
    low, high = 1e-3, 2.0
    while high - low > 1e-6:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if expected_acceptance(middle, d) > 0.574 else (low, middle)
    return low


@item("MALA on N(0, I_d): the step h that accepts 0.574, in theory and where adaptation ends")
def mala_steps() -> Iterator[Row]:
    h = {d: best_step(d) for d in (10, 100, 1000)}
    for (d, step), table in zip(h.items(), (0.649, 0.294, 0.138), strict=True):
        yield Row(what=f"h, d = {d}, by quadrature", expected=table, found=step, share=0.015)
        yield _adapted(d, step, chains=20_000 // d + 20)
        x = stream("acceptance", d).normal((2_000_000 // d, d))
        rng = stream("acceptance", "chain", d)
        found = langevin(energy(1.0, d), x, k=1, h=number(step), rng=rng, adjust=True).acceptance.item()
        # Of numbers in [0, 1] with mean p the variance is at most p (1 - p).
        se = math.sqrt(0.574 * 0.426 / len(x))
        yield Row(what=f"acceptance there, d = {d}", expected=0.574, found=found, se=se)
    slope = math.log(h[1000] / h[10]) / math.log(100)
    yield Row(what="slope of log h, d = 10 to 1000", expected=-0.334, found=slope, share=0.015)
    far = 10**6
    yield Row(what="h d^(1/3), d = 10⁶", expected=1.362, found=best_step(far) * far ** (1 / 3), share=0.001)


def _adapted(d: int, expected: float, chains: int, steps: int = 300) -> Row:
    """The mean log h after the first 100 updates of a run that adapts at every update."""
    x, log_h, rng = stream("adapt", d).normal((chains, d)), number(-3.0), stream("adapt", "chain", d)
    late = []
    for step in range(steps):
        chain = langevin(energy(1.0, d), x, k=1, h=log_h.exp(), rng=rng, adjust=True)
        x, log_h = chain.x, adapt(log_h, chain.acceptance, "mala", sd2=number(1.0))
        late += [log_h] if step >= 100 else []
    found = torch.stack(late).mean().exp().item()
    return Row(what=f"adapted h, d = {d}, {chains} chains", expected=expected, found=found, share=0.02)


@item("contrastive divergence with ULA: the gradient is 1 - (1 - hk)^(2K) of that at K = infinity")
def cd_gradient_ratio() -> Iterator[Row]:
    """At K = infinity it is d/2 (v - 1/(k (1 - hk/2)))."""
    h, k, d = 0.2, 0.9, 2
    limit = 0.5 * d * (VARIANCE - 1 / (k * (1 - h * k / 2)))
    for K in (1, 3, 10):
        mean, se, _ = z_score(gradients(registry.get("method", "cd")(k=K, sampler="ula", h=h), k)["k"])
        expected = (1 - (1 - h * k) ** (2 * K)) * limit
        yield Row(what=f"K = {K}, h = {h:g}, k = {k:g}", expected=expected, found=mean, se=se)


@item("contrastive divergence: a fixed point that does not depend on K")
def cd_fixed_points() -> Iterator[Row]:
    cd = registry.get("method", "cd")
    yield digits("ULA, v = 1, h = 0.1", "1.05573", cd(sampler="ula", h=0.1).gaussian_precision(1.0))
    for sampler in ("ula", "mala", "hmc"):
        for K in (1, 3, 10):
            method = cd(k=K, sampler=sampler, h=0.1, leapfrogs=3)
            best = method.gaussian_precision(1.0)
            assert sampler == "ula" or best == 1.0
            g = _cd_gradient(method, best)
            se = g.std().item() / math.sqrt(len(g))
            what = f"{sampler}, K = {K}: gradient at {best:.5f}"
            yield Row(what=what, expected=0.0, found=g.mean().item(), se=se)


def _cd_gradient(method: object, k: float, runs: int = 100, n: int = 2000) -> Tensor:
    """Gradients ``(runs,)`` in the precision on data from N(0, 1)."""
    module = IsotropicGaussian(torch.zeros(1, dtype=torch.float64), ones(runs, k))
    state: State = method.at_gaussian(module.mu, 1.0, module.k.detach())  # type: ignore[attr-defined]
    x = stream("cd", k).normal((runs, n, 1))
    loss = method.step(Energy(module), x, state, stream("cd chain")).losses["energy"]  # type: ignore[attr-defined]
    (g,) = torch.autograd.grad(loss.sum(), module.k)
    return g
