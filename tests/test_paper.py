"""What goes into a paper: tables that compile, bold only what a test bears, figures with fonts that embed."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest

from ebmark.report import frames, paper, paper_figures, paper_tables
from ebmark.report.look import Look
from ebmark.report.paper_latex import latex, parts
from ebmark.report.paper_look import pdf, print_theme
from ebmark.report.paper_numbers import Column, Entry, PaperTable
from ebmark.report.paper_parts import BOLD
from ebmark.stats import best_by_test, pairs_needed
from tests import synthetic
from tests.synthetic import FEW, SMALL, small

SEEDS = 10
BESIDE = {"methods": FEW, "datasets": SMALL[:2], "lattice": 8}


def loaded(made, title="A study"):
    return frames.load(made, synthetic.TARGET, title)


@pytest.fixture(scope="module")
def study():
    return loaded(small(seeds=SEEDS, **BESIDE))


def entries(table, label):
    """The cells of a row by data set and dimension."""
    i = list(table.rows).index(label)
    return {(column.group, column.title): column.entries[i] for column in table.columns}


def test_the_numbers_are_the_means_and_standard_errors_of_the_runs(study):
    table = paper_tables.quality(study, "fisher")
    final = frames.finals(study, "fisher")
    checked = 0
    for label in table.rows:
        for (dataset, d), entry in entries(table, label).items():
            here = final[(final["label"] == label) & (final["dataset_label"] == dataset)]
            values = here.loc[here["dim"] == int(d.removeprefix("d = ")), "value"] / int(d[4:])
            if not math.isnan(entry.value):
                assert entry.value == pytest.approx(values.mean())
                assert entry.se == pytest.approx(values.std() / math.sqrt(len(values)))
                checked += 1
    assert checked > 10


def test_bold_is_the_best_and_what_the_test_does_not_tell_from_it(study):
    table = paper_tables.quality(study, "fisher")
    assert BOLD in table.caption
    final = frames.finals(study, "fisher")
    for column in table.columns:
        here = final[final["dataset_label"] == column.group]
        here = here[here["dim"] == int(column.title.removeprefix("d = "))]
        bold = {label for label, entry in zip(table.rows, column.entries, strict=True) if entry.bold}
        fair = here[~here["own_noise"]].groupby("label", observed=True)["value"].mean()
        assert fair.idxmin() in bold
        assert len(bold) < len(fair)


def test_untrusted_and_failed_runs_are_marked_and_never_bold(study):
    made = small(seeds=SEEDS, **BESIDE)
    best = paper_tables.quality(study, "fisher")
    label = next(name for name, entry in zip(best.rows, best.columns[0].entries, strict=True) if entry.bold)
    dataset, d = best.columns[0].group, int(best.columns[0].title[4:])
    trials = made.trials.copy()
    one = trials.index[
        (trials["method_label"] == label)
        & (trials["dataset_label"] == dataset)
        & (trials["dim"] == d)
        & (trials["lane"] == "quality")
    ][0]
    trials.loc[one, "status"] = "diverged"
    table = paper_tables.quality(loaded(replace(made, trials=trials)), "fisher")
    failed = entries(table, label)[dataset, f"d = {d}"]
    assert not failed.bold
    assert table.notes[failed.marks] == "1 diverged of 10 runs"
    curve = made.curve.copy()
    doubt = (curve["id"] == trials.loc[one, "id"]) & (curve["metric"] == "fisher")
    curve.loc[doubt, ["trusted", "lo", "hi"]] = [False, 0.1 * d, 0.3 * d]
    table = paper_tables.quality(loaded(replace(made, curve=curve)), "fisher")
    doubtful = entries(table, label)[dataset, f"d = {d}"]
    assert (doubtful.text, doubtful.marks, doubtful.bold) == ("[0.100, 0.300]", "†", False)
    assert "†: a check failed; its interval, never ranked." in table.caption


@pytest.mark.parametrize("seeds", [2, 5])
def test_few_seeds_make_nothing_bold_and_the_caption_says_so(seeds):
    made = loaded(small(seeds=seeds, **BESIDE))
    for table in paper_tables.every(made):
        assert not any(entry.bold for column in table.columns for entry in column.entries)
        if table.name.startswith("quality"):
            assert f"Nothing is bold: too few seeds: {seeds}, " in table.caption


def test_the_fewest_pairs_are_those_that_holm_can_tell():
    for methods in (2, 3, 6, 12, 20):
        n = pairs_needed(methods)
        assert 2 ** (1 - n) * (methods - 1) < 0.05 or n == 6
        assert 2 ** (2 - n) * (methods - 1) >= 0.05 or n == 6
        values = np.arange(methods)[:, None] + 0.001 * np.random.default_rng(0).normal(size=(methods, n))
        rank = best_by_test(values)
        assert (rank.best, rank.ties.any(), rank.star) == (0, False, True)
        few = best_by_test(values[:, : n - 1])
        assert (few.best, few.note) == (None, f"too few seeds: {n - 1}, {n} needed")


def test_equal_methods_are_seldom_told_apart_and_inf_is_worse_than_all():
    rng = np.random.default_rng(1)
    told = 0
    for _ in range(200):
        rank = best_by_test(rng.normal(size=(4, 10)))
        told += rank.ties.sum() != 3
    # the best is chosen from the same values, which tells more apart than 5 %
    assert told / 200 <= 0.25
    values = np.vstack([rng.normal(5, 0.1, 10), np.full(10, np.inf), np.full(10, np.nan)])
    rank = best_by_test(values, centre=np.array([5.0, np.inf, np.nan]))
    assert (rank.best, rank.ties.tolist()) == (0, [False, False, False])


def test_every_special_letter_is_escaped_and_columns_align():
    column = Column(
        title="d = 2",
        group="odd_[set]",
        entries=[
            Entry(value=0.0123, se=0.0012, bold=True),
            Entry(value=123.4, se=2.6, marks="a"),
            Entry(value=-5.0),
            Entry(text="[0.1, 0.3]", marks="†"),
            Entry(marks="b"),
            Entry(),
            Entry(value=3.1e9, se=2e8),
        ],
    )
    rows = [r"a_b%c#d&e$f{g}~h^i\j", "ν ≤ 1", "<x|y>", "m", "n", "o", "p"]
    text = latex(
        PaperTable(name="odd_one", caption="50 % of a_b", rows=rows, columns=[column], notes={"a": "1 # 2"})
    )
    assert r"a\_b\%c\#d\&e\$f\{g\}\textasciitilde{}h\textasciicircum{}i\textbackslash{}j" in text
    assert "$<$x$|$y$>$" in text
    assert r"\bfseries 0.0123 \pm 0.0012 \\" in text
    assert r"123.4 \pm 2.6 {\textsuperscript{a}}" in text
    assert r"{{[}0.1, 0.3{]}\textsuperscript{\dag{}}}" in text
    assert r"& {--\textsuperscript{b}} \\" in text
    assert r"{$(3.1 \pm 0.2) \times 10^{9}$}" in text
    assert "table-format={-3.4(2){" in text
    assert r"\textsuperscript{a}1 \# 2." in text


def test_a_wide_or_long_table_is_cut_and_nothing_is_lost():
    rows = [f"method_{i}" for i in range(60)]
    columns = [
        Column(
            title=f"d = {d}", group="gaussian", entries=[Entry(value=1.234 + i, se=0.05) for i in range(60)]
        )
        for d in range(20)
    ]
    pieces = parts(PaperTable(name="t", caption="c.", rows=rows, columns=columns))
    assert sum(len(piece.rows) * len(piece.columns) for piece in pieces) == 60 * 20
    assert {piece.name for piece in pieces} == {f"t_{i}" for i in range(1, len(pieces) + 1)}
    widths = [len(piece.columns) for piece in pieces]
    assert max(widths) - min(widths) <= 1


def test_figures_are_a_column_wide_with_embedded_truetype(study):
    first = study.trials.drop_duplicates("label")
    look = Look(study.labels, first["method"].astype(str).tolist())
    with print_theme():
        figures = paper_figures.every(study, look)
        assert [figure.name for figure in figures] == ["step_cost", "quality"]
        for figure in figures:
            for width in (3.25, 6.75):
                page = pdf(figure.draw(width))
                assert page == pdf(figure.draw(width))
                box = [float(x) for x in re.search(rb"/MediaBox \[([^\]]*)\]", page)[1].split()]
                assert box[2] == pytest.approx(72 * width)
                assert b"/Type3" not in page
                assert b"/FontFile2" in page
                sizes = {text.get_fontsize() for ax in figure.draw(width).axes for text in ax.texts}
                assert sizes <= {8.0, 7.0}
            assert f"n={SEEDS} seeds" in figure.caption


def test_the_cost_to_a_target_has_cd_at_its_best_and_every_other_method():
    methods = (*synthetic.chains_of(ks=(1, 10), samplers=("mala",)), *synthetic.SCALES[15:18])
    made = synthetic.scaling(methods=methods, datasets=("phi4",), dims=(2, 4, 8), tune=False)
    study = frames.load(made, synthetic.SCALES_TARGET, "scaling")
    first = study.trials.drop_duplicates("label")
    look = Look(study.labels, first["method"].astype(str).tolist())
    with print_theme():
        figure = paper_figures.target_cost(study, look)
        drawn = figure.draw(3.25)
    lines = [line for line in drawn.axes[0].get_lines() if len(line.get_xdata()) == 3]
    assert len(lines) == 1 + 3
    names = [text.get_text() for text in drawn.legends[0].get_texts()]
    assert names[0] == "cd, best"
    assert "cd, best: the cheapest of 2 settings at each d, chosen in hindsight." in figure.caption


def test_it_compiles_with_latex(tmp_path):
    if shutil.which("pdflatex") is None:
        pytest.skip("needs pdflatex: apt-get install texlive-latex-recommended texlive-science")
    found = subprocess.run(["kpsewhich", "siunitx.sty"], capture_output=True, text=True, check=False)
    if not found.stdout:
        pytest.skip("needs siunitx: apt-get install texlive-science")
    made = small(seeds=7, **BESIDE)
    odd = {label: f"{label}_%&#$ν" for label in made.trials["method_label"].unique()[:2]}
    trials = made.trials.assign(method_label=made.trials["method_label"].replace(odd))
    files = paper.write(replace(made, trials=trials), tmp_path, spec=synthetic.TARGET, title="a_b % c")
    assert files[0] == tmp_path / "main.tex"
    assert all(path.is_file() for path in files)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "main.tex"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stdout[-2000:]
    log = (tmp_path / "main.log").read_text(encoding="latin-1")
    wide = [float(points) for points in re.findall(r"Overfull \\hbox \((\d+\.\d+)pt", log)]
    assert not wide, wide
    assert "Missing character" not in log
