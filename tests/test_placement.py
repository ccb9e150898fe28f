"""What fits where: slots of a cluster by what a trial needs, refused where it fits nowhere."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from ebmark.errors import RunError
from ebmark.machines import OTHER, doubt_others
from ebmark.registry import ref
from ebmark.runners import Job
from ebmark.runners.bag import Bag
from ebmark.runners.cluster import Cluster, lane
from ebmark.runners.placement import GIB, Machine, Need, fitted, idle, slots
from ebmark.runners.ray import RayRunner
from ebmark.trial import Budget, Trial


def node(name: str, cpus: float = 4, gpus: float = 0, memory: float = 16, head: bool = False) -> Machine:
    return Machine(id=name, address=name, cpus=cpus, gpus=gpus, memory=memory * GIB, head=head)


MIXED = [node("a", head=True), node("b", cpus=8, gpus=2), node("c", cpus=1, gpus=4), node("d", cpus=0)]


@pytest.mark.parametrize(
    ("need", "each"),
    [
        (Need(), [4, 8, 1, 0]),
        (Need(gpus=1), [0, 2, 1, 0]),
        (Need(gpus=2), [0, 1, 1, 0]),
        (Need(gpus=0.5), [0, 4, 1, 0]),
        (Need(gpus=0.3), [0, 6, 1, 0]),  # three on each of two: a trial does not straddle GPUs
        (Need(gpus=0.1), [0, 8, 1, 0]),
        (Need(memory=3 * GIB), [4, 5, 1, 0]),
        (Need(gpus=1, memory=9 * GIB), [0, 1, 1, 0]),
    ],
)
def test_slots_of_a_mixed_cluster(need: Need, each: list[int]):
    assert [one.slots(need) for one in MIXED] == each
    assert slots(need, MIXED) == sum(each) and fitted(need, MIXED) == need


def test_gpus_are_asked_for_only_where_there_are_any():
    assert fitted(Need(gpus=2), [node("a"), node("b")]) == Need()


@pytest.mark.parametrize(
    ("need", "given"),
    [(Need(gpus=8), "gpus = 8"), (Need(memory=17 * GIB), "memory = 17 GiB")],
)
def test_what_fits_nowhere_is_refused_in_one_line_with_what_there_is(need: Need, given: str):
    with pytest.raises(RunError) as refused:
        fitted(need, MIXED)
    text = str(refused.value)
    assert given in text and "at most 8 CPUs, 4 GPUs, 16 GiB" in text and "\n" not in text


def test_nodes_that_stay_idle_are_told():
    assert idle(Need(), MIXED) == ""
    told = idle(Need(gpus=1), MIXED)
    assert "1 of 4 nodes stay idle" in told and "(a)" in told and "gpus = 0" in told
    assert "too little memory (a)" in idle(Need(memory=12 * GIB), [node("a", memory=8), node("b")])


def test_times_are_taken_on_the_host_of_before_else_on_the_commonest_kind_off_the_head():
    kinds = {"a": "fast", "b": "slow", "c": "fast", "d": "old"}
    machines = {name: {"host": f"h{name}", "cpu": kind} for name, kind in kinds.items()}
    assert lane(machines, "a", ()) == "c"
    assert lane(machines, "c", ()) == "a"
    assert lane(machines, "a", {"hd"}) == "d"
    assert lane(machines, "a", {"gone"}) == "c"
    assert lane({"a": machines["a"]}, "a", ()) == "a"


def test_times_of_another_kind_of_machine_are_set_apart():
    env = pd.DataFrame(
        {
            "env": ["1", "2", "3"],
            "cpu": ["x", "x", "y"],
            "cores": [4, 4, 4],
            "gpu": "",
            "host": ["p", "q", "r"],
        }
    )
    trials = pd.DataFrame(
        {
            "lane": ["cost"] * 5 + ["quality"],
            "status": ["ok"] * 6,
            "env": ["1", "2", "2", "3", "3", "3"],
            "trusted": True,
            "distrust": "",
        }
    )
    doubt_others(trials, env)
    assert trials["trusted"].tolist() == [True, True, True, False, False, True]
    assert trials["distrust"].tolist() == ["", "", "", OTHER, OTHER, ""]


class FakeRay:
    """Takes what a runner asks of Ray, and ends the run when it first waits."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.killed = 0
        self.there = ""

    def remote(self, **options: Any) -> Callable[[type], Any]:
        def made(*arguments: Any) -> Any:
            self.asked.append(options)
            return SimpleNamespace(hello=SimpleNamespace(remote=object))

        return lambda cls: SimpleNamespace(remote=made)

    def get_runtime_context(self) -> Any:
        return SimpleNamespace(get_node_id=lambda: "driver")

    def kill(self, worker: Any) -> None:
        self.killed += 1

    def nodes(self) -> list[dict[str, Any]]:
        """Machines of two CPUs each, named by the letters of ``there``."""
        each = {"Alive": True, "Resources": {"CPU": 2.0, "memory": 16.0 * GIB}}
        return [{**each, "NodeID": name, "NodeManagerAddress": name} for name in self.there]

    def wait(self, *arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt


def test_a_timed_trial_has_a_whole_gpu_and_workers_that_share_one_are_gone():
    ray = FakeRay()
    cluster = Cluster(
        ray=ray,
        bag=Bag(folder="/nowhere", files={}),
        need=Need(gpus=0.5, memory=GIB),
        nodes=(node("a", cpus=8, gpus=2),),
    )
    runner = RayRunner(cluster)
    assert runner.slots == 4 and {options["num_gpus"] for options in ray.asked} == {0.5}
    ray.asked.clear()
    budget = Budget(steps=1)
    method, dataset, network = ref("method", "dsm"), ref("dataset", "moons"), ref("network", "quadratic")
    trial = Trial(lane="cost", seed=0, method=method, dataset=dataset, network=network, budget=budget)
    with pytest.raises(KeyboardInterrupt):
        list(runner.run([Job(trial=trial)], exclusive=True))
    assert ray.killed == 4 and runner.slots == 2
    assert {(options["num_gpus"], options["memory"]) for options in ray.asked} == {(1, GIB)}


def test_a_machine_that_joins_during_a_run_is_used(monkeypatch: pytest.MonkeyPatch):
    ray = FakeRay()
    cluster = Cluster(ray=ray, bag=Bag(folder="/nowhere", files={}), need=Need(), nodes=(node("a", cpus=2),))
    runner = RayRunner(cluster)
    monkeypatch.setattr("ebmark.runners.ray.POLL", -1)
    monkeypatch.setattr("ebmark.runners.nodes.EVERY", 0)
    seen = []
    for names in ("a", "a", "ab", "b", "bc"):
        ray.there = names
        list(runner._look())
        seen.append(runner.slots)
    assert seen == [2, 2, 4, 4, 4], "what was lost is tried again on what is left, or on what comes back"
