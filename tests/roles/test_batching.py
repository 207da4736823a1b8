"""Which calls go together and when: exact to the moment, whatever else the worker does. Nothing here sleeps."""

from __future__ import annotations

import math

import msgpack
import pytest

from tests.support.executors import details_of, fail, for_node, tell
from tests.support.leftovers import leftovers
from tests.support.small_flow import SmallFlow
from zflow.errors import Cancelled, DeadlineExceeded, ExecutorError
from zflow.roles.batching import Batching, Rule
from zflow.roles.contract import EXECUTOR, Batch, Link, Steps, failure
from zflow.roles.worker import Worker
from zflow.wire.frames import DOCUMENTS, PARAMETERS, Part, part
from zflow.wire.header import NOT_STARTED, Kind, Message
from zflow.wire.payload import encode_map

HEAD, OTHER = (b"head",), (b"other",)
SIZE, TIMEOUT = 4, 0.2


def call(number: int) -> bytes:
    return number.to_bytes(16, "big")


def documents(count: int, label: str = "gateway") -> Part:
    return part(DOCUMENTS, label, [msgpack.packb({"n": count})])


def request(number: int, on: str = "/batched", count: int = 1, **more: object) -> Message:
    parameters = more.pop("parameters", None)
    budget = more.pop("budget", None)
    parts = more.pop("parts", None) or [documents(count)]
    if parameters is not None:
        parts = [*parts, part(PARAMETERS, "", [encode_map(parameters)])]
    microseconds = None if budget is None else int(budget * 1e6)
    return Message(Kind.REQUEST, call(number), on, microseconds, parts=parts, **more)


def number_of(message: Message) -> int:
    return int.from_bytes(message.call_id, "big")


def begun(steps: Steps) -> list[list[int]]:
    """The calls that the steps hand to the executor; those that run as one in one list."""
    return [
        [number_of(member) for member in message.members] if isinstance(message, Batch) else [number_of(message)]
        for link, message in steps
        if link == EXECUTOR
    ]


def count_of(message: Message) -> float | None:
    """How many Documents `documents` has said there are; None for what cannot be read."""
    try:
        return (
            sum(msgpack.unpackb(bytes(item.frames[0]))["n"] for item in message.parts if item.kind == DOCUMENTS) or None
        )
    except ValueError:
        return None


class Asked:
    """A worker with batching on ``/batched``, and the clock in a test's hands."""

    def __init__(self, *, credit: int = 100, **options: object) -> None:
        rule = Rule("/batched", **{"size": SIZE, "timeout": TIMEOUT, "weigh": count_of, **options})
        self.batching: Batching = Batching({"/batched": rule}, alone=["/alone"])
        self.worker = Worker("a/rep-0", boot=bytes(16), credit=credit, batching=self.batching)
        for link in (HEAD, OTHER):
            self.worker.receive(link, Message(Kind.HELLO, extra={"nodes": ["a", "b"]}), 0.0)
        self.ran: list[list[int]] = []

    def ask(self, *numbers: int, now: float = 0.0, link: Link = HEAD, **more: object) -> list[list[int]]:
        """Requests come in, then everything that waits at the door has been read: what begins."""
        for number in numbers:
            steps = self.worker.receive(link, request(number, **more), now)
            assert steps == []
        return self.expire(now)

    def expire(self, now: float) -> list[list[int]]:
        return begun(self.worker.expire(now))

    def finish(self, *numbers: int, now: float) -> Steps:
        """User code returns: these calls, which ran as one, are answered."""
        replies = [Message(Kind.REPLY, call(number)) for number in numbers]
        return self.worker.receive(EXECUTOR, Batch(replies), now)

    def settle(self, now: float) -> list[list[int]]:
        """What begins once the worker has nothing to do at once: as a driver does it, a turn at a time."""
        for _ in range(3):
            due = self.worker.next_deadline()
            if due is None or due > now:
                return []
            if started := self.expire(now):
                return started
        raise AssertionError("it would spin")


@pytest.fixture
def asked() -> Asked:
    return Asked()


# -- timers ------------------------------------------------------------------------------------------------------------


