"""The conditions of a REQUEST: which of its documents its receiver may see, as the header's key ``!when`` has them.

An entry is a condition, encoded once by whoever composed the graph, and the places of the documents parts that it is
about (None for all). Gateways hand entries on unopened; the worker that decodes the documents applies them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zflow.documents.limits import MAX_CONDITION, MAX_CONDITIONS
from zflow.documents.query import Test, compile_query
from zflow.errors import ConfigError, InvalidRequest, ProtocolError
from zflow.wire.payload import decode_map, encode_map

WHEN = "!when"

Entry = Sequence[Any]  # [condition, None or places of parts]


def encode_condition(query: Mapping[str, Any]) -> bytes:
    """`query` as it travels. Raises ConfigError, with the path of what is wrong or cannot travel."""
    compile_query(query)
    try:
        encoded = encode_map(query, "query")
    except InvalidRequest as error:
        raise ConfigError(str(error)) from error
    if len(encoded) > MAX_CONDITION:
        raise ConfigError(f"query: {len(encoded)} bytes, of at most {MAX_CONDITION}")
    return encoded


def decode_condition(encoded: bytes) -> Test:
    """The function that says whether a Document meets the condition. Raises InvalidRequest."""
    try:
        return compile_query(decode_map(encoded, "condition"))
    except (ConfigError, ProtocolError) as error:
        raise InvalidRequest(f"{WHEN}: {error}") from error


def check_entries(entries: Any, parts: int, room: int = MAX_CONDITIONS) -> None:
    """Raise InvalidRequest unless `entries` is the value of a ``!when``, of at most `room` bytes, for that many
    documents parts."""
    if type(entries) is not list or not entries or not all(_is_entry(entry, parts) for entry in entries):
        raise InvalidRequest(f"{WHEN} is not a list of conditions, each with the parts that it is about")
    total = sum(len(entry[0]) for entry in entries)
    if total > room:
        raise InvalidRequest(f"{WHEN}: {total} bytes of conditions; there is room for {room}")


def shifted(entries: Sequence[Entry], offset: int, count: int) -> list[Entry]:
    """The same entries where the `count` documents parts that they are about come after `offset` others."""
    return [
        [condition, [offset + place for place in (range(count) if places is None else places)]]
        for condition, places in entries
    ]


def _is_entry(entry: Any, parts: int) -> bool:
    if type(entry) is not list or len(entry) != 2 or type(entry[0]) is not bytes or len(entry[0]) > MAX_CONDITION:
        return False
    places = entry[1]
    return places is None or (
        type(places) is list and all(type(place) is int and 0 <= place < parts for place in places)
    )
