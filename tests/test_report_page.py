"""The report as files: what is missing is said in place, the page stands alone, the bytes repeat."""

from __future__ import annotations

import base64
import hashlib
import io
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
from ebmark.record import Record
from ebmark.report.grid import records, sort_key
from ebmark.report.look import settle
from ebmark.report.page import Embedded
from ebmark.store import Store, read
from tests import synthetic
from tests.synthetic import FEW, SMALL, filed, small


def written(tables_, out, spec=synthetic.TARGET):
    files = report.write(tables_, out, spec=spec, title="A study <of> things")
    assert all(path.is_file() for path in files)
    return (out / "report.html").read_text(encoding="utf-8")


@pytest.fixture
def quick(monkeypatch):
    """Figures are drawn and laid out for a wide page, but not encoded."""

    def embed(picture, folder, prefix):
        settle(picture.draw())
        for suffix in (".svg", ".png"):
            (folder / f"{picture.name}{suffix}").touch()
        return Embedded(wide="<svg></svg>", narrow="<svg></svg>")

    monkeypatch.setattr("ebmark.report.page._embed", embed)


class Page(HTMLParser):
    """The words of a page, its figures, every address it names, its tables and the data beside them."""

    def __init__(self, text):
        super().__init__()
        self.text, self.figures, self.addresses, self.data, self.tables = "", [], [], {}, []
        self.feed(text)

    def handle_data(self, data):
        self.text += data.replace("\u00a0", " ")

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.addresses += [found[name] for name in ("src", "srcset", "href") if name in found]
        if tag == "svg":
            self.figures.append(found)
        if tag == "table":
            self.tables.append(found["id"].removeprefix("table-"))
        if "download" in found:
            head, content = found["href"].split(",", 1)
            assert head == "data:text/csv;charset=utf-8;base64"
            self.data[found["download"]] = base64.b64decode(content).decode()


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
        ({"datasets": (("gaussian", (8,)),), "cost_dims": (8,)}, "fewer than 3 dimensions"),
        ({"datasets": (("gaussian", (2, 8)),)}, "No pictures of two-dimensional densities"),
        ({"datasets": (("digits", (64,)),)}, "No trusted Fisher or KL divergence"),
        ({}, "No method in these tables logged a diagnostic"),
        (
            {"methods": tuple(m for m in FEW if not m.chain)},
            "No method in these tables runs Markov chains",
        ),
    ],
)
def test_a_missing_piece_is_said_in_place(quick, tmp_path, change, says):
    assert says in Page(written(small(**change), tmp_path)).text


def test_every_method_fits_on_the_page(quick, tmp_path):
    chosen = {"datasets": (("gaussian", (2, 8)), ("two_modes[m=3]", (2,))), "seeds": 2}
    text = Page(written(synthetic.every_method(**chosen), tmp_path)).text
    for said in ("Samples of the methods' own generators", "What the methods log", "Work of the opponents"):
        assert said in text
    assert "Colours are families: chains (" in text
    for path in (tmp_path / "tables").glob("*.tex"):
        assert path.read_text(encoding="utf-8").split("\n", 1)[1].isascii(), path.name


def test_a_method_that_nobody_knows_is_shown_like_any_other(quick, tmp_path):
    yours = synthetic.Made(name="brand_new", passes=lambda d: 9, logs={"loss": 1.0, "mood": 0.5})
    for methods in ((*FEW, yours), (*synthetic.EVERY, yours)):
        chosen = {"datasets": SMALL[:1], "seeds": 3, "cost_dims": (2, 8), "repeats": 2}
        page = Page(written(synthetic.study(**chosen, methods=methods), tmp_path))
        for name in ("exponents", "target_passes", "quality_fisher", "diagnostics", "statuses"):
            assert "brand_new" in set(pd.read_csv(tmp_path / "tables" / f"{name}.csv")["label"]), name
    assert "other (brand_new)" in page.text


def test_no_target_is_said(quick, tmp_path):
    text = Page(written(small(datasets=SMALL[:1]), tmp_path, spec=None)).text
    assert (
        "No target is set; the smallest mean of Fisher divergence / d is that of sm in 2 of 2 cells" in text
    )
    assert "a [[target]] table sets one" in text


def test_a_target_that_nothing_reached_is_all_crosses(quick, tmp_path):
    spec = {"target": [{"metric": "fisher", "value": 1e-9}]}
    page = Page(written(small(datasets=SMALL[:1]), tmp_path, spec=spec))
    assert "Nowhere did enough seeds reach Fisher divergence ≤ 1e-09." in page.text


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


# ---------------------------------------------------------------------------------------- the page


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    out = tmp_path_factory.mktemp("report")
    return out, written(small(), out)


