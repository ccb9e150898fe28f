"""The cost model: planted seconds per pass come back, and every lookup takes the nearest relative."""

from __future__ import annotations

import json
import math
from datetime import datetime, timedelta

import pandas as pd
import pytest

from ebmark import registry
from ebmark.costs import aggregated, measured, shipped, sources, write_shipped
from ebmark.pilot import moments, pilot
from ebmark.predict import Costs, wall_shares
from ebmark.runners import Job
from ebmark.runners.serial import SerialRunner
from ebmark.schedule import longest_first
from ebmark.step_model import fitted
from ebmark.store import Store
from ebmark.study import load
from ebmark.trial import Budget, Trial

OVERHEAD = 1e-3  # seconds of a step
SETUP = 0.25  # seconds of a trial
PER_PASS = {"mlp": 2e-6, "quadratic": 3e-7}  # seconds at d = 1, growing as d^0.4
BATCH = 256
START = datetime(2026, 1, 1)
FAST = {"sm": 0.4}  # share of the passes that is executed
SLOW = {"cnce": 2.0}  # factor beyond the passes
METRICS = {"fisher": (0.01, 0.02), "kl": (0.0, 0.3), "nll": (0.0, 0.01)}  # early, last; kl pays for log Z


def rate(network: str, dim: int) -> float:
    return PER_PASS[network] * dim**0.4


def trial(method="dsm", dim=8, network="mlp", steps=101, lane="quality", metrics=METRICS, **args) -> Trial:
    budget = Budget(steps=steps, batch=BATCH) if lane == "quality" else Budget(seconds=0.5, batch=BATCH)
    return Trial(
        lane=lane,
        seed=0,
        method=registry.ref("method", method, **args),
        dataset=registry.ref("dataset", "gaussian", dim=dim),
        network=registry.ref("network", network),
        budget=budget,
        metrics=tuple(registry.ref("metric", name) for name in metrics),
        checkpoints=3,
    )


def step_seconds(one: Trial) -> float:
    dim = json.loads(one.dataset.args)["dim"]
    passes = registry.make(one.method).passes(dim).total * FAST.get(one.method.name, 1)
    return SLOW.get(one.method.name, 1) * (OVERHEAD + BATCH * rate(one.network.name, dim) * passes)


def tables(trials, speed=1.0):
    """Rows of both tables with the planted costs, ``speed`` times slower."""
    rows, curve = [], []
    for one in trials:
        dim, steps = json.loads(one.dataset.args)["dim"], 101
        passes = registry.make(one.method).passes(dim)
        wall = 100 * speed * step_seconds(one)
        evaluation = speed * sum(3 * early + last for early, last in METRICS.values())
        rows.append(
            {
                "id": one.id,
                "lane": one.lane,
                "method": one.method.name,
                "method_label": registry.label(one.method),
                "dataset_label": registry.label(one.dataset),
                "dim": dim,
                "network": one.network.name,
                "network_args": one.network.args,
                "batch": BATCH,
                "status": "ok",
                "attempt": 1,
                "steps": steps,
                "passes": passes.total * steps * BATCH,
                **{
                    f"passes_{kind}": getattr(passes, kind) * steps * BATCH
                    for kind in ("forward", "input_gradient", "second_order", "backward")
                },
                "executed": passes.total * steps * BATCH * FAST.get(one.method.name, 1),
                "together": 1,
                "wall": wall,
                "wall_evaluation": evaluation,
                "started": START,
                "finished": START + timedelta(seconds=wall + evaluation + speed * SETUP),
            }
        )
        for at in (0, 10, 50, 101):
            for metric, (early, last) in METRICS.items():
                seconds = last if at == 101 else early
                if seconds:
                    values = {"step": at, "metric": metric, "seconds": seconds}
                    curve.append({"id": one.id, "attempt": 1, **values})
    return pd.DataFrame(rows), pd.DataFrame(curve)


def costs(*sets, calibrated=True) -> Costs:
    made = [aggregated(f"set {i}", *tables(s)) for i, s in enumerate(sets)]
    return Costs(made, calibrated=calibrated)


METHODS = ("dsm", "ssm_vr", "nce", "sm", "cnce", "fd_ssm", "cd")
DIMS = (2, 4, 16, 64)


@pytest.fixture(scope="module")
def known() -> Costs:
    return costs([trial(m, d, n) for m in METHODS for d in DIMS for n in PER_PASS])


def whole(one: Trial) -> float:
    steps = one.budget.steps or 0
    return SETUP + steps * step_seconds(one) + sum(3 * early + last for early, last in METRICS.values())


def test_planted_overhead_and_seconds_per_pass_come_back():
    plain = [m for m in METHODS if m not in SLOW]
    rows = aggregated("", *tables([trial(m, d) for m in plain for d in DIMS])).steps
    fit = fitted(rows)
    assert fit.overhead == pytest.approx(OVERHEAD, rel=0.1)
    assert fit.rates == pytest.approx([rate("mlp", d) for d in DIMS], rel=0.05)
    assert fit.kinds == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize("network", PER_PASS)
