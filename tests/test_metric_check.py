"""Every registered metric against what it declares; and the check's own power."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from ebmark import metric_check, registry
from ebmark.api import Evaluation, Metric, metric
from ebmark.floors import normalised_mean
from ebmark.metric_check import check_metric
from ebmark.metrics.nll import NegativeLogLikelihood

SLOW = ("c2st", "sliced_wasserstein")


@pytest.mark.parametrize("name", registry.names("metric"))
def test_conforms(name, monkeypatch):
    if name in SLOW:
        monkeypatch.setattr(metric_check, "REPLICATES", 16)
    findings = list(check_metric(registry.get("metric", name)))
    assert len(findings) >= 3
    assert not [f"{f.what}: {f.found}" for f in findings if not f.ok]


def broken(**members: object) -> type[Metric]:
    base = NegativeLogLikelihood
    return metric("test_broken")(type("Broken", (base,), {"__module__": __name__, **members}))


def failures(cls: type[Metric]) -> set[str]:
    """Which checks fail, but for pickling: no module holds a class that is made in a test."""
    return {f.what.partition(": ")[2] for f in check_metric(cls) if not f.ok} - {"pickles"}


def changed(**change):
    """The measure of nll with some fields of the value recomputed."""

    def measure(self, at: Evaluation):
        value = normalised_mean(at.energy(at.test).detach().double(), at.log_z())
        return replace(value, **{name: f(value) for name, f in change.items()})

    return measure


def noisy(self, at: Evaluation):
    value = NegativeLogLikelihood.measure(self, at)
    return replace(value, value=value.value + torch.randn(()).item())


@pytest.mark.parametrize(
    ("members", "seen"),
    [
        ({}, set()),
        ({"better": "higher"}, {"a worse model is worse"}),
        ({"better": "less"}, {"declared"}),
        ({"needs": ("samples", "luck")}, {"declared"}),
        ({"measure": noisy}, {"same points, same value"}),
        ({"measure": changed(se=lambda v: v.se / 2)}, {"standard error"}),
        ({"measure": changed(se=lambda v: 2 * v.se)}, {"standard error"}),
        (
            {"measure": changed(value=lambda v: v.value - 0.1)},
            {"value at N(0, 1/1)", "value at N(0.5, 1/0.7)"},
        ),
        ({"gaussian_value": lambda self, m, k, d: d * math.log(2 * math.pi)}, {"value at N(0, 1/1)"}),
        ({"measure": lambda self, at: 1 / 0}, {"values"}),
    ],
)
def test_what_is_wrong_is_seen(members, seen):
    found = failures(broken(**members))
    assert seen <= found
    assert seen or not found


def test_a_metric_without_a_standard_error_is_told_that_it_has_none():
    cls = broken(measure=changed(se=lambda v: math.nan))
    (finding,) = [f for f in check_metric(cls) if f.what.endswith("standard error")]
    assert finding.found.startswith("none is given")


def test_a_diagnostic_of_the_sampler_need_not_rank_models():
    cls = broken(ranks=False, measure=changed(value=lambda v: 1.0, se=lambda v: math.nan))
    assert "a worse model is worse" not in failures(cls)
    assert "a worse model is worse" in failures(broken(measure=changed(value=lambda v: 1.0)))
