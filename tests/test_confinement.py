"""Nothing that a study or a results folder says is written outside the results folder."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ebmark import store
from ebmark.cli import main
from ebmark.errors import EbmarkError, StoreError
from ebmark.report import page
from ebmark.report.grid import Grid
from ebmark.report.section import Report, Section
from ebmark.store import Store
from ebmark.study import load
from tests.test_store import assert_whole, record

SPEC = 'name = {name}\nbudget.steps = 3\n[[methods]]\nname = "dsm"\n[[datasets]]\nname = "gaussian"\n'
LONG = "x" * 300


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file outside that must stay as it is."""
    path = tmp_path / "victim"
    path.write_bytes(b"mine")
    return path


@pytest.mark.parametrize(
    "name",
    ["../../x", "/abs/x", "a/b", "..", ".", ".hidden", "", " ", "a\0b", "a\nb", LONG, "-o", "é", "a b"],
)
def test_the_name_of_a_study_is_a_folder_of_results(name: str):
    Path("s.toml").write_text(SPEC.format(name=json.dumps(name)))
    with pytest.raises(EbmarkError, match=r"name: .* given; allowed: a folder's name") as error:
        load("s.toml")
    assert "\n" not in str(error.value) and len(str(error.value)) < 300


def refusal(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    with pytest.raises(SystemExit) as ended:
        main([str(a) for a in arguments])
    message = capsys.readouterr().err.strip()
    assert ended.value.code == 1 and "\n" not in message
    return message


@pytest.mark.parametrize("verb", [("status",), ("report",), ("compact",), ("export",), ("show", "a")])
def test_a_folder_that_no_file_system_takes_is_one_line(capsys, verb: tuple[str, ...]):
    Path("loop").symlink_to("loop")
    assert "no control characters" in refusal(capsys, *verb, "a\0b")
    assert "too long for a name" in refusal(capsys, *verb, LONG)
    assert "file name too long" in refusal(capsys, *verb, "/".join(["x" * 200] * 50))
    assert "loop" in refusal(capsys, *verb, "loop")


def test_a_folder_of_tables_that_is_a_link_is_not_written_through(tmp_path: Path):
    for name in ("trials", "curve", "env", "samples", "models"):
        with Store(Path(name)) as writer:
            writer.append([record("a")])
        outside = tmp_path / f"outside-{name}"
        Path(name, name).rename(outside)
        Path(name, name).symlink_to(outside)
        before = sorted(outside.iterdir())
        with pytest.raises(StoreError, match=f"{name}/{name}: a link; allowed: a folder"):
            Store(Path(name))
        assert sorted(outside.iterdir()) == before


def test_a_results_folder_may_itself_be_a_link(tmp_path: Path):
    """A user who keeps results on another disk made it."""
    (tmp_path / "disk").mkdir()
    Path("results").symlink_to(tmp_path / "disk")
    with Store(Path("results/study")) as writer:
        writer.append([record("a")])
    assert_whole(tmp_path / "disk" / "study", {"a"})


@pytest.mark.parametrize(
    "place",
    [
        ".spec.toml.tmp",
        "spec.toml",
        "trials/.part-00000001.parquet.tmp",
        "trials/part-00000001.parquet",
        "samples/.b.parquet.tmp",
        "samples/b.parquet",
        "models/b.safetensors",
    ],
)
def test_a_planted_link_is_replaced_and_not_followed(victim: Path, place: str):
    folder = Path("study")
    with Store(folder) as writer:
        writer.append([record("a")])
        (folder / place).symlink_to(victim)
        writer.append([record("b")])
        writer.write_spec("")
        writer.compact()
    assert victim.read_bytes() == b"mine"
    assert_whole(folder, {"a", "b"})


def test_a_lock_that_is_a_link_or_a_pipe_is_one_line(victim: Path):
    Store(Path("study")).close()
    lock = Path("study/.lock")
    for make in (lambda: lock.symlink_to(victim), lambda: os.mkfifo(lock)):
        lock.unlink()
        make()
        assert not store.is_locked(Path("study"))
        try:
            Store(Path("study")).close()
        except StoreError as error:
            assert "cannot be written" in str(error)
    assert victim.read_bytes() == b"mine"


def test_ids_name_files_of_their_folder_only():
    with Store(Path("study")) as writer:
        for id in ("../x", "/x", "a/b", ".hidden", "", "a\0", LONG):
            with pytest.raises(StoreError, match="not a trial's id"):
                writer.append([record(id)])
    assert store.read(Path("study")).trials.empty
    assert {path.name for path in Path().iterdir()} == {"study"}


def test_names_in_tables_of_others_stay_in_the_report():
    evil = "quality_../../../stolen"
    section = Section(anchor="", title="", grids=[Grid(name=evil, title="", caption="", head=["a"], rows=[])])
    report = Report(
        title="",
        facts=[],
        answer=[],
        headline=None,
        missing=[],
        sections=[section],
    )
    for path in page._tables(report, Path("report/tables")):
        assert path.is_file() and path.parent == Path("report/tables")
