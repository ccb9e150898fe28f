"""Fronts, parts of a step, failures, chains, data set by data set; and figures in the page."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from ebmark.record import FAILED
from ebmark.report import (
    chain_figures,
    dataset_sections,
    first_screen,
    frames,
    pareto,
    part_figures,
    plane_figures,
    quality_figures,
    stability,
    targets,
)
from ebmark.report.inline import COLOURS, inline
from ebmark.report.look import MARKERS, Look
from ebmark.report.status_tables import statuses
from tests import synthetic
from tests.synthetic import METHODS, SMALL, step_seconds


@pytest.fixture(scope="module")
def study():
    made = synthetic.study(datasets=(("gaussian", (2, 32)), ("phi4", (2, 32)), ("eight_gaussians", (2,))))
    return frames.load(made, synthetic.TARGET, "")


def texts(grid):
    """The cells of a grid by row and column."""
    return {
        (row[0].text, title): cell.text
        for row in grid.rows
        for title, cell in zip(grid.head, row, strict=True)
    }


# ------------------------------------------------------------------------------------------ fronts


def test_nothing_on_the_front_is_dearer_and_worse_than_another(study):
    rows = quality_figures.curves(study)[1]
    table = pareto.points(rows[rows["passes"].notna()], study.quality, "passes")
    for _, part in table.groupby(pareto.PLACE, observed=True):
        for one in part.itertuples():
            better = part[
                (part["cost"] <= one.cost) & (part["centre"] <= one.centre) & (part.index != one.Index)
            ]
            assert one.front == better.empty, one
    assert not {"adversarial"} & set(table.loc[table["dim"] == 32, "label"])  # a run of it diverged
    assert not {"nce[scale=1]"} & set(table.loc[table["dataset_label"] == "gaussian", "label"])  # the truth


def test_the_front_of_planted_points_is_named_at_each_share_of_the_cost(study):
    rows = pd.DataFrame(
        {
            "dataset_label": "a", "dim": 2, "label": ["x", "x", "y", "y"], "turn": [0, 1, 0, 1],
            "cost": [1.0, 100.0, 5.0, 90.0], "centre": [4.0, 1.0, 3.0, 2.0], "lo": np.nan, "hi": np.nan,
            "front": [True, True, True, True],
        }
    ).sort_values("cost")  # fmt: skip
    found = texts(pareto.front_table(rows, "seconds_cost"))
    assert found["a, d = 2", "at 1 % of the cost"] == "x: 4.0"
    assert found["a, d = 2", "at 10 % of the cost"] == "y: 3.0"
    assert found["a, d = 2", "at 100 % of the cost"] == "x: 1.0"
    assert found["a, d = 2", "the whole cost"] == "1.7 min"


def test_two_seeds_make_no_front():
    made = frames.load(synthetic.small(seeds=2), None, "")
    section = pareto.section(made, Look(made.labels, made.labels))
    assert section.text == ["With 2 seeds per cell nobody is called best: there is no front."]
    assert not section.grids
    assert not section.pictures[0].data["front"].any()
    assert "Best" not in section.pictures[0].alt


# ----------------------------------------------------------------------------------- parts of a step


def test_the_parts_of_a_step_are_its_seconds(study):
    table = part_figures.parts(study.cost).set_index("label")
    assert set(table["d"]) == {64}  # at d = 128 sm ran out of memory
    for made in METHODS:
        label = "nce[scale=1]" if made.label == "nce" else made.label
        whole = table.loc[label, [*part_figures.PHASES]].sum()
        assert whole == pytest.approx(step_seconds(made, 64), rel=0.1)  # five repeats with 2 % of noise each
        chain = synthetic.POINT * synthetic.BATCH * made.chain
        assert table.loc[label, "wall_sampling"] == pytest.approx(chain, rel=0.1)


def test_without_a_trusted_timing_there_are_no_parts():
    untimed = frames.load(synthetic.small(timed=False), None, "")
    assert part_figures.parts(untimed.cost).empty


# ---------------------------------------------------------------------------------------- failures


def test_shares_of_failures_are_those_that_were_made(study):
    shares = stability.failures(study).set_index("label")
    assert shares.loc["adversarial", "diverged"] == pytest.approx(2 / shares.loc["adversarial", "runs"])
    assert shares.loc["cd[k=100]", "timeout"] == pytest.approx(3 / shares.loc["cd[k=100]", "runs"])
    assert shares.loc["sm", "oom"] == pytest.approx(5 / shares.loc["sm", "runs"])
    quiet = shares.drop(["adversarial", "cd[k=100]", "sm"])
    assert (quiet[[*FAILED]] == 0).all().all()


def test_failures_are_counted_where_they_happened(study):
    found = texts(stability.places(study))
    assert found["adversarial", "phi4, d = 32"] == "1/3"
    assert found["cd[k=100]", "phi4, d = 32"] == "3/3"
    assert found["dsm", "phi4, d = 32"] == "0/3"
    assert ("dsm", "phi4, d = 2") not in found  # nothing failed there
    assert found["sm", "gaussian, d = 128"] == "5/5"


def test_a_study_without_failures_draws_none():
    quiet = frames.load(synthetic.small(datasets=SMALL[:1]), None, "")
    section = stability.section(quiet)
    assert section.text == ["Every trial is ok."]
    assert not section.pictures
    assert statuses(quiet).rows


# ------------------------------------------------------------------------------------------ chains


def test_diagnostics_of_chains_are_those_that_were_logged():
    made = synthetic.every_method(datasets=(("phi4", (2, 8)),), seeds=2)
    rows = chain_figures.rows(frames.load(made, None, ""))
    assert set(rows["label"]) == {"cd", "pcd", "recovery", "short_run"}
    for metric, value in synthetic.CHAIN.items():
        centre = rows.loc[rows["metric"] == metric, "centre"]
        assert len(centre) == 8
        np.testing.assert_allclose(centre, value, rtol=0.2)  # noise of 5 % each


# ------------------------------------------------------------------------- data set by data set


def test_every_run_stands_in_the_page_of_its_data_set(study):
    runs = targets.runs(study)
    section = dataset_sections.section(study, targets.expected(runs))
    assert [part.title for part in section.parts] == [
        "eight_gaussians (d = 2)",
        "gaussian (d = 2, 32)",
        "phi4 (d = 2, 32)",
    ]
    tidy = pd.concat([grid.tidy for part in section.parts for grid in part.grids])
    assert tidy["runs"].sum() == len(study.quality)
    assert tidy["ok"].sum() == (study.quality["status"] == "ok").sum()
    final = frames.finals(study, "fisher")
    one = final[(final["label"] == "dsm") & (final["dataset_label"] == "phi4") & (final["dim"] == 32)]
    row = tidy[(tidy["label"] == "dsm") & (tidy["dataset_label"] == "phi4") & (tidy["dim"] == 32)]
    assert row["fisher_value"].item() == pytest.approx(one["per_dim"].mean())
    ring = {row[0].text: row[2].text for row in section.parts[0].grids[0].rows}
    assert ring["sm"] == "declined"
    assert ring["dsm"] == "3/3"


def test_the_line_below_the_title_counts_every_trial(study):
    text = first_screen.counts(study)
    assert text.startswith(f"{len(study.trials)} trials: ")
    counted = {state: int(n) for n, state in re.findall(r"([\d,]+) (ok|diverged|timeout|oom|skipped)", text)}
    assert counted == study.trials["status"].value_counts().to_dict()


# ------------------------------------------------------------------------------- pictures and pages


def test_pictures_in_the_plane_are_the_lattice_that_was_kept(study):
    (ring,) = plane_figures.planes(study).values()
    assert {plane.id.rsplit("-", 1)[1] for plane in ring} == {"0"}  # the smallest seed
    assert "sm" not in {plane.label for plane in ring}  # it declined
    dsm = next(plane for plane in ring if plane.label == "dsm")
    rows = study.samples(dsm.id)
    for i, j in ((0, 0), (3, 17), (20, 5)):
        here = [tuple(x) == (dsm.axes[0][j], dsm.axes[1][i]) for x in rows["x"]]
        assert dsm.model[i, j] == rows.loc[here, "log_model"].item()
        assert dsm.truth[i, j] == rows.loc[here, "log_true"].item()
    data = plane_figures.lattice_data(ring)
    assert data.loc[0, "dsm"] == pytest.approx(dsm.model[0, 0], abs=0.005)
    assert set(data.columns) == {"x1", "x2", "truth", *(plane.label for plane in ring)}


def test_a_fine_lattice_is_thinned_to_what_a_screen_shows():
    made = frames.load(
        synthetic.small(datasets=SMALL[1:2], methods=METHODS[:1], lattice=200, seeds=1), None, ""
    )
    ((plane,),) = plane_figures.planes(made).values()
    assert plane.model.shape == (67, 67)
    assert np.diff(plane.axes[0]) == pytest.approx(9 * 3 / 199)
    assert len(plane_figures.lattice_data([plane])) == 17**2


SVG = b"""<?xml version="1.0"?>
<!DOCTYPE svg>
<svg xmlns:xlink="http://www.w3.org/1999/xlink" width="10pt" height="20pt" viewBox="0 0 10 20">
 <metadata>of a file</metadata>
 <g id="axes_1"><path id="m1" d="M 1.23456 2.00001" style="fill: #ffffff; stroke: #0173b2"/></g>
 <text style="font: 9px 'DejaVu Sans'; fill: #262626">0.00512 s</text>
 <use xlink:href="#m1"/><g clip-path="url(#m1)"/>
</svg>"""


def test_a_figure_in_the_page_takes_its_colours_and_keeps_its_words():
    text = inline(SVG, "f3", 'what "it" shows')
    assert text.startswith('<svg viewBox="0 0 10 20" role="img" aria-label="what &quot;it&quot; shows">')
    assert ">0.00512 s<" in text  # words are not rounded
    assert "M 1.23 2" in text
    assert "stroke: var(--s0)" in text
    assert "fill: var(--ink)" in text
    assert 'id="f30"' in text
    assert 'href="#f30"' in text
    assert "url(#f30)" in text
    assert "axes_1" not in text
    assert "metadata" not in text


def test_every_colour_of_a_line_has_one_for_the_dark():
    labels = [made.label for made in METHODS]
    look = Look(labels, [made.name for made in METHODS])
    for label in labels:
        assert look.colour(label) in COLOURS
        assert look.line(label)["marker"] in MARKERS
