"""Words of the command line that several commands take, as values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

KEYS_FOLDER = "ZFLOW_KEYS, or ~/.config/zflow/keys"  # where keys are unless another folder is named

AnyCommand = TypeVar("AnyCommand", bound=Callable[..., Any])


def ways(command: AnyCommand) -> AnyCommand:
    """The options of whoever calls a peer that may have keys."""
    for option in (
        click.option("--insecure", is_flag=True, help="no keys, though the peer is not on this host"),
        click.option("--server-key", metavar="KEY", help="public key by which the peer is known, if it has keys"),
        click.option("--keys", metavar="FOLDER", help=f"folder of our own keys  [default: {KEYS_FOLDER}]"),
    ):
        command = option(command)
    return command


def mapping(words: str) -> dict[str, Any]:
    """``KEY=VALUE``, or a JSON object. Raises click.BadParameter for anything else."""
    from zflow.config.kinds import read_mapping  # each command pays for what it needs: `--help` must be quick

    value = read_mapping(words)
    if not isinstance(value, dict):
        raise click.BadParameter(f"expected KEY=VALUE or a JSON object, got {words!r:.80}")
    return value
