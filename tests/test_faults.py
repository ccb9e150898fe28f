"""Faults of a run on Ray: what is lost is tried again, what hangs is ended, what leaks is replaced."""

import gc
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy
import pytest
import ray
import torch
from ray.cluster_utils import Cluster

from ebmark import attempt
from ebmark.errors import RunError
from ebmark.execute import Place, execute
from ebmark.isolation import SIGNALS
from ebmark.registry import ref
from ebmark.runners import Job, nodes
from ebmark.runners.cluster import _same_sigterm, connect
from ebmark.runners.limits import capped
from ebmark.runners.patches import Patches
from ebmark.runners.ray import RayRunner
from ebmark.runners.slots import Flight, Slots
from ebmark.runners.worker import GROWTH, Answer, Hello, UnreadableError, Worker, packed, unpacked
from ebmark.store import read
from ebmark.trial import Budget, Trial
from tests.study_text import study_text

BAD = Path(__file__).parent / "data" / "misbehaving.py"
HEALTH = {
    "health_check_initial_delay_ms": 500,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 5000,
    "health_check_failure_threshold": 3,
}


@pytest.fixture(scope="module")
def cluster():
    """A Ray of two CPUs that several runs join one after the other."""
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 2, "num_gpus": 1, "include_dashboard": False, "_system_config": HEALTH},
    )
    yield cluster
    ray.shutdown()
    cluster.shutdown()


OPEN = []


@pytest.fixture
def runner(cluster):
    """A run's runner; tests share it, since what a fault does must end with it."""
    if not ray.is_initialized():
        OPEN[:] = [RayRunner(connect(cluster.address))]
    return OPEN[0]


def job(name, *, seed=0, timeout=60.0, steps=1, **settings):
    """A trial of one of the methods that misbehave; `name` may be a method of ours."""
    return Job(
        trial=Trial(
            seed=seed,
            method=ref("method", name if name in ("dsm",) else f"{BAD}:{name}", **settings),
            dataset=ref("dataset", "gaussian", dim=2),
            network=ref("network", "quadratic"),
            budget=Budget(steps=steps, batch=16),
            checkpoints=1,
            timeout=timeout,
        )
    )


def rows(runner, *jobs, exclusive=False):
    """The rows of these jobs, in their order."""
    by_id = {record.trial["id"]: record.trial for record in runner.run(jobs, exclusive=exclusive)}
    return [by_id[job.trial.id] for job in jobs]


def pids(runner):
    """The processes of the slots, once all are ready."""
    while any(slot.hello is not None for slot in runner._slots.all):
        for slot in runner._slots.answered(1):
            list(runner._read(slot))
    return {slot.pid for slot in runner._slots.all}


def offspring(parent):
    """Processes whose parent this one is."""
    stats = (path.read_text().rpartition(")")[2].split() for path in Path("/proc").glob("[0-9]*/stat"))
    return [stat for stat in stats if int(stat[1]) == parent]


def crowded():
    """By how much a machine that does other things too is slower."""
    return max(1, os.getloadavg()[0] / os.cpu_count())


def test_a_killed_worker_is_a_fault_of_the_system_and_its_trial_is_tried_again(runner, tmp_path):
    once, often, fine = rows(
        runner,
        job("doomed", times=2, tally=str(tmp_path / "a")),
        job("doomed", times=99, tally=str(tmp_path / "b")),
        job("dsm"),
    )
    assert (once["status"], once["attempt"]) == ("ok", 3)
    assert (often["status"], often["attempt"]) == ("crashed", 3)
    assert "worker died 3 times" in often["reason"]
    assert (tmp_path / "b").read_text() == "xxx"
    assert (fine["status"], fine["attempt"]) == ("ok", 1)


def test_a_method_that_fails_by_itself_is_not_tried_again(runner):
    found = rows(runner, job("raises"), job("explodes"), job("hoards"), job("exits"))
    assert [row["status"] for row in found] == ["crashed", "diverged", "oom", "crashed"]
    assert {row["attempt"] for row in found} == {1}
    assert "SystemExit: had enough" in found[3]["reason"]