def test_a_lone_request_waits_for_the_timeout_and_not_a_moment_longer(asked):
    assert asked.ask(1, now=10.0) == []
    assert asked.worker.next_deadline() == 10.0 + TIMEOUT
    assert asked.expire(10.0 + TIMEOUT - 1e-6) == []
    assert asked.expire(10.0 + TIMEOUT) == [[1]]
    assert asked.worker.next_deadline() is None


def test_the_timer_begins_with_the_first_of_a_batch_and_later_ones_do_not_move_it(asked):
    for number, now in ((1, 10.0), (2, 10.05), (3, 10.19)):
        assert asked.ask(number, now=now) == []
        assert asked.worker.next_deadline() == 10.2
    assert asked.expire(10.2) == [[1, 2, 3]]


def test_a_full_batch_waits_for_nothing(asked):
    assert asked.ask(1, 2, 3) == []
    assert asked.ask(4, link=OTHER) == [[1, 2, 3, 4]]  # whoever sent them
    assert asked.worker.next_deadline() is None


def test_a_timeout_of_nothing_takes_what_has_come(asked):
    asked = Asked(timeout=0.0)
    assert asked.ask(1, 2) == [[1, 2]]


def test_without_a_size_only_the_timer_counts():
    asked = Asked(size=math.inf)
    assert asked.ask(*range(50)) == []
    assert asked.expire(TIMEOUT) == [list(range(50))]


def test_the_timer_of_a_batch_that_was_full_does_not_ring_for_the_next(asked):
    asked.ask(1, 2, 3, 4, now=0.0)
    asked.finish(1, 2, 3, 4, now=0.1)
    assert asked.settle(0.1) == []
    assert asked.ask(5, now=0.15) == []
    assert asked.worker.next_deadline() == pytest.approx(0.35)
    assert asked.settle(0.2) == []
    assert asked.settle(0.35) == [[5]]


# -- while user code runs ----------------------------------------------------------------------------------------------


def test_what_came_while_user_code_ran_goes_as_one_right_after_it(asked):
    asked.ask(1, 2, 3, 4)
    assert asked.ask(5, now=0.01) == asked.ask(6, now=0.02, link=OTHER) == []
    assert len(asked.finish(1, 2, 3, 4, now=0.05)) == 4
    assert asked.settle(0.05) == [[5, 6]]


def test_what_lay_at_the_door_meanwhile_is_waited_for_too(asked):
    """A worker that runs user code reads nothing: what was sent to it arrives in one go when that is over."""
    asked.ask(1, 2, 3, 4)
    asked.finish(1, 2, 3, 4, now=0.05)
    assert asked.ask(5, 6, now=0.05) == []  # more may follow what has just arrived
    assert asked.worker.next_deadline() == 0.0
    assert asked.ask(7, now=0.05) == []
    assert asked.expire(0.05) == [[5, 6, 7]]


def test_once_nothing_is_left_of_that_a_request_waits_as_long_as_any(asked):
    asked.ask(1, 2, 3, 4)
    asked.finish(1, 2, 3, 4, now=0.05)
    assert asked.settle(0.05) == []
    assert asked.ask(5, now=0.06) == []
    assert asked.worker.next_deadline() == pytest.approx(0.26)


def test_a_full_batch_goes_before_one_that_only_waited(asked):
    asked.ask(1, 2, 3, 4)
    asked.ask(5, now=0.01, parameters={"a": 1})
    asked.ask(6, 7, 8, 9, now=0.02)
    asked.finish(1, 2, 3, 4, now=0.05)
    assert asked.settle(0.05) == [[6, 7, 8, 9]]
    asked.finish(6, 7, 8, 9, now=0.06)
    assert asked.settle(0.06) == [[5]]


def test_an_overdue_batch_goes_before_one_that_only_waited(asked):
    asked.ask(1, 2, 3, 4, now=0.0)
    asked.ask(5, now=0.1, parameters={"a": 1}, budget=0.2)  # due at 0.2
    asked.ask(6, now=0.05)  # due at 0.25
    asked.finish(1, 2, 3, 4, now=0.2)
    assert asked.settle(0.2) == [[5]]
    asked.finish(5, now=0.21)
    assert asked.settle(0.21) == [[6]]


