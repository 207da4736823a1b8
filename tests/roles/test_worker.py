"""A worker runs one call at a time, keeps a short queue, and answers every request exactly once."""

from __future__ import annotations

import pytest

from tests.support.clock import Ids
from tests.support.executors import details_of, echo, tell, text_of
from tests.support.leftovers import leftovers
from zflow.errors import Cancelled, DeadlineExceeded, ProtocolError, ResourceExhausted, Unavailable
from zflow.roles.contract import EXECUTOR, Link, Steps, failure
from zflow.roles.front_door import FAREWELL, PROBE
from zflow.roles.worker import Worker
from zflow.wire.frames import DOCUMENTS, part
from zflow.wire.header import IDEMPOTENT, MAYBE_EXECUTED, NOT_STARTED, Kind, Message

HEAD, OTHER = (b"head",), (b"other",)


def call(number: int) -> bytes:
    return number.to_bytes(16, "big")


def request(number: int, budget: float | None = None) -> Message:
    microseconds = None if budget is None else int(budget * 1e6)
    return Message(Kind.REQUEST, call(number), "/", microseconds, parts=[part(DOCUMENTS, "gateway", [b"in"])])


def reply(number: int) -> Message:
    return Message(Kind.REPLY, call(number))


def numbers(steps: Steps) -> list[int]:
    """The calls that the steps hand to the executor."""
    begun = [message for link, message in steps if link == EXECUTOR and message.kind is Kind.REQUEST]
    return [int.from_bytes(message.call_id, "big") for message in begun]


def ask(worker: Worker, number: int, link: Link = HEAD, now: float = 0.0, budget: float | None = None) -> Steps:
    """What follows when a request has come in and everything that waits at the door has been read."""
    return worker.receive(link, request(number, budget), now) + worker.expire(now)


def repeatable(number: int) -> Message:
    made = request(number)
    made.flags |= IDEMPOTENT
    return made


def refusal(steps: Steps, to: Link = HEAD) -> Message:
    [(link, message)] = steps
    assert (link, message.kind) == (to, Kind.FAILURE)
    return message


@pytest.fixture
def worker() -> Worker:
    made = Worker("a/rep-0", boot=bytes(16), credit=3)
    for link in (HEAD, OTHER):
        made.receive(link, Message(Kind.HELLO, extra={"nodes": ["a", "b"]}), 0.0)
    return made


def test_an_idle_worker_begins_as_soon_as_the_door_has_been_read(worker):
    assert worker.receive(HEAD, request(1), 0.0) == []  # what is read next may cancel it
    assert worker.next_deadline() == 0.0
    [(link, begun)] = worker.expire(0.0)
    assert (link, begun.call_id, text_of(begun.parts)) == (EXECUTOR, call(1), "in")
    assert begun.extra["nodes"] == ["a", "b"]  # so that parameters meant for others can be left out
    assert worker.next_deadline() is None


def test_the_outcome_goes_to_who_asked(worker):
    ask(worker, 1)
    assert worker.receive(EXECUTOR, reply(1), 1.0) == [(HEAD, reply(1))]
    assert worker.is_idle(1.0) is False  # both callers are still there
    assert leftovers(worker) == []


def test_one_call_runs_at_a_time_and_the_next_begins_when_the_door_has_been_read(worker):
    assert numbers(ask(worker, 1)) == [1]
    assert ask(worker, 2) == []
    assert ask(worker, 3, OTHER) == []
    assert worker.expire(0.5) == []
    worker.receive(EXECUTOR, reply(1), 1.0)
    assert worker.next_deadline() == 0.0
    assert numbers(ask(worker, 4, now=1.0)) == [2]  # those that waited already come first
    worker.receive(EXECUTOR, reply(2), 2.0)
    assert numbers(worker.expire(2.0)) == [3]


def test_an_unasked_answer_of_the_local_end_is_a_fault_of_ours(worker):
    with pytest.raises(AssertionError, match="nobody asked"):
        worker.receive(EXECUTOR, reply(1), 0.0)


@pytest.mark.parametrize(("told", "known"), [([], []), (["far", "away"], ["far", "away"]), ([[1], 2], ["[1]", "2"])])
def test_the_names_of_a_flow_behind_who_asks_come_with_the_request(worker, told, known):
    """A head process asks for Flows of others: its own greeting cannot name their Executors."""
    handed_on = request(1)
    handed_on.extra["nodes"] = told
    worker.receive(HEAD, handed_on, 0.0)
    [(_, begun)] = worker.expire(0.0)
    assert begun.extra["nodes"] == known


