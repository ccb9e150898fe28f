"""Seeds by precision from earlier results: the count of the formula, against the best method of a cell."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from ebmark import stats
from ebmark.commands.precision import comparisons, show, wanted
from ebmark.console import Console
from ebmark.errors import SpecError
from ebmark.headline import headline
from ebmark.record import Record
from ebmark.store import Store, Tables
from ebmark.study import load
from tests.synthetic import FEW, SMALL, filed, small


@pytest.fixture(scope="module")
def made():
    return filed(small(seeds=4, datasets=SMALL[:1], methods=FEW[:3], lattice=8))


@pytest.mark.parametrize(("text", "share"), [("10%", 0.1), ("0.25", 0.25), ("2.5%", 0.025)])
def test_a_share_is_read(text, share):
    assert wanted(text) == share


@pytest.mark.parametrize("text", ["0", "150%", "much", "-5%", "nan"])
def test_no_other_share_is(text):
    with pytest.raises(SpecError, match=f"--precision: '{text}' given; allowed: a share such as 10% or 0.1"):
        wanted(text)


def test_each_method_against_the_best_of_its_cell(made):
    tables = Tables(folder=None, trials=made.trials, curve=made.curve, env=made.env)
    rows = comparisons(headline(tables, ()), 0.05)
    assert len(rows) == 2 * 2  # two dimensions, two methods that are not the best
    last = made.curve[(made.curve["metric"] == "fisher") & (made.curve["step"] == 4000)]
    last = last.merge(made.trials[["id", "method_label", "dim", "seed"]], on="id")
    for row in rows:
        cell = last[last["dim"] == row["dim"]].pivot(index="method_label", columns="seed", values="value")
        assert row["against"] == np.log(cell).mean(axis=1).idxmin()
        ratio = (cell.loc[row["method_label"]] / cell.loc[row["against"]]).to_numpy()
        assert row["seeds"] == 4
        assert row["needed"] == stats.seeds_needed(ratio, 0.05, log=True)
        assert row["needed"] > 4
        np.testing.assert_allclose(row["ratio"], math.exp(np.log(ratio).mean()))


def test_the_plan_adds_up_what_each_method_needs(made, tmp_path, capsys):
    study = tmp_path / "x.toml"
    study.write_text(
        'name = "x"\n[budget]\nsteps = 5\n[[methods]]\nname = "nce"\n[[datasets]]\nname = "gaussian"\n'
    )
    with Store(tmp_path / "out") as store:
        records = []
        for _, row in made.trials[made.trials["lane"] == "quality"].iterrows():
            curve = made.curve[made.curve["id"] == row["id"]]
            known = [point.dropna().to_dict() for _, point in curve.iterrows()]
            env = made.env.iloc[0].dropna().to_dict()
            records.append(Record(trial=row.dropna().to_dict(), curve=known, env=env))
        store.append(records)
    show(Console(as_json=True), load(study), tmp_path / "out", 0.05)
    document = json.loads(capsys.readouterr().out)
    more = {}
    for row in document["comparisons"]:
        for label in (row["method_label"], row["against"]):
            cell = (label, row["dim"])
            more[cell] = max(more.get(cell, 0), row["needed"] - row["seeds"])
    assert document["more"] == sum(more.values())
    assert document["cpu_hours"] is None  # the study has none of these cells, so that no cost is made up
