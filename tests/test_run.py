"""Runs through the command line: both runners, resuming, interruptions, faults and exit codes."""

import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest

from ebmark.record import CURVE, TRIALS
from ebmark.store import read
from tests.study_text import study_text

BAD = Path(__file__).parent / "data" / "misbehaving.py"
SMALL = {"dim": [2, 4], "metrics": ["fisher", "kl"], "steps": 30, "batch": 32, "checkpoints": 2}
SPEC = study_text(methods={"cd": {"k": [1, 2]}, "nce": {}}, seeds=2, **SMALL)


@pytest.fixture
def spec(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(SPEC)
    return path


def reproducible(folder):
    """Both tables without the columns that are declared to be timings, in one order."""
    tables = read(folder)
    assert not tables.warnings
    trials = tables.trials[[name for name, column in TRIALS.items() if not column.timing]]
    curve = tables.curve[[name for name, column in CURVE.items() if not column.timing]]
    keys = ["id", "step", "metric", "source"]
    return trials.sort_values("id", ignore_index=True), curve.sort_values(keys, ignore_index=True)


def assert_equal(a, b):
    for left, right in zip(reproducible(a), reproducible(b), strict=True):
        pd.testing.assert_frame_equal(left, right, check_exact=True)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The study, run to its end in one process."""
    folder = tmp_path_factory.mktemp("serial")
    (folder / "small.toml").write_text(SPEC)
    command = [sys.executable, "-m", "ebmark", "run", "small.toml", "-o", "out", "--runner", "serial"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=300)
    return folder / "out"


def test_ray_gives_the_numbers_of_serial_and_a_second_run_trains_nothing(cli, spec, tmp_path, undisturbed):
    first = cli("run", spec, "-o", "out", "--json")
    assert first.returncode == 0, first.stderr
    assert json.loads(first.stdout)["trained"] == 12  # nothing but one JSON document on standard output
    assert_equal(tmp_path / "out", undisturbed)
    again = cli("run", spec, "-o", "out", "--json")
    assert json.loads(again.stdout)["trained"] == 0
    assert len(pd.read_parquet(tmp_path / "out" / "trials")) == 12
    assert sorted(p.name for p in Path(os.environ["HOME"]).iterdir() if "ray" in p.name) == [
        "ray_bootstrap_config.yaml"
    ]


def test_more_seeds_train_only_the_new_ones(cli, spec, tmp_path):
    cli("run", spec, "-o", "out", "--runner", "serial", "--seeds", 1)
    more = cli("run", spec, "-o", "out", "--runner", "serial", "--json")
    assert json.loads(more.stdout)["trained"] == 6


def test_killing_the_driver_loses_nothing(spec, tmp_path, undisturbed):
    """SIGKILL at five random moments; then the run is finished and equals the undisturbed one."""
    moments = random.Random(1)
    command = [sys.executable, "-m", "ebmark", "run", str(spec), "-o", "out", "--runner", "serial"]
    finished: set[str] = set()
    for _ in range(5):
        driver = subprocess.Popen(
            command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert driver.stdout is not None
        driver.stdout.readline()  # the run has begun
        time.sleep(moments.uniform(0, 0.6))
        driver.kill()
        driver.communicate()
        stored = read(tmp_path / "out").trials["id"]
        assert stored.is_unique
        assert finished <= set(stored)  # what was finished stays
        finished = set(stored)
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=300)
    assert_equal(tmp_path / "out", undisturbed)


def descendants(mark):
    """Processes that were started with this variable in their environment."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if mark.encode() in path.read_bytes():
                found.add(int(path.parent.name))
    return found


def test_killing_the_driver_of_a_ray_run_loses_nothing_and_leaves_nothing_running(
    spec, tmp_path, undisturbed
):
    command = [sys.executable, "-m", "ebmark", "run", str(spec), "-o", "out"]
    mark = f"EBMARK_TEST_RUN={uuid.uuid4()}"
    driver = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | dict([mark.split("=")]),
    )
    assert driver.stdout is not None
    for _ in range(4):  # the head line and three trials
        driver.stdout.readline()
    assert len(descendants(mark)) >= 4  # two workers and Ray's own processes
    driver.kill()
    driver.communicate()
    until = time.monotonic() + 120  # Ray notices in seconds, on a busy machine in a minute
    while descendants(mark) and time.monotonic() < until:
        time.sleep(0.2)
    assert not descendants(mark)
    before = set(read(tmp_path / "out").trials["id"])
    assert len(before) >= 3
    done = subprocess.run(
        [*command, "--json"], cwd=tmp_path, check=True, capture_output=True, timeout=300, text=True
    )
    assert json.loads(done.stdout)["trained"] == 12 - len(before)
    assert_equal(tmp_path / "out", undisturbed)


