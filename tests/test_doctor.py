"""Each check says what is there and, where something is wrong, how to mend it."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from ebmark import doctor, doctor_ray
from ebmark.doctor import checks, met, reasons
from ebmark.parts import to_arrow, write_table
from ebmark.trust import REASONS

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
ANY, LOCAL, LAN = "00000000", "0100007F", "0A01A8C0"
ANY6, LOCAL6 = "0" * 32, "0" * 24 + "01000000"
MAPPED_LOCAL, MAPPED_LAN = "0" * 16 + "FFFF0000" + LOCAL, "0" * 16 + "FFFF0000" + LAN


def listening(proc: Path, *rows: tuple[str, int, str]) -> Path:
    """A made-up /proc with these sockets: address, port, state (0A listens, 01 is a connection)."""
    (proc / "net").mkdir(parents=True)
    lines = [
        f"   0: {address}:{port:04X} {ANY}:0000 {state} 00000000:00000000 00:00000000 0 0 0 {number} 1\n"
        for number, (address, port, state) in enumerate(rows, 1000)
    ]
    (proc / "net" / "tcp").write_text(HEAD + "".join(line for line in lines if len(line.split()[1]) < 20))
    (proc / "net" / "tcp6").write_text(HEAD + "".join(line for line in lines if len(line.split()[1]) > 20))
    return proc


def test_here_every_check_answers_and_what_is_wrong_can_be_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refused(*args: object) -> None:
        raise AssertionError("the doctor must not use the network")

    monkeypatch.setattr(socket.socket, "connect", refused)
    found = checks(tmp_path / "results", ask=lambda address: False)
    names = [check.name for check in found]
    assert len(names) == len(set(names)) == 12
    for check in found:
        assert check.found and "\n" not in check.found + check.mend
        assert check.mend or check.ok is not False
    by_name = {check.name: check for check in found}
    assert by_name["python"].ok and by_name["packages"].ok and by_name["results"].ok
    assert not (tmp_path / "results").exists(), "it looks and changes nothing"


@pytest.mark.parametrize(
    ("rows", "ok"),
    [
        ([], True),
        ([(LOCAL, 8265, "0A")], True),
        ([(LOCAL6, 8265, "0A"), (MAPPED_LOCAL, 8265, "0A")], True),
        ([(ANY, 8265, "0A")], False),
        ([(LAN, 8265, "0A")], False),
        ([(ANY6, 8265, "0A")], False),
        ([(MAPPED_LAN, 8265, "0A")], False),
        ([(LOCAL, 8265, "0A"), (ANY6, 8265, "0A")], False),
        ([(ANY, 8264, "0A")], True),
        ([(ANY, 8265, "01")], True),
    ],
)
def test_dashboard_open_to_others_is_told(tmp_path: Path, rows: list[tuple[str, int, str]], ok: bool):
    check = doctor_ray.dashboard(listening(tmp_path / "proc", *rows))
    assert check.ok is ok and bool(check.mend) is not ok


def test_dashboard_is_unknown_where_the_kernel_lists_no_ports(tmp_path: Path):
    assert doctor_ray.dashboard(tmp_path).ok is None


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="no /proc/net/tcp here")
@pytest.mark.parametrize(("host", "safe"), [("127.0.0.1", True), ("0.0.0.0", False)])
def test_a_real_socket_is_seen_as_it_listens(monkeypatch: pytest.MonkeyPatch, host: str, safe: bool):
    with socket.socket() as server:
        server.bind((host, 0))
        server.listen()
        monkeypatch.setattr(doctor_ray, "DASHBOARD", server.getsockname()[1])
        check = doctor_ray.dashboard(Path("/proc"))
    assert check.ok is safe and "listens" not in check.found


@pytest.mark.parametrize(
    ("installed", "problem"),
    [
        ("2.51.9", "ray 2.51.9, allowed: >=2.52"),
        ("2.52.0", ""),
        ("2.60.0+cpu", ""),
        ("3.0.0rc1", ""),
    ],
)
def test_versions_are_compared_with_the_requirements(
    monkeypatch: pytest.MonkeyPatch, installed: str, problem: str
):
    monkeypatch.setattr(doctor.metadata, "version", lambda name: installed)
    assert doctor._problem(Requirement("ray>=2.52")) == problem


def test_missing_package_is_told_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        doctor.metadata, "requires", lambda name: ["no-such-package>=1", 'other; extra == "dev"']
    )
    check = doctor._packages()
    assert (check.ok, check.found) == (False, "no-such-package is missing")
    assert check.mend == "pip install 'no-such-package>=1'"


def test_a_cluster_in_the_environment_is_joined_and_a_recorded_one_is_not(tmp_path: Path):
    joined = doctor_ray.cluster({"RAY_ADDRESS": "10.0.0.1:6379"}, [])
    assert "`ebmark run` joins it" in joined.found and "unset RAY_ADDRESS" in joined.mend
    alone = doctor_ray.cluster({"RAY_TMPDIR": str(tmp_path)}, [])
    assert alone.found.startswith("none recorded, Ray is not running") and not alone.mend
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text("10.0.0.2:6379\n")
    ours = doctor_ray.processes(running(tmp_path / "proc", token=True))
    recorded = doctor_ray.cluster({"RAY_TMPDIR": str(tmp_path)}, ours)
    assert recorded.found.startswith("10.0.0.2:6379 recorded in") and "Ray is running" in recorded.found
    assert "`ebmark run` starts its own" in recorded.found and "--address 10.0.0.2:6379" in recorded.mend


def running(proc: Path, *, token: bool, address: str = LAN) -> Path:
    """A made-up /proc with a raylet that listens there, and a program that is not Ray's on another port."""
    listening(proc, (address, 7000, "0A"), (ANY, 80, "0A"), (ANY, 7001, "01"))
    raylet = b"/lib/ray/core/src/ray/raylet/raylet\0--port=1\0--gcs-address=10.0.0.2:6379\0"
    for pid, command, sockets in ((17, raylet, (1000, 1002)), (18, b"/usr/sbin/nginx\0", (1001,))):
        folder = proc / str(pid)
        (folder / "fd").mkdir(parents=True)
        (folder / "cmdline").write_bytes(command)
        (folder / "environ").write_text("PATH=/bin\0RAY_AUTH_MODE=token\0" if token else "PATH=/bin\0")
        for i, number in enumerate(sockets):
            (folder / "fd" / str(i)).symlink_to(f"socket:[{number}]")
    return proc


