"""The report finds what the tables hold, says what is missing, and ranks nothing that it must not."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from ebmark import report
from ebmark.errors import StoreError
from ebmark.record import TABLES, Record
from ebmark.report import cost_figures, facts, frames, status_tables, tables, target_tables, targets
from ebmark.report.grid import records
from ebmark.report.look import settle
from ebmark.report.quality_figures import curves
from ebmark.report.sample_figures import floors, lattices
from ebmark.store import Store, read
from tests import synthetic

SMALL = (("gaussian", (2, 8)), ("eight_gaussians", (2,)), ("digits", (64,)))
METHODS = tuple(m for m in synthetic.METHODS if m.label in ("cd[k=1]", "cd[k=100]", "sm", "dsm", "nce"))


@pytest.fixture(scope="module")
def study():
    return frames.load(synthetic.study(), synthetic.TARGET, "a study")


def small(**more):
    return synthetic.study(**{"datasets": SMALL, "methods": METHODS, "cost_dims": (2, 8, 32), **more})


def written(tables_, out, spec=synthetic.TARGET):
    files = report.write(tables_, out, spec=spec, title="A study <of> things")
    assert all(path.is_file() for path in files)
    return (out / "report.html").read_text(encoding="utf-8")


@pytest.fixture
def quick(monkeypatch):
    """Figures are drawn and laid out in both widths, but not encoded."""

    def embed(picture, folder):
        for narrow in (False, True):
            settle(picture.draw(narrow=narrow))
        for suffix in (".svg", ".png"):
            (folder / f"{picture.name}{suffix}").touch()
        return {"wide": "data:image/", "narrow": "data:image/"}

    monkeypatch.setattr("ebmark.report.page._embed", embed)


class Page(HTMLParser):
    """The words of a page, its pictures, and every address it names."""

    def __init__(self, text):
        super().__init__()
        self.text, self.images, self.addresses = "", [], []
        self.feed(text)

    def handle_data(self, data):
        self.text += data

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.addresses += [found[name] for name in ("src", "srcset", "href") if name in found]
        if tag == "img":
            self.images.append(found)


def test_synthetic_tables_have_exactly_the_columns_of_the_schema():
    made = small()
    for name, columns in TABLES.items():
        assert list(getattr(made, name).columns) == list(columns), name


# ----------------------------------------------------------------------------------- what is found


def test_exponents_are_those_of_the_costs_that_went_in(study):
    fitted = cost_figures.fits(study.cost)
    assert fitted["passes"]["dsm"].value == pytest.approx(0, abs=1e-12)
    d = np.array([2, 4, 8, 16, 32, 64.0])  # sm ran out of memory at 128
    expected = np.polyfit(np.log(d), np.log(6 * (d + 1)), 1)[0]
    assert fitted["passes"]["sm"].value == pytest.approx(expected)
    assert fitted["passes"]["sm"].sizes == 6
    seconds = [synthetic.step_seconds(m, size) for m in METHODS if m.name == "sm" for size in d]
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


def test_no_claim_about_chains_names_the_noise_that_is_the_truth(study):
    runs = targets.runs(study)
    expected = targets.expected(runs)
    gaussian = expected[expected["dataset_label"] == "gaussian"].assign(passes=lambda t: t["passes"])
    sentence = facts.reaching(runs[runs["dataset_label"] == "gaussian"], gaussian)
    assert "nce[scale=1.5] at" in sentence
    assert "nce at" not in sentence
    assert "‡" in " ".join(
        cell.text for row in target_tables.reached(expected, "passes").rows for cell in row
    )


def test_real_data_verdicts_follow_the_baseline(study):
    verdicts = {row["label"]: row["kind"] for row in records(status_tables.real(study).tidy)}
    assert verdicts["adversarial"] == "worse than the Gaussian"
    assert verdicts["sm"] == "beats the Gaussian"


def test_floors_choose_the_ratio_or_the_excess(study):
    rows = floors(study)
    assert set(rows.loc[rows["metric"] == "mmd", "scale"]) == {"excess"}  # unbiased: its floor is zero
    ratio = rows[rows["metric"] == "sliced_wasserstein"]
    assert set(ratio["scale"]) == {"ratio"}
    np.testing.assert_allclose(ratio["over"], ratio["value"] / 0.02)


def test_lattices_are_those_of_the_smallest_seed(study):
    rows = lattices(study)
    assert "sm" not in set(rows["label"])  # declined
    assert set(rows["id"].str.rsplit("-", n=1).str[1]) == {"0"}


# ------------------------------------------------------------------------------ what must not rank


def cell(grid, label, column):
    row = next(row for row in grid.rows if row[0].text == label)
    return row[list(grid.head).index(column)]


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
    own = cell(kl, "nce", "gaussian, d = 8")
    assert own.text.endswith("‡")
    assert not own.best
    assert not own.tie


def test_two_seeds_rank_nothing_and_the_page_says_so(quick, tmp_path):
    page = Page(written(small(seeds=2), tmp_path))
    assert "With 2 seeds per cell no ranking is claimed" in page.text
    assert "<b>" not in (tmp_path / "report.html").read_text().split('id="reached"')[1].split("</section>")[0]
    assert not (tmp_path / "tables" / "target_growth.csv").exists()
    expected = pd.read_csv(tmp_path / "tables" / "target_passes.csv")
    assert np.isinf(expected["passes"]).all()


def test_untrusted_timings_are_compared_nowhere(quick, tmp_path):
    page = Page(written(small(timed=False), tmp_path))
    assert "No timing of the cost lane is trusted" in page.text
    assert "No wall-clock can be trusted" in page.text
    assert set(pd.read_csv(tmp_path / "tables" / "exponents.csv")["quantity"]) == {"passes"}
    assert not (tmp_path / "figures" / "quality_seconds_cost.svg").exists()
    why = pd.read_csv(tmp_path / "tables" / "untrusted.csv")
    assert "cpu/wall 0.61 below 0.95" in set(why["why"])


# --------------------------------------------------------------------------------- what is missing


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"cost_dims": ()}, "No cost lane"),
        ({"datasets": (("gaussian", (2, 8)),)}, "No likelihood on real data"),
        ({"datasets": (("gaussian", (8,)),), "cost_dims": (8,)}, "Fewer than 3 dimensions"),
        ({"datasets": (("gaussian", (2, 8)),)}, "No pictures of two-dimensional densities"),
        ({"datasets": (("digits", (64,)),)}, "No trusted Fisher or KL divergence"),
        (
            {"methods": tuple(m for m in METHODS if not m.chain)},
            "No method in these tables runs Markov chains",
        ),
    ],
)
def test_a_missing_piece_is_said_in_place(quick, tmp_path, change, says):
    assert says in Page(written(small(**change), tmp_path)).text


def test_no_target_is_said(quick, tmp_path):
    assert "sets no target quality" in Page(written(small(datasets=SMALL[:1]), tmp_path, spec=None)).text


def test_a_target_that_nothing_reached_is_all_crosses(quick, tmp_path):
    spec = {"target": [{"metric": "fisher", "value": 1e-9}]}
    page = Page(written(small(datasets=SMALL[:1]), tmp_path, spec=spec))
    assert "reached by enough seeds in 0 of" in page.text


def test_a_study_in_which_everything_failed(quick, tmp_path):
    made = small()
    trials = made.trials.assign(status="crashed", reason="out of luck")
    for name in ("steps", "passes", "wall", "wall_sampling", "step_seconds", "transitions"):
        trials[name] = np.nan
    trials["trusted"] = None
    page = Page(written(replace(made, trials=trials, curve=made.curve.iloc[:0]), tmp_path))
    assert "No run finished" in page.text
    assert "out of luck" in page.text


def test_an_empty_table_is_a_one_line_error(tmp_path):
    made = small()
    with pytest.raises(StoreError, match=r"^report: .*run a study first") as error:
        report.write(replace(made, trials=made.trials.iloc[:0]), tmp_path, spec=None, title="")
    assert "\n" not in str(error.value)


def test_nothing_is_dropped_silently():
    made = small()
    orphan = made.curve.iloc[:3].assign(id="of nobody")
    loaded = frames.load(replace(made, curve=pd.concat([made.curve, orphan])), None, "")
    assert loaded.orphans == 3
    counts = status_tables.statuses(loaded).tidy.drop(columns=["label", "diverged_share"])
    assert counts.to_numpy().sum() == len(made.trials)


# ---------------------------------------------------------------------------------------- the page


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    out = tmp_path_factory.mktemp("report")
    return out, written(small(), out)


def test_the_page_opens_offline_and_every_figure_is_described(page):
    parsed = Page(page[1])
    assert all(address.startswith(("data:image/", "#")) for address in parsed.addresses)
    assert "@import" not in page[1]
    assert "url(" not in page[1]
    assert len(parsed.images) >= 6
    assert all(len(image["alt"]) > 40 for image in parsed.images)
    assert "A study <of> things" in parsed.text


def test_the_first_screen_has_the_answer_and_the_headline_figure(page):
    first = page[1].split("<nav")[0]
    assert first.count("<li>") == 3
    assert 'id="figure-target_cost-first"' in first
    assert Page(page[1]).text.rstrip().endswith(("stays in.", "largest."))


def test_all_files_are_written(page):
    figures = {path.name for path in (page[0] / "figures").iterdir()}
    for name in ("step_cost", "sampling_share", "quality_passes", "target_cost", "sample_quality"):
        assert {f"{name}.svg", f"{name}.png"} <= figures
    for path in (page[0] / "tables").glob("*.tex"):
        text = path.read_text(encoding="utf-8")
        assert r"\toprule" in text
        assert path.with_suffix(".csv").is_file()
        body = text.split("\n", 1)[1]
        assert body.isascii(), sorted(set(re.findall(r"[^\x00-\x7f]", body)))
    markdown = (page[0] / "report.md").read_text(encoding="utf-8")
    assert all((page[0] / path).is_file() for path in re.findall(r"\]\((figures/[^)]*)\)", markdown))


def test_the_same_tables_give_the_same_bytes(page, tmp_path):
    written(small(), tmp_path)
    for path in (path for path in page[0].rglob("*") if path.is_file()):
        assert path.read_bytes() == (tmp_path / path.relative_to(page[0])).read_bytes(), path.name


def test_text_has_the_contrast_of_wcag_aa_in_both_schemes(page):
    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return np.dot([0.2126, 0.7152, 0.0722], linear)

    schemes = re.findall(r":root \{(.*?)\}", page[1], re.DOTALL)
    assert len(schemes) == 2
    for scheme in schemes:
        colours = dict(re.findall(r"--(\w+): (#\w{6})", scheme))
        for ink in ("ink", "soft", "link"):
            for paper in ("page", "fill"):
                pair = sorted(luminance(colours[name]) for name in (ink, paper))
                assert (pair[1] + 0.05) / (pair[0] + 0.05) >= 4.5, (ink, paper)


def known(frame_):
    """The rows of a table without what is missing."""
    return [
        {name: value for name, value in row.items() if np.ndim(value) or value == value}
        for row in records(frame_)
    ]


def by_id(frame_):
    rows = pd.Series(known(frame_)).groupby(frame_["id"].to_numpy())
    return {id: part.tolist() for id, part in rows}


def test_a_results_folder_from_the_store_is_read(quick, tmp_path):
    made = small(seeds=1, datasets=SMALL[1:2], methods=METHODS[:2], lattice=8)
    curve, samples = by_id(made.curve), by_id(made.samples)
    env = known(made.env)[0]
    with Store(tmp_path / "results") as store:
        store.append(
            [
                Record(trial=trial, curve=curve.get(id, []), env=env, samples=samples.get(id, []))
                for id, (trial,) in by_id(made.trials).items()
            ]
        )
    assert "eight_gaussians: one run per method" in written(read(tmp_path / "results"), tmp_path / "report")


def test_neither_torch_nor_ray_is_imported():
    code = (
        "import sys; import ebmark.stats, ebmark.report, ebmark.report.page;"
        "assert not {'torch', 'ray'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    lazy = "import sys; import ebmark.report; assert not {'seaborn', 'jinja2', 'scipy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", lazy], check=True)


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
