"""Checks a spec's names and settings against the plug-ins; every error is one line with its place."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from ebmark import registry
from ebmark.api import Dataset, RealDataset
from ebmark.errors import EbmarkError, SpecError, did_you_mean
from ebmark.plan import Cell, MethodEntry, Study, plain_name
from ebmark.selector import grid, parse
from ebmark.spec import LimitsTable, Spec
from ebmark.specfile import Key, Places, dotted
from ebmark.train import own_rate
from ebmark.trial import Budget, Optimiser, Ref


@contextmanager
def placed(places: Places, key: Key, settings: Collection[str] = ()) -> Iterator[None]:
    """Puts a place before an error's message: of the setting it names, else of the name, else of ``key``."""
    try:
        yield
    except EbmarkError as error:
        message = " ".join(str(error).split())
        named = next((setting for setting in settings if f".{setting}:" in message), "name")
        raise type(error)(f"{places.find((*key, named))}: {message}") from error


class Checker:
    """Turns a spec's names and settings into Refs, with the place of the first that does not exist.

    Args:
        spec: what to run.
        places: where each value comes from.
        mentioned: data sets of the file, which a method may be restricted to while others are run.
    """

    def __init__(self, spec: Spec, places: Places, mentioned: set[str]) -> None:
        self.spec = spec
        self.places = places
        self.mentioned = mentioned

    def study(self, text: str) -> Study:
        """The study.

        Raises:
            SpecError: there is something wrong, or nothing to run.
            PluginError: a plug-in is unknown or broken.
        """
        spec = self.spec
        study = Study(
            name=spec.name,
            text=text,
            seeds=tuple(spec.seeds),
            metrics=self._metrics(("metrics",), spec.metrics),
            methods=self._methods(),
            cells=self._cells(),
            sweep=self._sweep(),
            budget=self._budget(),
            checkpoints=spec.budget.checkpoints,
            costly=spec.budget.costly,
            max_gradients=spec.budget.max_gradients,
            optimisers=self._optimisers(),
            tune=spec.tune,
            cost=spec.cost,
            gpus=spec.resources.gpus,
            memory=spec.resources.memory,
            retries=spec.resources.retries,
            timeout=spec.resources.timeout,
            save_every=spec.resources.save_every,
            together=spec.resources.seeds_together,
            targets=tuple(spec.target),
            pictures=spec.pictures,
        )
        self._check_names(study)
        if not study.trials():
            raise SpecError(
                f"{self.places.find(('methods',))}: nothing to run: no method is asked for anywhere"
            )
        return study

    def _refs(self, kind: str, key: Key, name: str, settings: Mapping[str, Any]) -> list[Ref]:
        with placed(self.places, key, settings):
            return [registry.ref(kind, name, **point) for point in grid(f"{kind}s: {name}", settings)]

    def _selected(self, kind: str, key: Key, selector: str, **more: Any) -> list[Ref]:
        with placed(self.places, key):
            name, settings = parse(selector)
        return self._refs(kind, key, name, {**settings, **more})

    def _metrics(self, key: Key, selectors: list[str]) -> tuple[Ref, ...]:
        """Metrics by selectors, each name with one setting only."""
        found = [ref for metric in selectors for ref in self._selected("metric", key, metric)]
        refs = tuple(dict.fromkeys(found))
        name, n = Counter(plain_name(ref.name) for ref in refs).most_common(1)[0]
        if n > 1:
            where = f"{self.places.find(key)}: {dotted(key)}"
            raise SpecError(f"{where}: {name!r} given with several settings; allowed: one of each")
        return refs

    def _methods(self) -> tuple[MethodEntry, ...]:
        found: list[MethodEntry] = []
        for i, table in enumerate(self.spec.methods):
            only = None if table.datasets is None else frozenset(map(plain_name, table.datasets))
            refs = self._refs("method", ("methods", i), table.name, table.settings)
            budget = self._limits(("methods", i, "budget"), table.budget)
            found.extend(
                MethodEntry(
                    ref=ref,
                    declared_lr=own_rate(registry.make(ref)),
                    datasets=only,
                    budget=budget,
                    study_lr=table.lr,
                )
                for ref in refs
            )
        return tuple(found)

    def _cells(self) -> tuple[Cell, ...]:
        standard = self._refs("network", ("network",), self.spec.network.name, self.spec.network.settings)
        found: list[Cell] = []
        for i, table in enumerate(self.spec.datasets):
            key = ("datasets", i)
            own = self._selected("network", (*key, "network"), table.network) if table.network else standard
            budget = self._limits((*key, "budget"), table.budget)
            metrics = self._metrics((*key, "metrics"), table.metrics) if table.metrics else None
            refs = self._refs("dataset", key, table.name, table.settings)
            cells = self._combine(refs, own, n_train=table.n_train, budget=budget, metrics=metrics)
            found += [replace(cell, tuned_by=self._tuned_by(registry.make(cell.dataset))) for cell in cells]
        return tuple(found)

    def _tuned_by(self, dataset: Dataset) -> Ref | None:
        """The metric that a rate is chosen by there: real data have no truth, but a validation set."""
        tune, key = self.spec.tune, ("tune", "by")
        if tune is None:
            return None
        if isinstance(dataset, RealDataset):
            return registry.ref("metric", "nll")
        (ref, *more) = self._selected("metric", key, tune.by)
        better = registry.make(ref).better
        if more or better != "lower":
            what = "several metrics" if more else "more is better"
            given = f"{self.places.find(key)}: tune.by: {tune.by!r} given, {what}"
            raise SpecError(f"{given}; allowed: one metric, the smaller the better")
        return ref if dataset.exact else None

    def _sweep(self) -> tuple[Cell, ...]:
        """What the cost lane measures besides the quality lane's cells."""
        cost, network = self.spec.cost, self.spec.network
        if cost is None or not cost.dims:
            return ()
        datasets = self._selected("dataset", ("cost", "dataset"), cost.dataset, dim=cost.dims)
        if cost.network is None:
            return self._combine(
                datasets, self._refs("network", ("network",), network.name, network.settings)
            )
        return self._combine(datasets, self._selected("network", ("cost", "network"), cost.network))

    @staticmethod
    def _combine(datasets: list[Ref], networks: list[Ref], **more: Any) -> tuple[Cell, ...]:
        return tuple(
            Cell(dataset=dataset, network=network, dim=registry.make(dataset).dim, **more)
            for dataset, network in itertools.product(datasets, networks)
        )

    def _limits(self, key: Key, table: LimitsTable | None) -> Budget | None:
        """A budget of its own, with the study's batch."""
        if table is None:
            return None
        with placed(self.places, key):
            return Budget(**table.model_dump(), batch=self.spec.budget.batch)

    def _budget(self) -> Budget:
        table = self.spec.budget
        with placed(self.places, ("budget",)):
            return Budget(steps=table.steps, passes=table.passes, seconds=table.seconds, batch=table.batch)

    def _optimisers(self) -> tuple[Optimiser, ...]:
        table = self.spec.optimiser
        settings = table.model_dump(exclude={"lr"})
        rates: list[float | None] = [None] if table.lr is None else [*table.lr]
        if self.spec.tune is not None and len(set(rates)) > 1:
            where = f"{self.places.find(('optimiser', 'lr'))}: optimiser.lr"
            raise SpecError(f"{where}: {len(rates)} rates given beside [tune]; allowed: one, or no [tune]")
        with placed(self.places, ("optimiser",), settings):
            return tuple(Optimiser(lr=lr, **settings) for lr in dict.fromkeys(rates))

    def _check_names(self, study: Study) -> None:
        """Names that refer to other parts of the study, and names that results could not tell apart."""
        own = itertools.chain(*(cell.metrics or () for cell in study.cells))
        metrics = [plain_name(ref.name) for ref in (*study.metrics, *own)]
        datasets = {plain_name(cell.dataset.name) for cell in study.cells + study.sweep} | self.mentioned
        for i, method in enumerate(self.spec.methods):
            for name in method.datasets or ():
                self._known(("methods", i, "datasets"), plain_name(name), datasets, "data set of this study")
        for i, target in enumerate(study.targets):
            self._known(("target", i, "metric"), target.metric, metrics, "metric of this study")
            if target.dataset is not None:
                self._known(("target", i, "dataset"), target.dataset, datasets, "data set of this study")
        refs = [entry.ref for entry in study.methods] + [cell.dataset for cell in study.cells + study.sweep]
        origins = {(ref.kind, plain_name(ref.name)): ref.name for ref in refs}
        for ref in refs:
            if (other := origins[ref.kind, plain_name(ref.name)]) != ref.name:
                raise SpecError(
                    f"{self.places.find((f'{ref.kind}s',))}: {ref.name} and {other} have one name; rename one"
                )

    def _known(self, key: Key, name: str, allowed: Collection[str], what: str) -> None:
        if name not in allowed:
            where = f"{self.places.find(key)}: {dotted(key)}"
            raise SpecError(f"{where}: {name!r}: not a {what}{did_you_mean(name, allowed)}")
