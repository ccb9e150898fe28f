"""Training steps of torchebm over ebmark's, for the same loss of the same network (2 minutes on one core).

Both get the same batches and fused Adam; chains are unadjusted Langevin with a given step, exact score
matching has its whole trace, sliced score matching one sign vector a point. Interleaved at random in one
process; the seconds are the processor's. A bar is on the median over the dimensions. The exit code is 1 if a
bar is missed, or without torchebm.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from steps import BATCH, Case, training
from timing.floors import Run, adam
from timing.interleave import interleaved, quartiles
from torch import Tensor, nn

from ebmark.env import describe

VERSION = "0.8.9"
H = 0.01  # of the chains
INSTALL = f".venv/bin/python -m pip install --no-deps torchebm=={VERSION}"


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The same loss here and in torchebm.

    Attributes:
        case: ours.
        loss: name of theirs in torchebm.losses.
        settings: of theirs.
        k: transitions of the chain, 0 without.
        bar: least ratio, torchebm's seconds over ours.
        least: smallest dimension that the bar is about.
    """

    case: Case
    loss: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    k: int = 0
    bar: float
    least: int = 2


def chains(method: str, k: int, loss: str, **settings: Any) -> Pair:
    """A contrastive pair; torchebm's penalty on the energies is off, as ours has none."""
    ours = Case(method=method, settings={"k": k, "sampler": "ula", "h": H})
    return Pair(case=ours, loss=loss, k=k, bar=1.3, settings={"energy_reg_weight": 0.0, **settings})


PAIRS = (
    *(chains("cd", k, "ContrastiveDivergence") for k in (1, 10, 20)),
    chains("pcd", 10, "PersistentContrastiveDivergence", buffer_size=10_000, new_sample_ratio=0.05),
    Pair(
        case=Case(method="sm"), loss="ScoreMatching", settings={"hessian_method": "exact"}, bar=3.0, least=8
    ),
    Pair(case=Case(method="ssm"), loss="SlicedScoreMatching", settings={"n_projections": 1}, bar=1.5),
    Pair(
        case=Case(method="dsm", settings={"sigma": 0.1}),
        loss="DenoisingScoreMatching",
        settings={"noise_scale": 0.1},
        bar=1.1,
    ),
)


def peer(pair: Pair, network: nn.Module, x: Tensor) -> Run:
    """A step of torchebm on the same network."""
    from torchebm import losses, samplers
    from torchebm.core import BaseModel

    class Wrapped(BaseModel):  # type: ignore[misc]  # the peer has no types here
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, x: Tensor) -> Tensor:
            E: Tensor = self.network(x)
            return E

    model = Wrapped()
    more: dict[str, Any] = {}
    if pair.k:
        more = {"sampler": samplers.LangevinDynamics(model, step_size=H), "k_steps": pair.k}
    loss_of = getattr(losses, pair.loss)(model=model, **more, **pair.settings)
    optimiser = adam(network)

    def run() -> None:
        optimiser.zero_grad(set_to_none=True)
        out = loss_of(x)
        (out[0] if pair.k else out).backward()
        optimiser.step()

    return run


def contestants(pair: Pair, d: int) -> dict[str, Run]:
    """Both steps on one network."""
    ours = training(pair.case, d)
    if ours is None:
        raise ValueError(f"{pair.case.label} declines d = {d}")
    return {"ebmark": ours.step, "torchebm": peer(pair, ours.module, next(ours.stream))}


def judge(pair: Pair, ratios: Mapping[int, list[float]]) -> bool:
    """Prints the pair's rows and its verdict; whether the bar is missed."""
    for d, each in ratios.items():
        low, middle, high = quartiles(each)
        print(f"{pair.case.label:32} {d:4} {middle:6.2f} ({low:.2f} to {high:.2f})")
    within = [statistics.median(each) for d, each in ratios.items() if d >= pair.least]
    if not within:
        return False
    value = statistics.median(within)
    where = f"median over d >= {pair.least}"
    print(f"{pair.case.label:32} {where} {value:.2f}, at least {pair.bar:g}: {_verdict(value >= pair.bar)}")
    return value < pair.bar


def _verdict(passed: bool) -> str:
    return "pass" if passed else "MISS"


def main() -> int:
    """Prints the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-m", "--methods", nargs="+", metavar="METHOD", help="only these methods")
    parser.add_argument("-d", "--dims", type=int, nargs="+", default=[2, 8, 32])
    parser.add_argument("-n", "--rounds", type=int, default=11, help="bursts of each (default: 11)")
    parser.add_argument("--quick", action="store_true", help="3 rounds")
    arguments = parser.parse_args()
    try:
        import torchebm
    except ModuleNotFoundError:
        print(f"peers: torchebm is not installed; `{INSTALL}`", file=sys.stderr)
        return 1
    torch.set_num_threads(1)
    pairs = [pair for pair in PAIRS if not arguments.methods or pair.case.method in arguments.methods]
    cells = {(i, d): contestants(pair, d) for i, pair in enumerate(pairs) for d in arguments.dims}
    times = interleaved(cells, rounds=3 if arguments.quick else arguments.rounds)
    peer_version = f"torchebm {torchebm.__version__}"
    print(f"{describe()['cpu']}, torch {torch.__version__}, {peer_version}, 1 thread, batch {BATCH}")
    print(f"{'method':32} {'d':>4} {'torchebm / ebmark, and its quartiles'}")
    missed = 0
    for i, pair in enumerate(pairs):
        found = {d: times[i, d] for d in arguments.dims}
        ratios = {
            d: [b / a for a, b in zip(each["ebmark"], each["torchebm"], strict=True)]
            for d, each in found.items()
        }
        missed += judge(pair, ratios)
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
