"""What ends a run, and what must not: signals, a terminal that is closed, a log that cannot be written."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TextIO

import pytest

from ebmark import cli
from ebmark.__main__ import main
from ebmark.bar import Bar
from ebmark.commands.run import How, carry_out
from ebmark.console import put
from ebmark.errors import EbmarkError
from ebmark.record import Record
from ebmark.schedule import STOPS, stoppable
from ebmark.showing import Lines
from ebmark.study import Study, load


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


def test_a_handler_that_was_not_set_from_python_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    known = signal.getsignal
    monkeypatch.setattr(signal, "getsignal", lambda number: None)

    def handlers() -> Iterator[Record]:
        yield Record(trial={"handlers": [known(number) for number in STOPS]})

    before = [known(number) for number in STOPS]
    assert [record.trial["handlers"] for record in stoppable(handlers())] == [before]
    assert [known(number) for number in STOPS] == before


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


@pytest.fixture
def closed() -> Iterator[TextIO]:
    """A terminal that was closed: whatever is written there raises EIO."""
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "w") as out:
        os.close(ours)
        with pytest.raises(OSError, match="Input/output error"):
            os.write(theirs, b"x")
        yield out


@pytest.mark.parametrize(("stop", "code"), [(KeyboardInterrupt(), 130), (EbmarkError("no"), 1)])
def test_a_closed_terminal_changes_no_exit_code(
    stop: BaseException, code: int, closed: TextIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise stop

    monkeypatch.setattr("ebmark.study.load", stopped)
    monkeypatch.setattr("sys.stderr", closed)
    with pytest.raises(SystemExit) as ended:
        cli.main(["plan", "smoke"])
    assert ended.value.code == code


def test_a_line_that_is_redrawn_outlives_its_terminal() -> None:
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "w") as out:
        lines = Lines(out, live=True)
        lines.begin("5 trials to run")
        lines.trial(lambda: "first", lambda: "", failed=True)
        seen = b""
        while b"first" not in seen:  # the terminal gives it in as many pieces as it likes
            assert select.select([ours], [], [], 10)[0], seen
            seen += os.read(ours, 1000)
        os.close(ours)
        lines.trial(lambda: "second", lambda: "", failed=True)
        lines.end(lambda: "")


def test_a_bar_outlives_its_terminal(closed: TextIO) -> None:
    now = [0.0]
    bar = Bar("plan", out=closed, shown=True, clock=lambda: now[0])
    now[0] = 1.0
    bar.show(0.5)
    bar.close()


def test_notes_and_rounds_outlive_their_terminal(
    closed: TextIO, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def drive(study: Study, folder: Path, make_runner: Callable[[], object], **_: object) -> object:
        return make_runner()

    def in_rounds(
        study: Study, folder: Path, one: Callable[[Study], object], *, say: Callable[[str], None], **_: object
    ) -> object:
        say("round 2")
        return one(study)

    monkeypatch.setattr("ebmark.commands.run.drive", drive)
    monkeypatch.setattr("ebmark.commands.run.in_rounds", in_rounds)
    monkeypatch.setattr("ebmark.runners.cluster.connect", lambda *_: SimpleNamespace(notes=("an idle node",)))
    monkeypatch.setattr("ebmark.runners.ray.RayRunner", lambda *_, **__: "the runner")
    assert carry_out(load("smoke"), tmp_path / "out", How(precision=0.1), closed) == "the runner"


def test_a_log_on_a_full_disk_ends_no_run_and_a_full_output_is_told() -> None:
    with Path("/dev/full").open("w", buffering=1) as out:
        Lines(out, live=False).begin("5 trials to run")
        with pytest.raises(OSError, match="No space left"):
            put("the document", out)
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())  # what it holds goes somewhere
