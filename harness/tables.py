"""Reading a results folder: one row per trial, whatever was written when."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa

from ebmark.costlane import OUTDATED, CostLane, read_lane
from ebmark.errors import StoreError
from ebmark.locations import Location, holds_results
from ebmark.machines import doubt_others
from ebmark.parts import DamagedPartError, part_paths, read_table, reason, to_arrow, to_frame
from ebmark.rows import Loaded, kept, newest_rows

PARTED = ("curve", "env", "trials")  # tables in parts, in the order of an append
_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")
_MAKE = "results are made by `ebmark run STUDY -o DIR`"
_LISTINGS = 10  # parts are listed again when a compaction removes one under the reader


@dataclass(frozen=True, kw_only=True)
class Tables:
    """What a results folder holds: exactly the columns of ``record.TABLES``.

    Attributes:
        folder: where it was read.
        trials: one row per trial, its newest attempt.
        curve: the rows of those attempts, one per (id, step, metric, source).
        env: one row per environment.
        warnings: the parts that were skipped, by name, one line each.
    """

    folder: Location
    trials: pd.DataFrame
    curve: pd.DataFrame
    env: pd.DataFrame
    warnings: tuple[str, ...] = ()


def read(folder: Location) -> Tables:
    """Reads a results folder, also while a run writes to it; a damaged part is skipped and named.

    Raises:
        StoreError: not a results folder, or written by a newer ebmark.
    """
    loaded = load_all(folder)
    frames = {table: to_frame(data) for table, data in kept(loaded).items()}
    _doubt_outdated(frames["trials"], read_lane(folder))
    doubt_others(frames["trials"], frames["env"])
    return Tables(folder=folder, warnings=warnings(loaded), **frames)


def _doubt_outdated(trials: pd.DataFrame, lane: CostLane) -> None:
    """A cost measurement that no longer compares is one not to be trusted."""
    pairs = zip(trials["id"], trials["attempt"], strict=True)
    outdated = pd.Series([not lane.compares(id, attempt) for id, attempt in pairs], trials.index, dtype=bool)
    trials.loc[outdated, "trusted"] = False
    trials.loc[outdated, "distrust"] = OUTDATED


def read_samples(folder: Location, id: str) -> pd.DataFrame:
    """The ``samples`` table of one trial, empty where it has none; a damaged file raises ``StoreError``."""
    path = samples_path(folder, id)
    try:
        return to_frame(read_table(path, "samples"))
    except FileNotFoundError:
        return to_frame(to_arrow("samples", []))
    except DamagedPartError as error:
        end = f"remove it to go without, or run its trial again with `--only {id}`"
        raise StoreError(f"{path}: damaged; {end}") from error


def samples_path(folder: Location, id: str) -> Location:
    """The file of one trial's samples."""
    return folder / "samples" / f"{_file_name(id)}.parquet"


def model_path(folder: Location, id: str) -> Location:
    """The file of one trial's fitted parameters."""
    return folder / "models" / f"{_file_name(id)}.safetensors"


def _file_name(id: str) -> str:
    """An id that names a file of its folder and of no other: tables may come from anyone."""
    if not _ID.fullmatch(id):
        raise StoreError(f"{id!r:.80}: not a trial's id; allowed: letters, digits, '.', '_' and '-'")
    return id


def read_model(folder: Location, id: str) -> bytes | None:
    """The fitted parameters of one trial in safetensors format, None where they were not kept.

    Raises:
        StoreError: they cannot be read.
    """
    try:
        return model_path(folder, id).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"{model_path(folder, id)}: cannot be read: {reason(error)}") from error


def done(folder: Location) -> pd.DataFrame:
    """Columns id, lane, status and attempt, one row per trial; empty where nothing has been written yet.

    Reads little and so does not see damage in other columns; a compaction does, and sets that part aside.
    """
    columns = ["id", "lane", "status", "attempt"]
    with readable(folder):
        there = folder.exists()
    if not there:
        return to_frame(to_arrow("trials", []).select(columns))
    must_be_results(folder)
    trials = load(folder, "trials", [*columns, "finished"]).data
    found = to_frame(trials.take(pa.array(newest_rows(trials))).select(columns))
    # A part that somebody else has written may lack the number: it counts as none.
    return found.assign(attempt=found["attempt"].fillna(0).astype("int64"))


def latest(results: Path) -> Path:
    """The results folder inside ``results`` that was written to last.

    Raises:
        StoreError: there is none.
    """
    folders = [path for path in results.glob("*") if holds_results(path)]
    if not folders:
        raise StoreError(f"{results}: no results in it; make some with `ebmark run quickstart`")
    return max(folders, key=lambda path: ((path / "trials").stat().st_mtime_ns, path.name))


def must_be_results(folder: Location) -> None:
    """Raises a one-line ``StoreError`` for anything but a results folder."""
    with readable(folder):
        if not folder.is_dir():
            what = "not a folder" if folder.exists() else "no such folder"
            raise StoreError(f"{folder}: {what}; {_MAKE}")
        if not holds_results(folder):
            raise StoreError(f"{folder}: not a results folder, it has no folder trials/; {_MAKE}")


@contextmanager
def readable(folder: Location) -> Iterator[None]:
    """Turns what keeps a file from being read into a one-line ``StoreError``."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise StoreError(f"{folder}: cannot be read: {reason(error)}") from error


def load_all(folder: Location) -> dict[str, Loaded]:
    """All tables as they belong together, also while a run writes to the folder.

    Raises:
        StoreError: not a results folder, or written by a newer ebmark.
    """
    must_be_results(folder)
    for _ in range(_LISTINGS):
        # Trials first: the curve of every row seen is then on disk.
        loaded = {table: load(folder, table) for table in reversed(PARTED)}
        # A compaction takes away the curves of attempts that were replaced; it removes the trials first.
        with readable(folder / "trials"):
            if set(loaded["trials"].parts) <= set(part_paths(folder / "trials")):
                return loaded
    raise _moving(folder / "trials")


def load(folder: Location, table: str, columns: Sequence[str] | None = None) -> Loaded:
    """All rows of one table, part by part, doubles included."""
    for _ in range(_LISTINGS):
        try:
            with readable(folder / table):
                paths = part_paths(folder / table)
            return _load_listed(paths, table, columns)
        except FileNotFoundError:
            continue
    raise _moving(folder / table)


def _moving(folder: Location) -> StoreError:
    return StoreError(f"{folder}: parts disappear while they are read; try again")


def _load_listed(paths: Sequence[Location], table: str, columns: Sequence[str] | None) -> Loaded:
    nothing = to_arrow(table, [])
    pieces, damaged = {}, {}
    for path in paths:
        try:
            pieces[path] = read_table(path, table, columns)
        except DamagedPartError as error:
            damaged[path] = str(error)
    data = pa.concat_tables([nothing if columns is None else nothing.select(columns), *pieces.values()])
    lengths = tuple(piece.num_rows for piece in pieces.values())
    return Loaded(data=data, parts=tuple(pieces), lengths=lengths, damaged=damaged)


def warnings(loaded: Mapping[str, Loaded]) -> tuple[str, ...]:
    """One line per damaged part."""
    return tuple(line for part in loaded.values() for line in part.damaged.values())
