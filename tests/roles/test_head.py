"""A head spreads requests over replicas, and answers each exactly once whatever happens to a replica."""

from __future__ import annotations

import pytest

from tests.support.clock import Ids
from tests.support.executors import crash, details_of, refuse, refuse_as_full, tell, text_of
from tests.support.leftovers import leftovers
from tests.support.network import Network, Peer
from tests.support.small_flow import SmallFlow
from zflow.errors import (
    AuthError,
    Cancelled,
    DeadlineExceeded,
    ExecutorError,
    InvalidRequest,
    PoisonRequest,
    ProtocolError,
    ResourceExhausted,
    Unavailable,
)
from zflow.roles import backlog
from zflow.roles.backlog import Room
from zflow.roles.call import RETRIES
from zflow.roles.contract import APPLICATION, GivenUp, Refusal, Steps, failure
from zflow.roles.ejection import FAILURES, PAUSE
from zflow.roles.head import PATIENCE, Head
from zflow.roles.isolation import TOGETHER
from zflow.roles.retry_budget import STORE
from zflow.roles.worker import Worker
from zflow.wire.frames import DOCUMENTS, MAX_PARTS, part
from zflow.wire.header import IDEMPOTENT, MAYBE_EXECUTED, NOT_STARTED, Kind, Message

R0, R1 = "a/rep-0", "a/rep-1"
UP = "gateway"


def call(number: int) -> bytes:
    return number.to_bytes(16, "big")


def request(number: int, *, budget: float | None = None, flags: int = 0) -> Message:
    microseconds = None if budget is None else int(budget * 1e6)
    return Message(Kind.REQUEST, call(number), "/", microseconds, flags, [part(DOCUMENTS, "gateway", [b"in"])])


def heavy(number: int, size: int, *, budget: float | None = None) -> Message:
    made = request(number, budget=budget)
    made.parts = [part(DOCUMENTS, "gateway", [bytes(size)])]
    return made


def spend(head: Head) -> None:
    """No retry is left."""
    while head._budget.draw(head.neighbours, is_refusal=False):
        pass


def reply(number: int) -> Message:
    return Message(Kind.REPLY, call(number))


def refused(number: int, error: type = Unavailable) -> Message:
    return failure(call(number), error("not now"), not_started=True)


def head_of(*links: str, ready: bool = True, credit: int = 2, **options: object) -> Head:
    """A head whose replicas are ready, with a credit of two each."""
    head = Head("a", links or (R0, R1), new_id=Ids(), chance=lambda: 0.5, **options)  # type: ignore[arg-type]
    for link in head.ways_out() if ready else ():
        make_ready(head, link, 0.0, credit)
    return head


def make_ready(head: Head, link: str, now: float, credit: int = 2) -> Steps:
    [(to, hello)] = head.opened(link, now)
    assert (to, hello.kind) == (link, Kind.HELLO)
    return head.receive(link, Message(Kind.READY, extra={"boot": bytes(16), "credit": credit}), now)


def lose(head: Head, link: str, now: float) -> Steps:
    """The replica is lost, and the moments pass in which others may be lost by the same cause."""
    return [*head.lost(link, "gone", now), *head.expire(now + TOGETHER)]


def sent(steps: Steps) -> list[tuple[object, int]]:
    """To whom which request leaves."""
    return [(link, int.from_bytes(message.call_id, "big")) for link, message in steps if message.kind is Kind.REQUEST]


def told(steps: Steps) -> Message:
    """The one outcome that the steps tell the gateway."""
    [outcome] = [message for link, message in steps if link == UP]
    return outcome


def at(refusal: Message, link: object, attempt: int) -> Message:
    """`refusal` with where it came to be."""
    refusal.extra["path"] = [[link, attempt]]
    return refusal


def is_failure(message: Message, error: type, flags: int) -> bool:
    return (message.kind, message.extra["code"], message.flags) == (Kind.FAILURE, error.code, flags)  # type: ignore[attr-defined]


# -- spreading ---------------------------------------------------------------------------------------------------------


def test_it_keeps_a_way_out_per_replica():
    assert head_of().ways_out() == [R0, R1]


def test_requests_go_to_whoever_has_the_least_to_do():
    head = head_of()
    assert [sent(head.receive(UP, request(number), 0.0)) for number in (1, 2, 3)] == [[(R0, 1)], [(R1, 2)], [(R0, 3)]]
    assert head.receive(R1, reply(2), 1.0) == [(UP, reply(2))]
    assert sent(head.receive(UP, request(4), 1.0)) == [(R1, 4)]


def test_beyond_all_credit_requests_wait_here_and_leave_oldest_first():
    head = head_of()
    for number in range(1, 5):
        head.receive(UP, request(number), 0.0)
    assert head.receive(UP, request(5), 0.0) == head.receive(UP, request(6), 0.0) == []
    assert head.receive(R1, reply(2), 1.0)[0] == (UP, reply(2))
    assert sent(head.receive(R0, reply(1), 1.0)) == [(R0, 6)]
    assert head.next_deadline() is None


def test_a_peer_that_grants_nonsense_gets_nothing():
    head = head_of(R0, ready=False)
    make_ready(head, R0, 0.0, credit=0)
    assert head.receive(UP, request(1), 0.0) == []


def test_what_was_cancelled_while_it_waited_is_cleared_away_when_time_is_looked_at():
    """Whoever asks a head for its deadlines only while it has calls must not leave that behind."""
    head = head_of(R0, credit=1)
    assert not head.has_calls
    head.receive(UP, request(1), 0.0)
    head.receive(UP, request(2), 0.0)
    head.receive(UP, Message(Kind.CANCEL, call(2)), 0.0)
    head.receive(R0, Message(Kind.REPLY, call(1)), 0.0)
    assert not head.has_calls
    head.receive(UP, request(3), 0.0)
    head.receive(UP, request(4), 0.0)
    head.lost(R0, "it died", 0.0)
    head.receive(UP, Message(Kind.CANCEL, call(4)), 0.0)
    assert head.has_calls
    head.expire(0.1)
    assert not head.has_calls and leftovers(head) == []


def test_what_waited_leaves_when_a_replica_becomes_ready():
    head = head_of(R0, ready=False)
    assert head.receive(UP, request(1), 0.0) == []
    assert sent(make_ready(head, R0, 1.0)) == [(R0, 1)]


def test_a_challenge_is_answered():
    head = head_of(R0, ready=False)
    head.opened(R0, 0.0)
    [(link, proof)] = head.receive(R0, Message(Kind.CHALLENGE, extra={"nonce": b"n"}), 0.0)
    assert (link, proof.kind, proof.extra["nonce"]) == (R0, Kind.HELLO, b"n")
    assert head.receive(R0, Message(Kind.CHALLENGE), 0.0) == []


