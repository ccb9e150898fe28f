"""What the operating system and the GPU's driver count about a process and the machine around it."""

from __future__ import annotations

import math
import os
import re
import resource
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Self

from ebmark import env

CPU = Path("/sys/devices/system/cpu")
_TICK = 1 / os.sysconf("SC_CLK_TCK")
# Bits of nvidia-smi's clocks_event_reasons.active; idle, chosen clocks and synchronised boards are no faults.
THROTTLES = {
    0x04: "power cap",
    0x08: "hardware slowdown",
    0x20: "heat, by software",
    0x40: "heat, by hardware",
    0x80: "power brake",
}


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Counters that only grow, read at one moment; NaN where this machine does not tell.

    Attributes:
        wall: seconds of the monotonic clock.
        cpu: CPU seconds of all threads of this process.
        switches: involuntary context switches of this process.
        delay: seconds that the calling thread was ready to run and had no core. Other threads are not seen:
            with several threads it is a lower bound.
        busy: CPU seconds of every process on the cores that this one may use.
        steal: CPU seconds on those cores that went to other virtual machines.
        heat: how often those cores were slowed down because of heat.
    """

    wall: float
    cpu: float
    switches: float
    delay: float
    busy: float
    steal: float
    heat: float

    @classmethod
    def now(cls) -> Self:
        """The counters as they stand."""
        busy, steal = _machine()
        switches = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
        return cls(
            wall=time.perf_counter(),
            cpu=time.process_time(),
            switches=switches,
            delay=_delay(),
            busy=busy,
            steal=steal,
            heat=_heat(),
        )

    def __sub__(self, earlier: Reading) -> Reading:
        """What happened since an earlier moment."""
        before = vars(earlier)
        return Reading(**{name: value - before[name] for name, value in vars(self).items()})


@dataclass(frozen=True, kw_only=True)
class Board:
    """What the driver says of a GPU: other processes on it, and why its clock is held back."""

    others: int
    throttles: tuple[str, ...]


def _text(path: str) -> str:
    with open(path, "rb", buffering=0) as file:  # a buffer and a decoder take longer than the kernel
        return file.read().decode()


def _cpus() -> list[int]:
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def _delay() -> float:
    """Run-queue delay of the calling thread in seconds: second field of schedstat, nanoseconds."""
    try:
        return int(_text("/proc/thread-self/schedstat").split()[1]) * 1e-9
    except (OSError, IndexError, ValueError):
        return math.nan


def _machine() -> tuple[float, float]:
    """Busy and stolen CPU seconds of the cores that this process may use, from the kernel's accounts."""
    try:
        text = _text("/proc/stat")
    except OSError:
        return math.nan, math.nan
    cores = {f"cpu{cpu}" for cpu in _cpus()}
    lines = (line.split() for line in text.partition("\nintr")[0].splitlines())
    rows = [[*map(int, numbers)] for name, *numbers in lines if name in cores]
    # user, nice, system, idle, iowait, irq, softirq, steal
    busy = sum(row[0] + row[1] + row[2] + row[5] + row[6] for row in rows)
    return busy * _TICK, sum(row[7] for row in rows) * _TICK


def _numbers(name: str) -> list[float]:
    """A number of each core that this process may use, from the kernel's folder of processors."""
    found = []
    for path in _files(CPU, name, *_cpus()):
        with suppress(OSError, ValueError):
            found.append(float(_text(path)))
    return found


@cache
def _files(folder: Path, name: str, *cpus: int) -> tuple[str, ...]:
    """Those that there are: a virtual machine has none, and to look for one takes as long as to read it."""
    return tuple(path for cpu in cpus if os.path.exists(path := f"{folder}/cpu{cpu}/{name}"))


def _heat() -> float:
    return sum(_numbers("thermal_throttle/core_throttle_count"), 0.0)


def clock() -> float:
    """The fastest core's frequency over its base frequency: a core at work is not slower than an idle one."""
    now, base = _numbers("cpufreq/scaling_cur_freq"), _numbers("cpufreq/base_frequency")
    return max(now) / max(base) if now and base else math.nan


def load() -> float:
    """Load average over one minute, NaN where unknown."""
    try:
        return os.getloadavg()[0]
    except OSError:
        return math.nan


def board(device: str) -> Board | None:
    """What nvidia-smi says of a CUDA device; its processes count from the second on: one is this trial."""
    if not device.startswith("cuda"):
        return None
    import torch

    gpu = f"GPU-{torch.cuda.get_device_properties(torch.device(device)).uuid}"
    query = ("nvidia-smi", "-i", gpu, "--format=csv,noheader")
    # The name changed with driver 535.
    words = ("clocks_event_reasons.active", "clocks_throttle_reasons.active")
    bits = next((out for word in words if (out := env.output(*query, f"--query-gpu={word}"))), "")
    if not bits:
        return None
    processes = env.output(*query, "--query-compute-apps=pid").split()
    return parse_board(bits, len(processes))


def parse_board(bits: str, processes: int) -> Board:
    """What the driver's hexadecimal ``bits`` and its number of processes on the GPU mean."""
    try:
        held = int(bits.strip(), 16)
    except ValueError:  # "[N/A]" on boards that do not tell
        held = 0
    throttles = tuple(word for bit, word in THROTTLES.items() if held & bit)
    return Board(others=max(0, processes - 1), throttles=throttles)


def reset_peak(device: str) -> None:
    """Workers are used again: the peak of an earlier trial must not count (Linux: 5 resets VmHWM)."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.reset_peak_memory_stats(device)
        return
    try:
        with open("/proc/self/clear_refs", "wb", buffering=0) as file:
            file.write(b"5")
    except OSError:
        return


def peak_memory(device: str) -> int:
    """Peak in bytes since ``reset_peak``: resident set, on a GPU what torch's allocator held."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.max_memory_allocated(device)
    try:
        match = re.search(r"^VmHWM:\s+(\d+) kB", _text("/proc/self/status"), re.MULTILINE)
    except OSError:
        match = None
    if match:
        return int(match[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
