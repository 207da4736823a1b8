"""`zflow logs`: what the processes behind a port have logged lately, and what they go on to log."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

import click

from zflow.cli.words import ways

_PAUSE = 0.5  # seconds between two looks


@click.command(
    short_help="Print its latest log lines, and follow them.",
    epilog="Example: zflow logs localhost:12345 encoder --lines 20 --follow",
)
@click.argument("address", metavar="HOST:PORT")
@click.argument("node", required=False, default="", metavar="[NODE]")
@ways
@click.option("--lines", default=100, show_default=True, metavar="N", type=click.IntRange(0, 1000), help="how many")
@click.option("--follow", "-f", is_flag=True, help="go on with what is logged from now on, until Ctrl-C")
@click.option("--json", "as_json", is_flag=True, help="print each line as a JSON object")
@click.option("--timeout", default=3000, show_default=True, metavar="MS", type=click.IntRange(1), help="of each look")
def logs(address: str, node: str, lines: int, follow: bool, as_json: bool, timeout: int, **keys: Any) -> None:
    """Print the latest log lines of the Flow, Deployment or Executor at HOST:PORT; of NODE, or of one process of it,
    where that is named.

    What a process said before it crashed is there as well. Only so much is kept: for all of it, see log_config.
    """
    from zflow import probing  # each command pays for what it needs: `--help` must be quick
    from zflow.client import address_of, way_to

    where = address_of(address)
    way = way_to(where, **keys)
    told = probing.logs(where, timeout / 1000, way, most=lines, of=node)
    if node and not told["log"]["lines"]:
        _check_name(node, told)
    try:
        while True:
            for line in told["log"]["lines"]:
                click.echo(json.dumps(line, ensure_ascii=False) if as_json else _shown(line))
            if not follow:
                return
            time.sleep(_PAUSE)
            told = probing.logs(where, timeout / 1000, way, most=1000, of=node, after=told["log"]["after"])
    except KeyboardInterrupt:
        click.echo(err=True)


def _check_name(node: str, told: Mapping[str, Any]) -> None:
    """Raise ConfigError for a name that nobody there has."""
    from zflow.errors import ConfigError, nearest

    nodes: Mapping[str, Any] = told.get("nodes") or {}
    replicas = [name for standing in nodes.values() for name in standing.get("replicas") or {}]
    known = {told["name"], *nodes, *replicas, *told["log"]["names"]}
    known |= {name.partition("/")[0] for name in known}
    if not any(f"{name}/".startswith(f"{node}/") for name in known):
        raise ConfigError(f"no process there is called {node!r:.80}: {nearest(node, known)}")


def _shown(line: Mapping[str, Any]) -> str:
    level = str(line.get("level", ""))
    letter = {"CRITICAL": "E"}.get(level, level[:1])
    told = f"{line.get('name')}@{line.get('pid')}[{letter}]:{line.get('text')}"
    return f"{told}\n{line['exception']}" if line.get("exception") else told
