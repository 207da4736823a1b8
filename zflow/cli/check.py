"""`zflow check`: what is wrong with a YAML file, and what it describes, without starting anything."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from zflow.errors import ConfigError


@click.command(
    short_help="Say what is wrong with a YAML file, or draw its graph.", epilog="Example: zflow check flow.yml"
)
@click.argument("file", metavar="FILE", type=click.Path())
@click.option("--context", "values", multiple=True, metavar="KEY=VALUE|JSON", help="values for ${{ CONTEXT.key }}")
@click.option(
    "--timeout", default=60.0, show_default=True, metavar="SECONDS", help="how long the imports of one class may take"
)
@click.option("--json", "as_json", is_flag=True, help="print faults and Executors as one JSON object, for editors")
def check(file: str, values: tuple[str, ...], timeout: float, as_json: bool) -> None:
    """Say everything that is wrong with a Flow, a Deployment or an Executor in a YAML FILE, or draw what it describes.

    Its classes are imported, in processes that end at once; nothing is started. Faults are told on stderr, each as
    FILE:LINE PATH: MESSAGE; the exit code is 2 if there are any.
    """
    from zflow.cli.words import mapping
    from zflow.review import review

    context = {key: value for words in values for key, value in mapping(words).items()}
    reviewed = review(Path(file), context, timeout)
    if as_json:
        click.echo(json.dumps(reviewed.as_map(), indent=2))
    elif not reviewed.faults:
        encoding = getattr(sys.stdout, "encoding", None) or "ascii"
        click.echo(reviewed.drawn(is_plain="utf" not in encoding.lower()))
    if reviewed.faults and not as_json:
        for fault in reviewed.faults:
            click.echo(str(fault), err=True)
    sys.exit(ConfigError.exit_code if reviewed.faults else 0)
