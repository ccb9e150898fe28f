"""Verbs on results folders."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from ebmark import complete
from ebmark.console import Console
from ebmark.errors import SpecError
from ebmark.locations import location
from ebmark.verbs.options import RESULTS, Folder, Json, Location, newest_or, one_of


def status(folder: Folder = None, as_json: Json = False) -> None:
    """Count the trials of a results folder by status."""
    from ebmark.commands.status import show

    show(Console(as_json=as_json), newest_or(folder))


def report(
    folder: Folder = None,
    output: Annotated[
        Location | None,
        typer.Option(
            "-o",
            "--output",
            parser=location,
            help="A local folder to write to; default DIR/report, of s3://... in results/.",
        ),
    ] = None,
    paper: Annotated[
        bool,
        typer.Option("--paper", help="Write LaTeX tables and PDF figures for a paper, to DIR/report/paper."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Write report.html, report.md, tables and figures from a results folder."""
    from ebmark.commands.report import write

    folder = newest_or(folder)
    beside = folder if isinstance(folder, Path) else RESULTS / folder.name
    out = output or beside / "report"
    if not isinstance(out, Path):  # a page and its figures are opened from a disk
        raise SpecError(f"report: -o {out} given; allowed: a local folder such as {RESULTS / folder.name}")
    write(Console(as_json=as_json), folder, out, paper=paper)


def show(
    id: Annotated[
        str, typer.Argument(help="A trial, by the beginning of its id.", autocompletion=complete.trial)
    ],
    folder: Folder = None,
    as_json: Json = False,
) -> None:
    """Show one trial: settings, costs, curve, traceback and the command that repeats it."""
    from ebmark.commands.show import show as command

    command(Console(as_json=as_json), id, newest_or(folder))


def compare(
    a: Annotated[
        Location,
        typer.Argument(
            parser=location, help="A results folder, what was before.", autocompletion=complete.folder
        ),
    ],
    b: Annotated[
        Location,
        typer.Argument(
            parser=location, help="A results folder, what is now.", autocompletion=complete.folder
        ),
    ],
    as_json: Json = False,
) -> None:
    """Show what changed between two results folders, paired by method, data set, dimension and seed."""
    from ebmark.commands.compare import show

    show(Console(as_json=as_json), a, b)


def merge(
    folders: Annotated[list[Location], typer.Argument(parser=location, help="Results folders, two or more.")],
    output: Annotated[
        Location, typer.Option("-o", "--output", parser=location, help="The new results folder.")
    ],
    as_json: Json = False,
) -> None:
    """Put results folders together: quality pools across machines, the clock of different runs does not."""
    from ebmark.commands.merge import merge as command

    command(Console(as_json=as_json), folders, output)


def compact(folder: Folder = None, as_json: Json = False) -> None:
    """Rewrite the small files of a results folder into one per table; a run does so when it ends."""
    from ebmark.commands.compact import compact as command

    command(Console(as_json=as_json), newest_or(folder))


def export(
    folder: Folder = None,
    format: Annotated[Optional[str], typer.Option(help="csv or parquet; default by FILE.")] = None,  # noqa: UP045
    output: Annotated[
        Location | None,
        typer.Option("-o", "--output", parser=location, help="The file; default DIR/export.csv or .parquet."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write one wide table for pandas, R or a spreadsheet: a row per trial, its settings and metrics."""
    from ebmark.commands import export as command

    if format is not None:
        one_of("--format", format, command.FORMATS)
    folder = newest_or(folder)
    command.export(Console(as_json=as_json), folder, format, output or folder / f"export.{format or 'csv'}")
