"""The headline of a scaling study: planted costs are found again, and who is compared with whom."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ebmark.report import (
    frames,
    scaling,
    scaling_figure,
    scaling_sections,
    scaling_tables,
    tables,
    targets,
    tuning_tables,
)
from ebmark.report.beside import spread
from ebmark.report.look import Look
from ebmark.report.names import natural
from ebmark.report.tuning_section import tuning
from tests import synthetic
from tests.synthetic import Scales, chains_of

METHODS = (
    *chains_of(ks=(1, 10, 100), samplers=("mala",)),
    Scales(name="sm", passes=60, steps=30, growth=0.2),
    Scales(name="ssm", passes=12, steps=60, growth=0.9),
    Scales(name="nce", args={"scale": 1.5}, steps=60, growth=1.1, most=16),
    Scales(name="dsm", steps=150, growth=0.3, rate=1.0),
    Scales(name="adversarial", passes=7, steps=2000, most=0, opponents={"flow": (5, 10)}),
)
DIMS = (2, 4, 8, 16, 32, 64)


@pytest.fixture(scope="module")
def study():
    made = synthetic.scaling(methods=METHODS, datasets=("two_modes[m=1]", "phi4"), dims=DIMS, noise=0.01)
    return frames.load(made, synthetic.SCALES_TARGET, "scaling")


@pytest.fixture(scope="module")
def found(study):
    return scaling_sections.views(study)


def shown(grid):
    """The texts of a grid by its first column and the title of another."""
    return {
        (row[0].text, title): cell.text
        for row in grid.rows
        for title, cell in zip(grid.head, row, strict=True)
    }


def planted(label, d, rate=1.0):
    """Seconds to the target without noise, the checkpoint after it left out."""
    made = next(made for made in METHODS if made.label == label)
    steps = made.steps * d**made.growth * (1 / 3 if rate == made.rate else 1)
    return steps * (synthetic.OVERHEAD + synthetic.POINT * synthetic.BATCH * made.passes)


def test_the_planted_exponents_lie_in_their_intervals(found):
    for name in ("own", "tuned"):
        fits = found[name].fits.set_index(["dataset_label", "label"])["fit"]
        for made in METHODS:
            if made.most < 64:
                continue
            for dataset in ("two_modes[m=1]", "phi4"):
                fit = fits[dataset, made.label]
                assert fit.value == pytest.approx(made.growth, abs=0.06)  # checkpoints are 5 % apart
                assert fit.sizes == len(DIMS)


def test_planted_exponents_are_covered_where_a_third_of_the_sizes_never_ended():
    # 1000 steps suffice up to d = 16
    planted = ((300, 0.4), (100, 0.8), (33, 1.2))
    methods = [Scales(name="nce", args={"scale": g}, steps=n, growth=g) for n, g in planted]
    sets = ("two_modes[m=1]", "two_modes[m=2]", "phi4")
    made = synthetic.scaling(
        methods=(*METHODS[1:3], *methods), datasets=sets, dims=DIMS, noise=0.1, tune=False, last=1000
    )
    one = scaling_sections.view(frames.load(made, synthetic.SCALES_TARGET, ""))
    fits = one.fits.set_index(["dataset_label", "label"])["fit"]
    covered = [
        fits[name, made.label].lo <= made.growth <= fits[name, made.label].hi
        for made in methods
        for name in sets
    ]
    cut = one.runs[one.runs["label"].isin([made.label for made in methods])]
    assert 0.3 <= (~cut["reached"]).mean() <= 0.4
    assert len(covered) == 9
    assert sum(covered) >= 7  # fewer in 1 of 100 such tables


def test_cd_at_its_best_is_the_cheapest_of_its_settings(found):
    best = scaling.best_cd(found["own"].rows)
    labels = [made.label for made in METHODS if made.name == "cd"]
    for d in DIMS:
        row = best[(best["dim"] == d) & (best["dataset_label"] == "phi4")].iloc[0]
        costs = {label: planted(label, d) for label in labels if d <= 32 or "k=1," not in label}
        assert row["cost"] == pytest.approx(min(costs.values()), rel=0.1)
        assert costs[row["of"]] < 1.1 * min(costs.values())
        assert row["settings"] == 3


def test_the_crossover_is_where_the_planted_lines_meet(found):
    versus = scaling.versus(found["own"].rows).set_index(["dataset_label", "label"])
    row = versus.loc[("phi4", "ssm")]
    first, last = (
        min(planted(f"cd[k={k},sampler=mala]", d) for k in (10, 100)) / planted("ssm", d) for d in (2, 64)
    )
    assert (row["d_first"], row["d_last"]) == (2, 64)
    assert row["first"] == pytest.approx(first, rel=0.12)
    assert row["last"] == pytest.approx(last, rel=0.12)
    assert row["first"] > 1 > row["last"]
    grid = np.geomspace(2, 64, 1000)
    best = [min(planted(f"cd[k={k},sampler=mala]", d) for k in (10, 100)) for d in grid]
    meet = grid[np.abs(np.log(np.array(best) / planted("ssm", grid))).argmin()]
    assert row["meet"].dim == pytest.approx(meet, rel=0.25)  # CD's best changes its k: no straight line
    assert row["meet"].lo < row["meet"].dim < row["meet"].hi
    lost = versus.loc[("phi4", "nce[scale=1.5]")]
    assert (lost["d_last"], lost["cd_only"], lost["other_only"]) == (16, 2, 0)
    never = versus.loc[("phi4", "adversarial")]
    assert (never["d_first"], never["cd_only"]) == (0, 6)


def test_a_tuned_view_holds_the_runs_at_the_chosen_rates(study, found):
    assert set(study.choices["factor"]) == {1.0, 3.0}
    own, best = (
        found[name].rows.set_index(["dataset_label", "dim", "label"])["cost"] for name in ("own", "tuned")
    )
    for made in METHODS:
        if made.most < 64:
            continue
        ratio = (own / best).xs(made.label, level="label")
        assert ratio.to_numpy() == pytest.approx(3 if made.rate == 3 else 1, rel=0.1)
    assert study.quality["rate_factor"].eq(1).all()
    assert len(study.tuned.quality) == len(study.quality)
    assert study.labels == study.tuned.labels  # no rate in a name


def test_tuning_is_charged_by_method_and_its_work_is_shown(study):
    section = tuning(study)
    ladder = section.grids[0]
    for made, row in zip(sorted(METHODS, key=lambda made: natural(made.label)), ladder.rows, strict=True):
        assert row[0].text == made.label
        assert row[1].text == ", ".join([f"{made.rate:g}"] * len(DIMS))
        trials = len(DIMS) * 2 * len(synthetic.FACTORS)
        assert row[3].text == str(trials)
    sm = study.choices[study.choices["label"] == "sm"]
    assert sm["passes"].sum() == pytest.approx(len(DIMS) * 2 * 4 * 20000 * 256 * 60)
    side = next(grid for grid in section.grids[1:] if "phi4" in grid.title)
    texts = {row[0].text: [cell.text for cell in row[1:]] for row in side.rows}
    assert all("→" in text and "(× 3)" in text for text in texts["sm"][: len(DIMS)])
    assert all(text.endswith("(best as it is)") for text in texts["dsm"][: len(DIMS)])
    assert texts["sm"][-2] == "7.4 × 10⁹ F"


def test_without_tuning_there_is_one_view_and_no_section():
    made = synthetic.scaling(methods=METHODS[:5], datasets=("phi4",), dims=DIMS[:3], tune=False)
    study = frames.load(made, synthetic.SCALES_TARGET, "plain")
    assert [*scaling_sections.views(study)] == ["own"]
    assert tuning(study) is None
    assert study.tuned is None


def test_a_cell_whose_rates_were_not_all_tried_keeps_its_own():
    made = synthetic.scaling(methods=METHODS[3:5], datasets=("phi4",), dims=DIMS[:3])
    trials = made.trials
    one = (
        (trials["lane"] == "tune")
        & (trials["method"] == "sm")
        & (trials["dim"] == 4)
        & (trials["rate_factor"] == 9)
    )
    loaded = frames.load(replace(made, trials=trials[~one]), synthetic.SCALES_TARGET, "")
    choices = loaded.choices.set_index(["label", "dim"])
    assert choices.loc[("sm", 4), "note"] == "not all rates tried yet"
    assert choices.loc[("sm", 4), "factor"] == 1
    assert choices.loc[("ssm", 4), "factor"] == 3
    rates = loaded.tuned.quality.groupby(["label", "dim"], observed=True)["rate_factor"].agg(set)
    assert rates.to_dict() == {
        (label, d): {1.0 if (label, d) == ("sm", 4) else 3.0} for label in ("sm", "ssm") for d in DIMS[:3]
    }


def test_the_parts_of_the_time_multiply_to_it(found):
    tidy = scaling_tables.parts(found["own"].runs).tidy
    assert len(tidy) > 8
    assert (tidy["hit_step"] * tidy["each"]).to_numpy() == pytest.approx(tidy["cost_seconds"].to_numpy())
    assert tidy["hit_clock"].isna().all()  # packed runs: their clock is not shown


def test_the_answer_has_the_numbers_of_the_tables(found):
    text = scaling_sections.answer(found["own"])
    cells = scaling.leader(found["own"].rows)
    wins = int((cells["cost_cd"] < cells["cost"]).sum())
    assert f"in {wins or 'none'} of the 12 cells" in text
    assert "[" in text
    assert "at d = 2" in text
    assert "at d = 64" in text


def test_every_line_is_named_once_and_names_do_not_overlap(study, found):
    first = study.trials.drop_duplicates("label")
    look = Look(study.labels, first["method"].astype(str).tolist())
    one = found["own"]
    for narrow in (False, True):
        figure = scaling_figure.draw(
            one.rows, one.fits, scaling.panels(one.rows, 4), "seconds", look, narrow=narrow
        )
        for ax in figure.axes:
            texts = [text for text in ax.texts if not text.get_text().startswith("k=")]
            names = [text.get_text().split("  ")[0] for text in texts]
            assert sorted(names) == sorted({"cd, best of 3", "sm", "ssm", "nce[scale=1.5]", "dsm"})
            assert "not reached: adversarial" in ax.get_xlabel()
            heights = sorted(text.get_position()[1] for text in texts)
            assert min(np.diff(heights)) * ax.get_position().height * figure.get_size_inches()[1] >= 0.129


def test_spread_keeps_order_and_gap_and_moves_no_more_than_it_must():
    rng = np.random.default_rng(0)
    for _ in range(50):
        want = np.sort(rng.uniform(0, 1, 12))
        at = spread(want, 0.05)
        assert np.diff(at).min() >= 0.05 - 1e-12
        assert at.min() >= 0
        assert at.max() <= 1 + 1e-12
    apart = np.array([0.1, 0.5, 0.9])
    assert spread(apart, 0.05) == pytest.approx(apart)
    assert spread(np.array([0.5, 0.5]), 0.1) == pytest.approx([0.45, 0.55])


def test_who_starts_at_the_truth_is_not_compared(study):
    runs = targets.runs(study)
    expected = targets.expected(runs)
    marked = expected.assign(own_noise=expected["label"].astype(str) == "sm")
    assert "sm" not in set(scaling.comparable(marked, "seconds")["label"])
    assert "adversarial" not in set(scaling.comparable(expected, "passes")["label"])


def test_a_cell_that_was_not_tuned_says_so(study):
    expected = targets.expected(targets.runs(study))
    choices = study.choices[study.choices["dataset_label"] != "phi4"]
    grids = tuning_tables.tuned(expected, expected, choices, "seconds")
    side = next(grid for grid in grids if "phi4" in grid.title)
    assert all("(not tuned)" in cell.text for row in side.rows for cell in row[1 : 1 + len(DIMS)])


def test_the_law_of_a_step_is_named_from_ten_sizes_on():
    dims = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 128)
    made = synthetic.small(seeds=1, repeats=2, cost_dims=dims, datasets=(("gaussian", (2,)),))
    grid = tables.exponents(frames.load(made, None, "").cost)
    twelve = shown(grid)
    for quantity in ("wall-clock", "passes"):  # 6 (d + 1) passes beside an overhead that does not depend on d
        assert twelve["sm", f"law of the {quantity}"].startswith("a + b d^c, c = ")
    assert grid.tidy.set_index("label").loc["sm", "law_c"].to_numpy() == pytest.approx(1, abs=0.03)
    assert twelve["dsm", "law of the passes"] == "constant"
    seven = synthetic.small(seeds=1, repeats=2, cost_dims=dims[:7], datasets=(("gaussian", (2,)),))
    few = shown(tables.exponents(frames.load(seven, None, "").cost))
    assert few["sm", "law of the wall-clock"] == "not identified: 7 sizes, 10 needed"
