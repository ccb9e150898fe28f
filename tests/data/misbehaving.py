"""Plug-ins that misbehave on purpose; loaded as a file, the way a user's own are."""

from __future__ import annotations

import gc
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
import warnings
from contextlib import suppress
from pathlib import Path

import numpy
import torch
from torch import Tensor

from ebmark.api import Energy, Method, Passes, Rng, State, Step, method

KEPT: list[object] = []


class _Plain(Method):
    def passes(self, d: int) -> Passes:
        return Passes(forward=1, backward=2)


@method("explodes", year=2026)
class Explodes(_Plain):
    def loss(self, energy: Energy, x: Tensor, state: State, rng: Rng) -> Tensor:
        return energy(x).mean(-1) * torch.nan


@method("raises", year=2026)
class Raises(_Plain):
    def loss(self, energy: Energy, x: Tensor, state: State, rng: Rng) -> Tensor:
        raise RuntimeError("first line\nsecond line")


@method("hoards", year=2026)
class Hoards(_Plain):
    def loss(self, energy: Energy, x: Tensor, state: State, rng: Rng) -> Tensor:
        return torch.empty(2**55) + energy(x).mean(-1)


@method("dies", year=2026)
class Dies(_Plain):
    def loss(self, energy: Energy, x: Tensor, state: State, rng: Rng) -> Tensor:
        os._exit(3)


class _Odd(BaseException):
    """No ``Exception``, as asyncio's own."""


@method("refuses", year=2026)
class Refuses(_Plain):
    """Raises what few expect: in its loss, or in the evaluation that follows it."""

    what: str = "odd"
    late: bool = False

    def loss(self, energy: Energy, x: Tensor, state: State, rng: Rng) -> Tensor:
        if not self.late:
            self._raise()
        return energy(x).square().mean(-1)

    def graded(self, energy: Energy, state: State) -> Energy:
        if self.late:
            self._raise()
        return energy

    def _raise(self) -> None:
        if self.what == "odd":
            raise _Odd("not today")
        if self.what == "interrupt":
            raise KeyboardInterrupt
        raise torch.OutOfMemoryError("CUBLAS_STATUS_ALLOC_FAILED" if self.what == "cublas" else "no more")


@method("exits", year=2026)
class Exits(_Plain):
    def loss(self, energy: Energy, x: Tensor, state: State, rng: Rng) -> Tensor:
        sys.exit("had enough")


@method("doomed", year=2026)
class Doomed(_Plain):
    """Its worker is killed from outside, the first ``times`` times; ``tally`` is a file that counts."""

    times: int = 1
    tally: str = ""

    def loss(self, energy: Energy, x: Tensor, state: State, rng: Rng) -> Tensor:
        done = Path(self.tally).read_text() if Path(self.tally).exists() else ""
        if len(done) < self.times:
            Path(self.tally).write_text(done + "x")
            os.kill(os.getpid(), signal.SIGKILL)
        return energy(x).square().mean(-1)


@method("stuck", year=2026)
class Stuck(_Plain):
    """Never comes back from C, and never lets another thread run."""

    def loss(self, energy: Energy, x: Tensor, state: State, rng: Rng) -> Tensor:
        re.match("(a+)+$", "a" * 60 + "b")
        return energy(x).square().mean(-1)


@method("leaks", year=2026)
class Leaks(_Plain):
    """Leaves a thread, processes or ``held`` bytes behind."""

    what: str = "thread"
    held: int = 0

    def loss(self, energy: Energy, x: Tensor, state: State, rng: Rng) -> Tensor:
        if self.what == "thread":
            threading.Thread(target=time.sleep, args=(1e6,), daemon=True, name="left").start()
        if self.what == "process":
            subprocess.Popen(["sleep", "60"])
            subprocess.run(["sh", "-c", "setsid sleep 60 &"], check=True)  # no child of ours
        KEPT.append(b"x" * self.held)
        return energy(x).square().mean(-1)


@method("eats", year=2026)
class Eats(_Plain):
    """Holds 64 MiB more at each step."""

    def loss(self, energy: Energy, x: Tensor, state: State, rng: Rng) -> Tensor:
        self.__dict__.setdefault("eaten", []).append(torch.ones(2**24))
        return energy(x).square().mean(-1)


@method("meddles", year=2026)
class Meddles(_Plain):
    """Changes what belongs to the whole process."""

    def loss(self, energy: Energy, x: Tensor, state: State, rng: Rng) -> Tensor:
        torch.set_num_threads(2)
        torch.set_default_dtype(torch.float64)
        torch.manual_seed(1)
        torch.use_deterministic_algorithms(True)
        random.seed(1)
        os.environ["MEDDLED"] = "yes"
        os.chdir("/")
        torch.set_flush_denormal(True)
        sys.setrecursionlimit(5000)
        sys.setprofile(lambda *_: None)
        sys.stdout = None  # type: ignore[assignment]
        gc.disable()
        warnings.simplefilter("ignore")
        if hasattr(os, "sched_setaffinity"):  # Linux
            os.sched_setaffinity(0, [max(os.sched_getaffinity(0))])
        numpy.seterr(all="raise")
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.setitimer(signal.ITIMER_REAL, 1e6)
        return energy(x).square().mean(-1)


@method("trusts", year=2026)
class Trusts(_Plain):
    """Its loss rests on what belongs to the whole process."""

    def loss(self, energy: Energy, x: Tensor, state: State, rng: Rng) -> Tensor:
        seen = torch.rand(()).item() + random.random() + len(os.environ) + len(os.getcwd())
        return energy(x).square().mean(-1) * seen * torch.zeros(()).element_size()


@method("sleeps", year=2026)
class Sleeps(_Plain):
    seconds: float = 0.05

    def loss(self, energy: Energy, x: Tensor, state: State, rng: Rng) -> Tensor:
        time.sleep(self.seconds)
        return energy(x).square().mean(-1)


@method("hangs", year=2026)
class Hangs(_Plain):
    def loss(self, energy: Energy, x: Tensor, state: State, rng: Rng) -> Tensor:
        while True:
            with suppress(BaseException):  # swallows even the request to stop
                time.sleep(1)


@method("bursts", year=2026)
class Bursts(_Plain):
    """Its loss is NaN from a step on that its stream decides."""

    def init(self, energy: Energy, data: Tensor, rng: Rng) -> State:
        return State(buffers={"left": 5 + rng.integers(60, ())})

    def loss(self, energy: Energy, x: Tensor, state: State, rng: Rng) -> Step:
        left = state.buffers["left"] - 1
        loss = energy(x).square().mean(-1)
        loss = torch.where(left < 0, torch.nan, loss)
        return Step(losses={"energy": loss}, state=state.update(left=left))


@method("peeks", year=2026)
class Peeks(_Plain):
    """What it does depends on a number that it takes out of a tensor."""

    def loss(self, energy: Energy, x: Tensor, state: State, rng: Rng) -> Tensor:
        E = energy(x)
        return E.square().mean(-1) if E.mean() > 0 else E.abs().mean(-1)


@method("mixes", year=2026)
class Mixes(_Plain):
    """It forgets that there may be several runs."""

    def loss(self, energy: Energy, x: Tensor, state: State, rng: Rng) -> Tensor:
        return energy(x - x.mean(0)).square().mean(-1)
