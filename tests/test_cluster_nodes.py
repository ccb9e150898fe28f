"""A real cluster of three nodes with addresses of their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ebmark.store import read
from tests.nodes import Nodes, missing

pytestmark = [
    pytest.mark.skipif(bool(why := missing()), reason=f"no network namespaces: {why}"),
    pytest.mark.slow,
]
SPEC = """
name = "cluster"
seeds = 6
metrics = ["fisher"]
pictures = false

[budget]
seconds = 0.3
batch = 32
checkpoints = 1

[network]
name = "quadratic"

[[methods]]
name = "mine.py"

[[methods]]
name = "dsm"

[[datasets]]
name = "gaussian"
dim = 2

[[datasets]]
name = "rows.csv"

[cost]
repeats = 3
seconds = 0.2
cells = false
dims = [2]
"""
MINE = """
from ebmark.api import Method, method, Passes
from ebmark.ops import score


@method("mine", year=2026)
class Mine(Method):
    def loss(self, energy, x, state, rng):
        e = rng.normal(x.shape)
        return 0.5 * (score(energy, x + 0.1 * e) * 0.1 + e).square().sum(-1).mean(-1)

    def passes(self, d):
        return Passes(forward=1, input_gradient=1, backward=4)
"""


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    with Nodes() as nodes:
        yield nodes


def study(nodes: Nodes) -> None:
    (nodes.work / "study.toml").write_text(SPEC)
    (nodes.work / "mine.py").write_text(MINE)
    rows = [f"{i % 7},{i % 5}\n" for i in range(60)]
    (nodes.work / "rows.csv").write_text("".join(rows))


def test_a_study_spreads_over_all_nodes_with_files_that_only_the_driver_has(nodes: Nodes):
    study(nodes)
    run = nodes.driver("run", "study.toml", "--address", nodes.address, "-o", "out")
    out, err = run.communicate(timeout=120)
    assert run.returncode == 0, out + err
    tables = read(nodes.work / "out")
    assert (tables.trials["status"] == "ok").all()
    hosts = tables.trials.merge(tables.env, on="env")
    quality = hosts[hosts["lane"] == "quality"]
    assert len(quality) == 24 and quality["host"].nunique() == 3
    print(out, err, quality.groupby("host").size())
    assert hosts.loc[hosts["lane"] == "cost", "host"].nunique() == 1
