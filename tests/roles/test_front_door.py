"""Whoever greets is known; strangers reach nothing, and where a nonce is demanded they hear only that."""

from __future__ import annotations

import pytest

from tests.support.clock import Ids
from tests.support.executors import details_of
from zflow.errors import ProtocolError, Unavailable
from zflow.roles import front_door
from zflow.roles.contract import APPLICATION
from zflow.roles.front_door import FAREWELL, FrontDoor
from zflow.version import SOFTWARE
from zflow.wire.header import NOT_STARTED, Kind, Message

FRIEND, STRANGER = (b"friend",), (b"stranger",)
BOOT, CALL = b"b" * 16, b"c" * 16
EVERY_KIND = [Message(kind, CALL if kind is not Kind.HELLO else b"") for kind in Kind]
ROLES_BUSINESS = (Kind.REQUEST, Kind.CANCEL)


def door(*, nonces: bool = False) -> FrontDoor:
    return FrontDoor(
        "a/rep-0",
        "worker",
        boot=BOOT,
        credit=4,
        new_nonce=Ids(b"nonce") if nonces else None,
        describe=lambda: {"endpoints": ["/a"]},
        status=lambda: {"inflight": 1},
    )


def greeted(door: FrontDoor, link: tuple[bytes, ...] = FRIEND, **extra: object) -> FrontDoor:
    """The same door, after `link` has said HELLO and answered whatever it was asked."""
    steps = door.receive(link, Message(Kind.HELLO, extra=extra), 0.0)
    assert steps is not None
    [(_, answer)] = steps
    if answer.kind is Kind.CHALLENGE:
        door.receive(link, Message(Kind.HELLO, extra={**extra, "nonce": answer.extra["nonce"]}), 0.0)
    return door


def test_hello_is_answered_with_ready_and_the_credit():
    assert door().receive(FRIEND, Message(Kind.HELLO), 0.0) == [
        (
            FRIEND,
            Message(
                Kind.READY,
                extra={"boot": BOOT, "credit": 4, "name": "a/rep-0", "role": "worker", "software": SOFTWARE},
            ),
        )
    ]


def test_what_may_run_again_is_told_again_to_those_who_have_greeted_when_it_changes():
    friendly = greeted(door())
    [(link, ready)] = friendly.announce_again(["/a"])
    assert link == FRIEND
    assert (ready.kind, ready.extra["idempotent"], ready.extra["credit"]) == (Kind.READY, ["/a"], 4)
    assert friendly.announce_again(["/a"]) == []
    [(_, ready)] = friendly.announce_again([])
    assert "idempotent" not in ready.extra


def test_a_leaving_peer_opens_no_connection_again():
    friendly = greeted(door())
    friendly.drain(0.0)
    assert friendly.announce_again(["/a"]) == []


def test_a_request_of_a_friend_is_for_the_role_behind():
    friendly = greeted(door())
    assert friendly.receive(FRIEND, Message(Kind.REQUEST, CALL), 0.0) is None
    assert friendly.receive(FRIEND, Message(Kind.CANCEL, CALL), 0.0) is None


def test_the_application_needs_no_greeting():
    assert door(nonces=True).receive(APPLICATION, Message(Kind.REQUEST, CALL), 0.0) is None
    assert door(nonces=True).receive(APPLICATION, Message(Kind.CANCEL, CALL), 0.0) is None


def test_the_names_of_the_callers_flow_are_kept():
    assert greeted(door(), nodes=["a", "b"]).nodes(FRIEND) == ["a", "b"]
    assert door().nodes(STRANGER) == []


@pytest.mark.parametrize("nodes", [None, "a", 7, {"a": 1}])
def test_names_of_a_wrong_type_are_no_names(nodes):
    assert greeted(door(), nodes=nodes).nodes(FRIEND) == []


def test_a_second_greeting_is_as_good_as_the_first():
    twice = greeted(greeted(door(nonces=True)), nodes=["later"])
    assert twice.nodes(FRIEND) == ["later"]


# -- strangers ---------------------------------------------------------------------------------------------------------


def test_a_request_without_hello_is_refused_as_not_started():
    steps = door().receive(STRANGER, Message(Kind.REQUEST, CALL), 0.0)
    assert steps is not None
    [(link, refusal)] = steps
    assert (link, refusal.kind, refusal.call_id, refusal.flags) == (STRANGER, Kind.FAILURE, CALL, NOT_STARTED)
    assert refusal.extra["code"] == Unavailable.code
    assert "HELLO" in details_of(refusal)["message"]


