"""Shards are asked one or all, answer as one, and end each request exactly once whatever happens to one of them."""

from __future__ import annotations

import pytest

from tests.support.clock import Ids
from tests.support.executors import crash, details_of, fail, refuse, tell, tell_labels, text_of
from tests.support.leftovers import leftovers
from tests.support.small_flow import SmallFlow
from zflow.errors import Cancelled, DeadlineExceeded, ExecutorError, InvalidRequest, Unavailable
from zflow.roles.contract import Steps, failure
from zflow.roles.head import PATIENCE, Head
from zflow.roles.shards import Shards
from zflow.wire.frames import DOCUMENTS, MAX_PARTS, PARAMETERS, RESULTS, Part, part
from zflow.wire.header import IDEMPOTENT, MAYBE_EXECUTED, NOT_STARTED, Kind, Message

UP = "gateway"
S0, S1, S2 = (f"x/shard-{number}/rep-0" for number in range(3))
BEFORE, AFTER = "x/uses-before/rep-0", "x/uses-after/rep-0"


def shards_of(count: int = 2, *, ready: bool = True, before: bool = False, after: bool = False, **options) -> Shards:
    """Shards of one replica each; a search asks all of them, everything else one."""

    def head(name: str) -> Head:
        return Head("x", [f"{name}/rep-0"], new_id=Ids(), chance=lambda: 1.0, name=name)

    shards = Shards(
        "x",
        [head(f"x/shard-{number}") for number in range(count)],
        polls_all={"/search": True, "*": False},
        before=head("x/uses-before") if before else None,
        after=head("x/uses-after") if after else None,
        chance=lambda: 0.0,
        **options,
    )
    for link in shards.ways_out() if ready else ():
        make_ready(shards, link, 0.0)
    return shards


def make_ready(shards: Shards, link: str, now: float) -> Steps:
    shards.opened(link, now)
    return shards.receive(link, Message(Kind.READY, extra={"boot": bytes(16), "credit": 4}), now)


def call(number: int) -> bytes:
    return number.to_bytes(16, "big")


def request(number: int, endpoint: str = "/index", *, budget: float | None = None, **extra: object) -> Message:
    parts = [part(DOCUMENTS, "gateway", [b"in"]), part(PARAMETERS, "", [b"how"])]
    microseconds = None if budget is None else int(budget * 1e6)
    return Message(Kind.REQUEST, call(number), endpoint, microseconds, parts=parts, extra={"node": "mine", **extra})


def reply(number: int, *parts: Part, **extra: object) -> Message:
    return Message(Kind.REPLY, call(number), parts=parts, extra=extra)


def made(text: str, label: str = "whatever") -> Part:
    return part(DOCUMENTS, label, [text.encode()])


def refused(number: int) -> Message:
    return failure(call(number), Unavailable("not now"), not_started=True)


def raised(number: int) -> Message:
    return failure(call(number), ExecutorError("it raised", name="ValueError"))


def asked(steps: Steps) -> list[object]:
    return [link for link, message in steps if message.kind is Kind.REQUEST]


def is_failure(message: Message, error: type, flags: int) -> bool:
    return (message.kind, message.extra["code"], message.flags) == (Kind.FAILURE, error.code, flags)  # type: ignore[attr-defined]


def labels(message: Message) -> list[tuple[str, int | None, str]]:
    return [(item.label, item.shard, text_of([item])) for item in message.parts if item.kind == DOCUMENTS]


# -- who is asked ------------------------------------------------------------------------------------------------------


def test_it_keeps_the_ways_out_of_all() -> None:
    shards = shards_of(2, before=True, after=True)
    assert shards.ways_out() == [S0, S1, BEFORE, AFTER]
    assert {neighbour.link for neighbour in shards.neighbours} == {S0, S1, BEFORE, AFTER}


