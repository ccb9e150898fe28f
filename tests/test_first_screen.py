"""The first screen against the tables and against a reader who doubts: what is said when little is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from ebmark.report import frames, sections, words
from ebmark.report.grid import Grid, cells, literal, markdown, sort_key
from ebmark.report.look import Look
from ebmark.report.page import breakable, fine
from tests import synthetic
from tests.synthetic import FEW, SMALL, TARGET, Made, small


def screen(made, spec=TARGET):
    """The report as values, without any drawing, and the words of its first screen."""
    study = frames.load(made, spec, "A study")
    first = study.trials.drop_duplicates("label")
    page = sections.report(study, Look(study.labels, first["method"].astype(str).tolist()))
    return page, " ".join([page.facts, *(text for _, text in page.answer), page.missing])


def without(made, metric):
    """The same results with NaN for every value of the metric."""
    curve = made.curve.copy()
    curve.loc[curve["metric"] == metric, ["value", "se"]] = np.nan
    return replace(made, curve=curve)


def test_one_method_is_no_range():
    page, text = screen(small(methods=FEW[:1], lattice=8))
    assert " 0 of " not in text
    assert "1 method on 3 data sets" in page.facts
    assert "One step takes 1.0 ms" in text
    assert "Sampling takes 10 % (cd[k=1]) of the training time" in text


def test_sampling_is_told_where_most_chains_are_timed_and_names_the_others():
    made = small(datasets=SMALL[:1])
    timings = made.trials[made.trials["lane"] == "cost"]
    lost = made.trials["id"].isin(timings.loc[timings["method_label"] == "cd[k=100]", "id"])
    at_top = made.trials["dim"] == timings["dim"].max()
    text = screen(replace(made, trials=made.trials.assign(trusted=~(lost & at_top))))[1]
    assert "cd[k=100]" in text.partition("Sampling takes")[2].partition("training time")[0]
    text = screen(replace(made, trials=made.trials.assign(trusted=~lost)))[1]
    assert "cd[k=100] gave no number to compare there" in text.partition("Sampling takes")[2]


def test_a_metric_that_is_nan_throughout_is_no_missed_target():
    page, text = screen(without(small(methods=FEW[:3], datasets=SMALL[:1]), "fisher"))
    assert dict(page.answer)["Quality"].startswith("No run has a value of the target's metric")
    assert "not shown here: no run has a value of the target's metric" in text
    assert "target_cost" not in {picture.name for picture in page.pictures}


def test_when_every_run_failed_the_study_still_has_its_target():
    made = small()
    failed = made.trials.assign(
        status="diverged", reason="the loss is nan", step_seconds=np.nan, passes=np.nan
    )
    page, text = screen(
        replace(made, trials=failed, curve=made.curve.iloc[:0], samples=made.samples.iloc[:0])
    )
    assert "sets no target" not in text
    assert "No run finished from which the cost of a step could be read" in text
    assert page.headline is None


def test_what_is_untrusted_reaches_no_target():
    made = small(methods=FEW[:3], datasets=SMALL[:1])
    text = screen(replace(made, curve=made.curve.assign(trusted=False, reasons="gap")))[1]
    assert "Nowhere did enough seeds reach Fisher divergence / d ≤ 0.05" in text


def test_a_slope_that_may_be_zero_is_no_growth():
    text = screen(small(seeds=2, repeats=2, datasets=SMALL[:1]))[
        1
    ]  # over three sizes with one degree of freedom
    assert "no step is shown to grow: the steepest is sm, d^0.5" in text
    steep = Made(name="steep", passes=lambda d: 6 * d**2)
    other = Made(name="second", passes=lambda d: 5 * d**2)
    common = {"datasets": SMALL[:1], "seeds": 2, "repeats": 2, "cost_dims": (2, 4, 8, 16, 32, 64)}
    assert "steep grows fastest, as d^" in screen(small(methods=(*FEW[:1], steep), **common))[1]
    assert "has the largest exponent, d^" in screen(small(methods=(steep, other), **common))[1]


def test_sections_without_content_are_told_in_one_place():
    page, _ = screen(small(methods=FEW[:2], datasets=SMALL[:1], cost_dims=(2, 8)))
    absent = next(one for one in page.sections if one.anchor == "absent")
    assert any(text.startswith("Real data against a fitted Gaussian: No likelihood") for text in absent.text)
    assert "real" not in {one.anchor for one in page.sections}
    assert page.sections[-1].anchor == "limits"
    assert all(one.pictures or one.grids or one.parts for one in page.sections[:-2])


def test_cells_in_which_cd_is_shown_cheaper_or_dearer_are_those_of_paired_t_intervals():
    """From the raw tables with pandas and scipy: costs of runs, the cheapest of each kind, log ratios."""
    made = synthetic.scaling(
        methods=(*synthetic.chains_of((1, 10), ("mala",)), *synthetic.SCALES[15:19]),
        datasets=("phi4",), dims=(2, 4, 8, 16, 32), tune=False, noise=0.8,
    )  # fmt: skip
    answer = screen(made, {"target": synthetic.SCALES_TARGET["target"][:2]})[0].answer[0][1]
    trials, keys = made.trials, ["method_label", "dataset_label", "dim"]
    cost = trials[trials["lane"] == "cost"].assign(log=lambda rows: np.log(rows["step_seconds"]))
    each = cost.groupby(keys)[["log", "passes", "steps"]].agg(
        {"log": "mean", "passes": "sum", "steps": "sum"}
    )
    each["pass_time"] = np.exp(each["log"]) / (each["passes"] / each["steps"])
    runs = trials[trials["lane"] == "quality"].merge(each["pass_time"].reset_index(), on=keys)
    curve = made.curve.merge(runs[["id", "dim"]], on="id")
    hit = curve[curve["value"] / curve["dim"] <= 0.05].groupby("id")["passes"].min()
    runs["reached"] = runs["id"].isin(hit.index)
    runs["cost"] = runs["id"].map(hit).fillna(runs["passes"]) * runs["pass_time"]
    below = above = wins = both = 0
    for _, cell in runs.groupby(["dataset_label", "dim"]):
        mean = cell.groupby("method_label").agg(
            hits=("reached", "sum"), cost=("cost", "sum"), cd=("method", lambda names: (names == "cd").all())
        )
        mean["chain"] = mean["cd"] | (mean.index == "pcd")
        reached = mean[mean["hits"] == 3].assign(cost=mean["cost"] / 3).sort_values("cost")
        mine, other = reached[reached["cd"]], reached[~reached["chain"]]
        if not (len(mine) and len(other)):
            continue
        both, wins = both + 1, wins + (mine["cost"].iloc[0] < other["cost"].iloc[0])
        pair = [
            cell[cell["method_label"] == side.index[0]].set_index("seed")["cost"] for side in (mine, other)
        ]
        log = np.log(pair[0] / pair[1])
        lo, hi = stats.t.interval(0.95, len(log) - 1, log.mean(), stats.sem(log))
        below, above = below + (hi < 0), above + (lo > 0)
    assert f"in {wins or 'none'} of the {both} cells that both reach" in answer
    assert f"show it cheaper in {below or 'none'} and dearer in {above or 'none'} of them" in answer
    assert 0 < below + above < both


@pytest.mark.parametrize(
    ("value", "se", "text"),
    [
        (0.00136, 1.3e-5, "0.00136 ± 0.00001"),
        (0.0598, 2e-5, "0.05980 ± 0.00002"),
        (-0.00004, 5e-4, "0.0000 ± 0.0005"),
        (3.14e-5, 4e-6, "(3.1 ± 0.4) × 10⁻⁵"),
        (-1.34e-5, 2.1e-5, "(-1.3 ± 2.1) × 10⁻⁵"),
        (66.53, 0.021, "66.530 ± 0.021"),
        (1234.0, 56.0, "1230 ± 60"),
    ],
)
def test_a_value_has_the_digits_that_its_error_leaves_it(value, se, text):
    assert words.plus_minus(value, se) == text
    assert sort_key(text) == pytest.approx(value, abs=se)


def test_names_of_methods_are_no_markup():
    name = "<img src=x onerror=alert(1)>"
    assert "<" not in str(fine(name)).replace("<code>", "")
    assert "<img" not in str(breakable(name))
    assert "<" not in literal(name)
    assert str(fine("at d = 8 it is `--seeds 5`, d^-0.4 [-0.5, -0.3]")) == (
        "at d\u00a0=\u00a08 it is <code>--seeds 5</code>, d^−0.4 [−0.5, −0.3]"
    )
    assert str(fine("nce[scale=-1] on 2026-11-25")) == "nce[scale=-1] on 2026-11-25"


def test_code_on_the_page_can_be_copied_and_run():
    assert str(fine("3 s with `lr = 5`, -1 with `cd[scale = -1]`")) == (
        "3\u00a0s with <code>lr = 5</code>, −1 with <code>cd[scale = -1]</code>"
    )
    assert str(breakable("phi4: error / d ≤ 0.3")) == "phi4:<wbr> error / d\u00a0≤\u00a00.3"
    assert str(fine("`a < b`")) == "<code>a &lt; b</code>"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("`a < b` < c", "`a < b` &lt; c"),
        ("`<b>", "`&lt;b>"),
        (r"\`<b>`", r"\`&lt;b>`"),
        ("``<b>`", "``&lt;b>`"),
        ("`a``b` <c> `d`", "`a``b` &lt;c> `d`"),
        ("`a | b` <c> `d`", "`a | b` &lt;c> `d`"),
        ("`a\n<b>`", "`a\n&lt;b>`"),
    ],
)
def test_only_what_markdown_takes_for_code_keeps_its_signs(text, shown):
    assert literal(text) == shown


def test_code_does_not_reach_from_one_cell_into_the_next():
    grid = Grid(name="g", title="", caption="", head=["`", "<i>`"], rows=[cells("`a|b", "<b>`")])
    assert markdown(grid) == "| ` | &lt;i>` |\n| --- | --- |\n| `a\\|b | &lt;b>` |"
