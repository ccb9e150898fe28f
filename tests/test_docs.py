"""The documentation: its example runs as printed, and its links lead somewhere."""

import re
from pathlib import Path

import pandas as pd
import pytest

from ebmark import measured_page, method_page, registry
from ebmark.conformance import check
from ebmark.dataset_check import check_dataset
from ebmark.errors import PluginError
from ebmark.marked import between
from ebmark.metric_check import check_metric
from ebmark.store import Tables, read

ROOT = Path(__file__).parent.parent
GUIDE = ROOT / "docs" / "add-a-method.md"
PAGES = sorted([ROOT / "README.md", ROOT / "results" / "README.md", *(ROOT / "docs").glob("*.md")])


def whole_methods(page: Path) -> list[str]:
    """The Python blocks of a page that are a method file of their own."""
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [code for code in blocks if "@method(" in code]


def test_the_method_printed_in_the_readme_conforms(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (tmp_path / "my_method.py").write_text(code)
    findings = list(check(registry.get("method", str(tmp_path / "my_method.py"))))
    assert not [f"{f.what}: {f.found}" for f in findings if not f.ok]


@pytest.mark.parametrize(
    "code", whole_methods(GUIDE), ids=lambda code: re.search(r'@method\("(\w+)"', code)[1]
)
def test_every_whole_method_of_the_guide_conforms(code, tmp_path):
    if "torchebm" in code:
        pytest.importorskip("torchebm", reason="torchebm is not installed")
    (tmp_path / "my_method.py").write_text(code)
    findings = list(check(registry.get("method", str(tmp_path / "my_method.py"))))
    assert not [f"{f.what}: {f.found}" for f in findings if not f.ok]


@pytest.mark.parametrize(("kind", "test"), [("dataset", check_dataset), ("metric", check_metric)])
def test_the_whole_file_of_the_other_guides_conforms(kind, test, tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / f"add-a-{kind}.md").read_text(), re.DOTALL)
    (tmp_path / "mine.py").write_text(code)
    findings = list(test(registry.get(kind, str(tmp_path / "mine.py"))))
    assert len(findings) >= 5
    assert not [f"{f.what}: {f.found}" for f in findings if not f.ok]


