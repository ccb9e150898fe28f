"""Every registered method against the structure and mathematics that it declares; the test's own power."""

import dataclasses
import math
import re
from pathlib import Path

import pytest
import torch
from torch.nn.functional import normalize, softplus

from ebmark import gradient_test, noise, registry
from ebmark.api import Dataset, Energy, Method, Network, Passes, Rng, State, Step
from ebmark.commands.check import show
from ebmark.conformance import check
from ebmark.console import Console
from ebmark.gradient_test import VARIANCE, IsotropicGaussian, gradients, z_score
from ebmark.ops import score, score_and_curve, score_and_trace

GUIDE = Path(__file__).parent.parent / "docs" / "add-a-method.md"


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
    assert all(any(part in f.what for part in where) for f in failures)
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


def test_an_opponent_without_closed_forms_is_told():
    """Its loss is negated besides, which nothing else would see."""
    base = registry.get("method", "adversarial")

    def loss(self, energy, x, state, rng):
        step = base.loss(self, energy, x, state, rng)
        return dataclasses.replace(step, losses={**step.losses, "flow": -step.losses["flow"]})

    broken = _broken(base, loss=loss, gaussian_gradients=Method.gaussian_gradients)
    (failure,) = _failures(broken)
    assert failure.what.endswith(": gradient of flow")
    assert failure.found == "declare gaussian_gradients: it gives none for flow"


def test_catches_chains_that_do_not_move():
    """At their stationary law nothing tells y from y_k; off it, the closed form does."""
    base = registry.get("method", "pcd")

    def contrast(self, energy, x, y, state, rng):
        step, y_k = base.contrast(self, energy, x, y, state, rng)
        E_x, E_y = energy.module(torch.cat([x, y], -2)).chunk(2, -1)
        return dataclasses.replace(step, losses={"energy": E_x.mean(-1) - E_y.mean(-1)}), y_k

    example = _only(lambda v: {"k": 2, "sampler": "ula", "h": 0.05 * v, "capacity": 2048})
    (failure,) = _failures(_broken(base, contrast=contrast, examples=example))
    assert "gradient of energy, energy at " in failure.what


def test_catches_a_returned_buffer_that_mixes_two_runs():
    base = registry.get("method", "pcd")

    def loss(self, energy, x, state, rng):
        step = base.loss(self, energy, x, state, rng)
        chains = step.state.buffers["chains"]
        return dataclasses.replace(step, state=step.state.update(chains=chains.flip(0)))

    example = _only(lambda v: {"k": 2, "h": 0.1 * v, "capacity": 64})
    broken = _broken(base, loss=loss, examples=example, check_batch=32)
    assert "buffer chains differs" in [f.found for f in _failures(broken) if "leading dimensions" in f.what]


def test_catches_what_is_kept_outside_the_state():
    base = registry.get("method", "dsm")

    def loss(self, energy, x, state, rng):
        seen = getattr(self, "seen", 0)
        object.__setattr__(self, "seen", seen + 1)
        return base.loss(self, energy, x, state, rng) * (1 + 0.1 * seen)

    failures = _failures(_broken(base, loss=loss, examples=_only(lambda v: {"sigma": 0.3 * v**0.5})))
    (failure,) = [f for f in failures if f.what.endswith(": state saves and loads")]
    assert failure.found == "not the same: loss of energy; keep everything in params and buffers"


def test_catches_a_buffer_that_follows_something_outside_the_state():
    base = registry.get("method", "dsm")

    def loss(self, energy, x, state, rng):
        object.__setattr__(self, "seen", getattr(self, "seen", 0) + 1)
        loss = base.loss(self, energy, x, state, rng)
        return Step(losses={"energy": loss}, state=state.update(count=torch.tensor(self.seen)))

    failures = _failures(_broken(base, loss=loss, examples=_only(lambda v: {"sigma": 0.3 * v**0.5})))
    (failure,) = [f for f in failures if f.what.endswith(": state saves and loads")]
    assert failure.found.startswith("not the same: buffer count;")


def test_catches_wrongly_declared_passes():
    failures = _failures(_broken(registry.get("method", "sm"), passes=lambda self, d: Passes(forward=1)))
    assert any("passes" in f.what and "declared" in f.found for f in failures)


