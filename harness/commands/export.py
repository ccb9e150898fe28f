"""``ebmark export``."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
from pandas import DataFrame

from ebmark.console import Console
from ebmark.errors import SpecError
from ebmark.locations import Location, holds_results
from ebmark.parts import write_atomic
from ebmark.store import FOLDERS, read
from ebmark.tables import readable
from ebmark.wide import wide

FORMATS = ("csv", "parquet")


def export(console: Console, folder: Location, format: str | None, file: Location) -> None:
    """Writes one wide table of a results folder.

    Args:
        console: says where.
        folder: of the results.
        format: csv or parquet; None for what the file's suffix says.
        file: where to write.

    Raises:
        SpecError: neither says which format, or the file is one of a results folder's own.
        StoreError: not a results folder, or the file cannot be written.
    """
    kind = format or file.name.rpartition(".")[2].lower()
    if kind not in FORMATS:
        raise SpecError(
            f"export: -o {file} given; allowed: a name in .csv or .parquet, or --format csv|parquet"
        )
    _must_be_apart(file, kind)
    tables = read(folder)
    for warning in tables.warnings:
        console.say(f"warning: {warning}")
    table = wide(tables)
    write_atomic(file, _csv(table) if kind == "csv" else _parquet(table))
    console.say(f"{file}: {len(table)} trials, {len(table.columns)} columns")
    console.document(
        {"file": str(file), "format": kind, "trials": len(table), "columns": list(table.columns)}
    )


def _must_be_apart(file: Location, kind: str) -> None:
    """A table of results, or the study file beside them, is not written over."""
    above = file.parent
    with readable(file):
        own = above.name in FOLDERS and holds_results(above.parent)
        beside = not file.name.endswith(f".{kind}") and holds_results(above)
    if own or beside:
        allowed = f"a new name in .{kind}, beside the folders of tables or elsewhere"
        raise SpecError(f"export: -o {file} given, one of the results' own files; allowed: {allowed}")


def _csv(table: DataFrame) -> bytes:
    return table.to_csv(index=False).encode()


def _parquet(table: DataFrame) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pandas(table, preserve_index=False), sink, compression="zstd")
    return bytes(sink.getvalue())
