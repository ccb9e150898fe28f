"""``ebmark report --paper``: tables in LaTeX and figures in PDF that go into a paper as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib as mpl

from ebmark.report import paper_figures, paper_tables
from ebmark.report.frames import Study, Tables, load
from ebmark.report.grid import escape
from ebmark.report.look import Look
from ebmark.report.paper_figures import PaperFigure
from ebmark.report.paper_latex import latex, parts
from ebmark.report.paper_look import WIDTHS, pdf, print_theme
from ebmark.report.paper_numbers import PaperTable

MAIN = r"""% Everything that `ebmark report --paper` wrote, on pages of their own: pdflatex main.tex
\documentclass[10pt]{article}
\usepackage[margin=0.875in]{geometry} % text as wide as two columns: 6.75 in
\usepackage{booktabs, graphicx, siunitx}
\begin{document}
BODY
\end{document}
"""
FLOAT = r"""\begin{figureSTAR}\centering
\includegraphics{figures/NAME.pdf}
\caption{CAPTION}
\label{fig:LABEL}
\end{figureSTAR}
"""


def write(tables: Tables, out: Path, *, spec: Mapping[str, Any] | None, title: str) -> list[Path]:
    """Writes main.tex, tables/ and figures/ below ``out``; the same tables give the same bytes.

    Args:
        tables: what a results folder holds.
        out: the folder, made where it is missing.
        spec: the parsed study file, for its targets.
        title: of the document.

    Returns:
        The files written.

    Raises:
        StoreError: there is no trial.
    """
    mpl.use("Agg")
    study = load(tables, spec, title)
    first = study.trials.drop_duplicates("label")
    look = Look(study.labels, first["method"].astype(str).tolist())
    written, inputs = [], []
    for table in (part for whole in _tables(study) for part in parts(whole)):
        written.append(_file(out / "tables" / f"{table.name}.tex", latex(table)))
        inputs.append(f"tables/{table.name}")
    with print_theme():
        for figure in paper_figures.every(study, look):
            written += _drawn(figure, out / "figures")
            inputs += [f"figures/{figure.name}{end}" for end in WIDTHS]
    body = "\n\\clearpage\n".join(rf"\input{{{name}}}" for name in inputs)
    return [_file(out / "main.tex", MAIN.replace("BODY", body)), *written]


def _tables(study: Study) -> list[PaperTable]:
    """The tables, and those of the runs at the chosen rates where the study tunes."""
    found = paper_tables.every(study)
    if study.tuned is None:
        return found
    tuned = [table for table in paper_tables.every(study.tuned) if table.name not in paper_tables.OF_STEPS]
    said = "At the best learning rate of those tried for each method and cell. "
    return [*found, *(replace(one, name=f"{one.name}_tuned", caption=said + one.caption) for one in tuned)]


def _drawn(figure: PaperFigure, folder: Path) -> list[Path]:
    """In each width the PDF file and a float that includes it, relative to main.tex."""
    written = []
    for end, width in WIDTHS.items():
        name = f"{figure.name}{end}"
        text = FLOAT.replace("STAR", "*" * bool(end)).replace("NAME", name)
        label = name.replace("_", "-")
        text = text.replace("CAPTION", escape(figure.caption)).replace("LABEL", label)
        written.append(_file(folder / f"{name}.tex", text))
        written.append(folder / f"{name}.pdf")
        written[-1].write_bytes(pdf(figure.draw(width)))
    return written


def _file(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")
    return path
