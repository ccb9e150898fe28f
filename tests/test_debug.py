"""One trial again in the foreground: the stored numbers bit for bit, and nothing stored."""

from __future__ import annotations

import io
import json
import shlex
from pathlib import Path

import pytest

from ebmark.commands.debug import repeat
from ebmark.commands.show import show
from ebmark.console import Console
from ebmark.drive import drive
from ebmark.record import Record
from ebmark.runners.serial import SerialRunner
from ebmark.store import Store, read
from ebmark.study import load

BAD = Path(__file__).parent / "data" / "misbehaving.py"
SPEC = """
name = "again"
metrics = ["fisher"]
[budget]
steps = 60
batch = 32
checkpoints = 3
[network]
name = "mlp"
width = 8
depth = 1
[[methods]]
name = "dsm"
[[datasets]]
name = "gaussian"
dim = 3
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A study with a method that trains, one that diverges and one that raises; its folder, ids by method."""
    root = tmp_path_factory.mktemp("debug")
    (root / "again.toml").write_text(SPEC)
    methods = ["pcd[k=2,capacity=64]", f"{BAD}:bursts", f"{BAD}:raises"]
    study = load(root / "again.toml", methods=methods, steps=70)
    drive(study, root / "out", SerialRunner, out=io.StringIO())
    trials = read(root / "out").trials
    return study, root / "out", dict(zip(trials["method"], trials["id"], strict=True))


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("method", "code"), [("pcd", 0), ("bursts", 2)])
def test_the_numbers_are_those_of_the_record_and_nothing_is_stored(made, method, code, capsys):
    study, folder, ids = made
    before = files(folder)
    assert repeat(Console(), study, folder, ids[method][:8]) == code
    text = capsys.readouterr().out
    assert "the numbers are those of the stored record, bit for bit" in text
    assert "step 1 (1%)  loss " in text
    assert files(folder) == before


def test_a_divergence_shows_the_steps_before_it_then_and_later(made, capsys):
    study, folder, ids = made
    repeat(Console(), study, folder, ids["bursts"])
    now = capsys.readouterr().out.splitlines()
    show(Console(), ids["bursts"], folder)
    later = capsys.readouterr().out.splitlines()
    title = next(i for i, line in enumerate(later) if line.startswith("the last "))
    table = [line.split() for line in later[title + 2 : title + 22]]
    assert [row[1] for row in table] == ["energy"] * 20
    assert table[-1][2:] == ["nan", "none"]
    begin = next(i for i, line in enumerate(now) if line.startswith("STEP"))
    told = [line.split() for line in now[begin + 1 : begin + 21]]
    assert [row[0] for row in told] == [row[0] for row in table]
    assert [float(row[2]) for row in told[:-1]] == [float(row[2]) for row in table[:-1]]


def test_an_exception_shows_its_traceback(made, capsys):
    study, folder, ids = made
    assert repeat(Console(), study, folder, ids["raises"]) == 2
    done = capsys.readouterr()
    assert 'misbehaving.py", line' in done.err
    assert "crashed: RuntimeError: first line" in done.out


def test_what_differs_from_the_record_is_named(made, tmp_path, capsys):
    study, _folder, ids = made
    drive(study, tmp_path / "out", SerialRunner, only=ids["pcd"], out=io.StringIO())
    tables = read(tmp_path / "out")
    row = tables.trials.iloc[0].dropna().to_dict()
    curve = [point.dropna().to_dict() for _, point in tables.curve.iterrows()]
    curve[-1]["value"] *= 1 + 1e-15
    with Store(tmp_path / "out") as store:
        env = tables.env.iloc[0].dropna().to_dict()
        store.append([Record(trial={**row, "code": "other", "attempt": 2}, curve=tuple(curve), env=env)])
    assert repeat(Console(as_json=True), study, tmp_path / "out", ids["pcd"]) == 0
    last = curve[-1]
    document = json.loads(capsys.readouterr().out)
    assert document["differs"] == ["code", f"{last['metric']} at step {last['step']}"]


def test_the_command_that_repeats_it_carries_the_options_of_the_run(made, capsys):
    _study, folder, ids = made
    show(Console(as_json=True), ids["pcd"][:6], folder)
    command = json.loads(capsys.readouterr().out)["debug"]
    methods = ["-m", "pcd[k=2,capacity=64]", "-m", f"{BAD}:bursts", "-m", f"{BAD}:raises"]
    place = [f"{folder}/spec.toml", "-o", str(folder)]
    words = ["ebmark", "run", *place, *methods, "--steps", "70", "--only", ids["pcd"], "--debug"]
    assert shlex.split(command) == words


def test_the_command_of_show_runs_as_it_stands(made, cli):
    _study, folder, ids = made
    options = ["-m", "pcd[k=2,capacity=64]", "--steps", "70"]
    done = cli("run", folder / "spec.toml", "-o", folder, *options, "--only", ids["pcd"], "--debug")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "the numbers are those of the stored record, bit for bit"