def test_hello_is_challenged_where_strangers_can_reach():
    challenging = door(nonces=True)
    steps = challenging.receive(STRANGER, Message(Kind.HELLO), 0.0)
    assert steps is not None
    [(link, challenge)] = steps
    assert (link, challenge.kind, list(challenge.extra)) == (STRANGER, Kind.CHALLENGE, ["nonce"])
    assert challenging.greeted == {}


@pytest.mark.parametrize("message", [message for message in EVERY_KIND if message.kind is not Kind.HELLO], ids=repr)
@pytest.mark.parametrize("is_challenged", [False, True])
def test_a_stranger_without_the_nonce_hears_nothing_and_reaches_nothing(message, is_challenged):
    challenging = door(nonces=True)
    if is_challenged:
        challenging.receive(STRANGER, Message(Kind.HELLO), 0.0)
    assert challenging.receive(STRANGER, message, 0.0) == []
    assert challenging.malformed(STRANGER, ProtocolError("nonsense")) == []
    assert challenging.dropped == 2


def test_nonsense_of_a_stranger_is_not_answered_even_with_a_call_id():
    nonsense = ProtocolError("the layout lies")
    nonsense.call_id = CALL
    assert door(nonces=True).malformed(STRANGER, nonsense) == []


@pytest.mark.parametrize("nonce", [b"", b"x" * 16, "text", None, [b"nonce"], 0])
def test_a_wrong_nonce_is_challenged_again_with_the_same(nonce):
    challenging = door(nonces=True)
    first = challenging.receive(STRANGER, Message(Kind.HELLO), 0.0)
    assert challenging.receive(STRANGER, Message(Kind.HELLO, extra={"nonce": nonce}), 0.0) == first
    assert challenging.greeted == {}


def test_the_nonce_of_another_connection_opens_nothing():
    challenging = door(nonces=True)
    for_friend = challenging.receive(FRIEND, Message(Kind.HELLO), 0.0)
    assert for_friend is not None
    stolen = Message(Kind.HELLO, extra={"nonce": for_friend[0][1].extra["nonce"]})
    steps = challenging.receive(STRANGER, stolen, 0.0)
    assert steps is not None and [message.kind for _, message in steps] == [Kind.CHALLENGE]


def test_the_right_nonce_opens_and_is_asked_only_once():
    opened = greeted(door(nonces=True))
    assert list(opened.greeted) == [FRIEND]
    assert opened._challenged == {}
    assert opened.receive(FRIEND, Message(Kind.REQUEST, CALL), 0.0) is None
    again = opened.receive(FRIEND, Message(Kind.HELLO), 0.0)
    assert again is not None and again[0][1].kind is Kind.READY


def test_a_lost_connection_must_greet_again():
    forgetting = greeted(door(nonces=True))
    forgetting.forget(FRIEND)
    assert forgetting.receive(FRIEND, Message(Kind.REQUEST, CALL), 0.0) == []
    forgetting.forget(FRIEND)
    forgetting.forget(APPLICATION)


@pytest.mark.parametrize("nonces", [False, True])
def test_neither_strangers_nor_friends_pin_memory_for_ever(nonces, monkeypatch):
    monkeypatch.setattr(front_door, "MAX_CONNECTIONS", 8)
    crowded = door(nonces=nonces)
    for number in range(50):
        crowded.receive((b"%d" % number,), Message(Kind.HELLO), 0.0)
        greeted(crowded, (b"friend", b"%d" % number))
    assert len(crowded.greeted) <= 8
    assert len(crowded._challenged) <= 8


# -- what everybody may ask --------------------------------------------------------------------------------------------


def test_ping_is_answered_with_the_status():
    steps = door().receive(STRANGER, Message(Kind.PING, CALL), 0.0)
    assert steps is not None
    [(link, status)] = steps
    assert (link, status.kind, status.call_id) == (STRANGER, Kind.STATUS, CALL)
    assert details_of(status) == {
        "name": "a/rep-0",
        "role": "worker",
        "state": "serving",
        "software": SOFTWARE,
        "inflight": 1,
    }


