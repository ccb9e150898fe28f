"""How long the command line takes to start, and which imports it pays for."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

IMPORTS = ("ebmark", "numpy", "pandas", "pyarrow", "scipy.stats", "sklearn", "torch", "ray", "seaborn")
COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "ebmark --help": ["-m", "ebmark", "--help"],
    "ebmark plan quickstart": ["-m", "ebmark", "plan", "quickstart"],
    **{f"import {name}": ["-c", f"import {name}"] for name in IMPORTS},
}


def seconds(arguments: list[str]) -> float:
    """Wall-clock seconds of one fresh interpreter.

    Raises:
        subprocess.CalledProcessError: the command failed, so its time means nothing.
    """
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    return time.perf_counter() - start


def row(label: str, arguments: list[str], repeats: int) -> str:
    """One line of the table: median and extremes over `repeats`, after one run that fills the disk cache."""
    try:
        seconds(arguments)
        times = [seconds(arguments) for _ in range(repeats)]
    except subprocess.CalledProcessError as error:
        last_line = (error.stderr.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
        return f"{label:24} failed, exit code {error.returncode}: {last_line}"
    return f"{label:24} {statistics.median(times):8.3f} {min(times):8.3f} {max(times):8.3f}"


def main() -> None:
    """Prints the table, a row as soon as it is measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", "--repeats", type=int, default=5, help="runs per row (default: 5)")
    repeats = parser.parse_args().repeats
    if repeats < 1:
        parser.error(f"--repeats: got {repeats}, allowed: 1 or more")
    print(f"{'seconds, ' + str(repeats) + ' runs each':24} {'median':>8} {'least':>8} {'most':>8}")
    for label, arguments in COMMANDS.items():
        print(row(label, arguments, repeats), flush=True)


if __name__ == "__main__":
    main()
