"""What a run shows: plain lines in a pipe, one redrawn in a terminal, forecasts where there is a basis."""

import io
import os
import pty
import threading
import time
from datetime import datetime, timedelta

import pytest

from ebmark import progress as module
from ebmark import showing
from ebmark.pace import Pace
from ebmark.progress import Progress
from ebmark.record import Record
from ebmark.runfile import FILE, read_run
from ebmark.runners import Job, Node, Running
from ebmark.showing import duration

START = datetime(2026, 1, 1)


def record(id="a", status="ok", reason="", seconds=1.0):
    return Record(
        trial={
            "id": id,
            "started": START,
            "finished": START + timedelta(seconds=seconds),
            "status": status,
            "reason": reason,
            "method_label": "cd[k=10]",
            "dataset_label": "gaussian",
            "dim": 2,
            "seed": 0,
            "lane": "quality",
            "repeat": 0,
        }
    )


def test_plain_lines_in_a_pipe():
    out = io.StringIO()
    with Progress(left=dict.fromkeys("abcde", 40.0), done=2, slots=1, out=out) as progress:
        progress.add(record("a", seconds=40))
        progress.add(record("b", seconds=40))
        progress.add(record("c", "crashed", "ValueError: no", seconds=40))
        progress.add(record("d", seconds=40))
        progress.add(record("e", seconds=40))
    lines = out.getvalue().splitlines()
    assert lines[0] == "5 trials to run, one at a time; 2 done before"
    assert lines[1] == "[1/5] ok       cd[k=10] on gaussian d=2 seed 0 (about 2 min 40 s left)"
    assert lines[3].startswith("[3/5] crashed  cd[k=10] on gaussian d=2 seed 0: ValueError: no (about ")
    assert lines[5].endswith("seed 0")  # nothing is left
    assert progress.finished == 5


def test_the_forecast_counts_what_is_left_at_the_pace_so_far():
    """One of 60 s took 120 s on two slots: the 600 s expected of the rest will take twice that."""
    with Progress(left={"a": 30.0, "b": 600.0}, done=0, slots=2, out=io.StringIO()) as progress:
        assert progress.seconds_left == pytest.approx(630, rel=0.05)
        progress.add(record("a", seconds=120))
        assert progress.seconds_left == pytest.approx(1200, rel=0.05)


def test_a_terminal_keeps_the_brackets_of_a_label():
    main, terminal = pty.openpty()
    with os.fdopen(terminal, "w") as out:
        with Progress(left={"a": 1.0, "b": 1.0}, done=0, slots=1, out=out) as progress:
            progress.add(record("a", "diverged", "the loss is nan"))
        shown = os.read(main, 100_000).decode()
    os.close(main)
    assert "cd[k=10] on gaussian d=2 seed 0: the loss is nan" in shown


def test_durations_have_two_digits():
    assert [duration(s) for s in (0.4, 59, 61, 599, 601, 3599, 3661, 7500)] == [
        "0 s",
        "59 s",
        "1 min 01 s",
        "9 min 59 s",
        "10 min",
        "60 min",
        "1 h 01 min",
        "2 h 05 min",
    ]


def test_a_pace_that_holds_for_some_is_not_everybodys():
    """Two kinds forecast 20 times too long end first; the third, forecast well, is not believed to be so."""
    pace = Pace()
    for kind in ("x", "y"):
        for _ in range(3):
            pace.plan(kind, 20.0)
    for _ in range(100):
        pace.plan("z", 1.0)
    for kind in ("x", "y"):
        for _ in range(3):
            pace.ended(kind, 20.0, 1.0)
    assert 60 <= pace.left() <= 100
    for _ in range(50):
        pace.ended("z", 1.0, 1.0)
    assert pace.left() == pytest.approx(50, rel=0.01)


