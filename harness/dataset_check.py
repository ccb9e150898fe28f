"""The conformance test of a data set: are its samples, its density, its score and its entropy one law's?

The density is integrated by importance sampling. The proposal q is an equal mixture of heavy-tailed kernels
around samples, so that p/q is bounded wherever the samples reach: E_q[p/q] = 1, and for every frequency ω
E_q[p/q · cos ωx] is what the samples' mean of cos ωx must be. Above three dimensions, where such a proposal
is too wide, the score is held against the samples instead: E_p[s f] = -E_p[∇f] for f = cos ωx and sin ωx.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from functools import lru_cache

import torch
from torch import Tensor

from ebmark.api import Dataset, RealDataset, Rng
from ebmark.errors import EbmarkError
from ebmark.plugin_checks import Finding, at_defaults, pickles, raised

SAMPLES = 10_000
CENTRES = 500  # kernels of the proposal
MOST_DIM = 3  # in which the proposal is narrow enough
FREQUENCIES = 8
FAR = 5.0  # standard errors: some fifty means are tested at a time
TRIED = (1, 2, 5)  # dimensions besides the default one
ROUNDING = 1e-6


def check_dataset(cls: type[Dataset]) -> Iterator[Finding]:
    """Every check of a data set, lazily, at its defaults and at the other dimensions that it accepts."""
    usual = at_defaults(cls)
    if isinstance(usual, Finding):
        yield usual
        return
    if not hasattr(usual, "dim"):
        found = "not said; write `dim = 2`, or a field `dim: int = 2` of which a study may ask for others"
        yield Finding(what=f"{usual!r}: dim", ok=False, found=found)
        return
    for target in (usual, *_of_other_dimensions(usual)):
        tests = REAL if isinstance(target, RealDataset) else (*DRAWN, *(EXACT if target.exact else ()))
        for name, test in tests:
            try:
                outcome = test(target)
            except Exception as error:  # noqa: BLE001  # a plug-in may raise anything; that is the finding
                yield raised(f"{target!r}: {name}", error)
            else:
                if outcome is not None:
                    yield Finding(what=f"{target!r}: {name}", ok=outcome[0], found=outcome[1])


Found = tuple[bool, str] | None  # whether it passed, and what was found; None where it does not apply


def _of_other_dimensions(target: Dataset) -> Iterator[Dataset]:
    if "dim" not in {f.name for f in fields(target)}:  # type: ignore[arg-type]  # a dataclass
        return
    for d in TRIED:
        if d == target.dim:
            continue
        try:
            yield replace(target, dim=d)  # type: ignore[type-var]  # a dataclass with that field
        except EbmarkError:
            continue


def _stream(target: Dataset, name: str, dtype: torch.dtype = torch.float64) -> Rng:
    return Rng.of("dataset_check", repr(target), name, dtype=dtype)


def _pickles(target: Dataset) -> Found:
    finding = pickles(target)
    return finding.ok, finding.found


def _draws(target: Dataset) -> Found:
    for dtype in (torch.float32, torch.float64):
        x = target.sample(64, _stream(target, "draw", dtype))
        if x.shape != (64, target.dim) or x.dtype != dtype:
            expected = f"expected (64, {target.dim}) in {dtype}"
            return False, f"{tuple(x.shape)} in {x.dtype} for 64 points, {expected}"
        if not x.isfinite().all():
            return False, "some samples are not finite"
        if not torch.equal(x, target.sample(64, _stream(target, "draw", dtype))):
            return False, "two draws from one stream differ; draw only from the rng that is given"
        if torch.equal(x, target.sample(64, _stream(target, "other", dtype))):
            return False, "two streams give the same points; draw from the rng that is given"
    return True, "of the shape and the dtype of the stream, bit for bit the same from the same stream"


def _broadcasts(target: Dataset) -> Found:
    x = target.sample(30, _stream(target, "lead"))
    flat, folded = target.log_prob(x), target.log_prob(x.reshape(5, 6, target.dim))
    if flat.shape != (30,) or folded.shape != (5, 6):
        return False, f"log_prob gives {tuple(folded.shape)} for x (5, 6, {target.dim}), expected (5, 6)"
    same = torch.allclose(folded.flatten(), flat, rtol=1e-10, atol=1e-10)
    return same, "log_prob keeps leading dimensions" if same else "log_prob mixes points"


def _score(target: Dataset) -> Found:
    if not target.smooth:
        return None
    x = (1.3 * target.sample(200, _stream(target, "score"))).requires_grad_()
    (gradient,) = torch.autograd.grad(target.log_prob(x).sum(), x)
    off = (target.score(x.detach()) - gradient).abs() / (1 + gradient.abs())
    worst = off.max().item()
    return worst < ROUNDING, f"off the gradient of log_prob by {worst:.1g} at most, expected < {ROUNDING:g}"


def _follows(target: Dataset) -> Found:
    """Samples against the score, by Stein's identity with bounded functions; in any dimension."""
    if not target.smooth:
        return None
    x = target.sample(SAMPLES, _stream(target, "stein"))
    ω = _frequencies(target, x)
    s, phase = target.score(x)[:, None], (x @ ω.T)[..., None]
    even = s * phase.cos() - ω * phase.sin()  # (n, frequencies, d)
    odd = s * phase.sin() + ω * phase.cos()
    return _zero(torch.cat([even, odd], 1), "E[s f] + E[∇f]", "the score is not that of the samples")


