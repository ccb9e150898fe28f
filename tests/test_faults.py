"""Faults of a run on Ray: what is lost is tried again, what hangs is ended, what leaks is replaced."""

import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from ebmark.registry import ref
from ebmark.runners import Job
from ebmark.runners.ray import RayRunner
from ebmark.trial import Budget, Trial

BAD = Path(__file__).parent / "data" / "misbehaving.py"
HEALTH = {
    "health_check_initial_delay_ms": 500,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 1000,
    "health_check_failure_threshold": 3,
}


@pytest.fixture(scope="module")
def cluster():
    """A Ray of two CPUs that several runs join one after the other."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 2, "include_dashboard": False, "_system_config": HEALTH},
    )
    yield cluster
    cluster.shutdown()


@pytest.fixture
def runner(cluster, request):
    """A run's runner; parameters of the test's mark `settings` are its arguments."""
    mark = request.node.get_closest_marker("settings")
    runner = RayRunner(address=cluster.address, **(mark.kwargs if mark else {}))
    yield runner
    runner.close()


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
    seen = {}
    begin = time.monotonic()
    hung = job(name, timeout=1.0)
    for record in runner.run([hung, job("dsm"), job("dsm", seed=1), job("dsm", seed=2)], exclusive=True):
        seen[record.trial["id"]] = record.trial, time.monotonic()
    row, ended = seen[hung.trial.id]
    assert row["status"] == "timeout"
    assert "worker was killed" in row["reason"]
    following = [row for row, at in seen.values() if at > ended]
    assert len(following) == 3
    assert {row["status"] for row in following} == {"ok"}
    first = min(at for row, at in seen.values() if at > ended)
    assert first - begin < 60


def test_a_lost_machine_gives_its_trials_back(cluster, tmp_path):
    """Its raylet is killed while trials run there: what they had is abandoned and run elsewhere."""
    node = cluster.add_node(num_cpus=2)
    runner = RayRunner(address=cluster.address)
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