def test_the_same_request_again_is_dropped_and_counted():
    head = head_of()
    head.receive(UP, request(1), 0.0)
    assert head.receive(UP, request(1), 0.0) == []
    assert head.dropped == 1
    assert head.receive(R0, reply(1), 1.0) == [(UP, reply(1))]


def test_what_no_replica_says_is_dropped_and_counted():
    head = head_of()
    for kind in (Kind.PING, Kind.REQUEST, Kind.CANCEL, Kind.HELLO, Kind.PARTIAL, Kind.STATUS, Kind.DRAINED):
        assert head.receive(R0, Message(kind, call(9)), 0.0) == []
    assert head.dropped == 7


def test_an_idempotent_node_marks_its_requests():
    [(_, marked)] = head_of(idempotent=True).receive(UP, request(1), 0.0)
    assert marked.flags & IDEMPOTENT
    [(_, unmarked)] = head_of().receive(UP, request(1), 0.0)
    assert not unmarked.flags & IDEMPOTENT


def test_a_full_queue_refuses_at_once(monkeypatch):
    monkeypatch.setattr(backlog, "QUEUE_LIMIT", 2)
    head = head_of(R0, credit=1)
    for number in (1, 2, 3):
        head.receive(UP, request(number), 0.0)
    full = told(head.receive(UP, request(4), 0.0))
    assert is_failure(full, ResourceExhausted, NOT_STARTED)
    assert details_of(full)["node"] == "a" and details_of(full)["retry_after"] > 0


def test_what_no_replica_would_accept_is_refused_before_it_costs_a_connection():
    head = head_of()
    too_much = request(1)
    too_much.parts = [part(DOCUMENTS, "gateway", [b"x"]) for _ in range(MAX_PARTS + 1)]
    refused = told(head.receive(UP, too_much, 0.0))
    assert is_failure(refused, InvalidRequest, NOT_STARTED)
    assert "send fewer Documents" in details_of(refused)["message"]
    assert leftovers(head) == []


def test_requests_that_were_given_up_do_not_fill_the_queue(monkeypatch):
    monkeypatch.setattr(backlog, "QUEUE_LIMIT", 2)
    head = head_of(R0, credit=1)
    for number in range(1, 50):
        head.receive(UP, request(number), 0.0)
        if number > 2:  # one runs, one waits in front
            head.receive(UP, Message(Kind.CANCEL, call(number)), 0.0)
    assert head.receive(UP, request(50), 0.0) == []
    assert is_failure(told(head.receive(UP, request(51), 0.0)), ResourceExhausted, NOT_STARTED)
    assert len(head._queue) < 30
    assert sent(head.receive(R0, reply(1), 1.0)) == [(R0, 2)]
    assert sent(head.receive(R0, reply(2), 1.0)) == [(R0, 50)]


def test_what_waits_is_bounded_in_bytes_as_well():
    head = head_of(R0, credit=1, room=Room(100))
    assert sent(head.receive(UP, heavy(1, 90), 0.0)) == [(R0, 1)], "what need not wait does not count among it"
    assert head.receive(UP, heavy(2, 90), 0.0) == []
    full = told(head.receive(UP, heavy(3, 20), 0.0))
    assert is_failure(full, ResourceExhausted, NOT_STARTED)
    assert "90 bytes" in details_of(full)["message"] and details_of(full)["retry_after"] > 0
    head.receive(R0, reply(1), 1.0)
    assert head.receive(UP, heavy(4, 20), 1.0) == []


@pytest.mark.parametrize("how", ["cancelled", "late", "caller gone", "answered"])
def test_what_waits_no_longer_holds_no_bytes(how):
    room = Room(100)
    head = head_of(R0, credit=1, room=room)
    caller = (b"caller",)
    head.receive(UP, request(1), 0.0)
    head.receive(caller, heavy(2, 90, budget=1.0), 0.0)
    assert room.taken == 90
    if how == "cancelled":
        head.receive(caller, Message(Kind.CANCEL, call(2)), 0.5)
    elif how == "late":
        head.expire(1.0)
    elif how == "caller gone":
        head.lost(caller, "cannot send", 0.5)
    else:
        head.receive(R0, reply(1), 0.5)
        head.receive(R0, reply(2), 0.6)
    assert room.taken == 0
    head.receive(R0, reply(1), 1.0)
    assert leftovers(head) == []


def test_what_is_late_leaves_first_when_the_queue_is_full():
    head = head_of(R0, credit=1, room=Room(100))
    head.receive(UP, request(1), 0.0)
    head.receive(UP, heavy(2, 90, budget=1.0), 0.0)
    [(to, late)] = head.receive(UP, heavy(3, 90), 1.0)
    assert to == UP and late.call_id == call(2) and is_failure(late, DeadlineExceeded, NOT_STARTED)
    assert sent(head.receive(R0, reply(1), 1.5)) == [(R0, 3)]


def test_what_replicas_have_is_bounded_in_bytes_but_an_idle_one_gets_whatever_there_is():
    head = head_of(credit=4, room=Room(100))
    assert sent(head.receive(UP, heavy(1, 90), 0.0)) == [(R0, 1)]
    assert sent(head.receive(UP, heavy(2, 90), 0.0)) == [(R1, 2)], "it had nothing"
    assert head.receive(UP, heavy(3, 90), 0.0) == [], "it has to wait, although there is credit"
    assert is_failure(told(head.receive(UP, heavy(4, 90), 0.0)), ResourceExhausted, NOT_STARTED)
    assert sent(head.receive(R0, reply(1), 1.0)) == [(R0, 3)]
    assert head.receive(UP, heavy(5, 11), 1.0) == []
    assert head.receive(R1, reply(2), 1.0)[-1][0] == R1, "which is idle then"
    assert sent(head.receive(UP, request(6), 1.0)) == [], "what comes later does not overtake"


@pytest.mark.parametrize("how", ["answered", "cancelled", "late", "caller gone", "handed back", "lost", "lost twice"])
def test_however_a_request_ends_its_bytes_are_let_go(how):
    room = Room(1000)
    head = head_of(credit=4, room=room)
    caller = (b"caller",)
    head.receive(caller, heavy(1, 90, budget=1.0), 0.0)
    head.receive(caller, heavy(2, 90, budget=1.0), 0.0)
    assert (room.sent, room.taken) == (180, 0)
    if how == "cancelled":
        head.receive(caller, Message(Kind.CANCEL, call(1)), 0.5)
        assert room.sent == 90
    elif how == "late":
        head.expire(1.0)
        assert room.sent == 0
    elif how == "caller gone":
        head.lost(caller, "cannot send", 0.5)
        assert room.sent == 0
    elif how == "handed back":
        assert sent(head.receive(R0, refused(1), 0.5)) == [(R1, 1)]
        assert room.sent == 180
    elif how.startswith("lost"):
        head._calls[call(1)].request.flags |= IDEMPOTENT
        lose(head, R0, 0.5)
        assert room.sent == 90, "of the other one"
        assert sent(head.receive(R1, reply(2), 0.6)) == [(R1, 1)]
        assert room.sent == 90
        if how == "lost twice":
            lose(head, R1, 0.7)
            assert room.sent == 0
    for link in (R0, R1):
        for number in (1, 2):
            head.receive(link, reply(number), 0.9)
    head.expire(10.0)
    assert (room.sent, room.taken) == (0, 0)


