"""The watch measures what the kernel says, and the verdict follows from it."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time

import pytest

from ebmark import trust
from ebmark.trust import MAX_DELAY, MIN_CPU, Watch

MIB = 2**20


def watched(**values: float) -> Watch:
    watch = Watch()
    vars(watch).update({"wall": 10.0, "cpu": 9.9, "delay": 0.1, **values})
    return watch


def spin(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


@pytest.mark.parametrize(
    ("values", "asked", "reason"),
    [
        ({}, {}, ""),
        ({"delay": math.nan}, {}, ""),
        ({"delay": 10 * MAX_DELAY + 0.01}, {}, "waited for a core 5% of the time, allowed 5%"),
        ({"delay": 5.0}, {}, "waited for a core 50% of the time, allowed 5%"),
        ({"cpu": 10 * MIN_CPU - 0.5}, {}, "0.85 CPU seconds per second, at least 0.9 expected"),
        ({"cpu": 40.0}, {"threads": 4, "threads_asked": 4}, ""),
        ({}, {"exclusive": False}, "not alone on its device"),
        ({}, {"threads": 2}, "2 threads in use, 1 asked for"),
    ],
)
def test_verdict(values: dict[str, float], asked: dict[str, int], reason: str):
    trusted, reasons = watched(**values).verdict(
        **{"exclusive": True, "threads_asked": 1, "threads": 1, **asked}
    )
    assert (trusted, reasons) == (not reason, reason)


def test_all_reasons_are_told():
    _, reasons = watched(cpu=5.0, delay=5.0).verdict(exclusive=False, threads_asked=1, threads=2)
    assert len(reasons.split("; ")) == 4


def test_computing_uses_cpu_and_sleeping_does_not():
    with Watch() as computing:
        spin(0.2)
    assert computing.cpu == pytest.approx(0.2, abs=0.05)
    assert computing.wall >= 0.2 and computing.load >= 0 and computing.switches >= 0
    with Watch() as sleeping:
        time.sleep(0.2)
    assert sleeping.cpu < 0.1
    trusted, reasons = sleeping.verdict(exclusive=True, threads_asked=1, threads=1)
    assert not trusted and "CPU seconds per second" in reasons


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cannot bind a process to a core here")
def test_two_processes_on_one_core_wait_half_of_the_time():
    code = """
import os, sys, time
core = min(os.sched_getaffinity(0))
os.sched_setaffinity(0, {core})
end = time.perf_counter() + 60
while time.perf_counter() < end: pass
"""
    cores = os.sched_getaffinity(0)
    rival = subprocess.Popen([sys.executable, "-c", code])
    try:
        os.sched_setaffinity(0, {min(cores)})
        time.sleep(0.5)
        with Watch() as watch:
            spin(0.5)
    finally:
        os.sched_setaffinity(0, cores)
        rival.kill()
        rival.wait()
    if math.isnan(watch.delay):
        pytest.skip("the kernel does not measure the delay")
    assert watch.delay / watch.wall > 0.3
    assert watch.delay + watch.cpu == pytest.approx(watch.wall, rel=0.15), "it ran or it waited"
    trusted, reasons = watch.verdict(exclusive=True, threads_asked=1, threads=1)
    assert not trusted and "waited for a core" in reasons


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak is reset on Linux only")
def test_peak_memory_is_that_of_the_trial_and_not_of_an_earlier_one():
    with Watch() as large:
        block = bytearray(300 * MIB)
        block[::4096] = b"x" * len(block[::4096])
        del block
    with Watch() as small:
        pass
    assert 290 * MIB < large.peak_memory - small.peak_memory < 330 * MIB


def test_what_the_kernel_does_not_say_is_not_distrusted(monkeypatch: pytest.MonkeyPatch):
    def absent(*args: object) -> None:
        raise OSError

    monkeypatch.setattr(trust.Path, "read_text", absent)
    monkeypatch.setattr(trust.Path, "write_text", absent)
    monkeypatch.setattr(trust.os, "getloadavg", absent)
    with Watch() as watch:
        spin(0.05)
    assert math.isnan(watch.delay) and math.isnan(watch.load)
    assert watch.peak_memory > MIB, "the peak of the whole process"
    watch.cpu = watch.wall
    assert watch.verdict(exclusive=True, threads_asked=1, threads=1) == (True, "")
