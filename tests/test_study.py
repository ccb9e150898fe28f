"""From a study file to its plan of trials."""

from __future__ import annotations

import hashlib
import itertools
import json
import subprocess
import sys
from collections import Counter
from dataclasses import FrozenInstanceError, asdict

import pytest

from ebmark import registry
from ebmark.errors import SpecError
from ebmark.selector import grid, parse
from ebmark.spec import seconds
from ebmark.study import load, shipped
from ebmark.trial import OUTSIDE_ID

SPEC = """\
name = "mine"
seeds = 2
metrics = ["fisher", "nll"]

[budget]
steps = 100
batch = 64
checkpoints = 4

[network]
name = "mlp"
width = 16

[[methods]]
name = "cd"
k = [1, 10]
sampler = ["ula", "mala"]

[[methods]]
name = "dsm"
datasets = ["gaussian"]

[[datasets]]
name = "gaussian"
dim = [2, 4]
condition = 10

[[datasets]]
name = "phi4"
dim = 2
network = "chain[width=8]"
n_train = 500

[optimiser]
lr = [1e-3, 2e-3]

[cost]
repeats = 3
seconds = 0.5
dims = [4, 8]
dataset = "gaussian[condition=10]"

[resources]
timeout = "10m"

[[target]]
metric = "fisher"
value = 0.1
per_dim = true

[quick]
seeds = 1
budget = { steps = 5 }

[quick.cost]
repeats = 1
"""


@pytest.fixture
def spec(tmp_path):
    def write(text: str = SPEC, **replaced: str):
        path = tmp_path / "mine.toml"
        for old, new in replaced.items():
            text = text.replace(old, new)
        path.write_text(text)
        return path

    return write


def args(ref) -> dict:
    return json.loads(ref.args)


def test_the_plan_is_the_product_of_its_axes(spec):
    study = load(spec())
    quality = [t for t in study.trials() if t.lane == "quality"]
    # 2 seeds x (4 settings of cd on 3 data sets + dsm on 2) x 2 rates
    assert len(quality) == 2 * (4 * 3 + 2) * 2
    assert Counter(t.method.name for t in quality) == {"cd": 48, "dsm": 8}
    assert {t.dataset.name for t in quality if t.method.name == "dsm"} == {"gaussian"}
    assert {t.optimiser.lr for t in quality} == {1e-3, 2e-3}
    assert {(t.budget.steps, t.budget.batch, t.checkpoints, t.timeout) for t in quality} == {
        (100, 64, 4, 600.0)
    }
    assert {tuple(m.name for m in t.metrics) for t in quality} == {("fisher", "nll")}
    assert {t.study for t in quality} == {"mine"}


def test_the_plan_varies_seed_then_data_set_then_method(spec):
    quality = [t for t in load(spec()).trials() if t.lane == "quality"]
    assert [t.seed for t in quality] == sorted(t.seed for t in quality)
    first = [t for t in quality if t.seed == 0]
    blocks = [key for key, _ in itertools.groupby((t.dataset, t.network) for t in first)]
    assert len(blocks) == len(set(blocks)) == 3
    assert [t.method.name for t in first[:10]] == ["cd"] * 8 + ["dsm"] * 2
    assert load(spec()).trials() == load(spec()).trials()


def test_a_data_set_may_bring_its_network_and_training_set(spec):
    trials = [t for t in load(spec()).trials() if t.lane == "quality"]
    phi4 = [t for t in trials if t.dataset.name == "phi4"]
    assert {(t.network.name, args(t.network)["width"], t.n_train) for t in phi4} == {("chain", 8, 500)}
    rest = [t for t in trials if t.dataset.name != "phi4"]
    assert {(t.network.name, args(t.network)["width"], t.n_train) for t in rest} == {("mlp", 16, None)}


def test_pictures_are_kept_once_in_two_dimensions(spec):
    trials = load(spec()).trials()
    assert {(t.seed, args(t.dataset)["dim"], t.lane) for t in trials if t.pictures} == {(0, 2, "quality")}
    assert not any(
        t.pictures for t in load(spec(SPEC.replace("seeds = 2", "seeds = 2\npictures = false"))).trials()
    )


