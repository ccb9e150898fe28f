"""The command line. Everything heavy is imported inside the verb that needs it, so that --help is instant."""

from __future__ import annotations

import itertools
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer
from typer.core import TyperGroup

from ebmark import __version__, complete
from ebmark.console import Console
from ebmark.errors import EbmarkError, SpecError, did_you_mean
from ebmark.locations import location

if TYPE_CHECKING:
    from ebmark.locations import Location
else:
    Location = Path  # typer knows no unions; the parser makes what it is


class _Interrupted(Exception):
    """A KeyboardInterrupt that went through a verb."""


class _Verbs(TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        """Runs the verb; of a KeyboardInterrupt typer itself would say nothing."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            raise _Interrupted from stop


app = typer.Typer(
    name="ebmark",
    cls=_Verbs,
    help="Benchmark of the ways to train an energy-based model. Start with: ebmark run quickstart",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
RESULTS = complete.RESULTS
RUNNERS, RERUN = ("ray", "serial"), ("failed", "stale", "all")
LISTINGS, KINDS = ("methods", "datasets", "metrics", "networks", "studies"), ("method", "dataset", "metric")

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


@app.callback(invoke_without_command=True)
def first(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    """Benchmark of the ways to train an energy-based model. Start with: ebmark run quickstart."""
    if version:
        print(f"ebmark {__version__}")
        raise typer.Exit()
    if context.invoked_subcommand is None:
        from ebmark.commands.first import show

        show(Console())
        raise typer.Exit()


@app.command()
def run(
    context: typer.Context,
    spec: Spec,
    output: Output = None,
    method: Methods = [],  # noqa: B006  # typer copies it
    dataset: Datasets = [],  # noqa: B006
    seeds: Seeds = None,
    steps: Steps = None,
    timeout: Timeout = None,
    quick: Quick = False,
    precision: Annotated[
        str | None,
        typer.Option(help="Add seeds in rounds until every comparison is that narrow, e.g. 10%."),
    ] = None,
    max_seeds: Annotated[int, typer.Option(help="With --precision: seeds, at most.")] = 30,
    rerun: Annotated[
        str | None,
        typer.Option(
            help="Run again: failed, stale (the code has changed) or all.",
            autocompletion=complete.words(*RERUN),
        ),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(help="Run one trial, by the beginning of its id.", autocompletion=complete.trial),
    ] = None,
    runner: Annotated[
        str,
        typer.Option(help="ray, or serial: in this process.", autocompletion=complete.words(*RUNNERS)),
    ] = "ray",
    jobs: Annotated[int | None, typer.Option(help="Trials side by side; default one per CPU.")] = None,
    address: Annotated[str | None, typer.Option(help="A Ray cluster to join: auto or HOST:PORT.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and stop.")] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="With --only: in this process, step by step; nothing is stored.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run what is missing of a study; the same command resumes."""
    console = Console(as_json=as_json)
    _one_of("--runner", runner, RUNNERS)
    if rerun is not None:
        _one_of("--rerun", rerun, RERUN)
    if jobs is not None and jobs < 1:
        raise SpecError(f"--jobs: {jobs} given; allowed: at least 1")
    if precision is not None and only is not None:
        raise SpecError(
            "--precision and --only: give one; --only runs one trial, --precision adds seeds to all"
        )
    from ebmark.commands.precision import wanted
    from ebmark.study import load

    share = None if precision is None else wanted(precision)
    study = load(
        spec, methods=method, datasets=dataset, seeds=seeds, steps=steps, timeout=timeout, quick=quick
    )
    folder = output or RESULTS / study.name
    if dry_run:
        from ebmark.commands.plan import show

        show(console, study, folder)
        return
    if debug and only is not None:
        from ebmark.commands.debug import repeat

        raise typer.Exit(repeat(console, study, folder, only))
    from ebmark.commands import run as command

    console.protect()
    address = address or os.environ.get("RAY_ADDRESS") or None
    how = command.How(
        runner=runner, jobs=jobs, address=address, rerun=rerun, only=only, precision=share, most=max_seeds
    )
    raise typer.Exit(command.run(console, study, folder, how, context.obj))


@app.command()
def plan(
    spec: Spec,
    output: Output = None,
    method: Methods = [],  # noqa: B006
    dataset: Datasets = [],  # noqa: B006
    seeds: Seeds = None,
    steps: Steps = None,
    timeout: Timeout = None,
    quick: Quick = False,
    pilot: Annotated[
        bool, typer.Option("--pilot", help="Train each cell for a moment, so that costs are measured.")
    ] = False,
    precision: Annotated[
        str | None,
        typer.Option(help="Say how many seeds the comparisons need to be that narrow, e.g. 10%."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the cells of a study, what is done, and what the rest will cost.

    Trains nothing but a --pilot.
    """
    from ebmark.commands import plan as command
    from ebmark.commands import precision as seeds_by_precision
    from ebmark.study import load

    share = None if precision is None else seeds_by_precision.wanted(precision)
    study = load(
        spec, methods=method, datasets=dataset, seeds=seeds, steps=steps, timeout=timeout, quick=quick
    )
    console, folder = Console(as_json=as_json), output or RESULTS / study.name
    measured = None
    if pilot:
        console.protect()
        measured = command.measure(console, study)
    if share is not None:
        seeds_by_precision.show(console, study, folder, share, measured)
    else:
        command.show(console, study, folder, measured)


@app.command()
def status(folder: Folder = None, as_json: Json = False) -> None:
    """Count the trials of a results folder by status."""
    from ebmark.commands.status import show

    show(Console(as_json=as_json), _results(folder))


@app.command()
def report(
    folder: Folder = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="A local folder to write to; default DIR/report, of s3://... in results/."
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

    folder = _results(folder)
    beside = folder if isinstance(folder, Path) else RESULTS / folder.name  # figures are made locally
    write(Console(as_json=as_json), folder, output or beside / "report", paper=paper)


@app.command()
def show(
    id: Annotated[
        str, typer.Argument(help="A trial, by the beginning of its id.", autocompletion=complete.trial)
    ],
    folder: Folder = None,
    as_json: Json = False,
) -> None:
    """Show one trial: settings, costs, curve, traceback and the command that repeats it."""
    from ebmark.commands.show import show as command

    command(Console(as_json=as_json), id, _results(folder))


@app.command()
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


@app.command()
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


@app.command()
def compact(folder: Folder = None, as_json: Json = False) -> None:
    """Rewrite the small files of a results folder into one per table; a run does so when it ends."""
    from ebmark.commands.compact import compact as command

    command(Console(as_json=as_json), _results(folder))


@app.command()
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
        _one_of("--format", format, command.FORMATS)
    folder = _results(folder)
    command.export(Console(as_json=as_json), folder, format, output or folder / f"export.{format or 'csv'}")


@app.command()
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

    _one_of("ls", what, LISTINGS)
    command.show(Console(as_json=as_json), what)


@app.command()
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


@app.command()
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

    _one_of("new", kind, KINDS)
    command.write(Console(as_json=as_json), kind, name, output)


@app.command()
def doctor(as_json: Json = False) -> None:
    """Look for what is wrong with this machine and say how to mend it."""
    from ebmark.commands.doctor import show

    raise typer.Exit(show(Console(as_json=as_json)))


for verb in app.registered_commands:  # whole, wrapped where a terminal is narrow: a long one would be cut
    verb.short_help = (verb.callback.__doc__ or "").partition("\n")[0] if verb.callback else None


def _one_of(option: str, given: str, allowed: tuple[str, ...]) -> None:
    if given not in allowed:
        raise SpecError(f"{option}: {given!r} given{did_you_mean(given, allowed)}")


def _results(folder: Location | None) -> Location:
    if folder is not None:
        return folder
    from ebmark.store import latest

    return latest(RESULTS)


def main(arguments: list[str] | None = None) -> None:
    """Runs a verb; a user's error is one line and exit code 1."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    try:
        # Every verb knows --debug; `run` looks at it itself, too.
        kept = arguments if arguments[:1] == ["run"] else [a for a in arguments if a != "--debug"]
        code = app(kept, prog_name="ebmark", standalone_mode=False, obj=shlex.join(["ebmark", *arguments]))
    except EbmarkError as error:
        if debug:
            raise
        sys.exit(_fail(str(error)))
    except (KeyboardInterrupt, _Interrupted, typer.Abort):
        again = shlex.join(["ebmark", *arguments])
        print(f"interrupted; what was stored is kept; to start again: {again}", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        # typer brings its own copy of click, whose usage errors have no public name.
        if not hasattr(error, "format_message"):
            raise
        sys.exit(_fail(_usage(error.format_message(), arguments)))
    sys.exit(code or 0)


def _usage(message: str, arguments: list[str]) -> str:
    """A usage error with the value that was given and the next command."""
    given = [
        f"{a} {b}" for a, b in itertools.pairwise(arguments) if a.startswith("-") and f"'{a}'" in message
    ]
    verbs = {command.callback.__name__ for command in app.registered_commands if command.callback}
    verb = "".join(f" {a}" for a in arguments[:1] if a in verbs)
    return f"{message.rstrip('.')}{''.join(f' (given: {g})' for g in given[:1])}; see ebmark{verb} --help"


def _fail(message: str) -> int:
    print(f"ebmark: {message}", file=sys.stderr)
    return 1
