"""`zflow export schema`: JSON Schema of the YAML files, for editors."""

from __future__ import annotations

import json
from pathlib import Path

import click

from zflow.errors import ConfigError

_KINDS = ("flow", "deployment", "executor")


@click.command(
    short_help="JSON Schema of the YAML files, for editors.", epilog="Example: zflow export schema -o zflow.schema.json"
)
@click.option("--kind", type=click.Choice(_KINDS), help="of these files only  [default: of all, by their jtype]")
@click.option("-o", "--output", metavar="FILE", type=click.Path(), help="write it there  [default: stdout]")
def schema(kind: str | None, output: str | None) -> None:
    """Print the JSON Schema of Flows, Deployments and Executors in YAML.

    Editors complete and check a file with it that begins with: # yaml-language-server: $schema=zflow.schema.json
    """
    from zflow.config.schema import schema  # each command pays for what it needs: `--help` must be quick

    text = json.dumps(schema(kind), indent=2) + "\n"
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        Path(output).write_text(text, "utf-8")
    except OSError as error:
        raise ConfigError(f"{output} cannot be written: {error.strerror}") from error
    click.echo(output, err=True)
