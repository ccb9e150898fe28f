"""A validated study and the plan of trials that follows from it: plain values, no plug-in is loaded."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from ebmark.spec import CostTable, TargetTable
from ebmark.trial import Budget, Optimiser, Ref, Trial


def plain_name(name: str) -> str:
    """A plug-in's own name, without the file."""
    return name.rpartition(":")[2]


@dataclass(frozen=True, kw_only=True)
class MethodEntry:
    """A method of the study.

    Attributes:
        datasets: those it is restricted to, None for no restriction.
        budget: of its own, None for the study's.
    """

    ref: Ref
    datasets: frozenset[str] | None = None
    budget: Budget | None = None

    def on(self, cell: Cell) -> bool:
        """Whether the study asks for the method there."""
        return self.datasets is None or plain_name(cell.dataset.name) in self.datasets


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A data set of dimension ``dim`` with the network that is trained on it.

    ``budget`` goes before a method's own and the study's; None for no budget of its own.
    """

    dataset: Ref
    network: Ref
    dim: int
    n_train: int | None = None
    budget: Budget | None = None


@dataclass(frozen=True, kw_only=True)
class Study:
    """A validated study.

    Attributes:
        name: of its results folder.
        text: the TOML text, to be stored beside the results.
        seeds: of the quality lane; the cost lane uses 0.
        metrics: what is measured at each of ``checkpoints`` evaluations; what needs log Z or samples at
            ``costly`` of them, for at most ``max_gradients`` each.
        methods: what is compared.
        cells: on what, in the quality lane.
        sweep: on what else, in the cost lane.
        budget: of a trial of the quality lane, where neither its cell nor its method has one.
        optimisers: a grid; the cost lane, whose times do not depend on the rate, uses the first.
        cost: the cost lane, or None.
        gpus: per trial, where there are any.
        timeout: seconds for a trial.
        targets: fixed qualities whose cost the report gives.
        pictures: samples and densities are kept at d = 2, of the first seed.
    """

    name: str
    text: str
    seeds: tuple[int, ...]
    metrics: tuple[Ref, ...]
    methods: tuple[MethodEntry, ...]
    cells: tuple[Cell, ...]
    sweep: tuple[Cell, ...]
    budget: Budget
    checkpoints: int
    costly: int
    max_gradients: float
    optimisers: tuple[Optimiser, ...]
    cost: CostTable | None
    gpus: float
    timeout: float
    targets: tuple[TargetTable, ...]
    pictures: bool

    def trials(self) -> list[Trial]:
        """The plan in a fixed order: the quality lane, then the cost lane.

        Seeds and repeats vary slowest, so that an early end leaves whole comparisons. A trial that two
        entries ask for is there once. A method that declines a data set has its trials too: they are recorded
        as skipped.
        """
        return list(dict.fromkeys([*self._quality(), *self._costs()]))

    def _quality(self) -> Iterator[Trial]:
        for seed, cell, method in itertools.product(self.seeds, self.cells, self.methods):
            for optimiser in self.optimisers if method.on(cell) else ():
                yield Trial(
                    seed=seed,
                    method=method.ref,
                    dataset=cell.dataset,
                    network=cell.network,
                    budget=cell.budget or method.budget or self.budget,
                    optimiser=optimiser,
                    n_train=cell.n_train,
                    metrics=self.metrics,
                    checkpoints=self.checkpoints,
                    costly=self.costly,
                    max_gradients=self.max_gradients,
                    timeout=self.timeout,
                    study=self.name,
                    pictures=self.pictures and seed == self.seeds[0] and cell.dim == 2,
                )

    def _costs(self) -> Iterator[Trial]:
        if self.cost is None:
            return
        budget = Budget(seconds=self.cost.seconds, batch=self.budget.batch)
        cells = (self.cells if self.cost.cells else ()) + self.sweep
        for repeat, cell, method in itertools.product(range(self.cost.repeats), cells, self.methods):
            if method.on(cell):
                yield Trial(
                    lane="cost",
                    repeat=repeat,
                    seed=0,
                    method=method.ref,
                    dataset=cell.dataset,
                    network=cell.network,
                    budget=budget,
                    optimiser=self.optimisers[0],
                    n_train=cell.n_train,
                    checkpoints=1,
                    timeout=self.timeout,
                    study=self.name,
                )
