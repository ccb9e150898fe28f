"""Every registered method against the structure and mathematics that it declares; the test's own power."""

import dataclasses
import math

import pytest
import torch

from ebmark import registry
from ebmark.api import Method, Passes
from ebmark.conformance import check
from ebmark.gradient_test import VARIANCE, gradients, z_score
from ebmark.ops import score, score_and_trace


@pytest.mark.parametrize("name", registry.names("method"))
def test_conforms(name):
    findings = list(check(registry.get("method", name)))
    assert len(findings) >= 10
    assert not [f"{f.what}: {f.found}" for f in findings if not f.ok]


def _failures(cls):
    return [f for f in check(cls) if not f.ok]


def _broken(base, **members):
    """A copy of a method with some members replaced."""
    return dataclasses.dataclass(frozen=True, kw_only=True)(type(base.__name__, (base,), members))


def test_catches_an_inverted_sign():
    dsm = registry.get("method", "dsm")

    def loss(self, energy, x, state, rng):
        eps = rng.normal(x.shape)
        s = score(energy, x + self.sigma * eps)
        return 0.5 * (-self.sigma * s + eps).square().sum(-1).mean(-1)

    failures = _failures(_broken(dsm, loss=loss))
    assert any("gradient in k" in f.what for f in failures)


def test_catches_the_trace_divided_by_d():
    sm = registry.get("method", "sm")

    def loss(self, energy, x, state, rng):
        s, trace = score_and_trace(energy, x)
        return (trace / x.shape[-1] + 0.5 * s.square().sum(-1)).mean(-1)

    assert any("gradient in k at 1 x" in f.what for f in _failures(_broken(sm, loss=loss)))


def test_catches_a_missing_log_nu():
    nce = registry.get("method", "nce")

    def loss(self, energy, x, state, rng):
        # Shifting c by log nu is the same as leaving log nu out of h.
        module = state.params["energy"]
        with torch.no_grad():
            module.c += -math.log(self.nu)
        return nce.loss(self, energy, x, state, rng)

    failures = _failures(_broken(nce, loss=loss))
    assert any("gradient in c" in f.what and "normaliser" in f.found for f in failures)


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


def test_contrastive_divergence_gradient_ratio():
    """CD-K with ULA: [1 - (1 - hk)^(2K)] times the gradient at K = infinity, for data N(mu, v I).

    At K = infinity: d/dk of (E_d - E_model) k|x-mu|²/2 is d/2 (v - 1/(k (1 - hk/2))).
    """
    h, k, d = 0.2, 0.9, 2
    limit = 0.5 * d * (VARIANCE - 1 / (k * (1 - h * k / 2)))
    for K in (1, 3, 10):
        cd = registry.get("method", "cd")(k=K, sampler="ula", h=h)
        mean, se, _ = z_score(gradients(cd, k)["k"])
        assert abs(mean - (1 - (1 - h * k) ** (2 * K)) * limit) <= 4 * se