# -- credit ------------------------------------------------------------------------------------------------------------


def test_what_exceeds_the_credit_is_refused_as_not_started(worker):
    for number in (1, 2, 3):
        ask(worker, number)
    refused = refusal(ask(worker, 4))
    assert (refused.call_id, refused.flags, refused.extra["code"]) == (call(4), NOT_STARTED, ResourceExhausted.code)
    assert "3 requests" in details_of(refused)["message"]


def test_credit_is_counted_per_connection(worker):
    for number in (1, 2, 3):
        ask(worker, number)
    assert ask(worker, 4, OTHER) == []


@pytest.mark.parametrize("ending", ["reply", "cancel", "deadline"])
def test_every_way_to_end_gives_the_place_back(worker, ending):
    ask(worker, 1)
    ask(worker, 2, budget=1.0 if ending == "deadline" else None)
    ask(worker, 3)
    if ending == "reply":
        worker.receive(EXECUTOR, reply(1), 0.5)
        assert numbers(worker.expire(0.5)) == [2]
    elif ending == "cancel":
        worker.receive(HEAD, Message(Kind.CANCEL, call(2)), 0.5)
    else:
        worker.expire(1.0)
    assert ask(worker, 4, now=2.0) == []
    assert refusal(ask(worker, 5, now=2.0)).extra["code"] == ResourceExhausted.code


# -- duplicates --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", [1, 2])
def test_the_same_request_again_is_dropped_because_the_first_will_be_answered(worker, which):
    ask(worker, 1)
    ask(worker, 2)
    assert worker.receive(HEAD, request(which), 0.0) == []
    assert worker.door.dropped == 1
    worker.receive(EXECUTOR, reply(1), 1.0)
    assert numbers(worker.expire(1.0)) == [2]
    worker.receive(EXECUTOR, reply(2), 2.0)
    assert worker.expire(2.0) == []


def test_the_same_call_from_another_connection_is_refused_but_not_called_unstarted(worker):
    ask(worker, 1)
    refused = refusal(ask(worker, 1, OTHER), to=OTHER)
    assert (refused.extra["code"], refused.flags) == (Unavailable.code, MAYBE_EXECUTED)
    assert worker.receive(EXECUTOR, reply(1), 1.0) == [(HEAD, reply(1))]


@pytest.mark.parametrize("which", [1, 2])
def test_an_idempotent_call_is_joined_by_who_has_lost_its_connection(worker, which):
    for number in (1, 2):
        worker.receive(HEAD, repeatable(number), 0.0)
    worker.expire(0.0)
    over = refusal(worker.receive(OTHER, repeatable(which), 0.5), to=HEAD)
    assert (over.extra["code"], over.flags) == (Unavailable.code, MAYBE_EXECUTED)
    assert worker.receive(EXECUTOR, reply(1), 1.0) == [(OTHER if which == 1 else HEAD, reply(1))]
    assert numbers(worker.expire(1.0)) == [2], "each ran once"
    assert worker.receive(EXECUTOR, reply(2), 2.0) == [(OTHER if which == 2 else HEAD, reply(2))]
    assert worker.is_idle(2.0) is False and leftovers(worker) == [] and worker._outstanding == {}


def test_the_loss_of_the_former_connection_does_not_touch_a_call_that_was_taken_over(worker):
    worker.receive(HEAD, repeatable(1), 0.0)
    worker.expire(0.0)
    worker.receive(OTHER, repeatable(1), 0.5)
    assert worker.lost(HEAD, "cannot send", 0.5) == []
    assert worker.receive(EXECUTOR, reply(1), 1.0) == [(OTHER, reply(1))]


def test_it_counts_for_the_connection_that_has_it(worker):
    worker.receive(HEAD, repeatable(1), 0.0)
    worker.receive(OTHER, repeatable(1), 0.0)
    for number in (2, 3):
        worker.receive(OTHER, repeatable(number), 0.0)
    full = refusal(worker.receive(OTHER, repeatable(4), 0.0), to=OTHER)
    assert full.extra["code"] == ResourceExhausted.code
    assert [worker.receive(HEAD, repeatable(number), 0.0) for number in (5, 6, 7)] == [[], [], []]