def test_of_due_batches_the_one_that_became_due_first_goes_first(asked):
    asked.ask(1, 2, 3, 4, now=0.0)
    asked.ask(5, now=0.01, parameters={"a": 1})  # due at 0.21
    asked.ask(6, now=0.0, parameters={"a": 2})  # due at 0.2
    asked.ask(7, 8, 9, 10, now=0.3)  # due at 0.3
    asked.finish(1, 2, 3, 4, now=0.4)
    assert asked.settle(0.4) == [[6]]
    asked.finish(6, now=0.4)
    assert asked.settle(0.4) == [[5]]
    asked.finish(5, now=0.4)
    assert asked.settle(0.4) == [[7, 8, 9, 10]]


def test_what_a_full_batch_left_over_waits_for_its_own_timer(asked):
    for number, now in ((1, 0.0), (2, 0.0), (3, 0.0)):
        asked.ask(number, now=now)
    assert asked.ask(4, 5, now=0.1) == [[1, 2, 3, 4]]
    asked.finish(1, 2, 3, 4, now=0.1)
    assert asked.settle(0.1) == [[5]]  # it was there while user code ran


def test_batches_and_other_calls_take_turns(asked):
    asked.ask(*range(1, 13))
    asked.ask(20, 21, on="/alone")
    order = [[1, 2, 3, 4]]
    for _ in range(4):
        asked.finish(*order[-1], now=1.0)
        order += asked.settle(1.0)
    assert order == [[1, 2, 3, 4], [20], [5, 6, 7, 8], [21], [9, 10, 11, 12]]


def test_another_call_does_not_wait_for_a_batch_to_fill(asked):
    assert asked.ask(1) == []
    assert asked.ask(2, on="/alone", now=0.1) == [[2]]
    asked.finish(2, now=0.3)
    assert asked.settle(0.3) == [[1]]


def test_a_batch_that_is_due_waits_for_one_other_call_at_the_most(asked):
    asked.ask(1, on="/alone")
    asked.ask(2, 3, on="/alone")
    asked.ask(4, 5, 6, 7)
    order = []
    for number in (1, 2):
        asked.finish(number, now=1.0)
        order += asked.settle(1.0)
        if order[-1] == [4, 5, 6, 7]:
            break
    assert order == [[4, 5, 6, 7]]


# -- who goes together -------------------------------------------------------------------------------------------------


def test_parameters_keep_requests_apart(asked):
    asked.ask(1, parameters={"top_k": 1})
    asked.ask(2, parameters={"top_k": 2})
    asked.ask(3, parameters={"top_k": 1}, link=OTHER)
    asked.ask(4)
    started = [asked.expire(TIMEOUT)]
    for _ in range(2):
        asked.finish(*started[-1][0], now=TIMEOUT)
        started.append(asked.settle(TIMEOUT))
    assert started == [[[1, 3]], [[2]], [[4]]]


def test_no_parameters_are_the_same_as_empty_ones(asked):
    asked.ask(1, parameters={})
    asked.ask(2)
    assert asked.expire(TIMEOUT) == [[1, 2]]


def test_names_only_matter_where_there_are_parameters(asked):
    """``b__top_k`` is for an Executor of one Flow, and an ordinary parameter for that of another."""
    asked.worker.receive(OTHER, Message(Kind.HELLO, extra={"nodes": ["x"]}), 0.0)
    asked.ask(1, parameters={"b__top_k": 1})
    asked.ask(2, parameters={"b__top_k": 1}, link=OTHER)
    asked.ask(3, parameters={"b__top_k": 1}, extra={"node": "b"})
    asked.ask(4, extra={"node": "a"})
    asked.ask(5, extra={"node": "b"}, link=OTHER)
    started = [*asked.expire(TIMEOUT)]
    for _ in range(3):
        asked.finish(*started[-1], now=TIMEOUT)
        started += asked.settle(TIMEOUT)
    assert started == [[1], [2], [3], [4, 5]]


