"""The Python interface: its list of names, its examples as printed, and that it is the harness underneath."""

from __future__ import annotations

import doctest
import inspect
import io
import re
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import ebmark
from ebmark import registry
from ebmark.api import Energy, Method, Passes, Rng, method
from ebmark.bar import Bar, OneLine
from ebmark.energy_check import doubts
from ebmark.errors import EbmarkError, SpecError, StoreError
from ebmark.evaluate import points
from ebmark.execute import attempt_at
from ebmark.place import Place
from ebmark.specfile import dump, parse_toml, shipped
from ebmark.specfile import read as read_spec
from ebmark.study import load as load_study
from ebmark.trial import Budget, Trial

ROOT = Path(__file__).parent.parent
BAD = Path(__file__).parent / "data" / "misbehaving.py"
FUNCTIONS = ("run", "read", "fit", "log_z", "load")
STUDY = {
    "name": "mine",
    "budget": {"steps": 30, "batch": 32, "checkpoints": 2},
    "metrics": ["fisher"],
    "network": {"name": "mlp", "width": 8, "depth": 1},
    "methods": [{"name": "dsm"}, {"name": "cd", "k": [1, 2]}],
    "datasets": [{"name": "gaussian", "dim": 2}],
}


class Net(nn.Module):
    """A network that ebmark does not know."""

    def __init__(self, d: int = 2, heads: int = 1) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(d, 16), nn.SiLU(), nn.Linear(16, heads))
        self.heads = heads

    def forward(self, x):
        E = self.layers(x) + x.square().sum(-1, keepdim=True) / 2
        return E if self.heads > 1 else E.squeeze(-1)


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The study run once."""
    return ebmark.run(STUDY, output=tmp_path_factory.mktemp("api") / "out", runner="serial", progress=False)


# ------------------------------------------------------------------------------------------------ the front


def test_the_list_of_names_is_complete_sorted_and_importable():
    assert ebmark.__all__ == sorted(ebmark.__all__, key=lambda name: (name[0].islower(), name))
    assert set(ebmark.__all__) - {"__version__"} == set(ebmark._HOMES)
    for name in ebmark.__all__:
        assert getattr(ebmark, name) is not None
    assert {name for name in dir(ebmark) if not name.startswith("__")} == ebmark._HOMES.keys()
    with pytest.raises(AttributeError, match="no attribute 'fitt'"):
        ebmark.fitt  # noqa: B018


def test_no_module_hides_a_name_of_the_front():
    """``import ebmark.x`` anywhere would put the module in the place of the function x."""
    assert not {path.stem for path in (ROOT / "harness").iterdir()} & set(ebmark._HOMES)


def test_importing_ebmark_imports_nothing_else():
    code = "import sys; import ebmark; print(*{n.split('.')[0] for n in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {"torch", "numpy", "pandas", "pydantic", "typer", "rich", "ray"}


def examples():
    """The examples by the name whose docstring holds them."""
    texts = {name: inspect.getdoc(getattr(ebmark, name)) or "" for name in FUNCTIONS}
    parser = doctest.DocTestParser()
    return {
        name: parser.get_doctest(text, {}, name, None, 0)
        for name, text in {**texts, "__doc__": inspect.cleandoc(ebmark.__doc__)}.items()
    }


@pytest.mark.parametrize("name", [*FUNCTIONS, "__doc__"])
def test_the_example_of_a_docstring_gives_what_is_printed(name, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    example = examples()[name]
    example.globs["folder"] = tmp_path / "out"
    said = io.StringIO()
    with redirect_stdout(said):
        result = doctest.DocTestRunner(verbose=False).run(example)
    assert result.failed == 0, said.getvalue()
    assert result.attempted > 1, "every function has an example"


def test_the_code_of_the_page_runs_from_top_to_bottom(tmp_path, monkeypatch, capsys):
    page = (ROOT / "docs" / "python-api.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    namespace = {}
    for block in blocks:
        exec(compile(block, "python-api.md", "exec"), namespace)
    assert "the loss of energy is" in capsys.readouterr().out, "the run that diverges does"
    assert namespace["done"].counts == {"ok": 6}
    assert set(re.findall(r"`ebmark\.(\w+)`\]", page)) == set(FUNCTIONS)


# ---------------------------------------------------------------------------------------------- run and read


def test_a_study_of_a_dictionary_is_that_of_the_file_that_is_stored(made):
    assert made.counts == {"ok": 3}
    assert made.trained == 3
    ids = {trial.id for trial in load_study(made.folder / "spec.toml").trials()}
    assert set(made.tables.trials["id"]) == ids
    again = ebmark.run(STUDY, output=made.folder, runner="serial", progress=False)
    assert (again.trained, again.counts) == (0, {"ok": 3})


def test_frames_and_how_they_look(made):
    results = ebmark.read(made.folder)
    assert repr(results) == f"Results({str(made.folder)!r}: 3 ok)"
    assert set(results.samples["what"]) == {"grid", "model", "true"}
    assert set(results.samples["id"]) == set(results.trials["id"])
    html = results._repr_html_()
    for method_label in ("dsm", "cd[k=2]"):
        row = results.trials[results.trials["method_label"] == method_label].iloc[0]
        value = results.curve[(results.curve["id"] == row["id"]) & (results.curve["metric"] == "fisher")]
        cells = re.search(rf"<td>{re.escape(method_label)}</td>(.*?)</tr>", html, re.DOTALL)[1]
        assert f"<td>{value['value'].iloc[-1]:.3g}</td>" in cells
    assert made._repr_html_() == html


def test_progress_of_a_run_is_said_or_not(made, tmp_path, capsys):
    ebmark.run(STUDY, output=made.folder, methods=["dsm"], runner="serial")
    ebmark.run({**STUDY, "methods": [{"name": "nce"}]}, output=tmp_path / "a", runner="serial")
    assert "[1/1] ok" in capsys.readouterr().out
    ebmark.run(STUDY, output=tmp_path / "b", methods=["dsm"], runner="serial", progress=False)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("study", "options", "says"),
    [
        ("quickstrat", {}, "did you mean 'quickstart'?"),
        (
            {**STUDY, "metric": ["fisher"]},
            {},
            "the study, line 3: metric: unknown key; did you mean 'metrics'?",
        ),
        ({**STUDY, "budget": {"steps": -1}}, {}, "budget.steps: -1 given"),
        ({**STUDY, "seeds": None}, {}, "seeds: None given; allowed: a number, true or false, text"),
        (STUDY, {"runner": "rya"}, "did you mean 'ray'?"),
        (STUDY, {"rerun": "faild"}, "did you mean 'failed'?"),
        (STUDY, {"only": "zz"}, "no trial begins so"),
    ],
)
def test_a_mistake_is_one_line(study, options, says, tmp_path):
    with pytest.raises(SpecError, match=re.escape(says)) as told:
        ebmark.run(study, output=tmp_path / "x", **{"runner": "serial", "progress": False, **options})
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("name", shipped())
def test_tables_written_as_toml_are_read_as_they_were(name):
    tables = parse_toml(*read_spec(name))
    assert parse_toml("again", dump(tables)) == tables


def test_what_is_hard_to_write_as_toml():
    tables = {
        "a b": 'say "\\n"\t\x7f\x00é',
        "x": [1, 2.5, [True, "y"]],
        "empty": [],
        "t": {"u.v": {"w": 1e-300}},
    }
    tables |= {"rows": [{"a": {"b": 1}}, {}], "mixed": [1, {"a": 2}]}
    assert parse_toml("again", dump(tables)) == tables


# ------------------------------------------------------------------------------------------------------ load


def test_load_gives_the_energy_that_was_graded(made):
    """Its Fisher divergence on the trial's held-out points is the stored one."""
    from ebmark.metrics.fisher import fisher_divergence
    from ebmark.ops import score

    for _, row in made.tables.trials.iterrows():
        energy, state = ebmark.load(made.folder, row["id"][:10])
        trial = next(t for t in load_study(made.folder / "spec.toml").trials() if t.id == row["id"])
        target = registry.make(trial.dataset)
        x = points(trial, target, torch.device("cpu")).test
        with torch.no_grad():
            again = fisher_divergence(score(Energy(energy), x), target.score(x)).value
        curve = made.tables.curve
        stored = curve[(curve["id"] == row["id"]) & (curve["metric"] == "fisher")]["value"].iloc[-1]
        assert again == pytest.approx(stored, rel=1e-6)
        assert set(state.params) == set()


