"""The documentation: its example runs as printed, and its links lead somewhere."""

import re
from pathlib import Path

import pytest

from ebmark import registry
from ebmark.conformance import check

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "results" / "README.md", *(ROOT / "docs").glob("*.md")])


def test_the_method_printed_in_the_readme_conforms(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (tmp_path / "my_method.py").write_text(code)
    findings = list(check(registry.get("method", str(tmp_path / "my_method.py"))))
    assert not [f"{f.what}: {f.found}" for f in findings if not f.ok]


def test_the_readme_lists_every_method():
    rows = re.findall(r"^\| `(\w+)` \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert sorted(rows) == registry.names("method")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_local_links_lead_somewhere(page):
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
    assert not [link for link in links if not (page.parent / link).exists()]
