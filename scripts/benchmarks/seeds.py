"""R seeds in one program against R seeds one after the other: the ratio of their throughputs (3 minutes).

A round times one step of each of the R trainings, one after the other, and one step of all of them together;
both are the harness's own steps, batches included, on one core. `x` is how many times as many steps the one
program makes in a second of processor time. The exit code is 1 if the median of a network is below the bar.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from typing import Any

import torch
from timing.interleave import interleaved, quartiles

from ebmark import registry
from ebmark.api import Rng, resolve
from ebmark.env import describe
from ebmark.grouping import alone, way
from ebmark.stream import Batches
from ebmark.together import Together
from ebmark.train import Training
from ebmark.trial import Budget, Optimiser, Trial

BATCH = 64
BAR = 2.0
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "mlp 3 x 128": ("mlp", {}),
    "mlp 2 x 64": ("mlp", {"width": 64, "depth": 2}),
    "chain 2 x 32": ("chain", {}),
    "quadratic": ("quadratic", {}),
}
Cell = tuple[str, str]


def trial(method: str, network: str, d: int, budget: Budget) -> Trial:
    """The quality lane's, of seed 0."""
    name, settings = NETWORKS[network]
    return Trial(
        seed=0,
        method=registry.ref("method", method),
        dataset=registry.ref("dataset", "gaussian", dim=d, condition=10.0),
        network=registry.ref("network", name, **settings),
        budget=budget,
    )


def training(asked: Trial, seed: int) -> Training:
    """Of one seed, before its first step, with a rate at which hours of steps do not diverge."""
    method, dataset, network = (registry.make(r) for r in (asked.method, asked.dataset, asked.network))
    data = dataset.sample(10_000, Rng.of("train", seed))
    method = resolve(method, data)
    heads = {"heads": method.heads(dataset.dim)} if method.heads(dataset.dim) > 1 else {}
    module = network.build(data, Rng.of("weights", seed), **heads)
    stream = Batches(dataset, BATCH, None, data, Rng.of("data", seed))
    return Training(
        method,
        module,
        data,
        stream,
        Rng.of("method", seed),
        asked.budget,
        Optimiser(lr=1e-6, schedule="constant"),
    )


def contestants(asked: Trial, seeds: int) -> dict[str, Any]:
    """The seeds one after the other, and together."""
    apart = [training(asked, seed) for seed in range(seeds)]
    together = Together([training(asked, seed) for seed in range(seeds)], mapped=way(asked) == "mapped")

    def one_by_one() -> None:
        for run in apart:
            run.step()

    return {"one by one": one_by_one, "together": together.step}


def main() -> int:
    """Prints a row per network and method, then the median of each network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-m", "--methods", nargs="+", metavar="METHOD", help="only these methods")
    parser.add_argument(
        "-w", "--networks", nargs="+", choices=NETWORKS, default=[*NETWORKS], metavar="NETWORK"
    )
    parser.add_argument("-d", "--dim", type=int, default=8, help="dimension of the data (default: 8)")
    parser.add_argument("-r", "--seeds", type=int, default=8, help="R (default: 8)")
    parser.add_argument("-n", "--rounds", type=int, default=9, help="bursts of each (default: 9)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    budget, found = Budget(steps=10**9, batch=BATCH), dict[Cell, dict[str, Any]]()
    for network in arguments.networks:
        for method in arguments.methods or registry.names("method"):
            asked = trial(method, network, arguments.dim, budget)
            made = (registry.make(r) for r in (asked.method, asked.dataset, asked.network))
            if not alone(asked) and not next(made).declines(*made) and way(asked):
                found[network, method] = contestants(asked, arguments.seeds)
    times = interleaved(found, rounds=arguments.rounds)
    print(
        f"{describe()['cpu']}, torch {torch.__version__}, 1 thread; ms of processor time for a step of each"
    )
    print(f"{arguments.seeds} seeds, batch {BATCH}, gaussian d = {arguments.dim}")
    print(f"{'network':14} {'method':20} {'one by one':>11} {'together':>9} {'x':>6}")
    ratios: dict[str, list[float]] = {}
    for (network, method), measured in times.items():
        pairs = zip(measured["one by one"], measured["together"], strict=True)
        low, ratio, high = quartiles([one / other for one, other in pairs])
        ratios.setdefault(network, []).append(ratio)
        milli = [1e3 * statistics.median(measured[name]) for name in ("one by one", "together")]
        spread = f"({low:.2f} to {high:.2f})"
        print(f"{network:14} {method:20} {milli[0]:11.2f} {milli[1]:9.2f} {ratio:6.2f} {spread}", flush=True)
    for network, values in ratios.items():
        median = statistics.median(values)
        verdict = "pass" if median >= BAR else "MISS"
        print(f"{network:14} median of {len(values)} methods {median:.2f}, bar {BAR:g} {verdict}")
    return int(any(statistics.median(values) < BAR for values in ratios.values()))


if __name__ == "__main__":
    sys.exit(main())
