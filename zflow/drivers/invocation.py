"""One call of an endpoint: what a request brings for it, and what a method returned or yielded as a message.

A method may return (or yield): None (the documents it was given, as it left them), a DocumentArray or a list of
Documents (which replace them), one Document, or a dict (a result, beside the documents). Anything else is an error
that names the method.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from zflow.documents.document import Document
from zflow.documents.document_array import DocumentArray
from zflow.documents.reduce import concatenate, reduce_all
from zflow.drivers.filtering import Sieve
from zflow.endpoints import Endpoint
from zflow.errors import ExecutorError, description_of
from zflow.tracebacks import with_own_line
from zflow.wire.conditions import WHEN
from zflow.wire.frames import DOCUMENTS, PARAMETERS, RESULTS, Buffer, Part, excess, part
from zflow.wire.header import NO_REDUCE, Kind, Message
from zflow.wire.payload import decode_documents, decode_map, encode_documents, encode_map

Made = tuple[DocumentArray, dict[str, Any] | None]  # documents and, where there are any, results


class Call:
    """What one request to `endpoint` of the process `name` brings, decoded when it is asked for.

    node: what the Flow that asks calls this Executor. is_for_others: no document meets the request's conditions,
    so that nothing is to be called. Raises ProtocolError for a payload, and InvalidRequest for conditions, that cannot
    be read.
    """

    __slots__ = (
        "endpoint",
        "node",
        "parameters",
        "docs_map",
        "docs_matrix",
        "is_for_others",
        "_name",
        "_request",
        "_docs",
    )

    def __init__(self, request: Message, endpoint: Endpoint, name: str, node: str) -> None:
        self.endpoint = endpoint
        self.node = node
        self.parameters: dict[str, Any] = {}
        self._name = name
        self._request = request
        self._docs: DocumentArray | None = None
        for item in request.parts:
            if item.kind == PARAMETERS:
                parameters = decode_map(item.buffers()[0])
                self.parameters = parameters_for(parameters, node, request.extra.get("nodes") or ())
        self.docs_map, self.is_for_others = _branches(request)
        self.docs_matrix = list(self.docs_map.values())

    @property
    def call_id(self) -> bytes:
        return self._request.call_id

    @property
    def request(self) -> Message:
        """The one that it is."""
        return self._request

    @property
    def takes_pieces(self) -> bool:
        """Whether the caller wants what is yielded as it is made."""
        return bool(self._request.extra.get("partial"))

    @property
    def granted(self) -> int | None:
        """How many pieces the caller takes before it asks for more; None for any number."""
        items: int | None = self._request.extra.get("items")
        return items

    @property
    def docs(self) -> DocumentArray:
        """The documents of all branches: reduced by id, unless the request says otherwise."""
        if self._docs is None:
            self._docs = _joined(self.docs_matrix, self._request.flags)
        return self._docs

    def arguments(self) -> dict[str, Any]:
        """The keyword arguments of the one call of an endpoint that takes whole requests."""
        return {name: getattr(self, name) for name in self.endpoint.wants}

    def arguments_per_doc(self) -> Iterator[dict[str, Any]]:
        """The keyword arguments of each call of an endpoint that takes one Document at a time."""
        shared = {name: getattr(self, name) for name in self.endpoint.wants - {"doc", "docs"}}
        for document in self.docs:
            yield {**shared, "doc": document}

    # -- what user code made -----------------------------------------------------------------------------------------

    def made_of(self, returned: Any, given: DocumentArray | None = None) -> Made:
        """What a method means by `returned`. given: the documents it was given, if not all. Raises TypeError."""
        if returned is None:
            return self.docs if given is None else given, None
        if isinstance(returned, DocumentArray):
            return returned, None
        if isinstance(returned, dict):
            return self.docs if given is None else given, returned
        if isinstance(returned, Document):
            return DocumentArray([returned]), None
        if isinstance(returned, (list, tuple)) and all(isinstance(item, Document) for item in returned):
            return DocumentArray(returned), None
        raise TypeError(
            f"{self.who} returned {type(returned).__name__}; "
            "return a DocumentArray, a Document, a dict of results, or None to keep the documents as they are"
        )

    def made_of_doc(self, returned: Any, document: Document) -> DocumentArray:
        """The same for a method that was given one Document; it cannot return results. Raises TypeError."""
        made, results = self.made_of(returned, DocumentArray([document]))
        if results is not None:
            raise TypeError(
                f"{self.who} returned a dict for one Document; "
                "results belong to whole requests: take `docs`, or write into the Document's tags"
            )
        return made

    def made_of_piece(self, yielded: Any) -> Made:
        """What a generator means by `yielded`. Raises TypeError."""
        return self.made_of(yielded, _NO_DOCUMENTS)

    def gathered(self, pieces: Iterable[Any], at_last: Any = None) -> Made:
        """Everything that a generator yielded (and returned) as one answer. Later results win, key by key."""
        documents: list[DocumentArray] = []
        results: dict[str, Any] = {}
        for yielded in [*pieces, at_last]:
            made, told = self.made_of_piece(yielded)
            documents.append(made)
            results.update(told or {})
        return concatenate(documents), results or None

    @property
    def who(self) -> str:
        """The method, for errors."""
        return f"{self.endpoint.function.__qualname__} (endpoint {self.endpoint.name})"

    # -- as messages -------------------------------------------------------------------------------------------------

    def message(self, kind: Kind, made: Made) -> Message:
        """The REPLY or PARTIAL of what was made. Raises ValueError for what is too large to be sent."""
        documents, results = made
        parts = []
        if kind is Kind.REPLY or len(documents) or results is None:
            parts.append(part(DOCUMENTS, self.node, encode_documents(documents)))
        if results is not None:
            replica = self._name.partition("/")[2] or "rep-0"
            parts.append(part(RESULTS, f"{self.node}/{replica}", [encode_map(results, "results")]))
        return self._of_parts(kind, parts)

    def reply(self, documents: Sequence[Buffer]) -> Message:
        """The REPLY of `documents`, which are encoded. Raises as `message` does."""
        return self._of_parts(Kind.REPLY, [part(DOCUMENTS, self.node, documents)])

    def _of_parts(self, kind: Kind, parts: Sequence[Part]) -> Message:
        too_much = excess(parts)
        if too_much:
            raise ValueError(f"the answer is too large: {too_much}")
        return Message(kind, self.call_id, parts=parts)

    def error(self, error: BaseException) -> ExecutorError:
        """What `error`, which user code raised, is to the caller."""
        name, description = type(error).__name__, description_of(error)
        advice = _ON_EXIT if isinstance(error, SystemExit) else ""
        return ExecutorError(
            f"{self.node} ({self._name}) raised {description}{advice}",
            node=self.node,
            peer=self._name,
            name=name,
            description=description,
            traceback=with_own_line(error),
        )


_NO_DOCUMENTS = DocumentArray()
_ON_EXIT = "; a method cannot end its process: raise an exception that says what is wrong"


def parameters_for(parameters: Mapping[str, Any], node: str, nodes: Collection[str] = ()) -> dict[str, Any]:
    """What `node` sees of `parameters`: ``node__key`` as ``key``, a map under its own name merged in.

    What is meant for another one of `nodes`, the Executors of the Flow that asks, is left out.
    """
    seen: dict[str, Any] = {}
    own: dict[str, Any] = {}
    for key, value in parameters.items():
        target, rest = _addressed(key, value, node, nodes)
        if target is None:
            seen[key] = value
        elif target == node:
            own.update({rest: value} if rest else value)
    return {**seen, **own}


def _addressed(key: str, value: Any, node: str, nodes: Collection[str]) -> tuple[str | None, str]:
    """Which Executor `key` names, None for none, and what is left of it. Of names that begin alike the longest wins."""
    if isinstance(value, Mapping) and (key == node or key in nodes):
        return key, ""
    if "__" not in key:
        return None, ""
    named = [name for name in (node, *nodes) if key.startswith(f"{name}__") and len(key) > len(name) + 2]
    target = max(named, key=len, default=None)
    return target, key[len(target) + 2 :] if target is not None else ""


def pass_through(request: Message) -> Message:
    """Nothing is called: the documents go on as they came, unopened unless some of them are kept back by conditions."""
    if WHEN not in request.extra:
        return Message(Kind.REPLY, request.call_id, parts=[item for item in request.parts if item.kind == DOCUMENTS])
    branches, _ = _branches(request)
    parts = [part(DOCUMENTS, label, encode_documents(documents)) for label, documents in branches.items()]
    return Message(Kind.REPLY, request.call_id, parts=parts)


def _branches(request: Message) -> tuple[dict[str, DocumentArray], bool]:
    """What each of the needs made, as far as it meets the conditions; and whether there was some, and none does."""
    groups: dict[str, list[DocumentArray]] = {}
    sieve = Sieve(request) if WHEN in request.extra else None
    for item in request.parts:
        if item.kind == DOCUMENTS:
            documents = decode_documents(item.buffers())
            groups.setdefault(item.label, []).append(sieve.pass_through(documents) if sieve else documents)
    # shards of one node are one branch
    branches = {label: arrays[0] if len(arrays) == 1 else reduce_all(arrays) for label, arrays in groups.items()}
    return branches, sieve is not None and sieve.has_kept_all_back


def _joined(branches: list[DocumentArray], flags: int) -> DocumentArray:
    if len(branches) == 1:
        return branches[0]
    return concatenate(branches) if flags & NO_REDUCE else reduce_all(branches)