@pytest.mark.parametrize("name", ["hangs", "stuck"])
def test_the_slot_of_a_hung_trial_is_in_use_again_within_ten_seconds_of_its_deadline(runner, name):
    """One hangs with every exception swallowed, the other in C with the interpreter's lock held."""
    before, hung, after = rows(
        runner, job("dsm"), job(name, timeout=1.0), job("dsm", seed=1), exclusive=True
    )  # on one slot
    assert (hung["status"], hung["attempt"]) == ("timeout", 1)
    assert "worker was killed" in hung["reason"]
    assert after["status"] == "ok"
    deadline = before["finished"] + timedelta(seconds=1)
    assert 5 < (after["started"] - deadline).total_seconds() < 10 * crowded()


def test_a_worker_that_the_memory_monitor_ends_is_out_of_memory(runner, monkeypatch):
    """Its trial may be what filled the machine, and is not tried again."""
    says = "1 worker(s) were killed. Memory on the node (IP: ::1) was 23.1GB used / 23.5GB limit (0.98)"
    get = ray.get

    def ended(ref):
        monkeypatch.setattr(ray, "get", get)
        raise ray.exceptions.OutOfMemoryError(says)

    pids(runner)
    monkeypatch.setattr(ray, "get", ended)
    (row,) = rows(runner, job("dsm", seed=30))
    assert (row["status"], row["attempt"]) == ("oom", 1)
    assert row["reason"] == "ended by Ray's memory monitor, with 23.1GB used / 23.5GB of its machine"


def test_what_cannot_travel_is_said_in_a_line_and_never_raised_where_the_run_goes_on():
    class Own:
        """Known in here only."""

    worker = Worker.__new__(Worker)
    worker._worn = "tired"
    worker._answer = lambda jobs, place: Answer(records=(Own(),), worn="tired")
    answer = unpacked(worker.run(packed(((), None))))
    assert (answer.records, answer.worn) == ((), "tired")
    assert "Own" in answer.failure and "\n" not in answer.failure
    nowhere = b"cnowhere\nThing\n."
    with pytest.raises(UnreadableError, match="No module named 'nowhere'"):
        unpacked(nowhere)
    assert "No module named 'nowhere'" in unpacked(worker.run(nowhere)).failure


def test_an_answer_that_cannot_be_read_is_its_trials_fault_and_its_worker_goes_on(runner, monkeypatch):
    before = pids(runner)
    monkeypatch.setattr("ebmark.runners.ray.unpacked", lambda sent: unpacked(b"cnowhere\nThing\n."))
    (row,) = rows(runner, job("dsm", seed=60))
    assert (row["status"], row["attempt"]) == ("crashed", 1)
    assert "answer cannot be read here" in row["reason"] and "No module named 'nowhere'" in row["reason"]
    assert pids(runner) == before


def test_a_plugin_that_cannot_be_imported_is_one_line_before_anything_starts(cli, tmp_path):
    for body in ("raise RuntimeError('not today')", "import sys\nsys.exit('not today')", "import nowhere"):
        (tmp_path / "own.py").write_text(body + "\n")
        found = cli("run", "smoke", "-m", "own.py:own", "-o", "out")
        assert found.returncode == 1
        assert len(found.stderr.strip().splitlines()) == 1, found.stderr
        assert body.rpartition(" ")[2].strip("'()\"") in found.stderr
        assert "own.py" in found.stderr
        assert not (tmp_path / "out").exists()


def test_a_plugin_that_only_a_worker_cannot_import_is_a_row(runner, tmp_path):
    (tmp_path / "own.py").write_text(
        (Path(__file__).parent / "data" / "picky.py").read_text().replace("MARK", str(tmp_path / "mark"))
    )
    base = job("dsm", seed=40)
    picky = Job(trial=replace(base.trial, method=ref("method", f"{tmp_path}/own.py:picky")))
    (tmp_path / "mark").touch()
    found, fine = rows(runner, picky, base)
    assert (found["status"], found["attempt"], fine["status"]) == ("crashed", 1, "ok")
    assert "no such luck" in found["reason"]


