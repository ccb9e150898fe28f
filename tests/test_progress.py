"""What a run shows: plain lines in a pipe, one redrawn in a terminal, forecasts where there is a basis."""

import io
import os
import pty
from datetime import datetime, timedelta

from ebmark.progress import Progress, duration
from ebmark.record import Record

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
    assert lines[1] == "[1/5] ok       cd[k=10] on gaussian d=2 seed 0, about 2 min 40 s left"
    assert lines[3].startswith("[3/5] crashed  cd[k=10] on gaussian d=2 seed 0: ValueError: no, about ")
    assert lines[5].endswith("seed 0")  # nothing is left
    assert progress.finished == 5


def test_the_forecast_counts_what_is_left_at_the_pace_so_far():
    """One of 60 s took 120 s on two slots: the 600 s expected of the rest will take twice that."""
    with Progress(left={"a": 30.0, "b": 600.0}, done=0, slots=2, out=io.StringIO()) as progress:
        assert progress.seconds_left == 630
        progress.add(record("a", seconds=120))
        assert 1100 < progress.seconds_left < 1200


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
