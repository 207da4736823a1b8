"""What must not stand in a file that people keep, send and commit: told by its name, or by its shape.

Variables that look like secrets are exported as references to variables of the same name, to be given where the file
is used. Arguments that do are refused: a command line is for everybody to see.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from zflow.config.places import Place

_NAME = re.compile(
    r"(^|_)(password|passwd|passphrase|secret|token|api_?key|access_?key|private_?key|credentials?)$", re.IGNORECASE
)
_OF_TEXTS = re.compile(r"^(bos|eos|pad|unk|mask|sep|cls)_token$", re.IGNORECASE)  # words of a language model
_VALUE = re.compile(r"[a-z][a-z0-9+.-]*://[^/@\s:]*:[^/@\s]+@", re.IGNORECASE)  # a user and a password in a URL


class Variables(NamedTuple):
    """Those of an Executor: which may be shown, and which are only named."""

    shown: dict[str, str]
    secret: tuple[str, ...]


def is_secret(name: str, value: object) -> bool:
    """Whether `value` should be seen by as few as possible."""
    if not isinstance(value, str) or not value or _OF_TEXTS.match(name):
        return False
    return _NAME.search(name) is not None or _VALUE.search(value) is not None


def variables_of(env: Mapping[str, str]) -> Variables:
    """`env`, in the order of names: the same input makes the same file."""
    shown = {name: env[name] for name in sorted(env) if not is_secret(name, env[name])}
    return Variables(shown, tuple(name for name in sorted(env) if name not in shown))


def check_arguments(given: Mapping[str, Any], place: Place) -> None:
    """Raise ConfigError for an argument that is a secret, however deep."""
    for name, value in given.items():
        if isinstance(value, Mapping):
            check_arguments(value, place.down(name))
        elif is_secret(str(name), value):
            variable = re.sub(r"\W", "_", str(name)).upper()
            raise place.down(name).fault(
                "this looks like a secret, which must not stand in a file; have the Executor read it from its "
                f"environment, and give it by env ({variable}=...): its value will not be exported"
            )