@pytest.mark.parametrize("page", ["README.md", "docs/methods.md"])
def test_the_table_of_methods_is_what_the_methods_say(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    assert method_page.filled(text, method_page.all_facts()) == text, "run scripts/check --fix"


def test_the_table_of_methods_names_every_built_in_method():
    built_in = [entry.name for entry in registry.entries("method") if entry.origin.startswith("ebmark.")]
    rows = re.findall(r"^\| `(\w+)` \|", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(rows) == sorted(built_in)


def test_the_facts_of_the_guide_s_method(tmp_path):
    (tmp_path / "my_method.py").write_text(whole_methods(GUIDE)[0])
    facts = method_page.facts(registry.get("method", str(tmp_path / "my_method.py")))
    assert (facts.name, facts.authors, facts.year) == ("reg_sm", "Kingma and LeCun", 2010)
    assert facts.method == "Score matching with a penalty on the curvature"
    assert (facts.cost, facts.minimiser) == ("6 (d + 1)", "1 / (v + 2λ)")
    assert facts.title == "Regularized estimation of image statistics by score matching, NIPS 2010"
    assert facts.link.startswith("https://papers.nips.cc/")


@pytest.mark.parametrize(
    ("piece", "instead", "missing"),
    [
        ("(Kingma and LeCun, 2010)", "", "first sentence has no '(Authors, 2010)'"),
        ("(Kingma and LeCun, 2010)", "(Kingma and LeCun, 2011)", "first sentence has no '(Authors, 2010)'"),
        ("Reference:", "See", "no paragraph 'Reference: Title, venue, year, https://...'"),
        ("6 (d + 1) F.", "The cost.", "passes() does not begin with a cost, such as '6 (d + 1) F.'"),
        ('"""1 / (v + 2λ)."""', "", "gaussian_precision() has no docstring, such as '1 / (v + σ²).'"),
    ],
)
def test_a_piece_that_a_docstring_lacks_is_named_with_its_file(piece, instead, missing, tmp_path):
    code = whole_methods(GUIDE)[0]
    assert piece in code
    (tmp_path / "my_method.py").write_text(code.replace(piece, instead))
    with pytest.raises(PluginError) as error:
        method_page.facts(registry.get("method", str(tmp_path / "my_method.py")))
    assert str(error.value).startswith(f"{tmp_path.name}/my_method.py: reg_sm: ")
    assert str(error.value).endswith(missing)


@pytest.mark.parametrize(
    ("citation", "authors"),
    [
        ("(Hinton, 2002)", "Hinton"),
        ("(Gutmann and Hyvärinen, 2002)", "Gutmann and Hyvärinen"),
        ("(Song, Garg, Shi and Ermon, 2002)", "Song et al."),
        ("(Song et al., 2002)", "Song et al."),
        ("(Tieleman, 2001; Du & Mordatch, 2002)", "Du and Mordatch"),
        ("(Tieleman, 2001) with a buffer (Du and Mordatch, 2002)", "Du and Mordatch"),
    ],
)
def test_authors_of_a_citation(citation, authors, tmp_path):
    code = whole_methods(GUIDE)[0].replace("year=2010", "year=2002")
    (tmp_path / "my_method.py").write_text(code.replace("(Kingma and LeCun, 2010)", citation))
    facts = method_page.facts(registry.get("method", str(tmp_path / "my_method.py")))
    assert facts.authors == authors
    assert "(" not in facts.method


def test_an_outdated_page_is_told_in_one_line_and_mended(tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- methods -->\nold\n<!-- /methods -->\nafter\n")
    assert method_page.main([str(page)]) == 1
    assert (
        capsys.readouterr().err == f"{page}: the table of methods is out of date; run scripts/check --fix\n"
    )
    assert method_page.main([str(page), "--fix"]) == 0
    assert method_page.main([str(page)]) == 0
    lines = page.read_text(encoding="utf-8").splitlines()
    assert (lines[0], lines[-1]) == ("before", "after")
    assert "old" not in lines


def test_a_page_without_a_place_for_the_table_is_told(tmp_path, capsys):
    (tmp_path / "page.md").write_text("<!-- methods -->\n")
    assert method_page.main([str(tmp_path / "page.md"), "--fix"]) == 1
    assert "page.md: no table of methods; allowed: between '<!-- methods -->'" in capsys.readouterr().err


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_local_links_lead_somewhere(page):
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
    assert not [link for link in links if not (page.parent / link).exists()]


def test_the_measured_tables_are_those_of_the_committed_run():
    page = (ROOT / "docs" / "methods.md").read_text()
    made = page
    for name, lines in measured_page.tables(read(ROOT / "results" / "methods")).items():
        made = between(made, name, lines)
    assert made == page


def three_runs(**columns):
    """Three runs of one method, of which one diverged."""
    trials = pd.DataFrame(
        {
            "id": ["a", "b", "c"],
            "seed": [0, 1, 2],
            "method": "nce",
            "method_label": "nce",
            "method_args": '{"scale":1.0}',
            "dataset": "eight_gaussians",
            "dataset_label": "eight_gaussians",
            "dim": 2,
            "lane": "quality",
            "status": ["ok", "ok", "diverged"],
            "steps": [10, 10, 4],
            "passes": [100.0, 100.0, 40.0],
        }
    )
    curve = pd.DataFrame(
        {
            "id": ["a", "a", "b", "c", "b"],
            "step": [5, 10, 10, 4, 10],
            "metric": "kl",
            "source": ["", "", "", "", "own_generator"],
            "value": [9.0, 0.25, 0.75, 99.0, 77.0],
            "trusted": [True, True, False, True, True],
        }
    )
    return Tables(folder=Path(), trials=trials.assign(**columns), curve=curve, env=pd.DataFrame())


def test_a_failed_run_is_counted_and_enters_no_median():
    """The median is that of the other two."""
    made = measured_page.tables(three_runs())
    assert made["measured"][2:] == ["| `nce` | 10 | 1.0e2 | [0.5]† (2/3) | 0.25, [0.75]† | 1 diverged of 3 |"]
    assert made["measured elsewhere"][2].startswith("| `nce` | not run |")


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({}, "[0.25]†‡ (2/3)"),
        ({"method_args": '{"scale":1.5}'}, "[0.25]† (2/3)"),
        ({"status": ["ok", "skipped", "diverged"]}, "0.12‡ (1/2)"),
        ({"status": ["ok", "skipped", "skipped"]}, "0.12‡"),
        ({"status": ["ok", "ok", "ok"]}, "[0.38]†‡"),
        ({"status": "timeout"}, "timeout"),
        ({"method": "fce", "method_args": "{}"}, "[0.25]†‡ (2/3)"),
        ({"dataset_label": "phi4", "dataset": "phi4"}, "[0.25]† (2/3)"),
    ],
)
def test_cells_elsewhere_say_who_failed_and_who_starts_at_the_truth(columns, says):
    data = {"dataset": "gaussian", "dataset_label": "gaussian[condition=10]"}
    made = three_runs(**{**data, **columns})
    made.curve["metric"] = "fisher"  # per dimension there
    made.curve.loc[made.curve["id"] == "c", "value"] = 0.75
    row = measured_page.tables(made)["measured elsewhere"][2]
    assert says in row.split(" | ")


def test_a_run_without_the_metric_has_no_value():
    data = {"dataset": "gaussian", "dataset_label": "gaussian[condition=10]"}
    assert "no value" in measured_page.tables(three_runs(**data, status="ok"))["measured elsewhere"][2]


def test_wrong_results_or_a_wrong_page_are_told_in_one_line(tmp_path, capsys, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text("<!-- measured -->\n<!-- /measured -->\n")
    assert measured_page.main([str(page), str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith(f"{tmp_path}: not a results folder, it has no folder trials/; ")
    monkeypatch.setattr(measured_page, "read", lambda folder: three_runs())
    assert measured_page.main([str(page), str(tmp_path), "--fix"]) == 1
    told = capsys.readouterr().err
    assert told.startswith(f"{page}: no table 'measured elsewhere'; allowed: ")
    assert told.count("\n") == 1
    page.write_text(page.read_text() + "<!-- measured elsewhere -->\n<!-- /measured elsewhere -->\n")
    assert measured_page.main([str(page), str(tmp_path)]) == 1
    assert capsys.readouterr().err.endswith("out of date; run scripts/check --fix\n")
    assert measured_page.main([str(page), str(tmp_path), "--fix"]) == 0
    assert measured_page.main([str(page), str(tmp_path)]) == 0