@pytest.mark.parametrize(
    ("name", "settings", "network"),
    [
        ("adversarial", {"flow": "affine"}, "mlp"),
        ("tre", {}, "mlp"),
        ("pcd", {"capacity": 64}, "mlp"),
        (f"{BAD}:bursts", {}, "quadratic"),
    ],
)
def test_load_gives_opponents_heads_and_buffers(name, settings, network, tmp_path):
    steps = 4
    study = {
        **STUDY,
        "budget": {"steps": steps, "batch": 32, "checkpoints": 1},
        "network": {"name": network},
        "methods": [{"name": name, **settings}],
        "pictures": False,
    }
    done = ebmark.run(study, output=tmp_path / "out", runner="serial", progress=False)
    id = done.tables.trials["id"][0]
    if name.startswith(str(BAD)):
        with pytest.raises(EbmarkError, match="not installed here; it came from a file, give that"):
            ebmark.load(tmp_path / "out", id)
    energy, state = ebmark.load(tmp_path / "out", id, plugins=[BAD])
    (trial,) = load_study(tmp_path / "out" / "spec.toml").trials()
    attempt = attempt_at(trial, Place(env={"env": "test"}))
    attempt.go()
    x = torch.randn(20, 2)
    run = attempt.training
    graded = run.method.graded(Energy(run.module), run.state)
    assert torch.equal(energy(x), graded(x))
    assert state.buffers.keys() == attempt.training.state.buffers.keys()
    for buffer, own in attempt.training.state.buffers.items():
        assert torch.equal(state.buffers[buffer], own)
    for who, module in attempt.training.state.params.items():
        for parameter, own in zip(state.params[who].parameters(), module.parameters(), strict=True):
            assert torch.equal(parameter, own)


