"""What belongs to the whole process: a trial finds it the same each time, and leaves it as it was.

A method that changes a default of torch, the environment or the current folder would change the trials that
follow in its process, and an alarm that it has set would end one of them; one that draws from a global
generator would depend on those before it. What a plug-in's file does as it is imported would reach the first
trial of a process only.
"""

from __future__ import annotations

import gc
import os
import random
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import torch

from ebmark.trial import Trial

SIGNALS = (signal.SIGALRM, signal.SIGCHLD, signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


@contextmanager
def isolated(trial: Trial, threads: int) -> Iterator[None]:
    """Sets torch's threads and seeds the global generators, for whoever uses them; at most 0.1 ms.

    Their seed is the same for each run of the trial. At the end everything is as it was, but for the state of
    those generators.
    """
    with unchanged():
        torch.set_num_threads(threads)
        _seed(int(trial.id[:8], 16))
        yield


@contextmanager
def unchanged() -> Iterator[None]:
    """At the end everything is as it was, but for the state of the global generators."""
    with ExitStack() as after:
        for restore, before in _state():
            after.callback(restore, before)
        yield


def _seed(seed: int) -> None:
    torch.default_generator.manual_seed(seed)  # torch.manual_seed looks for every other device too: 0.9 ms
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # of torch
        torch.cuda.manual_seed(seed)
    random.seed(seed)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(seed)


def _state() -> Iterator[tuple[Callable[[Any], object], Any]]:
    """What a plug-in may change: what puts it back, and its present value."""
    yield torch.set_num_threads, torch.get_num_threads()
    yield torch.set_default_dtype, torch.get_default_dtype()
    yield _device, torch.get_default_device()
    yield torch.set_grad_enabled, torch.is_grad_enabled()
    yield torch.autograd.set_detect_anomaly, torch.is_anomaly_enabled()
    yield torch.use_deterministic_algorithms, torch.are_deterministic_algorithms_enabled()
    yield torch.set_float32_matmul_precision, torch.get_float32_matmul_precision()
    yield torch.set_flush_denormal, False  # it cannot be asked; this is what a process begins with
    yield sys.setrecursionlimit, sys.getrecursionlimit()
    yield sys.setprofile, sys.getprofile()
    yield sys.settrace, sys.gettrace()
    yield _streams, (sys.stdout, sys.stderr)
    yield _collector, gc.isenabled()
    yield _warnings, warnings.filters[:]
    if hasattr(os, "sched_getaffinity"):  # Linux has it
        yield _cores, os.sched_getaffinity(0)
    if numpy := sys.modules.get("numpy"):
        yield _floating_errors, numpy.geterr()
    if threading.current_thread() is threading.main_thread():
        yield _signals, [(number, signal.getsignal(number)) for number in SIGNALS]
        yield _alarm, (signal.getitimer(signal.ITIMER_REAL), time.monotonic())
    yield _environment, _variables()
    with suppress(OSError):  # the folder may be gone
        yield _folder, os.getcwd()


def _device(before: torch.device) -> None:
    # To set it, even to what it is, puts every call of torch through Python, for the rest of the process.
    if torch.get_default_device() != before:
        torch.set_default_device(None if before.type == "cpu" else before)


def _streams(before: tuple[Any, Any]) -> None:
    sys.stdout, sys.stderr = before


def _collector(before: bool) -> None:
    (gc.enable if before else gc.disable)()


def _warnings(before: list[Any]) -> None:
    if warnings.filters != before:
        warnings.resetwarnings()  # it also tells that the list has changed
        warnings.filters[:] = before  # type: ignore[index]  # typeshed takes it for any sequence


def _cores(before: set[int]) -> None:
    if os.sched_getaffinity(0) != before:
        os.sched_setaffinity(0, before)


def _floating_errors(before: dict[str, Any]) -> None:
    sys.modules["numpy"].seterr(**before)


def _signals(before: list[tuple[int, Any]]) -> None:
    for number, handler in before:
        # None: set outside Python, which cannot put it back.
        if handler is not None and signal.getsignal(number) is not handler:
            signal.signal(number, handler)


def _alarm(before: tuple[tuple[float, float], float]) -> None:
    (left, interval), since = before
    if left:  # one that was there rings when it would have rung, at once if that is past
        left = max(left - (time.monotonic() - since), 1e-6)
    signal.setitimer(signal.ITIMER_REAL, left, interval)


def _variables() -> dict[bytes, bytes]:
    """What ``os.environ`` and ``os.environb`` hold, copied; through either it takes 60 times as long."""
    held: dict[bytes, bytes] = vars(os.environ)["_data"]
    return held.copy()


def _environment(before: dict[bytes, bytes]) -> None:
    if _variables() != before:
        os.environb.clear()
        os.environb.update(before)


def _folder(before: str) -> None:
    with suppress(OSError):
        os.chdir(before)