def test_a_slow_machine_is_slow_for_kinds_that_have_not_run():
    pace = Pace()
    for kind, seconds in (("x", 10.0), ("y", 10.0), ("z", 100.0)):
        pace.plan(kind, seconds)
    pace.ended("x", 10.0, 25.0)
    assert pace.left() == pytest.approx(2.5 * 110)


def test_what_follows_and_what_has_begun_are_in_the_forecast():
    trial, node = Job(trial=type("T", (), {"id": "a", "lane": "quality"})()), []  # all that is asked of it
    with Progress(
        left={"a": 50.0}, done=0, slots=2, out=io.StringIO(), later=25.0, nodes=lambda: node
    ) as one:
        assert one.seconds_left == pytest.approx(75, rel=0.05)
        node.append(Node(name="n", slots=2, finished=0, running=(Running(jobs=(trial,), seconds=60.0),)))
        assert one.seconds_left == pytest.approx(45, rel=0.05), "30 s of the wall-clock are gone"
        one.extend({"b": 10.0})
        assert one.seconds_left == pytest.approx(30, rel=0.05), "what followed is known by now"


def test_trials_that_overrun_are_believed_before_one_has_ended():
    """It has run for 80 s instead of 10, 30 may be its start: all is taken for thrice as slow, no more."""
    trial = Job(trial=type("T", (), {"id": "a", "lane": "cost"})())
    seconds = [20.0]

    def nodes():
        return (Node(name="n", slots=1, finished=0, running=(Running(jobs=(trial,), seconds=seconds[0]),)),)

    with Progress(left={"a": 10.0, "b": 90.0}, done=0, slots=1, out=io.StringIO(), nodes=nodes) as one:
        assert one.seconds_left == pytest.approx(90, rel=0.05), "a worker starts slowly"
        seconds[0] = 80.0
        assert one.seconds_left == pytest.approx(3 * 100 - 10, rel=0.05)


def test_a_log_of_many_short_trials_is_short_and_has_every_failure(monkeypatch):
    out, n = io.StringIO(), 10_000
    monkeypatch.setattr(showing, "SUMMARY", 0.05)
    begin = time.monotonic()
    with Progress(left={str(i): 0.0 for i in range(n)}, done=0, slots=1, out=out) as progress:
        for i in range(n):
            progress.add(record(str(i), "crashed" if i % 1000 == 999 else "ok", seconds=0.0))
    lines, seconds = out.getvalue().splitlines(), time.monotonic() - begin
    assert sum("crashed  cd" in line for line in lines) == 10
    assert lines[-1].startswith(f"[{n}/{n}] 10 crashed, 9990 ok; ")
    assert len(lines) < 120 + seconds * (1 + 1 / 0.05)


def test_a_log_in_which_nothing_ends_shows_that_the_run_is_alive(monkeypatch):
    out = io.StringIO()
    monkeypatch.setattr(showing, "SILENCE", 0.05)
    monkeypatch.setattr(module, "EVERY", 0.02)
    with Progress(left={"a": 1.0}, done=0, slots=1, out=out):
        time.sleep(0.3)
    assert out.getvalue().splitlines()[1].startswith("[0/1] none ended yet (about ")


def test_what_runs_now_is_in_a_file_as_long_as_it_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "EVERY", 0.02)
    seen = threading.Event()
    with Progress(left={"a": 1.0, "b": 1.0}, done=0, slots=1, out=io.StringIO(), folder=tmp_path) as progress:
        progress.add(record("a", seconds=7.0))
        for _ in range(100):
            if (tmp_path / FILE).exists() and read_run(tmp_path)["finished"]:
                seen.set()
                break
            time.sleep(0.02)
        state = read_run(tmp_path)
    assert seen.is_set()
    assert (state["counts"], state["finished"], state["total"]) == ({"ok": 1}, 1, 2)
    assert state["slowest"] == [{"id": "a", "what": "cd[k=10] on gaussian d=2 seed 0", "seconds": 7.0}]
    assert not (tmp_path / FILE).exists()
    assert read_run(tmp_path) == {}
