"""What one request came to: documents, results and a status; and the error, where it came to one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zflow.documents.document_array import DocumentArray
from zflow.documents.reduce import concatenate, reduce_all
from zflow.errors import BY_CODE, ExecutorError, RemoteError, ResourceExhausted
from zflow.wire.frames import DETAILS, DOCUMENTS, RESULTS, Part
from zflow.wire.header import MAYBE_EXECUTED, Kind, Message
from zflow.wire.payload import decode_documents, decode_map

RESULTS_KEY = "__results__"


class Status:
    """How a request ended. code: SUCCESS (0) or ERROR (1). description: the ``repr`` of the exception."""

    SUCCESS = 0
    ERROR = 1

    __slots__ = ("code", "description", "exception")

    def __init__(self, error: RemoteError | None = None) -> None:
        self.exception = error
        self.code = self.SUCCESS if error is None else self.ERROR
        if error is None:
            self.description = ""
        elif isinstance(error, ExecutorError):
            self.description = error.description
        else:
            self.description = repr(error)

    def __repr__(self) -> str:
        return "Status(SUCCESS)" if self.exception is None else f"Status(ERROR, {self.description})"


class Response:
    """The outcome of one request.

    docs: the documents of the reply, or those of the request where there is none. parameters: the request's, with
    each Executor's results under ``__results__`` by process name. error: the exception, if it came to one. endpoint: as
    it was asked. missing: the shards that an Executor with ``allow_partial`` has answered without, by name, each with
    the name of its error, as in ``{'indexer/shard-1': 'Unavailable'}``.
    """

    __slots__ = ("docs", "parameters", "error", "_call_id", "endpoint", "missing")

    def __init__(
        self,
        docs: DocumentArray,
        parameters: dict[str, Any],
        *,
        error: RemoteError | None = None,
        call_id: bytes = b"",
        endpoint: str = "/",
        missing: Mapping[str, str] | None = None,
    ) -> None:
        self.docs = docs
        self.parameters = parameters
        self.error = error
        self.endpoint = endpoint
        self._call_id = call_id
        self.missing = dict(missing or {})

    @property
    def status(self) -> Status:
        """SUCCESS or ERROR, and why."""
        return Status(self.error)

    @property
    def request_id(self) -> str:
        """The call's id in hex."""
        return self._call_id.hex()

    @property
    def data(self) -> Response:
        """As in ``response.data.docs``."""
        return self

    @property
    def results(self) -> dict[str, Any]:
        """What Executors returned as dicts, by process name."""
        found: dict[str, Any] = self.parameters.get(RESULTS_KEY, {})
        return found

    @property
    def header(self) -> dict[str, Any]:
        """request_id, exec_endpoint, status and, if there are any, missing, as plain data."""
        status = {"code": self.status.code, "description": self.status.description}
        told: dict[str, Any] = {"request_id": self.request_id, "exec_endpoint": self.endpoint, "status": status}
        return {**told, "missing": self.missing} if self.missing else told

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data."""
        return {"header": self.header, "parameters": self.parameters, "data": self.docs.to_list()}

    def __repr__(self) -> str:
        missing = f", without {', '.join(self.missing)}" if self.missing else ""
        return f"Response({self.endpoint!r}, {len(self.docs)} docs, {self.status!r}{missing})"


def read(outcome: Message, asked: DocumentArray, parameters: dict[str, Any], endpoint: str) -> Response:
    """The Response that `outcome` is to the documents `asked`. Raises ProtocolError for a payload that is none."""
    call_id = outcome.call_id
    if outcome.kind is Kind.FAILURE:
        return Response(asked, parameters, error=error_of(outcome), call_id=call_id, endpoint=endpoint)
    documents = [part for part in outcome.parts if part.kind == DOCUMENTS]
    if len(documents) < len(outcome.parts):
        results = {part.label: decode_map(part.buffers()[0]) for part in outcome.parts if part.kind == RESULTS}
        parameters = {**parameters, RESULTS_KEY: results}
    docs = _documents(documents)
    if outcome.extra.get("filtered"):
        docs = _in_order(docs, asked)
    missing = _missing(outcome.extra["missing"]) if "missing" in outcome.extra else None
    return Response(docs, parameters, call_id=call_id, endpoint=endpoint, missing=missing)


def error_of(outcome: Message) -> RemoteError:
    """The exception that a FAILURE tells."""
    details = next((decode_map(part.buffers()[0]) for part in outcome.parts if part.kind == DETAILS), {})
    kind = BY_CODE.get(_number(details.get("code")), RemoteError)
    told: dict[str, Any] = {
        "node": str(details.get("node", "")),
        "peer": str(details.get("peer", "")),
        "maybe_executed": bool(outcome.flags & MAYBE_EXECUTED),
    }
    if kind is ExecutorError:
        told.update({name: str(details.get(name, "")) for name in ("name", "description", "traceback")})
    elif kind is ResourceExhausted:
        told["retry_after"] = float(_number(details.get("retry_after")))
    error = kind(str(details.get("message", "the peer gave no reason")), **told)
    error.path, error.attempt = _path(outcome.extra.get("path"))
    return error


def _path(told: Any) -> tuple[tuple[str, ...], int]:
    """The replicas by which a FAILURE came, and the attempt at the last; addresses, at which Clients ask, left out."""
    hops = [hop for hop in told or () if type(hop) is list and len(hop) > 1 and type(hop[0]) is str]
    names = tuple(name for name, *_ in hops if "://" not in name)
    return names, int(_number(hops[-1][1])) if hops else 0


def _documents(parts: list[Part]) -> DocumentArray:
    if len(parts) == 1:
        return decode_documents(parts[0].buffers())
    branches: dict[str, list[DocumentArray]] = {}
    for part in parts:
        branches.setdefault(part.label, []).append(decode_documents(part.buffers()))
    return concatenate([reduce_all(arrays) for arrays in branches.values()])


def _in_order(docs: DocumentArray, asked: DocumentArray) -> DocumentArray:
    """`docs` in the order of those of `asked`, by id; behind them, as they came, those that were not asked about."""
    places = {id: place for place, id in enumerate(asked.ids)}
    wanted = [places.get(id, len(places)) for id in docs.ids]
    if all(before <= after for before, after in zip(wanted, wanted[1:])):
        return docs
    in_order: DocumentArray = docs[sorted(range(len(wanted)), key=wanted.__getitem__)]
    return in_order


def _missing(told: Mapping[Any, Any]) -> dict[str, str]:
    """Which shards the answer lacks, and by which error."""
    kinds = {name: BY_CODE.get(_number(code), RemoteError) for name, code in told.items() if isinstance(name, str)}
    return {name: kind.__name__ for name, kind in kinds.items()}


def _number(value: Any) -> Any:
    return value if type(value) in (int, float) else 0
