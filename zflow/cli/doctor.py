"""`zflow doctor`: what of this machine keeps zflow from working, and what to do about it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

import click

from zflow.cli.words import KEYS_FOLDER


@click.command(short_help="Look for what keeps zflow from working here.", epilog="Example: zflow doctor --port 12345")
@click.option("--keys", default="", metavar="FOLDER", help=f"folder of keys to look at  [default: {KEYS_FOLDER}]")
@click.option(
    "--port", "ports", multiple=True, metavar="PORT", type=click.IntRange(1, 65535), help="a port that shall be free"
)
@click.option("--json", "as_json", is_flag=True, help="print the findings as one JSON array")
def doctor(keys: str, ports: Sequence[int], as_json: bool) -> None:
    """Look at versions, limits, folders, keys, clock and ports of this machine, and start a small Flow.

    Each line is ok, warn (it works, but not well or not all of it) or fail; below it is what to do. The exit code is 1
    if anything fails.
    """
    from zflow.doctor import FAIL, OK, examine  # each command pays for what it needs: `--help` must be quick

    findings = []
    for finding in examine(keys=keys, ports=ports):
        findings.append(finding)
        if not as_json:
            click.echo(f"{finding.state:<5} {finding.name:<14} {finding.told}")
            if finding.state != OK:
                click.echo(f"{'':<20} -> {finding.remedy}")
    if as_json:
        click.echo(json.dumps([finding._asdict() for finding in findings], indent=2))
    sys.exit(1 if any(finding.state == FAIL for finding in findings) else 0)