def test_endpoints_of_one_default_method_go_together_and_those_with_rules_of_their_own_apart():
    by_name = {name: Rule(name, weigh=any_document) for name in ("/a", "/default")}
    batching: Batching = Batching(by_name, default=by_name["/default"], alone=["/alone"])
    worker = Worker("a/rep-0", boot=bytes(16), credit=9, batching=batching)
    worker.receive(HEAD, Message(Kind.HELLO), 0.0)
    for number, on in enumerate(["/a", "/x", "", "/default", "/a", "/y"]):
        worker.receive(HEAD, request(number, on), 0.0)
    assert begun(worker.expire(10.0)) == [[0, 4]]
    worker.receive(EXECUTOR, Batch([Message(Kind.REPLY, call(number)) for number in (0, 4)]), 10.0)
    assert begun(worker.expire(10.0)) == [[1, 2, 3, 5]]


def test_a_request_without_documents_waits_for_nobody(asked):
    assert asked.ask(1) == []
    assert asked.ask(2, count=0, now=0.1) == [[2]]
    asked.finish(2, now=0.11)
    assert asked.ask(3, parts=[part(PARAMETERS, "", [encode_map({})])], now=0.11) == [[3]]


def test_a_request_that_cannot_be_counted_goes_alone(asked):
    assert asked.ask(1, 2) == []
    assert asked.ask(3, parts=[part(DOCUMENTS, "gateway", [b"\xc1"])]) == [[3]]
    asked.finish(3, now=0.0)
    assert asked.settle(0.0) == [[1, 2]]


# -- sizes -------------------------------------------------------------------------------------------------------------


def test_only_whole_requests_go_together_as_far_as_they_fit(asked):
    asked.ask(1, count=2)
    assert asked.ask(2, count=3) == [[1]]  # five are more than a batch
    asked.finish(1, now=0.0)
    assert asked.settle(0.0) == [[2]]


def test_a_request_larger_than_a_batch_goes_at_once_and_what_its_last_call_has_room_for_with_it(asked):
    asked.ask(1, count=2)
    asked.ask(2, on="/alone")
    asked.ask(3, count=9)  # in three calls of 4, 4 and 1: three are free
    asked.ask(4, count=2)
    asked.ask(5, count=2)
    asked.finish(2, now=0.0)
    started = asked.settle(0.0)
    assert started == [[1]]  # the oldest goes first, and nine do not fit beside it
    asked.finish(1, now=0.0)
    assert asked.settle(0.0) == [[3, 4]]


def test_flush_all_takes_everything_that_waits():
    asked = Asked(flush_all=True)
    asked.ask(1, 2, 3)
    assert asked.ask(4, count=50) == [[1, 2, 3, 4]]


def test_costs_are_summed_up_where_a_rule_weighs():
    asked = Asked(size=10, weigh=lambda request: float(number_of(request)))
    assert asked.ask(3, 4) == []
    assert asked.ask(2) == []
    assert asked.ask(1) == [[3, 4, 2, 1]]


def test_documents_that_cost_nothing_are_batched_all_the_same():
    asked = Asked(size=10, weigh=lambda request: 0.0)
    assert asked.ask(1, 2) == []
    assert asked.expire(TIMEOUT) == [[1, 2]]


# -- deadlines, cancelling, losses -------------------------------------------------------------------------------------


def test_who_has_a_deadline_waits_at_most_half_of_the_time_that_is_left(asked):
    assert asked.ask(1, now=10.0) == []
    assert asked.ask(2, now=10.0, budget=0.1) == []
    assert asked.worker.next_deadline() == pytest.approx(10.05)
    assert asked.settle(10.049) == []
    assert asked.settle(10.05 + 1e-9) == [[1, 2]]  # and takes the others along


def test_a_deadline_beyond_the_timeout_changes_nothing(asked):
    asked.ask(1, now=10.0, budget=5.0)
    assert asked.worker.next_deadline() == 10.0 + TIMEOUT


def test_a_deadline_that_passes_while_user_code_runs_ends_that_call_alone(asked):
    asked.ask(1, 2, 3, 4)
    asked.ask(5, now=0.0, budget=0.1)
    asked.ask(6, now=0.0)
    asked.finish(1, 2, 3, 4, now=0.1)
    steps = asked.worker.expire(0.1)
    [(link, late)] = [step for step in steps if step[0] != EXECUTOR]
    assert (link, number_of(late), late.flags) == (HEAD, 5, NOT_STARTED)
    assert late.extra["code"] == DeadlineExceeded.code
    assert begun(steps) + asked.settle(0.1) == [[6]]
    asked.finish(6, now=0.2)
    assert leftovers(asked.worker) == []