# -- retries within a budget -------------------------------------------------------------------------------------------


def test_a_storm_of_refusals_ends_with_the_budget():
    head = head_of(credit=64)
    attempts = failures = 0
    for number in range(1, 1001):
        steps = head.receive(UP, request(number), 0.0)
        while leaving := sent(steps):
            attempts += 1
            [(link, _)] = leaving
            steps = head.receive(link, refused(number, ResourceExhausted), 0.0)
        failures += is_failure(told(steps), ResourceExhausted, NOT_STARTED)
    assert failures == 1000 and attempts == 1000 + STORE


def test_what_goes_well_pays_for_retries_again():
    head = head_of()
    spend(head)
    for number in range(1, 11):
        [(link, _)] = sent(head.receive(UP, request(number), 0.0))
        head.receive(link, reply(number), 0.0)
    head.receive(UP, request(11), 0.0)
    assert sent(head.receive(R0, refused(11), 0.0)) == [(R1, 11)]
    assert is_failure(told(head.receive(R1, refused(11), 0.0)), Unavailable, NOT_STARTED)


def test_a_rolling_update_costs_no_retries():
    head = head_of(credit=64)
    spend(head)
    for number in range(1, 31):
        head.receive(UP, request(number), 0.0)
    head.receive(R0, Message(Kind.DRAIN), 0.0)
    handed_back = list(head._neighbours[R0].calls)
    assert len(handed_back) == 15
    for call_id in handed_back:
        number = int.from_bytes(call_id, "big")
        assert sent(head.receive(R0, refused(number), 0.0)) == [(R1, number)]


def test_the_loss_of_a_connection_costs_one_retry_for_all_that_was_on_it():
    head = head_of(credit=64)
    for number in range(1, 61):
        head.receive(UP, request(number, flags=IDEMPOTENT), 0.0)
    assert len(sent(head.lost(R0, "the connection broke", 0.0))) == 30


def test_without_a_budget_a_loss_is_told_at_once():
    head = head_of()
    spend(head)
    head.receive(UP, request(1, flags=IDEMPOTENT), 0.0)
    lost = told(head.lost(R0, "the connection broke", 0.0))
    assert is_failure(lost, Unavailable, MAYBE_EXECUTED)
    assert "not sent again because too much fails" in details_of(lost)["message"]
    assert leftovers(head) == []


# -- ejection ----------------------------------------------------------------------------------------------------------


def let_fail(head: Head, link: str, now: float) -> None:
    """All its calls come too late, and then it lets go of them."""
    for number in range(100, 100 + FAILURES):
        head.receive(UP, request(number, budget=1.0), now)
        head.expire(now + 1.0)
        head.receive(link, reply(number), now + 1.0)


def test_a_replica_that_fails_in_a_row_gets_nothing_then_one_request_then_all():
    head = head_of()
    let_fail(head, R0, 0.0)
    assert [sent(head.receive(UP, request(number), 1.0)) for number in (1, 2, 3)] == [[(R1, 1)], [(R1, 2)], []]
    assert head.next_deadline() == 1.0 + PAUSE
    assert sent(head.expire(1.0 + PAUSE)) == [(R0, 3)], "the one that is to show whether it is well"
    assert head.receive(UP, request(4), 7.0) == []
    assert sent(head.receive(R0, reply(3), 7.0)) == [(R0, 4)]
    assert sent(head.receive(UP, request(5), 7.0)) == [(R0, 5)]


def test_late_answers_of_a_slow_replica_do_not_make_it_well_but_one_in_time_does():
    head = head_of()
    let_fail(head, R0, 0.0)
    other = head_of()
    for number in range(1, FAILURES):
        other.receive(UP, request(number, budget=1.0), 0.0)
        other.expire(1.0)
        other.receive(R0, reply(number), 1.0)
    other.receive(UP, request(50), 1.0)
    other.receive(R0, reply(50), 1.0)
    other.receive(UP, request(51, budget=1.0), 1.0)
    other.expire(2.0)
    assert (head._neighbours[R0].is_ejected, other._neighbours[R0].is_ejected) == (True, False)


def test_user_exceptions_are_no_failures_of_a_replica():
    head = head_of()
    for number in range(1, 3 * FAILURES):
        head.receive(UP, request(number), 0.0)
        head.receive(R0, failure(call(number), ExecutorError("it raised")), 0.0)
    assert not head._neighbours[R0].is_ejected


def test_an_ejected_replica_serves_when_the_last_other_one_is_gone():
    head = head_of()
    let_fail(head, R0, 0.0)
    head.receive(UP, request(1, flags=IDEMPOTENT), 1.0)
    assert sent(head.lost(R1, "the connection broke", 1.0)) == []
    assert sent(head.expire(1.0 + TOGETHER)) == [(R0, 1)]


def test_a_single_replica_is_never_ejected():
    head = head_of(R0)
    let_fail(head, R0, 0.0)
    assert sent(head.receive(UP, request(1), 1.0)) == [(R0, 1)]


# -- outcomes ----------------------------------------------------------------------------------------------------------


def test_an_outcome_that_comes_twice_is_told_once():
    head = head_of()
    head.receive(UP, request(1), 0.0)
    assert head.receive(R0, reply(1), 1.0) == [(UP, reply(1))]
    assert head.receive(R0, reply(1), 1.0) == []
    assert head.dropped == 1


def test_an_outcome_from_a_replica_that_was_not_asked_is_dropped():
    head = head_of()
    head.receive(UP, request(1), 0.0)
    assert head.receive(R1, reply(1), 1.0) == []
    assert head.receive(R0, reply(1), 1.0) == [(UP, reply(1))]
    assert head.dropped == 1


def test_a_failure_of_user_code_is_passed_on_and_not_tried_again():
    head = head_of(idempotent=True)
    head.receive(UP, request(1), 0.0)
    raised = failure(call(1), ExecutorError("it raised", node="a"))
    assert head.receive(R0, raised, 1.0) == [(UP, raised)]