def test_the_cost_lane_measures_each_cell_and_the_sweep_once_per_repeat(spec):
    cost = [t for t in load(spec()).trials() if t.lane == "cost"]
    # cd (4 settings): gaussian 2, 4, 8 and phi4 2; dsm: gaussian 2, 4, 8. Gaussian 4 is in both lists.
    assert len(cost) == 3 * (4 * 4 + 3)
    assert len({t.id for t in cost}) == len(cost)
    assert [t.repeat for t in cost] == sorted(t.repeat for t in cost)
    assert {(t.budget.seconds, t.budget.steps, t.budget.batch, t.seed) for t in cost} == {(0.5, None, 64, 0)}
    assert {t.metrics for t in cost} == {()}
    assert {t.optimiser.lr for t in cost} == {1e-3}
    swept = [
        t
        for t in load(spec(SPEC.replace("repeats = 3", "repeats = 3\ncells = false"))).trials()
        if t.lane == "cost"
    ]
    assert len(swept) == 3 * 5 * 2
    assert {args(t.dataset)["dim"] for t in swept} == {4, 8}


def test_a_study_may_have_the_cost_sweep_only(spec):
    text = (
        'name = "c"\nbudget.steps = 1\nmethods = [{ name = "dsm" }]\ncost = { dims = [2, 4], repeats = 1 }\n'
    )
    assert [(t.lane, t.network.name) for t in load(spec(text)).trials()] == [("cost", "mlp")] * 2


def test_equal_cells_are_run_once(spec):
    twice = SPEC.replace('name = "dsm"', 'name = "cd"\nk = 10\nsampler = "ula"\n\n[[methods]]\nname = "dsm"')
    assert load(spec(twice)).trials() == load(spec()).trials()


def test_ids_do_not_depend_on_name_metrics_checkpoints_or_time_limit(spec):
    other = (
        SPEC.replace("mine", "other")
        .replace('["fisher", "nll"]', '["fisher"]')
        .replace("checkpoints = 4", "")
    )
    ids = [t.id for t in load(spec(other.replace("10m", "20m"))).trials()]
    assert ids == [t.id for t in load(spec()).trials()]


def test_costly_checkpoints_and_their_cap(spec):
    assert {(t.costly, t.max_gradients) for t in load(spec()).trials()} == {(1, 1_500_000)}
    text = SPEC.replace("checkpoints = 4", "checkpoints = 4\ncostly = 2\nmax_gradients = 1e6")
    study = load(spec(text))
    quality = [t for t in study.trials() if t.lane == "quality"]
    assert {(t.costly, t.max_gradients) for t in quality} == {(2, 1e6)}
    assert [t.id for t in study.trials()] == [t.id for t in load(spec()).trials()]


def test_seeds_may_be_listed(spec):
    study = load(spec(SPEC.replace("seeds = 2", "seeds = [7, 3]")))
    assert study.seeds == (7, 3)
    assert {t.seed for t in study.trials() if t.pictures} == {7}


def test_quick_overlays_its_table(spec):
    study = load(spec(), quick=True)
    assert (study.name, study.seeds, study.budget.steps, study.budget.batch) == ("mine-quick", (0,), 5, 64)
    assert study.cost is not None
    assert (study.cost.repeats, study.cost.seconds) == (1, 0.5)
    assert study.text == SPEC


def test_options_replace_the_file(spec):
    study = load(
        spec(),
        methods=["cd[k=[2,3]]", "sm"],
        datasets=["phi4[dim=2,network=chain,n_train=50]"],
        seeds=1,
        steps=9,
        timeout="90s",
    )
    quality = [t for t in study.trials() if t.lane == "quality"]
    assert [(t.method.name, args(t.method).get("k")) for t in quality[::2]] == [
        ("cd", 2),
        ("cd", 3),
        ("sm", None),
    ]
    assert {(t.dataset.name, t.network.name, t.n_train) for t in quality} == {("phi4", "chain", 50)}
    assert (study.seeds, study.budget.steps, study.budget.batch, study.timeout) == ((0,), 9, 64, 90.0)


def test_steps_replace_every_other_limit(spec):
    study = load(spec(SPEC.replace("steps = 100", "passes = 1e6\nseconds = 3")), steps=7)
    assert (study.budget.steps, study.budget.passes, study.budget.seconds) == (7, None, None)


def test_a_method_restricted_to_a_data_set_that_is_not_run_now_has_no_trials(spec):
    trials = load(spec(), datasets=["phi4"]).trials()
    assert {t.method.name for t in trials if t.lane == "quality"} == {"cd"}


