"""What a run shows: plain lines in a pipe, one redrawn in a terminal, forecasts where there is a basis."""

import io
import os
import pty

from ebmark.progress import Progress, duration
from ebmark.record import Record


def record(status="ok", reason=""):
    return Record(
        trial={
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
    with Progress(total=5, done=2, slots=1, out=out) as progress:
        for _ in range(3):
            progress.add(record())
        progress.add(record("crashed", "ValueError: no"))
    lines = out.getvalue().splitlines()
    assert lines[0] == "5 trials to run, one at a time; 2 done before"
    assert lines[1] == "[1/5] ok       cd[k=10] on gaussian d=2 seed 0"  # too early for a forecast
    assert lines[3].endswith("left")
    assert lines[4].startswith("[4/5] crashed  cd[k=10] on gaussian d=2 seed 0: ValueError: no, about ")
    assert progress.finished == 4


def test_a_terminal_keeps_the_brackets_of_a_label():
    main, terminal = pty.openpty()
    with os.fdopen(terminal, "w") as out:
        with Progress(total=2, done=0, slots=1, out=out) as progress:
            progress.add(record("diverged", "the loss is nan"))
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