def group(leader):
    """Processes of its group, as far as they have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            found += [int(path.name)] * (os.getpgid(int(path.name)) == leader)
    return found


@pytest.mark.parametrize(
    ("runner", "sent"), [("serial", signal.SIGINT), ("ray", signal.SIGINT), ("ray", signal.SIGHUP)]
)
def test_interrupting_keeps_what_is_finished(tmp_path, runner, sent):
    """Ctrl-C and a closed terminal reach the whole group of processes, Ray's own before the driver."""
    spec = SPEC.replace('name = "nce"', f'name = "{BAD}:sleeps"\nseconds = 0.6')
    (tmp_path / "small.toml").write_text(spec)
    driver = subprocess.Popen(
        [sys.executable, "-m", "ebmark", "run", "small.toml", "-o", "out", "--runner", runner],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert driver.stdout is not None
    for _ in range(3):  # the head line and two trials, the third sleeps for seconds
        driver.stdout.readline()
    time.sleep(1)
    for pid in sorted(group(driver.pid), reverse=True):  # the driver last
        with suppress(ProcessLookupError):
            os.kill(pid, sent)
        time.sleep(0.02)
    out, errors = driver.communicate(timeout=60)
    assert driver.returncode == 130, errors
    kept = len(read(tmp_path / "out").trials.query("status != 'cancelled'"))
    assert f"everything that finished is kept: {kept} trials in out" in out
    assert out.splitlines()[-1] == f"go on with: ebmark run small.toml -o out --runner {runner}"
    counts = read(tmp_path / "out").trials["status"].value_counts()
    assert counts["ok"] >= 2
    assert counts["cancelled"] >= 1
    assert counts.sum() < 12


def test_every_way_to_fail_is_a_row_and_the_rest_goes_on(cli, tmp_path):
    names = ["explodes", "raises", "dies", "hangs"]
    methods = {f"{BAD}:{name}": {} for name in names}
    (tmp_path / "small.toml").write_text(
        study_text(methods=methods | {"nce": {}}, **SMALL) + '[resources]\ntimeout = "6s"\n'
    )
    done = cli("run", "small.toml", "-o", "out", "-d", "gaussian[dim=2]")
    assert done.returncode == 2, done.stderr
    trials = read(tmp_path / "out").trials.set_index("method")
    assert trials["status"].to_dict() == {
        "explodes": "diverged",
        "raises": "crashed",
        "dies": "crashed",
        "hangs": "timeout",
        "nce": "ok",
    }
    assert "worker died" in trials.loc["dies", "reason"]
    assert "worker was killed" in trials.loc["hangs", "reason"]
    shown = cli("status", "out", "--json")
    assert json.loads(shown.stdout)["counts"] == {"crashed": 2, "diverged": 1, "ok": 1, "timeout": 1}
    again = cli("run", "small.toml", "-o", "out", "-d", "gaussian[dim=2]", "--json")
    assert json.loads(again.stdout)["trained"] == 0
    failed = ("run", "small.toml", "-o", "out", "-d", "gaussian[dim=2]", "-m", f"{BAD}:explodes")
    rerun = cli(*failed, "--rerun", "failed", "--json", "--runner", "serial")
    assert json.loads(rerun.stdout)["trained"] == 1
    assert read(tmp_path / "out").trials.set_index("method").loc["explodes", "attempt"] == 2


def test_all_skipped_is_a_success(cli, spec):
    done = cli("run", spec, "-o", "out", "-m", "sm", "--runner", "serial", "--dry-run")
    assert done.returncode == 0
    spec.write_text(SPEC.replace('name = "quadratic"', 'name = "mlp"\nactivation = "relu"'))
    done = cli("run", spec, "-o", "out", "-m", "sm", "--runner", "serial", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["counts"] == {"skipped": 4}
