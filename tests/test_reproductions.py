"""Reproductions: what agrees with a paper, what the pages say of a run, each study in its smallest cell."""

from __future__ import annotations

import math
import shutil
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ebmark import study
from ebmark.execute import Place, execute
from ebmark.marked import marks
from ebmark.reproduced import Run, number, ratio
from ebmark.reproductions import agrees, compared, limits, main, pages, verdict
from ebmark.stats.intervals import Interval
from ebmark.trial import Budget

ROOT = Path(__file__).parent.parent
PAGES, RESULTS = ROOT / "docs" / "reproductions", ROOT / "results" / "reproductions"
PAPER = tomllib.loads((PAGES / "paper.toml").read_text(encoding="utf-8"))


def interval(centre: float, lo: float = math.nan, hi: float = math.nan) -> Interval:
    return Interval(centre=np.array(centre), lo=np.array(lo), hi=np.array(hi))


# --------------------------------------------------------------------------------------------------- verdicts


@pytest.mark.parametrize(
    ("paper", "low", "high"),
    [("0.2687", 0.26865, 0.26875), ("1.82e-2", 1.815e-2, 1.825e-2), ("2489", 2488.5, 2489.5)],
)
def test_a_printed_value_stands_for_the_numbers_that_round_to_it(paper, low, high):
    assert limits({"paper": paper}) == pytest.approx((low, high))
    assert limits({"paper": paper, "low": 0.0, "high": 1.0}) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("ours", "said"),
    [
        (interval(0.2, 0.1, 0.3), "lower"),
        (interval(0.44, 0.43, 0.445), "yes"),
        (interval(0.41, 0.40, 0.42), "lower"),
        (interval(0.72, 0.715, 0.73), "yes"),
        (interval(0.75, 0.74, 0.76), "higher"),
        (interval(0.2, 0.1, 0.46), "yes"),
        (interval(0.9, 0.69, 1.1), "yes"),
        (interval(0.9, 0.71, 1.1), "higher"),
        (interval(0.5), "yes"),
        (interval(0.8), "higher"),
        (interval(math.nan), "no value"),
    ],
)
def test_a_value_agrees_where_its_interval_meets_the_papers(ours, said):
    assert agrees(ours, {"paper": "0.45 to 0.7", "low": 0.45, "high": 0.7}) == said


def test_a_verdict_counts_what_agrees():
    assert verdict(["yes", "yes"]) == "**reproduced**: 2 of 2 values"
    assert verdict(["yes", "lower", "no value"]) == "**partly**: 1 of 3 values"
    assert verdict(["higher"]) == "**not reproduced**: 0 of 1 values"


def test_numbers_have_three_digits_and_an_interval_where_there_is_one():
    assert number(interval(0.12345, 0.1, 0.2)) == "0.123 [0.1, 0.2]"
    assert number(interval(0.12345)) == "0.123"
    assert number(interval(math.nan)) == "no value"


def test_a_ratio_on_pairs_has_the_means_ratio_and_the_error_that_pairing_leaves():
    rng = np.random.default_rng(0)
    b = rng.normal(2.0, 0.5, (4000, 30))
    a = 3 * b + rng.normal(0.0, 0.1, b.shape)
    each = [ratio(x, y) for x, y in zip(a, b, strict=True)]
    found = np.array([x.mean() for x in each])
    np.testing.assert_allclose(found, a.mean(-1) / b.mean(-1), rtol=1e-12)
    told = np.mean([x.std(ddof=1) / math.sqrt(30) for x in each])
    # sd of the ratio 0.1/(2 √30) and no trace of b's own 25 %; 4000 ratios tell their spread to 1.1 %.
    assert told == pytest.approx(0.1 / (2 * math.sqrt(30)), rel=0.05)
    assert found.std() == pytest.approx(told, rel=0.08)


# ------------------------------------------------------------------------------------------------------ pages


def test_the_pages_say_what_the_committed_runs_found():
    assert main([str(PAGES), str(RESULTS)]) == 0


def test_a_page_that_is_out_of_date_is_told_and_mended(tmp_path, capsys):
    folder = shutil.copytree(PAGES, tmp_path / "pages")
    page = folder / "myopia.md"
    begin, end = marks("verdict")
    head, _, rest = page.read_text(encoding="utf-8").partition(begin)
    page.write_text(f"{head}{begin}\nwrong\n{end}{rest.partition(end)[2]}", encoding="utf-8")
    assert main([str(folder), str(RESULTS)]) == 1
    assert "myopia.md: its tables are out of date" in capsys.readouterr().err
    assert main([str(folder), str(RESULTS), "--fix"]) == 0
    assert page.read_text(encoding="utf-8") == (PAGES / "myopia.md").read_text(encoding="utf-8")


def test_every_value_of_a_paper_has_found_its_trials():
    """A label that is no longer one would leave a row without a value."""
    for page, _, wanted in pages(PAGES, RESULTS):
        assert "no value" not in wanted, page


def test_a_row_says_how_many_seeds_stand_behind_its_interval():
    """As many as the run has; none behind a row that is computed."""
    run = Run.of(RESULTS / "myopia")
    theory = {value["theory"]: 0.0 for value in PAPER["myopia"]["value"] if "theory" in value}
    counts = [row.split(" | ")[-2] for row, _ in compared(PAPER["myopia"], run, theory)]
    computed = ["theory" in value for value in PAPER["myopia"]["value"]]
    assert counts == ["–" if each else str(run.trials["seed"].nunique()) for each in computed]


def test_sources_that_look_gaussian_lack_0024_nats_each():
    """The page of independent components: KL to N(0, π²/3) of the logistic law at the best scale a.

    E 2 log 2cosh(as/2) - log a is the cross-entropy up to what the mixing adds, and 2 the sources' entropy.
    """
    x, w = np.polynomial.hermite_e.hermegauss(100)
    s, w = math.pi / math.sqrt(3) * x, w / w.sum()
    lack = min(
        (w * 2 * np.log(2 * np.cosh(a * s / 2))).sum() - math.log(a) - 2 for a in np.linspace(0.9, 1, 101)
    )
    assert lack == pytest.approx(0.0239, abs=5e-5)
    assert "lacks 0.024 d nats" in (PAGES / "ica_dimensions.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PAPER)
def test_the_committed_run_is_what_the_command_on_its_page_plans(name):
    words = PAPER[name]["command"].split()
    assert words[:3] == ["ebmark", "run", name]
    planned = {trial.id for trial in study.load(name, quick="--quick" in words).trials()}
    assert set(Run.of(RESULTS / name).trials["id"]) == planned


# ---------------------------------------------------------------------------------------------------- studies


@pytest.mark.parametrize("name", PAPER)
def test_a_study_runs_in_its_smallest_cell(name):
    """Every method of the quick form once, for some steps, where the data have the fewest dimensions."""
    trials = {}
    for trial in study.load(name, quick=True).trials():
        trials.setdefault((trial.lane, trial.method), trial)
    for trial in trials.values():
        steps = Budget(steps=3, batch=64)
        small = replace(trial, budget=steps, n_train=None, metrics=trial.metrics[:1], checkpoints=2)
        record = execute(small, Place(env={"env": "test"}))
        assert (record.trial["status"], record.trial["reason"]) == ("ok", "")