def test_the_polling_of_the_endpoint_decides_whether_one_or_all_are_asked() -> None:
    shards = shards_of(3)
    assert asked(shards.receive(UP, request(1, "/search"), 0.0)) == [S0, S1, S2]
    assert len(asked(shards.receive(UP, request(2, "/index"), 0.0))) == 1
    assert len(asked(shards.receive(UP, request(3, "/"), 0.0))) == 1


def test_one_at_a_time_they_take_turns_so_that_data_is_spread_evenly() -> None:
    shards = shards_of(3)
    taken = []
    for number in range(6):
        [link] = asked(shards.receive(UP, request(number), 0.0))
        taken.append(link)
        shards.receive(link, reply(number), 0.0)
    assert taken == [S0, S1, S2, S0, S1, S2]


def test_the_least_burdened_is_preferred_to_whose_turn_it_is() -> None:
    shards = shards_of(2)
    assert asked(shards.receive(UP, request(1), 0.0)) == [S0]
    assert asked(shards.receive(UP, request(2), 0.0)) == [S1]
    shards.receive(S1, reply(2), 0.0)
    assert asked(shards.receive(UP, request(3), 0.0)) == [S1]
    shards.receive(S1, reply(3), 0.0)
    assert asked(shards.receive(UP, request(4), 0.0)) == [S1]


def test_turns_are_taken_from_the_first_request_on_though_not_all_have_answered_a_greeting() -> None:
    shards = shards_of(2, ready=False)
    for link in shards.ways_out():
        shards.opened(link, 0.0)
    make_ready(shards, S0, 0.0)
    assert asked(shards.receive(UP, request(1), 0.0)) == [S0]
    assert shards.receive(UP, request(2), 0.0) == []
    assert asked(make_ready(shards, S1, 0.0)) == [S1]


def test_a_shard_that_nobody_serves_comes_last() -> None:
    shards = shards_of(2)
    shards.lost(S0, "it died", 0.0)
    assert [asked(shards.receive(UP, request(number), 0.0)) for number in (1, 2)] == [[S1], [S1]]
    shards.lost(S1, "it died", 0.0)
    assert shards.receive(UP, request(3), 1.0) == []  # waits for either
    assert shards.next_deadline() == 1.0 + PATIENCE


# -- answers -----------------------------------------------------------------------------------------------------------


def test_all_get_the_same_payload_by_reference_and_answer_side_by_side() -> None:
    shards = shards_of(2)
    question = request(1, "/search")
    steps = shards.receive(UP, question, 0.0)
    assert all(message.parts is question.parts for _, message in steps)
    assert shards.receive(S1, reply(1, made("second"), part(RESULTS, S1, [b"r"])), 1.0) == []
    [(to, answer)] = shards.receive(S0, reply(1, made("first")), 2.0)
    assert to == UP and answer.kind is Kind.REPLY
    assert labels(answer) == [("x", 0, "first"), ("x", 1, "second")]
    assert [item.label for item in answer.parts if item.kind == RESULTS] == [S1]
    assert leftovers(shards) == []


def test_one_shard_answers_with_its_number_and_a_single_one_without() -> None:
    shards = shards_of(2)
    shards.receive(UP, request(1), 0.0)
    [(_, answer)] = shards.receive(S0, reply(1, made("a")), 0.0)
    assert labels(answer) == [("x", 0, "a")]
    single = Shards("x", [Head("x", ["x/rep-0"], new_id=Ids())], polls_all={"*": True}, chance=lambda: 0.0)
    make_ready(single, "x/rep-0", 0.0)
    single.receive(UP, request(1), 0.0)
    [(_, answer)] = single.receive("x/rep-0", reply(1, made("a")), 0.0)
    assert labels(answer) == [("x", None, "a")]


def test_whoever_reads_finds_every_shard_under_the_nodes_name_in_a_flow() -> None:
    flow = SmallFlow(["a", "x", "b"], shards={"x": 2}, executor=tell)
    call_id = flow.ask()
    flow.network.run()
    assert text_of(flow.outcome(call_id).parts) == "b(x(a(in))+x(a(in)))"
    assert flow.leftovers() == {}


