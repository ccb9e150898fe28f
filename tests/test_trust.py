"""The watch measures what the kernel says, and the verdict follows from it."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from dataclasses import asdict, replace

import pytest

from ebmark import readings
from ebmark.env import cores
from ebmark.readings import Board, Reading, parse_board
from ebmark.trust import MAX_DELAY, REASONS, Watch

MIB = 2**20


QUIET = Reading(wall=10.0, cpu=9.9, switches=100, delay=0.1, busy=10.5, steal=0.1, heat=0)


def watched(**values: float) -> Watch:
    watch = Watch()
    watch.load = 1.0
    watch.spent = replace(QUIET, **{name: values.pop(name) for name in asdict(QUIET) if name in values})
    vars(watch).update(values)
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
        ({"cpu": 8.5, "busy": 9.0}, {}, "0.85 CPU seconds per second, at least 0.9 expected"),
        ({"cpu": 40.0, "busy": 41.0}, {"threads": 4, "threads_asked": 4}, ""),
        ({"switches": 990}, {}, "100 involuntary switches per CPU second, allowed 50"),
        ({"switches": 490}, {}, ""),
        ({"busy": 9.9 + 3.9}, {}, ""),
        ({"busy": 9.9 + 9.7}, {}, "other processes used 0.97 cores, allowed 0.4"),
        ({"busy": math.nan, "steal": math.nan}, {}, ""),
        ({"steal": 0.6}, {}, "the hypervisor took 0.06 cores, allowed 0.05"),
        ({"load": 1e4}, {}, f"load average 10000.0 on {cores()} cores at the start"),
        ({"load": cores() + 0.9}, {}, ""),
        ({"heat": 1}, {}, "the processor was throttled by heat"),
        ({"clock": 0.8}, {}, "the processor ran at 80%, below its base frequency"),
        ({"clock": 1.6}, {}, ""),
        ({"board": parse_board("0x0000000000000001", 1)}, {}, ""),
        ({"board": parse_board("0x0000000000000000", 3)}, {}, "2 other processes on the GPU"),
        (
            {"board": parse_board("0x0000000000000044", 1)},
            {},
            "the GPU was throttled: power cap, heat, by hardware",
        ),
        ({"board": parse_board("[N/A]", 0)}, {}, ""),
        ({}, {"exclusive": False}, "not alone on its device"),
        ({}, {"threads": 2}, "2 threads in use, 1 asked for"),
    ],
)
def test_verdict(values: dict[str, float], asked: dict[str, int], reason: str):
    trusted, reasons = watched(**values).verdict(
        **{"exclusive": True, "threads_asked": 1, "threads": 1, **asked}
    )
    assert (trusted, reasons) == (not reason, reason)
    assert sum(phrase in reason for phrase in REASONS) == bool(reason), "each is explained, once"


def test_all_reasons_are_told_and_every_explanation_is_of_one():
    watch = watched(
        cpu=5.0,
        delay=5.0,
        switches=1e4,
        busy=15.0,
        steal=5.0,
        heat=3,
        load=1e4,
        clock=0.5,
        board=parse_board("0x8", 2),
    )
    _, reasons = watch.verdict(exclusive=False, threads_asked=1, threads=2)
    assert len(reasons.split("; ")) == 12  # the processor's heat and the GPU's throttling share a word
    elsewhere = {"trained together", "continued after"}  # which the record says itself
    assert {phrase for phrase in REASONS if phrase not in reasons} == elsewhere


def test_computing_uses_cpu_and_sleeping_does_not():
    with Watch() as computing:
        spin(0.2)
    assert computing.spent.cpu == pytest.approx(0.2, abs=0.05)
    assert computing.spent.wall >= 0.2 and computing.load >= 0 and computing.spent.switches >= 0
    assert computing.spent.busy > 0.15, "the machine was at least as busy as this process"
    with Watch() as sleeping:
        time.sleep(0.2)
    assert sleeping.spent.cpu < 0.1
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
    spent = watch.spent
    if math.isnan(spent.delay):
        pytest.skip("the kernel does not measure the delay")
    assert spent.delay / spent.wall > 0.3
    assert spent.delay + spent.cpu == pytest.approx(spent.wall, rel=0.15), "it ran or it waited"
    assert (spent.busy - spent.cpu) / spent.wall > 0.3, "what the rival ran is others' time"
    trusted, reasons = watch.verdict(exclusive=True, threads_asked=1, threads=1)
    assert not trusted and "waited for a core" in reasons and "other processes used" in reasons


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
    def absent(*args: object, **settings: object) -> None:
        raise OSError

    monkeypatch.setattr(readings, "open", absent, raising=False)
    monkeypatch.setattr(readings.os, "getloadavg", absent)
    with Watch() as watch:
        spin(0.05)
    assert math.isnan(watch.spent.delay) and math.isnan(watch.load) and math.isnan(watch.spent.busy)
    assert watch.peak_memory > MIB, "the peak of the whole process"
    watch.spent = replace(watch.spent, cpu=watch.spent.wall, switches=0)
    assert watch.verdict(exclusive=True, threads_asked=1, threads=1) == (True, "")


def test_a_core_below_its_base_frequency_and_heat_are_seen_where_the_kernel_tells(tmp_path, monkeypatch):
    monkeypatch.setattr(readings, "CPU", tmp_path)
    monkeypatch.setattr(readings, "_cpus", lambda: [0, 3])
    assert math.isnan(readings.clock()) and readings._heat() == 0
    readings._files.cache_clear()  # a machine has its files before a process begins
    for cpu, now in ((0, 800_000), (1, 9_000_000), (3, 2_400_000)):
        for name, value in (("scaling_cur_freq", now), ("base_frequency", 3_000_000)):
            path = tmp_path / f"cpu{cpu}" / "cpufreq" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{value}\n")
        path = tmp_path / f"cpu{cpu}" / "thermal_throttle" / "core_throttle_count"
        path.parent.mkdir()
        path.write_text("2\n")
    assert readings.clock() == pytest.approx(0.8), "the faster of the two cores that it may use"
    assert readings._heat() == 4


def test_the_gpus_driver_is_asked_about_the_trials_own_board(monkeypatch):
    """By its UUID, under the old name of the counter too; a driver that answers nothing says nothing."""
    asked: list[tuple[str, ...]] = []
    answers = {"--query-gpu=clocks_throttle_reasons.active": "0x8", "--query-compute-apps=pid": "12\n13\n"}

    def output(*command: str) -> str:
        asked.append(command)
        return answers.get(command[-1], "")

    class Properties:
        uuid = "ab-cd"

    monkeypatch.setattr(readings.env, "output", output)
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda device: Properties)
    assert readings.board("cpu") is None and not asked
    assert readings.board("cuda:1") == Board(others=1, throttles=("hardware slowdown",))
    assert all(command[:3] == ("nvidia-smi", "-i", "GPU-ab-cd") for command in asked)
    answers.clear()
    assert readings.board("cuda:1") is None
