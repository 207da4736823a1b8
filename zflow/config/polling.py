"""Which shards a request goes to: ``ANY`` one of them, or ``ALL``; for every endpoint, or for each its own way."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from zflow.config import shapes
from zflow.config.kinds import Kind, Unfit
from zflow.config.places import shown
from zflow.endpoints import endpoint_problem
from zflow.errors import ConfigError, nearest

ANY = "ANY"
ALL = "ALL"
OTHERS = "*"

Polling = str | dict[str, str]

_USUAL = {"/search": ALL, "/index": ANY, OTHERS: ANY}


def polling_table(polling: Polling | None) -> dict[str, str]:
    """Endpoint -> ANY or ALL, and under ``*`` what holds for all others.

    Where nothing was given, a search asks every shard and everything else one: an index is spread over the shards.
    """
    if polling is None:
        return dict(_USUAL)
    return {OTHERS: ANY, **({OTHERS: polling} if isinstance(polling, str) else polling)}


def _checked(value: Any) -> Polling:
    if isinstance(value, str):
        return _way(value)
    if not isinstance(value, Mapping) or not value:
        raise Unfit("ANY, ALL, or a map of endpoints (and * for the others) to these")
    for endpoint in value:
        if endpoint != OTHERS and (problem := endpoint_problem(endpoint)):
            raise ConfigError(f"{problem}; * stands for all that are not named")
    return {endpoint: _way(way, f"{endpoint}: ") for endpoint, way in value.items()}


def _way(word: Any, where: str = "") -> str:
    given = word.upper() if isinstance(word, str) else word
    if given not in (ANY, ALL):
        told = f"{where}no way of polling is called {shown(word)}"
        raise ConfigError(f"{told}: {nearest(given, (ANY, ALL)) if isinstance(given, str) else 'known: ALL, ANY'}")
    return str(given)


def _read(words: str) -> Any:
    """``ALL``, ``/search=ALL,*=ANY``, or JSON."""
    if words.lstrip().startswith("{"):
        try:
            return json.loads(words)
        except (ValueError, RecursionError):
            return words
    if "=" not in words:
        return words
    pairs = (item.partition("=") for item in words.split(","))
    return {endpoint.strip(): way.strip() for endpoint, _, way in pairs}


_ENDPOINTS = {"type": "string", "pattern": f"^([{OTHERS}]|{shapes.ENDPOINT})$"}
_SHAPE = {"anyOf": [shapes.WAY, {**shapes.mapping(_ENDPOINTS, shapes.WAY), "minProperties": 1}]}
POLLING = Kind("ANY|ALL|/ENDPOINT=ALL,...", _checked, _read, shape=_SHAPE)