def test_a_network_that_is_not_there_is_told_with_the_command_that_makes_it(made, tmp_path):
    id = made.tables.trials["id"][0]
    with pytest.raises(StoreError, match="no trial begins so"):
        ebmark.load(made.folder, "zz")
    study = {**STUDY, "methods": [{"name": f"{BAD}:explodes"}, {"name": "dsm"}]}
    done = ebmark.run(study, output=tmp_path / "out", runner="serial", progress=False)
    ids = dict(zip(done.tables.trials["method"], done.tables.trials["id"], strict=True))
    with pytest.raises(StoreError, match=f"the trial ended diverged; see ebmark show {ids['explodes']}"):
        ebmark.load(tmp_path / "out", ids["explodes"])
    model = tmp_path / "out" / "models" / f"{ids['dsm']}.safetensors"
    whole = model.read_bytes()
    model.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StoreError, match="not this trial's network") as told:
        ebmark.load(tmp_path / "out", ids["dsm"])
    assert "\n" not in str(told.value)
    model.write_bytes((made.folder / "models" / f"{id}.safetensors").read_bytes())
    model.unlink()
    with pytest.raises(StoreError, match=re.escape(f"ebmark run {tmp_path}/out/spec.toml")):
        ebmark.load(tmp_path / "out", ids["dsm"])


# ------------------------------------------------------------------------------------------------------- fit


