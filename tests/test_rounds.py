"""Seeds in rounds: when they stop, what is kept of it, and that the same command goes on."""

from __future__ import annotations

import json
import tomllib

import numpy as np
import pytest

from ebmark.drive import Outcome
from ebmark.errors import SpecError
from ebmark.headline import headline
from ebmark.record import Record
from ebmark.report.frames import load as load_frames
from ebmark.report.limits import provenance
from ebmark.rounds import in_rounds, seeded
from ebmark.roundsfile import read_rounds
from ebmark.spec import TargetTable
from ebmark.specfile import with_seeds
from ebmark.store import Store, Tables, read
from ebmark.study import load
from tests.synthetic import FEW, SMALL, filed, small

SPEC = """name = "synthetic"
seeds = 3  # to begin with
[budget]
steps = 4000
[[methods]]
name = "dsm"
[[datasets]]
name = "gaussian"
[quick]
seeds = [
    0,
    1,
]
"""
MOST = 24


@pytest.fixture(scope="module")
def made():
    """Results of three methods in two cells, with more seeds than any round asks for."""
    return filed(small(seeds=MOST, datasets=SMALL[:1], methods=FEW[:3], lattice=8))


@pytest.fixture
def study(tmp_path):
    path = tmp_path / "synthetic.toml"
    path.write_text(SPEC)
    return load(path)


