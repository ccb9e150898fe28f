"""What stands beside the tables, or where the user points, may be anything: one line, and nothing is lost."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import ebmark
from ebmark.cli import main
from ebmark.errors import StoreError
from ebmark.runfile import FILE, remove_run
from ebmark.store import Store
from tests.test_store import assert_whole, record


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def folder() -> Path:
    with Store(Path("study")) as writer:
        writer.append([record("a"), record("b")])
    return Path("study")


def called(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[object, str]:
    """Exit code and what was said on standard error."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return ended.value.code or 0, capsys.readouterr().err.strip()


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    code, message = called(capsys, *arguments)
    assert code == 1 and "\n" not in message
    return message


SPEC = b'name = "s"\nbudget.steps = 3\nmethods = [{ name = "dsm" }]\n'


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xff", "spec.toml: damaged; remove it"),
        (b"= 3\n", "spec.toml, line 1, column 1: not TOML: Invalid statement; mend or remove the file"),
        (b"seeds = 1\n", "spec.toml: name: "),
        (SPEC + b"metrics = 3\n", "spec.toml, line 4: metrics: "),
        (SPEC + b"quick = 3\n", "spec.toml, line 4: quick: "),
        (SPEC + b"[tune]\nby = 2\n", "spec.toml, line 5: tune.by: "),
        (
            SPEC + b"[[target]]\nper_dim = []\n",
            "spec.toml, line 4: target[0].metric: missing; mend or remove the file",
        ),
    ],
)
def test_a_study_file_that_is_none_beside_the_tables(capsys, folder: Path, content: bytes, words: str):
    (folder / "spec.toml").write_bytes(content)
    assert words in refused(capsys, "report", folder)


def test_where_no_report_can_be_written_is_one_line_before_any_work(capsys, folder: Path, monkeypatch):
    monkeypatch.setattr("ebmark.report.page.report", lambda *_: pytest.fail("work before the refusal"))
    assert "too long for a name" in refused(capsys, "report", folder, "-o", "x" * 300)
    assert "no control characters" in refused(capsys, "report", folder, "-o", "a\0b")


def test_what_stands_in_the_way_of_a_report_or_of_a_run_is_one_line(capsys, folder: Path):
    Path("file").touch()
    assert "file: cannot be written: not a directory" in refused(
        capsys, "report", folder, "--paper", "-o", "file"
    )
    (folder / FILE).mkdir()
    with pytest.raises(StoreError, match=f"{FILE}: cannot be written: is a directory"):
        remove_run(folder)


def test_samples_that_are_damaged_say_how_to_go_on(capsys, folder: Path):
    file = folder / "samples" / "a.parquet"
    file.write_bytes(file.read_bytes()[:-9])
    message = refused(capsys, "report", folder)
    assert f"{file}: damaged; remove it to go without, or run its trial again with `--only a`" in message
    file.unlink()
    assert set(ebmark.read(folder).samples["id"]) == {"b"}


@pytest.fixture
def read_only(folder: Path) -> Iterator[Path]:
    """The results on a disk that takes no more; needs the right to mount."""
    disk = Path("disk")
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a disk")
    try:
        shutil.copytree(folder, disk / "study")
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        yield disk / "study"
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_read_only_folder_is_read_and_what_would_write_says_how_to_go_on(capsys, read_only: Path):
    for verb in (("status", read_only), ("show", "a", read_only), ("export", read_only, "-o", "t.csv")):
        assert called(capsys, *verb)[0] == 0
    assert called(capsys, "merge", read_only, "study", "-o", "all")[0] == 0
    assert_whole(Path("all"), {"a", "b"})
    for verb in (
        ("report", read_only, "--paper"),
        ("export", read_only),
        ("compact", read_only),
        ("merge", read_only, "study", "-o", read_only.with_name("all")),
    ):
        assert "read-only file system; write elsewhere with `-o" in refused(capsys, *verb)
    assert_whole(read_only, {"a", "b"})
