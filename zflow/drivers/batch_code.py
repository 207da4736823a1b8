"""The local link "executor" of a worker that batches: a Batch of requests in as few calls as its rule allows.

Each request of a batch has an outcome of its own. What cannot be read, or cannot travel back, fails alone. An
exception fails the requests whose Documents that call had. A call gets a full batch at the most: what is more is cut
where one is full, and each request's Documents are put together again. A request is opened when it comes, to be
weighed, and not between two calls, where all the others would wait for that.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, SupportsFloat

from zflow.batching import Batching
from zflow.documents.document_array import DocumentArray
from zflow.documents.reduce import concatenate, divide
from zflow.drivers.invocation import Call, pass_through
from zflow.drivers.note import Note
from zflow.drivers.running import note
from zflow.drivers.user_code import Remark, Report, UserCode, unheard
from zflow.endpoints import Endpoint
from zflow.errors import Cancelled, ExecutorError, InvalidDocument, InvalidRequest, ProtocolError
from zflow.executor import Executor
from zflow.roles.contract import Batch, Owed, failure
from zflow.wire.frames import Buffer
from zflow.wire.header import Kind, Message
from zflow.wire.payload import encoder_of_rows, is_lasting

_ALONE = frozenset({"docs", "docs_matrix", "docs_map"})  # what the whole batch has in another form, or not at all

Metric = Callable[[Any], float]


def local_end(
    executor: Executor, *, name: str, report: Report, remark: Remark = unheard, noted: Note | None = None
) -> UserCode:
    """What runs the requests that the worker role of `executor` hands out."""
    batches = any(endpoint.batching for endpoint in Executor.endpoints(executor).values())
    return (BatchCode if batches else UserCode)(executor, name=name, report=report, remark=remark, noted=noted)


class BatchCode(UserCode):
    """Runs a Batch as one, and any other request as UserCode does."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        endpoints = Executor.endpoints(self._executor).values()
        metrics = [endpoint.batching.metric for endpoint in endpoints if endpoint.batching is not None]
        self.has_porter = metrics.count(None) == len(metrics)  # a metric is user code, and is never called beside it
        self._members: list[_Member] = []  # of the call that is under way

    def __call__(self, message: Message) -> Message | None:
        """The outcome of a request, as UserCode has it; of a Batch, a Batch of outcomes."""
        return self._note_batch(message) if isinstance(message, Batch) else super().__call__(message)

    def _note_batch(self, batch: Batch) -> Batch:
        noted = self._noted
        if noted is None:
            return self._run_batch(batch)
        noted.runs(b"".join([request.call_id for request in batch.members]))
        outcomes = self._run_batch(batch)
        noted.rests()
        return outcomes

    def _run_batch(self, batch: Batch) -> Batch:
        endpoint = Executor.endpoint(self._executor, batch.members[0].endpoint)
        assert endpoint is not None and endpoint.batching is not None
        members = [request.opened or self._opened(request, endpoint) for request in batch.members]
        self._members = [member for member in members if member.outcome is None]
        budgets = [request.budget for request in batch.members if request.budget is not None]
        is_watched = len(budgets) == len(batch.members)
        if is_watched:
            self._watchdog.watch(max(budgets))
        note(*(member.request for member in self._members))
        try:
            self._run_together(endpoint.batching, self._members)
        finally:
            self._members = []
            note()
            if is_watched:
                self._watchdog.rest()
        return Batch([member.outcome or self._tell(member) for member in members])

    def _opened(self, request: Message, endpoint: Endpoint) -> _Member:
        """`request`, decoded and weighed; what is wrong with it is its outcome, and so is that it is for others."""
        assert endpoint.batching is not None
        member = _Member(request, self._node(request))
        try:
            member.call = Call(request, endpoint, self._name, member.node)
            member.is_alone = member.call.is_for_others
            if member.is_alone:
                member.outcome = pass_through(request)
            else:
                member.weigh(endpoint.batching.metric)
        except (ProtocolError, InvalidDocument, InvalidRequest) as error:
            member.is_alone = True
            member.outcome = self._unreadable(request, member.node, error)
        except Exception as error:  # of the user's metric
            self._fail([member], error)
        return member

    def _run_together(self, batching: Batching, members: Sequence[_Member]) -> None:
        is_first = True
        for docs, shares in _calls(
            members, math.inf if batching.flush_all else batching.preferred_batch_size or math.inf
        ):
            if not is_first:
                self._look()  # somebody may have given up while the call before was running
            is_first = False
            if all(member.is_settled for member, _ in shares):
                continue  # nobody waits for it any more
            try:
                made = self._run_call(members[0].call, docs)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # also an inner task's CancelledError, which is no Exception
                self._fail([member for member, _ in shares], error)
            else:
                self._share_out(made, shares)

    def _share_out(self, made: DocumentArray, shares: Sequence[tuple[_Member, int]]) -> None:
        """Answer those whose Documents are all among `made`, and keep the others' until the rest of them is made."""
        encode, may_be_later = encoder_of_rows(made), is_lasting(made)
        start = 0
        for member, count in shares:
            stop = start + count
            if count < len(member.costs):
                member.made.append(made[start:stop])
            elif member.outcome is None:
                make = partial(self._reply, member, encode, start, stop)
                member.outcome = Owed(member.request.call_id, make) if may_be_later else make()
            start = stop

    def _reply(self, member: _Member, encode: Callable[[int, int], list[Buffer]], start: int, stop: int) -> Message:
        """The REPLY to a member, or the FAILURE to make one. Of texts alone it is made when it is sent, while the next
        batch runs."""
        try:
            return member.call.reply(encode(start, stop))
        except Exception as error:  # it cannot travel
            self._report(error)
            return failure(member.request.call_id, member.call.error(error))

    def _run_call(self, call: Call, docs: DocumentArray) -> DocumentArray:
        """What the method of `call`, which has parameters for all, makes of `docs`: one Document of each."""
        count = len(docs)
        arguments = {name: getattr(call, name) for name in call.endpoint.wants - _ALONE}
        returned = self._invoke(call, {"docs": docs, **arguments})
        if inspect.iscoroutine(returned):
            returned = self._event_loop().wait_for(returned)
        documents, results = call.made_of(returned, docs)
        if results is not None:
            raise TypeError(
                f"{call.who} returned a dict, and with dynamic batching a call has the Documents of several requests; "
                "write into the Documents' tags, or switch batching off with use_dynamic_batching=False"
            )
        if len(documents) != count:
            raise ValueError(
                f"{call.who} was given {count} Documents and made {len(documents)} of them; with dynamic batching "
                "there is one for each, in the same order"
            )
        return documents

    def _tell(self, member: _Member) -> Message:
        """The REPLY to a member, unless its Documents were not made because it was given up, or cannot travel."""
        if sum(map(len, member.made)) < len(member.costs):
            gone = Cancelled(f"{member.node}: cancelled while it ran", node=member.node, maybe_executed=True)
            return failure(member.request.call_id, gone)
        try:
            return member.call.message(Kind.REPLY, (concatenate(member.made), None))
        except Exception as error:
            self._fail([member], error)
            assert member.outcome is not None
            return member.outcome

    def _fail(self, members: Sequence[_Member], error: BaseException) -> None:
        """`error` is the outcome of those of `members` that have none yet."""
        self._report(error)
        told: dict[str, ExecutorError] = {}
        for member in members:
            if member.outcome is None:
                if member.node not in told:
                    told[member.node] = member.call.error(error)
                member.outcome = failure(member.request.call_id, told[member.node])

    # -- before it runs ----------------------------------------------------------------------------------------------

    def weigh(self, request: Message) -> float | None:
        """Open `request`, which will run in a batch: what it costs. None where it has nothing to be put together.

        What the user's metric cannot measure makes a full batch, so that its caller is told at once; what cannot be
        read, or is for others, has no need of company to be told.
        """
        endpoint = Executor.endpoint(self._executor, request.endpoint)
        assert endpoint is not None and endpoint.batching is not None
        member = self._opened(request, endpoint)
        if member.is_alone or not (member.costs or member.outcome):
            return None
        request.opened = member
        return sum(member.costs) if member.outcome is None else endpoint.batching.preferred_batch_size or 1

    # -- while it runs -----------------------------------------------------------------------------------------------

    def _give_up(self, call_id: bytes) -> None:
        for member in self._members:
            if member.request.call_id == call_id:
                member.is_given_up = True
                return
        super()._give_up(call_id)

    def _is_cancelled(self) -> bool:
        """Of a batch: whether nobody waits any more for any request of it."""
        if not self._members:
            return super()._is_cancelled()
        self._look()
        return all(member.is_settled for member in self._members)


