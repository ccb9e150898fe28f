"""The results folder: one writer appends, any number of readers read while it does.

An append writes one part per table under one number, ``trials`` last: a row of ``trials`` implies that its
curve, samples, environment and model are on disk. A part of another table whose number is beyond the newest
part of ``trials`` belongs to an append that was cut short; the next writer removes it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Self

import pyarrow as pa

from ebmark.errors import StoreError
from ebmark.locations import Location, rename
from ebmark.lock import acquire, is_locked
from ebmark.parts import (
    one_line_errors,
    part_number,
    part_path,
    part_paths,
    sync_folder,
    to_arrow,
    write_atomic,
    write_rows,
    write_table,
)
from ebmark.record import SCHEMA, Record
from ebmark.rows import Loaded, attempts, curve_rows, env_rows, in_order, newest_rows
from ebmark.saves import forget, tidy
from ebmark.tables import (
    PARTED,
    Tables,
    done,
    latest,
    load,
    model_path,
    read,
    read_model,
    read_samples,
    samples_path,
    warnings,
)

__all__ = ["FOLDERS", "Store", "Tables", "done", "is_locked", "latest", "read", "read_model", "read_samples"]

FOLDERS = (*PARTED, "samples", "models")


class Store:
    """The one writer of a results folder; a context manager.

    Args:
        folder: created where absent.

    Raises:
        StoreError: the folder cannot be written, or another process is writing to it.
    """

    def __init__(self, folder: Location) -> None:
        self.folder = folder
        with one_line_errors(folder):
            for name in FOLDERS:
                if (folder / name).is_symlink():
                    raise StoreError(f"{folder / name}: a link; allowed: a folder of its own, no way out")
                (folder / name).mkdir(parents=True, exist_ok=True)
            self._lock = acquire(folder)
        try:
            self._number = self._recover()
            self._environments = set(load(folder, "env", ["env"]).data["env"].to_pylist())
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets the next writer in."""
        self._lock.release()

    def append(self, records: Sequence[Record]) -> None:
        """Stores the records, each the newest of its trial: the rows of all or, on an error, of none.

        All rows of a table go into one part: readers take the curve of an attempt from one (``curve_rows``).
        """
        with one_line_errors(self.folder):
            self._lock.check()
        rows = _rows(records, self._environments)
        parts = {table: to_arrow(table, rows[table]) for table in PARTED if rows[table]}
        newest = {str(record.trial["id"]): record for record in records}
        try:
            for id, record in newest.items():
                self._write_files(id, record)
            self._sync_files(newest.values())
            for table, data in parts.items():
                write_table(part_path(self.folder / table, self._number), data)
        except BaseException:
            with suppress(OSError, StoreError):  # the first error is the one to tell
                self._number = self._recover()
            raise
        self._number += 1
        self._environments |= {row["env"] for row in rows["env"]}
        self._remove_outdated(newest)

    def add(self, tables: Mapping[str, pa.Table]) -> None:
        """Stores whole tables, one part each; the files that belong to their trials are written before."""
        number, self._number = self._number, self._number + 1
        for table in PARTED:
            write_table(part_path(self.folder / table, number), tables[table])

    def compact(self, order: Sequence[str] = ()) -> tuple[str, ...]:
        """Rewrites each table into one part without doubles; damaged parts are set aside under a dotted name.

        Args:
            order: trial ids in the order that the rows shall have; others follow.

        Returns:
            One line per damaged part.

        Raises:
            StoreError: the parts cannot be written; nothing is lost then.
        """
        number, self._number = self._number, self._number + 1
        loaded: dict[str, Loaded] = {}
        newest: dict[str, int] = {}
        for table in reversed(PARTED):  # trials first: no part of another table may be beyond its newest
            loaded[table] = self._rewrite(table, number, order, newest)
        for table in reversed(PARTED):  # trials first: by them a reader sees that curves were taken away
            _retire(self.folder / table, loaded[table])
        tidy(self.folder)
        return warnings(loaded)

    def _rewrite(self, table: str, number: int, order: Sequence[str], newest: dict[str, int]) -> Loaded:
        """Writes one table as part ``number``; what was read, without its rows: they are not kept in memory.

        ``newest`` takes the newest attempts from ``trials``, and gives them to ``curve``.
        """
        part = load(self.folder, table)
        if table == "trials":
            rows = newest_rows(part.data)
            newest |= attempts(part.data.select(["id", "attempt"]).take(pa.array(rows)))
        else:
            rows = curve_rows(part, newest) if table == "curve" else env_rows(part.data)
        rows = rows if table == "env" else in_order(part.data, rows, order)
        write_rows(part_path(self.folder / table, number), part.data, rows)
        return replace(part, data=part.data.schema.empty_table())

    def write_spec(self, text: str) -> None:
        """Stores the study file beside its results."""
        write_atomic(self.folder / "spec.toml", text.encode())

    def _write_files(self, id: str, record: Record) -> None:
        if record.samples:
            samples = to_arrow("samples", [{**row, "id": id} for row in record.samples])
            write_table(samples_path(self.folder, id), samples, sync=False)
        if record.model is not None:
            write_atomic(model_path(self.folder, id), record.model, sync=False)

    def _sync_files(self, records: Collection[Record]) -> None:
        with one_line_errors(self.folder):
            if any(record.samples for record in records):
                sync_folder(self.folder / "samples")
            if any(record.model is not None for record in records):
                sync_folder(self.folder / "models")

    def _remove_outdated(self, newest: Mapping[str, Record]) -> None:
        """Files of an earlier attempt must not pass for files of the newest."""
        with one_line_errors(self.folder):
            ended = (id for id, record in newest.items() if record.trial["status"] != "cancelled")
            forget(self.folder, ended)
            for id, record in newest.items():
                if not record.samples:
                    samples_path(self.folder, id).unlink(missing_ok=True)
                if record.model is None:
                    model_path(self.folder, id).unlink(missing_ok=True)

    def _recover(self) -> int:
        """Removes what an append that was cut short left behind; returns the next number."""
        tidy(self.folder)
        newest = max((part_number(path) for path in part_paths(self.folder / "trials")), default=-1)
        with one_line_errors(self.folder):
            for name in ("", *FOLDERS):
                for path in (self.folder / name).glob(".*.tmp"):
                    if not path.is_dir():
                        path.unlink(missing_ok=True)
            for table in ("curve", "env"):
                for path in part_paths(self.folder / table):
                    if part_number(path) > newest and not path.is_dir():
                        path.unlink(missing_ok=True)
        return newest + 1


def _rows(records: Sequence[Record], known: set[Any]) -> dict[str, list[dict[str, Any]]]:
    """The rows of an append; id and attempt of a curve are those of its trial."""
    environments = {record.env["env"]: dict(record.env) for record in records if record.env}
    return {
        "trials": [{**record.trial, "schema": SCHEMA} for record in records],
        "curve": [
            {**row, "id": record.trial["id"], "attempt": record.trial["attempt"]}
            for record in records
            for row in record.curve
        ],
        "env": [row for id, row in environments.items() if id not in known],
    }


def _retire(folder: Location, part: Loaded) -> None:
    """Removes the parts that a compaction has rewritten; what it could not read is kept for the user."""
    with one_line_errors(folder):
        for path in part.parts:
            path.unlink()
        for path in part.damaged:
            rename(path, f".damaged-{path.name}")
        sync_folder(folder)
