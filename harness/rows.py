"""Which rows of a results folder count: the newest attempt of every trial, and what belongs to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from ebmark.locations import Location

Rows: TypeAlias = npt.NDArray[np.int64]  # numbers of rows, (n,)


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """All rows of one table as they lie on disk.

    Attributes:
        data: the rows of ``parts``, in the order in which they were written.
        parts: the files that could be read.
        lengths: the number of rows of each.
        damaged: the files that could not, and why in one line.
    """

    data: pa.Table
    parts: tuple[Location, ...]
    lengths: tuple[int, ...]
    damaged: Mapping[Location, str]


def kept(loaded: Mapping[str, Loaded]) -> dict[str, pa.Table]:
    """The tables without doubles: the newest attempt of every trial, and what belongs to it."""
    trials, env, curve = loaded["trials"].data, loaded["env"].data, loaded["curve"]
    trials = trials.take(pa.array(newest_rows(trials)))
    return {
        "trials": trials,
        "curve": curve.data.take(pa.array(curve_rows(curve, attempts(trials)))),
        "env": env.take(pa.array(env_rows(env))),
    }


def newest_rows(trials: pa.Table) -> Rows:
    """The rows of the newest attempts, in the order in which they lie."""
    keys = trials.select(["id", "attempt", "finished"]).to_pandas()
    by_age = keys.sort_values(
        ["attempt", "finished"], na_position="first"
    )  # stable: of equals the last written
    return _rows(by_age.drop_duplicates("id", keep="last").index.sort_values())


def attempts(trials: pa.Table) -> dict[str, int]:
    """The attempt of each trial of a table without doubles."""
    return dict(zip(trials["id"].to_pylist(), trials["attempt"].to_pylist(), strict=True))


def curve_rows(curve: Loaded, attempts: Mapping[str, int]) -> Rows:
    """The rows of these attempts, each once.

    An attempt lies whole in one part: ``Store`` writes it so. Where its trial was lost with a damaged part
    and run again under the same number, the steps of two runs must not be mixed: the newest part that has it
    counts.
    """
    keys = curve.data.select(["id", "attempt", "step", "metric", "source"]).to_pandas()
    keys["part"] = np.repeat(np.arange(len(curve.lengths)), curve.lengths)
    current = keys[keys["attempt"] == keys["id"].map(attempts)]
    current = current[current["part"] == current.groupby("id")["part"].transform("max")]
    return _rows(current.drop_duplicates(["id", "step", "metric", "source"], keep="last").index)


def env_rows(env: pa.Table) -> Rows:
    """The first row of each environment."""
    return _rows(env.select(["env"]).to_pandas().drop_duplicates().index)


def in_order(data: pa.Table, rows: Rows, ids: Sequence[str]) -> Rows:
    """These rows by the place of their ``id`` in ``ids``, others last; rows of one id keep their order."""
    place = {id: i for i, id in enumerate(ids)}
    places = [place.get(id, len(place)) for id in data["id"].take(pa.array(rows)).to_pylist()]
    return rows[np.argsort(np.asarray(places, dtype=np.int64), kind="stable")]


def _rows(index: pd.Index) -> Rows:
    return index.to_numpy(dtype=np.int64)
