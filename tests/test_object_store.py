"""Results in an object store: the same verbs as on a disk, one writer, and no half of an append."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

import ebmark
from ebmark import lease, lock, store
from ebmark.cli import main
from ebmark.errors import StoreError
from ebmark.locations import Remote, location
from ebmark.store import Store
from tests import s3
from tests.test_store import assert_whole, record


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with s3.server() as address:
        yield address


@pytest.fixture
def folder(endpoint: str) -> Remote:
    made = location(f"s3://{s3.bucket()}/results/study")
    assert isinstance(made, Remote)
    return made


def printed(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Standard output of a verb that succeeds."""
    with pytest.raises(SystemExit) as ended:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    assert ended.value.code == 0, err
    return out


def failed(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line of a verb that is refused."""
    with pytest.raises(SystemExit) as ended:
        main([str(a) for a in arguments])
    err = capsys.readouterr().err.strip()
    assert ended.value.code == 1 and "\n" not in err
    return err


def test_what_is_written_is_read_and_compacted(folder: Remote):
    with Store(folder) as writer:
        writer.append([record("a"), record("b")])
        writer.append([record("c", env="f")])
        writer.append([record("b", 2)])
        assert_whole(folder, {"a", "b", "c"})
        assert writer.compact(order=list("cba")) == ()
    assert_whole(folder, {"a", "b", "c"})
    assert store.read(folder).trials["id"].tolist() == ["c", "b", "a"]
    assert store.done(folder).set_index("id")["attempt"].to_dict() == {"a": 1, "b": 2, "c": 1}
    assert [path.name for path in (folder / "trials").glob("*")] == ["part-00000003.parquet"]


def test_a_damaged_part_is_set_aside_and_a_network_failure_is_no_damage(
    folder: Remote, monkeypatch: pytest.MonkeyPatch
):
    with Store(folder) as writer:
        writer.append([record("a")])
        writer.append([record("b")])
        (folder / "trials" / "part-00000000.parquet").write_bytes(b"PAR1")
        (warning,) = store.read(folder).warnings
        assert str(folder) in warning
        with monkeypatch.context() as patch:
            patch.setattr(Remote, "open", lambda self: (_ for _ in ()).throw(OSError("AWS Error NETWORK\nx")))
            with pytest.raises(StoreError, match="cannot be read: AWS Error NETWORK x"):
                store.read(folder)
            with pytest.raises(StoreError):
                writer.compact()
        assert writer.compact() == (warning,)
    assert store.read(folder).trials["id"].tolist() == ["b"]
    assert (folder / "trials" / ".damaged-part-00000000.parquet").read_bytes() == b"PAR1"


def test_an_append_that_fails_in_the_middle_leaves_the_rows_of_none(
    folder: Remote, monkeypatch: pytest.MonkeyPatch
):
    with Store(folder) as writer:
        writer.append([record("a")])
        write, left = Remote.write_bytes, [3]

        def failing(self: Remote, content: bytes) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise OSError("AWS Error SLOW_DOWN")
            write(self, content)

        with monkeypatch.context() as patch:
            patch.setattr(Remote, "write_bytes", failing)
            with pytest.raises(StoreError, match="cannot be written: AWS Error SLOW_DOWN"):
                writer.append([record("b", env="f")])  # its curve is there, its trial is not
        assert_whole(folder, {"a"})
        writer.append([record("c")])
    assert_whole(folder, {"a", "c"})


def test_the_second_writer_is_refused_and_a_dead_one_is_not_waited_for(folder: Remote):
    code = (
        "import os, sys; from ebmark.store import Store; from ebmark.locations import location;"
        f"Store(location({str(folder)!r})); print('holds', flush=True); sys.stdin.read(1); os._exit(9)"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe, text=True) as other:
        assert other.stdin and other.stdout and other.stdout.readline() == "holds\n"
        with pytest.raises(
            StoreError, match=rf"another run is writing here \(process {other.pid} on "
        ) as error:
            Store(folder)
        assert "\n" not in str(error.value) and "if it has died, try again in" in str(error.value)
        assert store.is_locked(folder)
        other.stdin.write("x")
    assert not store.is_locked(folder)
    Store(folder).close()
    assert (folder / ".lock").listing() == []


def test_a_silent_writer_of_another_host_is_waited_for_and_then_writes_no_more(
    folder: Remote, monkeypatch: pytest.MonkeyPatch
):
    first = Store(folder)
    elsewhere = json.dumps({**json.loads(lock.mark()), "host": "elsewhere", "kernel": "other"})
    (claim,) = (place for place, _ in (folder / ".lock").listing())
    claim.write_bytes(elsewhere.encode())
    with pytest.raises(StoreError, match=r"process .* on elsewhere, seen [0-9]+ s ago"):
        Store(folder)
    listing = Remote.listing
    monkeypatch.setattr(
        Remote,
        "listing",
        lambda self: [
            (place, time and time - timedelta(seconds=lock.STALE) * (place.name == claim.name))
            for place, time in listing(self)
        ],
    )
    with Store(folder) as second:
        second.append([record("a")])
        now = lease._clock()
        monkeypatch.setattr(lease, "_clock", lambda: now + lock.STALE)
        with pytest.raises(StoreError, match="another run took over while this one stood still"):
            first.append([record("b")])
    first.close()
    assert_whole(folder, {"a"})


def test_of_many_that_begin_at_once_at_most_one_writes(folder: Remote):
    held, refused, barrier = [], [], threading.Barrier(4)

    def begin() -> None:
        barrier.wait()
        try:
            held.append(Store(folder))
        except StoreError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=begin) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(held) <= 1 and len(held) + len(refused) == 4
    for one in held:
        one.close()
    Store(folder).close()


def test_verbs_read_from_the_store(
    folder: Remote, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    with Store(folder) as writer:
        writer.append([record("abc"), record("abd")])
    assert json.loads(printed(capsys, "status", folder, "--json"))["counts"] == {"ok": 2}
    assert json.loads(printed(capsys, "show", "abc", folder, "--json"))["trial"]["id"] == "abc"
    assert "no trial begins so" in failed(capsys, "show", "x", folder)


def test_a_run_writes_there_and_resumes_and_every_verb_goes_on_from_it(
    folder: Remote, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    spec = tmp_path / "s.toml"
    spec.write_text(
        'name = "s"\nseeds = 2\nmetrics = ["fisher"]\npictures = false\n[budget]\nsteps = 20\n'
        '[[methods]]\nname = "dsm"\n[[methods]]\nname = "nce"\n[[datasets]]\nname = "gaussian"\n'
    )

    def said(*arguments: object) -> Any:
        return json.loads(printed(capsys, *arguments, "--json"))

    first = ebmark.run(spec, output=str(folder), runner="serial", progress=False)
    assert (first.trained, first.folder) == (4, folder)
    again = ebmark.run(str(folder / "spec.toml"), output=str(folder), runner="serial", progress=False)
    assert again.trained == 0, "by the study that lies there"
    assert (folder / "spec.toml").read_text() == spec.read_text()
    for places in ((folder, "here", folder.with_name("both")), ("here", folder.with_name("both"), "there")):
        if not Path("here").exists():
            assert said("merge", folder, folder, "-o", "here")["unequal"] == 0
        merged = said("merge", *places[:2], "-o", places[2])
        assert (merged["trials"], merged["doubles"], merged["files"]) == (4, 4, 4)
    both = folder.with_name("both")
    assert said("compact", both)["parts_after"] == 3
    assert said("status", both)["counts"] == {"ok": 4}
    compared = said("compare", folder, both)
    assert compared["rows"] and all(row["difference"] == 0 for row in compared["rows"] if not row["ratio"])
    plan = said("plan", both / "spec.toml", "-o", both, "--precision", "10%")
    assert [row["seeds"] for row in plan["comparisons"]] == [2]
    _exported_and_reported(both, said, capsys)
    _loaded(both)


def _exported_and_reported(
    both: Remote, said: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """What is made of results lands beside them, where the user says, or on this machine."""
    assert said("export", both)["file"] == f"{both}/export.csv"
    assert said("export", both, "-o", both.with_name("wide.parquet"))["trials"] == 4
    for file, kind in ((both / "export.csv", pd.read_csv), (both.with_name("wide.parquet"), pd.read_parquet)):
        assert kind(io.BytesIO(file.read_bytes()))["fisher"].notna().all()
    own = failed(capsys, "export", both, "-o", both / "trials" / "x.parquet")
    assert "one of the results' own files" in own
    assert said("report", both, "--paper")["files"][0] == "results/both/report/paper/main.tex"
    refusal = failed(capsys, "report", both, "-o", both.with_name("report"))
    assert "allowed: a local folder such as results/both" in refusal


def _loaded(both: Remote) -> None:
    """Tables and a network, read in Python."""
    results = ebmark.read(str(both))
    assert results.counts == {"ok": 4} and set(results.trials["method"]) == {"dsm", "nce"}
    id = results.trials["id"][0]
    energy, _ = ebmark.load(str(both), id)
    assert energy(torch.zeros(3, 2)).shape == (3,)
    (both / "models" / f"{id}.safetensors").unlink()
    with pytest.raises(
        StoreError, match=rf"to make it again: ebmark run {both}/spec.toml -o {both} --only {id}"
    ):
        ebmark.load(str(both), id)


def test_errors_of_addresses_are_one_line_and_show_no_key(endpoint: str, capsys: pytest.CaptureFixture[str]):
    for address, words in [
        ("s3://no-such-bucket/x", "no such folder"),
        ("foo://bucket/x", "cannot be opened"),
        ("s3://", "not a place"),
        ("s3://bucket/../x", "not a place"),
        ("s3://key:hidden-secret@bucket/x?foo=1", "cannot be opened"),
        ("s3://key:hidden-secret@no-such-bucket/x", "no such folder"),
    ]:
        message = failed(capsys, "status", address)
        assert words in message and "hidden-secret" not in message
    message = failed(capsys, "run", "s3://key:hidden-secret@no-such-bucket/x.toml")
    assert "s3://no-such-bucket/x.toml: cannot be read: " in message and "hidden-secret" not in message
    with pytest.raises(StoreError, match="s3://no-such-bucket/x: cannot be written"):
        Store(location("s3://no-such-bucket/x"))


def test_a_store_that_does_not_answer_is_one_line(
    folder: Remote, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert "Could not connect" in failed(capsys, "status", str(folder))


def test_a_line_to_go_on_with_shows_no_key(
    endpoint: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("ebmark.study.load", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(SystemExit) as ended:
        main(["run", "smoke", "-o", "s3://key:hidden-secret@bucket/x"])
    assert ended.value.code == 130
    assert capsys.readouterr().err.endswith("to start again: ebmark run smoke -o s3://bucket/x\n")
