"""``ebmark check``."""

from __future__ import annotations

from dataclasses import asdict
from typing import cast

from ebmark.api import Method
from ebmark.conformance import check
from ebmark.console import Console
from ebmark.registry import get


def show(console: Console, name: str) -> int:
    """One line per check; returns 0 if all passed, else 2."""
    findings = []
    for finding in check(cast(type[Method], get("method", name))):
        findings.append(finding)
        console.say(f"{'ok  ' if finding.ok else 'FAIL'} {finding.what}: {finding.found}")
    failed = sum(not finding.ok for finding in findings)
    console.say(f"{name}: {len(findings) - failed} checks passed, {failed} failed")
    console.document([asdict(finding) for finding in findings])
    return 2 if failed else 0