@pytest.mark.parametrize("method", METHODS)
def test_a_measured_cell_and_a_size_between_two_are_predicted(known, method, network):
    at_4 = known.predict(trial(method, 4, network, steps=2000))
    assert at_4.basis == "measured"
    assert at_4.seconds == pytest.approx(whole(trial(method, 4, network, steps=2000)), rel=1e-3)
    between = known.predict(trial(method, 8, network, steps=2000))
    assert between.basis == "other sizes"
    assert between.seconds == pytest.approx(whole(trial(method, 8, network, steps=2000)), rel=0.05)
    assert known.predict(trial(method, 128, network)).basis == "beyond the sizes seen"


def test_an_unknown_method_costs_its_passes_and_known_settings_help_their_relatives(known):
    new = trial("pcd", 16, steps=2000)
    assert known.predict(new).basis == "kind of pass"
    assert known.predict(new).seconds == pytest.approx(whole(new), rel=0.15)
    more = trial("cnce", 16, steps=2000, eps=0.3)  # the factor of cnce holds for another noise of its
    assert known.predict(more).seconds == pytest.approx(whole(more), rel=0.1)


def test_executed_passes_are_what_costs_time(known):
    """Exact score matching runs 0.4 of its passes: as declared it would take more than twice as long."""
    one = trial("sm", 64, steps=1000)
    declared = 1000 * BATCH * registry.make(one.method).passes(64).total
    assert known.predict(one).passes == pytest.approx(declared)
    assert known.predict(one).seconds < 0.5 * declared * rate("mlp", 64)


def test_evaluation_follows_the_metrics_and_somebody_pays_for_log_z(known):
    full, fisher = known.predict(trial()), known.predict(trial(metrics=("fisher",)))
    assert full.seconds - fisher.seconds == pytest.approx(0.3 + 0.01, rel=0.01)
    nll = known.predict(trial(metrics=("nll",)))  # without kl it is nll that waits for log Z
    assert full.seconds - nll.seconds == pytest.approx(3 * 0.01 + 0.02, rel=0.01)


def test_the_cost_lane_takes_its_budget_and_a_declined_cell_nothing(known):
    assert known.predict(trial(lane="cost")).seconds == pytest.approx(0.5 + SETUP, rel=0.01)
    assert known.predict(trial("mle", 64)).seconds == 0
    slow = Trial(**{**vars(trial("sm", 64, steps=10**6)), "timeout": 7.0})
    assert known.predict(slow).seconds == 7


def test_a_later_source_is_scaled_to_the_first():
    """The second machine is three times slower; it adds sizes, and its seconds are divided by three."""
    ours = aggregated("ours", *tables([trial(m, d) for m in METHODS for d in (2, 4)]))
    theirs = aggregated("theirs", *tables([trial(m, d) for m in METHODS for d in DIMS], speed=3))
    for one in (trial("nce", 4, steps=2000), trial("nce", 64, steps=2000)):
        assert Costs([ours, theirs]).predict(one).seconds == pytest.approx(whole(one), rel=0.02)


def test_seeds_that_shared_a_program_do_not_make_others_look_cheap():
    """Five seeds at once, each charged a fifth of the half that it costs to train them so."""
    alone = tables([trial(m, d) for m in METHODS for d in (2, 4)])
    rows, curve = tables([trial(m, d) for m in METHODS for d in DIMS])
    took = rows["finished"] - rows["started"] - pd.to_timedelta(rows["wall"] / 2, unit="s")
    grouped = rows.assign(together=5, wall=rows["wall"] / 2, finished=rows["started"] + 5 * took)
    both = [aggregated("both", pd.concat([grouped, alone[0]]), pd.concat([curve, alone[1]]))]
    for one in (trial("nce", 4, steps=2000), trial("nce", 64, steps=2000)):
        assert Costs(both).predict(one).seconds == pytest.approx(whole(one), rel=0.05)
    lone = Costs([aggregated("grouped", grouped, curve)]).predict(trial("nce", 4, steps=2000))
    assert lone.seconds < 0.7 * whole(trial("nce", 4, steps=2000))


def test_the_shipped_table_is_used_and_marked_where_there_is_no_other(tmp_path):
    without = Costs.beside(tmp_path / "new")
    assert "uncalibrated" in without.source
    assert 0.1 < without.predict(trial("dsm", 8, steps=1000)).seconds < 100
    assert set(shipped().steps["network"]) >= {"mlp", "chain", "quadratic"}


