"""What `post` means, whoever posts: requests cut from the inputs, callbacks called, answers gathered, errors raised.

One `Posting` is one `post`. It decides and gathers; who owns it (a Client, a Flow) moves its requests and outcomes.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from zflow.documents.document_array import DocumentArray
from zflow.documents.reduce import concatenate
from zflow.drivers.identity import new_id
from zflow.endpoints import endpoint_problem
from zflow.errors import CallbackError, InvalidRequest, ProtocolError, ZflowError
from zflow.inputs import count_of
from zflow.progress import Progress
from zflow.response import Response, read
from zflow.roles.caller import Caller
from zflow.wire.frames import DOCUMENTS, PARAMETERS, Part, part
from zflow.wire.header import Kind, Message, is_endpoint
from zflow.wire.payload import encode_documents, encode_map
from zflow.wire.pieces import apart

PREFETCH = 64
ITEMS = 128  # pieces of a streamed answer that may be on their way; with 64 a fast reader got a quarter fewer
REQUEST_SIZE = 100
_FOR_EVER = 1e9  # seconds: thirty years

Callback = Callable[..., Any]

logger = logging.getLogger("zflow")


class Posting:
    """One `post`: see `zflow.client.Client.post` for its arguments."""

    def __init__(
        self,
        on: str,
        inputs: Any,
        *,
        on_done: Callback | None = None,
        on_error: Callback | None = None,
        on_always: Callback | None = None,
        parameters: dict[str, Any] | None = None,
        target_executor: str | None = None,
        show_progress: bool = False,
        continue_on_error: bool = False,
        return_responses: bool = False,
        results_in_order: bool = False,
        prefetch: int = PREFETCH,
        timeout: float | None = None,
        items: int | None = None,
    ) -> None:
        if not isinstance(on, str) or not is_endpoint(on):
            raise InvalidRequest(endpoint_problem(on))
        self._on = on
        self._parameters = _parameters(parameters)
        self._shared_parts = [part(PARAMETERS, "", [encode_map(self._parameters)])] if self._parameters else []
        self._on_done = _callback("on_done", on_done)
        self._on_error = _callback("on_error", on_error)
        self._on_always = _callback("on_always", on_always)
        self._continue_on_error = continue_on_error
        self._return_responses = return_responses
        self._responses: list[Response] = []
        self._progress = Progress(f"POST {on or '/'}", count_of(inputs)) if show_progress else None
        self.caller: Caller[DocumentArray] = Caller(
            new_id=new_id,
            endpoint=on,
            window=window(prefetch),
            timeout=_seconds(timeout),
            in_order=results_in_order,
            extra={"!target": target_executor} if target_executor else None,
            items=items,
        )

    def request(self, documents: DocumentArray) -> Message:
        """The REQUEST for one batch."""
        parts: list[Part] = [part(DOCUMENTS, "gateway", encode_documents(documents)), *self._shared_parts]
        return self.caller.ask(documents, parts)

    def settle(self, outcome: Message) -> Iterator[Response]:
        """`outcome` came: the Responses that are complete now, their callbacks called.

        Raises what ends the post: an error that nobody handles, or a callback's.
        """
        for asked, answer in self.caller.settle(outcome):
            response = self._read(asked, answer)
            if self._progress is not None:
                self._progress.advance(len(asked))
            error = response.error
            if response.missing:
                told = ", ".join(f"{name} ({why})" for name, why in response.missing.items())
                logger.warning("request %s was answered without %s", response.request_id, told)
            if error is None:
                if self._on_done is not None:
                    self._tell(self._on_done, response, None)
            elif self._on_error is not None:
                self._tell(self._on_error, response, error)
            elif self._continue_on_error:
                logger.error("request %s failed: %s", response.request_id, error)
            if self._on_always is not None:
                self._tell(self._on_always, response, error)
            if error is not None and self._on_error is None and not self._continue_on_error:
                raise error
            yield response

    def pieces(self, said: Message) -> Iterator[tuple[Response, Message | None]]:
        """What a PARTIAL or an outcome brings, and the MORE to be sent when it has been taken. Raises the error."""
        if said.kind is Kind.PARTIAL:
            for piece in apart(said):
                taken = self.caller.take(piece)
                if taken is not None:
                    asked, more = taken
                    yield self._read_or_raise(asked, piece), more
            return
        for asked, answer in self.caller.settle(said):
            response = self._read_or_raise(asked, answer)
            if len(response.docs) or response.results:  # what came in pieces is not told again
                yield response, None

    def items(self, response: Response) -> Iterator[Any]:
        """What iterating over a streamed answer gives for `response`."""
        return iter((response,)) if self._return_responses else iter(response.docs)

    def keep(self, response: Response) -> None:
        """`response` is part of what `result` returns."""
        if self._is_collecting:
            self._responses.append(response)

    def result(self) -> Any:
        """What `post` returns: the documents of the answers, the Responses where asked for, None with callbacks."""
        if not self._is_collecting:
            return None
        if self._return_responses:
            return self._responses
        return concatenate([item.docs for item in self._responses if item.error is None])

    def value(self, response: Response) -> Any:
        """What an asynchronous iteration gives for `response`."""
        return response if self._return_responses else response.docs

    def finish(self) -> None:
        """Whatever came of it, it is over."""
        if self._progress is not None:
            self._progress.close()

    @property
    def _is_collecting(self) -> bool:
        return self._on_done is None and self._on_always is None

    def _read(self, asked: DocumentArray, answer: Message) -> Response:
        try:
            return read(answer, asked, self._parameters, self._on)
        except ProtocolError as error:
            nonsense = ProtocolError(f"the answer cannot be read: {error}", maybe_executed=True)
            return Response(asked, self._parameters, error=nonsense, call_id=answer.call_id, endpoint=self._on)

    def _read_or_raise(self, asked: DocumentArray, answer: Message) -> Response:
        response = self._read(asked, answer)
        if response.error is not None:
            raise response.error
        return response

    def _tell(self, callback: Callback, response: Response, error: ZflowError | None) -> None:
        try:
            callback(*(response, error)[: _arity(callback)])
        except Exception as raised:
            if not self._continue_on_error:
                name = getattr(callback, "__name__", repr(callback))
                raise CallbackError(f"the callback {name} raised {raised!r}") from raised
            logger.exception("a callback raised; going on, as continue_on_error says")


def _arity(callback: Callback) -> int:
    """How many of (response, exception) `callback` accepts."""
    try:
        parameters = inspect.signature(callback).parameters.values()
    except (TypeError, ValueError):  # a builtin that does not tell, such as print
        return 1
    positional = [item for item in parameters if item.kind in (item.POSITIONAL_ONLY, item.POSITIONAL_OR_KEYWORD)]
    if any(item.kind is item.VAR_POSITIONAL for item in parameters):
        return 2
    return min(2, len(positional))


def _callback(name: str, callback: Any) -> Callback | None:
    if callback is not None and not callable(callback):
        raise InvalidRequest(f"{name}: expected a function, got {callback!r:.80}")
    if inspect.iscoroutinefunction(callback):
        raise InvalidRequest(f"{name}: {callback.__qualname__} must not be async: nobody would await it")
    return callback  # type: ignore[no-any-return]


def _parameters(parameters: Any) -> dict[str, Any]:
    if parameters is not None and not isinstance(parameters, Mapping):
        raise InvalidRequest(f"parameters: expected a dict, got {parameters!r:.80}")
    return dict(parameters or ())


def window(prefetch: int) -> int:
    """`prefetch`, which must be a number that makes sense. Raises InvalidRequest."""
    if isinstance(prefetch, bool) or not isinstance(prefetch, int) or prefetch < 1:
        raise InvalidRequest(f"prefetch: expected a whole number of at least 1, got {prefetch!r}")
    return prefetch


def _seconds(timeout: float | None) -> float | None:
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not timeout > 0:
        raise InvalidRequest(f"timeout: expected a positive number of seconds, got {timeout!r}")
    return None if timeout >= _FOR_EVER else float(timeout)