def test_nonsense_instead_of_an_answer_ends_the_call():
    head = head_of(R0, credit=1)
    head.receive(UP, request(1), 0.0)
    head.receive(UP, request(2), 0.0)
    nonsense = ProtocolError("the layout lies")
    nonsense.call_id = call(1)
    steps = head.malformed(R0, nonsense, 1.0)
    assert is_failure(told(steps), ProtocolError, MAYBE_EXECUTED)
    assert "the layout lies" in details_of(told(steps))["message"]
    assert sent(steps) == [(R0, 2)]


def test_nonsense_about_nobodys_call_is_dropped():
    head = head_of()
    head.receive(UP, request(1), 0.0)
    for link, call_id in ((R0, b""), (R0, call(9)), (R1, call(1)), ((b"caller",), call(1))):
        nonsense = ProtocolError("?")
        nonsense.call_id = call_id
        assert head.malformed(link, nonsense, 0.0) == []
    assert head.dropped == 4


@pytest.mark.parametrize("code", [None, [6], {"a": 1}, "6", 6.5, 10**30])
def test_a_foreign_failure_with_a_strange_code_is_passed_on(code):
    head = head_of()
    head.receive(UP, request(1), 0.0)
    strange = Message(Kind.FAILURE, call(1), flags=NOT_STARTED, extra={"code": code})
    assert head.receive(R0, strange, 1.0) == [(UP, strange)]


# -- what has not started goes elsewhere -------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [Unavailable, ResourceExhausted])
def test_what_a_replica_did_not_begin_goes_to_another_at_once(error):
    head = head_of()
    head.receive(UP, request(1), 0.0)
    assert sent(head.receive(R0, refused(1, error), 0.0)) == [(R1, 1)]
    assert head.receive(R1, reply(1), 1.0) == [(UP, reply(1))]


def test_the_other_is_preferred_although_it_has_more_to_do():
    head = head_of(credit=4)
    for number in (1, 2, 3, 4):
        head.receive(UP, request(number), 0.0)
    head.receive(R0, reply(1), 0.0)
    assert sent(head.receive(R0, refused(3), 0.0)) == [(R1, 3)]


def test_a_refusal_is_passed_on_after_the_last_attempt():
    head = head_of()
    link = sent(head.receive(UP, request(1), 0.0))[0][0]
    for _ in range(RETRIES):
        [(link, _)] = sent(head.receive(link, refused(1), 0.0))  # type: ignore[arg-type]
    assert told(head.receive(link, refused(1), 0.0)) == at(refused(1), link, 1 + RETRIES)  # type: ignore[arg-type]
    assert leftovers(head) == []


def test_a_failure_that_asking_again_cannot_mend_is_passed_on_at_once():
    head = head_of()
    head.receive(UP, request(1), 0.0)
    late = refused(1, DeadlineExceeded)
    assert head.receive(R0, late, 0.0) == [(UP, late)]


def test_a_failure_that_may_have_run_is_not_sent_elsewhere():
    head = head_of()
    head.receive(UP, request(1), 0.0)
    unknown = failure(call(1), Unavailable("who knows", maybe_executed=True))
    assert head.receive(R0, unknown, 0.0) == [(UP, unknown)]


def test_the_only_replica_is_asked_again_after_a_while_that_grows():
    head = head_of(R0)
    head.receive(UP, request(1), 0.0)
    pauses = []
    now = 0.0
    for _ in range(RETRIES):
        assert sent(head.receive(R0, refused(1), now)) == []
        due = head.next_deadline()
        assert due is not None
        pauses.append(due - now)
        assert sent(head.expire(due - 0.001)) == []
        assert sent(head.expire(due)) == [(R0, 1)]
        now = due
    assert pauses == pytest.approx([0.05, 0.1])
    assert told(head.receive(R0, refused(1), now)) == at(refused(1), R0, 3)
    assert head.next_deadline() is None


def test_a_call_that_waits_for_its_next_attempt_can_be_cancelled():
    head = head_of(R0)
    head.receive(UP, request(1), 0.0)
    head.receive(R0, refused(1), 0.0)
    assert is_failure(told(head.receive(UP, Message(Kind.CANCEL, call(1)), 0.0)), Cancelled, NOT_STARTED)
    assert head.expire(9.0) == []
    assert leftovers(head) == []


# -- lost replicas -----------------------------------------------------------------------------------------------------


def test_what_a_lost_replica_had_may_have_run():
    head = head_of()
    head.receive(UP, request(1), 0.0)
    lost = told(head.lost(R0, "ipc://x: the connection broke", 1.0))
    assert is_failure(lost, Unavailable, MAYBE_EXECUTED)
    details = details_of(lost)
    assert R0 in details["message"] and "the connection broke" in details["message"]
    assert (details["node"], details["peer"]) == ("a", R0)
    assert leftovers(head) == []


def test_whether_it_may_run_again_is_known_when_it_is_lost_although_it_was_not_when_it_was_sent():
    head = head_of()
    head.receive(UP, request(1), 0.0)
    head.receive(R0, Message(Kind.READY, extra={"boot": bytes(16), "credit": 2, "idempotent": ["*"]}), 0.5)
    assert sent(lose(head, R0, 1.0)) == [(R1, 1)]


@pytest.mark.parametrize("by_node", [True, False])
def test_an_idempotent_request_is_sent_elsewhere_and_has_one_outcome(by_node):
    head = head_of(idempotent=by_node)
    head.receive(UP, request(1, flags=0 if by_node else IDEMPOTENT), 0.0)
    assert sent(lose(head, R0, 1.0)) == [(R1, 1)]
    make_ready(head, R0, 2.0)
    assert head.receive(R0, reply(1), 2.0) == []  # as if the old one had answered after all
    assert head.receive(R1, reply(1), 3.0) == [(UP, reply(1))]
    assert head.dropped == 1


@pytest.mark.parametrize("retries", [0, 1, 2, 5])
def test_an_idempotent_request_is_sent_again_at_most_as_often_as_asked(retries):
    head = head_of(R0, idempotent=True, retries=retries)
    attempts = len(sent(head.receive(UP, request(1), 0.0)))
    for second in range(1, 20):
        steps = lose(head, R0, float(second))
        if any(link == UP for link, _ in steps):
            break
        attempts += len(sent(make_ready(head, R0, float(second))))
    assert is_failure(told(steps), Unavailable, MAYBE_EXECUTED)
    assert attempts == 1 + retries


def test_by_default_an_idempotent_request_is_sent_three_times():
    head = head_of(R0, R1, "a/rep-2", "a/rep-3", idempotent=True)
    assert sent(head.receive(UP, request(1), 0.0)) == [(R0, 1)]
    assert sent(lose(head, R0, 1.0)) == [(R1, 1)]
    assert lose(head, R1, 1.0) == []  # two have been lost with it: did they die of it?
    for link in (R0, R1):
        assert make_ready(head, link, 1.0) == []  # the very same ones are back
    [(third, _)] = sent(head.expire(1.1))
    assert is_failure(told(head.lost(third, "gone", 1.2)), Unavailable, MAYBE_EXECUTED)  # type: ignore[arg-type]


