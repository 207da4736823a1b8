"""The YAML that zflow reads and writes: plain values, bounded before they are built, every one with its line.

Read by a builder of our own over the parser's events, so that no tag can make an object: maps, lists, text, numbers,
true, false and null of YAML 1.2's core schema (see scalars.py), nothing else. Aliases and merge keys are refused
(a few of them unfold into gigabytes), and so are duplicate keys, a second document and unknown tags. ``!Name`` may
stand where the caller allows a class to be named; it is read as ``jtype: Name``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from zflow.config import environment
from zflow.config.places import Path as Keys
from zflow.config.places import Place, shown
from zflow.errors import ConfigError, nearest

MAX_BYTES = 1 << 20
MAX_DEPTH = 32
MAX_NODES = 10_000


class Parsed(NamedTuple):
    """A value read from YAML, and its place, which knows the lines of everything in it."""

    value: Any
    place: Place


def only_at_root(path: Keys) -> bool:
    """Allow ``!Name`` for the whole document."""
    return not path


def parse(
    source: str | Path,
    *,
    name: str = "",
    context: Mapping[str, Any] | None = None,
    class_allowed: Callable[[Keys], bool] = only_at_root,
    faults: list[ConfigError] | None = None,
) -> Parsed:
    """The value in `source`: YAML as text, or a file as a Path. ``${{ ... }}`` is replaced (see environment.py).

    name: what messages call the source (default: the file's name). context: values for ``${{ CONTEXT.x }}``.
    class_allowed: whether ``!Name`` may stand at a path. faults: where to put what is wrong with one value, instead of
    raising it; the value is left out then. Raises ConfigError, and only that, whatever the text.
    """
    from zflow.config.yaml_values import Builder  # imports yaml, 20 ms that `import zflow` must not cost

    place = Place(name or (source.name if isinstance(source, Path) else "YAML"))
    text = _read(source, place) if isinstance(source, Path) else _bounded(source, place)
    builder = Builder(
        text, place.source, context, class_allowed, max_depth=MAX_DEPTH, max_nodes=MAX_NODES, faults=faults
    )
    return Parsed(builder.document(), builder.place)


def dump(value: Any, place: Place | None = None, *, templates: bool = False) -> str:
    """`value` as YAML that `parse` reads back as an equal value. Raises ConfigError for what YAML cannot hold.

    templates: write what was made of variables of the environment as it was read, not as what they are now.
    """
    _check_plain(value, place or Place(), MAX_DEPTH)
    value = _spelled(value, templates)
    _check_plain(value, place or Place(), MAX_DEPTH)
    from zflow.config.yaml_values import write  # imports yaml, 20 ms that `import zflow` must not cost

    return write(value)


class _Template(str):
    """Text that is to be replaced when it is loaded."""


_SPELLED = (_Template, environment.FromVariables, environment.NumberFromVariables)


def _spelled(value: Any, templates: bool) -> Any:
    if type(value) is dict:
        return {key: _spelled(item, templates) for key, item in value.items()}
    if type(value) is list:
        return [_spelled(item, templates) for item in value]
    if isinstance(value, environment.FromVariables):
        return _Template(value.template) if templates else str(value)
    if isinstance(value, environment.NumberFromVariables):
        return _Template(value.template) if templates else int(value)
    return value


def _read(path: Path, place: Place) -> str:
    """The text of a regular file: a FIFO or a device would block, or never end."""
    try:
        problem = "" if path.is_file() else "is no regular file" if path.exists() else "does not exist"
        if not problem:
            with path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise place.fault(f"{shown(str(path))} cannot be read: {error}") from error
    if problem:
        raise place.fault(f"{path} {problem}{_near(path)}")
    if len(data) > MAX_BYTES:
        raise place.fault(f"more than {MAX_BYTES} bytes; no configuration is that long")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise place.fault(f"not UTF-8 (byte {error.start}); save the file as UTF-8") from error


def _near(path: Path) -> str:
    """A file beside it whose name is nearly the same."""
    with contextlib.suppress(OSError):
        hint = nearest(path.name, [item.name for item in path.parent.glob("*.y*ml")])
        if hint.startswith("did you mean"):
            return f": {hint}"
    return ""


def _bounded(text: str, place: Place) -> str:
    try:
        size = len(text) if len(text) > MAX_BYTES else len(text.encode())
    except UnicodeEncodeError as error:
        raise place.fault(f"character {error.start} is half a surrogate pair, which no file can hold") from error
    if size > MAX_BYTES:
        raise place.fault(f"more than {MAX_BYTES} bytes; no configuration is that long")
    return text.removeprefix("\ufeff")


def _check_plain(value: Any, place: Place, depth: int) -> None:
    if depth < 0:
        raise place.fault(f"nested more than {MAX_DEPTH} deep, which zflow's YAML files cannot be")
    if type(value) is dict:
        for key, item in value.items():
            if type(key) not in (str, int, float, bool, type(None)):
                raise place.fault(f"the key {shown(key)} cannot be written to YAML")
            _check_plain(item, place.down(key), depth - 1)
    elif type(value) is list:
        for index, item in enumerate(value):
            _check_plain(item, place.down(index), depth - 1)
    elif type(value) is str:
        if environment.is_template(value):
            raise place.fault(f"{shown(value)} cannot be written to YAML: '${{{{' would be replaced when it is loaded")
    elif type(value) not in (int, float, bool, type(None), *_SPELLED):
        told = f"a {type(value).__name__} cannot be written to YAML"
        raise place.fault(f"{told}; use text, numbers, true, false, null, lists and dicts")
