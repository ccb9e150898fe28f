"""Runs the cells of a notebook in order, in one namespace: scripts/notebook.py NAME.ipynb [--fix].

With --fix what the cells give is stored in the notebook. Jupyter does the same, but nbclient and ipykernel
are fifteen packages and talk to a kernel over sockets; a page of documentation needs neither. What Jupyter
would show is shown: what is printed, the value of a cell's last line as text and HTML, open figures as PNG.
"""

from __future__ import annotations

import argparse
import ast
import base64
import io
import json
import os
import sys
from contextlib import chdir, redirect_stdout
from pathlib import Path
from typing import Any

DPI = 72
Outputs = list[dict[str, Any]]


def executed(notebook: Path) -> dict[str, Any]:
    """The notebook with the outputs that its cells give in its own folder; raises what a cell raises."""
    import matplotlib

    matplotlib.use("Agg")
    content: dict[str, Any] = json.loads(notebook.read_text(encoding="utf-8"))
    namespace: dict[str, Any] = {"__name__": "__main__"}
    count = 0
    with chdir(notebook.parent):
        for cell in content["cells"]:
            if cell["cell_type"] == "code":
                count += 1
                cell["execution_count"] = count
                cell["outputs"] = _outputs("".join(cell["source"]), count, namespace)
    return content


def _outputs(source: str, count: int, namespace: dict[str, Any]) -> Outputs:
    """What a cell shows."""
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(compile(tree, f"cell {count}", "exec"), namespace)
        value = None
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), f"cell {count}", "eval"), namespace)
    shown: Outputs = []
    if text := printed.getvalue():
        shown.append({"output_type": "stream", "name": "stdout", "text": _lines(text)})
    if value is not None and not source.rstrip().endswith(";"):
        shown.append({"output_type": "execute_result", "execution_count": count, **_data(value)})
    return shown + _figures()


def _data(value: Any) -> dict[str, Any]:
    data = {"text/plain": _lines(repr(value))}
    if hasattr(value, "_repr_html_") and (html := value._repr_html_()):
        data["text/html"] = _lines(html)
    return {"data": data, "metadata": {}}


def _figures() -> Outputs:
    """Every open figure as a picture; closes them."""
    import matplotlib.pyplot as plt

    shown: Outputs = []
    for number in plt.get_fignums():
        file = io.BytesIO()
        plt.figure(number).savefig(
            file, format="png", dpi=DPI, bbox_inches="tight", metadata={"Software": None}
        )
        picture = base64.b64encode(file.getvalue()).decode()
        data = {"image/png": picture, "text/plain": ["<Figure>"]}
        shown.append({"output_type": "display_data", "data": data, "metadata": {}})
    plt.close("all")
    return shown


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def main(arguments: list[str]) -> int:
    """Runs the notebook; returns 1 and one line if a cell fails."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("notebook", type=Path)
    parser.add_argument("--fix", action="store_true", help="store what the cells give")
    options = parser.parse_args(arguments)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    content = executed(options.notebook)
    if options.fix:
        text = json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True)
        options.notebook.write_text(f"{text}\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