class Driver:
    """Stores what a study of the seeds so far would have found; ``stops`` before so many calls have ended."""

    def __init__(self, made, folder, stops=None):
        self.made, self.folder, self.stops, self.seeds = made, folder, stops, []

    def __call__(self, study):
        self.seeds.append(study.seeds)
        known = set(read(self.folder).trials["id"]) if (self.folder / "trials").is_dir() else set()
        rows = self.made.trials[
            (self.made.trials["lane"] == "quality") & self.made.trials["seed"].isin(study.seeds)
        ]
        rows = rows[~rows["id"].isin(known)]
        interrupted = len(self.seeds) == self.stops
        if interrupted:
            rows = rows[: len(rows) // 2]
        with Store(self.folder) as store:
            store.write_spec(study.text)
            store.append([self._record(row) for _, row in rows.iterrows()])
        return Outcome(folder=self.folder, trained=len(rows), counts={}, interrupted=interrupted, warnings=())

    def _record(self, row):
        curve = self.made.curve[self.made.curve["id"] == row["id"]]
        known = [point.dropna().to_dict() for _, point in curve.iterrows()]
        return Record(trial=row.dropna().to_dict(), curve=known, env=self.made.env.iloc[0].dropna().to_dict())


def run(driver, study, precision, most=MOST):
    return in_rounds(study, driver.folder, driver, precision=precision, most=most, say=lambda line: None)


def test_seeds_are_added_until_every_comparison_is_narrow(made, study, tmp_path):
    driver = Driver(made, tmp_path / "out")
    _, rounds = run(driver, study, 0.2)
    assert driver.seeds[:2] == [(0, 1, 2), (0, 1, 2, 3, 4, 5)]  # the next integers, at most twice as many
    assert rounds.looks[-1].met == rounds.looks[-1].intervals == 4
    assert rounds.looks[-1].widest <= 0.2
    assert all(look.met < look.intervals for look in rounds.looks[:-1])
    assert rounds.looks[-1].seeds < MOST
    assert rounds.reason.startswith("4 of 4 comparisons with the best within 20 %; the widest ")
    assert sum(look.alpha for look in rounds.looks) <= 0.05
    assert read_rounds(tmp_path / "out") == rounds
    reached = tomllib.loads((tmp_path / "out" / "spec.toml").read_text())["seeds"]
    assert reached == rounds.looks[-1].seeds == read(tmp_path / "out").trials["seed"].nunique()


def test_the_reason_stands_in_the_report(made, study, tmp_path):
    _, rounds = run(Driver(made, tmp_path / "out"), study, 0.02, most=6)
    assert rounds.reason.startswith("6 seeds allowed; ")
    text = " ".join(provenance(load_frames(read(tmp_path / "out"), None, "")))
    assert "looked at with 3, 6 seeds; the intervals of these looks hold with 95 % whichever was" in text
    assert f"Stopped: {rounds.reason}." in text


def test_an_interrupted_run_goes_on_and_a_finished_one_looks_no_more(made, study, tmp_path):
    whole = run(Driver(made, tmp_path / "whole"), study, 0.15)[1]
    outcome, rounds = run(Driver(made, tmp_path / "out", stops=2), study, 0.15)
    assert outcome.interrupted
    assert (len(rounds.looks), rounds.reason) == (1, "")
    assert "Not finished yet" in " ".join(provenance(load_frames(read(tmp_path / "out"), None, "")))
    assert run(Driver(made, tmp_path / "out"), study, 0.15)[1] == whole
    again = Driver(made, tmp_path / "out")
    assert run(again, study, 0.15)[1] == whole
    assert again.seeds == [tuple(range(whole.looks[-1].seeds))]


def test_more_may_be_asked_of_a_finished_run(made, study, tmp_path):
    first = run(Driver(made, tmp_path / "out"), study, 0.3, most=12)[1]
    more = run(Driver(made, tmp_path / "out"), study, 0.02, most=MOST)[1]
    assert more.looks[: len(first.looks) - 1] == first.looks[:-1]
    assert more.looks[-1].seeds == MOST
    assert more.looks[-1].alpha < first.looks[-1].alpha  # more seeds allowed are more looks planned


def test_fewer_seeds_than_it_begins_with_are_one_line(made, study, tmp_path):
    with pytest.raises(
        SpecError, match="--max-seeds: 2 given; allowed: at least 3, the seeds it begins with"
    ):
        run(Driver(made, tmp_path / "out"), study, 0.1, most=2)


def test_the_file_says_the_seeds_that_were_run(study):
    assert with_seeds(SPEC, range(7), "synthetic") == SPEC.replace("seeds = 3  # to begin with", "seeds = 7")
    quick = with_seeds(SPEC, [0, 1, 2, 5], "synthetic-quick")
    assert tomllib.loads(quick) == {**tomllib.loads(SPEC), "quick": {"seeds": [0, 1, 2, 5]}}
    for text in ('name = "a"\n[budget]\nsteps = 1\n', 'name = "a"\n[quick]\n[budget]\nsteps = 1\n'):
        assert tomllib.loads(with_seeds(text, [4], "a"))["seeds"] == [4]
        assert tomllib.loads(with_seeds(text, range(2), "a-quick")).get("quick", {}).get("seeds", 2) == 2
    assert with_seeds('name = "a"\nquick = {seeds = 1}\n', range(3), "a-quick").startswith(
        "# run with seeds = 3\n"
    )
    assert seeded(study, 2) == study


def test_a_target_is_compared_by_what_it_costs(made):
    tables = Tables(folder=None, trials=made.trials, curve=made.curve, env=made.env)
    target = TargetTable(metric="fisher", value=0.2, per_dim=True)
    found = [one for one in headline(tables, [target]) if one.what.startswith("passes")]
    assert {one.what for one in found} == {"passes to fisher/d below 0.2"}
    at = made.curve[made.curve["metric"] == "fisher"].merge(
        made.trials.loc[made.trials["lane"] == "quality", ["id", "method_label", "dim", "seed"]], on="id"
    )
    at = at[at["value"] / at["dim"] <= 0.2].groupby(["method_label", "dim", "seed"])["passes"].min().unstack()
    for one in found:
        method, _, d, _ = one.cell
        np.testing.assert_allclose(one.ratios, (at.loc[method, d] / at.loc[one.against, d]).to_numpy())


def test_the_command_adds_seeds_and_says_why_it_stopped(cli, tmp_path):
    (tmp_path / "s.toml").write_text(
        'name = "s"\nmetrics = ["fisher"]\n[budget]\nsteps = 5\nbatch = 16\ncheckpoints = 1\n'
        '[network]\nname = "quadratic"\n[[methods]]\nname = "nce"\n[[methods]]\nname = "dsm"\n'
        '[[datasets]]\nname = "gaussian"\n'
    )
    command = ("run", "s.toml", "-o", "out", "--runner", "serial", "--json", "--precision", "0.1%")
    first = cli(*command, "--max-seeds", "4")
    assert first.returncode == 0, first.stderr
    document = json.loads(first.stdout)
    assert document["trained"] == 8
    assert [look["seeds"] for look in document["rounds"]["looks"]] == [3, 4]
    assert f"stopped adding seeds: {document['rounds']['reason']}" in first.stderr
    wrong = cli("run", "s.toml", "--precision", "10%", "--only", "abc")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (1, 1)
    assert "--precision and --only: give one" in wrong.stderr
