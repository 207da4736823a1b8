"""What a part of a message holds: documents, and the maps of parameters, results and details, as logical buffers.

The table of documents is made and read in `zflow.documents` (packing, unpacking), where files use it too. Here is what
the roles call: values to buffers, and foreign buffers to values or a ProtocolError, and never anything else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from zflow.documents import DocumentArray
from zflow.documents.packing import has_texts_alone, pack, pack_plain, packer_of_rows
from zflow.documents.plain_values import Untravelable
from zflow.documents.unpacking import unpack, unpack_plain
from zflow.errors import InvalidRequest
from zflow.wire.frames import Buffer

_EMPTY_MAP = b"\x80"


def encode_documents(documents: DocumentArray) -> list[Buffer]:
    """The body, then the large values by reference: do not change arrays before the buffers are sent.

    Raises InvalidDocument, naming row and field, for what cannot travel.
    """
    return pack(documents._table())


def encoder_of_rows(documents: DocumentArray) -> Callable[[int, int], list[Buffer]]:
    """What encodes `documents` from one place to before another, as `encode_documents` does; it unpacks none."""
    columns = documents._columns
    if columns is None:
        return lambda start, stop: encode_documents(documents[start:stop])
    return packer_of_rows(columns)


def is_lasting(documents: DocumentArray) -> bool:
    """Whether what encodes their rows encodes what they are now, whenever it is called and whoever has them."""
    return documents._columns is not None and has_texts_alone(documents._columns)


def decode_documents(buffers: Sequence[Buffer]) -> DocumentArray:
    """The documents in `buffers`, packed; large arrays are views of the buffers, writable where those are.

    Raises ProtocolError.
    """
    return DocumentArray._of_columns(unpack(buffers))


def encode_map(mapping: Mapping[str, Any], name: str = "parameters") -> bytes:
    """A map of plain values (see zflow.documents.plain_values) as one buffer.

    Raises InvalidRequest with the path, such as ``parameters['x'][2]``, of what cannot travel.
    """
    if type(mapping) is not dict and not isinstance(mapping, Mapping):
        raise InvalidRequest(f"{name}: a map (a dict with str keys) is due, not {type(mapping).__name__}")
    if not mapping:
        return _EMPTY_MAP
    try:
        return pack_plain(mapping, name)
    except Untravelable as error:
        raise InvalidRequest(str(error)) from error


def decode_map(buffer: Buffer, name: str = "parameters") -> dict[str, Any]:
    """The map in `buffer`. Raises ProtocolError, naming `name`."""
    return unpack_plain(buffer, name)
