"""Reads a study: its file and the command line's options; every error is one line with its place."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ebmark.checker import Checker, placed
from ebmark.plan import Study, plain_name
from ebmark.selector import parse
from ebmark.spec import validate
from ebmark.specfile import Places, overlay, parse_toml, read, shipped

__all__ = ["Study", "load", "shipped"]


def load(
    study: str | Path | Mapping[str, Any],
    *,
    methods: Sequence[str] = (),
    datasets: Sequence[str] = (),
    seeds: int | None = None,
    steps: int | None = None,
    timeout: str | None = None,
    quick: bool = False,
) -> Study:
    """A study from a file, a shipped study's name, or tables as a file would have them.

    Args:
        study: a path, a name of ``shipped()``, or the tables.
        methods: selectors that replace the file's methods.
        datasets: selectors that replace the file's data sets.
        seeds: their number.
        steps: replaces the file's limits on training.
        timeout: of a trial, e.g. ``10m``.
        quick: lay the table ``[quick]`` over the rest; the name ends in ``-quick``.

    Raises:
        SpecError: one line on the first thing wrong: where, what, what was given and what is allowed.
        PluginError: the same for an unknown or broken plug-in.
    """
    label, text = read(study)
    tables, places = parse_toml(label, text), Places(label, text)
    file = validate(tables, places)
    overlaid, raised = overlay(tables, file.quick), Places(label, text)
    raised.raise_table("quick")
    validate(overlaid, raised)
    if quick:
        tables, places = overlaid, raised
        tables["name"] = f"{tables['name']}-quick"
    _select(tables, places, "method", methods)
    _select(tables, places, "dataset", datasets)
    _set(tables, places, seeds=seeds, steps=steps, timeout=timeout)
    mentioned = {plain_name(table.name) for table in file.datasets}
    checked = Checker(validate(tables, places), places, mentioned).study(text)
    return replace(checked, options=_options(methods, datasets, seeds, steps, timeout, quick))


def _options(
    methods: Sequence[str],
    datasets: Sequence[str],
    seeds: int | None,
    steps: int | None,
    timeout: str | None,
    quick: bool,
) -> str:
    """The arguments of ``load`` as the command line takes them."""
    words = [
        word for option, given in (("-m", methods), ("-d", datasets)) for s in given for word in (option, s)
    ]
    for option, value in (("--seeds", seeds), ("--steps", steps), ("--timeout", timeout)):
        words += [] if value is None else [option, str(value)]
    return shlex.join([*words, *["--quick"] * quick])


def _select(tables: dict[str, Any], places: Places, option: str, selectors: Sequence[str]) -> None:
    """Puts selectors in the place of the file's methods or data sets.

    A data set or method that the file names too keeps its network, training points, budget, rate and metrics.
    """
    if not selectors:
        return
    key = f"{option}s"
    names = ("network", "n_train", "budget", "lr", "metrics")
    kept = {
        table["name"]: {name: table[name] for name in names if name in table}
        for table in reversed(tables.get(key, []))
    }
    places.replace((key,), f"--{option}")
    tables[key] = []
    for i, selector in enumerate(selectors):
        places.replace((key, i), f"--{option} {selector}")
        with placed(places, (key, i)):
            name, settings = parse(selector)
        tables[key].append({"name": name, **kept.get(name, {}), **settings})


def _set(
    tables: dict[str, Any], places: Places, *, seeds: int | None, steps: int | None, timeout: str | None
) -> None:
    """Puts options in the place of the file's values."""
    if seeds is not None:
        places.replace(("seeds",), f"--seeds {seeds}")
        tables["seeds"] = seeds
    if steps is not None:
        places.replace(("budget", "steps"), f"--steps {steps}")
        limits = ("steps", "passes", "seconds")
        kept = {key: value for key, value in tables["budget"].items() if key not in limits}
        tables["budget"] = {**kept, "steps": steps}
        for entry in (*tables["methods"], *tables.get("datasets", [])):
            entry.pop("budget", None)
    if timeout is not None:
        places.replace(("resources", "timeout"), f"--timeout {timeout}")
        tables["resources"] = {**tables.get("resources", {}), "timeout": timeout}
