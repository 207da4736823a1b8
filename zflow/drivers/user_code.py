"""The local link "executor": decode, call the endpoint, encode; an exception becomes a FAILURE.

What a method may return: None (the documents it was given, as it left them), a DocumentArray or an iterable of
Documents (which replace them), one Document, or a dict (a result, beside the documents). Anything else is an error
that names the Executor and the method.
"""

from __future__ import annotations

import asyncio
import inspect
import traceback
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from zflow.documents.document import Document
from zflow.documents.document_array import DocumentArray
from zflow.documents.reduce import concatenate, reduce_all
from zflow.drivers.filtering import Sieve
from zflow.errors import ExecutorError, InvalidDocument, InvalidRequest, ProtocolError
from zflow.executor import Endpoint, Executor
from zflow.roles.contract import failure
from zflow.wire.conditions import WHEN
from zflow.wire.frames import DOCUMENTS, PARAMETERS, RESULTS, excess, part
from zflow.wire.header import NO_REDUCE, Kind, Message
from zflow.wire.payload import decode_documents, decode_map, encode_documents, encode_map

Report = Callable[[BaseException], None]


class UserCode:
    """Runs the endpoints of `executor` for REQUESTs, one at a time.

    name: of the process, as in ``executor0/rep-0``. report: is told each exception of the user's code, for the log.
    """

    def __init__(self, executor: Executor, *, name: str, report: Report) -> None:
        self._executor = executor
        self._name = name
        self._replica = name.partition("/")[2] or "rep-0"
        self._report = report
        self._loop: asyncio.AbstractEventLoop | None = None

    def __call__(self, request: Message) -> Message:
        """The REPLY or FAILURE to `request`. Only what must end the process (such as SystemExit) is let through."""
        node = str(request.extra.get("node") or self._name.partition("/")[0])
        try:
            endpoint = Executor.endpoint(self._executor, request.endpoint)  # users may use the name
            if endpoint is None and WHEN not in request.extra:
                return _pass_through(request)
            call = _Call(request, node)
            if endpoint is None or call.is_for_others:
                return call.passed_by()
        except (ProtocolError, InvalidDocument, InvalidRequest) as error:
            invalid = InvalidRequest(f"{node}: {error}", node=node, peer=self._name)
            return failure(request.call_id, invalid, not_started=True)
        try:
            documents, results = self._run(endpoint, call)
            return self._reply(request, node, documents, results)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # also an inner task's CancelledError, which is no Exception
            self._report(error)
            return failure(request.call_id, self._executor_error(error, node))

    def close(self) -> None:
        """End the event loop of `async def` endpoints, if there was one, and the tasks that they left running."""
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.run_until_complete(_end_tasks())
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()

    def _run(self, endpoint: Endpoint, call: _Call) -> tuple[DocumentArray, dict[str, Any] | None]:
        if not endpoint.per_doc:
            returned = self._invoke(endpoint, call.arguments(endpoint.wants))
            return _interpret(returned, call.docs, endpoint)
        documents = DocumentArray()
        for document in call.docs:
            arguments = {**call.arguments(endpoint.wants - {"doc", "docs"}), "doc": document}
            returned = self._invoke(endpoint, arguments)
            made, results = _interpret(returned, DocumentArray([document]), endpoint)
            if results is not None:
                raise TypeError(
                    f"{endpoint.function.__qualname__} (endpoint {endpoint.name}) returned a dict for one Document; "
                    "results belong to whole requests: take `docs`, or write into the Document's tags"
                )
            documents.extend(made)
        return documents, None

    def _invoke(self, endpoint: Endpoint, arguments: Mapping[str, Any]) -> Any:
        returned = endpoint.function(self._executor, **arguments)
        if inspect.iscoroutine(returned):
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
            return self._loop.run_until_complete(returned)
        return returned

    def _reply(self, request: Message, node: str, documents: DocumentArray, results: dict[str, Any] | None) -> Message:
        parts = [part(DOCUMENTS, node, encode_documents(documents))]
        if results is not None:
            parts.append(part(RESULTS, f"{node}/{self._replica}", [encode_map(results, "results")]))
        too_much = excess(parts)
        if too_much:
            raise ValueError(f"the answer is too large: {too_much}")
        return Message(Kind.REPLY, request.call_id, parts=parts)

    def _executor_error(self, error: BaseException, node: str) -> ExecutorError:
        name = type(error).__name__
        try:
            description = repr(error)
        except Exception:  # it is the user's __repr__
            description = f"{name} (which cannot be shown: its repr raises)"
        return ExecutorError(
            f"{node} ({self._name}) raised {description}",
            node=node,
            peer=self._name,
            name=name,
            description=description,
            traceback="".join(traceback.format_exception(type(error), error, _users_frames(error))),
        )


