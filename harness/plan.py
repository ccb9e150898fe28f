"""A validated study and the plan of trials that follows from it: plain values, no plug-in is loaded."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ebmark.spec import TUNE_SEED, CostTable, TargetTable, TuneTable
from ebmark.trial import Budget, Optimiser, Ref, Trial

RATIO = 3.0  # of neighbouring rates on the ladder


def ladder(n: int) -> tuple[float, ...]:
    """``n`` factors of a method's own rate, 1 among them, the same for every method: 1/3, 1, 3, 9 for 4.

    The odd one is above: within a fixed budget a rate is more often too low than too high.
    """
    return tuple(RATIO ** (i - (n - 1) // 2) for i in range(n))


def plain_name(name: str) -> str:
    """A plug-in's own name, without the file."""
    return name.rpartition(":")[2]


@dataclass(frozen=True, kw_only=True)
class MethodEntry:
    """A method of the study.

    Attributes:
        ref: its name and settings.
        datasets: those it is restricted to, None for no restriction.
        budget: of its own, None for the study's.
        declared_lr: the rate of the energy's optimiser that the method declares.
        study_lr: the rate that the study gives this method alone, None for the study's.
    """

    ref: Ref
    declared_lr: float
    datasets: frozenset[str] | None = None
    budget: Budget | None = None
    study_lr: float | None = None

    def on(self, cell: Cell) -> bool:
        """Whether the study asks for the method there."""
        return self.datasets is None or plain_name(cell.dataset.name) in self.datasets


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A data set of dimension ``dim`` with the network that is trained on it.

    ``budget`` goes before a method's own and the study's, ``metrics`` before the study's; None for none of
    its own. ``tuned_by`` is what a study that tunes chooses by there; None where nothing can be tuned.
    """

    dataset: Ref
    network: Ref
    dim: int
    n_train: int | None = None
    budget: Budget | None = None
    metrics: tuple[Ref, ...] | None = None
    tuned_by: Ref | None = None


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
        tune: how many rates are tried per method and cell before the results, or None.
        cost: the cost lane, or None.
        gpus: per trial, where there are any.
        memory: bytes per trial, None for no limit.
        retries: how often a trial is tried again whose worker or machine was lost.
        timeout: seconds for a trial.
        save_every: seconds after which a trial that goes on is saved, again and again.
        together: trials that differ in their seed to train in one program, at most.
        targets: fixed qualities whose cost the report gives.
        pictures: samples and densities are kept at d = 2, of the first seed.
        options: of the command line, as far as they changed what the text says.
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
    tune: TuneTable | None
    cost: CostTable | None
    gpus: float
    memory: int | None
    retries: int
    timeout: float
    save_every: float
    together: int
    targets: tuple[TargetTable, ...]
    pictures: bool
    options: str = ""

    def trials(self) -> list[Trial]:
        """The plan in a fixed order: the quality lane, the trials that tune, then the cost lane.

        Seeds and repeats vary slowest, so that an early end leaves whole comparisons. A trial that two
        entries ask for is there once. A method that declines a data set has its trials too: they are recorded
        as skipped. What is trained at a chosen rate is not in it: see ``tuned``.
        """
        tuning = (trial for candidates in self.tuning() for trial in candidates)
        return list(dict.fromkeys([*self._quality(), *tuning, *self._costs()]))

    def _quality(self) -> Iterator[Trial]:
        for seed, cell, method in itertools.product(self.seeds, self.cells, self.methods):
            for optimiser in self._rates(method) if method.on(cell) else ():
                yield self._result(seed, cell, method, optimiser)

    def _rates(self, method: MethodEntry) -> tuple[Optimiser, ...]:
        """The study's optimisers, or one at the rate that it gives this method."""
        if method.study_lr is None:
            return self.optimisers
        return (replace(self.optimisers[0], lr=method.study_lr),)

    def _result(self, seed: int, cell: Cell, method: MethodEntry, optimiser: Optimiser) -> Trial:
        return Trial(
            seed=seed,
            method=method.ref,
            dataset=cell.dataset,
            network=cell.network,
            budget=cell.budget or method.budget or self.budget,
            optimiser=optimiser,
            n_train=cell.n_train,
            metrics=self.metrics if cell.metrics is None else cell.metrics,
            checkpoints=self.checkpoints,
            costly=self.costly,
            max_gradients=self.max_gradients,
            timeout=self.timeout,
            study=self.name,
            options=self.options,
            pictures=self.pictures and seed == self.seeds[0] and cell.dim == 2,
            factor=None if self.tune is None else 1.0,
        )

    def tuning(self) -> list[tuple[Trial, ...]]:
        """For each method and cell that can be tuned, the trials of its rates, in the order of ``ladder``."""
        return [trials for *_, trials in self._tuning()]

    def _tuning(self) -> Iterator[tuple[Cell, MethodEntry, tuple[Trial, ...]]]:
        if self.tune is None:
            return
        seen: set[tuple[Trial, ...]] = set()
        for cell, method in itertools.product(self.cells, self.methods):
            if cell.tuned_by is None or not method.on(cell):
                continue
            candidates = tuple(
                replace(
                    self._result(TUNE_SEED, cell, method, self._at(method, factor)),
                    lane="tune",
                    metrics=(cell.tuned_by,),
                    checkpoints=1,
                    costly=1,
                    pictures=False,
                    factor=factor,
                )
                for factor in ladder(self.tune.trials)
            )
            if candidates not in seen:
                seen.add(candidates)
                yield cell, method, candidates

    def _at(self, method: MethodEntry, factor: float) -> Optimiser:
        """The method's optimiser in this study with ``factor`` times its rate."""
        own = self._rates(method)[0]
        return replace(own, lr=factor * (own.lr or method.declared_lr))

    def tuned(self, chosen: Callable[[Sequence[Trial]], float | None]) -> list[Trial]:
        """The trials of the quality lane at the chosen rates, seeds slowest.

        Args:
            chosen: the factor that the trials of one method and cell speak for, None where that is not known
                yet. At a factor of 1 the trial of the study's own rate serves, and there is none here.
        """
        by_seed: Mapping[int, list[Trial]] = defaultdict(list)
        for cell, method, candidates in self._tuning():
            factor = chosen(candidates)
            for seed in self.seeds if factor not in (None, 1.0) else ():
                trial = self._result(seed, cell, method, self._at(method, factor or 1.0))
                by_seed[seed].append(replace(trial, factor=factor, pictures=False))
        return [trial for seed in self.seeds for trial in by_seed[seed]]

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
                    optimiser=self._rates(method)[0],
                    n_train=cell.n_train,
                    checkpoints=1,
                    timeout=self.timeout,
                    study=self.name,
                    options=self.options,
                )
