"""Two results folders against each other: planted changes are found, and nothing else is claimed."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from ebmark.commands.compare import show
from ebmark.comparison import compare
from ebmark.console import Console
from ebmark.errors import StoreError
from ebmark.record import Record
from ebmark.store import Store, Tables
from tests.synthetic import FEW, SMALL, filed, small

SEEDS = 8


def tables(**more):
    made = small(**{"seeds": SEEDS, "datasets": SMALL[:1], "methods": FEW[:2], "lattice": 8, **more})
    return Tables(folder=None, trials=made.trials, curve=made.curve, env=made.env)


def changed(before, metric, change):
    """The same results with another final value of a metric."""
    curve = before.curve.copy()
    curve["value"] = curve["value"].where(curve["metric"] != metric, change(curve["value"]))
    return replace(before, curve=curve)


def over_all(rows, what):
    return {row["method_label"]: row for row in rows if row["dim"] is None and row["what"] == what}


def by_cell(rows, what):
    return {(row["method_label"], row["dim"]): row for row in rows if row["dim"] and row["what"] == what}


@pytest.fixture(scope="module")
def before():
    return tables()


def test_nothing_has_changed_in_the_same_results(before):
    rows = compare(before, before)
    assert {(row["mark"], row["note"]) for row in rows} <= {("~", "identical")}
    assert {row["what"] for row in rows} == {
        "fisher",
        "kl",
        "nll",
        "mmd",
        "sliced_wasserstein",
        "step_seconds",
    }
    assert all(row["difference"] == (1.0 if row["ratio"] else 0.0) for row in rows)


def test_a_planted_ratio_is_found_in_its_quantity_alone(before):
    rows = compare(before, changed(before, "fisher", lambda x: 0.9 * x))
    found = over_all(rows, "fisher")
    assert {row["mark"] for row in found.values()} == {"+"}
    for row in found.values():
        np.testing.assert_allclose([row["difference"], row["lo"], row["hi"]], 0.9, rtol=1e-9)
        assert (row["effect"], row["better"], row["pairs"]) == (-1, 1, SEEDS * 2)
    assert {row["mark"] for row in rows if row["what"] != "fisher"} == {"~"}


def test_a_cell_is_scipys_test_with_holm(before):
    rng = np.random.default_rng(0)
    noise = np.exp(rng.normal(0.05, 0.1, len(before.curve)))
    rows = by_cell(compare(before, changed(before, "fisher", lambda x: noise * x)), "fisher")
    p = {}
    for (label, dim), _ in rows.items():
        trials = before.trials
        ids = trials[
            (trials["method_label"] == label) & (trials["dim"] == dim) & (trials["lane"] == "quality")
        ]["id"]
        last = before.curve[before.curve["id"].isin(ids) & (before.curve["metric"] == "fisher")]
        last = last[last["step"] == last["step"].max()]
        p[label, dim] = stats.wilcoxon(np.log(noise[last.index.to_numpy()])).pvalue
    order = sorted(p, key=p.get)
    adjusted = np.minimum(np.maximum.accumulate([p[key] * (len(p) - i) for i, key in enumerate(order)]), 1)
    np.testing.assert_allclose([rows[key]["p"] for key in order], adjusted)


def test_more_is_better_where_the_metric_says_so(before):
    def as_coverage(x):
        return replace(x, curve=x.curve.assign(metric=x.curve["metric"].replace({"mmd": "coverage"})))

    up = compare(as_coverage(before), as_coverage(changed(before, "mmd", lambda x: x + 0.01)))
    down = compare(before, changed(before, "mmd", lambda x: x + 0.01))
    for rows, what, mark in ((up, "coverage", "+"), (down, "mmd", "-")):
        for row in over_all(rows, what).values():
            assert row["mark"] == mark
            np.testing.assert_allclose([row["difference"], row["lo"], row["hi"]], 0.01, rtol=1e-6)


def test_three_seeds_are_too_few_for_a_mark():
    few = tables(seeds=3)
    rows = by_cell(compare(few, changed(few, "fisher", lambda x: 0.5 * x)), "fisher")
    assert {(row["mark"], row["note"]) for row in rows.values()} == {("!", "too few seeds: 3, 6 needed")}


def test_failures_are_worse_than_every_run_and_are_told(before):
    trials = before.trials.copy()
    lost = (trials["lane"] == "quality") & (trials["method_label"] == "sm") & (trials["dim"] == 8)
    lost |= (trials["lane"] == "quality") & (trials["method_label"] == "cd[k=1]") & (trials["dim"] == 8)
    trials.loc[lost, "status"] = "diverged"
    rows = by_cell(compare(before, replace(before, trials=trials)), "fisher")
    cell = rows["cd[k=1]", 8]
    assert cell["mark"] == "-"
    assert cell["note"] == f"failed: 0 in A, {SEEDS} in B"
    assert (cell["effect"], np.isnan(cell["difference"])) == (1, True)
    assert rows["cd[k=1]", 2]["note"] == "identical"


def test_values_that_are_not_trusted_are_left_out(before):
    curve = before.curve.copy()
    curve["trusted"] = curve["trusted"].where(curve["metric"] != "kl", False)
    assert not [row for row in compare(before, replace(before, curve=curve)) if row["what"] == "kl"]


def test_speed_of_another_machine_is_not_compared(before):
    other = replace(before, env=before.env.assign(host="another"))
    rows = [row for row in compare(before, other) if row["what"] == "step_seconds"]
    assert {(row["mark"], row["note"]) for row in rows} == {("!", "measured on different machines")}


def stored(folder, made):
    """The cost lane as a run would write it."""
    trials = filed(made).trials
    rows = trials[trials["lane"] == "cost"]
    known = [row.dropna().to_dict() for _, row in rows.iterrows()]
    env = made.env.iloc[0].dropna().to_dict()
    with Store(folder) as store:
        store.append([Record(trial=trial, env=env) for trial in known])


def test_the_command_prints_the_rows_and_one_json_document(tmp_path, capsys):
    made = tables()
    quick = made.trials.assign(step_seconds=0.5 * made.trials["step_seconds"])
    stored(tmp_path / "a", made)
    stored(tmp_path / "b", replace(made, trials=quick))
    show(Console(), tmp_path / "a", tmp_path / "b")
    assert "x 0.5 [0.5, 0.5]" in capsys.readouterr().out
    show(Console(as_json=True), tmp_path / "a", tmp_path / "b")
    document = json.loads(capsys.readouterr().out)
    assert {row["what"] for row in document["rows"]} == {"step_seconds"}
    assert sum(document["marks"].values()) == len(document["rows"])


def test_what_would_tell_more_is_said(tmp_path, capsys):
    few = filed(tables(seeds=3))
    for name in ("a", "b"):
        rows = few.trials[few.trials["lane"] == "quality"]
        env = few.env.assign(host=name).iloc[0].dropna().to_dict()
        with Store(tmp_path / name) as store:
            for _, row in rows.iterrows():
                points = few.curve[few.curve["id"] == row["id"]]
                curve = [point.dropna().to_dict() for _, point in points.iterrows()]
                factor = 1.0 if name == "a" else 1.5
                curve = [{**point, "value": factor * point["value"]} for point in curve]
                store.append([Record(trial=row.dropna().to_dict(), curve=curve, env=env)])
    show(Console(as_json=True), tmp_path / "a", tmp_path / "b")
    told = capsys.readouterr()
    (hint,) = json.loads(told.out)["hints"]
    each = [f"ebmark run {tmp_path / name}/spec.toml -o {tmp_path / name} --seeds 6" for name in ("a", "b")]
    assert hint.startswith(" && ".join(each))
    assert f"next: {hint}" in told.err


def test_nothing_in_common_is_told_in_one_line(tmp_path):
    stored(tmp_path / "a", tables())
    stored(tmp_path / "b", tables(methods=FEW[3:]))
    with pytest.raises(StoreError, match="share no trial of one method") as told:
        show(Console(), tmp_path / "a", tmp_path / "b")
    assert "\n" not in str(told.value)
