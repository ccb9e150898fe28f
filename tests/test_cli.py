"""The command line: one line for a user's error, JSON alone on standard output, instant help."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ebmark import __version__, complete, registry
from ebmark.cli import main
from ebmark.commands import ls, run
from ebmark.console import Console
from ebmark.drive import Outcome
from ebmark.record import SCHEMA
from ebmark.specfile import shipped
from ebmark.study import load

MINIMAL = """
name = "x"
[budget]
steps = 5
[[methods]]
name = "nce"
[[datasets]]
name = "gaussian"
"""


def one_line(done):
    """The single line of a user's error."""
    assert done.returncode == 1
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["rum"], "run"),
        (["run"], "'spec'"),
        (["run", "quickstrat"], "did you mean 'quickstart'?"),
        (["run", "quickstart", "--stepz", "3"], "--steps"),
        (["run", "quickstart", "--seeds", "few"], "few"),
        (["run", "quickstart", "--jobs", "0"], "at least 1"),
        (["run", "quickstart", "--runner", "rya"], "did you mean 'ray'?"),
        (["run", "quickstart", "--timeout", "soon"], "soon"),
        (["plan", "quickstart", "-m", "cd[kk=3]"], "did you mean 'k'?"),
        (["plan", "quickstart", "-d", "gausian"], "did you mean 'gaussian'?"),
        (["plan", "quickstart", "-d", "gaussian[dim=-2]"], "-2"),
        (["ls", "method"], "did you mean 'methods'?"),
        (["check", "dsmm"], "did you mean 'dsm'?"),
        (["check", "no/such/file.py"], "no/such/file.py"),
        (["report"], "results"),
        (["status", "nowhere"], "nowhere"),
        (["show", "abc", "nowhere"], "nowhere"),
        (["compare", "nowhere", "elsewhere"], "nowhere"),
        (["run", "smoke", "--only", "zz"], "zz"),
    ],
)
def test_a_users_error_is_one_line(cli, arguments, says):
    assert says in one_line(cli(*arguments))


def test_a_file_in_place_of_the_results_folder(cli, tmp_path):
    (tmp_path / "out").write_text("not a folder")
    (tmp_path / "x.toml").write_text(MINIMAL)
    assert "out" in one_line(cli("run", "x.toml", "-o", "out"))
    assert (tmp_path / "out").read_text() == "not a folder"


def test_a_plugin_file_with_a_syntax_error_or_nothing_inside(cli, tmp_path):
    (tmp_path / "bad.py").write_text("def oops(:\n")
    (tmp_path / "empty.py").write_text("x = 1\n")
    assert "bad.py" in one_line(cli("check", "bad.py"))
    assert "a plug-in is not inside" in one_line(cli("check", "empty.py"))


