"""`zflow export`: what a Flow, or zflow itself, is in the words of other programs."""

from __future__ import annotations

import click

from zflow.cli.export_schema import schema
from zflow.cli.exporting import docker_compose, kubernetes, systemd
from zflow.cli.groups import Commands


@click.group(
    cls=Commands,
    short_help="Write files for Compose, Kubernetes, systemd and editors.",
    epilog="Example: zflow export schema -o zflow.schema.json",
)
def export() -> None:
    """Write files for other programs: editors, and those that run processes."""


for _command in (docker_compose, kubernetes, systemd, schema):
    export.add_command(_command)