def told(steps):
    """What the local end, and nobody else, hears."""
    assert all(link == EXECUTOR for link, _ in steps)
    return [(message.kind, number_of(message)) for _, message in steps]


def test_of_a_deadline_that_passes_while_its_own_batch_runs_user_code_is_told(asked):
    asked.ask(1, 2, 3, 4, budget=0.5)
    assert told(asked.worker.expire(1.0)) == [(Kind.CANCEL, number) for number in (1, 2, 3, 4)]
    assert [number_of(message) for _, message in asked.finish(1, 2, 3, 4, now=1.0)] == [1, 2, 3, 4]


def test_a_cancelled_call_leaves_its_batch_and_another_takes_its_place(asked):
    asked.ask(1, 2, 3)
    [(link, gone)] = asked.worker.receive(HEAD, Message(Kind.CANCEL, call(2)), 0.1)
    assert (link, gone.flags, gone.extra["code"]) == (HEAD, NOT_STARTED, Cancelled.code)
    assert asked.ask(4, now=0.1) == []
    assert asked.ask(5, now=0.1) == [[1, 3, 4, 5]]


def test_a_batch_that_is_full_no_longer_waits_on(asked):
    asked.ask(10, on="/alone")
    asked.ask(1, 2, 3, 4, now=0.1)
    asked.worker.receive(HEAD, Message(Kind.CANCEL, call(4)), 0.1)
    asked.ask(11, on="/alone", now=0.1)
    asked.finish(10, now=0.1)
    assert asked.settle(0.1) == [[11]]


def test_the_timer_goes_by_the_oldest_that_is_still_there(asked):
    asked.ask(1, now=0.0)
    asked.ask(2, now=0.1)
    asked.worker.receive(HEAD, Message(Kind.CANCEL, call(1)), 0.15)
    assert asked.settle(0.2) == []
    assert asked.worker.next_deadline() == pytest.approx(0.3)
    assert asked.settle(0.3 + 1e-9) == [[2]]


def test_what_runs_is_told_who_has_given_it_up(asked):
    asked.ask(1, 2, 3, 4)
    assert told(asked.worker.receive(HEAD, Message(Kind.CANCEL, call(2)), 0.1)) == [(Kind.CANCEL, 2)]
    assert len(asked.finish(1, 2, 3, 4, now=0.2)) == 4


def test_a_lost_caller_takes_its_calls_out_of_every_batch(asked):
    asked.ask(1, 2)
    asked.ask(3, link=OTHER)
    asked.ask(4, parameters={"a": 1})
    asked.worker.lost(HEAD, "gone", 0.1)
    assert asked.expire(TIMEOUT) == [[3]]
    asked.finish(3, now=TIMEOUT)
    assert asked.settle(1.0) == []
    assert leftovers(asked.worker) == []


def test_the_outcome_of_each_goes_to_who_asked(asked):
    asked.ask(1, 2)
    asked.ask(3, 4, link=OTHER)
    outcomes = [
        failure(call(number), ExecutorError("no")) if number == 2 else Message(Kind.REPLY, call(number))
        for number in (4, 3, 2, 1)
    ]
    steps = asked.worker.receive(EXECUTOR, Batch(outcomes), 0.1)
    assert [(link, number_of(message), message.kind) for link, message in steps] == [
        (OTHER, 4, Kind.REPLY),
        (OTHER, 3, Kind.REPLY),
        (HEAD, 2, Kind.FAILURE),
        (HEAD, 1, Kind.REPLY),
    ]


def test_a_drain_waits_for_no_company(asked):
    asked.ask(1)
    asked.ask(2, parameters={"a": 1})
    asked.worker.drain(0.1)
    assert asked.settle(0.1) == [[1]]
    asked.finish(1, now=0.1)
    assert asked.settle(0.1) == [[2]]
    asked.finish(2, now=0.1)
    for link in (HEAD, OTHER):
        asked.worker.receive(link, Message(Kind.DRAINED), 0.1)
    assert asked.worker.is_idle(0.1)


