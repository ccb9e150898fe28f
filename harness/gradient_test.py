"""The z-test of a method's gradient on Gaussian data: does it vanish where the method says it does?

Data N(mu, v I) at d = 2, v = 1.7, and the one-parameter energy E = k|x - mu|²/2. Everything else of the
method stands at its exact best response (``Method.at_gaussian``). Over 400 independent replicates the mean
raw gradient of the loss in k must vanish at the declared minimiser, be negative below and positive above it.
Learned constants are tested at their optimum, an opponent's gradient against its closed form.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from ebmark.api import Energy, Meter, Method, Rng, Step
from ebmark.plugin_checks import Finding

REPLICATES = 400
VARIANCE = 1.7
MEAN = (0.5, -1.0)
BELOW, ABOVE = 0.8, 1.25  # times the declared minimiser
OFF = 0.7  # where an opponent is held, times the energy's precision
SIGN = "the sign is inverted: s = -grad E, p proportional to exp(-E)"
HERE, FAR = 4.0, 1e-8  # standard errors within which a mean is zero, and what rounding adds


class IsotropicGaussian(nn.Module):
    """E(x) = k |x - mu|²/2 ``(..., n)`` for x ``(..., n, d)`` and k ``(...)``; one energy per head.

    With several heads k is ``(..., heads)`` and E(x) ``(..., n, heads)``.
    """

    mu: Tensor

    def __init__(self, mu: Tensor, k: Tensor, heads: int = 1) -> None:
        super().__init__()
        self.register_buffer("mu", mu)
        self.k = nn.Parameter(k.clone())
        self.heads = heads

    def forward(self, x: Tensor) -> Tensor:
        """E(x)."""
        half = 0.5 * (x - self.mu).square().sum(-1)
        return self.k[..., None] * half if self.heads == 1 else self.k[..., None, :] * half[..., None]


def best_precisions(method: Method) -> tuple[float, ...]:
    """The declared minimiser at v = 1.7, one number per head."""
    best = method.gaussian_precision(VARIANCE)
    return best if isinstance(best, tuple) else (best,)


def _streams(method: Method, k: tuple[float, ...]) -> Rng:
    return Rng.of("conformance", repr(method), *k, dtype=torch.float64).stack(REPLICATES)


def _step(
    method: Method, k: tuple[float, ...], k0: tuple[float, ...], rng: Rng, meter: Meter | None = None
) -> tuple[IsotropicGaussian, Step]:
    """One step of a replicate per stream: the energy at ``k``, the rest at its best response to ``k0``."""
    mu = torch.tensor(MEAN, dtype=torch.float64)
    k_, k0_ = (torch.tensor(at, dtype=torch.float64).expand(*rng.lead, len(k)).clone() for at in (k, k0))
    if len(k) == 1:
        k_, k0_ = k_[..., 0], k0_[..., 0]
    module = IsotropicGaussian(mu, k_, len(k))
    state = method.at_gaussian(mu, VARIANCE, k0_)
    shape = (*rng.lead, method.check_batch, len(mu))
    x = mu + math.sqrt(VARIANCE) * rng.split("data").normal(shape)
    return module, method.step(Energy(module, meter), x, state, rng)


def gradients(method: Method, *k: float) -> dict[str, Tensor]:
    """Raw gradients ``(400,)`` of the energy's loss in k and in each learned constant, per head."""
    streams = _streams(method, k)
    if method.leading:
        return _gradients(*_step(method, k, k, streams))
    each = [_gradients(*_step(method, k, k, Rng(seed, dtype=torch.float64))) for seed in streams.seeds]
    return {name: torch.stack([one[name] for one in each]) for name in each[0]}


def _gradients(module: IsotropicGaussian, step: Step) -> dict[str, Tensor]:
    own = step.state.params.get("energy")
    wanted = {"k": module.k, **(dict(own.named_parameters()) if own is not None else {})}
    found = torch.autograd.grad(step.losses["energy"].sum(), list(wanted.values()))
    return dict(_each(wanted, found, module.k.dim() - (module.heads > 1)))


def _each(
    names: Mapping[str, Tensor], found: tuple[Tensor, ...], leading: int
) -> Iterator[tuple[str, Tensor]]:
    for name, gradient in zip(names, found, strict=True):
        if gradient.dim() == leading:
            yield name, gradient
        else:
            yield from (
                (f"{name}[{j}]", column) for j, column in enumerate(gradient.flatten(leading).movedim(-1, 0))
            )


def z_score(gradient: Tensor) -> tuple[float, float, float]:
    """Mean, its standard error, and their ratio (0 for a gradient that vanishes identically)."""
    mean, se = gradient.mean().item(), gradient.std().item() / math.sqrt(len(gradient))
    return mean, se, mean / se if se > 1e-12 else math.copysign(math.inf, mean) if abs(mean) > FAR else 0.0


