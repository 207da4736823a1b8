"""Words of the command line that several commands take, as values."""

from __future__ import annotations

from typing import Any

import click


def mapping(words: str) -> dict[str, Any]:
    """``KEY=VALUE``, or a JSON object. Raises click.BadParameter for anything else."""
    from zflow.config.kinds import read_mapping  # each command pays for what it needs: `--help` must be quick

    value = read_mapping(words)
    if not isinstance(value, dict):
        raise click.BadParameter(f"expected KEY=VALUE or a JSON object, got {words!r:.80}")
    return value
