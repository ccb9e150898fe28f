"""The pages of docs/reproductions: what papers report beside what the shipped studies measured.

``python -m ebmark.reproductions PAGES RESULTS`` says which pages are out of date, with ``--fix`` it rewrites
them. PAGES holds ``paper.toml``, the papers' values with their sources, and a page ``NAME.md`` for each study
in it; RESULTS holds a results folder for each, and ``theory.json``, what quadrature gives.
"""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pandas import DataFrame

from ebmark.errors import EbmarkError, StoreError
from ebmark.marked import between, settle
from ebmark.reproduced import Run, cell, columns, number
from ebmark.stats.bootstrap import seed_interval
from ebmark.stats.intervals import Interval

Entry = Mapping[str, Any]
PAPER, THEORY = "paper.toml", "theory.json"
RULE = "[agrees](README.md)"  # where the rule is told
NEAR = 0.05  # a centre this near agrees too: of twenty intervals one misses by chance


def limits(value: Entry) -> tuple[float, float]:
    """What agrees with a paper's value: its range, or the numbers that print as it does."""
    if "low" in value:
        return value["low"], value["high"]
    mantissa, _, exponent = str(value["paper"]).partition("e")
    half = 0.5 * 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
    return float(value["paper"]) - half, float(value["paper"]) + half


def agrees(interval: Interval, value: Entry) -> str:
    """Whether an interval meets the paper's or its centre is near it; else on which side it lies."""
    low, high = limits(value)
    centre = float(interval.centre)
    if np.isnan(centre):
        return "no value"
    lo, hi = (centre if np.isnan(end) else float(end) for end in (interval.lo, interval.hi))
    near = low - NEAR * abs(low) <= centre <= high + NEAR * abs(high)
    if near or (lo <= high and hi >= low):
        return "yes"
    return "lower" if centre < low else "higher"


def select(run: Run, value: Entry) -> DataFrame:
    """The trials that a paper's value speaks of, by label of method and data set, and by dimension."""
    trials = run.lane(value.get("lane", "quality"))
    for key, column in (("method", "method_label"), ("dataset", "dataset_label"), ("dim", "dim")):
        if key in value:
            trials = trials[trials[column] == value[key]]
    return trials


def found(value: Entry, run: Run, theory: Mapping[str, float]) -> tuple[Interval, str]:
    """What was measured for a paper's value with its 95 % interval and n, or what ``theory`` has."""
    if key := value.get("theory"):
        exact = np.asarray(theory[key])
        return Interval(centre=exact, lo=exact, hi=exact), "–"
    values = run.values(select(run, value), value["quantity"], value.get("over"))
    n = int((~np.isnan(values)).sum())
    return seed_interval(values, log=value.get("log", False)), str(n)


def compared(entry: Entry, run: Run, theory: Mapping[str, float]) -> Iterator[tuple[str, str]]:
    """Each paper's value as a row of the table, and whether it agrees."""
    for value in entry["value"]:
        interval, n = found(value, run, theory)
        verdict = agrees(interval, value)
        yield f"| {value['what']} | {value['paper']} | {number(interval)} | {n} | {verdict} |", verdict


def verdict(verdicts: Sequence[str]) -> str:
    """In a word, and how many values agree."""
    yes = verdicts.count("yes")
    word = "reproduced" if yes == len(verdicts) else "partly" if yes else "not reproduced"
    return f"**{word}**: {yes} of {len(verdicts)} values"


def grid(table: Entry, run: Run) -> Iterator[str]:
    """A quantity by method and data set, over seeds."""
    trials = run.lane(table.get("lane", "quality"))
    if "method" in table:
        trials = trials[trials["method_label"] == table["method"]]
    heads = columns(trials)
    yield "| method | " + " | ".join(heads.values()) + " |"
    yield "|---" * (len(heads) + 1) + "|"
    for label in sorted(set(trials["method_label"])):
        own = trials[trials["method_label"] == label]
        cells = [cell(run, own[own["column"] == head], table) for head in heads]
        yield f"| `{label}` | " + " | ".join(cells) + " |"


def blocks(entry: Entry, run: Run, theory: Mapping[str, float]) -> Mapping[str, list[str]]:
    """What stands in a page, by the name of its place."""
    rows = [*compared(entry, run, theory)]
    table = [
        f"| quantity | {entry.get('beside', 'paper')} | ours [95 % interval] | n | {RULE} |",
        "|---|---|---|---|---|",
    ]
    made = {
        "run": [run.how(entry["command"]), "", f"Source: {entry['source']}"],
        "verdict": [verdict([each for _, each in rows])],
        "values": [*table, *(row for row, _ in rows)],
    }
    return made | {each["place"]: [*grid(each, run)] for each in entry.get("grid", [])}


def index(entries: Mapping[str, Entry], verdicts: Mapping[str, str]) -> Iterator[str]:
    """The table of all."""
    yield "| study | what is reproduced | verdict |"
    yield "|---|---|---|"
    for name, entry in entries.items():
        yield f"| [`{name}`]({name}.md) | {entry['title']} | {verdicts[name]} |"


def pages(folder: Path, results: Path) -> Iterator[tuple[Path, str, str]]:
    """Every page with its text and what it should be.

    Raises:
        EbmarkError: a page lacks a place, or results are missing.
    """
    entries = tomllib.loads((folder / PAPER).read_text(encoding="utf-8"))
    theory = json.loads((results / THEORY).read_text(encoding="utf-8"))
    verdicts = {}
    for name, entry in entries.items():
        made = blocks(entry, Run.of(results / name), theory)
        verdicts[name] = made["verdict"][0]
        page = folder / f"{name}.md"
        yield page, *_filled(page, made)
    page = folder / "README.md"
    yield page, *_filled(page, {"index": [*index(entries, verdicts)]})


def _filled(page: Path, made: Mapping[str, list[str]]) -> tuple[str, str]:
    text = wanted = page.read_text(encoding="utf-8")
    for name, lines in made.items():
        try:
            wanted = between(wanted, name, ["", *lines, ""])
        except EbmarkError as error:
            raise EbmarkError(f"{page}: {error}") from error
    return text, wanted


def main(arguments: Sequence[str]) -> int:
    """Compares the pages with the results, or with ``--fix`` rewrites them; returns 1 if one is wrong."""
    folder, results = (Path(argument) for argument in arguments if argument != "--fix")
    wrong = 0
    try:
        for page, text, wanted in pages(folder, results):
            wrong |= settle(page, text, wanted, "its tables are", fix="--fix" in arguments)
    except (StoreError, EbmarkError) as error:
        print(error, file=sys.stderr)
        return 1
    return wrong


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
