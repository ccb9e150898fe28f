"""The files under scripts/cluster: parsed, and held against what reads them."""

from __future__ import annotations

import json
import re
import subprocess
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml

from ebmark import study

FOLDER = Path(__file__).parents[1] / "scripts" / "cluster"
FILES = sorted(path for path in FOLDER.iterdir())


def _loaded(name: str) -> Any:
    return yaml.safe_load((FOLDER / name).read_text())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_names_a_study_that_ships(path: Path) -> None:
    """Each `ebmark run NAME` in a file names a shipped study, or the script's own argument."""
    named = re.findall(r"ebmark run (\S+)", path.read_text())
    assert named
    for name in named:
        assert name == '"$study"' or study.load(name).name == name


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_cluster_without_a_token(path: Path) -> None:
    """Token authentication is on wherever a file starts Ray."""
    assert re.search(r"RAY_AUTH_MODE=token|authOptions:\s+mode: token", path.read_text())


def test_slurm_is_a_shell_script() -> None:
    """Bash accepts it, and what `ray symmetric-run` needs stands in it."""
    path = FOLDER / "slurm.sbatch"
    assert subprocess.run(["bash", "-n", path], check=False, capture_output=True).stderr == b""
    command = re.search(r"ray symmetric-run (.*?)\n\s*-- (.*)", path.read_text())
    assert command and "--address" in command[1] and "--min-nodes" in command[1]
    assert 'srun --cpus-per-task="$SLURM_CPUS_PER_TASK"' in path.read_text(), "else a step has one core"
    assert command[2].startswith("ebmark run")


def test_launcher_file_is_what_ray_accepts() -> None:
    """Ray's own schema of a cluster file."""
    import jsonschema

    schema = json.loads(resources.files("ray.autoscaler").joinpath("ray-schema.json").read_text())
    cluster = _loaded("ray-cluster.yaml")
    jsonschema.validate(cluster, schema)
    assert len(cluster["provider"]["worker_ips"]) == cluster["max_workers"]
    (start,) = [line for line in cluster["head_start_ray_commands"] if "ray start" in line]
    assert "--autoscaling-config=~/ray_bootstrap_config.yaml" in start, "else no other machine is started"


def test_launcher_commands_find_their_programs() -> None:
    """A login over ssh knows nothing of the environment: its folder is named, or it is activated first."""
    cluster, text = _loaded("ray-cluster.yaml"), (FOLDER / "ray-cluster.yaml").read_text()
    commands = [line for name in cluster if name.endswith("_commands") for line in cluster[name]]
    commands += re.findall(r"ray exec \S+ '(.+)'", text)
    assert len(commands) == 6
    for command in commands:
        first = re.search(r"(?<![\w/.-])(ray|ebmark) ", command)
        assert first is None or "activate" in command[: first.start()], command


def test_rayjob_manifest() -> None:
    """One container a pod, requests equal limits, every mount has a volume, replicas within bounds."""
    job = _loaded("kuberay-rayjob.yaml")
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    cluster = job["spec"]["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        assert container["resources"]["limits"] == container["resources"]["requests"]
        volumes = {volume["name"] for volume in pod.get("volumes", [])}
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes, "all see the results"
        assert group.get("minReplicas", 1) <= group.get("replicas", 1) <= group.get("maxReplicas", 1)
