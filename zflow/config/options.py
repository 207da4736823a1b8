"""One option, declared once: from this `Flow` and `add`, YAML, the command line and the documentation derive."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Flag, auto
from typing import Any

from zflow.config import environment
from zflow.config.kinds import Kind
from zflow.config.places import Place, shown
from zflow.errors import nearest


class Surface(Flag):
    """Where an option can be given: to `Flow` or `add`, in a Flow's YAML file, on the command line. SAVED: it is
    written when a Flow is saved."""

    PYTHON = auto()
    YAML = auto()
    CLI = auto()
    SAVED = auto()


IN_FLOWS = Surface.PYTHON | Surface.YAML | Surface.SAVED
EVERYWHERE = IN_FLOWS | Surface.CLI


@dataclass(frozen=True)
class Option:
    """name, kind of values, default (None: unset) and help text of an option, and what else it is called.

    unit: of its number. surfaces: where it can be given. variable: of the environment, which gives it where nobody
    else does. inherited: an Executor takes it over from its Flow.
    """

    name: str
    kind: Kind
    default: Any
    help: str
    unit: str = ""
    aliases: tuple[str, ...] = ()
    surfaces: Surface = EVERYWHERE
    variable: str = ""
    inherited: bool = False

    @property
    def flag(self) -> str:
        """How the command line calls it."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def metavar(self) -> str:
        """How the command line's help shows its value; empty for a switch."""
        return self.kind.metavar

    @property
    def choices(self) -> tuple[str, ...]:
        """All its values, where they can be listed."""
        return self.kind.choices

    def check(self, value: Any, place: Place) -> Any:
        """`value` in its normal form. Raises ConfigError that begins with `place`."""
        return self.kind.checked(value, place)

    def read(self, words: str | Sequence[str]) -> Any:
        """What the command line gave, one word or several, as `check` takes it."""
        if isinstance(words, str):
            return self.kind.read(words)
        values = [self.kind.read(word) for word in words]
        if all(isinstance(value, Mapping) for value in values):
            return {key: item for value in values for key, item in value.items()}
        return [item for value in values for item in (value if isinstance(value, list) else [value])]


def option(kind: Kind, default: Any, help: str, **more: Any) -> Any:
    """A dataclass field that is an option; `more` are further fields of Option."""
    metadata = {"option": functools.partial(Option, kind=kind, default=default, help=help, **more)}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=dict, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@functools.cache
def options_of(spec: type) -> tuple[Option, ...]:
    """The options of ExecutorSpec or FlowSpec, in the order of their declaration."""
    fields = dataclasses.fields(spec)
    return tuple(item.metadata["option"](name=item.name) for item in fields if "option" in item.metadata)


def collect(
    spec: type, given: Mapping[str, Any], place: Place, surface: Surface
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What was given for the options of `spec`, checked, by the options' own names; and the same together with what
    the environment gives. None counts as not given. Raises ConfigError for an unknown name, with the nearest known."""
    options = [item for item in options_of(spec) if surface & item.surfaces]
    spelled = {name: item for item in options for name in (item.name, *item.aliases)}
    checked: dict[str, Any] = {}
    for name, value in given.items():
        if name not in spelled:
            raise place.down(name).fault(f"unknown option {shown(name)}: {nearest(str(name), spelled)}")
        if value is None:
            continue
        found = spelled[name]
        if found.name in checked:
            raise place.down(name).fault(f"{' and '.join((found.name, *found.aliases))} are one option; give it once")
        checked[found.name] = found.check(value, place.down(name))
    return checked, {**_from_environment(options), **checked}


def _from_environment(options: Sequence[Option]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for item in options:
        text = environment.variable(item.variable) if item.variable else None
        if text is not None:
            values[item.name] = item.check(item.read(text), Place(item.variable))
    return values
