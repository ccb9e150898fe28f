"""What ends a run, and what must not: signals, a terminal that is closed, a log that cannot be written."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from ebmark.__main__ import main
from ebmark.console import put
from ebmark.record import Record
from ebmark.schedule import STOPS, stoppable
from ebmark.showing import Lines


def _runner(sent: int) -> Iterator[Record]:
    """Gets a signal while a trial runs; as runners do, it reports what it was at."""
    try:
        os.kill(os.getpid(), sent)
        yield Record(trial={"status": "ok"})
    except KeyboardInterrupt:
        yield Record(trial={"status": "cancelled"})
        raise


@pytest.mark.parametrize("sent", STOPS, ids=lambda sent: signal.Signals(sent).name)
def test_a_signal_cancels_what_runs_unless_it_is_ignored(sent: int) -> None:
    before = signal.signal(sent, signal.SIG_DFL)
    try:
        records = stoppable(_runner(sent))
        assert next(records).trial["status"] == "cancelled"
        with pytest.raises(KeyboardInterrupt):
            next(records)
        assert signal.getsignal(sent) is signal.SIG_DFL
        signal.signal(sent, signal.SIG_IGN)  # as by nohup
        assert [record.trial["status"] for record in stoppable(_runner(sent))] == ["ok"]
    finally:
        signal.signal(sent, before)


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGHUP])
def test_before_and_after_the_trials_too_a_signal_ends_with_how_to_go_on(
    sent: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """SIGTERM arrives while a verb is at work that knows nothing of signals."""
    monkeypatch.setattr("ebmark.study.load", lambda *_, **__: os.kill(os.getpid(), sent))
    monkeypatch.setattr("sys.argv", ["ebmark", "run", "smoke"])
    before = {number: signal.signal(number, signal.SIG_DFL) for number in STOPS[1:]}
    try:
        with pytest.raises(SystemExit) as ended:
            main()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert ended.value.code == 130
    assert "ebmark run smoke" in capsys.readouterr().err


def test_lines_that_nobody_reads_any_more_end_nothing() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as out:
        put("one", out)
        put("two", out)


def test_a_log_on_a_full_disk_ends_no_run_and_a_full_output_is_told() -> None:
    with Path("/dev/full").open("w", buffering=1) as out:
        Lines(out, live=False).begin("5 trials to run")
        with pytest.raises(OSError, match="No space left"):
            put("the document", out)
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())  # what it holds goes somewhere