def test_a_newer_schema_and_a_damaged_part(cli, tmp_path):
    (tmp_path / "x.toml").write_text(MINIMAL)
    assert cli("run", "x.toml", "-o", "out", "--runner", "serial").returncode == 0
    part = next((tmp_path / "out" / "trials").glob("*.parquet"))
    whole = part.read_bytes()
    (part.parent / "part-000000999.parquet").write_bytes(whole[: len(whole) // 2])
    done = cli("report", "out")
    assert done.returncode == 0, done.stderr
    assert "part-000000999.parquet" in done.stdout + done.stderr
    (part.parent / "part-000000999.parquet").unlink()
    import pyarrow.parquet as pq

    table = pq.read_table(part)
    newer = {**table.schema.metadata, b"ebmark_schema": str(SCHEMA + 1).encode()}
    pq.write_table(table.replace_schema_metadata(newer), part)
    assert str(SCHEMA + 1) in one_line(cli("report", "out"))


def test_json_is_one_document_on_standard_output(cli):
    for verb in (["ls", "methods"], ["ls", "studies"], ["plan", "smoke"], ["check", "dsm"], ["doctor"]):
        done = cli(*verb, "--json")
        assert json.loads(done.stdout), verb


def test_ls_names_year_and_reference(cli):
    found = {row["name"]: row for row in json.loads(cli("ls", "methods", "--json").stdout)}
    assert set(found) >= {"cd", "sm", "ssm_vr", "dsm", "nce"}
    assert found["dsm"]["year"] == 2011
    assert all(row["reference"] and not row["broken"] for row in found.values())


def test_ls_says_what_each_study_asks(cli):
    found = {row["name"]: row["summary"] for row in json.loads(cli("ls", "studies", "--json").stdout)}
    assert set(found) == set(shipped())
    assert found["smoke"] == "A few seconds on one core: does everything run?"
    assert found["myopia"].endswith("and a model that starts with the weights exchanged.")
    assert all(summary.endswith((".", "?")) for summary in found.values())


def test_ray_without_a_folder_to_work_in(cli, monkeypatch):
    monkeypatch.setenv("RAY_TMPDIR", "/absent")  # short, as the paths of Ray's sockets must be
    assert "mkdir -p /absent" in one_line(cli("run", "smoke"))


def test_help_and_planning_import_nothing_heavy():
    heavy = "torch ray pandas pyarrow seaborn matplotlib sklearn scipy"
    probe = "import sys; {}; print(sorted(set(sys.modules) & set({!r}.split())))"
    for code, allowed in (
        ("import ebmark.cli", set()),
        (
            "from ebmark.cli import main\n"
            "try: main(['plan', 'quickstart', '--json'])\n"
            "except SystemExit: pass",
            {"torch", "pandas", "pyarrow", "scipy"},
        ),
    ):
        script = f"import sys\n{code}\n" + probe.format("pass", heavy)
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        assert set(eval(done.stdout.strip().splitlines()[-1])) <= allowed


def test_debug_shows_the_traceback(cli):
    done = cli("run", "nonsense", "--debug")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def completed(line, folder, **environment):
    """What the shell would offer at the end of a line, and the seconds of processor time that takes."""
    words = len(line.split()) - (not line.endswith(" "))
    ask = {"_EBMARK_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(words)}
    script = (
        "import atexit, sys\n"
        "heavy = 'torch ray pandas pyarrow numpy scipy'.split()\n"
        "atexit.register(lambda: print(*(set(heavy) & set(sys.modules)), file=sys.stderr))\n"
        "from ebmark.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **ask},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr.strip() == "", "nothing heavy is imported, or the tab key waits"
    return done.stdout.split()


def test_the_shell_completes_names_of_everything(tmp_path):
    for name, id in (("old", "ab12"), ("new", "cd34")):
        (tmp_path / "results" / name / "trials").mkdir(parents=True)
        (tmp_path / "results" / name / "plan.json").write_text(json.dumps({id: 1.0}))
    os.utime(tmp_path / "results" / "old" / "trials", (1, 1))
    (tmp_path / "quick_look.toml").write_text(MINIMAL)
    for line, offered in (
        ("ebmark com", ["compare"]),
        ("ebmark run quick", ["quickstart", "quick_look.toml"]),
        ("ebmark run quickstart -m ssm", ["ssm", "ssm_vr"]),
        ("ebmark plan quickstart --dataset gaussian_p", ["gaussian_pairs"]),
        ("ebmark check sliced_w", ["sliced_wasserstein"]),
        ("ebmark report ", ["results/new", "results/old"]),
        ("ebmark show ", ["cd34"]),
        ("ebmark run quickstart -o results/old --only a", ["ab12"]),
        ("ebmark run quickstart --rerun f", ["failed"]),
        ("ebmark ls me", ["methods", "metrics"]),
    ):
        found = completed(line, tmp_path)
        assert [word for word in found if word in offered] == offered, line
        assert set(found) <= {*offered, "compact"}, line


@pytest.mark.parametrize("kind", ["method", "dataset", "metric", "network"])
def test_what_is_completed_is_what_is_registered(kind):
    assert complete.names(kind) == registry.names(kind)


def test_the_studies_that_are_completed_are_the_shipped_ones():
    assert complete.studies() == shipped()


def test_ebmark_alone_says_what_to_type(cli, tmp_path):
    done = cli()
    assert done.returncode == 0
    commands = [line.split("  ")[1] for line in done.stdout.splitlines() if line.startswith("  ebmark ")]
    assert commands == ["ebmark run quickstart", "ebmark report", "ebmark new method mine"]
    assert len(done.stdout.splitlines()) < 12
    (tmp_path / "results" / "mine" / "trials").mkdir(parents=True)
    assert "ebmark report results/mine" in cli().stdout


def test_an_interruption_says_how_to_go_on(monkeypatch, capsys):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(ls, "show", stop)
    with pytest.raises(SystemExit) as end:
        main(["ls", "methods"])
    assert end.value.code == 130
    said = capsys.readouterr().err
    assert said == "interrupted; what was stored is kept; to start again: ebmark ls methods\n"


def test_a_run_ends_with_what_to_type_next(capsys):
    def said(trained, counts):
        outcome = Outcome(folder=Path("r"), trained=trained, counts=counts, interrupted=False, warnings=())
        run._tell(Console(as_json=False), load("smoke"), outcome, None, "ebmark run smoke -o r")
        return capsys.readouterr().out.splitlines()

    report = "next: ebmark report r"
    assert said(1, {"ok": 2}) == ["r: 1 trial run now; in all 2 ok", report]
    assert said(0, {"ok": 2}) == ["r: nothing was left to run; in all 2 ok", report]
    assert said(2, {"ok": 1, "timeout": 1})[1:] == [
        "the report says why some failed; to try them again: ebmark run smoke -o r --rerun failed",
        report,
    ]


def test_version(cli):
    assert cli("--version").stdout == f"ebmark {__version__}\n"