@pytest.mark.parametrize("why", ["one side is not idempotent", "another endpoint", "in pieces", "given up", "late"])
def test_a_call_that_cannot_be_joined_is_refused(worker, why):
    first, again = repeatable(1), repeatable(1)
    if why == "one side is not idempotent":
        first.flags = 0
    elif why == "another endpoint":
        again.endpoint = "/other"
    elif why == "in pieces":
        first.extra["partial"] = True
    elif why == "late":
        first.budget = 100_000
    worker.receive(HEAD, first, 0.0)
    worker.expire(0.0)
    if why == "given up":
        worker.lost(HEAD, "cannot send", 0.1)
    worker.expire(0.2)
    refused = refusal(worker.receive(OTHER, again, 0.2), to=OTHER)
    assert (refused.extra["code"], refused.flags) == (Unavailable.code, MAYBE_EXECUTED)


# -- deadlines ---------------------------------------------------------------------------------------------------------


def test_a_deadline_that_passes_in_the_queue_ends_the_call_unstarted(worker):
    ask(worker, 1)
    ask(worker, 2, now=10.0, budget=1.0)
    assert worker.next_deadline() == 11.0
    assert worker.expire(10.9) == []
    late = refusal(worker.expire(11.0))
    assert (late.call_id, late.flags, late.extra["code"]) == (call(2), NOT_STARTED, DeadlineExceeded.code)
    worker.receive(EXECUTOR, reply(1), 12.0)
    assert worker.expire(12.0) == []
    assert leftovers(worker) == []


def test_a_deadline_that_passes_while_the_call_runs_is_told_to_user_code(worker):
    ask(worker, 1, budget=1.0)
    assert worker.expire(5.0) == [(EXECUTOR, Message(Kind.CANCEL, call(1)))]
    assert worker.next_deadline() is None
    assert worker.receive(EXECUTOR, reply(1), 6.0) == [(HEAD, reply(1))]


def test_what_is_given_up_for_its_deadline_ended_by_its_deadline(worker):
    ask(worker, 1, budget=1.0)
    worker.expire(1.0)
    outcome = refusal(worker.receive(EXECUTOR, failure(call(1), Cancelled("stopped", maybe_executed=True)), 1.0))
    assert (outcome.flags, outcome.extra["code"]) == (MAYBE_EXECUTED, DeadlineExceeded.code)


def test_a_request_without_any_time_left_is_not_begun(worker):
    late = refusal(ask(worker, 1, budget=0.0))
    assert (late.flags, late.extra["code"]) == (NOT_STARTED, DeadlineExceeded.code)
    assert leftovers(worker) == []


def test_a_call_that_became_late_while_another_ran_is_not_begun(worker):
    ask(worker, 1)
    ask(worker, 2, budget=1.0)
    worker.receive(EXECUTOR, reply(1), 5.0)  # user code held the thread all the while
    steps = worker.expire(5.0)
    assert numbers(steps) == []
    assert refusal(steps).extra["code"] == DeadlineExceeded.code


def test_a_request_that_lay_in_the_socket_beyond_its_deadline_is_not_begun(worker):
    """1. A prompt request shows how far the clocks are apart. 2. One with 2 s is read 10 s after it was sent."""
    for number, sent, read in ((1, 0.0, 100.0), (2, 10.0, 120.0)):
        asked = request(number, budget=2.0)
        asked.extra["sent"] = int(sent * 1e6)
        steps = worker.receive(HEAD, asked, read) + worker.expire(read)
        steps = [step for step in steps if step[0] != EXECUTOR or step[1].kind is Kind.REQUEST]  # 1 ran out of time
    assert numbers(steps) == []
    assert refusal(steps).extra["code"] == DeadlineExceeded.code


def test_a_call_that_is_cancelled_by_what_is_read_next_is_not_begun(worker):
    worker.receive(HEAD, request(1), 0.0)
    assert refusal(worker.receive(HEAD, Message(Kind.CANCEL, call(1)), 0.0)).flags == NOT_STARTED
    assert worker.expire(0.0) == []
    assert worker.next_deadline() is None


# -- cancelling --------------------------------------------------------------------------------------------------------


def test_a_queued_call_that_is_cancelled_is_not_begun(worker):
    ask(worker, 1)
    ask(worker, 2)
    gone = refusal(worker.receive(HEAD, Message(Kind.CANCEL, call(2)), 0.5))
    assert (gone.call_id, gone.flags, gone.extra["code"]) == (call(2), NOT_STARTED, Cancelled.code)
    worker.receive(EXECUTOR, reply(1), 1.0)
    assert worker.expire(1.0) == []
    assert leftovers(worker) == []


def test_a_running_call_is_told_and_is_answered_once(worker):
    ask(worker, 1)
    cancel = Message(Kind.CANCEL, call(1))
    assert worker.receive(HEAD, cancel, 0.5) == [(EXECUTOR, cancel)]
    assert worker.receive(EXECUTOR, reply(1), 1.0) == [(HEAD, reply(1))]


