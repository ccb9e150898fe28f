"""``ebmark`` alone: what to type."""

from __future__ import annotations

from pathlib import Path

from ebmark import __version__, complete
from ebmark.console import Console

GUIDE = Path(__file__).parents[2] / "docs" / "first-run.md"

TEXT = """\
ebmark {version}: what each way to train an energy-based model costs, and how well it does

  ebmark run quickstart      trains a few methods on small targets; some minutes on a laptop
  ebmark report              what came out, as one page: results/quickstart/report/report.html
  ebmark new method mine     a method of your own, ready to be compared with them

More: ebmark --help, ebmark ls methods, ebmark ls studies; something wrong: ebmark doctor
"""


def show(console: Console) -> None:
    """Three commands and where to read on; where there are results, what can be done with the newest."""
    console.say(TEXT.format(version=__version__).rstrip())
    if GUIDE.exists():  # a wheel brings no guide
        console.say(f"Guide: {GUIDE}")
    if found := complete.folders():
        console.say(f"Here: ebmark status {found[0]}, ebmark report {found[0]}")
