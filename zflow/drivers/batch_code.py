"""The local link "executor" of a worker that batches: a Batch of requests in as few calls as its rule allows.

Each request of a batch has an outcome of its own. What cannot be read, or cannot travel back, fails alone. An
exception fails the requests whose Documents that call had. A call gets a full batch at the most: what is more is cut
where one is full, and each request's Documents are put together again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, SupportsFloat

from zflow.batching import Batching
from zflow.documents.document_array import DocumentArray
from zflow.documents.reduce import concatenate, divide
from zflow.drivers.user_code import Report, UserCode, _Call, _interpret
from zflow.endpoints import Endpoint
from zflow.errors import ExecutorError, InvalidDocument, InvalidRequest, ProtocolError
from zflow.executor import Executor
from zflow.roles.batching import Weigh
from zflow.roles.contract import Batch, failure
from zflow.wire.header import Message

_ALONE = frozenset({"docs", "docs_matrix", "docs_map"})  # what the whole batch has in another form, or not at all
_COSTS = "costs"  # of a request's Documents, noted in its `extra` when it was weighed

Metric = Callable[[Any], float]


def local_end(executor: Executor, *, name: str, report: Report) -> UserCode:
    """What runs the requests that the worker role of `executor` hands out."""
    batches = any(endpoint.batching for endpoint in Executor.endpoints(executor).values())
    return (BatchCode if batches else UserCode)(executor, name=name, report=report)


class BatchCode(UserCode):
    """Runs a Batch as one, and any other request as UserCode does."""

    def __call__(self, request: Message) -> Message:
        """The outcome of `request`; of a Batch, a Batch of outcomes."""
        if not isinstance(request, Batch):
            return super().__call__(request)
        endpoint = Executor.endpoint(self._executor, request.members[0].endpoint)
        assert endpoint is not None and endpoint.batching is not None
        members = [_Member(message, self._node(message)) for message in request.members]
        for member in members:
            self._open(member, endpoint.batching)
        self._run_together(endpoint, endpoint.batching, [member for member in members if member.outcome is None])
        return Batch([member.outcome or self._tell(member) for member in members])

    def _node(self, request: Message) -> str:
        return str(request.extra.get("node") or self._name.partition("/")[0])

    def _open(self, member: _Member, batching: Batching) -> None:
        """Decode what a member brings; what is wrong with it is its outcome."""
        try:
            member.open(batching.metric)
        except (ProtocolError, InvalidDocument) as error:
            invalid = InvalidRequest(f"{member.node}: {error}", node=member.node, peer=self._name)
            member.outcome = failure(member.request.call_id, invalid, not_started=True)
        except Exception as error:  # of the user's metric
            self._fail([member], error)

    def _run_together(self, endpoint: Endpoint, batching: Batching, members: Sequence[_Member]) -> None:
        if not members:
            return
        limit = math.inf if batching.flush_all else batching.preferred_batch_size or math.inf
        sizes = _sizes_of_calls([cost for member in members for cost in member.costs], limit)
        arguments = members[0].call.arguments(endpoint.wants - _ALONE)
        start = 0
        for docs, size in zip(divide(concatenate([member.docs for member in members]), sizes), sizes):
            shares = _shares(members, start, start + size)
            start += size
            if all(member.outcome is not None for member, _ in shares):
                continue  # nobody waits for it any more
            try:
                made = divide(self._call(endpoint, docs, arguments), [count for _, count in shares])
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as error:  # also an inner task's CancelledError, which is no Exception
                self._fail([member for member, _ in shares], error)
            else:
                for (member, _), documents in zip(shares, made):
                    member.made.append(documents)

    def _call(self, endpoint: Endpoint, docs: DocumentArray, arguments: Mapping[str, Any]) -> DocumentArray:
        """What the method makes of `docs`: one Document of each."""
        count = len(docs)
        returned = self._invoke(endpoint, {"docs": docs, **arguments})
        documents, results = _interpret(returned, docs, endpoint)
        where = f"{endpoint.function.__qualname__} (endpoint {endpoint.name})"
        if results is not None:
            raise TypeError(
                f"{where} returned a dict, and with dynamic batching a call has the Documents of several requests; "
                "write into the Documents' tags, or switch batching off with use_dynamic_batching=False"
            )
        if len(documents) != count:
            raise ValueError(
                f"{where} was given {count} Documents and made {len(documents)} of them; with dynamic batching "
                "there is one for each, in the same order"
            )
        return documents

    def _tell(self, member: _Member) -> Message:
        """The REPLY to a member whose Documents were made, unless they cannot travel."""
        try:
            return self._reply(member.request, member.node, concatenate(member.made), None)
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
                    told[member.node] = self._executor_error(error, member.node)
                member.outcome = failure(member.request.call_id, told[member.node])


class _Member:
    """One request of a batch. costs: of its Documents. made: of them, call by call. outcome: once it is known."""

    def __init__(self, request: Message, node: str) -> None:
        self.request = request
        self.node = node
        self.made: list[DocumentArray] = []
        self.outcome: Message | None = None

    def open(self, metric: Metric | None) -> None:
        self.call = _Call(self.request, self.node)
        self.docs = self.call.docs
        self.costs: Sequence[float] = [1] * len(self.docs)
        if metric is not None:
            self.costs = self.request.extra.get(_COSTS) or _measured(metric, self.docs)


def weigh_by(metric: Metric, full: float) -> Weigh:
    """Weighs a request by what `metric` says of its Documents. What it cannot measure makes a `full` batch, so that it
    is run at once, and its caller told."""

    def weigh(request: Message) -> float | None:
        request.extra.pop(_COSTS, None)
        try:
            costs = _measured(metric, _Call(request, "").docs)
        except ProtocolError:
            raise
        except Exception:
            return full if math.isfinite(full) else 1.0
        request.extra[_COSTS] = costs
        return sum(costs) if costs else None

    return weigh


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