def test_defaults(spec):
    text = 'name = "d"\nbudget.steps = 1\n[[methods]]\nname = "dsm"\n[[datasets]]\nname = "gaussian"\n'
    study = load(spec(text))
    (trial,) = study.trials()
    assert [m.name for m in study.metrics] == ["fisher", "kl", "nll"]
    assert (trial.network, trial.optimiser.lr) == (registry.ref("network", "mlp"), None)
    assert (study.seeds, study.gpus, study.timeout, study.cost, study.targets) == (
        (0,),
        0.0,
        1800.0,
        None,
        (),
    )


def test_a_study_is_immutable_and_hashable_where_it_travels(spec):
    study = load(spec())
    with pytest.raises(FrozenInstanceError):
        study.name = "x"  # type: ignore[misc]
    assert len(set(study.trials())) == len(study.trials())


@pytest.mark.parametrize("name", shipped())
def test_shipped_studies_load_and_their_quick_form_is_smaller(name):
    study, quick = load(name), load(name, quick=True)
    assert study.name == name
    assert 0 < len(quick.trials()) <= len(study.trials())


def test_an_unknown_study_comes_with_the_nearest_shipped_one():
    with pytest.raises(SpecError, match=r"^'smok': unknown study, and no path .*; did you mean 'smoke'\?"):
        load("smok")