class _Member:
    """One request of a batch. costs: of its Documents. made: of them, call by call. outcome: once it is known.

    is_alone: it has nothing to be put together with what others have.
    """

    call: Call

    def __init__(self, request: Message, node: str) -> None:
        self.request = request
        self.node = node
        self.costs: Sequence[float] = ()
        self.made: list[DocumentArray] = []
        self.outcome: Message | None = None
        self.is_alone = False
        self.is_given_up = False

    @property
    def is_settled(self) -> bool:
        """Whether nothing more needs to be done for it."""
        return self.is_given_up or self.outcome is not None

    def weigh(self, metric: Metric | None) -> None:
        """Find out what its Documents cost."""
        docs = self.call.docs
        self.costs = [1] * len(docs) if metric is None else _measured(metric, docs)


def _measured(metric: Metric, docs: DocumentArray) -> list[float]:
    costs = []
    for document in docs:
        found: object = metric(document)
        cost = float(found) if isinstance(found, SupportsFloat) else math.nan
        if not 0 <= cost < math.inf:
            told = f"the custom_metric of dynamic batching made {found!r} of a Document"
            raise ValueError(f"{told}; a number from 0 is due")
        costs.append(cost)
    return costs


def _calls(members: Sequence[_Member], limit: float) -> Iterator[tuple[DocumentArray, list[tuple[_Member, int]]]]:
    """The Documents of each call that is to be made, and how many of them are whose.

    None costs more than `limit`, unless it has only one Document.
    """
    docs = concatenate([member.call.docs for member in members])
    if sum([sum(member.costs) for member in members]) <= limit:  # the usual one
        if docs:
            yield docs, [(member, len(member.costs)) for member in members if member.costs]
        return
    sizes = _sizes_of_calls([cost for member in members for cost in member.costs], limit)
    start = 0
    for some, size in zip(divide(docs, sizes), sizes):
        yield some, _shares(members, start, start + size)
        start += size


def _sizes_of_calls(costs: Sequence[float], limit: float) -> list[int]:
    """How many Documents each call gets, so that none costs more than `limit` unless it has only one."""
    sizes: list[int] = []
    room = 0.0
    for cost in costs:
        if cost > room or not sizes:
            sizes.append(0)
            room = limit
        sizes[-1] += 1
        room -= cost
    return sizes


def _shares(members: Sequence[_Member], start: int, stop: int) -> list[tuple[_Member, int]]:
    """Whose Documents are those from `start` to before `stop`, and how many of each."""
    shares = []
    at = 0
    for member in members:
        count = min(stop, at + len(member.costs)) - max(start, at)
        at += len(member.costs)
        if count > 0:
            shares.append((member, count))
    return shares
