"""What a plug-in is written against: the contracts of methods, data sets, metrics and networks.

A plug-in is a frozen dataclass of settings with one or two pure functions. The harness owns the network, the
optimiser, the data order, the randomness, the clock and the counters.
"""

from __future__ import annotations

from ebmark.api.datasets import Dataset, RealDataset, Splits
from ebmark.api.defaults import Auto, added, auto, resolve
from ebmark.api.each import Each, beside, pick
from ebmark.api.energy import Energy, points
from ebmark.api.methods import Method
from ebmark.api.metrics import Evaluation, Metric
from ebmark.api.networks import Network
from ebmark.api.plugin import Plugin, dataset, method, metric, network
from ebmark.api.state import Constants, State, Step, learned
from ebmark.api.value import Value, mean_value
from ebmark.meter import Meter, Passes
from ebmark.rng import Rng

__all__ = [
    "Auto",
    "Constants",
    "Dataset",
    "Each",
    "Energy",
    "Evaluation",
    "Meter",
    "Method",
    "Metric",
    "Network",
    "Passes",
    "Plugin",
    "RealDataset",
    "Rng",
    "Splits",
    "State",
    "Step",
    "Value",
    "added",
    "auto",
    "beside",
    "dataset",
    "learned",
    "mean_value",
    "method",
    "metric",
    "network",
    "pick",
    "points",
    "resolve",
]
