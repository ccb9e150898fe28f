"""Part files: a table on disk as a folder of Parquet files, each written whole or not at all.

A part is named ``part-<number>.parquet``; numbers grow. Names that begin with a dot are unfinished or set
aside: pandas and pyarrow ignore them, as this module does.
"""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ebmark.errors import StoreError
from ebmark.locations import Location
from ebmark.record import SCHEMA, TABLES, Row, row

_VERSION = b"ebmark_schema"
_TYPES = {
    "string": pa.string(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "double": pa.float64(),
    "bool": pa.bool_(),
    "timestamp[us, tz=UTC]": pa.timestamp("us", tz="UTC"),
    "list<double>": pa.list_(pa.float64()),
}
_GROUP = 2**17  # rows
_HINTS = {
    errno.ENOSPC: "; free some space and give the same command again, it resumes",
    errno.EDQUOT: "; free some of your quota and give the same command again, it resumes",
    errno.EACCES: "; write elsewhere with `-o DIR`",
    errno.EROFS: "; write elsewhere with `-o DIR`",
}


class DamagedPartError(StoreError):
    """A part that is truncated, empty, corrupt or not Parquet."""


def arrow_schema(table: str) -> pa.Schema:
    """The explicit schema of a table, its version in the metadata."""
    fields = [pa.field(name, _TYPES[column.type]) for name, column in TABLES[table].items()]
    return pa.schema(fields, metadata={_VERSION: str(SCHEMA).encode()})


def to_arrow(table: str, rows: Iterable[Row]) -> pa.Table:
    """Rows as an Arrow table; a value that does not fit its column raises ``pyarrow.ArrowException``."""
    return pa.Table.from_pylist([row(table, values) for values in rows], schema=arrow_schema(table))


def to_frame(data: pa.Table) -> pd.DataFrame:
    """A data frame of plain NumPy columns.

    Missing text is ``""`` (grouping by a missing key would drop the row), a missing flag is False (what is
    not known to be trusted is not), a missing number is NaN (an integer column that has one is float64, else
    int64), a missing time is NaT.
    """
    for i, column in enumerate(data.schema):
        if pa.types.is_string(column.type):
            data = data.set_column(i, column.name, data[i].fill_null(""))
        elif pa.types.is_boolean(column.type):
            data = data.set_column(i, column.name, data[i].fill_null(False))
        elif pa.types.is_integer(column.type):
            data = data.set_column(i, column.name, data[i].cast(pa.int64()))
    frame: pd.DataFrame = data.to_pandas()
    return frame


@contextmanager
def one_line_errors(path: Location) -> Iterator[None]:
    """Turns an operating-system error into a one-line ``StoreError`` that names ``path``."""
    try:
        yield
    except OSError as error:
        hint = _HINTS.get(error.errno or 0, "")
        raise StoreError(f"{path}: cannot be written: {reason(error)}{hint}") from error


def write_atomic(path: Location, content: bytes, *, sync: bool = True) -> None:
    """Writes a file whole or not at all, and durably: temporary name, fsync, rename, fsync of the folder.

    Without ``sync`` the caller owes the last, once for all files of a folder. In an object store one call is
    enough.
    """
    if not isinstance(path, Path):
        with one_line_errors(path):
            path.write_bytes(content)
        return
    temporary = path.with_name(f".{path.name}.tmp")
    with one_line_errors(path):
        try:
            with open(temporary, "wb", opener=_new) as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):  # the first error is the one to tell
                temporary.unlink(missing_ok=True)
            raise
        if sync:
            sync_folder(path.parent)


def _new(path: str, flags: int) -> int:
    """Opens a new file: what lies in its place, be it a link to elsewhere, is removed and not followed."""
    with suppress(FileNotFoundError):
        os.unlink(path)
    return os.open(path, flags | os.O_EXCL | os.O_NOFOLLOW, 0o666)


def sync_folder(folder: Location) -> None:
    """Makes renames and removals inside ``folder`` durable; an object store does that by itself."""
    if not isinstance(folder, Path):
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_table(path: Location, data: pa.Table, *, sync: bool = True) -> None:
    """Writes one Parquet file atomically, zstd, with page checksums so that a flipped bit is noticed."""
    sink = pa.BufferOutputStream()
    pq.write_table(data, sink, compression="zstd", write_page_checksum=True)
    write_atomic(path, sink.getvalue(), sync=sync)


def write_rows(path: Location, data: pa.Table, rows: npt.NDArray[np.int64]) -> None:
    """Writes these rows of a table as one file, a group at a time: they are never all in memory twice."""
    sink = pa.BufferOutputStream()
    options = {"compression": "zstd", "write_page_checksum": True}
    with pq.ParquetWriter(sink, data.schema, **options) as writer:
        for begin in range(0, max(len(rows), 1), _GROUP):
            writer.write_table(data.take(pa.array(rows[begin : begin + _GROUP])))
    write_atomic(path, sink.getvalue())