@pytest.mark.parametrize("number", [2, 99])
def test_nobody_cancels_the_calls_of_others_or_calls_that_are_not_here(worker, number):
    ask(worker, 1)
    ask(worker, 2)
    assert worker.receive(OTHER, Message(Kind.CANCEL, call(number)), 0.5) == []
    worker.receive(EXECUTOR, reply(1), 1.0)
    assert numbers(worker.expire(1.0)) == [2]


# -- answers in pieces and calls beside each other ---------------------------------------------------------------------


def test_pieces_go_to_who_asked_and_more_to_user_code_until_the_outcome(worker):
    ask(worker, 1)
    piece, more = Message(Kind.PARTIAL, call(1)), Message(Kind.MORE, call(1), extra={"items": 3})
    assert worker.receive(EXECUTOR, piece, 0.1) == [(HEAD, piece)]
    assert worker.receive(OTHER, more, 0.2) == []
    assert worker.receive(HEAD, more, 0.2) == [(EXECUTOR, more)]
    assert worker.receive(EXECUTOR, reply(1), 0.3) == [(HEAD, reply(1))]
    assert worker.receive(HEAD, more, 0.4) == []
    assert leftovers(worker) == []


def test_who_takes_pieces_is_asked_each_second_whether_it_is_still_there(worker):
    asked = request(1)
    asked.extra["partial"] = True
    worker.receive(HEAD, asked, 0.0)
    worker.expire(0.0)
    assert worker.next_deadline() == PROBE
    [(link, probe)] = worker.expire(PROBE)
    assert (link, probe.kind, probe.call_id) == (HEAD, Kind.STATUS, b"")
    assert worker.lost(HEAD, "no route", PROBE) == [(EXECUTOR, Message(Kind.CANCEL, call(1)))]
    worker.receive(EXECUTOR, reply(1), PROBE)
    assert worker.expire(2 * PROBE) == [] and worker.next_deadline() is None


def concurrent_worker(concurrency: int = 2) -> Worker:
    made = Worker("a/rep-0", boot=bytes(16), credit=9, is_concurrent=lambda on: on == "/async", concurrency=concurrency)
    made.receive(HEAD, Message(Kind.HELLO), 0.0)
    return made


def ask_for(worker: Worker, number: int, endpoint: str) -> Steps:
    asked = request(number)
    asked.endpoint = endpoint
    return worker.receive(HEAD, asked, 0.0) + worker.expire(0.0)


def test_concurrent_calls_run_beside_each_other_and_beside_one_other():
    worker = concurrent_worker()
    begun = [numbers(ask_for(worker, n, on)) for n, on in enumerate(["/async", "/", "/async", "/async", "/"])]
    assert begun == [[0], [1], [2], [], []]
    worker.receive(EXECUTOR, reply(2), 1.0)
    assert numbers(worker.expire(1.0)) == [3]
    worker.receive(EXECUTOR, reply(1), 2.0)
    assert numbers(worker.expire(2.0)) == [4]
    for number in (0, 3, 4):
        worker.receive(EXECUTOR, reply(number), 3.0)
    assert leftovers(worker) == [] and worker.next_deadline() is None


def test_a_concurrent_call_that_waits_can_be_cancelled():
    worker = concurrent_worker(concurrency=1)
    ask_for(worker, 1, "/async")
    ask_for(worker, 2, "/async")
    assert refusal(worker.receive(HEAD, Message(Kind.CANCEL, call(2)), 0.5)).flags == NOT_STARTED
    worker.receive(EXECUTOR, reply(1), 1.0)
    assert worker.expire(1.0) == []


# -- lost callers ------------------------------------------------------------------------------------------------------


def test_a_lost_caller_takes_its_queued_calls_along(worker):
    ask(worker, 1)
    ask(worker, 2)
    ask(worker, 3, OTHER)
    assert worker.lost(HEAD, "gone", 0.5) == [(EXECUTOR, Message(Kind.CANCEL, call(1)))]
    assert worker.receive(EXECUTOR, reply(1), 1.0) == [(HEAD, reply(1))]  # the driver finds out that it has no route
    assert numbers(worker.expire(1.0)) == [3]


def test_a_lost_caller_takes_along_only_what_is_still_there(worker):
    for number in (1, 2, 3):
        ask(worker, number)
    worker.receive(HEAD, Message(Kind.CANCEL, call(2)), 0.5)
    worker.lost(HEAD, "gone", 0.5)
    worker.lost(HEAD, "gone", 0.5)
    worker.receive(EXECUTOR, reply(1), 1.0)
    assert worker.expire(1.0) == []
    assert leftovers(worker) == []


