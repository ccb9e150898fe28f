"""The store keeps its promises when it is killed, when the disk fails and when two write at once."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ebmark import lock, parts, schema_page, store, tables
from ebmark.errors import StoreError
from ebmark.record import SCHEMA, TABLES, Record
from ebmark.store import Store

START = datetime(2024, 1, 1, tzinfo=UTC)
PARTED = ("trials", "curve", "env")


def record(
    id: str, attempt: int = 1, *, status: str = "ok", steps: int = 3, files: bool = True, env: str = "e"
):
    """A record whose every number follows from its id, so that a reader can check it."""
    seed = sum(id.encode())
    trial = {
        "id": id,
        "lane": "quality",
        "attempt": attempt,
        "status": status,
        "seed": seed,
        "dim": 2,
        "env": env,
    }
    return Record(
        trial={**trial, "finished": START + timedelta(seconds=attempt), "wall": float("nan")},
        curve=tuple(
            {"step": i, "metric": "nll", "source": "", "value": seed + i / 8, "trusted": True}
            for i in range(steps)
        ),
        env={"env": env, "cpu": "c", "dirty": False},
        samples=({"what": "model", "x": [float(seed), 0.5]},) if files else (),
        model=id.encode() * 10 if files else None,
    )


def assert_whole(folder: Path, acknowledged: set[str], prefix: str = "") -> None:
    """No damage, no double, nothing acknowledged is missing, and each row has what it implies.

    ``prefix`` limits the trials whose files are read.
    """
    found = store.read(folder)
    assert found.warnings == ()
    assert found.trials["id"].is_unique
    assert acknowledged <= set(found.trials["id"])
    assert not found.curve.duplicated(["id", "step", "metric", "source"]).any()
    steps = found.curve.groupby("id")["step"].apply(list).to_dict()
    for id, seed in zip(found.trials["id"], found.trials["seed"], strict=True):
        assert steps[id] == [0, 1, 2]
        if not id.startswith(prefix):
            continue
        assert store.read_samples(folder, id)["x"][0].tolist() == [seed, 0.5]
        assert store.read_model(folder, id) == id.encode() * 10
    assert set(steps) == set(found.trials["id"])
    assert found.env["env"].is_unique
    assert set(found.trials["env"]) <= set(found.env["env"])


@pytest.fixture(autouse=True)
def unsynchronised(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a killed process has written is safe with the kernel; the calls of fsync have their own test."""
    monkeypatch.setattr(parts.os, "fsync", lambda descriptor: None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "results" / "study"


# --- round trip ------------------------------------------------------------------------------------------


def test_round_trip_gives_exactly_the_schema(folder: Path):
    with Store(folder) as writer:
        writer.append([record("a"), record("b")])
        writer.append([record("c", env="f")])
    found = store.read(folder)
    for table in PARTED:
        assert list(getattr(found, table).columns) == list(TABLES[table])
    assert found.trials["id"].tolist() == ["a", "b", "c"]
    assert found.env["env"].tolist() == ["e", "f"]
    assert (
        found.curve["value"] == found.curve["id"].map(lambda id: sum(id.encode())) + found.curve["step"] / 8
    ).all()
    assert_whole(folder, {"a", "b", "c"})


@pytest.mark.parametrize("ids", [[], ["a"]])
def test_dtypes_do_not_depend_on_the_rows(folder: Path, ids: list[str]):
    with Store(folder) as writer:
        writer.append([record(id) for id in ids])
    trials = store.read(folder).trials
    assert trials["dim"].dtype == np.int64
    assert trials["wall"].dtype == np.float64
    assert trials["trusted"].dtype == bool
    assert str(trials["finished"].dtype) == "datetime64[us, UTC]"
    assert trials["method"].tolist() == [""] * len(ids), (
        "missing text is empty, so that grouping keeps the row"
    )
    assert trials["trusted"].tolist() == [False] * len(ids), "what is not known to be trusted is not"


def test_text_that_is_no_utf8_is_stored_with_its_escape(folder: Path):
    """As in an error that names such a file: nothing of the run may be lost for it."""
    with Store(folder) as opened:
        opened.append([replace(record("a"), trial={**record("a").trial, "reason": "no such file: é\udcff"})])
    assert store.read(folder).trials["reason"].tolist() == ["no such file: é\\udcff"]


def test_environment_is_written_once(folder: Path):
    for id in "ab":
        with Store(folder) as writer:
            writer.append([record(id)])
            writer.append([record(id + id)])
    assert len(list((folder / "env").glob("*.parquet"))) == 1


def test_version_of_the_tables_is_in_every_file(folder: Path):
    with Store(folder) as writer:
        writer.append([record("a")])
    files = list(folder.rglob("*.parquet"))
    assert {path.parent.name for path in files} == set(TABLES)
    for path in files:
        assert pq.read_schema(path).metadata[b"ebmark_schema"] == str(SCHEMA).encode()


def test_a_value_that_does_not_fit_leaves_the_disk_untouched(folder: Path):
    with Store(folder) as writer:
        with pytest.raises(pa.ArrowException):
            writer.append([Record(trial={"id": "a", "attempt": 1, "dim": "two"})])
        with pytest.raises(KeyError, match="no column colour"):
            writer.append([Record(trial={"id": "a", "attempt": 1, "colour": "red"})])
    assert not list(folder.rglob("*.parquet"))


def test_spec_is_stored_and_replaced(folder: Path):
    with Store(folder) as writer:
        writer.write_spec('name = "a"\n')
        writer.write_spec('name = "é"\n')
    assert (folder / "spec.toml").read_text(encoding="utf-8") == 'name = "é"\n'


# --- attempts --------------------------------------------------------------------------------------------


def test_newest_attempt_is_kept_with_its_own_curve_and_files(folder: Path):
    with Store(folder) as writer:
        writer.append([record("a", 1, status="crashed", steps=9), record("b")])
        writer.append([record("a", 2, files=False)])
    found = store.read(folder)
    kept = found.trials.set_index("id").loc["a"]
    assert (kept["attempt"], kept["status"]) == (2, "ok")
    assert found.curve[found.curve["id"] == "a"]["step"].tolist() == [0, 1, 2]
    assert store.read_samples(folder, "a").empty, "samples of attempt 1 must not pass for those of attempt 2"
    assert list(store.read_samples(folder, "a").columns) == list(TABLES["samples"])
    assert store.read_model(folder, "a") is None
    assert store.read_model(folder, "b") is not None


def test_age_is_the_attempt_then_the_time_and_not_the_order_of_writing(folder: Path):
    late, early = record("a", 2, status="timeout"), record("a", 1)
    same = Record(
        trial={**late.trial, "status": "ok", "finished": START + timedelta(days=1)}, curve=late.curve
    )
    with Store(folder) as writer:
        for each in (same, late, early):
            writer.append([each])
    found = store.read(folder)
    assert found.trials[["attempt", "status"]].to_numpy().tolist() == [[2, "ok"]]
    assert found.curve["step"].tolist() == [0, 1, 2]
    assert store.done(folder).to_numpy().tolist() == [["a", "quality", "ok", 2]]


def test_done_reads_four_columns_and_nothing_from_an_absent_folder(folder: Path):
    assert store.done(folder).empty
    with Store(folder) as writer:
        assert store.done(folder).empty
        writer.append([record("a", 3, status="oom"), record("b")])
    found = store.done(folder)
    assert list(found.columns) == ["id", "lane", "status", "attempt"]
    assert found.to_numpy().tolist() == [["a", "quality", "oom", 3], ["b", "quality", "ok", 1]]


# --- damage and versions ---------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["empty", "truncated", "text", "flipped", "other table"])
def test_damaged_part_is_named_and_the_others_are_read(folder: Path, damage: str):
    with Store(folder) as writer:
        for id in "abc":
            writer.append([record(id)])
    part = folder / "trials" / "part-00000001.parquet"
    content = bytearray(part.read_bytes())
    if damage == "flipped":
        content[len(content) // 4] ^= 0xFF  # inside a page: only the checksum can tell
    new = {"empty": b"", "truncated": bytes(content[:-40]), "text": b"hello" * 99, "flipped": bytes(content)}
    if damage == "other table":
        pq.write_table(pa.table({"colour": ["red"]}), part)
    else:
        part.write_bytes(new[damage])
    found = store.read(folder)
    assert found.trials["id"].tolist() == ["a", "c"]
    assert set(found.curve["id"]) == {"a", "c"}
    (warning,) = found.warnings
    assert str(part) in warning and "\n" not in warning
    with Store(folder) as writer:
        writer.compact()
    assert store.done(folder)["id"].tolist() == ["a", "c"], "the trials of that part are to be run again"


def test_truncations_and_flipped_bits_are_noticed_or_harmless(folder: Path):
    with Store(folder) as writer:
        writer.append([record("a")])
    part = folder / "curve" / "part-00000000.parquet"
    content, whole = part.read_bytes(), store.read(folder).curve
    rng = random.Random(0)
    for n in range(0, len(content), len(content) // 50):
        part.write_bytes(content[:n])
        assert len(store.read(folder).warnings) == 1
    for _ in range(150):
        flipped = bytearray(content)
        flipped[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        part.write_bytes(flipped)
        try:
            found = store.read(folder)
        except StoreError as error:  # the flip is in the version
            assert "upgrade ebmark" in str(error)
            continue
        assert found.warnings or found.curve.equals(whole), "a flipped bit changed a number in silence"


def test_compaction_sets_damaged_parts_aside_and_pandas_reads_the_folder(folder: Path):
    with Store(folder) as writer:
        writer.append([record("a")])
        writer.append([record("b")])
        (folder / "trials" / "part-00000000.parquet").write_bytes(b"PAR1")
        (warning,) = writer.compact()
        assert writer.compact() == ()
    assert "part-00000000.parquet" in warning
    assert pd.read_parquet(folder / "trials")["id"].tolist() == ["b"]
    assert (folder / "trials" / ".damaged-part-00000000.parquet").read_bytes() == b"PAR1"
    assert store.read(folder).warnings == ()


def test_newer_tables_are_refused_in_one_line(folder: Path):
    with Store(folder) as writer:
        writer.append([record("a")])
    part = folder / "trials" / "part-00000000.parquet"
    data = pq.read_table(part)
    pq.write_table(data.replace_schema_metadata({b"ebmark_schema": str(SCHEMA + 1).encode()}), part)
    for reader in (store.read, store.done):
        with pytest.raises(StoreError) as error:
            reader(folder)
        message = str(error.value)
        assert f"version {SCHEMA + 1}" in message and f"version {SCHEMA}" in message
        assert "upgrade ebmark" in message and "\n" not in message


def test_older_tables_lack_columns_and_foreign_ones_have_more(folder: Path):
    with Store(folder) as writer:
        writer.append([record("a")])
    older = pa.table(
        {"colour": ["red"], "id": ["old"], "attempt": pa.array([1], pa.int64())}
    )  # no version at all
    pq.write_table(older, folder / "trials" / "part-00000001.parquet")
    found = store.read(folder)
    assert found.warnings == ()
    assert list(found.trials.columns) == list(TABLES["trials"])
    old = found.trials.set_index("id").loc["old"]
    assert old["status"] == "" and np.isnan(old["passes"]) and pd.isna(old["finished"])


def test_steps_of_an_attempt_whose_trial_was_lost_are_not_mixed_with_those_of_the_next_run(folder: Path):
    """Its number is given again, as nobody knows of it; a budget in seconds ends at other steps."""
    with Store(folder) as writer:
        writer.append([record("a", steps=5), record("b")])
        part = folder / "trials" / "part-00000000.parquet"
        part.write_bytes(part.read_bytes()[:-20])
        writer.append([record("a", steps=2)])
        writer.append([record("b", 2)])

        def steps() -> dict[str, list[int]]:
            found: dict[str, list[int]] = store.read(folder).curve.groupby("id")["step"].apply(list).to_dict()
            return found

        assert steps() == {"a": [0, 1], "b": [0, 1, 2]}
        writer.compact()
        assert steps() == {"a": [0, 1], "b": [0, 1, 2]}


def test_an_attempt_is_never_split_over_parts(folder: Path, monkeypatch: pytest.MonkeyPatch):
    """Of an attempt the newest part alone is read, however long its curve is and however it was written."""
    monkeypatch.setattr(parts, "_GROUP", 1000)  # rows that a compaction writes at a time
    with Store(folder) as writer:
        writer.append([record("a", steps=5000), record("b", steps=5000)])
        writer.append([record("a", 2, steps=5000)])
        for when in ("appended", "compacted"):
            places = [
                pd.read_parquet(path, columns=["id", "attempt"]).drop_duplicates()
                for path in sorted((folder / "curve").glob("*.parquet"))
            ]
            assert not pd.concat(places).duplicated().any(), when
            assert store.read(folder).curve.groupby("id").size().to_dict() == {"a": 5000, "b": 5000}, when
            writer.compact()


# --- folders that are none -------------------------------------------------------------------------------


def test_what_is_no_results_folder_is_told_in_one_line(tmp_path: Path):
    file = tmp_path / "file"
    file.write_text("")
    fails = [
        (lambda: store.read(tmp_path / "absent"), "no such folder"),
        (lambda: store.read(tmp_path), "not a results folder"),
        (lambda: store.read(file), "not a folder"),
        (lambda: store.done(file), "not a folder"),
        (lambda: store.latest(tmp_path), "ebmark run"),
        (lambda: Store(file), "cannot be written"),
        (lambda: Store(file / "below"), "cannot be written"),
    ]
    for call, words in fails:
        with pytest.raises(StoreError, match=words) as error:
            call()
        assert str(tmp_path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to a read-only folder")
def test_read_only_folder_is_told_in_one_line(tmp_path: Path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(StoreError, match="permission denied; write elsewhere"):
            Store(tmp_path / "study")
    finally:
        tmp_path.chmod(0o700)


def test_latest_is_the_folder_written_to_last(tmp_path: Path):
    for name, age in (("old", 200), ("new", 100), ("older", 300)):
        with Store(tmp_path / name) as writer:
            writer.append([record("a")])
        os.utime(tmp_path / name / "trials", (time.time() - age,) * 2)
    (tmp_path / "no_results").mkdir()
    (tmp_path / "README.md").write_text("")
    assert store.latest(tmp_path) == tmp_path / "new"


# --- compaction ------------------------------------------------------------------------------------------


def test_compaction_gives_one_part_in_plan_order_and_is_idempotent(folder: Path):
    with Store(folder) as writer:
        for id in "dbca":
            writer.append([record(id)])
        writer.append([record("b", 2)])
        before = store.read(folder)
        assert writer.compact(order=list("abc")) == ()
        once = store.read(folder)
        files = {table: next((folder / table).glob("*.parquet")).read_bytes() for table in PARTED}
        writer.compact(order=list("abc"))
        writer.append([record("z")])
    plain = pd.read_parquet(folder / "trials")
    assert once.trials["id"].tolist() == list("abcd")
    assert once.curve["id"].unique().tolist() == list("abcd")
    for table in ("trials", "curve"):
        keys = ["id"] if table == "trials" else ["id", "step"]
        a, b = (getattr(x, table).sort_values(keys, ignore_index=True) for x in (before, once))
        pd.testing.assert_frame_equal(a, b)
        parts_now = sorted((folder / table).glob("*.parquet"))
        assert len(parts_now) == 2, "the compacted part and the one appended after it"
        assert parts_now[0].read_bytes() == files[table]
    assert plain["id"].tolist() == [*"abcd", "z"]


def test_reader_survives_a_compaction_under_it(folder: Path, monkeypatch: pytest.MonkeyPatch):
    with Store(folder) as writer:
        for id in "abc":
            writer.append([record(id)])
        real, calls = tables.read_table, []

        def compacting(path: Path, *rest: object) -> pa.Table:
            calls.append(path)
            if len(calls) == 2:
                monkeypatch.setattr(tables, "read_table", real)
                writer.compact()
                monkeypatch.setattr(tables, "read_table", compacting)
            return real(path, *rest)

        monkeypatch.setattr(tables, "read_table", compacting)
        found = store.read(folder)
    assert found.trials["id"].tolist() == list("abc") and len(found.curve) == 9


def test_a_trial_that_is_run_again_and_compacted_under_a_reader_keeps_its_curve(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    with Store(folder) as writer:
        writer.append([record("a"), record("b")])
        real = tables.read_table

        def compacting(path: Path, table: str, *rest: object) -> pa.Table:
            if table == "env":  # after the trials, before the curve
                monkeypatch.setattr(tables, "read_table", real)
                writer.append([record("a", 2)])
                writer.compact()
            return real(path, table, *rest)

        monkeypatch.setattr(tables, "read_table", compacting)
        found = store.read(folder)
    assert found.trials.set_index("id")["attempt"].to_dict() == {"a": 2, "b": 1}
    assert found.curve.groupby("id")["step"].apply(list).to_dict() == {"a": [0, 1, 2], "b": [0, 1, 2]}


# --- faults ----------------------------------------------------------------------------------------------


def _fail_at(monkeypatch: pytest.MonkeyPatch, number: int, code: int) -> list[str]:
    """Makes the ``number``-th call that touches the disk fail; returns the list of calls."""
    calls: list[str] = []

    def failing(name: str, real):
        def call(*args, **kwargs):
            calls.append(name)
            if len(calls) == number:
                raise OSError(code, os.strerror(code))
            return real(*args, **kwargs)

        return call

    monkeypatch.setattr(parts.os, "fsync", failing("fsync", os.fsync))
    monkeypatch.setattr(parts.os, "replace", failing("replace", os.replace))
    return calls


def test_disk_full_at_any_moment_stores_all_or_nothing(folder: Path):
    for number in range(1, 100):
        with Store(folder / str(number)) as writer, pytest.MonkeyPatch.context() as patch:
            writer.append([record("a")])
            calls = _fail_at(patch, number, errno.ENOSPC)
            try:
                writer.append([record("b", env="f")])
            except StoreError as error:
                assert "no space left on device; free some space" in str(error) and "\n" not in str(error)
            patch.undo()
            found = store.read(writer.folder)
            assert found.trials["id"].tolist() in (["a"], ["a", "b"])
            assert_whole(writer.folder, {"a"})
            assert not list(writer.folder.rglob("*.tmp"))
            writer.append([record("c", files=True)])
            writer.append([record("b", env="f")])
            assert_whole(writer.folder, {"a", "b", "c"})
        if len(calls) < number:
            break
    assert number == 16, "five files, each fsync, replace, fsync of the folder"


def test_disk_full_during_a_compaction_loses_nothing(folder: Path):
    for number in range(1, 100):
        with Store(folder / str(number)) as writer, pytest.MonkeyPatch.context() as patch:
            writer.append([record("a")])
            writer.append([record("b")])
            calls = _fail_at(patch, number, errno.ENOSPC)
            try:
                writer.compact()
            except StoreError as error:
                assert "no space left" in str(error)
            patch.undo()
            assert_whole(writer.folder, {"a", "b"})
            writer.append([record("c")])
            assert_whole(writer.folder, {"a", "b", "c"})
            writer.compact()
            assert pd.read_parquet(writer.folder / "trials")["id"].tolist() == list("abc")
        if len(calls) < number:
            break
    assert number > 9


def test_files_are_synchronised_before_they_are_named_and_trials_come_last(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    with Store(folder) as writer:
        named: list[str] = []
        calls = _fail_at(monkeypatch, -1, 0)
        replace = parts.os.replace
        monkeypatch.setattr(
            parts.os, "replace", lambda a, b: (named.append(Path(b).parent.name), replace(a, b))
        )
        writer.append([record("a")])
    # The names of all samples and models become durable together, before the tables speak of them.
    assert calls == ["fsync", "replace"] * 2 + ["fsync"] * 2 + ["fsync", "replace", "fsync"] * 3
    assert named == ["samples", "models", "curve", "env", "trials"]


# --- a writer that is killed -----------------------------------------------------------------------------

# One process imports everything once and forks a writer per line of standard input.
ZYGOTE = """
import json, os, pathlib, sys
sys.path.insert(0, {tests!r})
from test_store import Store, record
from ebmark import parts

os.fsync = lambda descriptor: None

def die_at(number):
    calls = [0]
    def dying(real):
        def call(*args, **kwargs):
            calls[0] += 1
            if calls[0] == number:
                os._exit(9)
            return real(*args, **kwargs)
        return call
    for name in ("fsync", "replace"):
        setattr(parts.os, name, dying(getattr(os, name)))
    unlink = pathlib.Path.unlink
    pathlib.Path.unlink = lambda self, **how: dying_unlink(self, **how)
    dying_unlink = dying(unlink)

def work(job):
    writer = Store(pathlib.Path(job["folder"]))
    if "die_at" in job:
        die_at(job["die_at"])
        writer.append([record("b", env="f")]) if job["do"] == "append" else writer.compact()
        os._exit(0)
    acknowledged = os.open(job["acknowledged"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for i in range(10**6):
        writer.append([record(f"{{job['name']}}-{{i}}-{{j}}") for j in range(1 + i % 2)])
        os.write(acknowledged, b"".join(f"{{job['name']}}-{{i}}-{{j}}\\n".encode() for j in range(1 + i % 2)))
        if i % 4 == 3:
            writer.compact()

for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        try:
            work(json.loads(line))
        finally:
            os._exit(7)
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


class Zygote:
    def __init__(self) -> None:
        code = ZYGOTE.format(tests=str(Path(__file__).parent))
        self.process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def start(self, **job: object) -> int:
        """Forks a writer; returns its process id."""
        assert self.process.stdin and self.process.stdout
        print(json.dumps(job), file=self.process.stdin, flush=True)
        return int(self.process.stdout.readline())

    def wait(self) -> int:
        """Exit code of the writer, negative for a signal."""
        assert self.process.stdout
        return int(self.process.stdout.readline())

    def close(self) -> None:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.close()
        self.process.wait(timeout=30)
        self.process.stdout.close()


@pytest.fixture(scope="module")
def zygote():
    process = Zygote()
    yield process
    process.close()


@pytest.mark.slow
def test_writer_killed_at_random_moments_damages_and_doubles_nothing(
    folder: Path, tmp_path: Path, zygote: Zygote
):
    acknowledged = tmp_path / "acknowledged"
    acknowledged.touch()
    rng = random.Random(1)
    lives = 40
    for life in range(lives):
        pid = zygote.start(folder=str(folder), acknowledged=str(acknowledged), name=f"life{life}")
        time.sleep(rng.uniform(0.01, 0.3))
        os.kill(pid, signal.SIGKILL)
        assert zygote.wait() == -signal.SIGKILL
        if (folder / "trials").is_dir():
            assert_whole(folder, set(acknowledged.read_text().split()), f"life{life}-")
    assert_whole(folder, set(acknowledged.read_text().split()))
    done = len(set(acknowledged.read_text().split()))
    assert done > lives / 4, "the writers got something done between the kills, on a busy machine too"
    with Store(folder) as writer:
        writer.compact()
    assert pd.read_parquet(folder / "trials")["id"].is_unique
    assert not list(folder.rglob(".*.tmp"))


@pytest.mark.parametrize("do", ["append", "compact"])
def test_writer_that_dies_at_each_step_leaves_the_folder_whole(folder: Path, zygote: Zygote, do: str):
    for number in range(1, 100):
        here = folder / str(number)
        with Store(here) as writer:
            writer.append([record("a")])
            writer.append([record("c")])
        zygote.start(folder=str(here), do=do, die_at=number)
        code = zygote.wait()
        assert_whole(here, {"a", "c"})
        with Store(here) as writer:
            assert_whole(here, {"a", "c"})
            writer.append([record("b", env="f")])
            assert_whole(here, {"a", "b", "c"})
            writer.compact()
        assert sorted(pd.read_parquet(here / "trials")["id"]) == list("abc")
        if code == 0:
            break
        assert code == 9
    assert number == {"append": 16, "compact": 18}[do]


def test_rows_of_an_append_cut_short_never_reach_a_later_one(folder: Path, zygote: Zygote):
    """A budget in seconds: the second try takes other steps, and the first one's must not be mixed in."""
    with Store(folder) as writer:
        writer.append([record("a")])
    zygote.start(folder=str(folder), do="append", die_at=14)  # b's curve is named, its trial is not
    assert zygote.wait() == 9
    assert len(list((folder / "curve").glob("*.parquet"))) == 2
    with Store(folder) as writer:
        writer.append([record("b", steps=1)])
    curve = store.read(folder).curve
    assert curve[curve["id"] == "b"]["step"].tolist() == [0]


# --- two writers -----------------------------------------------------------------------------------------


def test_second_writer_is_refused_until_the_first_is_killed(folder: Path, tmp_path: Path, zygote: Zygote):
    pid = zygote.start(folder=str(folder), acknowledged=str(tmp_path / "acknowledged"), name="first")
    deadline = time.monotonic() + 10
    while not (tmp_path / "acknowledged").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    with pytest.raises(StoreError, match=rf"another run is writing here \(process {pid} on ") as error:
        Store(folder)
    assert "\n" not in str(error.value)
    assert store.is_locked(folder)
    store.read(folder)  # readers are never refused
    os.kill(pid, signal.SIGKILL)
    zygote.wait()
    assert not store.is_locked(folder)
    Store(folder).close()


def test_a_writer_of_another_host_is_seen_by_its_mark_where_locks_do_not_travel(folder: Path):
    """A shared folder may not carry the kernel's lock from one host to the next."""
    Store(folder).close()
    mark = folder / ".lock"
    assert mark.read_text() == "", "who ends in peace leaves no mark"
    elsewhere = json.dumps({"process": 7, "host": "elsewhere", "kernel": "another", "since": "1"})
    mark.write_text(elsewhere)
    assert store.is_locked(folder)
    with pytest.raises(StoreError, match=r"process 7 on elsewhere, seen \d+ s ago") as error:
        Store(folder)
    assert f"or remove {mark}" in str(error.value) and "\n" not in str(error.value)
    assert mark.read_text() == elsewhere, "who is refused leaves the mark"
    os.utime(mark, (time.time() - lock.STALE - 1,) * 2)
    assert not store.is_locked(folder)
    with Store(folder) as writer:
        writer.append([record("a")])
        assert json.loads(mark.read_text())["process"] == os.getpid()


def test_a_mark_of_the_future_holds_no_longer_than_one_of_now_and_its_text_stays_one_line(folder: Path):
    """The clock of the file system was set back by an hour since; anyone may have written the mark."""
    Store(folder).close()
    mark = folder / ".lock"
    mark.write_text(json.dumps({"process": [7], "host": "else\nwhere", "kernel": "another"}))
    os.utime(mark, (time.time() + 3600,) * 2)
    with pytest.raises(StoreError, match=r"process \[7\] on else where, seen 0 s ago.* try again in 120 s"):
        Store(folder)
    assert abs(mark.stat().st_mtime - time.time()) < 60


def test_a_mark_of_a_process_of_this_host_that_is_gone_holds_nobody_up(folder: Path):
    Store(folder).close()
    own = json.loads(lock.mark())
    for dead in (
        {**own, "process": 2**22 + 1},
        {**own, "since": "1"},
    ):  # gone, or another's number
        (folder / ".lock").write_text(json.dumps({**dead, "host": "an earlier name of this one"}))
        assert not store.is_locked(folder)
        Store(folder).close()


def test_where_there_are_no_locks_the_mark_keeps_the_second_writer_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(lock.fcntl, "flock", none)
    with Store(folder):
        assert store.is_locked(folder)
        with pytest.raises(StoreError, match=rf"process {os.getpid()} on .*, seen \d+ s ago"):
            Store(folder)
    assert not store.is_locked(folder)
    Store(folder).close()


def test_the_mark_is_touched_while_a_writer_holds_it(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lock, "BEAT", 0.01)
    with Store(folder):
        mark = folder / ".lock"
        os.utime(mark, (0, 0))
        deadline = time.monotonic() + 30
        while mark.stat().st_mtime == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert time.time() - mark.stat().st_mtime < lock.STALE


def test_asking_whether_it_is_locked_does_not_lock_out_a_writer(folder: Path):
    assert not store.is_locked(folder)
    Store(folder).close()
    stop = threading.Event()
    asking = threading.Thread(target=lambda: [store.is_locked(folder) for _ in iter(stop.is_set, True)])
    asking.start()
    try:
        for _ in range(50):
            Store(folder).close()
    finally:
        stop.set()
        asking.join()


def test_closed_store_lets_the_next_one_in_and_a_failed_one_too(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    with Store(folder), pytest.raises(StoreError, match="another run"):
        Store(folder)
    with monkeypatch.context() as patch:
        patch.setattr(Store, "_recover", lambda self: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            Store(folder)
    Store(folder).close()


# --- the schema page -------------------------------------------------------------------------------------


def test_schema_page_is_what_the_schema_says():
    page = Path(__file__).parent.parent / "results" / "README.md"
    assert page.read_text(encoding="utf-8") == schema_page.schema_markdown(), (
        "run `python -m ebmark.schema_page > results/README.md`"
    )


def test_schema_page_explains_every_column_once():
    text = schema_page.schema_markdown()
    for table, columns in TABLES.items():
        section = text.split(f"### {table}:")[1].split("###")[0]
        for name, column in columns.items():
            (line,) = [line for line in section.splitlines() if line.startswith(f"| {name} |")]
            assert column.type in line and line.endswith("| timing |" if column.timing else "|  |")