def test_processes_of_a_trial_end_with_it_and_its_threads_with_their_worker(runner):
    before = pids(runner)
    sleeping = sleepers()
    assert rows(runner, job("leaks", what="process"), exclusive=True)[0]["status"] == "ok"
    assert pids(runner) == before
    assert not [pid for pid in map(int, before) if offspring(pid)]
    assert sleepers() <= sleeping
    assert rows(runner, job("leaks", what="thread"), exclusive=True)[0]["status"] == "ok"
    assert len(before - pids(runner)) == 1


def sleepers():
    """Processes ``sleep 60``, whoever their parent is."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if path.read_bytes() == b"sleep\x0060\0":
                found.add(path.parent.name)
    return found


def test_a_worker_in_which_a_file_has_patched_torch_is_worn(monkeypatch):
    worker = SimpleNamespace(_patches=Patches())
    assert Worker._meddled(worker, [job("leaks")]) == ""
    monkeypatch.setattr(torch, "randn", lambda *_: None)
    monkeypatch.setattr(torch.Tensor, "mean", lambda *_: None)
    assert Worker._meddled(worker, [job("leaks")]) == "replaced by a plug-in: torch.randn, Tensor.mean"
    assert Worker._meddled(worker, [job("dsm")]) == "", "what is shipped is trusted"
    foreign = replace(job("dsm").trial, method=replace(job("dsm").trial.method, name="of_an_entry_point"))
    assert Worker._meddled(worker, [Job(trial=foreign)]) == "replaced by a plug-in: torch.randn, Tensor.mean"


def test_which_of_several_seeds_in_a_program_is_to_blame_shows_when_each_is_alone(runner, monkeypatch):
    monkeypatch.setattr(runner, "together", 2)
    found = rows(runner, *(job("refuses", what="interrupt", seed=seed) for seed in (50, 51)))
    assert [(row["status"], row["attempt"]) for row in found] == [("crashed", 2)] * 2


def test_memory_that_a_trial_keeps_is_given_back_with_its_worker(runner):
    before = pids(runner)
    rows(runner, *[job("sleeps", seed=seed, seconds=0.5) for seed in range(4)])  # each has had a first trial
    kept = rows(runner, job("leaks", what="memory", held=GROWTH + 2**26))
    assert kept[0]["status"] == "ok"
    assert len(before - pids(runner)) == 1


def test_what_a_method_does_to_its_process_does_not_reach_the_next_trial():
    """The second trial's loss rests on everything that the first changes, and on the global generators."""
    place = Place(env={"env": "x"})
    trusts = job("trusts").trial
    execute(trusts, place)  # what torch imports late sets a variable
    alone, before = execute(trusts, place).curve, whole_process()
    assert execute(job("meddles").trial, place).trial["status"] == "ok"
    assert whole_process() == before
    assert execute(trusts, place).curve[-1]["value"] == alone[-1]["value"]


def whole_process():
    """What a plug-in may have changed."""
    tiny = torch.tensor(1e-310, dtype=torch.float64)  # no normal number
    return {
        "torch": (torch.get_default_dtype(), torch.get_num_threads(), bool(tiny * 1)),
        "python": (
            sys.getrecursionlimit(),
            sys.getprofile(),
            sys.stdout,
            gc.isenabled(),
            warnings.filters[:],
        ),
        "process": (os.getcwd(), dict(os.environ)),
        "cores": os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None,
        "numpy": numpy.geterr(),
        "signals": [signal.getsignal(number) for number in SIGNALS],
        "alarm": signal.getitimer(signal.ITIMER_REAL)[0] < 1e5,  # pytest's own may be there
    }


