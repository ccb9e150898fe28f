"""Seeds in one program: runs that differ in their seed alone, trained as one with a leading dimension.

Every run keeps its own streams, parameters, buffers and settings. Losses, samplers and optimisers work slice
by slice, so that the numbers of a run are those of the run alone, up to the rounding of sums.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from operator import itemgetter

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from ebmark.api import Each, Meter, Method, Rng, State
from ebmark.modules import stacked
from ebmark.train import DivergedError, Training


class Mapped(nn.Module):
    """R modules of any kind side by side: x ``(R, ...)``, run r through module r.

    Args:
        modules: their parameters stacked, in a module of their kind.
    """

    def __init__(self, modules: nn.Module) -> None:
        super().__init__()
        self.modules_ = modules
        self._each: Callable[..., Tensor] = vmap(self._one)

    def _one(self, tensors: dict[str, Tensor], x: Tensor) -> Tensor:
        E: Tensor = functional_call(self.modules_, tensors, (x,))
        return E

    def forward(self, x: Tensor) -> Tensor:
        """X ``(R, ..., d)`` -> E(x) ``(R, ...)``."""
        return self._each(
            {**dict(self.modules_.named_parameters()), **dict(self.modules_.named_buffers())}, x
        )


class Together(Training):
    """R runs as one: ``step`` moves all of them, each as it would move alone.

    The modules of the runs are views of the stacked ones, and always up to date; what else a run holds is so
    after ``hand_over``. A run whose loss is not finite leaves, and the others go on.

    Args:
        runs: before their first step; equal but for the seed, and for settings that the data decide.
        mapped: by ``torch.func.vmap``, for networks that take no stacked parameters.

    Attributes:
        runs: those that still go on.
        left: those that have left since this was last emptied, with the reason.
    """

    def __init__(self, runs: Sequence[Training], *, mapped: bool = False) -> None:
        self.runs = self._width = list(runs)  # the latter as long as the leading dimension
        self.left: list[tuple[Training, DivergedError]] = []
        self._network = stacked([run.module for run in runs])
        first = runs[0]
        super().__init__(
            joined([run.method for run in runs]),
            Mapped(self._network) if mapped else self._network,
            first.data,
            self._batches(),
            Rng([run.rng.seeds[0] for run in runs], device=first.rng.device, dtype=first.rng.dtype),
            first.budget,
            first.optimiser,
            _stacked_states([run.state for run in runs]),
        )
        self._lend()

    def _batches(self) -> Iterator[Tensor]:
        while True:
            yield torch.stack([next(run.stream) for run in self._width])

    @property
    def passes(self) -> float:
        """Work on the energy so far, of one run."""
        return self.runs[0].passes + self.meter.passes.total / len(self._width)

    def step(self) -> None:
        """One update of every run that is left.

        Raises:
            DivergedError: none of them goes on.
        """
        before = self._width
        super().step()
        if self.steps == 1:
            for run in self.runs:
                run.first_call = self.first_call / len(before)
        self._trim()

    def settle(self) -> None:
        """Reads what the device has finished; runs whose loss was not finite leave.

        Raises:
            DivergedError: none of them goes on.
        """
        errors: dict[int, DivergedError] = {}
        if self._unseen and not torch.stack([loss for *_, loss in self._unseen]).isfinite().all():
            for step, name, loss in self._unseen:
                for i in (~loss.isfinite()).nonzero().flatten().tolist():
                    recent = self.recent.taken(itemgetter(i))
                    errors.setdefault(i, self.diverged(step, name, loss[i], recent))
        self._unseen.clear()
        super().settle()
        if not errors:
            return
        self._share()
        for i, error in errors.items():
            self._release(self.runs[i])
            self.left.append((self.runs[i], error))
        self.runs = [run for i, run in enumerate(self.runs) if i not in errors]
        if not self.runs:
            raise error

    def norms(self, gradients: list[Tensor]) -> list[Tensor]:
        """The norm ``(R,)`` of each gradient ``(R, ...)``."""
        return [torch.linalg.vector_norm(g.reshape(len(g), -1), dim=1) for g in gradients]

    def hand_over(self) -> None:
        """Gives every run what is its own: its state, its diagnostics, its part of the counts and seconds."""
        self.settle()
        self._trim()
        self._share()
        for i, run in enumerate(self.runs):
            run.recent = self.recent.taken(itemgetter(i))
        for name, (total, count) in self.logs.items():
            for i, run in enumerate(self.runs):
                run.logs[name] = (total[i] if total.dim() else total, count)
        self.logs = {}

    def leave(self, run: Training) -> None:
        """Goes on without this run; between ``hand_over`` and the next step."""
        self._release(run)
        self.runs = [other for other in self.runs if other is not run]
        self._trim()

    def _trim(self) -> None:
        """Cuts everything stacked down to the runs that go on."""
        if self.runs == self._width or not self.runs:
            return
        # What was done since the others left was done for them, too.
        self.meter.hand_out([run.meter if run in self.runs else Meter() for run in self._width])
        self._keep([i for i, run in enumerate(self._width) if run in self.runs])
        self._width = self.runs

    def _share(self) -> None:
        self.meter.hand_out([run.meter for run in self.runs])
        for i, run in enumerate(self.runs):
            run.steps = self.steps
            run.state = replace(run.state, buffers={name: b[i] for name, b in self.state.buffers.items()})

    def _owners(self, runs: Sequence[Training]) -> Iterator[tuple[nn.Module, list[nn.Module]]]:
        """Stacked modules with those that the runs hold."""
        yield self._network, [run.module for run in runs]
        for player, module in self.state.params.items():
            yield module, [run.state.params[player] for run in runs]

    def _lend(self) -> None:
        """Makes the runs' parameters views of the stacked ones."""
        for together, modules in self._owners(self.runs):
            for name, parameter in together.named_parameters():
                for own, module in zip(parameter.data, modules, strict=True):
                    module.get_parameter(name).data = own

    def _release(self, run: Training) -> None:
        """Gives a run parameters of its own, which stay as they are."""
        for _, (module,) in self._owners([run]):
            for parameter in module.parameters():
                parameter.data = parameter.data.clone()

    def _keep(self, kept: Sequence[int]) -> None:
        index = torch.tensor(kept, device=self.data.device)
        for player in self.players.values():
            for parameter in player.parameters:
                shape, parameter.grad = parameter.shape, None
                parameter.data = parameter.data[index]
                for value in player.optimiser.state[parameter].values():
                    if value.shape == shape:
                        value.data = value[index]  # the optimiser may hold on to the tensor itself
        for together, _ in self._owners(()):
            for _, buffer in together.named_buffers():
                buffer.data = buffer[index]
        self.state = self.state.update(**{name: b[index] for name, b in self.state.buffers.items()})
        self.logs = {name: (t[index] if t.dim() else t, n) for name, (t, n) in self.logs.items()}
        self.recent = self.recent.taken(lambda values: values[index])
        self.rng = self.rng.only(kept)
        self.method = joined([run.method for run in self.runs])
        self._lend()


def joined(methods: Sequence[Method]) -> Method:
    """One method for R runs: a setting that differs between them becomes an ``Each``."""
    each = {f.name: tuple(getattr(one, f.name) for one in methods) for f in fields(methods[0])}  # type: ignore[arg-type]  # dataclasses
    differ = {name: Each(values) for name, values in each.items() if len(set(values)) > 1}
    return replace(methods[0], **differ) if differ else methods[0]  # type: ignore[type-var]


def _stacked_states(states: Sequence[State]) -> State:
    first = states[0]
    return State(
        params={who: stacked([state.params[who] for state in states]) for who in first.params},
        buffers={name: torch.stack([state.buffers[name] for state in states]) for name in first.buffers},
    )
