"""What the report finds in tables with known answers, and what it must not rank."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ebmark.record import TABLES
from ebmark.report import (
    cost_figures,
    cost_sections,
    evaluation,
    facts,
    frames,
    limits,
    method_tables,
    status_tables,
    tables,
    target_tables,
    targets,
    words,
)
from ebmark.report.evaluator_tables import evaluators
from ebmark.report.grid import records
from ebmark.report.look import Look
from ebmark.report.names import FAMILIES, OTHER, family, method_labels
from ebmark.report.quality_figures import curves
from ebmark.report.sample_figures import floors
from ebmark.stats import scaling_exponent
from tests import synthetic
from tests.synthetic import FEW, SMALL, small


@pytest.fixture(scope="module")
def study():
    return frames.load(synthetic.study(), synthetic.TARGET, "a study")


def test_synthetic_tables_have_exactly_the_columns_of_the_schema():
    made = small()
    for name, columns in TABLES.items():
        assert list(getattr(made, name).columns) == list(columns), name


def test_exponents_are_those_of_the_costs_that_went_in(study):
    fitted = cost_figures.fits(study.cost)
    assert fitted["passes"]["dsm"].value == pytest.approx(0, abs=1e-12)
    d = np.array([2, 4, 8, 16, 32, 64.0])  # sm ran out of memory at 128
    expected = np.polyfit(np.log(d), np.log(6 * (d + 1)), 1)[0]
    assert fitted["passes"]["sm"].value == pytest.approx(expected)
    assert fitted["passes"]["sm"].sizes == 6
    seconds = [synthetic.step_seconds(m, size) for m in synthetic.METHODS if m.name == "sm" for size in d]
    expected = np.polyfit(np.log(d), np.log(seconds), 1)[0]
    assert fitted["seconds"]["sm"].lo < expected < fitted["seconds"]["sm"].hi


def test_share_of_sampling_is_that_of_the_chain(study):
    rows = cost_figures.chains(study.cost)
    made = {m.label: m for m in synthetic.METHODS}
    assert set(rows["label"]) == {label for label, m in made.items() if m.chain}
    for label, share in rows.groupby("label", observed=True)["share"].mean().items():
        chain = synthetic.POINT * synthetic.BATCH * made[label].chain
        assert share == pytest.approx(chain / synthetic.step_seconds(made[label], 2))
    assert "more than half of the step only for cd[k=100]" in facts.sampling(study)


def test_the_answer_contradicts_the_slow_sampler_where_the_tables_do(study):
    assert "(sm) at d = 64" in facts.growth(study)
    assert "sm gave no number to compare at d = 128" in facts.growth(study)
    assert "sm grows fastest" in facts.growth(study)
    assert "overtakes cd[k=100] at d = 3" in facts.growth(study)  # 6 (d + 1) F = 208 F at d = 34


def test_cost_to_a_target_is_read_at_the_first_checkpoint_below_it(study):
    runs = targets.runs(study)
    one = runs[(runs["label"] == "dsm") & (runs["dataset"] == "gaussian") & (runs["dim"] == 2)]
    for row in records(one):
        rows = study.curve[(study.curve["id"] == row["id"]) & (study.curve["metric"] == "fisher")]
        below = rows[rows["value"] / 2 <= 0.05].sort_values("step")
        assert row["reached"]
        assert row["cost_passes"] == below["passes"].iloc[0]
        measured = study.cost.loc[(study.cost["label"] == "dsm") & (study.cost["dim"] == 2), "seconds"]
        expected = below["step"].iloc[0] * np.exp(np.log(measured).mean())
        assert row["cost_seconds"] == pytest.approx(expected)


def test_failed_runs_are_charged_and_do_not_reach(study):
    runs = targets.runs(study)
    late = runs[(runs["label"] == "adversarial") & (runs["status"] == "diverged")]
    assert not late["reached"].any()
    assert (late["cost_passes"] == late["passes"]).all()
    expected = targets.expected(runs)
    never = expected[expected["label"] == "adversarial"]
    assert np.isinf(never["passes"]).all()


def test_time_comes_from_the_cost_lane_never_from_packed_trials(study):
    rows = study.curve[(study.curve["lane"] == "quality") & study.curve["seconds_cost"].notna()]
    assert set(rows["dataset"]) == {"gaussian"}  # the only cells with a cost lane
    assert (rows["wall"] == 1.0).all()
    assert (rows["seconds_cost"] < 100).all()


def test_time_is_the_measured_step_where_every_step_is_alike(study):
    cost = study.cost[study.cost["trusted"] & (study.cost["status"] == "ok")]
    measured = np.exp(np.log(cost["seconds"]).groupby([cost["label"], cost["dim"]], observed=True).mean())
    rows = study.curve[study.curve["seconds_cost"].notna()]
    steps = [measured[label, d] for label, d in zip(rows["label"], rows["dim"], strict=True)]
    np.testing.assert_allclose(rows["seconds_cost"], rows["step"] * steps)
    runs = targets.runs(study)
    runs = runs[~runs["reached"] & runs["cost_seconds"].notna()]
    steps = [measured[label, d] for label, d in zip(runs["label"], runs["dim"], strict=True)]
    assert len(runs)
    np.testing.assert_allclose(runs["cost_seconds"], runs["steps"] * steps)


@pytest.mark.parametrize("mix", [0.5, 1.5])
def test_time_of_a_method_that_rests_is_in_proportion_to_its_passes(mix):
    """The same steps and the same cost lane, but in the quality lane the energy moves in another share."""
    (lsd,) = (made for made in synthetic.EVERY if made.name == "lsd")
    chosen = {"datasets": SMALL[:1], "cost_dims": (2, 8), "seeds": 3}
    rows, runs = {}, {}
    for share in (1, mix):
        made = small(**chosen, methods=[replace(lsd, mix=share)])
        loaded = frames.load(made, {"target": [{"metric": "fisher", "value": 1e-9}]}, "")
        rows[share], runs[share] = loaded.curve, targets.runs(loaded)
    assert rows[1]["seconds_cost"].max() > 0
    np.testing.assert_allclose(rows[mix]["seconds_cost"], mix * rows[1]["seconds_cost"])
    np.testing.assert_allclose(runs[mix]["cost_seconds"], mix * runs[1]["cost_seconds"])
    for_time = target_tables.reached(targets.expected(runs[mix]), "seconds").caption
    assert "proportional to the energy's passes" in for_time
    assert "rests" not in target_tables.reached(targets.expected(runs[mix]), "passes").caption


def test_timings_from_before_the_study_grew_are_shown_and_not_compared():
    why = "measured before the study grew"
    made = small(seeds=1, datasets=SMALL[:1], methods=FEW, cost_dims=(2, 4, 8, 16, 32, 64, 128))
    cost = (made.trials["lane"] == "cost") & (made.trials["status"] == "ok")
    stale = cost & ((made.trials["repeat"] < 2) | (made.trials["method"] == "dsm"))
    wrong = {"trusted": made.trials["trusted"] & ~stale, "distrust": made.trials["distrust"].mask(stale, why)}
    wrong["step_seconds"] = made.trials["step_seconds"].mask(stale, 1e3)
    spoilt = frames.load(replace(made, trials=made.trials.assign(**wrong)), synthetic.TARGET, "")
    without = frames.load(replace(made, trials=made.trials[~stale]), synthetic.TARGET, "")
    for of in (
        lambda study: study.curve["seconds_cost"],
        lambda study: targets.runs(study)["cost_seconds"],
        lambda study: tables.exponents(study.cost).tidy.query("quantity == 'seconds'"),
        lambda study: tables.crossovers(study.cost).tidy.query("quantity == 'seconds'"),
    ):
        before, after = (of(study).reset_index(drop=True) for study in (without, spoilt))
        assert len(before)
        (pd.testing.assert_series_equal if before.ndim == 1 else pd.testing.assert_frame_equal)(before, after)
    assert spoilt.curve.loc[spoilt.curve["label"] == "dsm", "seconds_cost"].isna().all()
    assert shown(tables.exponents(spoilt.cost))["dsm", "one step"] == "–"
    assert facts.untimed(spoilt.cost) == ["dsm"]
    look = Look(spoilt.labels, spoilt.labels)
    assert "No timing of dsm is trusted" in " ".join(cost_sections.cost(spoilt, look).text)
    row = next(row for row in records(status_tables.distrust(spoilt).tidy) if row["why"] == why)
    assert (row["untrusted"], row["of"]) == (stale.sum(), cost.sum())


def test_no_claim_about_chains_names_the_noise_that_is_the_truth():
    chosen = [m for m in synthetic.METHODS if m.label in ("cd[k=1]", "nce", "nce[scale=1.5]")]
    made = small(datasets=SMALL[:1], methods=chosen, cost_dims=())
    runs = targets.runs(frames.load(made, synthetic.TARGET, ""))
    expected = targets.expected(runs)
    cheapest = expected.sort_values("passes").iloc[0]
    assert (cheapest["label"], cheapest["own_noise"]) == ("nce[scale=1]", True)
    assert "without them nce[scale=1.5] at" in facts.reaching(runs, expected)
    texts = [cell.text for row in target_tables.reached(expected, "passes").rows for cell in row[1:]]
    assert [text.endswith("‡") for text in texts] == [False, False, True, True, False, False]


def test_real_data_verdicts_follow_the_baseline(study):
    verdicts = {row["label"]: row["kind"] for row in records(status_tables.real(study).tidy)}
    assert verdicts["adversarial"] == "worse than the Gaussian"
    assert verdicts["sm"] == "beats the Gaussian"


def test_likelihoods_in_the_datas_own_units_are_without_what_their_scale_adds(study):
    """A density of data divided by s is higher by log s per dimension where the data are in their units."""
    nll = study.curve[(study.curve["metric"] == "nll") & (study.curve["dataset"] == "digits")]
    scaled = replace(study, curve=pd.concat([study.curve, nll.assign(metric="log_det", value=-10.0)]))
    grid = status_tables.real(scaled)
    for row, line in zip(records(grid.tidy), grid.rows, strict=True):
        assert line[-1].text == words.number(row["nll"] + 10, 4)
    assert {line[-1].text for line in status_tables.real(study).rows} == {"–"}


def test_the_share_of_evaluation_is_of_all_trials(study):
    """In these tables each trial was evaluated for one second."""
    grid = evaluation.shares(study)
    runs = study.quality[study.quality["status"] == "ok"]
    for row in records(grid.tidy):
        here = runs[(runs["dataset_label"] == row["dataset_label"]) & (runs["dim"] == row["dim"])]
        training = here["wall"].sum() + here["first_call"].sum()
        assert row["share"] == pytest.approx(len(here) / (len(here) + training))
    training = runs["wall"].sum() + runs["first_call"].sum()
    share = words.percent(len(runs) / (len(runs) + training))
    assert evaluation.sentence(grid)[0].startswith(f"Evaluation took {share} of the time")


def test_a_target_of_which_more_is_better_is_reached_from_below(study):
    goal = {"metric": "coverage", "value": 0.9}
    curve = study.curve[study.curve["metric"] == "fisher"].assign(metric="coverage", value=0.5)
    curve.loc[curve["step"] >= 600, "value"] = 0.9
    made = replace(study, curve=curve, spec={"target": [goal]})
    runs = targets.runs(made)
    assert set(runs["goal"]) == {"coverage ≥ 0.9"}
    late = runs[runs["reached"]]
    assert len(late)
    first = curve[curve["step"] == 600].set_index("id")["passes"]
    np.testing.assert_allclose(late["cost_passes"], late["id"].map(first))


def test_floors_count_away_from_the_good_side(study):
    """In standard deviations of the floor, positive where worse; ksd is of the sampler and left out."""
    rows = study.curve[study.curve["metric"] == "sliced_wasserstein"].assign(floor_mean=0.9, floor_sd=0.01)
    made = [rows.assign(metric=name, value=0.85) for name in ("coverage", "c2st", "ksd")]
    found = floors(replace(study, curve=pd.concat(made)))
    assert set(found["scale"]) == {"excess"}
    over = found.groupby("metric")["over"].mean()
    assert over.to_dict() == pytest.approx({"coverage": 5, "c2st": -5})


def test_floors_choose_the_ratio_or_the_excess(study):
    rows = floors(study)
    assert set(rows.loc[rows["metric"] == "mmd", "scale"]) == {"excess"}  # unbiased: its floor is zero
    ratio = rows[rows["metric"] == "sliced_wasserstein"]
    assert set(ratio["scale"]) == {"ratio"}
    np.testing.assert_allclose(ratio["over"], ratio["value"] / 0.02)


# ------------------------------------------------------------------------------ what must not rank


def cell(grid, label, column):
    row = next(row for row in grid.rows if row[0].text == label)
    return row[list(grid.head).index(column)]


def test_what_is_untrusted_is_shown_as_an_interval_over_the_seeds(study):
    """Half a nat below and two above each value: from the smallest end of all seeds to the largest."""
    wide = study.curve.assign(lo=study.curve["value"] - 0.5, hi=study.curve["value"] + 2.0)
    values = tables.quality(replace(study, curve=wide), "kl", per_dim=False, log=False)
    here = frames.finals(study, "kl")
    here = here[(here["label"] == "pcd[k=10]") & (here["dataset_label"] == "phi4") & (here["dim"] == 8)]
    lo, hi = here["value"].min() - 0.5, here["value"].max() + 2.0
    assert len(here) > 1
    text = cell(values, "pcd[k=10]", "phi4, d = 8").text
    assert text == f"[{words.number(lo, 3)}, {words.number(hi, 3)}]†"


def test_untrusted_failed_and_oracle_values_do_not_rank(study):
    kl = tables.quality(study, "kl", per_dim=False, log=False)
    doubt = cell(kl, "pcd[k=10]", "phi4, d = 8")
    assert doubt.text.startswith("[")
    assert doubt.text.endswith("]†")
    assert not doubt.best
    assert not doubt.tie
    assert cell(kl, "cd[k=100]", "phi4, d = 32").text == "3 timeout"
    late = cell(kl, "adversarial", "phi4, d = 32")
    assert late.text.endswith("(1 diverged)")
    assert not late.tie
    assert cell(kl, "sm", "phi4, d = 8").best
    own = cell(kl, "nce[scale=1]", "gaussian, d = 8")
    assert own.text.endswith("‡")
    assert not own.best
    assert not own.tie


def test_one_untrusted_run_of_several_keeps_a_method_from_its_rank():
    made = small(seeds=4)
    best = tables.quality(frames.load(made, None, ""), "kl", per_dim=False, log=False)
    label = next(row[0].text for row in best.rows if row[1].best)
    dataset, d = best.head[1].split(", d = ")
    runs = made.trials[(made.trials["method_label"] == label) & (made.trials["lane"] == "quality")]
    one = runs[(runs["dataset_label"] == dataset) & (runs["dim"] == int(d))]["id"].iloc[0]
    doubt = (made.curve["id"] == one) & (made.curve["metric"] == "kl")
    curve = made.curve.assign(trusted=made.curve["trusted"].where(~doubt, False))
    kl = tables.quality(frames.load(replace(made, curve=curve), None, ""), "kl", per_dim=False, log=False)
    doubtful = cell(kl, label, best.head[1])
    assert "†" in doubtful.text
    assert not doubtful.best
    assert not doubtful.tie


def every(**more):
    chosen = {"datasets": (("gaussian", (2, 8)), ("two_modes[m=3]", (2,))), "seeds": 3}
    return synthetic.every_method(**{**chosen, **more})


@pytest.fixture(scope="module")
def all_methods():
    return frames.load(every(), synthetic.TARGET, "all methods")


def shown(grid):
    """The texts of a grid by its first column and the title of another, and by both first ones."""
    return {
        (row[0].text, title): cell.text
        for row in grid.rows
        for title, cell in zip(grid.head, row, strict=True)
    }


def test_samples_from_elsewhere_and_diagnostics_enter_no_comparison():
    made = every(seeds=1)
    primary = made.curve[made.curve["metric"] == "fisher"]
    tempting = [
        primary.assign(source="own_generator", value=1e-9),
        primary.assign(source="short_run", value=1e-9),
        primary.assign(source="a new one", value=1e-9),
        primary.assign(metric="log_fisher", value=1e-9),
    ]
    with_them = replace(made, curve=pd.concat([*tempting, made.curve], ignore_index=True))
    studies = [frames.load(tables_, synthetic.TARGET, "") for tables_ in (made, with_them)]
    for of in (
        lambda study: frames.finals(study, "fisher"),
        targets.runs,
        lambda study: curves(study)[1],
        floors,
        lambda study: tables.quality(study, "fisher", per_dim=True, log=True).tidy,
        lambda study: target_tables.summary(study, "fisher").tidy,
        lambda study: status_tables.distrust(study).tidy,
    ):
        before, after = (of(study).reset_index(drop=True) for study in studies)
        pd.testing.assert_frame_equal(before, after, check_categorical=False)
    assert limits.provenance(studies[0]) == limits.provenance(studies[1])
    assert studies[1].orphans == 0


def test_no_diagnostic_is_a_metric_of_the_curve(all_methods):
    assert set(all_methods.curve["metric"]) == {"fisher", "kl", "nll", "mmd", "sliced_wasserstein"}
    assert {"acceptance", "c", "ess", "z_own", "z_gap"} <= set(all_methods.logs["metric"])


@pytest.mark.parametrize("written", ["log_fisher", "log_fisher[n=10]", "mine/metrics.py:log_fisher[n=10]"])
def test_a_metric_of_the_study_is_no_diagnostic_whatever_its_name(written):
    made = every(seeds=1)
    extra = made.curve[made.curve["metric"] == "fisher"].assign(metric="log_fisher")
    both = replace(made, curve=pd.concat([made.curve, extra], ignore_index=True))
    loaded = frames.load(both, {"metrics": ["fisher", written]}, "")
    assert len(frames.finals(loaded, "log_fisher")) == len(frames.finals(loaded, "fisher"))
    assert "fisher" not in set(loaded.logs["metric"])
    assert "acceptance" in set(loaded.logs["metric"])
    without = frames.load(both, {"metrics": ["fisher"]}, "")
    assert "log_fisher" not in set(without.curve["metric"])
    assert "fisher" in set(without.logs["metric"])


def test_the_losses_of_both_players_stand_side_by_side():
    losses = {"loss": 0.7, "loss_flow": -0.7, "own": 3.0, "acceptance": 0.5}
    made = every(seeds=1, methods=[replace(m, logs=losses) for m in synthetic.EVERY if m.name == "fce"])
    grid = method_tables.diagnostics(frames.load(made, None, ""))
    assert list(grid.head) == ["method", "acceptance", "loss", "loss of the flow", "own"]
    assert "compares with no other" in grid.caption


def test_own_generators_stand_beside_the_energy(all_methods):
    grid = method_tables.generators(all_methods)
    assert {row[0].text for row in grid.rows} == {"adversarial", "fce", "short_run", "vera"}
    assert list(grid.head[2:5]) == ["MMD²: energy", "MMD²: own generator", "MMD²: floor"]
    row = grid.rows[0]
    rows = all_methods.curve[(all_methods.curve["label"] == "adversarial") & (all_methods.curve["dim"] == 2)]
    rows = rows[(rows["metric"] == "mmd") & (rows["dataset"] == "gaussian") & (rows["step"] == 4000)]
    assert len(rows) == 3
    assert row[1].text == "gaussian, d = 2"
    assert row[2].text == words.plus_minus(rows["value"].mean(), rows["value"].std() / 3**0.5)
    own = all_methods.generated.loc[all_methods.generated["id"].isin(rows["id"])]
    own = own.loc[own["metric"] == "mmd", "value"]
    assert row[3].text == words.plus_minus(own.mean(), own.std() / 3**0.5)
    assert row[4].text == words.plus_minus(1e-5, 4e-4)
    assert not any(cell.best or cell.tie for line in grid.rows for cell in line)


def test_diagnostics_are_medians_with_their_range_over_data_sets(all_methods):
    grid = method_tables.diagnostics(all_methods)
    ends = frames.at_end(all_methods.logs)
    values = ends[(ends["label"] == "cd") & (ends["metric"] == "acceptance")]
    medians = values.groupby(["dataset_label", "dim"])["value"].median()
    lo, hi = words.number(medians.min()), words.number(medians.max())
    assert shown(grid)["cd", "acceptance"] == f"{words.number(values['value'].median())} ({lo} to {hi})"
    assert shown(grid)["vera", "acceptance"] == "–"
    assert "dsm" not in {row[0].text for row in grid.rows}  # logs nothing
    for said in ("never a likelihood", "0.574 for mala", "near 1", "KL(q|p)"):
        assert said in grid.caption
    few = method_tables.diagnostics(replace(all_methods, logs=ends[ends["metric"] == "ess"]))
    assert list(few.head) == ["method", "ess"]
    assert "likelihood" not in few.caption


def test_an_untrusted_diagnostic_is_marked(all_methods):
    logs = all_methods.logs
    doubt = logs.assign(trusted=logs["trusted"] & (logs["metric"] != "z_gap"))
    texts = shown(method_tables.diagnostics(replace(all_methods, logs=doubt)))
    assert texts["vera", "log Z − own"].endswith("]†")
    assert not texts["vera", "own log Z"].endswith("†")


def test_the_work_of_opponents_is_shown_and_its_owner_is_not_compared_in_passes(all_methods):
    grid = method_tables.opponents(all_methods)
    assert [[cell.text for cell in row] for row in grid.rows] == [
        ["adversarial", "flow", "5", "10", "7"],
        ["fce", "flow", "7", "4", "7"],
        ["lsd", "critic", "12", "30", "8"],
        ["vera", "generator", "21", "2", "7"],
    ]
    assert set(all_methods.trials.loc[all_methods.trials["opposed"], "method"]) == {
        "adversarial", "fce", "lsd", "vera",
    }  # fmt: skip
    assert "fce" not in set(cost_figures.usable(all_methods.cost, "passes")["label"])
    assert "the passes of adversarial, fce, lsd and vera leave out an opponent" in facts.growth(all_methods)
    runs = targets.runs(all_methods)
    cheap = runs.assign(cost_passes=runs["cost_passes"].where(runs["label"] != "fce", 1.0), reached=True)
    assert "fce" not in facts.reaching(cheap, targets.expected(cheap))
    texts = shown(target_tables.reached(targets.expected(cheap), "passes"))
    assert texts["fce", "gaussian, d = 2"].endswith("§")
    finite = pd.concat([targets.expected(cheap).assign(dim=d, passes=d, seconds=d) for d in (2, 4, 8)])
    growth = target_tables.growth(targets.exponents(finite)).tidy
    assert set(growth.loc[growth["label"] == "fce", "quantity"]) == {"seconds"}
    assert set(growth.loc[growth["label"] == "sm", "quantity"]) == {"passes", "seconds"}


@pytest.mark.parametrize(("budget", "best"), [('{"steps":4000}', "lsd"), ('{"passes":1e6}', "sm")])
def test_an_opponent_that_works_beyond_the_budget_is_not_called_best(budget, best):
    made = every(seeds=3, methods=[m for m in synthetic.EVERY if m.name in ("lsd", "sm", "ssm")])
    value = made.curve["value"].where(~made.curve["id"].str.contains("q-lsd"), made.curve["value"] / 1e3)
    trials = made.trials.assign(budget=budget)
    loaded = frames.load(replace(made, trials=trials, curve=made.curve.assign(value=value)), None, "")
    grid = tables.quality(loaded, "fisher", per_dim=True, log=True)
    column = "two_modes[m=3], d = 2"
    assert [row[0].text for row in grid.rows if cell(grid, row[0].text, column).best] == [best]
    (summary,) = (row for row in target_tables.summary(loaded, "fisher").rows if row[0].text == "lsd")
    marked = cell(grid, "lsd", column)
    if best == "sm":
        assert marked.text.endswith("§")
        assert not marked.tie
    assert ("§" in marked.text, "§" in summary[-1].text, "§" in grid.caption) == 3 * (best == "sm",)


@pytest.mark.parametrize("text", [None, "", "{}"])
def test_tables_without_opponents_show_none(text):
    made = small(seeds=1, cost_dims=())
    for trials in (made.trials.assign(opponents=text), made.trials.drop(columns="opponents")):
        loaded = frames.load(replace(made, trials=trials), None, "")
        assert not loaded.trials["opposed"].any()
        assert not method_tables.opponents(loaded).rows
        assert not method_tables.generators(loaded).rows
        assert not method_tables.diagnostics(loaded).rows


def test_noise_is_the_truth_by_the_settings_of_any_method(all_methods):
    marked = all_methods.trials[all_methods.trials["own_noise"]]
    assert set(marked["dataset"]) == {"gaussian"}
    opposed = {"fce", "adversarial", "vera"}  # their opponents start with the data's moments
    assert set(marked["label"]) == {"nce[scale=1]", "ranking_nce", "ence", "snl", *opposed}
    made = every(seeds=1)
    args = made.trials["method_args"].where(made.trials["method"] != "snl", '{"scale":1.0,"noise":"uniform"}')
    other = frames.load(replace(made, trials=made.trials.assign(method_args=args)), None, "").trials
    assert not other.loc[other["method"] == "snl", "own_noise"].any()
    assert "(adversarial, ence, fce, nce, ranking_nce, snl and vera)" in "".join(limits.limits(all_methods))


def test_a_method_has_one_family_and_an_unknown_one_is_another():
    names = [name for methods in FAMILIES.values() for name in methods]
    assert len(names) == len(set(names))
    assert family("a plug-in of yours") == OTHER


def test_many_methods_share_the_colour_of_their_family_and_differ_in_marks():
    labels = [made.label for made in synthetic.EVERY] + ["yours"]
    look = Look(labels, [made.name for made in synthetic.EVERY] + ["yours"])
    styles = {label: look.line(label) for label in labels}
    assert len({(style["color"], style["marker"], style["dashes"]) for style in styles.values()}) == len(
        labels
    )
    assert styles["cd"]["color"] == styles["recovery"]["color"] != styles["sm"]["color"]
    assert "noise (nce, nce[scale=1.5], ranking_nce" in look.key
    assert "other (yours)" in look.key
    texts = [line.get_label() for line in look.handles({label: label for label in sorted(labels)})]
    assert texts[:4] == ["cd", "pcd", "short_run", "recovery"]
    few = Look(["cd", "mle", "sm"], ["cd", "mle", "sm"])
    assert few.key == ""
    assert len({few.colour(label) for label in ("cd", "mle", "sm")}) == 3


def test_the_oracle_is_shown_and_nowhere_ranked(all_methods):
    fisher = tables.quality(all_methods, "fisher", per_dim=True, log=True)
    best = cell(fisher, "mle", "gaussian, d = 2")
    assert float(best.text.split()[0]) < 0.008  # the smallest of all
    assert not best.best
    assert not best.tie
    timed = frames.load(every(seeds=1, cost_dims=(2, 4, 8, 16, 32, 64), repeats=2), None, "")
    assert "mle" in set(timed.cost["label"])
    assert "mle" not in set(tables.crossovers(timed.cost).tidy["label"])
    assert "mle" not in facts.growth(timed)


def test_nothing_is_dropped_silently():
    made = small()
    orphan = made.curve.iloc[:3].assign(id="of nobody")
    loaded = frames.load(replace(made, curve=pd.concat([made.curve, orphan])), None, "")
    assert loaded.orphans == 3
    counts = status_tables.statuses(loaded).tidy.drop(columns=["label", "diverged_share"])
    assert counts.to_numpy().sum() == len(made.trials)


def test_curves_keep_the_smallest_and_the_largest_dimension(study):
    metric, rows = curves(study)
    assert metric == "fisher"
    assert set(rows.loc[rows["dataset"] == "phi4", "dim"]) == {2, 32}


def test_a_grid_of_networks_or_rates_is_told_apart():
    made = small(seeds=1, cost_dims=())
    slow = made.trials.assign(
        id=made.trials["id"] + "-slow", optimiser=json.dumps({"energy": {"lr": 0.0005}})
    )
    both = frames.load(replace(made, trials=pd.concat([made.trials, slow])), None, "")
    assert {"dsm · lr=0.002", "dsm · lr=0.0005"} <= set(both.labels)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (words.number(0.012345), "0.012"),
        (words.number(208.4, 3), "208"),
        (words.number(9.96), "10"),
        (words.number(1.04e7), "1.0 × 10⁷"),
        (words.number(1e7, 1), "10⁷"),
        (words.number(-3.21e-5), "-3.2 × 10⁻⁵"),
        (words.number(math.inf), "∞"),
        (words.number(math.nan), "–"),
        (words.seconds(0.00095), "950 µs"),
        (words.seconds(90), "1.5 min"),
        (words.plus_minus(0.12345, 0.0123), "0.123 ± 0.012"),
        (words.plus_minus(123.4, 7), "123 ± 7"),
        (words.plus_minus(2.5, math.nan), "2.50"),
        (words.work(208.0), "208"),
        (words.exponent(scaling_exponent([2, 4, 8], [2, 4, 8])), "d^1.00 local"),
        (words.listed(["a", "b", "c"]), "a, b and c"),
    ],
)
def test_numbers_have_few_digits_and_a_unit(text, says):
    assert text == says


def test_a_method_in_several_forms_is_labelled_with_its_defaults_too():
    frame = pd.DataFrame(
        {
            "method": ["cd", "cd", "nce", "nce", "sm"],
            "method_label": ["cd", "cd[k=10]", "nce", "nce[scale=1.5]", "sm"],
            "method_args": ['{"k":1,"h":null}', '{"k":10,"h":null}', '{"scale":1.0}', '{"scale":1.5}', "{}"],
        }
    )
    assert list(method_labels(frame)) == ["cd[k=1]", "cd[k=10]", "nce[scale=1]", "nce[scale=1.5]", "sm"]


def test_the_error_of_log_z_is_told_where_the_model_is_the_truth(study):
    """Two runs of each of two targets, the errors 3 and 4 hundredths of one, 3 and 4 tenths of the other."""
    assert evaluators(study) is None
    errors = {"gaussian": (0.03, -0.04), "funnel": (-0.3, -0.4)}
    one = {"lane": "quality", "status": "ok", "step": 1, "metric": "z_gap", "network": "truth", "dim": 10}
    logs = pd.DataFrame(
        {
            **one,
            "id": f"{name}{i}",
            "dataset_label": name,
            "value": e,
            "se": 0.04,
            "lo": e - 0.1,
            "hi": e + 0.1,
        }
        | {"trusted": name != "funnel", "gradients": np.nan, "seconds": np.nan}
        for name, pair in errors.items()
        for i, e in enumerate(pair)
    )
    spent = logs.assign(metric="kl", gradients=1e5, seconds=2.0)
    section = evaluators(replace(study, logs=logs, curve=spent))
    assert section.text[1].startswith("2 of 2 trusted estimates of log Z lie within three standard errors")
    assert section.text[1].endswith("the largest error is 0.040 nats.")
    rows = {row[0].text: [cell.text for cell in row[1:]] for row in section.grids[0].rows}
    cost = ["100,000", "2.0 s"]
    assert rows["gaussian"] == ["10", "2", "0.035", "0.040", "0.040", "100 %", "100 %", "100 %", *cost]
    assert rows["funnel"] == ["10", "2", "0.35", "0.40", "0.040", "0 %", "0 %", "0 %", *cost]