def test_log_lines_are_told_to_who_asks_and_by_who_has_some():
    asked = Message(Kind.PING, CALL, extra={"logs": 5, "of": "a"})
    [(_, status)] = door().receive(STRANGER, asked, 0.0)
    assert "log" not in details_of(status), "it has none"
    telling = door()
    telling.tell_log = lambda extra: {"log": {"lines": [{"text": f"{extra['logs']} of {extra['of']}"}]}}
    [(_, status)] = telling.receive(STRANGER, asked, 0.0)
    assert details_of(status)["log"] == {"lines": [{"text": "5 of a"}]} and details_of(status)["inflight"] == 1
    [(_, status)] = telling.receive(STRANGER, Message(Kind.PING, CALL), 0.0)
    assert "log" not in details_of(status), "nobody asked for it"


def test_describe_is_answered_with_the_description():
    steps = door().receive(FRIEND, Message(Kind.DESCRIBE, CALL), 0.0)
    assert steps is not None
    assert details_of(steps[0][1]) == {"name": "a/rep-0", "role": "worker", "software": SOFTWARE, "endpoints": ["/a"]}


@pytest.mark.parametrize(
    "kind",
    [Kind.READY, Kind.REPLY, Kind.PARTIAL, Kind.FAILURE, Kind.CHALLENGE, Kind.DRAIN, Kind.STATUS, Kind.DESCRIPTION],
)
def test_what_no_caller_says_is_dropped_and_counted(kind):
    friendly = greeted(door())
    assert friendly.receive(FRIEND, Message(kind, CALL), 0.0) == []
    assert friendly.dropped == 1


def test_a_malformed_request_of_a_known_call_is_refused_as_not_started():
    error = ProtocolError("the layout lies")
    error.call_id = CALL
    [(link, refusal)] = greeted(door(nonces=True)).malformed(FRIEND, error)
    assert (link, refusal.call_id, refusal.flags, refusal.extra["code"]) == (FRIEND, CALL, NOT_STARTED, error.code)
    assert details_of(refusal)["message"] == "the layout lies"


def test_nonsense_of_nobodys_call_is_dropped_and_counted():
    friendly = greeted(door())
    assert friendly.malformed(FRIEND, ProtocolError("no header frame")) == []
    assert friendly.dropped == 1


# -- lateness ----------------------------------------------------------------------------------------------------------


def asked(budget: float | None, sent: object = None) -> Message:
    """A request with `budget` seconds, sent at `sent` seconds of its caller's clock."""
    extra = {"sent": int(sent * 1e6) if isinstance(sent, float) else sent} if sent is not None else {}
    return Message(Kind.REQUEST, CALL, budget=None if budget is None else int(budget * 1e6), extra=extra)


def test_a_request_without_a_budget_has_no_deadline():
    assert greeted(door()).deadline(FRIEND, asked(None), 9.0) is None


def test_without_the_callers_clock_the_budget_counts_from_now():
    assert greeted(door()).deadline(FRIEND, asked(2.0), 9.0) == 11.0
    assert greeted(door()).deadline(FRIEND, asked(2.0, sent="nonsense"), 9.0) == 11.0
    assert door().deadline(APPLICATION, asked(2.0, sent=1.0), 9.0) == 11.0


def test_what_a_request_lost_on_its_way_is_taken_off_although_the_clocks_differ():
    """The caller's clock is 1000 s behind. 1. HELLO takes 0.1 s, 2. a request 0.3 s, 3. another one nothing."""
    knowing = door()
    knowing.receive(FRIEND, Message(Kind.HELLO, extra={"sent": 0}), 1000.1)
    assert knowing.deadline(FRIEND, asked(2.0, sent=1.0), 1001.3) == pytest.approx(1001.3 + 2.0 - 0.2, abs=0.01)
    assert knowing.deadline(FRIEND, asked(2.0, sent=5.0), 1005.0) == pytest.approx(1007.0, abs=0.01)
    assert knowing.deadline(FRIEND, asked(2.0, sent=6.0), 1006.3) == pytest.approx(1008.0, abs=0.01)


