"""Every registered method against the structure and mathematics that it declares; the test's own power."""

import dataclasses

import pytest
import torch
from torch.nn.functional import normalize, softplus

from ebmark import noise, registry
from ebmark.api import Energy, Method, Passes
from ebmark.conformance import check
from ebmark.gradient_test import VARIANCE, gradients, z_score
from ebmark.ops import score, score_and_curve, score_and_trace


@pytest.mark.parametrize("name", registry.names("method"))
def test_conforms(name):
    findings = list(check(registry.get("method", name)))
    assert len(findings) >= 10
    assert not [f"{f.what}: {f.found}" for f in findings if not f.ok]


def _failures(cls):
    """What fails in a broken copy, but for pickling: no module holds a class that is made in a test."""
    return [f for f in check(cls) if not f.ok and not f.what.endswith(": pickles")]


def _broken(base, **members):
    """A copy of a method with some members replaced."""
    return dataclasses.dataclass(frozen=True, kw_only=True)(type(base.__name__, (base,), members))


def _only(example):
    """One example of a method: the broken copies need no more."""
    return classmethod(lambda cls, v: (cls(**example(v)),))


def _inverted_sign(dsm):
    def loss(self, energy, x, state, rng):
        ε = rng.normal(x.shape)
        s = score(energy, x + self.sigma * ε)
        return 0.5 * (-self.sigma * s + ε).square().sum(-1).mean(-1)

    return {"loss": loss, "examples": _only(lambda v: {"sigma": 0.3 * v**0.5})}


def _trace_over_d(sm):
    def loss(self, energy, x, state, rng):
        s, trace = score_and_trace(energy, x)
        return (trace / x.shape[-1] + 0.5 * s.square().sum(-1)).mean(-1)

    return {"loss": loss}


def _unit_sphere(ssm_vr):
    def loss(self, energy, x, state, rng):
        v = normalize(rng.normal(x.shape), dim=-1)  # E vv' = I/d
        s, curvature = score_and_curve(energy, x, v[None])
        return (curvature[0] + 0.5 * s.square().sum(-1)).mean(-1)

    return {"loss": loss}


def _no_log_nu(nce):
    def loss(self, energy, x, state, rng):
        n, q = x.shape[-2], state.buffers
        c = state.params["energy"].get_parameter("c")
        xy = torch.cat([x, noise.sample(energy, (*x.shape[:-2], self.nu * n), q, rng)], -2)
        h = -energy(xy) - c[..., None] - noise.log_prob(xy, q)
        return softplus(-h[..., :n]).mean(-1) + self.nu * softplus(h[..., n:]).mean(-1)

    return {"loss": loss, "examples": _only(lambda v: {"nu": 5, "scale": 1.5})}


def _gradient_through_the_chain(cd):
    def loss(self, energy, x, state, rng):
        h = state.buffers["log_h"].exp()[..., None, None]
        s = score(energy, x)
        y = x + h * s + (2 * h).sqrt() * rng.normal(x.shape)
        energy.meter.transitions += x.shape[:-1].numel()
        return (energy(x) - energy(y)).mean(-1)

    return {"loss": loss, "examples": _only(lambda v: {"sampler": "ula", "h": 0.05 * v})}


def _v_statistic(ksd):
    def loss(self, energy, x, state, rng):
        n, d = x.shape[-2:]
        s = score(Energy(energy.module), x)
        diagonal = s.square().sum(-1).mean(-1) + d / state.buffers["lengths"].square().mean()
        return ((n - 1) * ksd.loss(self, energy, x, state, rng) + diagonal) / n

    return {"loss": loss, "examples": _only(lambda v: {})}


BELOW, AT, ABOVE = (f"gradient in k at {factor:g} x " for factor in (0.8, 1, 1.25))
BROKEN = (  # method, what is done to it, where it is seen, and what the message names
    ("dsm", _inverted_sign, {AT, BELOW}, "the sign is inverted: s = -grad E"),
    ("sm", _trace_over_d, {AT, BELOW}, "a factor 1/2 or 2 on one of the terms"),
    ("ssm_vr", _unit_sphere, {AT, BELOW}, "projections v without E vv' = I"),
    ("nce", _no_log_nu, {"gradient in c at its optimum", AT, ABOVE}, "is missing (log nu"),
    ("cd", _gradient_through_the_chain, {"passes", AT, BELOW}, "a gradient that flows through the chain"),
    ("ksd", _v_statistic, {AT, BELOW}, "must leave out the diagonal (a U-statistic)"),
)


@pytest.mark.parametrize(
    ("name", "breaks", "where", "fault"), BROKEN, ids=[row[1].__name__ for row in BROKEN]
)
def test_catches_a_broken_copy(name, breaks, where, fault):
    base = registry.get("method", name)
    failures = _failures(_broken(base, **breaks(base)))
    seen = {part for part in where if any(part in f.what for f in failures)}
    assert seen == where
    assert len(failures) == len(where)
    assert all(fault in f.found for f in failures if "gradient" in f.what)


@pytest.mark.parametrize(("name", "player"), [("adversarial", "flow"), ("lsd", "critic")])
def test_catches_an_opponent_that_maximises_what_it_should_minimise(name, player):
    base = registry.get("method", name)

    def loss(self, energy, x, state, rng):
        step = base.loss(self, energy, x, state, rng)
        return dataclasses.replace(step, losses={**step.losses, player: -step.losses[player]})

    (failure,) = _failures(_broken(base, loss=loss))
    assert f"gradient of {player}, energy at " in failure.what
    assert f"the sign is inverted: {player} minimises its loss" in failure.found


def test_catches_wrongly_declared_passes():
    failures = _failures(_broken(registry.get("method", "sm"), passes=lambda self, d: Passes(forward=1)))
    assert any("passes" in f.what and "declared" in f.found for f in failures)


def test_a_method_that_raises_is_a_finding_not_a_traceback():
    def loss(self, energy, x, state, rng):
        raise RuntimeError("no such luck")

    failures = _failures(_broken(registry.get("method", "dsm"), loss=loss))
    assert any("no such luck" in f.found for f in failures)


def test_relu_and_flat_densities_must_be_declined():
    failures = _failures(_broken(registry.get("method", "sm"), skip=Method.skip))
    assert any("skip() accepts" in f.found for f in failures)


def test_the_gradient_has_the_size_of_the_closed_form():
    """d/dk of E[-dk + k² |x-mu|²/2] = -d + k d v, at k = 1: 2 (1.7 - 1) = 1.4."""
    (sm,) = registry.get("method", "sm").examples(VARIANCE)
    mean, se, _ = z_score(gradients(sm, 1.0)["k"])
    assert abs(mean - 1.4) <= 4 * se
