"""Results in Python: a study run, and a results folder read as data frames."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from ebmark.bar import OneLine, live
from ebmark.locations import Location, location
from ebmark.record import TABLES
from ebmark.store import read as read_tables
from ebmark.store import read_samples
from ebmark.tables import Tables

if TYPE_CHECKING:
    from ebmark.plan import Study

__all__ = ["Results", "Run", "read", "run"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Results:
    """A results folder as data frames, with the columns that results/README.md explains.

    Attributes:
        folder: where it was read.
        trials: one row per trial, its newest attempt.
        curve: one row per trial, step, metric and source.
        env: one row per environment.
        warnings: parts that could not be read, one line each.
    """

    folder: Location
    trials: pd.DataFrame = field(repr=False)
    curve: pd.DataFrame = field(repr=False)
    env: pd.DataFrame = field(repr=False)
    warnings: tuple[str, ...] = ()

    @cached_property
    def samples(self) -> pd.DataFrame:
        """Samples and, at d = 2, log-densities on a grid: one row per point, of the trials that keep some."""
        files = (self.folder / "samples").glob("*.parquet")
        ids = {file.name.removesuffix(".parquet") for file in files}
        frames = [read_samples(self.folder, id) for id in self.trials["id"] if id in ids]
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=[*TABLES["samples"]])

    @property
    def counts(self) -> dict[str, int]:
        """Trials by status."""
        return dict(Counter(self.trials["status"]))

    def __repr__(self) -> str:
        return f"Results({str(self.folder)!r}: {_told(self.counts)})"

    def _repr_html_(self) -> str:
        from ebmark.notebook import results_html

        return results_html(self)


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """A study that was run.

    Attributes:
        folder: of the results.
        trained: trials run now; the others were there.
        counts: trials of the study by status, those of earlier runs included.
        warnings: parts that could not be read, one line each.
    """

    folder: Location
    trained: int
    counts: Mapping[str, int]
    warnings: tuple[str, ...] = ()

    @cached_property
    def tables(self) -> Results:
        """All results of the folder."""
        return read(str(self.folder))

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r}: {self.trained} trained now; {_told(self.counts)})"

    def _repr_html_(self) -> str:
        return self.tables._repr_html_()


def read(folder: str | Path) -> Results:
    """A results folder, or an address such as ``s3://...``, as data frames; also while a run writes to it.

    Raises:
        StoreError: not a results folder, or written by a newer ebmark.

    Example:
        >>> import ebmark
        >>> results = ebmark.read("results/reference")
        >>> results
        Results('results/reference': 2013 ok)
        >>> sorted(results.trials["dataset"].unique())
        ['gaussian', 'phi4', 'two_modes']
    """
    tables: Tables = read_tables(location(str(folder)))
    return Results(
        folder=tables.folder,
        trials=tables.trials,
        curve=tables.curve,
        env=tables.env,
        warnings=tables.warnings,
    )


def run(
    study: str | Path | Mapping[str, Any] | Study,
    *,
    output: str | Path | None = None,
    methods: Sequence[str] = (),
    datasets: Sequence[str] = (),
    seeds: int | None = None,
    steps: int | None = None,
    timeout: str | None = None,
    quick: bool = False,
    rerun: Literal["failed", "stale", "all"] | None = None,
    only: str | None = None,
    runner: Literal["ray", "serial"] = "ray",
    jobs: int | None = None,
    address: str | None = None,
    progress: bool = True,
) -> Run:
    """Runs what is missing of a study, as ``ebmark run`` does; the same call resumes.

    Args:
        study: a file, the name of a shipped study, or the tables of a study file as a dictionary.
        output: the results folder or address; by default ``results/<name>``.
        methods: selectors that replace the study's, e.g. ``["dsm", "cd[k=[1,10]]"]``.
        datasets: likewise.
        seeds: their number.
        steps: replaces the study's budget.
        timeout: deadline of a trial, e.g. ``"10m"``.
        quick: lay the study's table ``[quick]`` over the rest.
        rerun: run again what failed, what is stale, or all.
        only: one trial, by the beginning of its id.
        runner: ``"ray"``, or ``"serial"``: one trial after the other in this process.
        jobs: trials side by side, by default one per CPU.
        address: of a Ray cluster to join.
        progress: say which trials have finished, and what is left.

    Returns:
        The folder, counts by status and the tables. Trials that failed raise nothing: they are rows.

    Raises:
        SpecError: something is wrong with the study or an argument, in one line.
        StoreError: the folder cannot be written, or another process writes to it.
        KeyboardInterrupt: after everything that had finished was stored.

    Example:
        >>> import ebmark
        >>> study = {"name": "mine", "budget": {"steps": 50}, "methods": [{"name": "dsm"}, {"name": "nce"}],
        ...          "datasets": [{"name": "gaussian", "dim": 2}], "metrics": ["fisher"]}
        >>> done = ebmark.run(study, output=folder, runner="serial", progress=False)
        >>> done.counts
        {'ok': 2}
        >>> sorted(done.tables.trials["method"])
        ['dsm', 'nce']
    """
    from ebmark.address import to_join
    from ebmark.commands.run import How, carry_out
    from ebmark.errors import SpecError, did_you_mean
    from ebmark.plan import Study
    from ebmark.study import load

    for name, given, allowed in (("runner", runner, RUNNERS), ("rerun", rerun or "all", RERUNS)):
        if given not in allowed:
            raise SpecError(f"run: {name}: {given!r} given{did_you_mean(given, allowed)}")
    if not isinstance(study, Study):
        study = load(
            study, methods=methods, datasets=datasets, seeds=seeds, steps=steps, timeout=timeout, quick=quick
        )
    elif methods or datasets or seeds or steps or timeout or quick:
        raise SpecError("run: a study that is read already takes no options; give them to its load()")
    folder = location(str(output)) if output is not None else Path("results") / study.name
    address = to_join(address)
    line = OneLine(sys.stdout)
    shown: Any = line if live(sys.stdout) and not sys.stdout.isatty() else sys.stdout
    with open(os.devnull, "w") as nowhere:
        how = How(runner=runner, jobs=jobs, address=address, rerun=rerun, only=only)
        outcome, _ = carry_out(study, folder, how, shown if progress else nowhere)
    line.end()
    if outcome.interrupted:
        raise KeyboardInterrupt(f"what had finished is kept in {folder}; the same call runs the rest")
    return Run(folder=folder, trained=outcome.trained, counts=outcome.counts, warnings=outcome.warnings)


RUNNERS = ("ray", "serial")
RERUNS = ("failed", "stale", "all")


def _told(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {status}" for status, n in sorted(counts.items())) or "nothing"