class _Call:
    """What one request brings, decoded when it is asked for."""

    def __init__(self, request: Message, node: str) -> None:
        self._request = request
        self._docs: DocumentArray | None = None
        self.parameters: dict[str, Any] = {}
        groups: dict[str, list[DocumentArray]] = {}
        sieve = Sieve(request) if WHEN in request.extra else None
        for item in request.parts:
            if item.kind == DOCUMENTS:
                documents = decode_documents(item.buffers())
                groups.setdefault(item.label, []).append(sieve.pass_through(documents) if sieve else documents)
            elif item.kind == PARAMETERS:
                parameters = decode_map(item.buffers()[0])
                self.parameters = parameters_for(parameters, node, request.extra.get("nodes") or ())
        # shards of one node are one branch; each branch is what one of the needs made
        self.docs_map = {
            label: arrays[0] if len(arrays) == 1 else reduce_all(arrays) for label, arrays in groups.items()
        }
        self.docs_matrix = list(self.docs_map.values())
        self.is_for_others = sieve is not None and sieve.has_kept_all_back

    @property
    def docs(self) -> DocumentArray:
        """The documents of all branches: reduced by id, unless the request says otherwise."""
        if self._docs is None:
            if len(self.docs_matrix) == 1:
                self._docs = self.docs_matrix[0]
            elif self._request.flags & NO_REDUCE:
                self._docs = concatenate(self.docs_matrix)
            else:
                self._docs = reduce_all(self.docs_matrix)
        return self._docs

    def passed_by(self) -> Message:
        """The REPLY where nothing is called: the documents that this Executor may see, branch by branch."""
        parts = [part(DOCUMENTS, label, encode_documents(documents)) for label, documents in self.docs_map.items()]
        return Message(Kind.REPLY, self._request.call_id, parts=parts)

    def arguments(self, wants: Iterable[str]) -> dict[str, Any]:
        """The keyword arguments that an endpoint takes."""
        return {name: getattr(self, name) for name in wants}


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


def _interpret(returned: Any, given: DocumentArray, endpoint: Endpoint) -> tuple[DocumentArray, dict[str, Any] | None]:
    if returned is None:
        return given, None
    if isinstance(returned, DocumentArray):
        return returned, None
    if isinstance(returned, dict):
        return given, returned
    if isinstance(returned, Document):
        return DocumentArray([returned]), None
    if isinstance(returned, (list, tuple)) and all(isinstance(item, Document) for item in returned):
        return DocumentArray(returned), None
    raise TypeError(
        f"{endpoint.function.__qualname__} (endpoint {endpoint.name}) returned {type(returned).__name__}; "
        "return a DocumentArray, a Document, a dict of results, or None to keep the documents as they are"
    )


def _pass_through(request: Message) -> Message:
    """Nothing here answers this endpoint: the documents go on, unopened."""
    return Message(Kind.REPLY, request.call_id, parts=[item for item in request.parts if item.kind == DOCUMENTS])


def _users_frames(error: BaseException) -> Any:
    """The traceback from the user's code on: our own frames above it, and those of the event loop, help nobody."""
    start = error.__traceback__
    while start is not None and start.tb_next is not None and _is_ours(start.tb_frame.f_globals.get("__name__", "")):
        start = start.tb_next
    return start


def _is_ours(module: str) -> bool:
    return module == __name__ or module.partition(".")[0] == "asyncio"


async def _end_tasks() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
