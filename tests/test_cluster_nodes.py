"""A real cluster of three nodes with addresses of their own: it spreads, loses a node, loses its head."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from ebmark.store import read
from tests.nodes import Nodes, missing, wait

pytestmark = [
    pytest.mark.skipif(bool(why := missing()), reason=f"no network namespaces: {why}"),
    pytest.mark.slow,
]
SPEC = """
name = "cluster"
seeds = {seeds}
metrics = ["fisher"]
pictures = false

[budget]
steps = 3
batch = 32
checkpoints = 1

[network]
name = "quadratic"

[[methods]]
name = "mine.py"

[[datasets]]
name = "gaussian"
dim = 2

[[datasets]]
name = "rows.csv"
metrics = ["nll"]

[cost]
repeats = {repeats}
seconds = 0.2
cells = false
dims = [2]
"""
# A step tells where it runs, and waits as long as there is a file `hold`; it takes nobody's processor.
MINE = '''
import platform
import time
from pathlib import Path

{more}
from ebmark.api import Method, Passes, method
from ebmark.ops import score

SEEN = Path("{folder}")


@method("mine", year=2026)
class Mine(Method):
    """Denoising score matching that takes its time."""

    def loss(self, energy, x, state, rng):
        (SEEN / platform.node()).touch()
        time.sleep(0.1)
        while (SEEN / "hold").exists():
            time.sleep(0.05)
        e = rng.normal(x.shape)
        return 0.5 * (score(energy, x + 0.1 * e) * 0.1 + e).square().sum(-1).mean(-1)

    def passes(self, d):
        return Passes(forward=1, input_gradient=1, backward=4)
'''


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    with Nodes() as nodes:
        yield nodes


def write(nodes: Nodes, *, seeds: int, repeats: int = 1, more: str = "") -> None:
    """A study whose plug-in and data lie in the driver's folder alone."""
    (nodes.work / "study.toml").write_text(SPEC.format(seeds=seeds, repeats=repeats))
    (nodes.work / "mine.py").write_text(MINE.format(folder=nodes.folder, more=more))
    (nodes.work / "rows.csv").write_text("".join(f"{i % 7},{i % 5}\n" for i in range(60)))


def start(nodes: Nodes, output: str, **environment: str) -> subprocess.Popen[str]:
    arguments = ("run", "study.toml", "--address", nodes.address, "-o", output)
    return nodes.driver(*arguments, environment=environment)


def ended(run: subprocess.Popen[str], code: int = 0) -> str:
    out, err = run.communicate(timeout=240)
    assert run.returncode == code, out + err
    return out + err


def rows(folder: Path) -> pd.DataFrame:
    """The trials so far, each with its machine."""
    if not (folder / "trials").is_dir():
        return pd.DataFrame()
    tables = read(folder)
    return tables.trials.merge(tables.env, on="env", suffixes=("", "_machine"))


def test_a_study_spreads_over_all_nodes_and_outlives_one_that_is_cut_off_and_comes_back(nodes: Nodes):
    write(nodes, seeds=12, repeats=3)
    folder, hold = nodes.work / "out", nodes.folder / "hold"
    hold.touch()
    run = start(nodes, "out")
    places = [nodes.folder / f"node{i}" for i in (1, 2, 3)]
    wait(lambda: all(place.exists() for place in places), 240, "trials on all three nodes")
    nodes.cut(2)
    wait(lambda: nodes.dead(2), 60, "node 2 given up")
    (nodes.folder / "node2").unlink()
    nodes.mend(2)
    nodes.kill(2)
    nodes.start(2)
    wait((nodes.folder / "node2").exists, 120, "a trial on the node that came back")
    hold.unlink()
    said = ended(run)
    found = rows(folder)
    assert found["id"].is_unique and len(found) == 12 * 2 + 3 and set(found["status"]) == {"ok"}
    assert found["host"].nunique() == 3
    assert (found["attempt"] == 2).sum() == 1, "what ran on the node was tried again"
    assert found.loc[found["lane"] == "cost", "host"].nunique() == 1, "times are taken on one machine"
    assert "note:" not in said and "27 trials run now; in all 27 ok" in said and "raylet" not in said


def test_a_run_that_lost_its_head_is_gone_on_with(nodes: Nodes):
    write(nodes, seeds=12)
    folder = nodes.work / "again"
    run = start(nodes, "again")
    wait(lambda: len(rows(folder)) >= 6, 240, "some rows")
    nodes.kill(1)
    run.communicate()
    before = rows(folder)
    for i in (2, 3):
        nodes.kill(i)
    nodes.start_all()
    ended(start(nodes, "again"))
    found = rows(folder)
    assert found["id"].is_unique and len(found) == 25 and set(found["status"]) == {"ok"}
    kept = found.merge(before[["id", "finished"]], on="id", suffixes=("", "_before"))
    assert len(kept) == len(before) < 25 and (kept["finished"] == kept["finished_before"]).all()


def test_what_a_node_lacks_and_a_missing_token_are_one_line_before_anything_runs(nodes: Nodes):
    (nodes.work / "lib").mkdir()
    (nodes.work / "lib" / "only_here.py").touch()
    write(nodes, seeds=1, more="import only_here")
    said = ended(start(nodes, "lacks", PYTHONPATH=str(nodes.work / "lib")), 1)
    assert said.count("\n") == 1 and said.startswith("ebmark: node 10.77.0.")
    assert "mine.py, line 6: ModuleNotFoundError: No module named 'only_here'" in said
    write(nodes, seeds=1)
    said = ended(start(nodes, "refused", RAY_AUTH_MODE="disabled"), 1)
    assert (
        said.count("\n") == 1 and "the cluster asks for its token" in said and "RAY_AUTH_MODE=token" in said
    )
    assert not list(nodes.work.glob("refused/trials/*"))


def doctor(nodes: Nodes) -> dict[str, dict[str, str | bool | None]]:
    out, err = nodes.driver("doctor", "--json").communicate(timeout=240)
    assert out, err
    return {check["name"]: check for check in json.loads(out)}


def test_the_doctor_tells_a_cluster_with_a_token_from_one_without_and_so_does_a_run(nodes: Nodes):
    found = doctor(nodes)
    assert found["ray authentication"]["ok"] is True
    assert nodes.address in found["ray authentication"]["found"]
    assert found["ray ports"]["ok"] is None and "with a token" in found["ray ports"]["found"]
    with Nodes(1, token=False) as open_one:
        found = doctor(open_one)
        for name, told in (("ray authentication", "without a token"), ("ray ports", "to other machines")):
            assert found[name]["ok"] is False and told in found[name]["found"]
            assert "RAY_AUTH_MODE=token" in found[name]["mend"]
        write(open_one, seeds=1)
        said = ended(start(open_one, "out"))
        assert said.startswith("note: the cluster asks for no token") and "3 ok" in said
