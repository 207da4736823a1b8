"""What JSON Schema says of values that several kinds of options are made of. Each kind names its own, see kinds.py.

Patterns are of the kind that JavaScript and Python read alike: editors use the one, our tests the other.
"""

from __future__ import annotations

from typing import Any

Shape = dict[str, Any]

EXECUTOR = "executor"  # the definition of an Executor, in the `definitions` of every schema

TEXT: Shape = {"type": "string", "pattern": "^[^\\u0000]*$"}
FILLED: Shape = {"type": "string", "pattern": "^[^\\u0000]+$"}
IDENTIFIER: Shape = {"type": "string", "pattern": "^[A-Za-z_\u0080-\uffff][A-Za-z0-9_\u0080-\uffff]*$"}
NODE: Shape = {"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]{0,63}$"}
HOST: Shape = {"type": "string", "pattern": "^[A-Za-z0-9_\\[:]([A-Za-z0-9_.:%\\[\\]-]*[A-Za-z0-9_:\\]])?$"}
ADDRESS: Shape = {"type": "string", "pattern": "^([A-Za-z0-9_][A-Za-z0-9_.-]*|\\[[0-9A-Fa-f:.%]+\\]):[0-9]{1,5}$"}
WAY: Shape = {"anyOf": [{"enum": ["ANY", "ALL"]}, {"type": "string", "pattern": "^([Aa][Nn][Yy]|[Aa][Ll][Ll])$"}]}
ENDPOINT = "/[A-Za-z0-9_./-]{0,127}"


def one_or_many(shape: Shape, fewest: int = 1) -> Shape:
    """One value, or a list of at least `fewest` of them."""
    return {"anyOf": [shape, {"type": "array", "items": shape, "minItems": fewest}]}


def mapping(keys: Shape, values: Shape | bool = True) -> Shape:
    """A map, the keys and values of which have these shapes."""
    return {"type": "object", "propertyNames": keys, "additionalProperties": values}


def closed(**properties: Shape) -> Shape:
    """A map with no other keys than these."""
    return {"type": "object", "properties": properties, "additionalProperties": False}


MODULES = one_or_many(TEXT, 0)
ARGUMENTS = mapping({**IDENTIFIER, "not": {"enum": ["metas", "requests", "runtime_args", "dynamic_batching"]}})
_TEXT_OR_NOTHING: Shape = {**TEXT, "type": ["string", "null"]}
METAS = closed(
    name=_TEXT_OR_NOTHING,
    description=_TEXT_OR_NOTHING,
    py_modules={"anyOf": [*MODULES["anyOf"], {"type": "null"}]},
    workspace=_TEXT_OR_NOTHING,
)
REQUESTS = mapping({"type": "string", "pattern": f"^{ENDPOINT}$"}, IDENTIFIER)
BATCHING = mapping(
    {"type": "string", "pattern": f"^/|{IDENTIFIER['pattern']}"},
    closed(
        preferred_batch_size={"type": ["integer", "null"], "minimum": 1, "maximum": 1 << 31},
        timeout={"type": "number", "minimum": 0, "exclusiveMaximum": 1 << 31},
        flush_all={"type": "boolean"},
        custom_metric={"type": "null"},
        use_custom_metric={"type": ["boolean", "null"]},
        use_dynamic_batching={"type": "boolean"},
    ),
)
USES: Shape = {
    "anyOf": [
        {"type": "string", "pattern": "\\S", "not": {"pattern": "^\\s*[^\\s!:]+\\.py\\s*$"}},
        {"$ref": f"#/definitions/{EXECUTOR}"},
    ]
}