def test_too_many_parts_together_are_refused_by_name() -> None:
    shards = shards_of(2)
    shards.receive(UP, request(1, "/search"), 0.0)
    many = [made("")] * (MAX_PARTS // 2 + 1)
    shards.receive(S0, reply(1, *many), 0.0)
    [(_, outcome)] = shards.receive(S1, reply(1, *many), 0.0)
    assert is_failure(outcome, InvalidRequest, MAYBE_EXECUTED)
    assert "x: its shards answer too much together" in str(details_of(outcome)["message"])


# -- before and after --------------------------------------------------------------------------------------------------


def test_what_is_before_makes_what_the_shards_get_and_what_is_after_makes_the_answer() -> None:
    shards = shards_of(2, before=True, after=True)
    first = request(1, "/search", sent=5, **{"!when": [["c", None]]})
    [(to, question)] = shards.receive(UP, first, 0.0)
    assert to == BEFORE and question.extra["!when"] == [["c", None]]
    steps = shards.receive(BEFORE, reply(1, made("prepared"), part(RESULTS, BEFORE, [b"r"])), 0.0)
    assert asked(steps) == [S0, S1]
    for _, question in steps:
        assert text_of(question.parts) == "prepared" and text_of(question.parts, PARAMETERS) == "how"
        assert question.extra == {"node": "mine"}  # conditions were about the documents as they came
    shards.receive(S0, reply(1, made("zero")), 0.0)
    [(to, question)] = shards.receive(S1, reply(1, made("one")), 0.0)
    assert to == AFTER
    assert labels(question) == [("x/shard-0", 0, "zero"), ("x/shard-1", 1, "one")]
    assert text_of(question.parts, PARAMETERS) == "how" and question.extra == {"node": "mine"}
    [(to, answer)] = shards.receive(AFTER, reply(1, made("ranked"), filtered=True), 0.0)
    assert (to, labels(answer)) == (UP, [("x", None, "ranked")])
    assert answer.extra == {"filtered": True}
    assert [item.label for item in answer.parts if item.kind == RESULTS] == [BEFORE]
    assert leftovers(shards) == []


def test_a_failure_before_or_after_ends_it_and_tells_what_has_run() -> None:
    shards = shards_of(2, before=True, after=True)
    shards.receive(UP, request(1, "/search"), 0.0)
    [(to, outcome)] = shards.receive(BEFORE, raised(1), 0.0)
    assert to == UP and is_failure(outcome, ExecutorError, MAYBE_EXECUTED)
    shards.receive(UP, request(2, "/search"), 0.0)
    shards.receive(BEFORE, reply(2), 0.0)
    shards.receive(S0, reply(2), 0.0)
    shards.receive(S1, reply(2), 0.0)
    for _ in range(3):  # tries at the one replica there is
        steps = shards.receive(AFTER, failure(call(2), Unavailable("no"), not_started=True), 10.0)
        if not steps:
            steps = shards.expire(20.0)
    [(to, outcome)] = [step for step in steps if step[0] == UP]
    assert is_failure(outcome, Unavailable, MAYBE_EXECUTED)  # the shards have run
    assert leftovers(shards) == []


def test_in_a_flow_labels_tell_who_made_what() -> None:
    flow = SmallFlow(["x"], shards={"x": 2}, sharding={"before": True, "after": True}, executor=tell_labels)
    call_id = flow.ask()
    flow.network.run()
    assert text_of(flow.outcome(call_id).parts) == "x<x/shard-0,x/shard-1||0>"
    assert flow.leftovers() == {}


# -- pieces ------------------------------------------------------------------------------------------------------------


def piece(number: int, text: str) -> Message:
    return Message(Kind.PARTIAL, call(number), parts=[made(text)])


def test_pieces_of_the_one_shard_that_was_asked_are_handed_on_and_more_is_asked_for() -> None:
    shards = shards_of(2)
    [(_, question)] = shards.receive(UP, request(1, partial=True, items=2), 0.0)
    assert question.extra == {"node": "mine", "partial": True, "items": 2}
    more = Message(Kind.MORE, call(1), extra={"items": 2})
    assert shards.receive(UP, more, 0.0) == []  # nothing has come that it could be about
    [(to, told)] = shards.receive(S0, piece(1, "a"), 0.0)
    assert (to, told.kind, labels(told)) == (UP, Kind.PARTIAL, [("x", 0, "a")])
    assert shards.receive(UP, more, 0.0) == [(S0, more)]
    assert shards.receive("another", more, 0.0) == []
    [(to, answer)] = shards.receive(S0, reply(1), 0.0)
    assert (to, answer.kind) == (UP, Kind.REPLY)
    assert shards.receive(UP, more, 0.0) == []


def test_several_shards_are_not_asked_for_pieces_but_what_is_after_them_is() -> None:
    shards = shards_of(2)
    for _, question in shards.receive(UP, request(1, "/search", partial=True, items=2), 0.0):
        assert question.extra == {"node": "mine"}
    assert shards.receive(S0, piece(1, "unasked"), 0.0) == []
    shards = shards_of(2, before=True, after=True)
    [(_, question)] = shards.receive(UP, request(1, "/search", partial=True, items=2), 0.0)
    assert question.extra == {"node": "mine"}
    for _, question in shards.receive(BEFORE, reply(1), 0.0):
        assert question.extra == {"node": "mine"}
    shards.receive(S0, reply(1), 0.0)
    [(_, question)] = shards.receive(S1, reply(1), 0.0)
    assert question.extra == {"node": "mine", "partial": True, "items": 2}
    [(to, told)] = shards.receive(AFTER, piece(1, "a"), 0.0)
    assert (to, labels(told)) == (UP, [("x", None, "a")])
    more = Message(Kind.MORE, call(1), extra={"items": 2})
    assert shards.receive(UP, more, 0.0) == [(AFTER, more)]


def test_once_a_piece_was_told_no_other_shard_is_asked() -> None:
    shards = shards_of(2)
    shards.receive(UP, request(1, partial=True), 0.0)
    shards.receive(S0, piece(1, "a"), 0.0)
    [(to, outcome)] = shards.receive(S0, refused(1), 0.0)
    assert to == UP and is_failure(outcome, Unavailable, MAYBE_EXECUTED)


# -- what fails --------------------------------------------------------------------------------------------------------


def test_the_first_failure_ends_the_request_and_cancels_the_others() -> None:
    shards = shards_of(3)
    shards.receive(UP, request(1, "/search"), 0.0)
    shards.receive(S2, reply(1, made("two")), 0.0)
    steps = shards.receive(S1, raised(1), 1.0)
    assert [(link, message.kind) for link, message in steps] == [(S0, Kind.CANCEL), (UP, Kind.FAILURE)]
    assert is_failure(steps[-1][1], ExecutorError, MAYBE_EXECUTED)
    assert shards.is_idle(1.0)
    assert shards.receive(S0, reply(1, made("late")), 2.0) == []
    assert leftovers(shards) == []


def test_a_partial_answer_names_the_shards_that_it_lacks() -> None:
    shards = shards_of(3, allow_partial=True)
    shards.receive(UP, request(1, "/search"), 0.0)
    assert shards.lost(S1, "it died", 1.0) == []
    assert shards.receive(S0, raised(1), 1.0) == []
    [(to, answer)] = shards.receive(S2, reply(1, made("two")), 2.0)
    assert (to, answer.kind) == (UP, Kind.REPLY)
    assert labels(answer) == [("x", 2, "two")]
    assert answer.extra == {"missing": {"x/shard-1": Unavailable.code, "x/shard-0": ExecutorError.code}}


def test_what_is_after_makes_the_answer_of_what_there_is() -> None:
    shards = shards_of(2, allow_partial=True, after=True)
    shards.receive(UP, request(1, "/search"), 0.0)
    shards.receive(S0, raised(1), 1.0)
    [(to, question)] = shards.receive(S1, reply(1, made("one")), 2.0)
    assert (to, labels(question)) == (AFTER, [("x/shard-1", 1, "one")])
    [(to, answer)] = shards.receive(AFTER, reply(1, made("ranked")), 3.0)
    assert answer.extra == {"missing": {"x/shard-0": ExecutorError.code}}


def test_where_all_fail_there_is_nothing_to_answer_with() -> None:
    shards = shards_of(2, allow_partial=True)
    shards.receive(UP, request(1, "/search"), 0.0)
    assert shards.receive(S1, raised(1), 1.0) == []
    [(to, outcome)] = shards.lost(S0, "it died", 2.0)
    assert to == UP and is_failure(outcome, Unavailable, MAYBE_EXECUTED)
    assert S0 in str(details_of(outcome)["message"])


def test_a_partial_answer_is_no_excuse_where_one_was_asked() -> None:
    shards = shards_of(2, allow_partial=True)
    shards.receive(UP, request(1), 0.0)
    [(to, outcome)] = shards.receive(S0, raised(1), 1.0)
    assert to == UP and is_failure(outcome, ExecutorError, MAYBE_EXECUTED)


def test_what_one_shard_refused_to_begin_goes_to_another() -> None:
    shards = shards_of(2)
    shards.receive(UP, request(1, budget=60.0), 0.0)
    steps: Steps = []
    now = 0.0
    while asked(steps) in ([], [S0]):  # its head tries the one replica again, then gives up
        now += 1.0
        steps = shards.receive(S0, refused(1), now) or shards.expire(now)
    [(to, question)] = steps
    assert to == S1
    assert question.budget == int((60.0 - now) * 1e6)
    [(to, answer)] = shards.receive(S1, reply(1), now)
    assert (to, answer.kind) == (UP, Kind.REPLY)


def test_what_may_have_run_goes_nowhere_else() -> None:
    shards = shards_of(2)
    shards.receive(UP, request(1), 0.0)
    [(to, outcome)] = shards.lost(S0, "it died", 1.0)
    assert to == UP and is_failure(outcome, Unavailable, MAYBE_EXECUTED)
    assert details_of(outcome)["peer"] == S0


def test_nobody_there_is_told_with_the_shards_name() -> None:
    shards = shards_of(2, ready=False)
    make_ready(shards, S0, 0.0)
    shards.receive(UP, request(1, "/search"), 0.0)
    shards.receive(S0, reply(1), 0.0)
    [(to, outcome)] = shards.expire(PATIENCE)
    assert to == UP and is_failure(outcome, Unavailable, MAYBE_EXECUTED)
    assert "x/shard-1 cannot be reached" in str(details_of(outcome)["message"])


def test_the_deadline_holds_for_all_stages_together() -> None:
    shards = shards_of(2, after=True)
    shards.receive(UP, request(1, "/search", budget=10.0), 0.0)
    shards.receive(S0, reply(1), 4.0)
    [(to, question)] = shards.receive(S1, reply(1), 4.0)
    assert (to, question.budget) == (AFTER, 6_000_000)
    assert shards.next_deadline() == 10.0
    steps = shards.expire(10.0)
    [(_, outcome), (to, cancel)] = steps
    assert (to, cancel.kind) == (AFTER, Kind.CANCEL)
    assert is_failure(outcome, DeadlineExceeded, MAYBE_EXECUTED)
    assert shards.next_deadline() is None


def test_where_nothing_is_asked_nothing_is_due() -> None:
    shards = shards_of(3)
    assert shards.has_calls is False and shards.next_deadline() is None
    shards.receive(UP, request(1, budget=5.0), 0.0)
    assert shards.has_calls and shards.next_deadline() == 5.0
    shards.receive(S0, reply(1), 1.0)
    assert shards.next_deadline() is None and shards.has_calls is False
    assert (shards.waiting, shards.expire(9.0)) == (0, [])


# -- who asks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("has_begun", [False, True])
def test_a_cancel_reaches_every_shard_that_works_on_it(has_begun: bool) -> None:
    shards = shards_of(2, ready=has_begun)
    shards.receive(UP, request(1, "/search"), 0.0)
    assert shards.receive("another", Message(Kind.CANCEL, call(1)), 1.0) == []
    steps = shards.receive(UP, Message(Kind.CANCEL, call(1)), 1.0)
    cancels = [(S0, Kind.CANCEL), (S1, Kind.CANCEL)] if has_begun else []
    assert [(link, message.kind) for link, message in steps] == [*cancels, (UP, Kind.FAILURE)]
    assert is_failure(steps[-1][1], Cancelled, MAYBE_EXECUTED if has_begun else NOT_STARTED)
    assert shards.receive(UP, Message(Kind.CANCEL, call(1)), 1.0) == []
    assert shards.is_idle(1.0)


def test_who_asked_is_lost() -> None:
    shards = shards_of(2)
    shards.receive("caller", request(1, "/search"), 0.0)
    shards.receive("other", request(2, "/search"), 0.0)
    steps = shards.lost("caller", "it left", 1.0)
    assert [(link, message.kind, message.call_id) for link, message in steps] == [
        (S0, Kind.CANCEL, call(1)),
        (S1, Kind.CANCEL, call(1)),
    ]
    shards.receive(S0, reply(2), 2.0)
    assert [link for link, _ in shards.receive(S1, reply(2), 2.0)] == ["other"]


def test_what_is_neither_asked_nor_known_is_dropped_and_counted() -> None:
    shards = shards_of(2)
    shards.receive(UP, request(1), 0.0)
    assert shards.receive(UP, request(1), 0.0) == []
    assert shards.receive(UP, Message(Kind.PING, call(1)), 0.0) == []
    assert shards.malformed("nobody", InvalidRequest("?"), 0.0) == []
    assert shards.dropped == 3


def test_nonsense_of_a_shard_ends_its_call() -> None:
    shards = shards_of(2)
    shards.receive(UP, request(1), 0.0)
    error = InvalidRequest("not a header")
    error.call_id = call(1)
    steps = shards.malformed(S0, error, 0.0)
    assert [link for link, _ in steps] == [S0, UP]


# -- in a Flow, with processes that die --------------------------------------------------------------------------------


@pytest.mark.parametrize("behaviour", [fail, crash, refuse])
def test_a_flow_ends_with_what_a_shard_comes_to(behaviour) -> None:
    flow = SmallFlow(["x"], shards={"x": 3}, executor=tell)
    flow.network.peers["x/shard-1/rep-0"].executor = behaviour
    call_id = flow.ask()
    flow.network.run()
    assert flow.outcome(call_id).kind is Kind.FAILURE
    assert flow.leftovers() == {}


def test_a_flow_hands_on_what_is_missing() -> None:
    flow = SmallFlow(["x", "b"], shards={"x": 2}, sharding={"allow_partial": True}, executor=tell)
    flow.network.kill("x/shard-1/rep-0")
    call_id = flow.ask()
    flow.network.run()
    assert text_of(flow.outcome(call_id).parts) == "b(x(in))"
    assert flow.outcome(call_id).extra == {"missing": {"x/shard-1": Unavailable.code}}
    assert flow.leftovers() == {}


def test_replicas_within_a_shard_stand_in_for_each_other() -> None:
    flow = SmallFlow(["x"], shards={"x": 2}, replicas={"x": 2}, executor=tell)
    flow.network.run()
    flow.network.kill("x/shard-1/rep-0")
    call_id = flow.ask(flags=IDEMPOTENT)
    flow.network.run()
    assert text_of(flow.outcome(call_id).parts) == "x(in)+x(in)"
