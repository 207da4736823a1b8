"""Which requests of a worker are run together, and when: a queue per endpoint and parameters, each with a timer.

Five rules:

1. Requests for one endpoint with equal parameters, whoever sent them, share a queue. A queue lives as long as something
   waits in it.
2. A queue is *due* when what waits there makes a full batch, or when its timer fires: `timeout` after the first of
   those that wait there came. Who has a deadline waits at most half of the time that it has left, so that the other
   half is there for the call; it makes its whole queue due.
3. Of due queues the one that became due first goes first. Where calls wait that are not batched, the two take turns.
4. What came while user code ran has waited long enough: once no due queue and no other call is left, and nothing more
   arrives, it goes as it is.
5. A batch is made of whole requests, oldest first, as long as they fit. The first one always does: of a request larger
   than the batch the local end makes several calls, and what the last of them has room for goes along.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import count
from typing import Any, Generic, Protocol, TypeVar

from zflow.wire.frames import PARAMETERS
from zflow.wire.header import Message

_SWEEP = 1024
_EMPTY_MAP = b"\x80"

Weigh = Callable[[Message], float | None]


class Waiting(Protocol):
    """A call: its `request` becomes None once it is settled."""

    request: Message | None


CallT = TypeVar("CallT", bound=Waiting)


class Rule:
    """How one endpoint is batched.

    name: of the endpoint. weigh: the cost of a request; None for one that has nothing to be put together. size: the
    cost of a full batch, infinite for no limit. timeout: seconds. flush_all: a batch is everything that waits.
    """

    __slots__ = ("name", "size", "timeout", "flush_all", "weigh")

    def __init__(
        self,
        name: str,
        *,
        weigh: Weigh,
        size: float = math.inf,
        timeout: float = 10.0,
        flush_all: bool = False,
    ) -> None:
        self.name = name
        self.size = size
        self.timeout = timeout
        self.flush_all = flush_all
        self.weigh = weigh


class Batching(Generic[CallT]):
    """The calls of one worker that wait for company.

    rules: by endpoint. default: for an endpoint that is neither among those nor in `alone`, which are not batched.
    """

    def __init__(self, rules: Mapping[str, Rule], *, default: Rule | None = None, alone: Collection[str] = ()) -> None:
        self._rules = dict(rules)
        self._default = default
        self._alone = frozenset(alone)
        self._queues: dict[Any, _Queue[CallT]] = {}  # the one that has waited longest first
        self._due: dict[_Queue[CallT], None] = {}  # in the order in which they became due
        self._timers: list[tuple[float, int, _Queue[CallT]]] = []
        self._sequence = count()  # breaks ties: queues cannot be compared
        self._sweep_at = _SWEEP
        self._place: dict[CallT, _Queue[CallT]] = {}
        self._went_last = False  # a batch did, and not a call that is not batched
        self._is_hurried = False  # user code has just returned
        self._has_news = False  # a call came since that was last looked at
        self._is_draining = False

    def admit(self, call: CallT, request: Message, deadline: float | None, now: float) -> bool:
        """Let `call` wait for company. False: it is none of those that do, and must be run alone."""
        rule = self._rules.get(request.endpoint)
        if rule is None:
            rule = None if request.endpoint in self._alone else self._default
            if rule is None:
                return False
        cost = rule.weigh(request)
        if cost is None:
            return False
        due = now + rule.timeout
        if deadline is not None:
            due = min(due, now + (deadline - now) / 2)
        queue = self._queue_for(rule, request)
        queue.add(call, cost, due)
        self._place[call] = queue
        self._has_news = True
        if due < queue.due:
            self._set_timer(queue, due)
        if queue.is_full:
            self._hear_timers(now)
            self._due[queue] = None
        return True

    def forget(self, call: CallT) -> None:
        """`call` waits no longer: its caller has given it up, or is gone, or its deadline has passed."""
        queue = self._place.pop(call, None)
        if queue is not None:
            queue.remove(call)
            if not queue.calls:
                self._free(queue)

    def take(self, now: float, others_wait: bool) -> list[CallT]:
        """The calls to be run now as one, if any; they wait no longer. others_wait: so do calls not batched."""
        self._hear_timers(now)
        queue = self._choose(now, others_wait)
        self._went_last = queue is not None
        if queue is None:
            return []
        taken = queue.next_batch()
        for call in taken:
            del self._place[call]
        self._free(queue)
        if queue.calls:  # they wait on, behind the other queues
            self._queues[queue.key] = queue
            self._set_timer(queue, queue.earliest)
            if queue.is_full:
                self._due[queue] = None
        return taken

    def next_due(self) -> float | None:
        """When `take` is to be called at the latest, if nothing else happens; 0.0 for at once."""
        if self._due or self._is_hurried or (self._is_draining and self._queues):
            return 0.0
        return self._timers[0][0] if self._timers else None

    def hurry(self) -> None:
        """User code has returned: what came meanwhile need not wait for more company (rule 4)."""
        self._is_hurried = True

    def drain(self) -> None:
        """No more company will come."""
        self._is_draining = True

    def __iter__(self) -> Iterator[CallT]:
        """The calls that wait."""
        return iter(list(self._place))

    # -- which is next -----------------------------------------------------------------------------------------------

    def _choose(self, now: float, others_wait: bool) -> _Queue[CallT] | None:
        if others_wait:
            return None if self._went_last else self._first_due(now)
        queue = self._first_due(now)
        if queue is not None:
            return queue
        oldest = next(iter(self._queues.values()), None)
        if self._is_draining:
            return oldest
        has_news, self._has_news = self._has_news, False
        if not self._is_hurried or has_news:  # more may follow what has just arrived
            return None
        self._is_hurried = False
        return oldest

    def _first_due(self, now: float) -> _Queue[CallT] | None:
        while self._due:
            queue = next(iter(self._due))
            if queue.is_full or queue.earliest <= now:
                return queue
            del self._due[queue]  # what made it due has left it
            self._set_timer(queue, queue.earliest)
        return None

    # -- queues and their timers -------------------------------------------------------------------------------------

    def _queue_for(self, rule: Rule, request: Message) -> _Queue[CallT]:
        key = _key(rule, request)
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = _Queue(key, rule)
        return queue

    def _free(self, queue: _Queue[CallT]) -> None:
        del self._queues[queue.key]
        self._due.pop(queue, None)
        queue.due = math.inf

    def _set_timer(self, queue: _Queue[CallT], when: float) -> None:
        queue.due = when
        if len(self._timers) >= self._sweep_at:
            self._timers = [item for item in self._timers if item[0] == item[2].due]
            heapq.heapify(self._timers)
            self._sweep_at = max(_SWEEP, 2 * len(self._timers))
        heapq.heappush(self._timers, (when, next(self._sequence), queue))

    def _hear_timers(self, now: float) -> None:
        """Make those queues due whose timer has fired; leave out timers of queues that have moved on."""
        timers = self._timers
        while timers and (timers[0][0] <= now or timers[0][0] != timers[0][2].due):
            when, _, queue = heapq.heappop(timers)
            if when == queue.due:
                self._due[queue] = None


class _Queue(Generic[CallT]):
    """What waits together. calls: oldest first, each with its cost and the end of its own wait. due: when its timer
    fires."""

    __slots__ = ("key", "rule", "calls", "cost", "due")

    def __init__(self, key: Any, rule: Rule) -> None:
        self.key = key
        self.rule = rule
        self.calls: dict[CallT, tuple[float, float]] = {}
        self.cost = 0.0
        self.due = math.inf

    @property
    def is_full(self) -> bool:
        return self.cost >= self.rule.size

    @property
    def earliest(self) -> float:
        return min(due for _, due in self.calls.values())

    def add(self, call: CallT, cost: float, due: float) -> None:
        self.calls[call] = cost, due
        self.cost += cost

    def remove(self, call: CallT) -> None:
        self.cost -= self.calls.pop(call)[0]

    def next_batch(self) -> list[CallT]:
        """The calls of the next batch, which leave the queue (rule 5)."""
        room = math.inf if self.rule.flush_all else self.rule.size
        taken: list[CallT] = []
        for call, (cost, _) in self.calls.items():
            if not taken and cost > room:
                room *= math.ceil(cost / room)
            if cost > room:
                break
            room -= cost
            taken.append(call)
        for call in taken:
            self.remove(call)
        return taken


def _key(rule: Rule, request: Message) -> Any:
    """What calls must have in common. Which parameters a node sees also depends on names: its own, and the others'."""
    parameters = [b"".join(map(bytes, part.frames)) for part in request.parts if part.kind == PARAMETERS]
    if all(encoded == _EMPTY_MAP for encoded in parameters):
        return rule.name
    return rule.name, request.extra.get("node"), tuple(request.extra.get("nodes") or ()), *parameters