def test_the_status_counts_what_runs_together_and_what_waits(asked):
    asked.ask(1, 2, 3, 4)
    asked.ask(5, 6)
    [(_, status)] = asked.worker.receive(HEAD, Message(Kind.PING), 0.0)
    told = details_of(status)
    assert (told["inflight"], told["queued"], told["served"]) == (4, 2, 0)


# -- nothing is kept ---------------------------------------------------------------------------------------------------


def test_ten_thousand_sets_of_parameters_leave_nothing_behind():
    """jina kept a queue, with a task of its own, for every set of parameters that it had ever seen."""
    asked = Asked()
    for number in range(10_000):
        now = float(number)
        asked.ask(number, now=now, parameters={"seen": number}, budget=100.0 if number % 3 else None)
        if number % 4:
            assert asked.settle(now + TIMEOUT) == [[number]]
            asked.finish(number, now=now + TIMEOUT)
            assert asked.settle(now + TIMEOUT) == []
        else:
            asked.worker.receive(HEAD, Message(Kind.CANCEL, call(number)), now)
    batching = asked.batching
    assert not batching._queues and not batching._due and not batching._place
    assert len(batching._timers) <= 1
    assert leftovers(asked.worker) == []


def test_timers_of_queues_that_have_moved_on_are_swept_out():
    asked = Asked(timeout=1000.0)
    for number in range(0, 20_000, SIZE):
        mine = range(number, number + SIZE)
        assert asked.ask(*mine, now=0.0, parameters={"seen": number}) == [list(mine)]
        asked.finish(*mine, now=0.0)
        asked.worker.expire(0.0)
    asked.ask(1, now=0.0)
    assert len(asked.batching._timers) <= 1100


# -- a whole flow ------------------------------------------------------------------------------------------------------


def any_document(request: Message) -> float:
    return 1.0


def small_flow(**options: object) -> SmallFlow:
    rule = Rule("/default", size=4, timeout=0.05, weigh=any_document)
    return SmallFlow(
        ["a", "b"],
        credit=64,
        takes=0.01,
        batching={"b": lambda: Batching({"/default": rule}, default=rule)},
        **options,
    )


def test_in_a_flow_every_request_has_its_own_outcome():
    flow = small_flow()
    flow.network.run(1.0)
    calls = [flow.ask(f"in{number}") for number in range(10)]
    flow.network.run()
    assert [flow.outcome(call_id).kind for call_id in calls] == [Kind.REPLY] * 10
    assert set(flow.executions().values()) == {1}
    assert flow.leftovers() == {}


def test_a_failing_method_fails_every_request_with_an_outcome_of_its_own():
    flow = small_flow(executor=for_node("b", fail, tell))
    flow.network.run(1.0)
    calls = [flow.ask() for _ in range(6)]
    flow.network.run()
    assert [flow.outcome(call_id).extra["code"] for call_id in calls] == [ExecutorError.code] * 6
    assert flow.leftovers() == {}


def test_a_budget_shorter_than_the_timeout_is_kept():
    """The request would wait for 50 ms; it has 40, of which 10 go by at the first Executor and 10 at this one."""
    flow = small_flow()
    flow.network.run(1.0)
    asked_at = flow.network.clock.now
    call_id = flow.ask(budget=0.04)
    flow.network.run()
    assert flow.outcome(call_id).kind is Kind.REPLY
    assert flow.asker.answered_at[-1] - asked_at == pytest.approx(0.01 + 0.015 + 0.01, abs=1e-4)


@pytest.mark.parametrize("after", [0.0, 0.03, 0.06])
def test_a_worker_that_dies_with_a_batch_loses_no_outcome(after):
    flow = small_flow()
    flow.network.run(1.0)
    calls = [flow.ask() for _ in range(7)]
    flow.network.run(after)
    flow.network.restart("b/rep-0", flow.new_worker("b/rep-0"))
    flow.network.run()
    assert [len(flow.outcomes(call_id)) for call_id in calls] == [1] * 7
    assert max(flow.executions().values()) == 1
    assert flow.leftovers() == {}