def test_what_a_lost_replica_had_comes_before_what_waited_and_in_its_old_order():
    head = head_of(R0, idempotent=True)
    for number in (1, 2, 3):
        head.receive(UP, request(number), 0.0)
    lose(head, R0, 1.0)
    assert sent(make_ready(head, R0, 2.0, credit=3)) == [(R0, 1)]  # alone, and so is the next
    assert sent(head.receive(R0, reply(1), 2.0)) == [(R0, 2)]
    assert sent(head.receive(R0, reply(2), 2.0)) == [(R0, 3)]


def test_a_refusal_after_a_loss_does_not_claim_that_nothing_ran():
    """1. r0 has the call and is lost: it may have run. 2. r1 and then r0 refuse it, certainly unstarted there."""
    head = head_of(idempotent=True)
    head.receive(UP, request(1), 0.0)
    assert sent(lose(head, R0, 1.0)) == [(R1, 1)]
    make_ready(head, R0, 1.0)
    assert sent(head.receive(R1, refused(1), 1.0)) == [(R0, 1)]
    assert is_failure(told(head.receive(R0, refused(1), 1.0)), Unavailable, MAYBE_EXECUTED)


def test_waiting_again_after_a_loss_does_not_claim_that_nothing_ran_either():
    for end in ("patience", "deadline", "cancel"):
        head = head_of(R0, idempotent=True)
        head.receive(UP, request(1, budget=2.0 if end == "deadline" else None), 0.0)
        head.lost(R0, "gone", 1.0)
        steps = head.receive(UP, Message(Kind.CANCEL, call(1)), 1.0) if end == "cancel" else head.expire(100.0)
        assert told(steps).flags == MAYBE_EXECUTED, end


def test_a_refused_request_that_never_ran_says_so_however_it_ends():
    for end in ("patience", "deadline", "cancel"):
        head = head_of(R0)
        head.receive(UP, request(1, budget=2.0 if end == "deadline" else None), 0.0)
        head.receive(R0, refused(1), 0.0)
        head.lost(R0, "gone", 0.001)
        steps = head.receive(UP, Message(Kind.CANCEL, call(1)), 1.0) if end == "cancel" else head.expire(2.0)
        steps = steps or head.expire(100.0)
        assert told(steps).flags == NOT_STARTED, end


# -- patience ----------------------------------------------------------------------------------------------------------


def test_a_request_waits_for_a_replica_only_so_long_and_then_hears_why():
    head = head_of(ready=False)
    head.lost(R0, "tcp://x:1: nobody listens there", 10.0)
    assert head.receive(UP, request(1), 10.0) == []
    assert head.next_deadline() == 10.0 + PATIENCE
    assert head.expire(10.0 + PATIENCE - 0.001) == []
    nobody = told(head.expire(10.0 + PATIENCE))
    assert is_failure(nobody, Unavailable, NOT_STARTED)
    message = details_of(nobody)["message"]
    assert "tcp://x:1: nobody listens there" in message and f"{R1}: no answer to HELLO" in message
    assert details_of(nobody)["node"] == "a"
    assert leftovers(head) == [] and head.next_deadline() is None


def test_a_replica_that_refuses_every_connection_does_not_prolong_the_wait():
    head = head_of(R0, ready=False)
    head.receive(UP, request(1), 0.0)
    steps: Steps = []
    now = 0.0
    while not steps and now < 60.0:
        now += 0.5
        head.opened(R0, now)
        head.lost(R0, "nobody listens there", now)
        steps = head.expire(now)
    assert is_failure(told(steps), Unavailable, NOT_STARTED)
    assert now == PATIENCE


def test_the_wait_begins_anew_when_the_last_ready_replica_is_lost():
    head = head_of(R0, credit=1)
    head.receive(UP, request(1), 0.0)
    head.receive(UP, request(2), 0.0)
    head.lost(R0, "gone", 100.0)
    assert head.expire(100.0) == []
    assert head.next_deadline() == 100.0 + PATIENCE
    assert is_failure(told(head.expire(100.0 + PATIENCE)), Unavailable, NOT_STARTED)


def test_draining_is_no_reason_to_wait_longer_than_that():
    head = head_of(R0, credit=1)
    head.receive(UP, request(1), 0.0)
    head.receive(UP, request(2), 0.0)
    assert head.receive(R0, Message(Kind.DRAIN), 100.0) == [(R0, Message(Kind.DRAINED))]
    head.receive(R0, Message(Kind.DRAIN), 102.0)  # said twice
    assert told(head.expire(100.0 + PATIENCE)).call_id == call(2)
    assert head.receive(R0, reply(1), 110.0) == [(UP, reply(1))]


def test_what_a_draining_replica_loses_in_the_end_waits_as_long_as_a_new_request():
    head = head_of(R0, credit=1, idempotent=True)
    head.receive(UP, request(1), 0.0)
    head.receive(R0, Message(Kind.DRAIN), 100.0)
    lose(head, R0, 102.0)
    assert head.next_deadline() == 102.0 + PATIENCE
    assert is_failure(told(head.expire(102.0 + PATIENCE)), Unavailable, MAYBE_EXECUTED)


def test_behind_a_busy_replica_a_request_waits_for_ever():
    head = head_of(R0, credit=1)
    head.receive(UP, request(1), 0.0)
    head.receive(UP, request(2), 0.0)
    assert head.next_deadline() is None
    assert head.expire(1e6) == []


def test_all_who_have_waited_long_enough_hear_it_and_the_others_go_on_waiting():
    head = head_of(R0, ready=False)
    for number in range(1, 6):
        head.receive(UP, request(number), float(number))
    steps = head.expire(3.0 + PATIENCE)
    assert [message.call_id for _, message in steps] == [call(1), call(2), call(3)]
    assert sent(make_ready(head, R0, 7.0)) == [(R0, 4), (R0, 5)]


# -- draining ----------------------------------------------------------------------------------------------------------


def test_a_draining_replica_gets_no_more_and_its_answers_still_count():
    head = head_of()
    head.receive(UP, request(1), 0.0)
    assert head.receive(R0, Message(Kind.DRAIN), 0.0) == [(R0, Message(Kind.DRAINED))]
    assert [sent(head.receive(UP, request(number), 0.0)) for number in (2, 3, 4)] == [[(R1, 2)], [(R1, 3)], []]
    assert head.receive(R0, reply(1), 1.0) == [(UP, reply(1))]


# -- deadlines ---------------------------------------------------------------------------------------------------------