def test_loading_imports_nothing_heavy():
    code = (
        "import sys; from ebmark.study import load; load('smoke')\n"
        "print([m for m in ('ray', 'pandas', 'sklearn', 'seaborn', 'scipy') if m in sys.modules])\n"
        "import time; start = time.perf_counter(); load('smoke'); print(time.perf_counter() - start)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy, again = done.stdout.splitlines()
    assert heavy == "[]"
    assert float(again) < 0.5


def test_the_file_alone_is_read_without_torch():
    code = "import sys, ebmark.spec, ebmark.specfile, ebmark.plan; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


# -------------------------------------------------------------------------------------------------- selectors


@pytest.mark.parametrize(
    ("text", "name", "settings"),
    [
        ("cd", "cd", {}),
        (" cd ", "cd", {}),
        ("cd[k=10]", "cd", {"k": 10}),
        ("cd[k=[1,10],sampler=ula]", "cd", {"k": [1, 10], "sampler": "ula"}),
        ("cd[ k = [ 1 , 10 ] ]", "cd", {"k": [1, 10]}),
        ("x[a=-1.5e-3,b=.5,c=2.,d=+3,e=1e3]", "x", {"a": -0.0015, "b": 0.5, "c": 2.0, "d": 3, "e": 1000.0}),
        ("x[a=true,b=false,c=truer]", "x", {"a": True, "b": False, "c": "truer"}),
        ("""x[a="b c",d='e,]']""", "x", {"a": "b c", "d": "e,]"}),
        ("x[a=[]]", "x", {"a": []}),
        ("x[a=[[1,2],[3]]]", "x", {"a": [[1, 2], [3]]}),
        ("path/my.py:name[k=3]", "path/my.py:name", {"k": 3}),
    ],
)
def test_selectors(text, name, settings):
    found = parse(text)
    assert found == (name, settings)
    assert {k: type(v) for k, v in found[1].items()} == {k: type(v) for k, v in settings.items()}


@pytest.mark.parametrize(
    ("text", "position", "given"),
    [
        ("cd[", 4, "the end"),
        ("cd[]", 4, "']'"),
        ("cd[k", 5, "the end"),
        ("cd[k=", 6, "the end"),
        ("cd[k=1", 7, "the end"),
        ("cd[k=1,]", 8, "']'"),
        ("cd[k=[1,]]", 9, "']'"),
        ("cd[k=[1 2]]", 9, "'2'"),
        ("cd[k=[[[1]]]]", 8, "'['"),
        ("cd[k=1]x", 8, "'x'"),
        ("cd[k=1]]", 8, "']'"),
        ("cd[k=1,k=2]", 8, "'k'"),
        ("cd[name=dsm]", 4, "'name'"),
        ("cd[k=1x]", 6, "'1'"),
        ("cd[k=?]", 6, "'?'"),
        ("cd[3=1]", 4, "'3'"),
        ('cd[k="a]', 6, "'\"'"),
    ],
)
def test_a_selector_that_does_not_fit_says_where(text, position, given):
    with pytest.raises(SpecError) as caught:
        parse(text)
    assert str(caught.value).startswith(f"selector {text!r}: position {position}: {given} given; allowed: ")


def test_a_selector_needs_a_name():
    for text in ("", "[k=1]", "  [k=1]"):
        with pytest.raises(SpecError, match="no name"):
            parse(text)


def test_the_grid_varies_its_last_setting_fastest():
    points = grid("x", {"a": [1, 2], "b": 3, "c": ["u", "v"]})
    assert [(p["a"], p["b"], p["c"]) for p in points] == [(1, 3, "u"), (1, 3, "v"), (2, 3, "u"), (2, 3, "v")]
    assert grid("x", {}) == [{}]


@pytest.mark.parametrize(
    ("given", "value"),
    [("90s", 90), ("10m", 600), ("1.5h", 5400), ("7", 7), (7, 7), (0.5, 0.5), (" 2 m ", 120)],
)
def test_durations(given, value):
    assert seconds(given) == value


@pytest.mark.parametrize(
    "given", ["", "m", "-1s", "0", 0, -3, True, None, [1], "1d", "nan", float("inf"), "1m30s"]
)
def test_durations_that_are_none(given):
    with pytest.raises(ValueError, match="a positive time"):
        seconds(given)


def test_a_data_set_or_a_method_may_have_a_budget_of_its_own(tmp_path):
    """The data set's goes first, then the method's, then the study's; the batch is the study's."""
    text = """
name = "own"
[budget]
steps = 100
batch = 64
[[methods]]
name = "dsm"
[[methods]]
name = "nce"
budget = { steps = 7 }
[[datasets]]
name = "gaussian"
[[datasets]]
name = "phi4"
budget = { passes = 1e4 }
"""
    path = tmp_path / "own.toml"
    path.write_text(text)
    budgets = {(t.method.name, t.dataset.name): t.budget for t in load(path).trials()}
    assert {key: (b.steps, b.passes, b.batch) for key, b in budgets.items()} == {
        ("dsm", "gaussian"): (100, None, 64),
        ("nce", "gaussian"): (7, None, 64),
        ("dsm", "phi4"): (None, 1e4, 64),
        ("nce", "phi4"): (None, 1e4, 64),
    }
    assert {t.budget.steps for t in load(path, steps=3).trials()} == {3}
    path.write_text(text.replace("budget = { steps", "budget = { stepz"))
    with pytest.raises(SpecError, match=r"own.toml.*methods\[1\].budget.stepz: unknown key.*steps"):
        load(path)


def test_a_method_may_have_a_rate_of_its_own(tmp_path):
    """It replaces the study's, a grid too; a ladder is around it; an option with the method keeps it."""
    text = """
name = "own"
budget.steps = 9
[[methods]]
name = "dsm"
[[methods]]
name = "lsd"
lr = 3e-3
[[datasets]]
name = "gaussian"
[optimiser]
lr = [1e-2, 2e-2]
"""
    path = tmp_path / "own.toml"
    path.write_text(text)
    rates = {(t.method.name, t.optimiser.lr) for t in load(path).trials()}
    assert rates == {("dsm", 1e-2), ("dsm", 2e-2), ("lsd", 3e-3)}
    (only,) = load(path, methods=["lsd[lam=1]"]).trials()
    assert only.optimiser.lr == 3e-3
    path.write_text(text.replace("[1e-2, 2e-2]", '1e-2\n[tune]\ntrials = 2\nby = "kl"'))
    tried = {(t.method.name, round(t.optimiser.lr / t.factor, 9)) for t in load(path).trials()}
    assert tried == {("dsm", 1e-2), ("lsd", 3e-3)}
    path.write_text(text.replace("3e-3", "0"))
    with pytest.raises(SpecError, match=r"own.toml.*methods\[1\].lr: 0 given; allowed: .*0"):
        load(path)


def test_an_id_is_the_hash_of_the_canonical_fields(spec):
    """The parts of the text are made once and shared; the whole is what earlier results were named by."""
    for trial in load(spec()).trials():
        inside = {name: value for name, value in asdict(trial).items() if name not in OUTSIDE_ID}
        inside["dataset"]["args"] = trial.dataset.content
        text = json.dumps(inside, sort_keys=True, separators=(",", ":"))
        assert trial.id == hashlib.sha256(text.encode()).hexdigest()[:16]