def test_fit_is_the_training_of_a_trial():
    """With a trial's network and names the parameters come out bit for bit."""
    trial = Trial(
        seed=3,
        method=registry.ref("method", "pcd", k=2, capacity=128),
        dataset=registry.ref("dataset", "eight_gaussians"),
        network=registry.ref("network", "mlp", width=8, depth=1),
        budget=Budget(steps=25, batch=32),
        metrics=(registry.ref("metric", "fisher"),),
        checkpoints=3,
    )
    attempt = attempt_at(trial, Place(env={"env": "test"}))
    attempt.prepare()
    start = attempt.training.module
    fitted = ebmark.fit(
        "pcd[k=2,capacity=128]",
        start,
        "eight_gaussians",
        steps=25,
        batch=32,
        seed=3,
        metrics=["fisher"],
        checkpoints=3,
    )
    attempt.go()
    for ours, theirs in zip(fitted.network.parameters(), attempt.training.module.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    fisher = [row["value"] for row in attempt.curve if row["metric"] == "fisher"]
    assert fitted.curve["value"].tolist() == fisher
    assert fitted.passes == attempt.training.meter.passes


def test_fit_leaves_the_module_as_it_was_and_repeats(net):
    before = {name: p.clone() for name, p in net.state_dict().items()}
    x = np.random.default_rng(0).normal(size=(200, 2))
    one, other = (ebmark.fit("cd", net, x, steps=20, batch=50, seed=1) for _ in range(2))
    assert all(torch.equal(p, before[name]) for name, p in net.state_dict().items())
    for a, b in zip(one.energy.parameters(), other.energy.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(next(one.energy.parameters()), next(net.parameters()))


def test_fit_finds_a_gaussian():
    """Score matching with E = |x - mu|^2 / (2 v): the minimiser is the sample's mean and variance."""

    class Gaussian(nn.Module):
        def __init__(self):
            super().__init__()
            self.mu = nn.Parameter(torch.zeros(2, dtype=torch.float64))
            self.log_v = nn.Parameter(torch.zeros((), dtype=torch.float64))

        def forward(self, x):
            return (x - self.mu).square().sum(-1) / (2 * self.log_v.exp())

    x = torch.tensor([1.0, -2.0]) + 1.5 * Rng.of("data", dtype=torch.float64).normal((400, 2))
    fitted = ebmark.fit("sm", Gaussian(), x, steps=1500, batch=400, lr=0.03)
    assert fitted.energy.mu.tolist() == pytest.approx(x.mean(0).tolist(), abs=1e-4)
    variance = (x - x.mean(0)).square().mean()
    assert fitted.energy.log_v.exp().item() == pytest.approx(variance.item(), rel=1e-4)


def test_costs_curve_and_logs(net):
    x = Rng.of("x").normal((300, 2))
    fitted = ebmark.fit(
        "nce", net, x, steps=40, batch=64, metrics=["nll"], test=Rng.of("y").normal((100, 2)), checkpoints=3
    )
    assert fitted.passes.total == 40 * 64 * registry.make(registry.ref("method", "nce")).passes(2).total
    assert set(fitted.curve["metric"]) == {"nll", "log_z_own", "log_z_gap", "nll_gaussian"}
    assert fitted.logs.index.tolist() == sorted(set(fitted.curve["step"]) - {0})
    assert "loss" in fitted.logs
    assert fitted.state.params["energy"] is not None
    assert re.fullmatch(r"Fit\(NoiseContrastiveEstimation\(.*\): 40 steps, 1.54e\+04 F, .* s\)", repr(fitted))
    html = fitted._repr_html_()
    assert "40 steps" in html
    assert f"{fitted.curve[fitted.curve['metric'] == 'nll']['value'].iloc[-1]:.4g}" in html


def test_the_energy_of_several_heads_is_the_graded_one():
    x = Rng.of("x").normal((300, 2))
    method = registry.make(registry.ref("method", "tre"))
    fitted = ebmark.fit(method, Net(heads=method.heads(2)), x, steps=5, batch=32)
    assert fitted.network(x).shape == (300, method.heads(2))
    assert fitted.energy(x).shape == (300,)


def test_a_method_of_the_users_own_needs_no_registration(net):
    @method("shrinks", year=2026)
    class Shrinks(Method):
        weight: float = 1.0

        def loss(self, energy, x, state, rng):
            return self.weight * energy(x).square().mean(-1)

        def passes(self, d):
            return Passes(forward=1, backward=2)

    x = Rng.of("x").normal((64, 2))
    fitted = ebmark.fit(Shrinks(weight=2.0), net, x, steps=50, batch=64, lr=1e-2)
    assert fitted.energy(x).square().mean() < 0.5 * net(x).square().mean()


def test_divergence_is_raised_with_the_steps_before_it(net):
    with pytest.raises(ebmark.DivergedError, match="the loss of energy is nan at step") as told:
        ebmark.fit(f"{BAD}:bursts", net, Rng.of("x").normal((64, 2)), steps=100, batch=16)
    assert len(told.value.last) > 4
    assert np.isnan(told.value.last[-1].loss)


X = torch.zeros(10, 2) + torch.arange(10)[:, None]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("dsmm", Net(), X), "did you mean 'dsm'?"),
        (("cd[k=[1,2]]", Net(), X), "k is a list; allowed: one value"),
        ((3, Net(), X), "method: 3 given; allowed: a selector, or an instance of a method"),
        (("dsm", "net", X), "energy: str given; allowed: a torch.nn.Module"),
        (("dsm", nn.SiLU(), X), "has no parameters to train"),
        (("dsm", nn.Linear(2, 1), X), "energy: gives shape (2, 1) for points (2, 2); allowed: (2,)"),
        (("dsm", Net(3), X), "energy: fails on points of shape (2, 2)"),
        (("tre", Net(), X), "allowed: (2, "),
        (("dsm", Net(), X[:, 0]), "data: shape (10,) given; allowed: (n, d)"),
        (("dsm", Net(), "eight_gausians"), "did you mean 'eight_gaussians'?"),
        (("dsm", Net(), {"x": 1}), "data: dict given"),
        (("dsm", Net(), X / 0), "data: not every number is finite"),
        (("dsm", Net(), X, {"steps": None}), "budget: none given"),
        (("dsm", Net(), X, {"batch": 0}), "batch: 0 given"),
        (("dsm", Net(), X, {"checkpoints": 0}), "checkpoints: 0 given"),
        (("dsm", Net(), X, {"optimiser": "sgd"}), "optimiser.name: 'sgd' given"),
        (("dsm", Net(), X, {"metrics": ["nll"]}), "give test=..."),
        (("dsm", Net(), X, {"metrics": ["nl"]}), "did you mean 'nll'?"),
        (("dsm", Net(), X, {"test": X[:, :1]}), "test: d = 1, but the data have d = 2"),
        (("dsm", Net(), "eight_gaussians", {"test": X}), "held-out points of its own"),
        (("nce", Net(), X[:1]), "data: 1 x the same point given; allowed: at least 2 that differ"),
        (("sm", Net(), X[:1].expand(9, 2)), "data: 9 x the same point given"),
        (("dsm", Net(), X, {"test": X[:1], "metrics": ["nll"]}), "test: 1 x the same point given"),
        (("dsm", Net(), X.to_sparse()), "data: Tensor given; allowed: points (n, d) as a dense tensor"),
        (("dsm", Net(), X + 0j), "of real numbers"),
        (("dsm", Net().half(), X), "energy: of torch.float16; allowed: torch.float32, torch.float64"),
        (("dsm", Net().to("meta"), X), "energy: on the device meta"),
        (("dsm", nn.Sequential(nn.Dropout(0.5), Net()), X), "energy: Dropout in training mode"),
        (("dsm", nn.Sequential(nn.BatchNorm1d(2), Net()), X), "energy.eval() gives that"),
    ],
)
def test_a_mistake_in_fit_is_one_line(arguments, says):
    *given, more = arguments if isinstance(arguments[-1], dict) and len(arguments) == 4 else (*arguments, {})
    with pytest.raises(EbmarkError, match=re.escape(says)) as told:
        ebmark.fit(*given, **{"steps": 2, **more})
    assert "\n" not in str(told.value)


