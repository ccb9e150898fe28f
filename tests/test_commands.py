"""Every command of the documentation is one that works: ``ebmark ...`` is run, scripts and modules exist.

Those that train a shipped study for minutes are planned instead (``--dry-run``); those of the small files
that a page shows are run for two steps.
"""

from __future__ import annotations

import importlib.util
import io
import os
import re
import shlex
import shutil
from pathlib import Path

import pytest

from ebmark.cli import main
from ebmark.console import Console
from ebmark.drive import drive
from ebmark.runners.serial import SerialRunner
from ebmark.store import read
from ebmark.study import load

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "results" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
ELSEWHERE = {
    "cd",
    "pip",
    "pytest",
    "open",
    "xdg-open",
    "export",
    "ray",
    "sbatch",
    "srun",
    "kubectl",
    "aws",
    "mkdir",
}
COMMAND = re.compile(r"(?:\.venv/bin/)?(?:ebmark|scripts/|python |cd |pip |pytest|ray )")
INLINE = re.compile(r"`((?:\.venv/bin/)?(?:ebmark |scripts/|python -m )[^`]+)`")
STUDY = """
name = "{name}"
seeds = 1
metrics = ["fisher"]

[budget]
steps = 2
batch = 16
checkpoints = 2

[network]
name = "quadratic"

[[methods]]
name = "nce"

[[datasets]]
name = "gaussian"
"""
# Words that stand for the reader's own.
STANDS_FOR = {
    "SPEC": "my_study.toml",
    "STUDY": "my_study.toml",
    "FILE": "my_method.py",
    "NAME": "mine",
    "my_method": "my_method.py",
    "DIR": "results/mine",
    "HOST:PORT": "127.0.0.1:6379",
    "A": "results/mine",
    "B": "results/mine",
    "OUT": "results/pooled",
    "N": "2",
}
SMALL = ["--runner", "serial"]
PLANNED = ["--dry-run"]


def commands() -> dict[str, str]:
    """Every command of a page once, with the page that has it first."""
    found: dict[str, str] = {}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        blocks = re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
        lines = [line for block in blocks for line in block.splitlines() if COMMAND.match(line)]
        lines += re.findall(r"^\$ (ebmark .*)$", text, re.MULTILINE)
        for command in [*lines, *INLINE.findall(text)]:
            words = shlex.split(command, comments=True)
            found.setdefault(shlex.join(words), str(page.relative_to(ROOT)))
    return found


COMMANDS = commands()
OURS = [c for c in COMMANDS if Path(shlex.split(c)[0]).name == "ebmark"]
OTHERS = [c for c in COMMANDS if c not in OURS]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a reader of the pages would have it: the files they show, and results."""
    folder = tmp_path_factory.mktemp("desk")
    here = Path.cwd()
    os.chdir(folder)
    try:
        for page, name in (("method", "my_method"), ("dataset", "my_target"), ("metric", "my_metric")):
            text = (ROOT / "docs" / f"add-a-{page}.md").read_text(encoding="utf-8")
            code = re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]
            Path(f"{name}.py").write_text(code, encoding="utf-8")
        Path("data.csv").write_text("\n".join(f"{i % 7},{i % 11}" for i in range(100)) + "\n")
        for name in ("my_study", "my_scaling", "ring", "study"):
            Path(f"{name}.toml").write_text(STUDY.format(name="mine"))
        assert run(["plan", "my_study.toml"]) == 0
        drive(load("my_study.toml"), Path("results/mine"), SerialRunner, out=io.StringIO())
        for name in ("quickstart", "reference", "methods", "scaling-quick", "my_study", "scaling"):
            shutil.copytree("results/mine", f"results/{name}")
        shutil.copytree("results/mine", "bucket/scaling")
    finally:
        os.chdir(here)
    return folder


def run(arguments: list[str]) -> int:
    try:
        main(arguments)
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def prepared(command: str, desk: Path) -> list[str]:
    """The arguments with the reader's own words in place, and small enough for a test."""
    words = [re.sub(r"^\[(.*)\]$", r"\1", word) for word in shlex.split(command)[1:] if word != "..."]
    if words[0] == "check":
        words = ["nce" if word == "NAME" else word for word in words]
    if words[:2] == ["run", "NAME"]:
        words[1] = "smoke"
    if words[0] == "new":
        words = ["mine" if word == "NAME" else word for word in words]
    else:
        words = [STANDS_FOR.get(word, word) for word in words]
    if words[:1] in (["plan"], ["run"]) and words[1:2] == ["scaling"] and "--quick" not in words:
        words += ["--quick"]  # the whole has 30,000 trials
    if words[0] in ("run", "plan"):
        words = [word.replace("s3://", f"file://{desk}/") for word in words]
    else:  # there must be results
        merged = "results/both" if words[0] == "merge" else "results/mine"
        words = [merged if word == "s3://bucket/both" else word for word in words]
        words = ["results/mine" if word.startswith("s3://") else word for word in words]
        words = [
            "results/mine" if word == "results/pooled" and words[0] != "merge" else word for word in words
        ]
    if "ID" in words:
        words[words.index("ID")] = str(read(desk / "results" / "mine").trials["id"][0])[:8]
    if words[:1] == ["run"] and len(words) > 1:
        own = words[1].endswith(".toml") and "--address" not in words
        words += SMALL if own else PLANNED
        if own and "--debug" not in words:
            words += ["--steps", "2"]
    return (
        words if len(words) > 1 or words[:1] in (["doctor"], ["status"], ["report"]) else [*words, "--help"]
    )


@pytest.mark.parametrize("command", OURS)
def test_it_works(command, desk, monkeypatch, capsys):
    monkeypatch.chdir(desk)
    # It sends whatever else writes to descriptor 1 elsewhere, until the process ends.
    monkeypatch.setattr(Console, "protect", lambda console: None)
    for made in (*desk.glob("ebmark-*"), desk / "results" / "pooled", desk / "results" / "both"):
        shutil.rmtree(made, ignore_errors=True)
    code = run(prepared(command, desk))
    told = capsys.readouterr().err
    # 2: some trials of the reader's failed, or the doctor found something on this machine.
    assert code in (0, 2), f"{COMMANDS[command]}: {told}"


@pytest.mark.parametrize("command", OTHERS)
def test_it_is_there(command):
    first, *words = shlex.split(command)
    if first in ELSEWHERE:
        return
    if first.startswith("python") or first.endswith("/python"):
        assert words[0] == "-m"
        assert importlib.util.find_spec(words[1]) is not None
        return
    script = ROOT / first.removeprefix(".venv/bin/")
    assert script.exists(), COMMANDS[command]
    assert script.suffix or os.access(script, os.X_OK), COMMANDS[command]
    if script.name == "bench" and words and not words[0].startswith(("-", "[")):
        assert (ROOT / "scripts" / "benchmarks" / f"{words[0]}.py").is_file()
