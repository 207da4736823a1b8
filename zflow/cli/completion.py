"""`zflow completion`: what a shell needs to complete commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

_SHELLS = ("bash", "zsh", "fish")


@click.command(
    short_help="Print what makes your shell complete zflow's words.",
    epilog='Example: zflow completion bash; to have it always: eval "$(zflow completion bash)" in ~/.bashrc',
)
@click.argument("shell", type=click.Choice(_SHELLS))
def completion(shell: str) -> None:
    """Print the script that makes SHELL complete zflow's commands and options; source it where the shell begins."""
    kind = get_completion_class(shell)
    assert kind is not None
    root = click.get_current_context().find_root().command
    click.echo(kind(root, {}, "zflow", "_ZFLOW_COMPLETE").source())
