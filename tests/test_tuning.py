"""Tuning: the same number of rates for every method, the best by the tables, and what is trained with it."""

import io
import itertools
import json
import math
from collections import Counter, defaultdict
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import torch

from ebmark import registry
from ebmark.commands import plan as plan_command
from ebmark.commands import report as report_command
from ebmark.console import Console
from ebmark.drive import drive, undecided
from ebmark.errors import EbmarkError
from ebmark.evaluate import points
from ebmark.plan import ladder
from ebmark.runners.serial import SerialRunner
from ebmark.spec import TUNE_SEED
from ebmark.store import read
from ebmark.study import load
from ebmark.tuning import candidates, choose, chooser, metric_name

PLANTED = Path(__file__).parent / "data" / "planted.py"
STEPS = 10
SPEC = f"""
name = "tuned"
seeds = 2
metrics = ["fisher"]
[budget]
steps = {STEPS}
batch = 8
checkpoints = 1
[network]
name = "quadratic"
[optimiser]
schedule = "constant"
[[methods]]
name = "{PLANTED}:walks"
[[methods]]
name = "{PLANTED}:walks_slowly"
[[datasets]]
name = "gaussian"
dim = [2, 3]
[tune]
by = "{PLANTED}:off[at=AT]"
[cost]
repeats = 1
seconds = 0.001
"""


def args(method):
    """The settings of a method of a study."""
    return json.loads(method.ref.args)


def made(folder, at=9 * 2e-3 * STEPS, text=SPEC):
    """The study with the rate ``at`` / STEPS planted as the best."""
    path = folder / "tuned.toml"
    path.write_text(text.replace("AT", str(at)))
    return load(path)


