"""Commands whose options are those of config/spec.py, under the same names and with its help texts.

They are made when a command is really used: reading all of config/ is more than `zflow --help` may cost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from zflow.config.options import Option

Options = Callable[[], Sequence[click.Option]]


class Described(click.Command):
    """A command that has the options which `described_by` returns, after those of its own."""

    def __init__(self, *arguments: Any, described_by: Options, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._described_by: Options | None = described_by

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        if self._described_by is not None:
            self.params = [*self.params, *self._described_by()]
            self._described_by = None
        return super().get_params(ctx)


def of_an_executor() -> list[click.Option]:
    """The options of one Executor."""
    from zflow.config.spec import ExecutorSpec

    return spec_options(ExecutorSpec)


def of_a_deployment() -> list[click.Option]:
    """The options of an Executor that stands alone, and of what is before it."""
    from zflow.config.deployment import OF_A_GRAPH, OF_THE_FRONT
    from zflow.config.spec import ExecutorSpec, FlowSpec

    return [*spec_options(ExecutorSpec, leave_out=OF_A_GRAPH), *spec_options(FlowSpec, only=OF_THE_FRONT)]


def of_a_front() -> list[click.Option]:
    """The options of what is before an Executor."""
    from zflow.config.deployment import OF_LOGS, OF_THE_FRONT
    from zflow.config.spec import FlowSpec

    return spec_options(FlowSpec, only=(*OF_THE_FRONT, *OF_LOGS))


def of_a_flow() -> list[click.Option]:
    """The options of a Flow."""
    from zflow.config.spec import FlowSpec

    return spec_options(FlowSpec)


def of_a_gateway() -> list[click.Option]:
    """The options of a Flow that has no processes of its own to be replaced."""
    from zflow.config.spec import FlowSpec

    return spec_options(FlowSpec, leave_out=("reload", "restart"))


def spec_options(spec: type, *, leave_out: Sequence[str] = (), only: Sequence[str] = ()) -> list[click.Option]:
    """A click option for every option of `spec` that the command line takes; `only` for these, if there are any."""
    from zflow.config.options import Surface, options_of

    return [
        _click_option(item)
        for item in options_of(spec)
        if Surface.CLI in item.surfaces and item.name not in leave_out and (not only or item.name in only)
    ]


def _click_option(item: Option) -> click.Option:
    flags = [item.flag, *(f"--{alias.replace('_', '-')}" for alias in item.aliases)]
    unit = f" [{item.unit}]" if item.unit else ""
    default = f"  [default: {item.default}]" if item.default not in (None, "", (), {}, False) else ""
    help_text = f"{item.help}{unit}{default}"
    if not item.metavar:
        return click.Option([*flags, item.name], is_flag=True, default=None, help=help_text)
    return click.Option([*flags, item.name], multiple=item.kind.many, metavar=item.metavar, help=help_text)


def given(spec: type, words: dict[str, Any]) -> dict[str, Any]:
    """The options of `spec` that were really given, as values."""
    from zflow.config.options import options_of

    values = {}
    for item in options_of(spec):
        word = words.get(item.name)
        if word is not None and word != ():
            values[item.name] = word if isinstance(word, bool) else item.read(word)
    return values
