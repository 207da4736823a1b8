"""`zflow status` and `zflow top`: how a peer and its nodes stand, once or again and again."""

from __future__ import annotations

import json
import shutil
import sys
import time
from typing import Any

import click

from zflow.cli.words import ways
from zflow.errors import Unavailable


@click.command(
    short_help="Show its nodes, replicas, queues and versions.", epilog="Example: zflow status localhost:12345"
)
@click.argument("address", metavar="HOST:PORT")
@ways
@click.option(
    "--timeout", default=3000, show_default=True, metavar="MS", type=click.IntRange(1), help="how long to wait"
)
@click.option("--json", "as_json", is_flag=True, help="print the whole status as one JSON object")
def status(address: str, timeout: int, as_json: bool, **keys: Any) -> None:
    """Show how the Flow, Deployment or Executor at HOST:PORT stands: its nodes, replicas, queues and versions.

    RUNNING is how many calls a replica has now, CREDIT how many it may have, MEAN how long its calls took so far,
    waiting included. Calls that a script posts to its own Flow do not pass its gateway, and are not counted there.
    """
    from zflow import probing  # each command pays for what it needs: `--help` must be quick
    from zflow.client import address_of, way_to
    from zflow.overview import Look, overview

    where = address_of(address)
    told = probing.ping(where, timeout / 1000, way_to(where, **keys))
    click.echo(json.dumps(told, indent=2) if as_json else overview(Look(told, time.monotonic())))


@click.command(
    short_help="Watch its rates, latencies and queues.", epilog="Example: zflow top localhost:12345 --interval 2"
)
@click.argument("address", metavar="HOST:PORT")
@ways
@click.option(
    "--interval",
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    type=click.FloatRange(0.1),
    help="between two looks",
)
@click.option("--count", metavar="N", type=click.IntRange(1), help="end after so many looks  [default: Ctrl-C ends it]")
@click.option("--timeout", default=3000, show_default=True, metavar="MS", type=click.IntRange(1), help="of each look")
def top(address: str, interval: float, count: int | None, timeout: int, **keys: Any) -> None:
    """Watch the Flow, Deployment or Executor at HOST:PORT: rates, latencies and queues per node, until Ctrl-C.

    On a terminal the table is redrawn; elsewhere each look is printed below the last. RATE and MEAN are those since
    the last look.
    """
    from zflow import probing
    from zflow.client import address_of, way_to
    from zflow.overview import Look, overview

    where = address_of(address)
    way = way_to(where, **keys)
    before: Look | None = None
    looks = 0
    try:
        while True:
            began = time.monotonic()
            try:
                now = Look(probing.ping(where, timeout / 1000, way), time.monotonic())
                told, before = overview(now, before), now
                _draw(told, is_first=not looks)
            except Unavailable as error:
                _draw(f"{error}", is_first=not looks)
            looks += 1
            if looks == count:
                break
            time.sleep(max(0.0, began + interval - time.monotonic()))
    except KeyboardInterrupt:
        click.echo()
    sys.exit(0 if before is not None else Unavailable.exit_code)


def _draw(text: str, *, is_first: bool) -> None:
    """Over what was drawn before, where that can be; what others left on the screen is scrolled away, and not lost."""
    if sys.stdout.isatty():
        width, height = shutil.get_terminal_size()
        click.echo("\n" * height if is_first else "", nl=False)
        lines = [line[: width - 1] for line in text.splitlines()][: height - 1]
        click.echo("\x1b[H" + "".join(f"{line}\x1b[K\n" for line in lines) + "\x1b[J", nl=False)
    else:
        click.echo(text + "\n")
