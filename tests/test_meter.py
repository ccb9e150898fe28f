"""The meter: exclusive phases, and counts that a backward pass commits."""

import pytest
import torch

from ebmark import meter as module
from ebmark.meter import Meter, Passes


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
