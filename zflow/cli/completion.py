"""`zflow completion`: what a shell needs to complete commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

_SHELLS = ("bash", "zsh", "fish")


@click.command(
    short_help="Print what makes your shell complete zflow's words.",
    epilog='Example: eval "$(zflow completion bash)"',
)
@click.argument("shell", type=click.Choice(_SHELLS))
def completion(shell: str) -> None:
    """Print the script that makes SHELL complete zflow's commands and options.

    To have it always, write the line of the example into ~/.bashrc, or into what your shell reads when it begins.
    """
    kind = get_completion_class(shell)
    assert kind is not None
    root = click.get_current_context().find_root().command
    click.echo(kind(root, {}, "zflow", "_ZFLOW_COMPLETE").source())
