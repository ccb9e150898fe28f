"""Verbs on what there is to use: plug-ins, shipped studies and this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ebmark import complete
from ebmark.console import Console
from ebmark.verbs.options import Json, one_of

LISTINGS, KINDS = ("methods", "datasets", "metrics", "networks", "studies"), ("method", "dataset", "metric")


def ls(
    what: Annotated[
        str,
        typer.Argument(
            help="methods, datasets, metrics, networks or studies", autocompletion=complete.words(*LISTINGS)
        ),
    ],
    as_json: Json = False,
) -> None:
    """List methods, datasets, metrics, networks or studies."""
    from ebmark.commands import ls as command

    one_of("ls", what, LISTINGS)
    command.show(Console(as_json=as_json), what)


def check(
    name: Annotated[
        str,
        typer.Argument(
            help="A method, data set or metric, or path/to/file.py[:name].", autocompletion=complete.plugin
        ),
    ],
    as_json: Json = False,
) -> None:
    """Test a plug-in against the structure and the mathematics that it declares."""
    from ebmark.commands.check import show

    raise typer.Exit(show(Console(as_json=as_json), name))


def new(
    kind: Annotated[
        str, typer.Argument(help="method, dataset or metric", autocompletion=complete.words(*KINDS))
    ],
    name: Annotated[str, typer.Argument(help="Its name in studies, e.g. my_method.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Where to write; default ebmark-NAME.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a package with a plug-in that works, its entry point, its test and a study."""
    from ebmark.commands import new as command

    one_of("new", kind, KINDS)
    command.write(Console(as_json=as_json), kind, name, output)


def doctor(as_json: Json = False) -> None:
    """Look for what is wrong with this machine and say how to mend it."""
    from ebmark.commands.doctor import show

    raise typer.Exit(show(Console(as_json=as_json)))