@pytest.mark.parametrize(
    ("token", "address", "ok"),
    [(False, LAN, False), (False, ANY6, False), (True, LAN, None), (False, LOCAL, True)],
)
def test_ports_of_ray_that_others_reach_are_told(tmp_path: Path, token: bool, address: str, ok: bool | None):
    check = doctor_ray.ports(doctor_ray.processes(running(tmp_path / "proc", token=token, address=address)))
    assert check.ok is ok and bool(check.mend) is (ok is False)
    assert ("raylet 7000" in check.found) is (ok is not True) and "80" not in check.found.replace("7000", "")


@pytest.mark.parametrize(
    ("answers", "mode", "ok", "told"),
    [
        (True, "token", False, "10.0.0.2:6379 answers without a token"),
        (True, None, False, "10.0.0.2:6379 answers without a token"),
        (False, None, True, "10.0.0.2:6379 asks for a token"),
        (None, None, True, "no Ray answers here"),
        (None, "disabled", False, "RAY_AUTH_MODE is disabled"),
    ],
)
def test_authentication(tmp_path: Path, answers: bool | None, mode: str | None, ok: bool, told: str):
    asked = []

    def ask(address: str) -> bool | None:
        asked.append(address)
        return answers

    environ = {"RAY_TMPDIR": str(tmp_path), **({} if mode is None else {"RAY_AUTH_MODE": mode})}
    ours = doctor_ray.processes(running(tmp_path / "proc", token=True))
    check = doctor_ray.authentication(environ, ours, ask)
    assert asked == ["10.0.0.2:6379"]
    assert check.ok is ok and told in check.found and bool(check.mend) is not ok


@pytest.mark.parametrize(
    ("load", "cores", "ok"), [(0.4, 1, True), (0.6, 1, False), (0.9, 2, True), (7.1, 8, False)]
)
def test_load(load: float, cores: int, ok: bool):
    assert doctor._load(load, cores).ok is ok


def test_results_in_the_way_of_a_file_or_without_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("")
    check = doctor._results(tmp_path / "file" / "below")
    assert check.ok is False and str(tmp_path / "file") in check.found and "-o DIR" in check.mend
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: doctor.shutil._ntuple_diskusage(1, 1, 0))
    assert doctor._results(tmp_path / "new").ok is False


def test_a_fresh_machine_has_no_timings_to_explain(tmp_path: Path):
    assert met(tmp_path / "results") == []


def test_the_reasons_that_timed_trials_have_are_counted(tmp_path: Path):
    parts = tmp_path / "mine" / "trials"
    parts.mkdir(parents=True)
    rows = [
        {"id": "a", "lane": "cost", "distrust": "waited for a core 7% of the time; load average 3.1"},
        {"id": "b", "lane": "cost", "distrust": "load average 4"},
        {"id": "c", "lane": "cost", "distrust": None},
        {"id": "d", "lane": "quality", "distrust": "not alone on its device"},
    ]
    write_table(parts / "part-00000001.parquet", to_arrow("trials", rows))
    (tmp_path / "no results").mkdir()
    found = {check.name: check for check in met(tmp_path)}
    assert set(found) == {'timing "waited for a core"', 'timing "load average"'}
    assert found['timing "load average"'].found.startswith(f"2 below {tmp_path}: before the trial more was")


def test_every_reason_to_distrust_a_timing_is_explained_with_its_mend():
    explained = {check.name: check for check in reasons()}
    assert set(explained) == {f'timing "{phrase}"' for phrase in REASONS}
    for check in explained.values():
        assert check.ok is None and check.found and check.mend
        assert "\n" not in check.found + check.mend