def test_the_default_settings_are_counted_too():
    """A cost that is declared right in the examples alone."""

    def passes(self, d):
        return Passes(forward=1 + self.kappa, backward=4 if self.kappa == 1 else 0)

    base = registry.get("method", "cnce")
    example = _only(lambda v: {"kappa": 1, "eps": 0.5 * v**0.5})
    (failure,) = _failures(_broken(base, passes=passes, examples=example))
    assert failure.what == "cnce at its defaults: passes"


def test_a_method_that_declines_every_dimension_says_why():
    known = registry.get("method", "mle")
    broken = _broken(known, examples=_only(lambda v: {"normaliser": "known"}))
    (failure,) = _failures(broken)
    assert failure.what.endswith(": declines every dimension")
    why = "the network network has no log Z in closed form"
    assert failure.found == f"nothing to test it on, d = 2: {why}; d = 3: {why}; d = 5: {why}"


def test_a_log_z_that_is_a_bare_tensor_is_told():
    broken = _broken(registry.get("method", "sm"), log_z=lambda *given: torch.zeros(()))
    (failure,) = _failures(broken)
    assert failure.found == "log_z gives a Tensor, expected an ebmark.api.Value or None"


def test_a_method_that_raises_is_a_finding_not_a_traceback():
    def loss(self, energy, x, state, rng):
        raise RuntimeError("no such luck")

    failures = _failures(_broken(registry.get("method", "dsm"), loss=loss))
    assert any("no such luck" in f.found for f in failures)


def test_a_state_that_is_not_given_for_the_test_is_asked_for():
    failures = _failures(_broken(registry.get("method", "nce"), at_gaussian=lambda self, mu, v, k: State()))
    said = {f.what.rpartition(": ")[2]: f.found for f in failures}
    assert {"leading dimensions", "gradient in k"} <= set(said)
    assert all("at_gaussian(mu, v, k): return from it what init gives" in found for found in said.values())


def test_relu_and_flat_densities_must_be_declined():
    failures = _failures(_broken(registry.get("method", "sm"), skip=Method.skip))
    assert any("skip() accepts" in f.found for f in failures)


class _Rough(Network):
    name = "relu network"
    smooth = False


class _Flat(Dataset):
    name = "piecewise constant density"
    smooth = False
    dim = 2


@pytest.mark.parametrize(
    ("name", "rough", "flat"),
    [
        ("sm", True, True),
        ("ssm", True, True),
        ("ssm_vr", True, True),
        ("fd_ssm", True, True),  # second derivatives in x, though it computes none
        ("ksd", False, True),
        ("lsd", False, True),
        ("vera", False, False),
        ("dsm", False, False),  # a noised density has a score
        ("cd", False, False),
    ],
)
def test_who_declines_networks_without_second_derivatives_and_densities_without_a_score(name, rough, flat):
    for method in registry.get("method", name).examples(VARIANCE):
        assert (method.skip(Dataset(), _Rough()) is not None) == rough
        assert (method.skip(_Flat(), Network()) is not None) == flat


def test_snl_without_b_is_maximum_likelihood_with_an_importance_sample():
    snl = registry.get("method", "snl")(learn_b=False, M=3, scale=1.5)
    assert math.isnan(snl.gaussian_precision(VARIANCE))
    rng = Rng.of("snl", dtype=torch.float64)
    mu = torch.tensor([0.5, -1.0], dtype=torch.float64)
    x = mu + math.sqrt(VARIANCE) * rng.split("x").normal((500, 2))
    module = IsotropicGaussian(mu, torch.tensor(0.7, dtype=torch.float64))
    energy = Energy(module)
    state = snl.init(energy, x, rng.split("init"))
    assert not state.params
    loss = snl.step(energy, x, state, rng.split("loss")).losses["energy"]
    (gradient,) = torch.autograd.grad(loss, module.k)
    y = noise.sample(energy, (1500,), state.buffers, rng.split("loss"))
    w = (-module(y) - noise.log_prob(y, state.buffers)).exp()
    torch.testing.assert_close(loss, module(x).mean() + w.mean().log())
    half = [0.5 * (z - mu).square().sum(-1) for z in (x, y)]
    torch.testing.assert_close(gradient, half[0].mean() - (w * half[1]).sum() / w.sum())
    own = snl.log_z(energy, state, rng.split("log Z"))
    assert own.value == pytest.approx(math.log(2 * math.pi / 0.7), abs=0.05)