def test_what_is_left_of_the_budget_travels_on():
    head = head_of(R0, credit=1)
    head.receive(UP, request(1), 0.0)
    head.receive(UP, request(2, budget=2.0), 10.0)
    [(_, forwarded)] = [step for step in head.receive(R0, reply(1), 10.5) if step[0] == R0]
    assert forwarded.budget == 1_500_000


def test_the_nodes_own_limit_counts_when_it_is_nearer():
    for budget, timeout, left in (
        (None, 2.0, 2_000_000),
        (5.0, 2.0, 2_000_000),
        (1.0, 2.0, 1_000_000),
        (1.0, None, 1_000_000),
    ):
        [(_, forwarded)] = head_of(timeout=timeout).receive(UP, request(1, budget=budget), 7.0)
        assert forwarded.budget == left


def test_a_deadline_that_passes_in_the_queue_proves_that_nothing_ran():
    head = head_of(R0, credit=1)
    head.receive(UP, request(1), 0.0)
    head.receive(UP, request(2, budget=1.0), 0.0)
    assert head.next_deadline() == 1.0
    [(to, late)] = head.expire(1.0)
    assert (to, late.call_id) == (UP, call(2))
    assert is_failure(late, DeadlineExceeded, NOT_STARTED)
    assert "waited" in details_of(late)["message"]


def test_a_deadline_that_passes_at_a_replica_is_told_at_once_and_the_replica_is_asked_to_stop():
    head = head_of(R0, credit=1)
    head.receive(UP, request(1, budget=1.0), 0.0)
    steps = head.expire(1.0)
    assert is_failure(told(steps), DeadlineExceeded, MAYBE_EXECUTED)
    assert (R0, Message(Kind.CANCEL, call(1))) in steps
    assert R0 in details_of(told(steps))["message"]


def test_a_late_answer_is_not_told_but_frees_the_place():
    head = head_of(R0, credit=1)
    head.receive(UP, request(1, budget=1.0), 0.0)
    head.expire(1.0)
    assert head.receive(UP, request(2), 1.0) == []  # the replica still works on the first
    steps = head.receive(R0, reply(1), 9.0)
    assert [link for link, _ in steps] == [R0] and sent(steps) == [(R0, 2)]


def test_a_late_refusal_frees_the_place_and_is_not_tried_again():
    head = head_of(idempotent=True, credit=1)
    head.receive(UP, request(1, budget=1.0), 0.0)
    head.expire(1.0)
    assert head.receive(R0, refused(1), 2.0) == []
    assert leftovers(head) == [] and sent(head.receive(UP, request(2), 2.0)) == [(R0, 2)]


def test_an_abandoned_call_is_not_sent_again_when_its_replica_is_lost():
    head = head_of(idempotent=True)
    head.receive(UP, request(1, budget=1.0), 0.0)
    head.expire(1.0)
    assert head.lost(R0, "gone", 2.0) == []
    assert leftovers(head) == []


def test_a_request_without_any_time_left_is_told_by_the_next_expire_and_not_sent():
    head = head_of()
    assert head.receive(UP, request(1, budget=0.0), 5.0) == []
    assert head.next_deadline() == 5.0
    assert is_failure(told(head.expire(5.0)), DeadlineExceeded, NOT_STARTED)
    assert leftovers(head) == []


def test_a_busy_replica_keeps_no_payload_of_a_call_that_is_over():
    head = head_of(R0)
    head.receive(UP, request(1, budget=1.0), 0.0)
    head.expire(1.0)
    assert not [item for item in leftovers(head) if isinstance(item, Message)]


# -- cancelling --------------------------------------------------------------------------------------------------------


def test_a_waiting_request_is_cancelled_here():
    head = head_of(R0, credit=1)
    head.receive(UP, request(1), 0.0)
    head.receive(UP, request(2), 0.0)
    assert is_failure(told(head.receive(UP, Message(Kind.CANCEL, call(2)), 0.0)), Cancelled, NOT_STARTED)
    assert head.receive(R0, reply(1), 1.0) == [(UP, reply(1))]


def test_a_request_at_a_replica_is_cancelled_there_and_its_outcome_told_as_it_comes():
    head = head_of()
    head.receive(UP, request(1), 0.0)
    assert head.receive(UP, Message(Kind.CANCEL, call(1)), 0.5) == [(R0, Message(Kind.CANCEL, call(1)))]
    assert head.receive(R0, reply(1), 1.0) == [(UP, reply(1))]
    assert leftovers(head) == []


@pytest.mark.parametrize("end", ["lost", "refused"])
def test_a_cancelled_request_is_never_sent_again(end):
    head = head_of(idempotent=True)
    head.receive(UP, request(1), 0.0)
    head.receive(UP, Message(Kind.CANCEL, call(1)), 0.5)
    steps = head.lost(R0, "gone", 1.0) if end == "lost" else head.receive(R0, refused(1), 1.0)
    assert sent(steps) == []
    assert told(steps).flags == (MAYBE_EXECUTED if end == "lost" else NOT_STARTED)
    assert leftovers(head) == []


def test_a_cancelled_request_keeps_its_deadline_but_not_its_payload():
    head = head_of()
    head.receive(UP, request(1, budget=1.0), 0.0)
    head.receive(UP, Message(Kind.CANCEL, call(1)), 0.5)
    assert not [item for item in leftovers(head) if isinstance(item, Message) and item.parts]
    assert is_failure(told(head.expire(1.0)), DeadlineExceeded, MAYBE_EXECUTED)


def test_nobody_cancels_the_calls_of_others():
    head = head_of()
    head.receive(UP, request(1), 0.0)
    assert head.receive(APPLICATION, Message(Kind.CANCEL, call(1)), 0.0) == []
    assert head.receive(UP, Message(Kind.CANCEL, call(9)), 0.0) == []


def test_a_lost_caller_takes_its_calls_along():
    head = head_of(R0, credit=1)
    caller = (b"caller",)
    head.receive(caller, request(1), 0.0)
    head.receive(caller, request(2), 0.0)
    head.receive(UP, request(3), 0.0)
    assert head.lost(caller, "gone", 0.5) == [(R0, Message(Kind.CANCEL, call(1)))]
    assert not head.is_idle(0.5)
    assert sent(head.receive(R0, reply(1), 1.0)) == [(R0, 3)]
    assert head.receive(R0, reply(3), 2.0) == [(UP, reply(3))]
    assert head.is_idle(2.0) and leftovers(head) == []


def test_it_is_idle_when_nobody_waits_although_a_replica_still_works():
    head = head_of()
    head.receive(UP, request(1, budget=1.0), 0.0)
    assert not head.is_idle(0.0)
    head.expire(1.0)
    assert head.is_idle(1.0)
    assert head.drain(1.0) == []


