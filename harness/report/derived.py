"""The few derived columns that every figure and table rests on."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
from pandas import DataFrame, Series

from ebmark.report.names import ORACLE, method_labels, natural, noise_is_data_gaussian, variant, without_k

# What a step's cost depends on.
CELL = ["method_label", "dataset_label", "dim", "network", "network_args", "batch"]
TEXT = ["reason", "distrust", "network", "network_args", "optimiser", "method_args", "dataset_label", "code"]


def flag(column: Series) -> Series:
    """Missing counts as not trusted."""
    return column.map({True: True, False: False}).fillna(False).astype(bool)


def ready(raw: DataFrame) -> DataFrame:
    """The table of trials with the columns that ``frames.Study`` names, in the order of the report."""
    trials = raw.assign(
        **{name: raw[name].fillna("").astype(str) for name in TEXT}, trusted=flag(raw["trusted"])
    )
    opponents = raw.get("opponents", pd.Series("", index=raw.index))  # tables of schema 1 have none
    trials["opponents"] = opponents.fillna("").astype(str).replace("{}", "")
    trials["rate_factor"] = raw.get("rate_factor", pd.Series(np.nan, index=raw.index)).fillna(1.0)
    for name in ("dim", "batch", "seed"):
        trials[name] = trials[name].fillna(-1).astype(int)
    trials["label"] = method_labels(trials).astype(str) + variant(trials)
    order = sorted(trials["label"].unique(), key=natural)
    trials["label"] = pd.Categorical(trials["label"], categories=order, ordered=True)
    settings = {text: json.loads(text or "{}") for text in trials["method_args"].unique()}
    trials["k"] = trials["method_args"].map({text: args.get("k", np.nan) for text, args in settings.items()})
    trials["k"] = pd.to_numeric(trials["k"], errors="coerce")
    forms = trials[["method", "method_args"]].drop_duplicates().itertuples(index=False)
    same = {(name, text) for name, text in forms if noise_is_data_gaussian(name, settings[text])}
    pairs = pd.Series([*zip(trials["method"], trials["method_args"], strict=True)], index=trials.index)
    trials["own_noise"] = pairs.isin(same) & (trials["dataset"] == "gaussian")
    chains = trials.loc[(trials["wall_sampling"] > 0) | (trials["transitions"] > 0), "label"].unique()
    trials["chain"] = trials["label"].isin(chains)
    trials["opposed"] = trials["label"].isin(trials.loc[trials["opponents"] != "", "label"].unique())
    in_passes = trials["budget"].fillna("").astype(str).str.contains('"passes"')
    trials["uncounted"] = trials["opposed"] & in_passes
    trials["oracle"] = trials["method"] == ORACLE
    trials["without_k"] = trials["label"].astype(str).map({label: without_k(label) for label in order})
    return trials.sort_values(["label", "dataset_label", "dim", "seed", "repeat", "id"], ignore_index=True)


def pass_seconds(trials: DataFrame) -> DataFrame:
    """Seconds per F of each cell, as ``pass_time``: from the trusted rows of the cost lane alone.

    The geometric mean of the seconds per step, over the passes per step there. Per pass, since a run of the
    quality lane has another mix of steps where a player rests in some.
    """
    use = trials[(trials["lane"] == "cost") & (trials["status"] == "ok") & trials["trusted"]]
    groups = use.assign(log=np.log(use["step_seconds"])).groupby(CELL)
    table = groups.agg(log=("log", "mean"), passes=("passes", "sum"), steps=("steps", "sum")).reset_index()
    per_step = (table["passes"] / table["steps"]).to_numpy(float)
    seconds = np.exp(table["log"].to_numpy(float))
    return table[CELL].assign(pass_time=seconds / np.where(per_step > 0, per_step, np.nan))


def cost_rows(trials: DataFrame) -> DataFrame:
    """The sweep over dimensions: rows of the data set and network that come in the most dimensions.

    The cost lane where there is one, else the quality lane for its passes alone. Adds ``seconds`` per step,
    ``passes`` in F per point and step, and ``share`` of the training time inside samplers.
    """
    lane = "cost" if (trials["lane"] == "cost").any() else "quality"
    rows = trials[trials["lane"] == lane]
    dims = rows.groupby(["dataset_label", "network"])["dim"].nunique().reset_index()
    best = dims.sort_values("dim", ascending=False, kind="stable").iloc[:1]
    rows = rows.merge(best[["dataset_label", "network"]], on=["dataset_label", "network"])
    timed = rows["status"] == "ok"
    return rows.assign(
        seconds=rows["step_seconds"].where(timed & (lane == "cost")),
        passes=(rows["passes"] / rows["steps"] / rows["batch"]).where(timed),
        share=(rows["wall_sampling"] / rows["wall"]).where(timed & (lane == "cost")),
    )
