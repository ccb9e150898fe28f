"""The meter: exclusive phases, and counts that a backward pass commits."""

from __future__ import annotations

import pytest
import torch

from ebmark import meter as module
from ebmark.flops import FlopCounter
from ebmark.meter import PHASES, Meter, Passes


@pytest.fixture
def clock(monkeypatch):
    """A clock that is moved by hand."""
    now = [0.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    return now


def test_time_belongs_to_the_innermost_phase(clock):
    meter = Meter()
    with meter.phase("loss"):
        clock[0] += 1
        with meter.phase("sampling"):
            clock[0] += 10
        clock[0] += 2
        with pytest.raises(RuntimeError), meter.phase("sampling"):
            clock[0] += 20
            raise RuntimeError
    clock[0] += 1000  # outside any phase
    with meter.phase("evaluation"):
        clock[0] += 500
    assert meter.seconds["loss"] == 3
    assert meter.seconds["sampling"] == 30
    assert meter.training_seconds == 33


def test_passes_are_committed_by_a_backward_or_not_at_all():
    meter = Meter()
    meter.count(10, graph=2, forward=1)
    assert meter.passes == Passes(forward=10)
    meter.commit()
    meter.commit()
    assert meter.passes == Passes(forward=10, backward=20)
    with torch.no_grad():
        meter.count(5, graph=2, forward=1)
    meter.commit()
    assert meter.passes.total == 35


def test_arithmetic_of_passes():
    assert 2 * Passes(forward=1, backward=3) + Passes(input_gradient=4) == Passes(
        forward=2, input_gradient=4, backward=6
    )


def test_undivided_steps_are_shared_out_as_the_divided_ones_were(clock):
    meter = Meter()

    def step(data: float, sampling: float, loss: float) -> None:
        with meter.phase("data"):
            clock[0] += data
        with meter.phase("loss"):
            clock[0] += loss
            with meter.phase("sampling"):
                clock[0] += sampling

    step(1, 6, 2)
    meter.divided = False
    step(2, 10, 6)
    assert meter.training_seconds == 27
    assert meter.seconds == {**dict.fromkeys(PHASES, 0.0), "data": 3, "sampling": 18, "loss": 6}
    meter.restart_clock()
    assert not any(meter.seconds.values())


class Event:
    """A CUDA event of a device that has finished when it is waited for."""

    waits = 0

    def __init__(self, now: float) -> None:
        self.now = now

    def synchronize(self) -> None:
        Event.waits += 1

    def elapsed_time(self, end: Event) -> float:
        return 1e3 * (end.now - self.now)


def test_a_devices_time_is_read_when_it_is_asked_for(clock, monkeypatch):
    meter = Meter()
    device = module.DeviceClock(torch.device("cuda"))
    monkeypatch.setattr(device, "mark", lambda: Event(clock[0]))
    meter.clock = device
    with meter.phase("loss"):
        clock[0] += 1
        with meter.phase("sampling"):
            clock[0] += 10
    assert Event.waits == 0, "a change of phase does not wait for the device"
    assert (meter.seconds["loss"], meter.seconds["sampling"]) == (1, 10)
    assert Event.waits == 3


def test_flops_are_those_of_the_matrix_products():
    """n points through d -> w -> 1: 2 n w (d + 1) forward; twice that backward, less the input's gradient."""
    n, d, w = 7, 3, 5
    network = torch.nn.Sequential(torch.nn.Linear(d, w), torch.nn.SiLU(), torch.nn.Linear(w, 1))
    x = torch.randn(n, d)
    with FlopCounter() as forward:
        loss = network(x).sum()
    with FlopCounter() as backward:
        loss.backward()
    assert forward.flops == 2 * n * w * (d + 1)
    assert backward.flops == 2 * forward.flops - 2 * n * w * d


def test_flops_of_a_gradient_with_respect_to_a_leaf():
    layer = torch.nn.Linear(4, 6)
    x = torch.randn(3, 4, requires_grad=True)
    with FlopCounter() as counter:
        torch.autograd.grad(layer(x).sum(), x)
    assert counter.flops == 2 * (2 * 3 * 4 * 6)


def test_what_was_done_for_several_is_handed_out_in_equal_parts(clock):
    shared, each = Meter(), [Meter(), Meter()]
    each[0].count(3, forward=1)
    with shared.phase("loss"):
        clock[0] += 4
        shared.count(10, forward=1, graph=2)
    shared.commit()
    shared.transitions, shared.noise_samples = 6, 8
    shared.hand_out(each)
    assert [meter.passes for meter in each] == [
        Passes(forward=8, backward=10),
        Passes(forward=5, backward=10),
    ]
    assert [(meter.transitions, meter.noise_samples, meter.seconds["loss"]) for meter in each] == 2 * [
        (3, 4, 2)
    ]
    assert (shared.passes.total, shared.transitions, shared.training_seconds) == (0, 0, 0)
