"""Who can post: the methods that Client and Flow share. What a post means is in posting.py; here it is done, inline."""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic as clock
from typing import Any

from zflow.drivers.inline import Lane, Lanes
from zflow.errors import ConfigError, nearest
from zflow.inputs import Inputs, batches
from zflow.posting import ITEMS, PREFETCH, REQUEST_SIZE, Callback, Posting, window

_SLOW = 0.001  # seconds; inputs that take longer to make let the answers that have come meanwhile go first


class Asker:
    """What posts and waits: safe to use from several threads at once."""

    def _lanes(self) -> Lanes:
        """The pool of lanes to post on; raises when nothing is open."""
        raise NotImplementedError

    def _default_prefetch(self) -> int:
        return PREFETCH

    def _perform(self, posting: Posting, inputs: Inputs, request_size: int) -> Any:
        """Carry out `posting`, here on the calling thread, and give what `post` returns."""
        lanes = self._lanes()
        lane = lanes.take()
        try:
            fault = _exchange(lane, posting, inputs, request_size)
        except BaseException:
            lanes.drop(lane)
            raise
        finally:
            posting.finish()
        lanes.give_back(lane)
        if fault is not None:
            raise fault
        return posting.result()

    def post(
        self,
        on: str = "/",
        inputs: Inputs = None,
        on_done: Callback | None = None,
        on_error: Callback | None = None,
        on_always: Callback | None = None,
        parameters: dict[str, Any] | None = None,
        target_executor: str | None = None,
        request_size: int = REQUEST_SIZE,
        show_progress: bool = False,
        continue_on_error: bool = False,
        return_responses: bool = False,
        results_in_order: bool = False,
        prefetch: int | None = None,
        timeout: float | None = None,
        **options: Any,
    ) -> Any:
        """Send `inputs` to the endpoint `on` and wait for the answers.

        on: an endpoint; one that an Executor does not name goes to its default method, as does ``''``.
        inputs: None, one Document or anything that makes one, or an iterable of them; read lazily.
        on_done, on_error, on_always: called per request with as many of ``(response, exception)`` as they accept.
        parameters: plain data; ``name__key``, or a dict under an Executor's name, reaches only that Executor.
        target_executor: a simple pattern; only Executors whose name it matches are asked, others are passed by.
        request_size: Documents per request; 0 or less puts all of them into one.
        show_progress: draw a progress bar on stderr, if that is a terminal; rich draws a finer one, if it is installed.
        continue_on_error: log a failed request and go on; its Documents are not in the result.
        return_responses: return `Response` objects instead of Documents.
        results_in_order: answers in the order of the inputs instead of that of their completion.
        prefetch: requests that may be on their way at once (64).
        timeout: seconds that each request may take, None for no limit.

        Returns a DocumentArray (or a list of Responses); None when `on_done` or `on_always` is given.

        Raises ExecutorError, Unavailable, DeadlineExceeded or another RemoteError when a request fails and there is
        neither `on_error` nor `continue_on_error`; CallbackError when a callback raises.

        An asynchronous Client or Flow returns at once what can be awaited for the result or, with ``async for``,
        iterated over for the documents of each request as it is answered; `inputs` may be an async generator there.
        """
        _refuse_unknown(options)
        posting = Posting(
            on,
            inputs,
            on_done=on_done,
            on_error=on_error,
            on_always=on_always,
            parameters=parameters,
            target_executor=target_executor,
            show_progress=show_progress,
            continue_on_error=continue_on_error,
            return_responses=return_responses,
            results_in_order=results_in_order,
            prefetch=self._default_prefetch() if prefetch is None else prefetch,
            timeout=timeout,
        )
        return self._perform(posting, inputs, request_size)

    def stream(
        self,
        on: str = "/",
        inputs: Inputs = None,
        parameters: dict[str, Any] | None = None,
        target_executor: str | None = None,
        request_size: int = REQUEST_SIZE,
        return_responses: bool = False,
        prefetch: int = ITEMS,
        timeout: float | None = None,
        **options: Any,
    ) -> Any:
        """Send `inputs` to the endpoint `on` and iterate over the Documents of the answer as they are made.

        The method that answers is one that yields, of the Flow's last Executor; what other Executors make is whole when
        the next one begins. A method that does not yield gives its Documents when it returns.

        prefetch: pieces that may be on their way (128): a generator runs so far ahead of a slow reader, and no further.
        timeout: seconds that each request may take as a whole. return_responses: iterate over `Response` objects
        instead, one for each thing that was yielded, with `results` where that was a dict. Inputs of more than one
        request are asked one after the other. The other arguments are those of `post`.

        Leaving the iterator (``break``, ``close()``) stops the generator within one item. Raises what `post` raises,
        when it comes to it. An asynchronous Client or Flow returns an asynchronous iterator.
        """
        for name in options:
            raise ConfigError(f"stream has no option {name!r}: {nearest(name, _KNOWN_BY_STREAM)}")
        posting = Posting(
            on,
            inputs,
            parameters=parameters,
            target_executor=target_executor,
            return_responses=return_responses,
            prefetch=1,
            timeout=timeout,
            items=window(prefetch),
        )
        return self._perform_in_pieces(posting, inputs, request_size)

    def _perform_in_pieces(self, posting: Posting, inputs: Inputs, request_size: int) -> Any:
        """Carry out `posting` on the calling thread, whenever the iterator that this returns is asked for more."""
        return _in_pieces(self, self._lanes(), posting, inputs, request_size)

    def index(self, inputs: Inputs = None, **options: Any) -> Any:
        """`post` to ``/index``."""
        return self.post("/index", inputs, **options)

    def search(self, inputs: Inputs = None, **options: Any) -> Any:
        """`post` to ``/search``."""
        return self.post("/search", inputs, **options)

    def update(self, inputs: Inputs = None, **options: Any) -> Any:
        """`post` to ``/update``."""
        return self.post("/update", inputs, **options)

    def delete(self, inputs: Inputs = None, **options: Any) -> Any:
        """`post` to ``/delete``."""
        return self.post("/delete", inputs, **options)


