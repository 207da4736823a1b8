"""The environment: the ZFLOW_* variables, and ``${{ ... }}`` in YAML. The only reader of ``os.environ`` in zflow.

Variables are read when they are needed (when a Flow is made, when a process starts), never on import, so that a
program may set them after ``import zflow``.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from typing import Any

from zflow.config.scalars import scalar_of
from zflow.errors import ConfigError, nearest

VARIABLES: dict[str, str] = {
    "ZFLOW_HUB": "registry of what hub:// and hub+docker:// name without one; http:// before it: without TLS",
    "ZFLOW_HUB_CACHE": "folder of Executors that came from registries (default: ~/.cache/zflow-hub)",
    "ZFLOW_HUB_SIZE": "how many MB the package of an Executor may have, to push it or to fetch it (default: 524)",
    "ZFLOW_KEYS": "folder of our keys, as `zflow keygen` makes it, where nobody names another",
    "ZFLOW_LOG_CONFIG": "log_config of Flows and Executors that give none: plain, json, a YAML file, or KEY=VALUE",
    "ZFLOW_LOG_LEVEL": "how much every process tells: DEBUG, INFO (the default), WARNING, ERROR or CRITICAL",
    "ZFLOW_START_METHOD": "start_method of Flows and Executors that give none: warm or spawn",
    "ZFLOW_TIMEOUT_READY": "timeout_ready, in ms, of Flows and Executors that give none; -1 for ever",
    "ZFLOW_WORKSPACE": "folder of the workspaces of Executors to which nobody gave one (default: ~/.cache/zflow)",
}
_LARGEST = 8000  # MB; an archive has 33 bits for the size of a file
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

_SUBSTITUTION = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
_REFERENCE = re.compile(r"(?:(ENV|env|CONTEXT|context)\.)?([A-Za-z_][A-Za-z0-9_]*)")
_warned: set[str] = set()


class FromVariables(str):
    """Text in which variables of the environment were put, and the `template` that it stood for: saving writes that.

    It is for the process that has read it: whoever it is sent to gets plain text.
    """

    template: str

    def __new__(cls, text: str, template: str) -> FromVariables:
        made = super().__new__(cls, text)
        made.template = template
        return made

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (str(self),)


class NumberFromVariables(int):
    """The same for a whole number."""

    template: str

    def __new__(cls, number: int, template: str) -> NumberFromVariables:
        made = super().__new__(cls, number)
        made.template = template
        return made

    def __reduce__(self) -> tuple[type[int], tuple[int]]:
        return int, (int(self),)


def variable(name: str) -> str | None:
    """The ZFLOW_* variable `name`, or None where it is unset or empty. A misspelled one is warned of, once."""
    for unknown in our_variables()[1]:
        if unknown not in _warned:
            _warned.add(unknown)
            told = "the environment has %s, which zflow does not know: %s"
            logging.getLogger("zflow").warning(told, unknown, nearest(unknown, VARIABLES))
    return os.environ.get(name) or None


def our_variables() -> tuple[list[str], list[str]]:
    """The ZFLOW_* variables that are set: those that zflow knows, and the others."""
    names = sorted(name for name in os.environ if name.startswith("ZFLOW_"))
    return [name for name in names if name in VARIABLES], [name for name in names if name not in VARIABLES]


def log_level() -> str:
    """ZFLOW_LOG_LEVEL, a name that ``logging`` knows. Raises ConfigError for any other."""
    level = (variable("ZFLOW_LOG_LEVEL") or "INFO").upper()
    if level not in LOG_LEVELS:
        raise ConfigError(f"ZFLOW_LOG_LEVEL: expected one of {', '.join(LOG_LEVELS)}, got {level!r}")
    return level


def default_workspace() -> str:
    """Where Executors to which nobody gave a workspace have theirs."""
    return variable("ZFLOW_WORKSPACE") or os.path.join(os.path.expanduser("~"), ".cache", "zflow")


def hub_cache() -> str:
    """Where Executors that came from registries are kept."""
    return variable("ZFLOW_HUB_CACHE") or os.path.join(os.path.expanduser("~"), ".cache", "zflow-hub")


def hub_size() -> int:
    """How many bytes the package of an Executor may have. Raises ConfigError for what is no number of MB."""
    told = variable("ZFLOW_HUB_SIZE")
    if told is None:
        return 500 << 20
    if not re.fullmatch("[0-9]{1,4}", told) or not 0 < int(told) <= _LARGEST:
        raise ConfigError(f"ZFLOW_HUB_SIZE: expected a whole number of MB, up to {_LARGEST}, got {told!r:.80}")
    return int(told) * 1_000_000


def is_template(text: str) -> bool:
    """Whether loading `text` from a YAML file would replace a part of it."""
    return "${{" in text


def substitute(text: str, context: Mapping[str, Any] | None = None) -> Any:
    """`text` with each ``${{ ENV.NAME }}`` (or ``env.``) and ``${{ CONTEXT.name }}`` (or plain ``name``) replaced.

    Where the whole text is one of them, the value keeps its type, and a variable that reads like a number, ``true``,
    ``false`` or ``null`` becomes that; inside a longer text it is put in as text. What was put in is not looked at
    again, and ``$NAME`` is left alone. Text and whole numbers that only variables have made remember their template.
    Raises ConfigError for an unknown name.
    """
    whole = _SUBSTITUTION.fullmatch(text.strip())
    if whole and not is_template(whole[1]):
        value, is_variable = _value_of(whole[1], context)
        return _remembering(_typed(value), text.strip()) if is_variable else value
    if is_template(_SUBSTITUTION.sub("", text)):
        raise ConfigError("'${{' without '}}': write ${{ ENV.NAME }} or ${{ CONTEXT.name }}")
    values = [_value_of(found[1], context) for found in _SUBSTITUTION.finditer(text)]
    put_in = iter(values)
    made = _SUBSTITUTION.sub(lambda found: str(next(put_in)[0]), text)
    return _remembering(made, text) if values and all(is_variable for _, is_variable in values) else made


def _remembering(value: Any, template: str) -> Any:
    if type(value) is str:
        return FromVariables(value, template)
    return NumberFromVariables(value, template) if type(value) is int else value


def _typed(text: str) -> Any:
    """What the text of a variable reads like. 007 stays text: whoever wrote the zeros meant them."""
    value = scalar_of(text) if text else text
    return text if type(value) is int and str(value) != text else value


def _value_of(expression: str, context: Mapping[str, Any] | None) -> tuple[Any, bool]:
    """What `expression` stands for, and whether it is an environment variable (which has no type but text)."""
    reference = _REFERENCE.fullmatch(expression.strip())
    if not reference:
        told = f"'${{{{{expression:.60}}}}}' is not understood"
        raise ConfigError(f"{told}: write ${{{{ ENV.NAME }}}} or ${{{{ CONTEXT.name }}}}")
    source, name = reference.groups()
    if source in ("ENV", "env"):
        if name not in os.environ:
            raise ConfigError(f"the environment has no variable {name!r}; set it before loading")
        return os.environ[name], True
    if name not in (context or {}):
        told = f"the context has no value {name!r}; give it by context={{...}}"
        raise ConfigError(f"{told} ({nearest(name, context)})" if context else told)
    return (context or {})[name], False


def with_changes(changes: Mapping[str, str]) -> dict[str, str]:
    """The environment for a process of ours: this one's, and `changes`."""
    return {**os.environ, **changes}


def foreign(name: str) -> str | None:
    """A variable that is not ours, such as CUDA_VISIBLE_DEVICES, or None where it is unset or empty."""
    return os.environ.get(name) or None


def take(*names: str) -> dict[str, str]:
    """Those of these variables that are set. They are gone afterwards: they were meant for this process alone."""
    return {name: os.environ.pop(name) for name in names if name in os.environ}