def test_the_page_opens_offline_and_every_figure_is_described(page):
    parsed = Page(page[1])
    assert all(address.startswith(("data:image/png", "data:text/csv", "#")) for address in parsed.addresses)
    assert "@import" not in page[1]
    assert set(re.findall(r"url\((.)", page[1])) <= {"#"}
    assert "default-src 'none'" in page[1]
    assert len(parsed.figures) >= 12
    assert all(figure["role"] == "img" and len(figure["aria-label"]) > 40 for figure in parsed.figures)
    assert "A study <of> things" in parsed.text


def test_the_policy_allows_the_page_s_own_script_and_no_other(page):
    script = re.search(r"<script>(.*?)</script>", page[1], re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page[1]
    assert page[1].count("<script") == 1


def test_every_table_and_figure_brings_its_numbers(page):
    parsed = Page(page[1])
    figures = {path.stem for path in (page[0] / "figures").glob("*.svg")}
    assert set(parsed.data) == {f"{name}.csv" for name in {*parsed.tables, *figures}}
    for name, text in parsed.data.items():
        folder = "figures" if name.removesuffix(".csv") in figures else "tables"
        assert text == (page[0] / folder / name).read_text(encoding="utf-8"), name
        assert len(pd.read_csv(io.StringIO(text))) > 0, name


def test_identifiers_of_figures_are_their_own(page):
    """A clip path of one figure must not cut another."""
    ids = re.findall(r'\bid="([^"]*)"', page[1])
    assert len(ids) == len(set(ids))
    for name in re.findall(r'(?:url\(#|href="#)([\w-]+)', page[1]):
        assert name in set(ids), name


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("3.8 ms", 0.0038),
        ("2.1 × 10⁻³", 2.1e-3),
        ("1.0 × 10⁷ (3/3)", 1e7),
        ("10⁵ F", 1e5),
        ("d^0.90 [0.72, 1.07]", 0.9),
        ("[-33.8, 225]†", -33.8),
        ("∞ (1/3)", np.inf),
        ("1,295", 1295),
        ("50 %", 50),
        ("2.0 min (6/6)", 120),
        ("–", None),
        ("not run", None),
    ],
)
def test_columns_sort_by_the_number_with_which_a_cell_begins(text, key):
    assert sort_key(text) == (None if key is None else pytest.approx(key))


def test_the_first_screen_has_the_answer_and_the_headline_figure(page):
    first = page[1].split("<nav")[0]
    assert first.count("<li>") == 3
    assert 'id="figure-target_cost-first"' in first
    assert "What a fixed quality costs as the dimension grows is not shown here" in first
    assert "1 diverged" not in first  # small() has no such run
    assert Page(page[1].split("<script>")[0]).text.rstrip().endswith(("stays in.", "largest."))


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

    schemes = re.findall(r":root[^{]*\{([^}]*--page[^}]*)\}", page[1], re.DOTALL)
    light, *dark = [sorted(re.findall(r"--\w+: #\w{6}", scheme)) for scheme in schemes]
    assert len(dark) == 2
    assert dark[0] == dark[1]  # by the system and by the button
    assert len(light) == len(dark[0])
    for scheme in schemes:
        colours = dict(re.findall(r"--(\w+): (#\w{6})", scheme))
        for ink in ("ink", "soft", "link"):
            for paper in ("page", "fill"):
                pair = sorted(luminance(colours[name]) for name in (ink, paper))
                assert (pair[1] + 0.05) / (pair[0] + 0.05) >= 4.5, (ink, paper)
    texts = re.findall(r"<text [^>]*>", page[1])
    assert len(texts) > 100
    colours = {colour for text in texts for colour in re.findall(r"fill: ([^;\"]*)", text)}
    assert colours <= {"var(--ink)"}


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
    made = filed(small(seeds=1, datasets=SMALL[1:2], methods=FEW[:2], lattice=8))
    curve, samples = by_id(made.curve), by_id(made.samples)
    env = known(made.env)[0]
    with Store(tmp_path / "results") as store:
        store.append(
            [
                Record(trial=trial, curve=curve.get(id, []), env=env, samples=samples.get(id, []))
                for id, (trial,) in by_id(made.trials).items()
            ]
        )
    assert "eight_gaussians: fitted densities of one run per method" in written(
        read(tmp_path / "results"), tmp_path / "report"
    )


def test_neither_torch_nor_ray_is_imported():
    code = (
        "import sys; import ebmark.stats, ebmark.report, ebmark.report.page;"
        "assert not {'torch', 'ray'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    lazy = "import sys; import ebmark.report; assert not {'seaborn', 'jinja2', 'scipy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", lazy], check=True)