def _exchange(lane: Lane, posting: Posting, inputs: Inputs, request_size: int) -> Exception | None:
    """Ask and answer until all is settled, or something ends it: then what is open is cancelled.

    What user code raises (a generator of inputs, a callback) is returned rather than raised, because the lane is
    sound and its connections can be used again.
    """
    caller = posting.caller
    waiting = batches(inputs, request_size)
    is_more = True
    try:
        while is_more or caller.is_waiting:
            is_slow = False
            while is_more and caller.may_ask and not is_slow:
                began = clock()
                batch = next(waiting, None)
                is_more = batch is not None
                if batch is not None:
                    lane.ask(posting.request(batch))
                is_slow = clock() - began > _SLOW
            if caller.is_waiting:
                for outcome in lane.answers(until=0.0 if is_more and is_slow else None):
                    for response in posting.settle(outcome):
                        posting.keep(response)
        return None
    except Exception as fault:
        waiting.close()  # a generator of the user's ends now, not when the exception is forgotten
        for cancel in caller.cancel():
            lane.ask(cancel)
        return fault


def _in_pieces(owner: object, lanes: Lanes, posting: Posting, inputs: Inputs, request_size: int) -> Iterator[Any]:
    """Ask, and give what comes as it comes. A reader who leaves cancels what is open; the lane can be used again.

    owner: who closes the lanes when nobody holds it any more, and so must live as long as the iterator.
    """
    lane = lanes.take()
    waiting = batches(inputs, request_size)
    is_sound = False
    try:
        for batch in waiting:
            lane.ask(posting.request(batch))
            while posting.caller.is_waiting:
                for said in lane.answers():
                    for response, more in posting.pieces(said):
                        yield from posting.items(response)
                        if more is not None:
                            lane.ask(more)
        is_sound = True
    except (Exception, GeneratorExit):
        is_sound = True
        raise
    finally:
        waiting.close()
        if is_sound:
            for cancel in posting.caller.cancel():
                lane.ask(cancel)
            lanes.give_back(lane)
        else:
            lanes.drop(lane)


_KNOWN = tuple(name for name in Asker.post.__annotations__ if name not in ("options", "return"))
_KNOWN_BY_STREAM = tuple(name for name in Asker.stream.__annotations__ if name not in ("options", "return"))
_WITHOUT_EFFECT = {"return_results"}  # documents are what post returns anyway


def _refuse_unknown(options: dict[str, Any]) -> None:
    for name in options.keys() - _WITHOUT_EFFECT:
        raise ConfigError(f"post has no option {name!r}: {nearest(name, _KNOWN)}")