# -- with workers ------------------------------------------------------------------------------------------------------


def pool(network: Network, executors: list, *, nonces: bool = False, **options: object) -> Peer:  # type: ignore[type-arg]
    """A head with a worker per executor function."""
    links = [f"a/rep-{number}" for number in range(len(executors))]
    for link, executor in zip(links, executors):
        worker = Worker(link, boot=bytes(16), credit=2, new_nonce=Ids(b"nonce") if nonces else None)
        network.add(link, worker, executor=executor, takes=0.1)
    options = {"chance": lambda: 0.5, **options}
    head = network.add("head", Head("a", links, new_id=Ids(), **options))  # type: ignore[arg-type]
    network.run()
    return head


@pytest.mark.parametrize("nonces", [False, True])
def test_a_hundred_requests_over_two_replicas(network, nonces):
    head = pool(network, [tell, tell], nonces=nonces)
    for number in range(100):
        network.ask("head", request(number))
    network.run()
    assert sorted(answer.call_id for answer in head.answers) == [call(number) for number in range(100)]
    assert {len(network.peers[link].executed) for link in (R0, R1)} == {50}
    assert leftovers(head.role) == []


def test_a_replica_that_always_refuses_costs_an_attempt_and_no_request(network):
    head = pool(network, [refuse_as_full, tell])
    for number in range(10):
        network.ask("head", request(number))
        network.run()
    assert {answer.kind for answer in head.answers} == {Kind.REPLY}
    assert len(head.answers) == 10


def test_when_all_refuse_the_refusal_is_told_after_three_attempts(network):
    head = pool(network, [refuse, refuse])
    network.ask("head", request(1))
    network.run()
    assert len(network.peers[R0].executed + network.peers[R1].executed) == 1 + RETRIES
    assert [answer.flags for answer in head.answers] == [NOT_STARTED]


def test_a_poisonous_request_kills_no_more_than_two_replicas(network):
    head = pool(network, [crash, crash, crash, crash], idempotent=True)
    network.ask("head", request(1))
    network.run()
    assert [peer.is_alive for name, peer in network.peers.items() if name != "head"].count(False) == 2
    [answer] = head.answers
    assert is_failure(answer, PoisonRequest, MAYBE_EXECUTED)


def test_a_replica_that_comes_back_is_used_again(network):
    head = pool(network, [tell])
    network.kill(R0)
    network.ask("head", request(1))
    network.run(1.0)
    assert head.answers == []
    network.restart(R0, Worker(R0, boot=b"second incarnation"[:16], credit=2))
    network.run()
    assert [text_of(answer.parts) for answer in head.answers] == ["?(in)"]


def test_a_rolling_restart_fails_nothing_although_nothing_is_idempotent(network):
    """Drain, finish, leave, come back: one replica after the other, with requests coming all the time."""
    head = pool(network, [tell, tell])
    number = 0
    for link in (R0, R1) * 3:
        for _ in range(6):
            network.ask("head", request(number := number + 1))
        network.drain(link)
        while not network.peers[link].role.is_idle(network.clock.now):
            network.run(0.01)
        network.restart(link, Worker(link, boot=bytes(16), credit=2))
    network.run()
    assert sorted(answer.call_id for answer in head.answers) == [call(n) for n in range(1, number + 1)]
    assert {answer.kind for answer in head.answers} == {Kind.REPLY}
    assert leftovers(head.role) == []


def test_thousands_of_requests_with_far_deadlines_leave_nothing_behind(network):
    head = pool(network, [tell, tell])
    for number in range(3000):
        network.ask("head", request(number, budget=1e6))
        network.run(0.05)
    network.run(10.0)
    assert len(head.answers) == 3000
    assert leftovers(head.role) == []
    assert len(head.role._deadlines._heap) <= 1024


def test_a_deadline_that_passes_while_nobody_is_there_says_why_nobody_is():
    head = head_of(R0, ready=False)
    head.opened(R0, 0.0)
    head.lost(R0, "nobody listens there", 0.1)
    head.receive(UP, request(1, budget=1.0), 0.2)
    [(_, told)] = head.expire(1.2)
    assert told.extra["code"] == DeadlineExceeded.code and told.flags & NOT_STARTED
    assert details_of(told)["message"] == (
        "a: the deadline passed before it was reached (a/rep-0: nobody listens there)"
    )


# -- replicas that come and go -----------------------------------------------------------------------------------------


def test_a_replica_that_came_is_greeted_and_asked():
    head = head_of(R0, credit=1)
    assert head.receive(UP, request(1), 0.0)[0][0] == R0
    assert head.receive(UP, request(2), 0.0) == []
    assert head.replicas("a", [R0, R1], 0.0) == []
    assert head.ways_out() == [R0, R1]
    [(link, asked)] = make_ready(head, R1, 0.1)
    assert (link, asked.call_id) == (R1, call(2))


def test_a_replica_that_is_to_go_gets_nothing_more_and_is_kept_until_it_has_answered():
    head = head_of()
    head.receive(UP, request(1), 0.0)
    head.replicas("a", [R1], 0.0)
    assert head.ways_out() == [R0, R1]
    for number in (2, 3):
        assert head.receive(UP, request(number), 0.0)[0][0] == R1
    assert head.receive(UP, request(4), 0.0) == []  # R0 would have room
    assert head.receive(R0, reply(1), 0.1) == [(UP, reply(1))]
    assert head.ways_out() == [R1]
    assert head.lost(R0, "it is a replica no longer", 0.2) == []
    assert [item.link for item in head.neighbours] == [R1]


def test_what_a_replica_that_is_to_go_refuses_goes_elsewhere():
    head = head_of()
    head.receive(UP, request(1), 0.0)
    head.replicas("a", [R1], 0.0)
    [(link, asked)] = head.receive(R0, refused(1), 0.1)
    assert (link, asked.call_id) == (R1, call(1))


def test_one_that_is_not_connected_is_gone_at_once():
    head = head_of(ready=False)
    head.replicas("a", [R1], 0.0)
    assert head.ways_out() == [R1]


def test_one_that_is_to_go_is_not_taken_back_whatever_it_says():
    head = head_of(R0, R1, ready=False)
    head.opened(R0, 0.0)
    head.replicas("a", [R1], 0.0)
    assert head.receive(R0, Message(Kind.READY, extra={"boot": bytes(16), "credit": 2}), 0.0) == []
    make_ready(head, R1, 0.0)
    assert [head.receive(UP, request(number), 0.0)[0][0] for number in (1, 2)] == [R1, R1]


def test_the_replicas_of_another_group_are_none_of_its_business():
    head = head_of()
    assert head.replicas("b", ["b/rep-0"], 0.0) == []
    assert head.ways_out() == [R0, R1]


