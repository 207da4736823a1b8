"""JSON Schema of the YAML files: what an editor completes, explains and checks while somebody writes.

Made of the options in spec.py and of what their kinds say of values. It is of draft 7, the newest that editors of YAML
know in full. It never refuses what is right; what follows from several values (the graph, a port beside replicas), from
other files and from classes is the business of `zflow check`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zflow.config import deployment, shapes, yaml_file
from zflow.config.options import Option, Surface, options_of
from zflow.config.shapes import Shape
from zflow.config.spec import ExecutorSpec, FlowSpec
from zflow.errors import ConfigError, nearest

DRAFT = "http://json-schema.org/draft-07/schema#"
KINDS = ("flow", "deployment", "executor")

_TEMPLATE = {"$ref": "#/definitions/template"}
_DEFINITIONS: Shape = {
    "template": {
        "type": "string",
        "pattern": "\\$\\{\\{",
        "description": "${{ ENV.NAME }} or ${{ CONTEXT.name }}, replaced when the file is loaded",
    }
}
_VERSION: Shape = {"enum": ["1", "1.0", 1], "description": "version of this form of file: '1'"}
_METHOD = "how it is added: after the Executor before it (add), or as a join of some (needs) or all that are loose"


def schema(kind: str | None = None) -> Shape:
    """The schema of files of this `kind`; of all of them where none is named. Raises ConfigError for another word."""
    if kind is not None and kind not in KINDS:
        raise ConfigError(f"no kind of YAML file is called {kind!r:.80}: {nearest(kind, KINDS)}")
    definitions = {**_DEFINITIONS, shapes.EXECUTOR: _executor()}
    if kind != "executor":
        definitions.update({name: make() for name, make in _MAKERS.items() if kind in (None, name)})
    described = {"$ref": f"#/definitions/{kind}"} if kind else _of_any_kind()
    title = f"zflow: {kind.capitalize() if kind else 'Flow, Deployment or Executor'}"
    return {"$schema": DRAFT, "title": title, "allOf": [described], "definitions": definitions}


def _of_any_kind() -> Shape:
    """By its jtype: the name of a class, unless it is one of our words."""

    def of(word: str) -> Shape:
        return {"properties": {"jtype": {"const": word}}, "required": ["jtype"]}

    other: Shape = {"$ref": f"#/definitions/{shapes.EXECUTOR}"}
    for name in _MAKERS:
        other = {"if": of(name.capitalize()), "then": {"$ref": f"#/definitions/{name}"}, "else": other}
    return {"required": ["jtype"], **other}


def _flow() -> Shape:
    options = _options(FlowSpec)
    entries = {"type": "array", "items": _or_nothing(_entry()), "description": "its Executors, each after the other"}
    front = shapes.closed(**{key: options[key] for key in ("port", "port_expose", "host")})
    properties = {
        **_head("Flow", "a graph of Executors, each in processes of its own"),
        "with": _or_nothing({**shapes.closed(**options), "description": "options of the Flow"}),
        "gateway": _or_nothing({**front, "description": "how it is reached, which may stand under `with` as well"}),
        "executors": _or_nothing(entries),
    }
    return {**shapes.closed(**properties), "required": ["jtype"]}


def _entry() -> Shape:
    """An Executor in a Flow."""
    method = {"enum": [*yaml_file.METHODS, ""], "default": "add", "description": _METHOD}
    a_join = {"properties": {"method": {"const": "needs"}}, "required": ["method"]}
    several = {"required": ["needs"], "properties": {"needs": {"anyOf": [{"minItems": 2, "type": "array"}, _TEMPLATE]}}}
    entry = shapes.closed(method=_or_nothing(method), **_options(ExecutorSpec))
    return {**entry, "if": a_join, "then": several}


def _deployment() -> Shape:
    options = {
        **_options(ExecutorSpec, leave_out=deployment.OF_A_GRAPH),
        **_options(FlowSpec, only=deployment.OF_THE_FRONT),
    }
    inside = {**shapes.closed(**options), "description": "options of its Executor, and how it is reached"}
    head = _head("Deployment", "one Executor that stands alone, with its replicas and shards")
    return {**shapes.closed(**head, **{"with": _or_nothing(inside)}), "required": ["jtype"]}


def _executor() -> Shape:
    properties = {
        "jtype": {**shapes.IDENTIFIER, "description": "name of its class, which is found through py_modules"},
        "with": {**shapes.ARGUMENTS, "description": "arguments of its __init__"},
        "metas": {**shapes.METAS, "description": "name, description, workspace, py_modules"},
        "requests": {**shapes.REQUESTS, "description": "endpoint -> method"},
        "dynamic_batching": {**shapes.BATCHING, "description": "endpoint or method -> how requests are put together"},
        "py_modules": {**shapes.MODULES, "description": "files or modules to import before the class is looked up"},
        "workspace": {**shapes.TEXT, "description": "folder in which it has its own"},
    }
    opened = {key: _or_nothing(shape) if key != "jtype" else _opened(shape) for key, shape in properties.items()}
    return {**shapes.closed(**opened), "required": ["jtype"]}


_MAKERS = {"flow": _flow, "deployment": _deployment}


def _head(jtype: str, told: str) -> dict[str, Shape]:
    return {"jtype": _opened({"const": jtype, "description": told}), "version": _opened(_VERSION)}


def _options(spec: type, *, leave_out: Sequence[str] = (), only: Sequence[str] = ()) -> dict[str, Shape]:
    """Every spelling of every option that a YAML file can give."""
    properties = {}
    for item in options_of(spec):
        if Surface.YAML in item.surfaces and item.name not in leave_out and (not only or item.name in only):
            properties[item.name] = _property(item)
            for alias in item.aliases:
                properties[alias] = {**_property(item), "description": f"another word for {item.name}"}
    return properties


def _property(item: Option) -> Shape:
    unit = f" [{item.unit}]" if item.unit else ""
    told: Shape = {"description": f"{item.help}{unit}"}
    if item.default not in (None, "", (), {}):
        told["default"] = item.default
    return {**told, **_or_nothing(dict(item.kind.shape))}


def _or_nothing(shape: Shape) -> Shape:
    """An option may be left empty, which is as if it were not there."""
    return _opened(shape, {"type": "null"})


def _opened(shape: Shape, *others: Shape) -> Shape:
    """`shape`, or ``${{ ... }}`` in place of the value or of any value in it."""
    told: Shape = {key: shape[key] for key in ("description", "default") if key in shape}
    inner = {key: _opened_inside(key, value) for key, value in shape.items() if key not in told}
    return {**told, "anyOf": [inner, _TEMPLATE, *others]}


def _opened_inside(key: str, value: Any) -> Any:
    if key in ("items", "additionalProperties") and isinstance(value, dict):
        return value if "anyOf" in value and _TEMPLATE in value["anyOf"] else _opened(value)
    if key == "properties":
        return {name: _opened_inside("items", shape) for name, shape in value.items()}
    if key == "anyOf":
        return [{word: _opened_inside(word, item) for word, item in shape.items()} for shape in value]
    return value