# ----------------------------------------------------------------------------------------------------- log_z


def test_log_z_of_a_gaussian_above_three_dimensions():
    v, d = 2.0, 6
    x = Rng.of("x").normal((2000, d)) * v**0.5
    found = ebmark.log_z(lambda x: x.square().sum(-1) / (2 * v), x.numpy(), samples=500)
    assert found.trusted
    assert abs(found.value - d / 2 * np.log(2 * np.pi * v)) < 4 * found.se < 0.2
    assert found.samples.shape == (500, d)
    assert found.samples.var(0).mean().item() == pytest.approx(v, abs=4 * v * (2 / (500 * d)) ** 0.5)


def test_log_z_says_why_not():
    found = ebmark.log_z(lambda x: x.square().sum(-1) * torch.nan, X)
    assert np.isnan(found.value)
    assert not found.trusted
    assert found.reasons
    with pytest.raises(SpecError, match="log_z: max_gradients = 10: "):
        ebmark.log_z(lambda x: x.square().sum(-1), torch.randn(50, 4), max_gradients=10)
    with pytest.raises(SpecError, match="energy: gives shape"):
        ebmark.log_z(lambda x: x, X)


def _square(x):
    return x.square().sum(-1) / 2


@pytest.mark.parametrize(
    ("energy", "data", "more", "says"),
    [
        (None, X, {}, "energy: NoneType given; allowed: a torch.nn.Module or a function"),
        (lambda x: (x.sum(-1),), X, {}, "energy: gives tuple; allowed: a tensor of floating-point numbers"),
        (lambda x: x.numpy().sum(-1), X, {}, "energy: gives ndarray"),
        (lambda x: x[..., 0] > 0, X, {}, "energy: gives torch.bool"),
        (lambda x: x[..., 7], X, {}, "energy: fails on points of shape (2, 2): index 7 is out of bounds"),
        (lambda x: x.sum(-1) + torch.rand(len(x)), X, {}, "other values for the same points"),
        (_square, X[:1], {}, "data: 1 x the same point given"),
        (_square, X, {"samples": -1}, "samples: -1 given; allowed: at least 1"),
        (_square, X, {"max_gradients": np.nan}, "max_gradients: nan given"),
        (nn.Sequential(nn.BatchNorm1d(2), Net()), X, {}, "energy: BatchNorm1d in training mode"),
    ],
)
def test_a_mistake_in_log_z_is_one_line(energy, data, more, says):
    with pytest.raises(SpecError, match=re.escape(says)) as told:
        ebmark.log_z(energy, data, **more)
    assert "\n" not in str(told.value)


