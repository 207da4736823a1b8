"""All errors on one page, with cause and remedy, made of their classes: docs/errors.md, and `zflow errors`."""

from __future__ import annotations

from collections.abc import Iterator

from zflow import errors
from zflow.errors import BY_CODE, ConfigError, RemoteError, ZflowError, nearest

_BEGINNING = """# Errors, and what to do about them

All are below `ZflowError`. Those that come from another process are `RemoteError`s: `node` is the Executor's name in
the Flow, `peer` the process that spoke. *Retryable* ones may pass by themselves. `zflow errors NAME` prints one entry.

(This page is made by `make docs` from zflow/errors.py.)
"""


def kinds() -> list[type[ZflowError]]:
    """Every error that has a cause and a remedy of its own, in the order in which they are written down."""
    known = [item for item in vars(errors).values() if isinstance(item, type) and issubclass(item, ZflowError)]
    return [kind for kind in known if kind not in (ZflowError, RemoteError)]


def page() -> str:
    """docs/errors.md."""
    return "\n".join([_BEGINNING, *map(entry, kinds())])


def entry(kind: type[ZflowError]) -> str:
    """What one error means, and what to do about it."""
    meaning = (kind.__doc__ or "").split("\n\n")[0].replace("\n    ", "\n").replace("``", "`").strip()
    told = [f"## {kind.__name__}", meaning, f"**Cause.** {kind.cause}", f"**Remedy.** {kind.remedy}"]
    return "\n\n".join([*told, " · ".join(_facts(kind))]) + "\n"


def named(name: str) -> type[ZflowError]:
    """The error of this name. Raises ConfigError with the nearest known one."""
    by_name = {kind.__name__: kind for kind in kinds()}
    if name not in by_name:
        folded = {known.lower(): kind for known, kind in by_name.items()}
        if name.lower() in folded:
            return folded[name.lower()]
        raise ConfigError(f"no error is called {name!r:.80}: {nearest(name, by_name)}")
    return by_name[name]


def _facts(kind: type[ZflowError]) -> Iterator[str]:
    above = [base.__name__ for base in kind.__bases__ if base is not ZflowError]
    if above:
        yield f"also a {', '.join(above)}"
    yield "retryable" if kind.retryable else "asking again does not help"
    if BY_CODE.get(kind.code) is kind:
        yield f"code {kind.code} on the wire"
    yield f"exit code {kind.exit_code}"