def z_tests(method: Method) -> Iterator[Finding]:
    """The gradient in k at, below and above the declared minimiser, and in each constant at its optimum."""
    best = best_precisions(method)
    below, at, above = sides = [gradients(method, *(f * k for k in best)) for f in (BELOW, 1.0, ABOVE)]
    for name, gradient in at.items():
        mean, se, z = z_score(gradient)
        ok = abs(mean) <= HERE * se + FAR
        fault = ""
        if not ok:
            fault = "; " + (_fault(method, name, *sides) if name.startswith("k") else _constant())
        found = f"gradient {mean:.3g} ± {se:.2g}, z = {z:.1f}, expected |z| <= {HERE:g}{fault}"
        yield Finding(what=f"{method!r}: gradient in {name} at {_where(name, best)}", ok=ok, found=found)
    for factor, side in ((BELOW, below), (ABOVE, above)):
        for name, gradient in side.items():
            if name.startswith("k"):
                mean, se, z = z_score(gradient)
                ok, wanted = (z < -HERE, f"z < -{HERE:g}") if factor < 1 else (z > HERE, f"z > {HERE:g}")
                found = f"gradient {mean:.3g} ± {se:.2g}, z = {z:.1f}, expected {wanted}"
                if not ok:
                    found += f"; {_fault(method, name, *sides)}"
                where = f"{method!r}: gradient in {name} at {_where(name, best, factor)}"
                yield Finding(what=where, ok=ok, found=found)


def _where(name: str, best: tuple[float, ...], factor: float = 1.0) -> str:
    if not name.startswith("k"):
        return "its optimum"
    head = int(name[2:-1]) if name != "k" else 0
    return f"{factor:g} x {best[head]:.5g}"


def _constant() -> str:
    return "a term of the normaliser is missing (log nu, or a factor of the noise's density)"


def _fault(method: Method, name: str, *sides: Mapping[str, Tensor]) -> str:
    """Where the gradient vanishes instead, and what that points to."""
    if any(
        abs(z_score(gradient)[2]) > HERE for what, gradient in sides[1].items() if not what.startswith("k")
    ):
        return _constant()
    if all(abs(z_score(side[name])[2]) <= HERE for side in sides):
        return "the gradient does not see k: a detached term, or a wrong factor"
    low, mid, high = (side[name].mean().item() for side in sides)
    if low > mid > high:
        return f"it falls with k: {SIGN}"
    # The root of the parabola's chord on the side where the sign changes, in units of the declared minimiser.
    (a, f), (b, g) = ((BELOW, low), (1.0, mid)) if mid > 0 else ((1.0, mid), (ABOVE, high))
    root = a - f * (b - a) / (g - f) if g != f else math.nan
    d = len(MEAN)
    if root < 0:
        likely = f"one term has the wrong sign; {SIGN}"
    elif _runs_chains(method):
        likely = f"a gradient that flows through the chain, or a factor 1/{d} or {d} on one of the terms"
    elif BELOW < root < ABOVE:
        likely = "an undeclared bias; a mean over pairs must leave out the diagonal (a U-statistic)"
    else:
        likely = f"a factor 1/{d} or {d} on one of the terms, or projections v without E vv' = I"
    return f"it vanishes near {root:.2g} times the declared minimiser: {likely}"


def _runs_chains(method: Method) -> bool:
    meter = Meter()
    k, rng = best_precisions(method), Rng.of("chains", dtype=torch.float64)
    _step(method, k, k, rng.stack(2) if method.leading else rng, meter)
    return meter.transitions > 0


def opponent_tests(method: Method) -> Iterator[Finding]:
    """Every player's gradient against its closed form, with the opponent held off its best response."""
    (k, *more) = best_precisions(method)
    expected = method.gaussian_gradients(VARIANCE, len(MEAN), k, OFF * k)
    yield from _undeclared(method, expected)
    if not expected or more:
        return
    if not method.leading:
        found = "an opponent needs a loss with leading dimensions; declare no gaussian_gradients, or leading"
        yield Finding(what=f"{method!r}: gradients of the players", ok=False, found=found)
        return
    module, step = _step(method, (k,), (OFF * k,), _streams(method, (k,)))
    for player, value in expected.items():
        own = [module.k] if player == "energy" else [*step.state.params[player].parameters()]
        (gradient,) = torch.autograd.grad(step.losses[player].sum(), own, retain_graph=True)
        mean, se, _ = z_score(gradient)
        ok = abs(mean - value) <= HERE * se + FAR
        found = f"{mean:.4g} ± {se:.2g}, in closed form {value:.4g}"
        if not ok and abs(mean + value) <= HERE * se + FAR:
            found += f"; the sign is inverted: {player} minimises its loss, so what it maximises is negated"
        what = f"{method!r}: gradient of {player}, energy at {k:.5g}, the rest at {OFF * k:.5g}"
        yield Finding(what=what, ok=ok, found=found)


def _undeclared(method: Method, expected: Mapping[str, float]) -> Iterator[Finding]:
    """An opponent whose gradient is in no closed form is not tested, which is a fault."""
    mu = torch.tensor(MEAN, dtype=torch.float64)
    k = torch.tensor(best_precisions(method), dtype=torch.float64)
    players = method.at_gaussian(mu, VARIANCE, k if len(k) > 1 else k[0]).params.keys()
    for player in sorted(players - {"energy"} - expected.keys()):
        found = f"declare gaussian_gradients: it gives none for {player}"
        yield Finding(what=f"{method!r}: gradient of {player}", ok=False, found=found)
