"""The command line: its verbs in the order of --help, and how a user's error is told."""

from __future__ import annotations

import itertools
import re
import shlex
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ebmark import __version__
from ebmark.console import Console, put
from ebmark.errors import EbmarkError
from ebmark.verbs.plugins import check, doctor, ls, new
from ebmark.verbs.results import compact, compare, export, merge, report, show, status
from ebmark.verbs.studies import plan, run


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
        from ebmark.commands.first import show as guide

        guide(Console())
        raise typer.Exit()


for verb in (run, plan, status, report, show, compare, merge, compact, export, ls, check, new, doctor):
    # The first line whole, wrapped where a terminal is narrow: typer would cut a long one.
    app.command(short_help=(verb.__doc__ or "").partition("\n")[0])(verb)


def main(arguments: list[str] | None = None) -> None:
    """Runs a verb; a user's error is one line and exit code 1."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    try:
        # Every verb knows --debug; `run` looks at it itself, too.
        kept = arguments if arguments[:1] == ["run"] else [a for a in arguments if a != "--debug"]
        code = app(kept, prog_name="ebmark", standalone_mode=False, obj=_typed(arguments))
    except EbmarkError as error:
        if debug:
            raise
        sys.exit(_fail(str(error)))
    except (KeyboardInterrupt, _Interrupted, typer.Abort):
        again = _typed(arguments)
        put(f"interrupted; what was stored is kept; to start again: {again}", sys.stderr)
        sys.exit(130)
    except Exception as error:
        # typer brings its own copy of click, whose usage errors have no public name.
        if not hasattr(error, "format_message"):
            raise
        sys.exit(_fail(_usage(error.format_message(), arguments)))
    sys.exit(code or 0)


def _typed(arguments: list[str]) -> str:
    """The command line, without the credentials of an address."""
    return shlex.join(["ebmark", *(re.sub(r"(://)[^/]*@", r"\1", one) for one in arguments)])


def _usage(message: str, arguments: list[str]) -> str:
    """A usage error with the value that was given and the next command."""
    given = [
        f"{a} {b}" for a, b in itertools.pairwise(arguments) if a.startswith("-") and f"'{a}'" in message
    ]
    verbs = {command.callback.__name__ for command in app.registered_commands if command.callback}
    verb = "".join(f" {a}" for a in arguments[:1] if a in verbs)
    return f"{message.rstrip('.')}{''.join(f' (given: {g})' for g in given[:1])}; see ebmark{verb} --help"


def _fail(message: str) -> int:
    put(f"ebmark: {message}", sys.stderr)
    return 1
