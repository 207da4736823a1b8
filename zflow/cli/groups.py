"""Groups of commands that know the nearest one to a misspelled word, turn zflow's errors into exit codes, and list what
they have by what it is for."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from zflow.errors import ZflowError, nearest

_NEVER_CUT = 1000  # a sentence that is too long goes on in the next line


class Commands(click.Group):
    """A group of commands; groups inside of it are of its kind.

    headings: what the list of commands stands under, with the names in the order in which they are listed. A command
    that stands nowhere is listed at the end.
    """

    def __init__(self, *arguments: Any, headings: Mapping[str, Sequence[str]] | None = None, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._headings = headings or {}
        self.epilog = _unwrapped(self.epilog)

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        cmd.epilog = _unwrapped(cmd.epilog)
        super().add_command(cmd, name)

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

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        names = [name for name in self.list_commands(ctx) if not self.commands[name].hidden]
        width = max(map(len, names), default=0)
        for heading, listed in self._parts(names):
            rows = [(name.ljust(width), self.commands[name].get_short_help_str(_NEVER_CUT)) for name in listed]
            with formatter.section(heading):
                formatter.write_dl(rows)

    def _parts(self, names: Sequence[str]) -> list[tuple[str, list[str]]]:
        """Headings with those of `names` that stand under them; none without any."""
        parts = [(heading, [name for name in told if name in names]) for heading, told in self._headings.items()]
        placed = {name for _, listed in parts for name in listed}
        parts.append(("More commands" if placed else "Commands", [name for name in names if name not in placed]))
        return [(heading, listed) for heading, listed in parts if listed]


def _unwrapped(epilog: str | None) -> str | None:
    """An example in one line, however narrow the terminal: it is there to be copied. (\\b says so to click.)"""
    return f"\b\n{epilog}" if epilog and not epilog.startswith("\b") else epilog