def test_what_a_file_does_as_it_is_imported_reaches_no_trial(tmp_path):
    """Else the first trial of each worker would run with it and the others without."""
    before = whole_process()
    (tmp_path / "own.py").write_text(
        "import os, torch\nos.environ['MEDDLED'] = 'yes'\ntorch.set_default_dtype(torch.float64)\n"
        "torch.manual_seed(7)\n" + BAD.read_text().partition('"""\n\n')[2].replace("from __future__", "#")
    )
    mine = replace(job("trusts").trial, method=ref("method", f"{tmp_path}/own.py:trusts"))
    assert whole_process() == before
    first, second = (execute(mine, Place(env={"env": "x"})).curve[-1]["value"] for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("settings", "status", "reason"),
    [
        ({"what": "odd"}, "crashed", "_Odd: not today"),
        ({"what": "memory"}, "oom", "in loss: OutOfMemoryError: no more"),
        (
            {"what": "cublas", "late": True},
            "oom",
            "in evaluation: OutOfMemoryError: CUBLAS_STATUS_ALLOC_FAILED",
        ),
    ],
)
def test_whatever_is_raised_is_a_row_with_its_phase(settings, status, reason):
    row = execute(job("refuses", **settings).trial, Place(env={"env": "x"})).trial
    assert (row["status"], row["reason"]) == (status, reason)


def test_memory_beyond_a_trials_share_is_out_of_memory_with_its_phase():
    """``eats`` holds more and more until its cap; what ran before stays as it is."""
    with capped(2**29):
        row = execute(job("eats", steps=100).trial, Place(env={"env": "x"})).trial
    assert row["status"] == "oom"
    assert row["reason"].startswith("in loss: ")
    assert torch.ones(2**26).sum() == 2**26  # 256 MiB: the cap is gone


def test_durations_hold_when_the_clock_is_set_back(monkeypatch):
    class Jumping(datetime):
        days = itertools.count()

        @classmethod
        def now(cls, zone=None):
            return datetime(2020, 1, 1, tzinfo=zone) - timedelta(days=next(cls.days))

    monkeypatch.setattr(attempt, "datetime", Jumping)
    row = execute(job("sleeps", seconds=0.2, timeout=30).trial, Place(env={"env": "x"})).trial
    assert row["status"] == "ok"
    assert 0.2 < (row["finished"] - row["started"]).total_seconds() < 30


class Gone:
    """Stands for Ray: of two machines the driver's is lost between two looks."""

    looks = itertools.count()

    def get_runtime_context(self):
        return self

    def get_node_id(self):
        return "here"

    def nodes(self):
        return [{"NodeID": "here", "Alive": not next(self.looks)}, {"NodeID": "there", "Alive": True}]


def test_a_driver_whose_own_ray_is_gone_ends_in_one_line(monkeypatch):
    monkeypatch.setattr(nodes, "EVERY", 0.0)
    watch = nodes.NodeWatch(Gone())
    assert watch.lost() == set()
    with pytest.raises(RunError, match="Ray has ended on the driver's machine"):
        watch.lost()


def test_a_head_that_does_not_answer_ends_the_run_in_one_line(monkeypatch):
    """Ray would wait for it, and then end the driver with a page of its own."""
    gone, hold = Gone(), threading.Event()
    watch = nodes.NodeWatch(gone)
    monkeypatch.setattr(gone, "nodes", hold.wait, raising=False)
    assert watch.lost() == set() and not watch.silent, "trials go on for a while"
    monkeypatch.setattr(nodes, "SILENCE", 0.05)
    with pytest.raises(RunError, match="does not answer any more; what has finished is kept"):
        watch.lost()
    assert watch.silent
    hold.set()


def test_what_ray_says_instead_of_its_machines_ends_the_run_at_once(monkeypatch):
    def refused():
        raise ValueError("the token\nis wrong")

    gone = Gone()
    monkeypatch.setattr(gone, "nodes", refused, raising=False)
    monkeypatch.setattr(nodes, "PROMPT", 10.0)
    with pytest.raises(RunError, match=r"^Ray cannot say .* runs the rest: ValueError: the token is wrong$"):
        nodes.NodeWatch(gone).lost()


