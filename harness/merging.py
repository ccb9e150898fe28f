"""Several results folders as one: quality pools across machines and runs, wall-clock does not.

A trial's id covers everything that its training depends on, so that folders of one study, or of several, may
be put together trial by trial. Seconds compare only within one interleaved run on one kind of machine: the
cost lane of one folder is kept as it is, and what only the others measured is marked as not comparing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ebmark.costlane import CostLane, read_lane
from ebmark.locations import Location
from ebmark.parts import read_text
from ebmark.planfile import read_plan
from ebmark.rows import Loaded, kept
from ebmark.tables import PARTED, load_all, warnings

_VALUES = ["id", "step", "metric", "source", "value"]  # what two runs of one trial should agree in


@dataclass(frozen=True, kw_only=True)
class Source:
    """A folder to be merged: its tables without doubles, its cost lane, its plan and its study file."""

    folder: Location
    tables: Mapping[str, pa.Table]
    lane: CostLane
    plan: Mapping[str, float]
    spec: str
    warnings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Merged:
    """What several folders make together.

    Attributes:
        tables: ``trials``, ``curve`` and ``env``.
        origin: by trial id, the number of the folder that it comes from.
        lane: the cost lane, with what does not compare in it.
        plan: of all, in order.
        spec: the study file of the first.
        doubles: trials that several folders hold.
        unequal: those of them that ended well more than once with other values.
        foreign: cost measurements that are kept but do not compare.
    """

    tables: Mapping[str, pa.Table]
    origin: Mapping[str, int]
    lane: CostLane
    plan: Mapping[str, float]
    spec: str
    doubles: int
    unequal: int
    foreign: int


def source(folder: Location) -> Source:
    """Reads a results folder whole.

    Raises:
        StoreError: it is none, or written by a newer ebmark.
    """
    loaded = load_all(folder)
    return Source(
        folder=folder,
        tables=kept(loaded),
        lane=read_lane(folder),
        plan=read_plan(folder),
        spec=read_text(folder / "spec.toml") or "",
        warnings=warnings(loaded),
    )


def merged(sources: Sequence[Source]) -> Merged:
    """One row per trial: of several the newest that is ok, else the newest; of the cost lane see above."""
    keys = _keys(sources)
    lead = _lead(keys)
    timed = keys["lane"] == "cost"
    keys["leads"] = timed & (keys["source"] == lead)
    keys["ok"] = keys["status"] == "ok"
    ordered = keys.sort_values(["leads", "ok", "finished"], na_position="first", kind="stable")
    chosen = ordered.drop_duplicates("id", keep="last").sort_index()
    doubled = keys[keys.duplicated("id", keep=False)]
    foreign = chosen[(chosen["lane"] == "cost") & ~chosen["leads"]]
    lane = _lane(sources, lead, foreign)
    plan = {id: seconds for one in reversed(sources) for id, seconds in one.plan.items()}
    return Merged(
        tables=_tables(sources, chosen),
        origin=dict(zip(chosen["id"], chosen["source"], strict=True)),
        lane=lane,
        plan=dict(sorted(plan.items(), key=_place(sources))),
        spec=next((one.spec for one in sources if one.spec), ""),
        doubles=doubled["id"].nunique(),
        unequal=_unequal(sources, doubled[doubled["ok"]]),
        foreign=len(foreign),
    )


def _keys(sources: Sequence[Source]) -> pd.DataFrame:
    columns = ["id", "lane", "status", "attempt", "finished"]
    tables = [one.tables["trials"].select(columns).to_pandas() for one in sources]
    frames = [table.assign(source=i, row=range(len(table))) for i, table in enumerate(tables)]
    found: pd.DataFrame = pd.concat(frames, ignore_index=True)
    return found


def _lead(keys: pd.DataFrame) -> int:
    """The folder with most of the cost lane; of equals the first."""
    timed = Counter(keys.loc[(keys["lane"] == "cost") & (keys["status"] == "ok"), "source"])
    return max(sorted(timed), key=timed.__getitem__, default=0)


def _lane(sources: Sequence[Source], lead: int, foreign: pd.DataFrame) -> CostLane:
    outdated = dict(zip(foreign["id"], foreign["attempt"].astype(int), strict=True))
    planned = frozenset[str]().union(*(one.lane.planned for one in sources))
    return CostLane(planned=planned, outdated={**sources[lead].lane.outdated, **outdated})


def _place(sources: Sequence[Source]) -> Any:
    """Sorts a plan's items: those of the first folder in its order, then what the next one adds."""
    places: dict[str, int] = {}
    for one in sources:
        for id in one.plan:
            places.setdefault(id, len(places))
    return lambda item: places[item[0]]


def _tables(sources: Sequence[Source], chosen: pd.DataFrame) -> dict[str, pa.Table]:
    found: dict[str, list[pa.Table]] = {table: [] for table in PARTED}
    for i, one in enumerate(sources):
        rows = chosen[chosen["source"] == i]
        curve = one.tables["curve"]
        found["trials"].append(one.tables["trials"].take(pa.array(rows["row"].to_numpy("int64"))))
        found["curve"].append(
            curve.filter(pc.is_in(curve["id"], value_set=pa.array(rows["id"], pa.string())))
        )
        found["env"].append(one.tables["env"])
    joined = {table: pa.concat_tables(pieces) for table, pieces in found.items()}
    return kept({table: _whole(data) for table, data in joined.items()})


def _whole(data: pa.Table) -> Loaded:
    """A table as one part: of each trial it has the rows of one folder."""
    return Loaded(data=data, parts=(), lengths=(data.num_rows,), damaged={})


def _unequal(sources: Sequence[Source], ok: pd.DataFrame) -> int:
    """How many trials ended well in several folders with other values; ``ok`` are those that ended well."""
    several = ok[ok.duplicated("id", keep=False)]
    rows = []
    for i, one in enumerate(sources):
        wanted = pa.array(several.loc[several["source"] == i, "id"], pa.string())
        curve = one.tables["curve"].select(_VALUES)
        rows.append(curve.filter(pc.is_in(curve["id"], value_set=wanted)).to_pandas())
    values = pd.concat(rows).dropna(subset="value").groupby(_VALUES[:-1], dropna=False)["value"]
    return int((values.max() != values.min()).groupby("id").any().sum())
