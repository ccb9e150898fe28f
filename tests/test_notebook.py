"""The notebook of the documentation runs from its first cell to its last, and shows what is stored in it."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
LARGEST = 300_000  # bytes: it is read in a browser

spec = importlib.util.spec_from_file_location("notebook", ROOT / "scripts" / "notebook.py")
runner = importlib.util.module_from_spec(spec)
spec.loader.exec_module(runner)


def shown(cell):
    """What kinds of output a cell has."""
    return [sorted(out.get("data", {"stdout": 0})) for out in cell["outputs"]]


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # a reader's Python does not make errors of warnings
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_cell_runs_and_shows_the_kinds_of_output_that_are_stored(path):
    stored = json.loads(path.read_text(encoding="utf-8"))
    now = runner.executed(path)
    pairs = [
        (old, new)
        for old, new in zip(stored["cells"], now["cells"], strict=True)
        if old["cell_type"] == "code"
    ]
    assert [shown(old) for old, _ in pairs] == [shown(new) for _, new in pairs]
    assert [old["execution_count"] for old, _ in pairs] == list(range(1, len(pairs) + 1))
    kinds = {kind for old, _ in pairs for one in shown(old) for kind in one}
    assert {"image/png", "text/html", "stdout"} <= kinds


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_small_names_no_machine_and_links_lead_somewhere(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.encode()) < LARGEST
    assert not re.findall(r"/(?:home|root|tmp|Users|work)/[^\"\s]*", text)
    cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown"]
    links = re.findall(r"\]\((?!https?:)([^)#]+)", "".join("".join(cell["source"]) for cell in cells))
    assert links
    assert not [link for link in links if not (path.parent / link).exists()]


def test_outputs_are_those_that_jupyter_would_store(tmp_path):
    source = ["print('said')\n", "import pandas as pd\n", "pd.DataFrame({'a': [1]})"]
    figure = "import matplotlib.pyplot as plt\nplt.plot([1, 2]);"
    cells = [{"cell_type": "code", "source": s} for s in (source, [figure], ["x = 2"], ["x"])]
    (tmp_path / "n.ipynb").write_text(json.dumps({"cells": cells}))
    assert runner.main([str(tmp_path / "n.ipynb"), "--fix"]) == 0
    made = json.loads((tmp_path / "n.ipynb").read_text())["cells"]
    kinds = [["stdout"], ["text/html", "text/plain"]], [["image/png", "text/plain"]], [], [["text/plain"]]
    assert [shown(cell) for cell in made] == list(kinds)
    assert made[0]["outputs"][0]["text"] == ["said\n"]
    assert made[3]["outputs"][0]["data"]["text/plain"] == ["2"]


def test_a_cell_that_fails_fails(tmp_path):
    cells = [{"cell_type": "code", "source": ["1 / 0"]}]
    (tmp_path / "n.ipynb").write_text(json.dumps({"cells": cells}))
    with pytest.raises(ZeroDivisionError):
        runner.executed(tmp_path / "n.ipynb")