def test_gradients_that_are_off_are_on_inside_or_told(net):
    x = Rng.of("x").normal((64, 2)).requires_grad_()
    with torch.no_grad():
        assert ebmark.fit("sm", net, x, steps=2).steps == 2
    with torch.inference_mode(), pytest.raises(SpecError, match="inference_mode is on"):
        ebmark.log_z(net, x)


class Flat(Net):
    """For points (n, d) alone."""

    def forward(self, x):
        return self.layers(x)[:, 0] + x.square().sum(1) / 2


def test_a_network_of_one_leading_dimension_trains_but_is_not_sampled():
    x = Rng.of("x").normal((64, 5))
    assert ebmark.fit("sm", Flat(5), x, steps=2).steps == 2
    with pytest.raises(SpecError, match="for the metric nll"):
        ebmark.fit("sm", Flat(5), x, steps=2, metrics=["nll"], test=x)


def test_a_function_of_one_leading_dimension_is_normalised_too():
    """x.sum(1) is right for points (n, d) and wrong for the sampler's (R, K, d)."""
    x = Rng.of("x", dtype=torch.float64).normal((1000, 5))
    found = ebmark.log_z(lambda x: x.square().sum(1) / 2, x, samples=1)
    assert found.trusted
    assert abs(found.value - 5 / 2 * np.log(2 * np.pi)) < 4 * found.se < 0.2


