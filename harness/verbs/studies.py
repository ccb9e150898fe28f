"""Verbs on a study: ``run`` and ``plan``."""

from __future__ import annotations

from typing import Annotated

import typer

from ebmark import complete
from ebmark.console import Console
from ebmark.errors import SpecError
from ebmark.verbs.options import (
    RESULTS,
    Datasets,
    Json,
    Methods,
    Output,
    Quick,
    Seeds,
    Spec,
    Steps,
    Timeout,
    one_of,
)

RUNNERS, RERUN = ("ray", "serial"), ("failed", "stale", "all")


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
    one_of("--runner", runner, RUNNERS)
    if rerun is not None:
        one_of("--rerun", rerun, RERUN)
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
    from ebmark.address import to_join
    from ebmark.commands import run as command

    console.protect()
    address = to_join(address)
    how = command.How(
        runner=runner, jobs=jobs, address=address, rerun=rerun, only=only, precision=share, most=max_seeds
    )
    raise typer.Exit(command.run(console, study, folder, how, context.obj))


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