def test_a_lost_caller_must_greet_again_and_has_its_whole_credit(worker):
    for number in (1, 2, 3):
        ask(worker, number)
    worker.lost(HEAD, "gone", 0.5)
    assert refusal(ask(worker, 4, now=0.5)).flags == NOT_STARTED
    worker.receive(EXECUTOR, reply(1), 1.0)
    worker.receive(HEAD, Message(Kind.HELLO), 1.0)
    assert numbers(ask(worker, 5, now=1.0) + worker.expire(1.0)) == [5]


# -- draining ----------------------------------------------------------------------------------------------------------


def test_a_draining_worker_finishes_what_it_has_and_refuses_the_rest(worker):
    ask(worker, 1)
    ask(worker, 2)
    assert worker.drain(0.5) == [(HEAD, Message(Kind.DRAIN)), (OTHER, Message(Kind.DRAIN))]
    refused = refusal(ask(worker, 3, now=0.5))
    assert (refused.flags, refused.extra["code"]) == (NOT_STARTED, Unavailable.code)
    for link in (HEAD, OTHER):
        worker.receive(link, Message(Kind.DRAINED), 0.6)
    assert not worker.is_idle(0.6)
    worker.receive(EXECUTOR, reply(1), 1.0)
    assert numbers(worker.expire(1.0)) == [2]
    assert worker.receive(EXECUTOR, reply(2), 2.0) == [(HEAD, reply(2))]  # although it has said DRAINED
    assert worker.is_idle(2.0)


def test_it_leaves_after_the_farewell_when_a_caller_sleeps(worker):
    worker.drain(10.0)
    assert worker.next_deadline() == pytest.approx(10.0 + FAREWELL)
    assert not worker.is_idle(10.0)
    worker.expire(10.0 + FAREWELL)
    assert worker.is_idle(10.0 + FAREWELL)
    assert worker.next_deadline() is None


def test_who_has_said_drained_can_still_cancel_what_waits_here(worker):
    ask(worker, 1)
    ask(worker, 2)
    worker.drain(0.5)
    worker.receive(HEAD, Message(Kind.DRAINED), 0.5)
    assert refusal(worker.receive(HEAD, Message(Kind.CANCEL, call(2)), 0.6)).extra["code"] == Cancelled.code
    assert worker.receive(OTHER, Message(Kind.CANCEL, call(1)), 0.6) == []


# -- what it tells -----------------------------------------------------------------------------------------------------


def test_the_status_counts_what_runs_waits_and_was_served(worker):
    ask(worker, 1)
    worker.receive(EXECUTOR, reply(1), 0.0)
    for number in (2, 3, 4):
        ask(worker, number)
    [(_, status)] = worker.receive(HEAD, Message(Kind.PING), 0.0)
    told = details_of(status)
    assert (told["inflight"], told["queued"], told["served"]) == (1, 2, 1)


def test_it_opens_nothing_itself_and_refuses_nonsense(worker):
    assert (worker.ways_out(), worker.opened("x", 0.0)) == ((), [])
    nonsense = ProtocolError("lies")
    nonsense.call_id = call(1)
    assert refusal(worker.malformed(HEAD, nonsense, 0.0)).extra["code"] == ProtocolError.code


def test_strangers_reach_nothing_where_a_nonce_is_demanded(network):
    """A web page that posts well-formed frames to a loopback port: HELLO, then REQUEST, without the nonce."""
    worker = network.add("a/rep-0", Worker("a/rep-0", boot=bytes(16), new_nonce=Ids(b"nonce")), executor=echo)
    stranger = (b"web page",)
    assert [message.kind for _, message in worker.role.receive(stranger, Message(Kind.HELLO), 0.0)] == [Kind.CHALLENGE]
    for kind in Kind:
        if kind is not Kind.HELLO:
            assert worker.role.receive(stranger, Message(kind, call(1)), 0.0) == []
    assert worker.executed == []


def test_ten_thousand_requests_leave_nothing_behind(worker):
    for number in range(10_000):
        link = HEAD if number % 2 else OTHER
        steps = ask(worker, number, link, float(number), budget=100.0 if number % 3 else None)
        assert numbers(steps) == [number]
        assert worker.receive(EXECUTOR, tell(steps[0][1]), number + 0.5)[0][0] == link
    assert leftovers(worker) == []
    assert len(worker._deadlines._heap) <= 1024
    assert not worker._outstanding and not worker._queue and not worker._calls
