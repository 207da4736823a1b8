"""`zflow errors`: what an error means, and what to do about it."""

from __future__ import annotations

import click


@click.command(short_help="Say what an error means, and what helps.", epilog="Example: zflow errors Unavailable")
@click.argument("name", required=False, metavar="[NAME]")
def errors(name: str | None) -> None:
    """Print what causes the error NAME and what helps, or the page of all errors."""
    from zflow.error_page import entry, named, page  # each command pays for what it needs: `--help` must be quick

    click.echo(entry(named(name)) if name else page(), nl=False)