@pytest.fixture
def study(tmp_path):
    return partial(made, tmp_path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The results of an undisturbed run."""
    folder = tmp_path_factory.mktemp("whole")
    assert run(made(folder), folder / "out").exit_code == 0
    return folder / "out"


HOLDS = {"gaussian": "quadratic", "two_modes": "mixture_weights", "phi4": "chain"}


class Stops(SerialRunner):
    """Interrupted after so many records."""

    def __init__(self, after):
        super().__init__()
        self.left = after

    def run(self, jobs, *, exclusive):
        for record in super().run(jobs, exclusive=exclusive):
            if not self.left:
                raise KeyboardInterrupt
            self.left -= 1
            yield record


def run(study, folder, runner=SerialRunner, **more):
    return drive(study, folder, runner, out=io.StringIO(), **more)


def test_every_ladder_has_the_own_rate_and_equal_ratios():
    for n in range(2, 9):
        rates = ladder(n)
        assert len(rates) == n
        assert 1.0 in rates
        assert {round(b / a, 9) for a, b in itertools.pairwise(rates)} == {3.0}
    assert ladder(4) == pytest.approx((1 / 3, 1, 3, 9))


def test_every_method_tries_as_many_rates_around_its_own(study):
    tuning = [trial for trial in study().trials() if trial.lane == "tune"]
    assert len(tuning) == 2 * 2 * 4
    assert {trial.seed for trial in tuning} == {TUNE_SEED}
    rates = {
        name: sorted({t.optimiser.lr for t in tuning if t.method.name.endswith(f":{name}")})
        for name in ("walks", "walks_slowly")
    }
    assert rates["walks"] == pytest.approx([2e-3 * f for f in ladder(4)])
    assert rates["walks_slowly"] == pytest.approx([1e-4 * f for f in ladder(4)])
    assert len({trial.id for trial in tuning}) == len(tuning)
    assert {(t.checkpoints, len(t.metrics), t.pictures) for t in tuning} == {(1, 1, False)}


def test_tuning_changes_no_id_of_a_result(study):
    plain = study(text=SPEC.replace("[tune]", "[quick.tune]")).trials()
    ids = [trial.id for trial in study().trials() if trial.lane != "tune"]
    assert ids == [trial.id for trial in plain]


def test_the_planted_rate_is_found_and_trained_in_the_same_run(study, whole):
    trials = read(whole).trials
    chosen = trials[(trials["lane"] == "quality") & (trials["rate_factor"] != 1)]
    # 9 x 2e-3 is planted; the slow one comes nearest with its largest rate.
    assert set(chosen["rate_factor"]) == {9.0}
    assert len(chosen) == 2 * 2 * 2
    assert {json.loads(text)["energy"]["lr"] for text in chosen["optimiser"]} == {9 * 2e-3, 9 * 1e-4}
    assert set(chosen["seed"]) == {0, 1}
    assert run(study(), whole).trained == 0
    assert len(json.loads((whole / "plan.json").read_text())) == len(trials)


def test_where_the_own_rate_wins_nothing_is_trained_twice(study, tmp_path):
    run(study(at=2e-3 * STEPS), tmp_path / "out")
    trials = read(tmp_path / "out").trials
    by_method = trials[trials["lane"] == "quality"].groupby("method")["rate_factor"].agg(set)
    assert by_method.to_dict() == {"walks": {1.0}, "walks_slowly": {1.0, 9.0}}


@pytest.mark.parametrize("after", [17, 27])  # among the rates, and among what was chosen
def test_an_interrupted_run_ends_like_an_undisturbed_one(study, tmp_path, whole, after):
    assert run(study(), tmp_path / "out", lambda: Stops(after)).exit_code == 130
    run(study(), tmp_path / "out")
    ids = [set(read(folder).trials["id"]) for folder in (whole, tmp_path / "out")]
    assert ids[0] == ids[1]


def test_a_method_that_fails_at_every_rate_keeps_its_own(study, tmp_path):
    text = SPEC.replace(':walks_slowly"', ':walks_slowly"\nfails = true')
    assert run(study(text=text), tmp_path / "out").exit_code == 2
    trials = read(tmp_path / "out").trials
    slow = trials[trials["method"] == "walks_slowly"]
    assert set(slow.loc[slow["lane"] == "tune", "rate_factor"]) == set(ladder(4))
    assert set(slow.loc[slow["lane"] == "quality", "rate_factor"]) == {1.0}


def tried(values, factors=(1 / 3, 1.0, 3.0, 9.0), **columns):
    frame = pd.DataFrame({"rate_factor": factors, "value": values, "status": "ok"})
    return frame.assign(**columns)


@pytest.mark.parametrize(
    ("values", "factor", "note"),
    [
        ([4.0, 3.0, 2.0, 5.0], 3.0, ""),
        ([4.0, 3.0, 2.0, 1.0], 9.0, "end of the ladder"),
        ([1.0, 3.0, 1.0, 5.0], 1 / 3, "tie of 2, end of the ladder"),
        ([2.0, 2.0, 2.0, 2.0], 1.0, "tie of 4"),
        ([math.nan, 3.0, 2.0, math.nan], 3.0, "2 without a value"),
    ],
)
def test_the_smallest_value_is_chosen_and_doubts_are_said(values, factor, note):
    choice = choose(tried(values))
    assert (choice.factor, choice.note, choice.value) == (factor, note, min(v for v in values if v == v))
    assert choice.known


def test_without_any_value_the_own_rate_stands_and_why_is_said():
    nothing = [math.nan] * 4
    failed = choose(tried(nothing, status=["diverged", "diverged", "timeout", "ok"]))
    assert (failed.factor, failed.note, failed.known) == (1.0, "2 diverged, 1 not trusted, 1 timeout", False)
    assert choose(tried(nothing, status="skipped")).note == "declined"


def test_a_value_counts_at_the_end_where_it_is_trusted():
    trials = pd.DataFrame({"id": [*"abcd"], "lane": "tune", "status": ["ok", "ok", "diverged", "ok"],
                           "rate_factor": [1.0, 3.0, 9.0, 27.0]})  # fmt: skip
    curve = pd.DataFrame(
        [("a", 0, "mse", 9.0, True), ("a", 10, "mse", 2.0, True), ("b", 10, "mse", 1.0, False),
         ("c", 10, "mse", 0.5, True), ("d", 10, "nll", 7.0, True), ("d", 10, "log_z_own", 0.1, True)],
        columns=["id", "step", "metric", "value", "trusted"],
    )  # fmt: skip
    found = candidates(trials, curve, "mse").set_index("id")["value"]
    assert found.dropna().to_dict() == {"a": 2.0, "d": 7.0}
    assert choose(candidates(trials, curve, "mse")).factor == 1.0


def test_nothing_is_chosen_before_every_rate_was_tried(study, whole):
    tables = read(whole)
    for rates in study().tuning():
        for status in ("cancelled", None):
            one = tables.trials["id"] == rates[2].id
            cut = tables.trials[~one] if status is None else tables.trials.assign(
                status=tables.trials["status"].where(~one, status)
            )  # fmt: skip
            assert chooser(cut, tables.curve, "off")(rates) is None
        assert chooser(tables.trials, tables.curve, "off")(rates) == 9.0


def test_real_data_are_tuned_by_their_validation_rows(study):
    text = SPEC.replace('name = "gaussian"\ndim = [2, 3]', 'name = "diabetes"').replace(
        f'[[methods]]\nname = "{PLANTED}:walks_slowly"\n', ""
    )
    trials = [trial for rates in study(text=text).tuning() for trial in rates]
    assert {trial.metrics[0].name for trial in trials} == {"nll"}
    trial = trials[0]
    dataset = registry.make(trial.dataset)
    held_out = points(trial, dataset, torch.device("cpu")).test
    assert torch.equal(held_out, dataset.splits().val)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("by = ", 'over = "beta1"\nby = ', "tune.over: 'beta1' given; allowed: 'lr'"),
        ("by = ", "trials = 1\nby = ", "tune.trials: 1 given; allowed: greater than or equal to 2"),
        ("by = ", "trials = 9\nby = ", "tune.trials: 9 given; allowed: less than or equal to 8"),
        ("by = ", "trial = 4\nby = ", "tune.trial: unknown key; did you mean 'trials'?"),
        (":off[at=AT]", ":more", "more is better; allowed: one metric, the smaller the better"),
        (":off[at=AT]", ":off[at=[1.0,2.0]]", "several metrics; allowed: one metric"),
        (f"{PLANTED}:off[at=AT]", "log_density_msee", "did you mean 'log_density_mse'?"),
        ("schedule", "lr = [1e-3, 1e-2]\nschedule", "optimiser.lr: 2 rates given beside [tune]"),
        ("seeds = 2", f"seeds = [0, {TUNE_SEED}]", "seeds other than 1000000000, with which"),
    ],
)
def test_a_fault_is_one_line_with_its_place(study, old, new, said):
    with pytest.raises(EbmarkError) as caught:
        study(text=SPEC.replace(old, new, 1))
    assert said in str(caught.value)
    assert "line " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_plan_shows_what_is_still_to_be_chosen(study, tmp_path, whole, capsys):
    plan_command.show(Console(as_json=True), study(), tmp_path / "out")
    before = json.loads(capsys.readouterr().out)
    assert before["undecided"] == len(undecided(study(), tmp_path / "out")) == 2 * 2 * 2
    assert sum(trial["lane"] == "tune" for trial in before["trials"]) == 16
    plan_command.show(Console(as_json=True), study(), whole)
    after = json.loads(capsys.readouterr().out)
    assert (after["undecided"], after["missing"]) == (0, 0)
    assert len(after["trials"]) == len(before["trials"]) + 8


def test_a_metric_is_named_without_settings_and_file():
    assert metric_name("mine/m.py:off[at=2]") == metric_name("off") == "off"


def test_the_study_scaling_asks_the_whole_question():
    made = load("scaling")
    cd = {(args(m)["k"], args(m)["sampler"]) for m in made.methods if m.ref.name == "cd"}
    assert cd == {(k, sampler) for k in (1, 3, 10, 30, 100) for sampler in ("mala", "ula", "hmc")}
    assert len({cell.dim for cell in made.sweep}) == 12
    at = defaultdict(set)
    for cell in made.cells:
        data, network = json.loads(cell.dataset.args), json.loads(cell.network.args)
        at[cell.dataset.name, data.get("condition", data.get("m"))].add(cell.dim)
        # A network that does not hold its target would be measured in the method's place.
        assert cell.network.name == HOLDS[cell.dataset.name]
        assert network.get("m") == data.get("m")
    wanted = [("gaussian", c) for c in (1.0, 10.0, 100.0)] + [("two_modes", m) for m in (1.0, 2.0, 3.0, 4.0)]
    assert at == {key: {2, 4, 8, 16, 32, 64, 128} for key in [*wanted, ("phi4", None)]}


def test_scaling_quick_is_small_enough_and_still_claims_a_cost():
    quick = load("scaling", quick=True)
    lanes = Counter(trial.lane for trial in quick.trials())
    assert lanes["quality"] + lanes["tune"] < 600
    assert lanes["cost"] < 250
    assert len(quick.seeds) >= 3  # below, no expected cost is stated
    sizes = defaultdict(set)
    for cell in quick.cells:
        sizes[cell.dataset.name].add(cell.dim)
    assert all(len(dims) >= 3 for dims in sizes.values())  # below, no exponent is


def test_the_report_of_a_quick_run_says_what_was_tuned(tmp_path):
    quick = '\n[quick]\nseeds = 1\nmetrics = ["fisher"]\n[[quick.target]]\nmetric = "fisher"\nvalue = 1e-9\n'
    (tmp_path / "tuned.toml").write_text(SPEC.replace("AT", str(9 * 2e-3 * STEPS)) + quick)
    run(load(tmp_path / "tuned.toml", quick=True), tmp_path / "out")
    report_command.write(Console(as_json=True), tmp_path / "out", tmp_path / "report", paper=False)
    page = (tmp_path / "report" / "report.md").read_text()
    assert page.startswith("# tuned-quick\n")
    assert "Of 4 cells: in 0 the own rate was the best; in 4 the best stood at the end of the ladder" in page
    assert "| walks | 9*, 9* | 8 | 0 |" in page
    assert "Fisher divergence ≤ 1e-09 on gaussian" in page  # by the overlay alone
    assert "none is tuned for its data" not in page