def test_tables_on_disk_give_the_forecast_and_the_table_to_ship(tmp_path):
    """Own tables are read first; those of another machine are left out."""
    trials, curve = tables([trial(m, d) for m in METHODS for d in DIMS])
    for name, host in (("own", None), ("same", None), ("other", "elsewhere")):
        store_tables(tmp_path / name, trials, curve, host)
    assert [source.name for source in sources(tmp_path / "own")] == [
        str(tmp_path / "own"),
        str(tmp_path / "same"),
    ]
    found = measured(tmp_path / "own")
    assert len(found.steps) == len(METHODS) * len(DIMS)
    write_shipped([tmp_path / "own"], tmp_path / "costs.json")
    stored = json.loads((tmp_path / "costs.json").read_text())
    assert len(stored["steps"]) == len(found.steps)


def store_tables(folder, trials, curve, host):
    from ebmark.env import machine
    from ebmark.record import Record

    ours, cpu = machine()
    env = {"env": "e", "host": host or ours, "cpu": cpu, "cores": 2}
    with Store(folder) as store:
        for row in trials.to_dict("records"):
            own = curve[curve["id"] == row["id"]].to_dict("records")
            values = {**row, "schema": 1, "env": "e", "started": row["started"], "finished": row["finished"]}
            store.append([Record(trial=values, curve=tuple(own), env=env)])


def test_the_longest_are_first_and_equals_keep_their_order(known):
    trials = [trial(m, d) for d in DIMS for m in METHODS]
    expected = wall_shares(trials, known, 2)
    ordered = longest_first([Job(trial=one) for one in trials], expected)
    seconds = [expected[job.trial.id] for job in ordered]
    assert seconds == sorted(seconds, reverse=True)
    twins = [Trial(**{**vars(trial()), "seed": seed}) for seed in range(5)]
    equal = dict.fromkeys((one.id for one in twins), 1.0)
    assert [job.trial.seed for job in longest_first([Job(trial=t) for t in twins], equal)] == [0, 1, 2, 3, 4]


def test_shares_of_the_wall_clock(known):
    quality, cost = trial(), trial(lane="cost")
    shares = wall_shares([quality, cost], known, 4)
    assert shares == {
        quality.id: known.predict(quality).seconds / 4,
        cost.id: known.predict(cost).seconds,
    }


def test_a_budget_in_seconds_has_no_steps(known):
    timed = Trial(**{**vars(trial()), "budget": Budget(seconds=2.0, batch=BATCH)})
    assert math.isnan(known.predict(timed).steps)
    evaluation = sum(3 * early + last for early, last in METRICS.values())
    assert known.predict(timed).seconds == pytest.approx(2 + SETUP + evaluation, rel=1e-3)


def test_a_pilot_measures_every_cell_of_a_study_and_stores_nothing(tmp_path):
    said = []
    study = load("smoke")
    found = pilot(study, SerialRunner, said.append)
    assert set(found.steps["method"]) == {"cd", "dsm"}
    assert set(found.evaluation["metric"]) == {"fisher"}  # of one method: the other's is the same
    assert len(found.evaluation["method"].unique()) == 1
    assert said[0].startswith("pilot: 2 cells for 1 s")
    known = Costs([found])
    for one in study.trials():
        predicted = known.predict(one)
        steps = found.steps.set_index("method").loc[one.method.name, "step"] * 200
        assert predicted.basis == "measured"
        assert predicted.seconds == pytest.approx(steps, abs=60)
        assert predicted.seconds > steps
    assert not list(tmp_path.iterdir())


def test_the_cells_of_a_pilot_share_a_minute():
    cells = moments(load("methods"), 2)
    assert len({(one.method, one.dataset, one.network) for one in cells}) == len(cells)
    assert sum(one.budget.seconds for one in cells) <= 2 * 60
    with_metrics = [one for one in cells if one.metrics]
    places = {(one.dataset, one.network) for one in cells}
    assert len(with_metrics) == len(places)


def test_a_large_folder_is_sampled(tmp_path, monkeypatch):
    """Every cell costs the same as in all of its trials."""
    trials, curve = tables([trial("nce", 8)])
    many = pd.concat([trials.assign(id=str(i)) for i in range(40)])
    curves = pd.concat([curve.assign(id=str(i)) for i in range(40)])
    store_tables(tmp_path, many, curves, None)
    every = measured(tmp_path)
    monkeypatch.setattr("ebmark.costs.ENOUGH", 5)
    some = measured(tmp_path)
    pd.testing.assert_frame_equal(some.steps, every.steps)
    pd.testing.assert_frame_equal(some.evaluation, every.evaluation)


def test_a_plug_in_that_says_nothing_of_its_passes_stops_no_plan(known, tmp_path):
    path = tmp_path / "silent.py"
    path.write_text(
        "from ebmark.api import Method, method\n\n\n"
        "@method('silent', year=2026)\nclass Silent(Method):\n"
        "    def loss(self, energy, x, state, rng):\n        return energy(x).mean(-1)\n"
    )
    found = known.predict(trial(f"{path}:silent"))
    assert (found.seconds, found.basis) == (0, "unknown")
