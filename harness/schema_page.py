"""The page that explains the tables, made from the schema.

``python -m ebmark.schema_page > results/README.md`` writes it.
"""

from __future__ import annotations

from ebmark.record import SCHEMA, STATUSES, TABLES

_HEAD = """\
# Results

A run writes one folder per study:

| path | holds |
|---|---|
| `spec.toml` | the study as it was run |
| `plan.json` | the study's trials in plan order, each with the seconds that it should add to a run |
| `cost.json` | every cost trial ever planned, and the attempts that no longer compare since the study grew |
| `trials/` | one row per trial: settings, status, costs |
| `curve/` | what was measured along each trial |
| `env/` | one row per environment: machine, versions, git commit |
| `samples/<id>.parquet` | points for pictures, of the trials that have some |
| `models/<id>.safetensors` | fitted parameters, below 1 MB each |
| `running.json` | while a run goes on: what `ebmark status` shows of it |
| `.going/<id>.safetensors` | state of a long trial that goes on or was interrupted; removed when it ends |
| `.lock` | held while a run writes; it never needs to be removed by hand |

`reference/` and `methods/` are committed runs, made with `ebmark run reference` and `ebmark run methods`,
without their models and the second without its samples (47 MB). The reference's cost lane was timed again,
whole, on later code than its quality lane; the column `code` tells the rows apart. `reproductions/` holds
the runs behind `docs/reproductions`, without their models. Everything else in this folder is ignored by git.
This page is generated:
`python -m ebmark.schema_page > results/README.md`.

## Reading

```python
import pandas as pd

trials = pd.read_parquet("results/reference/trials")
curve = pd.read_parquet("results/reference/curve").merge(trials, on="id", suffixes=("", "_trial"))
```

While a run goes on, or after one that was killed, a trial that was tried twice has two rows;
`ebmark.store.read(folder)` keeps the newest attempt, and the next run rewrites the folder so.

## How it is written

`trials/`, `curve/` and `env/` are folders of Parquet parts, `part-<number>.parquet`, zstd, with page
checksums. One process writes; a second one is refused. A part is written under a name that begins with a
dot, synchronised to disk and renamed, so that it is there whole or not at all; pandas and pyarrow ignore
dotted names. The part of `trials` comes last: a row of `trials` implies that its curve, its samples, its
environment and its model are on disk. A run that ends rewrites each table into one part; the new part is in
place before an old one is removed, and `ebmark.store.read` keeps one row per trial in between.

A part that cannot be read is skipped and named; the next run renames it to `.damaged-<name>` and repeats the
trials that were in it. The version of the tables is in the metadata of every file
under the key `ebmark_schema`; a newer one than the reader knows is refused, and columns that an older one
lacks are empty.

## Reproducible and not

A column marked *timing* measures time or names the machine, the moment or the attempt; it differs between
two runs of the same study. Every other column is the same bit for bit on CPU where the budget is in steps or
passes.
"""

_TITLES = {
    "trials": "one row per trial, its newest attempt",
    "curve": "one row per trial, step, metric and source",
    "env": "one row per environment",
    "samples": "one file per trial, one row per point",
}


def schema_markdown() -> str:
    """The whole page, ``results/README.md``."""
    statuses = [f"| {name} | {meaning} |" for name, meaning in STATUSES.items()]
    sections = [_HEAD, "## Statuses\n", "| status | meaning |\n|---|---|", *statuses]
    sections += [f"\n## Tables, version {SCHEMA}"]
    for table in TABLES:
        sections += ["", f"### {table}: {_TITLES[table]}", "", *_columns(table)]
    return "\n".join(sections) + "\n"


def _columns(table: str) -> list[str]:
    lines = ["| column | type | meaning | timing |", "|---|---|---|---|"]
    for name, column in TABLES[table].items():
        meaning = column.doc.replace("|", "\\|")
        lines.append(f"| {name} | {column.type} | {meaning} | {'timing' if column.timing else ''} |")
    return lines


if __name__ == "__main__":
    print(schema_markdown(), end="")