@pytest.mark.parametrize(
    ("grows", "slow"),
    [
        (lambda E: E, False),
        (lambda E: torch.minimum(E, torch.tensor(12.0)), True),  # a Gaussian on a floor of infinite mass
        (lambda E: 4.5 * torch.log1p(2 * E / 5), False),  # Student's t of 5 degrees: E ~ 9 log |x|
        (lambda E: 1.9 * torch.log1p(2 * E / 5), True),  # 3.8 log |x| is too little in four dimensions
    ],
)
def test_an_energy_that_stops_growing_is_doubted(grows, slow):
    x = Rng.of("x").normal((500, 4))
    why = list(doubts(lambda x: grows(_square(x)), x, widths=False))
    assert why == slow * ["along 64 of 64 rays the energy grows too slowly far out: Z may be infinite"]


def test_a_doubt_of_the_energy_is_one_of_its_log_z():
    x = Rng.of("x").normal((500, 4))
    found = ebmark.log_z(lambda x: _square(x).clamp(max=12), x, samples=1)
    assert found.reasons[-1].endswith("Z may be infinite")
    assert not found.trusted


@pytest.mark.parametrize(("share", "wide"), [(1.0, False), (0.1, False), (0.02, True), (0.0, True)])
def test_a_model_much_wider_than_the_data_in_one_direction_is_doubted(share, wide):
    """All runs of the sampler stop on the way to its ends and agree, at 0 seven nats below."""
    x = Rng.of("x").normal((500, 5)) * torch.tensor([1.0, 1, 1, share, 1])
    turned = x @ torch.linalg.qr(Rng.of("turn").normal((5, 5))).Q
    for data in (x, turned):
        assert any("wide" in why for why in doubts(_square, data, widths=True)) == wide


# ------------------------------------------------------------------------------------------------------- bar


def test_a_bar_says_share_and_time_left_and_clears_itself():
    now, out = [0.0], io.StringIO()
    bar = Bar("dsm", out=out, shown=True, clock=lambda: now[0])
    bar.show(0.1)
    assert out.getvalue() == "", "what is over at once needs no line"
    now[0] = 3.0
    bar.show(0.25, "30 steps")
    assert out.getvalue() == "\rdsm  #####...............   25%  30 steps  9 s left"
    length = len(out.getvalue()) - 1
    bar.close()
    assert out.getvalue().endswith("\r" + " " * length + "\r")
    quiet = io.StringIO()
    Bar("dsm", out=quiet).show(0.5)
    assert quiet.getvalue() == ""


def test_a_bar_over_items_gives_each_of_them():
    now, out = [0.0], io.StringIO()
    bar, seen = Bar("plan", out=out, shown=True, clock=lambda: now[0]), []
    for item in bar.over("abcd"):
        seen.append(item)
        now[0] += 1
    assert seen == list("abcd")
    assert "\rplan  ##########..........   50%  2 of 4  2 s left" in out.getvalue()


def test_in_a_notebook_lines_of_trials_that_are_ok_are_written_over():
    out = io.StringIO()
    line = OneLine(out)
    print("2 trials to run", file=line)
    print("[1/3] ok       cd on gaussian", file=line)
    print("[2/3] ok       nce", file=line)
    print("[3/3] diverged dsm on gaussian: the loss is nan", file=line)
    line.end()
    first, second, third = out.getvalue().split("\n")[:3]
    assert first == "\r2 trials to run"
    assert second.startswith("\r[1/3] ok       cd on gaussian\r[2/3] ok       nce           \r[3/3] diverged")
    assert third == ""
