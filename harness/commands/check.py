"""``ebmark check``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

from ebmark.conformance import check
from ebmark.console import Console
from ebmark.dataset_check import check_dataset
from ebmark.discovery import get, kinds
from ebmark.errors import PluginError
from ebmark.metric_check import check_metric
from ebmark.plugin_checks import Finding

CHECKS: Mapping[str, Callable[[Any], Iterator[Finding]]] = {
    "method": check,
    "dataset": check_dataset,
    "metric": check_metric,
}


def show(console: Console, name: str) -> int:
    """One line per check of every plug-in of that name; returns 0 if all passed, else 2.

    Raises:
        PluginError: there is none, or a network only.
    """
    tested = [kind for kind in kinds(name) if kind in CHECKS]
    if not tested:
        raise PluginError(f"{name}: a network; allowed: a method, a data set or a metric")
    findings = []
    for kind in tested:
        for finding in CHECKS[kind](get(kind, name)):
            findings.append(finding)
            console.say(f"{'ok  ' if finding.ok else 'FAIL'} {finding.what}: {finding.found}")
    failed = sum(not finding.ok for finding in findings)
    console.say(f"{name}: {len(findings) - failed} checks passed, {failed} failed")
    console.document([asdict(finding) for finding in findings])
    return 2 if failed else 0