def test_clocks_that_drift_apart_do_not_make_requests_late():
    """A day of 50 ppm is 4 s: more than most budgets. What is quickest is learned anew, a millisecond per second."""
    knowing = door()
    knowing.receive(FRIEND, Message(Kind.HELLO, extra={"sent": 0}), 0.0)
    for hour in range(24):
        now = 3600.0 * (hour + 1)
        deadline = knowing.deadline(FRIEND, asked(2.0, sent=now * (1 - 50e-6)), now)
        assert deadline == pytest.approx(now + 2.0, abs=1e-6)


def test_what_lay_in_a_dead_buffer_is_over_when_it_is_read():
    knowing = door()
    knowing.receive(FRIEND, Message(Kind.HELLO, extra={"sent": 0}), 0.0)
    deadline = knowing.deadline(FRIEND, asked(2.0, sent=1.0), 11.0)
    assert deadline is not None and deadline < 11.0


@pytest.mark.parametrize("sent", [-(2**63), 2**64 - 1, 0])
def test_a_strange_clock_harms_nobody_but_its_owner(sent):
    knowing = door()
    knowing.receive(FRIEND, Message(Kind.HELLO, extra={"sent": sent}), 0.0)
    knowing.receive(STRANGER, Message(Kind.HELLO, extra={"sent": 0}), 0.0)
    knowing.deadline(FRIEND, asked(2.0, sent=sent), 1.0)
    assert knowing.deadline(STRANGER, asked(2.0, sent=1.0), 1.0) == 3.0


# -- goodbye -----------------------------------------------------------------------------------------------------------


def test_draining_is_told_to_everyone_who_greeted_and_only_once():
    leaving = greeted(greeted(door()), STRANGER)
    assert leaving.drain(10.0) == [(FRIEND, Message(Kind.DRAIN)), (STRANGER, Message(Kind.DRAIN))]
    assert leaving.drain(11.0) == []
    assert leaving.leaves_at == 10.0 + FAREWELL


def test_who_greets_a_leaving_peer_is_told_at_once():
    leaving = door()
    leaving.drain(10.0)
    steps = leaving.receive(FRIEND, Message(Kind.HELLO), 0.0)
    assert steps is not None and [message.kind for _, message in steps] == [Kind.READY, Kind.DRAIN]


def test_a_peer_that_nobody_knows_may_leave_at_once():
    leaving = door()
    leaving.drain(10.0)
    assert leaving.is_left(10.0)


def test_a_serving_peer_with_callers_is_never_left():
    assert not greeted(door()).is_left(1e9)


def test_it_is_left_when_the_last_caller_has_said_goodbye():
    leaving = greeted(greeted(door()), STRANGER)
    leaving.drain(10.0)
    assert leaving.receive(FRIEND, Message(Kind.DRAINED), 0.0) == []
    assert not leaving.is_left(10.1)
    leaving.receive(STRANGER, Message(Kind.DRAINED), 0.0)
    assert leaving.is_left(10.1)


def test_who_does_not_say_goodbye_is_waited_for_as_long_as_the_farewell_takes():
    leaving = greeted(door())
    leaving.drain(10.0)
    leaving.expire(10.0 + FAREWELL / 2)
    assert not leaving.is_left(10.0 + FAREWELL / 2)
    assert leaving.leaves_at is not None
    assert leaving.is_left(10.0 + FAREWELL)


def test_the_farewell_is_over_once_and_is_no_deadline_any_more():
    leaving = greeted(door())
    leaving.drain(10.0)
    leaving.expire(10.0 + FAREWELL)
    assert leaving.leaves_at is None
    assert leaving.is_left(10.0 + FAREWELL)
    assert leaving.drain(20.0) == []


@pytest.mark.parametrize("nonces", [False, True])
def test_who_has_said_goodbye_may_still_cancel_what_is_here_but_ask_no_more(nonces):
    leaving = greeted(door(nonces=nonces))
    leaving.drain(10.0)
    leaving.receive(FRIEND, Message(Kind.DRAINED), 0.0)
    assert leaving.receive(FRIEND, Message(Kind.CANCEL, CALL), 0.0) is None
    assert leaving.receive(FRIEND, Message(Kind.REQUEST, CALL), 0.0) is not None


def test_the_status_of_a_leaving_peer_says_so():
    leaving = door()
    leaving.drain(10.0)
    steps = leaving.receive(FRIEND, Message(Kind.PING), 0.0)
    assert steps is not None and details_of(steps[0][1])["state"] == "draining"