def test_without_replicas_a_request_waits_and_hears_why():
    head = head_of(R0)
    head.replicas("a", [], 0.0)
    head.lost(R0, "it is a replica no longer", 0.0)
    head.receive(UP, request(1), 0.0)
    [(_, told)] = head.expire(PATIENCE)
    assert "a cannot be reached (it has no replicas)" in details_of(told)["message"]


def test_replicas_come_and_go_under_load_and_no_request_fails(network):
    """1 -> 8 -> 1 replicas, then each of them anew: nothing is idempotent, and nothing is lost."""
    head = pool(network, [tell])
    asked = 0
    links = [R0]

    def go_on(seconds: float) -> None:
        nonlocal asked
        for _ in range(round(seconds / 0.05)):
            network.ask("head", request(asked := asked + 1))
            network.run(0.05)

    def serve_by(wanted: list[str]) -> None:
        for link in [link for link in wanted if link not in links]:
            network.add(link, Worker(link, boot=bytes(16), credit=2), executor=tell, takes=0.1)
        network.change_replicas("head", "a", wanted)
        for link in [link for link in links if link not in wanted]:
            network.drain(link)
        links[:] = wanted

    go_on(1.0)
    serve_by([f"a/rep-{number}" for number in range(8)])
    go_on(2.0)
    serve_by(["a/rep-5"])
    go_on(1.0)
    for generation in range(1, 5):
        serve_by([*links, f"a/rep-5.{generation}"])
        go_on(0.2)
        serve_by([f"a/rep-5.{generation}"])
        go_on(0.5)
    network.run()
    assert sorted(answer.call_id for answer in head.answers) == [call(number) for number in range(1, asked + 1)]
    assert {answer.kind for answer in head.answers} == {Kind.REPLY}
    assert leftovers(head.role) == []
    assert list(network.peers["head"].ways_out) == ["a/rep-5.4"]


# -- keys --------------------------------------------------------------------------------------------------------------


def test_who_is_refused_by_all_hears_it_at_once():
    head = head_of(ready=False)
    for link in (R0, R1):
        head.opened(link, 0.0)
    head.receive(UP, request(1), 0.0)
    assert head.lost(R0, Refusal("r0: our key is not on its list"), 0.1) == []
    outcome = told(head.lost(R1, Refusal("r1: it needs keys"), 0.1))
    assert is_failure(outcome, AuthError, NOT_STARTED)
    assert details_of(outcome)["message"] == "a: r0: our key is not on its list; r1: it needs keys"
    assert head.is_idle(0.1) and not head.has_calls


def test_who_comes_later_waits_for_the_next_answer_only():
    head = head_of(R0, ready=False)
    head.opened(R0, 0.0)
    head.lost(R0, Refusal("no"), 0.0)
    assert head.receive(UP, request(1), 1.0) == []
    head.opened(R0, 1.2)
    assert is_failure(told(head.lost(R0, Refusal("no"), 1.2)), AuthError, NOT_STARTED)


def test_who_was_refused_and_is_let_in_is_served():
    head = head_of(R0, ready=False)
    head.opened(R0, 0.0)
    head.lost(R0, Refusal("no"), 0.0)
    head.receive(UP, request(1), 1.0)
    assert sent(make_ready(head, R0, 1.1)) == [(R0, 1)]


def test_one_that_refuses_does_not_matter_while_another_serves():
    head = head_of(R0, R1)
    head.lost(R0, Refusal("no"), 0.0)
    assert sent(head.receive(UP, request(1), 0.1)) == [(R1, 1)]


def test_when_all_are_given_up_who_waits_and_who_comes_hear_why_at_once():
    head = head_of(R0, R1, ready=False)
    head.receive(UP, request(1), 0.0)
    assert head.lost(R0, GivenUp("it failed: no model"), 0.1) == []
    outcome = told(head.lost(R1, GivenUp("it failed, too"), 0.2))
    assert is_failure(outcome, Unavailable, NOT_STARTED)
    assert details_of(outcome)["message"] == "a: it failed: no model; it failed, too"
    assert is_failure(told(head.receive(UP, request(2), 0.3)), Unavailable, NOT_STARTED)
    assert leftovers(head) == []
    make_ready(head, R1, 0.4)
    assert sent(head.receive(UP, request(3), 0.5)) == [(R1, 3)]


def test_other_replicas_end_the_time_of_those_that_were_given_up():
    head = head_of(R0, ready=False)
    head.lost(R0, GivenUp("it failed"), 0.1)
    head.replicas("a", ["a/rep-7"], 0.2)
    assert head.receive(UP, request(1), 0.3) == []
    assert sent(make_ready(head, "a/rep-7", 0.4)) == [("a/rep-7", 1)]


def test_one_that_may_come_back_is_waited_for():
    head = head_of(R0, R1, ready=False)
    head.lost(R0, "nobody listens there", 0.0)
    head.receive(UP, request(1), 0.0)
    assert head.lost(R1, Refusal("no"), 0.1) == []
    outcome = told(head.expire(PATIENCE))
    assert is_failure(outcome, Unavailable, NOT_STARTED)
    assert "nobody listens there" in details_of(outcome)["message"] and "no)" in details_of(outcome)["message"]


def test_what_may_have_run_elsewhere_before_is_told_when_it_is_refused():
    head = head_of(R0, R1, idempotent=True)
    head.receive(UP, request(1), 0.0)
    head.lost(R0, Refusal("no"), 0.1)
    head.lost(R1, Refusal("no"), 0.1)
    outcome = told(head.expire(0.1 + TOGETHER))
    assert is_failure(outcome, AuthError, MAYBE_EXECUTED)


# -- a replica that limps ----------------------------------------------------------------------------------------------


def test_one_slow_replica_holds_up_no_more_than_its_credit():
    """Given four replicas, one of them 100 times slower, and 16 requests in flight, then the others lose little."""
    quick, slow, seconds = 0.005, 0.5, 4.0
    flow = SmallFlow(["a"], replicas={"a": 4}, takes=quick)
    network = flow.network
    network.peers[R0].takes = lambda request: slow
    most = 0
    for _ in range(16):
        flow.ask()
    until = network.clock.now + seconds
    answered = 0
    while network.clock.now < until:
        network.run(quick / 2)
        arrived = len(flow.asker.answers)
        for _ in range(arrived - answered):
            flow.ask()
        answered = arrived
        worker = network.peers[R0].role
        assert isinstance(worker, Worker)
        status = worker._status()
        most = max(most, status["inflight"] + status["queued"])
    by_others = sum(len(network.peers[link].executed) for link in flow.links()[1:])
    assert by_others >= 0.7 * 3 * seconds / quick
    assert 1 <= most <= 4