@pytest.mark.parametrize("known", [True, False])
def test_the_handler_of_sigterm_is_put_back_also_where_no_ray_starts(monkeypatch, known):
    """One that was not set from Python cannot be."""
    mine = signal.signal(signal.SIGTERM, signal.default_int_handler)
    if not known:
        monkeypatch.setattr(signal, "getsignal", lambda number: None)
    try:
        with pytest.raises(RunError, match="no Ray"), _same_sigterm():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            raise RunError("no Ray")
        monkeypatch.undo()
        now = signal.getsignal(signal.SIGTERM)
        assert now is (signal.default_int_handler if known else signal.SIG_IGN)
    finally:
        signal.signal(signal.SIGTERM, mine)


@pytest.mark.usefixtures("runner")
def test_the_gpu_of_a_killed_worker_serves_the_next_within_ten_seconds():
    """One pretended GPU: the worker that follows can start only when it is free."""

    class Owner:  # in here, since workers cannot import this module
        def hello(self):
            return None

        def run(self, task):
            time.sleep(1e6)

    owner = ray.remote(num_gpus=1, num_cpus=0, max_restarts=0)(Owner)
    slots = Slots(ray, owner, (), 1)
    (slot,) = slots.answered(60)
    slot.greet(Hello(node="here", address="", pid=0, env={}))
    slot.send(Flight(jobs=(job("dsm"),)), None)
    assert not slots.answered(1)
    begin = time.monotonic()
    assert slots.replace(slot) == [slot.flights[0]]
    assert slots.answered(60) == slots.all
    assert time.monotonic() - begin < 10 * crowded()
    slots.close()


def test_a_lost_machine_gives_its_trials_back(cluster, tmp_path):
    """Its raylet is killed while trials run there: what they had is abandoned and run elsewhere."""
    ray.shutdown()
    node = cluster.add_node(num_cpus=2)
    runner = RayRunner(connect(cluster.address))
    jobs = [job("sleeps", seed=i, seconds=3.0) for i in range(8)]
    found, killed = [], False
    try:
        for record in runner.run(jobs, exclusive=False):
            found.append(record.trial)
            if not killed:
                killed = True
                time.sleep(1)
                os.kill(node.all_processes["raylet"][0].process.pid, signal.SIGKILL)
                at = time.monotonic()
        waited = time.monotonic() - at
    finally:
        runner.close()
        cluster.remove_node(node)
    assert Counter(row["id"] for row in found) == Counter(job.trial.id for job in jobs)
    assert {row["status"] for row in found} == {"ok"}
    assert 1 <= sum(row["attempt"] == 2 for row in found) <= 2
    assert waited < 60


SPEC = study_text(methods={"dsm": {}}, dim=[2, 4], seeds=4, steps=5)


@pytest.fixture
def small_disk(tmp_path):
    """A disk of one mebibyte; needs the right to mount."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small disk")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_ends_the_run_in_one_line_and_the_same_command_finishes_it(
    cli, tmp_path, small_disk, monkeypatch
):
    monkeypatch.delenv(
        "RAY_BACKEND_LOG_LEVEL", raising=False
    )  # of the Ray in this process: ours would tell of it
    (tmp_path / "small.toml").write_text(SPEC)
    command = ("run", "small.toml", "-o", small_disk / "out")
    assert cli(*command, "--seeds", 1, "--json", "--runner", "serial").returncode == 0
    free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_bsize
    (small_disk / "filler").write_bytes(b"x" * (free - 3 * 2**15))  # room for the spec and a trial or two
    full = cli(*command)
    assert full.returncode == 1
    assert len(full.stderr.strip().splitlines()) == 1
    assert "no space left on device; free some space" in full.stderr
    tables = read(small_disk / "out")
    assert not tables.warnings
    assert set(tables.trials["status"]) == {"ok"}
    assert len(tables.trials) >= 2
    (small_disk / "filler").unlink()
    after = cli(*command, "--json")
    assert after.returncode == 0, after.stderr
    assert json.loads(after.stdout)["counts"] == {"ok": 8}
    tables = read(small_disk / "out")
    assert not tables.warnings
    assert tables.trials["id"].is_unique
