"""Arguments and options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from ebmark import complete
from ebmark.errors import SpecError, did_you_mean
from ebmark.locations import location

if TYPE_CHECKING:
    from ebmark.locations import Location as Location
else:
    Location = Path  # typer knows no unions; the parser makes what it is

RESULTS = complete.RESULTS
Spec = Annotated[
    str,
    typer.Argument(
        help="A study file, or the name of a shipped study (`ebmark ls studies`).",
        autocompletion=complete.study,
    ),
]
Folder = Annotated[
    Location | None,
    typer.Argument(
        parser=location,
        help="A results folder or s3://...; default: the newest in results/.",
        autocompletion=complete.folder,
    ),
]  # typer reads it at run time
Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
Methods = Annotated[
    list[str],
    typer.Option(
        "-m",
        "--method",
        help="Replace the study's methods, e.g. 'cd[k=[1,10]]'. Repeatable.",
        autocompletion=complete.method,
    ),
]
Datasets = Annotated[
    list[str],
    typer.Option(
        "-d",
        "--dataset",
        help="Replace the study's data sets, e.g. 'gaussian[dim=8]'. Repeatable.",
        autocompletion=complete.dataset,
    ),
]
Seeds = Annotated[Optional[int], typer.Option(help="Number of seeds, instead of the study's.")]  # noqa: UP045
Steps = Annotated[Optional[int], typer.Option(help="Optimiser steps, instead of the study's budget.")]  # noqa: UP045
Timeout = Annotated[Optional[str], typer.Option(help="Deadline of a trial, e.g. 10m.")]  # noqa: UP045
Quick = Annotated[
    bool, typer.Option("--quick", help="Overlay the study's [quick] table; another results folder.")
]
Output = Annotated[
    Location | None,
    typer.Option(
        "-o",
        "--output",
        parser=location,
        help="Results folder or s3://...; default results/<study>.",
        autocompletion=complete.folder,
    ),
]


def one_of(option: str, given: str, allowed: tuple[str, ...]) -> None:
    """Refuses a word that is not among those allowed.

    Raises:
        SpecError: it is none of them.
    """
    if given not in allowed:
        raise SpecError(f"{option}: {given!r} given{did_you_mean(given, allowed)}")


def newest_or(folder: Location | None) -> Location:
    """The folder that was given, else the newest in ``results/``.

    Raises:
        StoreError: none was given, and there is none.
    """
    if folder is not None:
        return folder
    from ebmark.store import latest

    return latest(RESULTS)