def read_table(path: Location, table: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Reads one file into the table's schema: extra columns are ignored, absent ones are null.

    Raises:
        FileNotFoundError: the file is gone.
        DamagedPartError: what it holds cannot be understood.
        StoreError: it cannot be read, or a newer ebmark wrote it.
    """
    with _told_apart(path), open_file(path) as source:
        return _parsed(path, source, table, columns)


@contextmanager
def _told_apart(path: Location) -> Iterator[None]:
    """Tells a damaged file from one that cannot be reached: a part that may be whole is never set aside."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, OSError) and (error.errno or not _is_reachable(path)):
            raise StoreError(f"{path}: cannot be read: {reason(error)}") from error
        raise DamagedPartError(f"{path}: skipped, damaged: {reason(error)}") from None


def _is_reachable(path: Location) -> bool:
    """Whether the bytes of a file come: Arrow tells neither a lost network nor nonsense by a number."""
    try:
        path.read_bytes()
    except OSError:
        return False
    return True


def open_file(path: Location) -> Any:
    """A binary file to read from; a context manager. What is no file, such as a pipe, could be waited for."""
    if not isinstance(path, Path):
        return path.open()
    if not path.is_file() and os.path.lexists(path):
        raise ValueError("not a file")
    return open(path, "rb")


def read_text(path: Location) -> str | None:
    """The text of a small file beside the tables, None where there is none.

    Raises:
        StoreError: it cannot be read, or is none.
    """
    try:
        with open_file(path) as file:
            return bytes(file.read()).decode()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {reason(error)}") from error
    except ValueError as error:
        raise StoreError(f"{path}: damaged; remove it, a run writes it again: {reason(error)}") from error


def _parsed(path: Location, source: Any, table: str, columns: Sequence[str] | None) -> pa.Table:
    schema = arrow_schema(table)
    wanted = schema if columns is None else pa.schema([schema.field(name) for name in columns])
    with pq.ParquetFile(source, page_checksum_verification=True) as file:
        written = file.schema_arrow
        _check_footer(path, table, written, file.metadata)
        present = [name for name in wanted.names if name in written.names]
        return _conform(file.read(columns=present, use_threads=False), wanted)  # parts are small


def read_json(path: Location, understood: Callable[[Any], bool]) -> Any:
    """What a small file beside the tables holds, None where there is none.

    Raises:
        StoreError: it cannot be read, or holds something else.
    """
    text = read_text(path)
    if text is None:
        return None
    try:
        stored = json.loads(text)
    except (ValueError, RecursionError):
        stored = None
    if stored is None or not understood(stored):
        raise StoreError(f"{path}: damaged; remove it, a run writes it again")
    return stored


def reason(error: BaseException) -> str:
    """Why, in one line."""
    if isinstance(error, OSError) and error.strerror and error.errno:
        return error.strerror.lower()
    return " ".join(str(error).split())[:300] or type(error).__name__


def _conform(data: pa.Table, schema: pa.Schema) -> pa.Table:
    if data.schema.equals(schema):
        return data
    columns = [
        data[column.name].cast(column.type)
        if column.name in data.column_names
        else pa.nulls(data.num_rows, column.type)
        for column in schema
    ]
    return pa.table(columns, schema=schema)


def _check_footer(path: Location, table: str, written: pa.Schema, footer: pq.FileMetaData) -> None:
    """Checks what the checksums of the pages do not cover: version, columns and number of rows."""
    version = int((written.metadata or {}).get(_VERSION, b"0"))
    if version > SCHEMA:
        raise StoreError(
            f"{path}: tables of version {version}, this ebmark reads up to version {SCHEMA}; upgrade ebmark"
        )
    needed = set(TABLES[table]) if version == SCHEMA else {next(iter(TABLES[table]))}
    if missing := sorted(needed - set(written.names)):
        raise DamagedPartError(f"{path}: skipped, not a part of {table}: no column {', '.join(missing)}")
    rows = sum(footer.row_group(i).num_rows for i in range(footer.num_row_groups))
    if rows != footer.num_rows:
        raise DamagedPartError(f"{path}: skipped, damaged: {rows} rows instead of {footer.num_rows}")


def part_paths(folder: Location) -> list[Location]:
    """The finished parts of one table in the order in which they were written."""
    return sorted(
        (path for path in folder.glob("*.parquet") if path.name[0] not in "._"), key=lambda path: path.name
    )


def part_number(path: Location) -> int:
    """The number of a part, -1 for a file of another name."""
    match = re.fullmatch(r"part-(\d+)\.parquet", path.name)
    return int(match[1]) if match else -1


def part_path(folder: Location, number: int) -> Location:
    """The name of part ``number``."""
    return folder / f"part-{number:08d}.parquet"
