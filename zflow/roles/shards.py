"""Asks the shards of one node, each by a head of its own, and answers for all of them as one head would.

Six rules:

1. A request goes to every shard or to exactly one, as the polling of its endpoint says: then to the one with the least
   to do, in turns among equals, so that what is indexed is spread evenly; one that nobody serves now comes last.
2. All shards are sent the same payload, unopened and by reference. So are their answers handed on, side by side: parts
   with the node's label and each with its shard's number, for whoever decodes them to reduce.
3. The first failure ends the request, cancels what the other shards do, and is told. Where a partial answer is allowed,
   only the failure of all does; else the answer names the shards that it lacks.
4. Before the shards there may be an Executor that makes what they get, and behind them one that makes the answer of
   what they made: it sees each shard's documents as a branch of its own.
5. An answer in pieces is handed on as it comes if it is made in one place: by the Executor behind the shards, or by the
   one shard that was asked. Pieces of several would be no answer: a document is whole when all shards have had it.
6. Waiting, retries and deadlines are the heads' business. What one shard refused to begin may go to another, if one
   was to be asked anyhow.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any

from zflow.errors import Cancelled, InvalidRequest, RemoteError, ResourceExhausted, Unavailable
from zflow.roles.call import RETRIES
from zflow.roles.contract import Link, Steps, failure
from zflow.roles.head import Head
from zflow.roles.liveness import GREETED, READY, Neighbour
from zflow.wire.frames import DOCUMENTS, PARAMETERS, RESULTS, Part, excess
from zflow.wire.header import MAYBE_EXECUTED, NOT_STARTED, Kind, Message
from zflow.wire.pieces import ASKS_FOR_PIECES

_UP = "shards"  # the origin that the heads inside answer to
_FOR_ALL_STAGES = ("node", "nodes", "request")  # of the extra; the rest is about the documents as they came
_RETRYABLE = (Unavailable.code, ResourceExhausted.code)


class _Stop:
    """Where a request stops on its way: a head, and what it is working on.

    shard: its number in parts; None where there is one only. working: the calls that have no outcome yet, by id.
    """

    __slots__ = ("head", "shard", "working")

    def __init__(self, head: Head, shard: int | None = None) -> None:
        self.head = head
        self.shard = shard
        self.working: dict[bytes, _Call] = {}

    @property
    def is_served(self) -> bool:
        """Whether a request could begin here, now or as soon as a greeting is answered."""
        return any(neighbour.state in (READY, GREETED) for neighbour in self.head.neighbours)


class _Call:
    """A request on its way. origin: who waits for its outcome.

    asked: the stops of the present stage; left: how many of them have no outcome; given: the payload and the extra that
    they were sent. answers, failures: the outcomes of those that have. tried: shards that refused it. results, extra:
    of the answers so far. may_have_run: whether an endpoint has run for it, or may have. is_begun: whether a piece of
    the answer was handed on.
    """

    __slots__ = (
        "origin",
        "request",
        "deadline",
        "asked",
        "left",
        "given",
        "answers",
        "failures",
        "tried",
        "results",
        "extra",
        "may_have_run",
        "is_begun",
    )

    def __init__(self, origin: Link, request: Message, deadline: float | None) -> None:
        self.origin = origin
        self.request = request
        self.deadline = deadline
        self.asked: Sequence[_Stop] = ()
        self.left = 0
        self.given: tuple[Sequence[Part], Mapping[str, Any]] = ((), {})
        self.answers: dict[_Stop, list[Part]] = {}
        self.failures: dict[_Stop, Message] = {}
        self.tried: tuple[_Stop, ...] = ()
        self.results: list[Part] = []
        self.extra: dict[str, Any] = {}
        self.may_have_run = False
        self.is_begun = False


class Shards:
    """A role with the methods of a head, over several of them.

    node: the Executor's name in the Flow. shards: a head for each. polls_all: endpoint -> whether all are asked, and
    under ``*`` for the others. before, after: the heads of the Executors around the shards.
    """

    def __init__(
        self,
        node: str,
        shards: Sequence[Head],
        *,
        polls_all: Mapping[str, bool],
        allow_partial: bool = False,
        before: Head | None = None,
        after: Head | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.node = node
        self.dropped = 0
        self._shards = [_Stop(head, number if len(shards) > 1 else None) for number, head in enumerate(shards)]
        self._before = _Stop(before) if before is not None else None
        self._after = _Stop(after) if after is not None else None
        self._stops = [*self._shards, *(stop for stop in (self._before, self._after) if stop is not None)]
        self._stop_of = {link: stop for stop in self._stops for link in stop.head.ways_out()}
        self._busy: dict[_Stop, None] = {}  # those whose heads have calls, perhaps
        self._polls_all = dict(polls_all)
        self._polls_all_others = polls_all["*"]
        self._allow_partial = allow_partial
        self._turn = int(chance() * len(shards))  # not all who ask begin with the first
        self._calls: dict[bytes, _Call] = {}

    @property
    def is_idempotent(self) -> bool:
        """Whether every endpoint may run more than once, whatever the replicas say."""
        return all(stop.head.is_idempotent for stop in self._stops)

    @property
    def neighbours(self) -> list[Neighbour]:
        """The replicas of all shards, and of what is around them."""
        return [neighbour for stop in self._stops for neighbour in stop.head.neighbours]

    @property
    def waiting(self) -> int:
        """How many requests to a shard, or to what is around them, no replica has yet."""
        return sum(stop.head.waiting for stop in self._stops)

    # -- the contract ------------------------------------------------------------------------------------------------

    def ways_out(self) -> Sequence[str]:
        return [link for stop in self._stops for link in stop.head.ways_out()]

    def receive(self, link: Link, message: Message, now: float) -> Steps:
        stop = self._stop_of.get(link) if isinstance(link, str) else None
        if stop is not None:
            return self._follow(stop, stop.head.receive(link, message, now), now)
        if message.kind is Kind.CANCEL:
            return self._cancel(link, message.call_id, now)
        if message.kind is Kind.MORE:
            return self._more(link, message, now)
        if message.kind is not Kind.REQUEST or message.call_id in self._calls:
            self.dropped += 1
            return []
        return self._begin(link, message, now)

    def opened(self, link: str, now: float) -> Steps:
        return self._stop_of[link].head.opened(link, now)

    def lost(self, link: Link, reason: str, now: float) -> Steps:
        """The connection to a replica, or a caller, is gone."""
        stop = self._stop_of.get(link) if isinstance(link, str) else None
        if stop is not None:
            steps = stop.head.lost(link, reason, now)
            if link not in stop.head.ways_out():  # it was a replica no longer
                del self._stop_of[str(link)]
            return self._follow(stop, steps, now)
        steps = []
        for call in [call for call in self._calls.values() if call.origin == link]:
            del self._calls[call.request.call_id]
            steps += self._withdraw(call, now)
        return steps

    def malformed(self, link: Link, error: RemoteError, now: float) -> Steps:
        stop = self._stop_of.get(link) if isinstance(link, str) else None
        if stop is None:
            self.dropped += 1
            return []
        return self._follow(stop, stop.head.malformed(link, error, now), now)

    def expire(self, now: float) -> Steps:
        steps: Steps = []
        for stop in list(self._busy):
            steps += self._follow(stop, stop.head.expire(now), now)
        return steps

    def next_deadline(self) -> float | None:
        due = None
        for stop in list(self._busy):
            if not stop.head.has_calls:
                del self._busy[stop]
                continue
            when = stop.head.next_deadline()
            if when is not None and (due is None or when < due):
                due = when
        return due

    def replicas(self, group: str, links: Sequence[str], now: float) -> Steps:
        steps: Steps = []
        for stop in self._stops:
            before = set(stop.head.ways_out())
            steps += self._follow(stop, stop.head.replicas(group, links, now), now)
            self._stop_of.update(dict.fromkeys(set(stop.head.ways_out()) - before, stop))
        return steps

    def drain(self, now: float) -> Steps:
        return []

    def is_idle(self, now: float) -> bool:
        return not self._calls

    @property
    def has_calls(self) -> bool:
        """Whether there is anything that could become due."""
        return bool(self._calls or self._busy)

    # -- the way of a request ----------------------------------------------------------------------------------------

    def _begin(self, origin: Link, request: Message, now: float) -> Steps:
        deadline = None if request.budget is None else now + request.budget / 1e6
        call = self._calls[request.call_id] = _Call(origin, request, deadline)
        if self._before is None:
            return self._ask_shards(call, request.parts, now)
        return self._ask([self._before], call, request.parts, self._extra(call, is_first=True), now)

    def _ask_shards(self, call: _Call, parts: Sequence[Part], now: float) -> Steps:
        asks_all = self._polls_all.get(call.request.endpoint, self._polls_all_others)
        asked = self._shards if asks_all else [self._whose_turn()]
        in_pieces = self._after is None and len(asked) == 1
        extra = self._extra(call, is_first=self._before is None, in_pieces=in_pieces)
        return self._ask(asked, call, parts, extra, now)

    def _ask(
        self, stops: Sequence[_Stop], call: _Call, parts: Sequence[Part], extra: Mapping[str, Any], now: float
    ) -> Steps:
        """Send each of `stops` a request of its own, with the same payload."""
        asked = call.request
        call_id = asked.call_id  # the same for all: what they do is one call, and each of their heads sees it once
        call.asked, call.left, call.given = stops, len(stops), (parts, extra)
        call.answers, call.failures = {}, {}
        budget = None if call.deadline is None else max(0, int((call.deadline - now) * 1e6))
        for stop in stops:
            stop.working[call_id] = call
            self._busy[stop] = None
        steps: Steps = []
        for stop in stops:
            if call_id in stop.working:  # else one before it has failed at once, and with it the call
                request = Message(Kind.REQUEST, call_id, asked.endpoint, budget, asked.flags, parts, dict(extra))
                steps += self._follow(stop, stop.head.receive(_UP, request, now), now)
        return steps

    def _whose_turn(self, but: Sequence[_Stop] = ()) -> _Stop:
        """The shard with the least to do, in turns among equals. Those that nobody serves come after, `but` last."""
        shards = self._shards
        chosen, chosen_rank = self._turn, (True, True, 0)
        for number in chain(range(self._turn, len(shards)), range(self._turn)):
            stop = shards[number]
            rank = (stop in but, not stop.is_served, len(stop.working))
            if number == self._turn or rank < chosen_rank:
                chosen, chosen_rank = number, rank
            if rank == (False, False, 0):
                break
        self._turn = (chosen + 1) % len(shards)
        return shards[chosen]

    def _follow(self, stop: _Stop, steps: Steps, now: float) -> Steps:
        """Take out what the head of `stop` answers and go on with it; what remains leaves."""
        leaving: Steps = []
        for step in steps:
            if step[0] == _UP:
                leaving += self._answered(stop, step[1], now)
            else:
                leaving.append(step)
        return leaving

    def _answered(self, stop: _Stop, message: Message, now: float) -> Steps:
        call = stop.working.get(message.call_id)
        if call is None:
            self.dropped += 1  # of a call that was given up
            return []
        if message.kind is Kind.PARTIAL:  # only who makes the answer alone was told that it may
            call.is_begun = call.may_have_run = True
            message.parts = [self._ours(part, stop.shard) for part in message.parts]
            return [(call.origin, message)]
        del stop.working[message.call_id]
        call.left -= 1
        if message.kind is Kind.FAILURE:
            return self._failed(stop, call, message, now)
        call.may_have_run = True
        call.answers[stop] = [part for part in message.parts if part.kind == DOCUMENTS]
        call.results += [part for part in message.parts if part.kind == RESULTS]
        call.extra.update(message.extra)
        return [] if call.left else self._next_stage(call, now)

    def _next_stage(self, call: _Call, now: float) -> Steps:
        """Every stop of a stage has its outcome, and there is something to go on with."""
        stop = call.asked[0]
        if stop is self._before:
            return self._ask_shards(call, _passed_on(call, call.answers[stop]), now)
        if stop is self._after:
            return self._finish(call, [self._ours(part, part.shard) for part in call.answers[stop]])
        if call.failures:
            call.extra["missing"] = {stop.head.name: _code(told) for stop, told in call.failures.items()}
        made = [(stop, part) for stop in call.asked for part in call.answers.get(stop, ())]
        if self._after is None:
            return self._finish(call, [self._ours(part, stop.shard) for stop, part in made])
        branches = [_labelled(part, stop.head.name, stop.shard) for stop, part in made]
        extra = self._extra(call, in_pieces=True)
        return self._ask([self._after], call, _passed_on(call, branches), extra, now)

    def _finish(self, call: _Call, documents: list[Part]) -> Steps:
        parts = documents + call.results
        too_much = excess(parts)
        if too_much:
            told = InvalidRequest(f"{self.node}: its shards answer too much together: {too_much}", node=self.node)
            return self._tell(call, failure(call.request.call_id, told))
        return self._tell(call, Message(Kind.REPLY, call.request.call_id, parts=parts, extra=call.extra))

    def _tell(self, call: _Call, outcome: Message) -> Steps:
        """The end of `call`."""
        del self._calls[call.request.call_id]
        if outcome.kind is Kind.FAILURE and call.may_have_run:
            outcome.flags = outcome.flags & ~NOT_STARTED | MAYBE_EXECUTED
        return [(call.origin, outcome)]

    def _ours(self, part: Part, shard: int | None) -> Part:
        return _labelled(part, self.node, shard) if part.kind == DOCUMENTS else part

    @staticmethod
    def _extra(call: _Call, *, is_first: bool = False, in_pieces: bool = False) -> Mapping[str, Any]:
        """What of the request's extra is for a stage. in_pieces: whether what it makes is handed on as it comes."""
        given = call.request.extra
        if is_first and (in_pieces or "partial" not in given):
            return given
        wanted = [key for key in given if key in _FOR_ALL_STAGES or (in_pieces if key in ASKS_FOR_PIECES else is_first)]
        return {key: given[key] for key in wanted}

    def _more(self, origin: Link, message: Message, now: float) -> Steps:
        """The caller takes further pieces of the answer."""
        call = self._calls.get(message.call_id)
        if call is None or call.origin != origin or not call.is_begun:
            return []
        return call.asked[0].head.receive(_UP, message, now)

    # -- what fails --------------------------------------------------------------------------------------------------

    def _failed(self, stop: _Stop, call: _Call, outcome: Message, now: float) -> Steps:
        call.may_have_run |= not outcome.flags & NOT_STARTED
        call.failures[stop] = outcome
        if stop.shard is not None and call.asked is not self._shards:
            return self._try_another(stop, call, outcome, now)
        if stop.shard is None or not self._allow_partial:
            return self._fail(call, outcome, now)
        if call.left:
            return []
        if call.answers:
            return self._next_stage(call, now)
        return self._fail(call, call.failures[call.asked[0]], now)

    def _try_another(self, stop: _Stop, call: _Call, outcome: Message, now: float) -> Steps:
        """The one shard that was asked has failed. If it is certain that it has not begun, another one may."""
        call.tried = (*call.tried, stop)
        extra = outcome.extra
        may_be_tried = outcome.flags & NOT_STARTED and not call.is_begun and not extra.get("final")
        if may_be_tried and extra.get("code") in _RETRYABLE:
            other = self._whose_turn(but=call.tried)
            if other not in call.tried and other.is_served and len(call.tried) <= RETRIES:
                return self._ask([other], call, *call.given, now)
        return self._fail(call, outcome, now)

    def _fail(self, call: _Call, outcome: Message, now: float) -> Steps:
        return [*self._withdraw(call, now), *self._tell(call, outcome)]

    def _cancel(self, origin: Link, call_id: bytes, now: float) -> Steps:
        call = self._calls.get(call_id)
        if call is None or call.origin != origin:
            return []
        steps = self._withdraw(call, now)
        gone = Cancelled(f"{self.node}: cancelled by the caller", node=self.node)
        return [*steps, *self._tell(call, failure(call_id, gone, not_started=True))]

    def _withdraw(self, call: _Call, now: float) -> Steps:
        """Nobody waits for `call` any more: cancel what is still worked on. What that comes to is dropped."""
        leaving: Steps = []
        call_id = call.request.call_id
        for stop in call.asked:
            if stop.working.pop(call_id, None) is not None:
                steps = stop.head.receive(_UP, Message(Kind.CANCEL, call_id), now)
                leaving += [step for step in steps if step[0] != _UP]
                if any(step[0] != _UP or not step[1].flags & NOT_STARTED for step in steps):
                    call.may_have_run = True  # it was sent to a replica
        return leaving


def _labelled(part: Part, label: str, shard: int | None) -> Part:
    return Part(part.kind, label, shard, part.sizes, part.frames)


def _passed_on(call: _Call, documents: list[Part]) -> list[Part]:
    """The payload for a stage that is not the first: `documents`, and what all stages get."""
    return documents + [part for part in call.request.parts if part.kind == PARAMETERS]


def _code(told: Message) -> int:
    code = told.extra.get("code")
    return code if type(code) is int else 0