def _integrates(target: Dataset) -> Found:
    if target.dim > MOST_DIM:
        return None
    ratio, _ = _weights(target)
    mean, se = _mean(ratio)
    ok = abs(mean - 1) <= FAR * se + ROUNDING
    return ok, f"integral of the density {mean:.4g} ± {se:.1g}, expected 1" + ("" if ok else "; normalise it")


def _agrees(target: Dataset) -> Found:
    """Samples against the density, by the characteristic function."""
    if target.dim > MOST_DIM:
        return None
    ratio, y = _weights(target)
    x = target.sample(SAMPLES, _stream(target, "samples"))
    ω = _frequencies(target, x)
    worst = 0.0
    for wave in (torch.cos, torch.sin):
        here, there = wave(x @ ω.T), ratio[:, None] * wave(y @ ω.T)
        se = (here.var(0) / len(here) + there.var(0) / len(there)).sqrt()
        worst = max(worst, ((here.mean(0) - there.mean(0)).abs() / (se + 1e-12)).max().item())
    found = f"characteristic functions differ by {worst:.1f} standard errors at most, expected <= {FAR:g}"
    return worst <= FAR, found


def _entropy(target: Dataset) -> Found:
    if target.entropy is None:
        return None
    terms = -target.log_prob(target.sample(SAMPLES, _stream(target, "entropy")))
    mean, se = _mean(terms)
    ok = abs(mean - target.entropy) <= FAR * se + ROUNDING
    return ok, f"declared {target.entropy:.6g}, mean of -log_prob {mean:.6g} ± {se:.1g}"


def _components(target: Dataset) -> Found:
    if target.weights is None:
        return None
    posterior = target.components(target.sample(SAMPLES, _stream(target, "components")))
    if (posterior.sum(-1) - 1).abs().max() > ROUNDING:
        return False, "the posterior probabilities of the components do not add up to 1"
    return _zero(posterior - target.weights, "mean posterior - weight", "the components are not the samples'")


def _splits(target: Dataset) -> Found:
    assert isinstance(target, RealDataset)
    splits, again = target.splits(), target.splits()
    parts = (splits.train, splits.val, splits.test)
    if any(part.dim() != 2 or part.shape[-1] != target.dim or not part.isfinite().all() for part in parts):
        return False, f"train, val and test must be finite rows (n, {target.dim})"
    if not all(torch.equal(a, b) for a, b in zip(parts, (again.train, again.val, again.test), strict=True)):
        return False, "two calls give different rows"
    shares = [len(part) / sum(map(len, parts)) for part in parts]
    ok = all(abs(share - wanted) < 0.1 for share, wanted in zip(shares, (0.7, 0.15, 0.15), strict=True))
    return ok, "{:.0%} train, {:.0%} val, {:.0%} test, the same in every call".format(*shares)


DRAWN: tuple[tuple[str, Callable[[Dataset], Found]], ...] = (("pickles", _pickles), ("samples", _draws))
REAL = (*DRAWN, ("splits", _splits))
EXACT: tuple[tuple[str, Callable[[Dataset], Found]], ...] = (
    ("leading dimensions", _broadcasts),
    ("score", _score),
    ("samples against score", _follows),
    ("normalised", _integrates),
    ("samples against density", _agrees),
    ("entropy", _entropy),
    ("components", _components),
)


def _frequencies(target: Dataset, x: Tensor) -> Tensor:
    """Frequencies ``(FREQUENCIES, d)`` at which one typical spread of the samples turns the phase by one."""
    spread = (x.quantile(0.84, 0) - x.quantile(0.16, 0)).mean() / 2  # of heavy tails the sd says nothing
    ω = _stream(target, "frequencies").normal((FREQUENCIES, target.dim))
    return ω / (spread * math.sqrt(target.dim))


@lru_cache(maxsize=1)  # two tests ask for them
def _weights(target: Dataset) -> tuple[Tensor, Tensor]:
    """p/q ``(n,)`` at points ``(n, d)`` of the proposal."""
    rng, d = _stream(target, "proposal"), target.dim
    centres = target.sample(CENTRES, rng)
    spread = (centres.quantile(0.84, 0) - centres.quantile(0.16, 0)) / 2
    width = spread.clamp(min=1e-9) * CENTRES ** (-1 / (d + 4))  # Silverman's rule
    # Cauchy kernels, each coordinate by itself: a normal variable over another.
    jump = rng.normal((SAMPLES, d)) / rng.normal((SAMPLES, d))
    y = centres[rng.integers(CENTRES, (SAMPLES,))] + width * jump

    def log_kernels(y: Tensor) -> Tensor:
        kernels = math.pi * width * (1 + ((y[:, None] - centres) / width).square())
        total: Tensor = kernels.log().sum(-1)
        return -total

    log_mean = torch.cat([log_kernels(part).logsumexp(-1) for part in y.split(1000)]) - math.log(CENTRES)
    return (target.log_prob(y) - log_mean).exp(), y


def _mean(terms: Tensor) -> tuple[float, float]:
    return terms.mean().item(), terms.std().item() / math.sqrt(len(terms))


def _zero(terms: Tensor, what: str, fault: str) -> Found:
    """Whether every mean over the first axis lies within its standard errors of zero."""
    z = terms.mean(0) / (terms.std(0) / math.sqrt(len(terms)) + 1e-12)
    worst = z.abs().max().item()
    found = f"{what}: {worst:.1f} standard errors from 0 at most, expected <= {FAR:g}"
    return worst <= FAR, found if worst <= FAR else f"{found}; {fault}"
