"""Groups of commands that know the nearest one to a misspelled word, and turn zflow's errors into exit codes."""

from __future__ import annotations

import sys
from typing import Any

import click

from zflow.errors import ZflowError, nearest


class Commands(click.Group):
    """A group of commands; groups inside of it are of its kind."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            ctx.fail(f"no command {args[0]!r}: {nearest(args[0], self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ZflowError as error:
            click.echo(f"Error: {error}", err=True)
            sys.exit(error.exit_code)