def test_snl_without_b_is_exact_where_the_noise_is_the_model():
    snl = registry.get("method", "snl")(learn_b=False, M=1, scale=1.0)
    mu = torch.tensor([0.5, -1.0], dtype=torch.float64)
    k = torch.tensor(1 / VARIANCE, dtype=torch.float64)
    module = IsotropicGaussian(mu, k)
    rng = Rng.of("snl", "exact", dtype=torch.float64)
    x = mu + math.sqrt(VARIANCE) * rng.split("x").normal((50, 2))
    state = State(buffers=snl.at_gaussian(mu, VARIANCE, k).buffers)
    loss = snl.step(Energy(module), x, state, rng).losses["energy"]
    torch.testing.assert_close(loss, module(x).mean() + math.log(2 * math.pi * VARIANCE))


def test_the_gradient_has_the_size_of_the_closed_form():
    """d/dk of E[-dk + k² |x-mu|²/2] = -d + k d v, at k = 1: 2 (1.7 - 1) = 1.4."""
    (sm,) = registry.get("method", "sm").examples(VARIANCE)
    mean, se, _ = z_score(gradients(sm, 1.0)["k"])
    assert abs(mean - 1.4) <= 4 * se


def _guide():
    """The page, and its method."""
    page = GUIDE.read_text(encoding="utf-8")
    code, *_ = re.findall(r"^```python\n(.*?@method.*?)^```", page, re.DOTALL | re.MULTILINE)
    return page, code


def test_the_checks_printed_in_the_guide_are_those_of_the_code(tmp_path, monkeypatch, capsys):
    page, code = _guide()
    monkeypatch.chdir(tmp_path)
    Path("my_method.py").write_text(code)
    assert show(Console(), "my_method.py") == 0
    (printed,) = re.findall(
        r"^```text\n\$ ebmark check my_method.py\n(.*?)^```", page, re.DOTALL | re.MULTILINE
    )
    assert capsys.readouterr().out == printed


def test_the_failures_quoted_in_the_guide_are_those_of_the_code(tmp_path):
    """Three mistakes in its method: each gives the quoted line, letter for letter."""
    page, code = _guide()
    bias = re.search(r"    def gaussian_precision.*?\n\n", code, re.DOTALL)[0]
    mistakes = (
        (bias, ""),
        ("(curvature + self", "(curvature / 2 + self"),
        ("second_order=2 * d", "second_order=d"),
    )
    quoted = re.findall(r"^FAIL (.*)$", page, re.MULTILINE)
    for i, ((right, wrong), line) in enumerate(zip(mistakes, quoted, strict=True)):
        assert code.count(right) == 1
        (tmp_path / f"my_method_{i}.py").write_text(code.replace(right, wrong))
        found = check(registry.get("method", str(tmp_path / f"my_method_{i}.py")))
        assert line in [f"{f.what}: {f.found}" for f in found if not f.ok]


def test_a_loss_without_leading_dimensions_is_tested_one_replicate_at_a_time(monkeypatch):
    """The same streams, so the same gradients; a wrong constant is found as it is with them."""
    nce = registry.get("method", "nce")
    members = {"leading": False, "examples": _only(lambda v: {"nu": 2, "scale": 1.5})}
    single = _broken(nce, **members).examples(VARIANCE)[0]
    together = _broken(nce, examples=members["examples"]).examples(VARIANCE)[0]
    monkeypatch.setattr(gradient_test, "REPLICATES", 30)
    alone, beside = gradients(single, 1 / VARIANCE), gradients(together, 1 / VARIANCE)
    assert alone.keys() == beside.keys() == {"k", "c"}
    for name, gradient in beside.items():
        torch.testing.assert_close(alone[name], gradient, rtol=1e-9, atol=1e-11)
    (finding,) = [f for f in check(type(single)) if f.what.endswith("leading dimensions")]
    assert finding.found.startswith("declined")
