"""Labels of methods: made unique, sorted, and grouped into families; what their settings say."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

import numpy as np
import pandas as pd
from pandas import DataFrame, Series

ORACLE = "mle"  # trains on the density itself: shown, never ranked
FAMILIES = {
    "chains": ("cd", "pcd", "short_run", "recovery"),
    "score matching": ("sm", "ssm", "ssm_vr", "fd_ssm", "dsm"),
    "noise": ("nce", "ranking_nce", "cnce", "ence", "tre", "snl"),
    "two players": ("fce", "adversarial", "vera"),
    "Stein": ("lsd", "ksd"),
    "neighbours": ("energy_discrepancy", "mpf"),
    "oracle": (ORACLE,),
}
OTHER = "other"


def variant(trials: DataFrame) -> Series:
    """What tells apart trials of one method, data set and dimension: the network, or the learning rate.

    Not a rate of the ladder: what is at a chosen one stands in a view of its own.
    """
    rates = {text: _rate(text) for text in trials["optimiser"].unique()}
    given = trials["lane"].eq("tune") | trials["rate_factor"].ne(1)
    parts = {"network": trials["network"], "lr": trials["optimiser"].map(rates).mask(given, "")}
    parts["network_args"] = trials["network_args"].where(trials["network_args"] != "{}", "")
    suffix = pd.Series("", index=trials.index)
    cell = [trials[name] for name in ("lane", "method_label", "dataset_label", "dim")]
    for values in parts.values():
        several = values.replace("", np.nan).groupby(cell).transform("nunique") > 1
        suffix = suffix.where(~several | (values == ""), suffix + " · " + values.astype(str))
    return suffix


def method_labels(trials: DataFrame) -> Series:
    """The stored label; where a method stands in several forms, with every setting that another form names.

    ``cd`` beside ``cd[k=10]`` becomes ``cd[k=1]``: a reader need not know the defaults.
    """
    forms = trials[["method", "method_label", "method_args"]].drop_duplicates("method_label")
    named = forms["method_label"].str.findall(r"(\w+)=").groupby(forms["method"]).agg(_union)
    labels = {}
    for method, label, text in forms.itertuples(index=False):
        settings = json.loads(text or "{}")
        shown = [f"{key}={_short(settings[key])}" for key in named[method] if key in settings]
        labels[label] = f"{method}[{','.join(shown)}]" if shown else label
    return trials["method_label"].map(labels)


def _union(lists: Series) -> list[str]:
    return list(dict.fromkeys(key for keys in lists for key in keys))


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _rate(optimiser: str) -> str:
    rate = (json.loads(optimiser or "{}").get("energy") or {}).get("lr")
    return "" if rate is None else f"lr={rate:g}"


def natural(label: str) -> list[tuple[int, float, str]]:
    """Sort key that puts k=2 before k=10."""
    parts = re.split(r"(\d+(?:\.\d+)?)", label)
    return [(1, float(part), "") if i % 2 else (0, 0.0, part) for i, part in enumerate(parts)]


def family(method: str) -> str:
    """The family of a method, ``other`` for one that is not known here."""
    return next((name for name, methods in FAMILIES.items() if method in methods), OTHER)


def noise_is_data_gaussian(method: str, args: Mapping[str, object]) -> bool:
    """Whether a method with these settings contrasts with the data's own Gaussian.

    Noise of scale 1 does, and so does an opponent that starts there: on Gaussian data it starts at the truth.
    Settings at the value they had before they existed are not stored, so a known family stands in for them.
    """
    if family(method) == "two players":
        return True
    noise = args.get("noise", "gaussian" if family(method) == "noise" else None)
    return args.get("scale") == 1 and noise == "gaussian"


def without_k(label: str) -> str:
    """The label without its k: what is one line when k is on the axis."""
    bare = re.sub(r"(?<![a-z_])k=[^,\]]*,?", "", label)
    return re.sub(r",\]", "]", bare).replace("[]", "")
