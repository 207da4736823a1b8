"""From the YAML parser's events to plain values, and back to text. Imports yaml, so plain_yaml.py comes here late."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import yaml

from zflow.config import environment
from zflow.config.places import Path as Keys
from zflow.config.places import Place, shown
from zflow.config.scalars import scalar_of
from zflow.errors import ConfigError

_TEXT_TAG = "tag:yaml.org,2002:str"
_BREAKS = "\x85\u2028\u2029"  # ends of lines to PyYAML, which folds them unless they are escaped
# the C parser is 10 times as fast, where PyYAML was built with it
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Missing:
    """Stands for a value that was refused and noted."""


_MISSING = _Missing()


class Builder:
    """Builds one document from the parser's events; see plain_yaml.py for what is refused.

    faults: where to put what is wrong with one value, so that building can go on without it (in a list, with None in
    its place); where there is no such list, the first one is raised. place: of the whole document; knows the line of
    each value once `document` has returned.
    """

    def __init__(
        self,
        text: str,
        source: str,
        context: Mapping[str, Any] | None,
        class_allowed: Callable[[Keys], bool],
        *,
        max_depth: int,
        max_nodes: int,
        faults: list[ConfigError] | None = None,
    ) -> None:
        self._text = text
        self._context = context
        self._class_allowed = class_allowed
        self._max_depth = max_depth
        self._max_nodes = max_nodes
        self._nodes = 0
        self._faults = faults
        self._lines: dict[Keys, int] = {}
        self.place = Place(source, (), self._lines)
        self._events = self._parser_events()

    def document(self) -> Any:
        """The value of the only document; None if there is none."""
        value: Any = None
        documents = 0
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self._fault(event, "a second document begins ('---'); keep one document per file")
                value = self._value(next(self._events), ())
        return None if value is _MISSING else value

    def _parser_events(self) -> Iterator[yaml.Event]:
        try:
            yield from yaml.parse(self._text, Loader=_LOADER)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            raise self._invalid(mark.line + 1 if mark else 0, str(error.problem or error.context)) from error
        except yaml.reader.ReaderError as error:
            line = self._text[: error.position].count("\n") + 1
            raise self._invalid(line, f"{error.reason} (U+{_code_point(error.character):04X})") from error

    def _invalid(self, line: int, problem: str) -> ConfigError:
        return Place(self.place.source, (), {(): line}).fault(f"not valid YAML: {problem}")

    def _fault(self, event: Any, message: str, path: Keys = ()) -> ConfigError:
        return Place(self.place.source, path, {path: _line(event)}).fault(message)

    def _refuse(self, fault: ConfigError) -> _Missing:
        """Raise what is wrong with one value, or note it and have the value left out."""
        if self._faults is None:
            raise fault
        self._faults.append(fault)
        return _MISSING

    def _value(self, event: Any, path: Keys) -> Any:
        self._count(event)
        if len(path) > self._max_depth:
            raise self._fault(event, f"nested more than {self._max_depth} deep")
        self._lines[path] = _line(event)
        if isinstance(event, yaml.AliasEvent):
            told = f"aliases such as '*{event.anchor:.40}' are not supported; repeat the value"
            return self._refuse(self._fault(event, told, path))
        name = self._class_name(event, path)
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(path, {"jtype": name} if name else {})
        if name and (isinstance(event, yaml.SequenceStartEvent) or event.value):
            self._refuse(self._fault(event, f"'!{name}' names a class and must be followed by a map", path))
        elif name:
            return {"jtype": name}
        return self._sequence(path) if isinstance(event, yaml.SequenceStartEvent) else self._scalar(event, path)

    def _count(self, event: Any) -> None:
        self._nodes += 1
        if self._nodes > self._max_nodes:
            raise self._fault(event, f"more than {self._max_nodes} values; no configuration is that long")

    def _class_name(self, event: Any, path: Keys) -> str:
        """The Name of ``!Name``. Any other tag is refused but ``!!str`` and a bare ``!``, which both say "text"."""
        tag: str | None = event.tag
        if tag is None or (tag in ("!", _TEXT_TAG) and isinstance(event, yaml.ScalarEvent)):
            return ""
        if tag[0] != "!" or not tag[1:].isidentifier():
            self._refuse(self._fault(event, f"the tag {shown(tag)} is not supported", path))
            return ""
        if not self._class_allowed(path):
            self._refuse(self._fault(event, f"unknown tag '{tag:.40}': no class can be named here", path))
            return ""
        return tag[1:]

    def _sequence(self, path: Keys) -> list[Any]:
        values: list[Any] = []
        for event in self._events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            value = self._value(event, (*path, len(values)))
            values.append(None if value is _MISSING else value)
        return values

    def _mapping(self, path: Keys, values: dict[Any, Any]) -> dict[Any, Any]:
        for event in self._events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            key = self._key(event, path)
            if key in values:
                self._refuse(self._fault(event, f"the key {shown(key)} stands here twice", path))
            value = self._value(next(self._events), (*path, key))
            if value is not _MISSING:
                values[key] = value
        return values

    def _key(self, event: Any, path: Keys) -> Any:
        self._count(event)
        if not isinstance(event, yaml.ScalarEvent) or event.tag not in (None, "!", _TEXT_TAG):
            raise self._fault(event, "a key must be a plain word, no alias, list, map or tag", path)
        if event.value == "<<" and event.implicit[0]:
            raise self._fault(event, "merge keys ('<<') are not supported; repeat the values", path)
        return self._word(event, path)

    def _scalar(self, event: yaml.ScalarEvent, path: Keys) -> Any:
        value = self._word(event, path)
        if not isinstance(value, str) or not environment.is_template(value):
            return value
        try:
            return environment.substitute(value, self._context)
        except ConfigError as error:
            return self._refuse(self._fault(event, str(error), path))

    def _word(self, event: yaml.ScalarEvent, path: Keys) -> Any:
        if not event.implicit[0] or event.tag is not None:
            return str(event.value)
        try:
            return scalar_of(event.value)
        except ConfigError as error:
            raise self._fault(event, str(error), path) from error


def write(value: Any) -> str:
    """`value`, made of plain values only, as YAML."""
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return text


class _Dumper(yaml.SafeDumper):
    """PyYAML's dumper quotes what YAML 1.1 would misread; this one also what 1.2 would. It never writes aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    if any(character in text for character in _BREAKS):
        return dumper.represent_scalar(_TEXT_TAG, text, style='"')
    return dumper.represent_scalar(_TEXT_TAG, text, style=None if _stays_text(text) else "'")


_Dumper.add_representer(str, _represent_text)
_Dumper.add_multi_representer(str, _represent_text)  # its kinds


def _stays_text(text: str) -> bool:
    try:
        return isinstance(scalar_of(text), str)
    except ConfigError:
        return False


def _line(event: Any) -> int:
    line: int = event.start_mark.line
    return line + 1


def _code_point(character: Any) -> int:
    """The pure parser names the character, the C parser its number."""
    return ord(character) if isinstance(character, str) else int(character)
