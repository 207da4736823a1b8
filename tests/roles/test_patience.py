"""A walk goes on without what it can do without: joins with a quorum or a time, nodes that may be skipped."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.executors import ExecutorFunction, crash, details_of, fail, for_node, refuse, tell, text_of
from tests.support.small_flow import SmallFlow
from zflow.errors import DeadlineExceeded, ExecutorError, Unavailable
from zflow.roles.head import PATIENCE
from zflow.roles.patience import Patience, Progress, Verdict
from zflow.topology import GATEWAY, SKIP, Node, Topology
from zflow.wire.header import MAYBE_EXECUTED, Kind, Message


def branches(*names: str) -> list[Node]:
    return [Node(name, ("gateway",)) for name in names]


def joined(*names: str, **waits: object) -> list[Node]:
    """Branches of these names, and a join of them."""
    return [*branches(*names), Node("join", names, **waits)]  # type: ignore[arg-type]


def taking(**seconds: float):
    """How long a request takes at each node."""
    return lambda request: seconds.get(str(request.extra["node"]), 0.0)


class Asked:
    """One request through `nodes`, asked when everybody is ready."""

    def __init__(self, nodes: list[Node], executor: ExecutorFunction = tell, budget: float | None = None, **seconds):
        self.flow = SmallFlow(nodes, executor=executor, takes=taking(**seconds))
        self.network = self.flow.network
        self.network.run()
        self.call_id = self.flow.ask(budget=budget)

    def answered_within(self, seconds: float) -> bool:
        """Whether there is an outcome after `seconds` more."""
        self.network.run(seconds)
        return bool(self.flow.outcomes(self.call_id))

    @property
    def text(self) -> str:
        reply = self.flow.outcome(self.call_id)
        assert reply.kind is Kind.REPLY
        return text_of(reply.parts)

    @property
    def failure(self) -> Message:
        outcome = self.flow.outcome(self.call_id)
        assert outcome.kind is Kind.FAILURE
        return outcome

    def sent(self, kind: Kind) -> list[str]:
        """Which workers the gateway sent a message of that kind."""
        return [item.receiver for item in self.network.sent if item.sender == "gateway" and item.message.kind is kind]

    def rest(self) -> None:
        """Let everything end; nothing must be left."""
        self.network.run()
        assert self.flow.leftovers() == {}
        assert len(self.flow.outcomes(self.call_id)) == 1


# -- quorum ------------------------------------------------------------------------------------------------------------


def test_a_join_begins_as_soon_as_enough_branches_have_ended_and_gives_the_others_up():
    asked = Asked(joined("a", "b", "c", quorum=2), a=2.0, b=9.0, c=1.0)
    assert not asked.answered_within(1.9)
    assert asked.answered_within(0.2)
    assert asked.text == "join(a(in)+c(in))"  # in the order of needs, not of arrival
    assert asked.sent(Kind.CANCEL) == ["b/rep-0"]
    asked.rest()
    assert asked.flow.gateway.dropped == 1  # what b still answered
    assert len(asked.network.peers["join/rep-0"].executed) == 1


def test_a_branch_that_answers_twice_counts_once():
    asked = Asked(joined("a", "b", "c", quorum=2), a=1.0, b=2.0, c=9.0)
    duplicated = asked.network.duplicate(kind=Kind.REPLY, sender="a/rep-0")
    assert not asked.answered_within(1.5)
    assert asked.answered_within(1.0)
    assert asked.text == "join(a(in)+b(in))"
    assert duplicated.seen == 1
    asked.rest()


def test_a_dead_branch_is_not_waited_for():
    flow = SmallFlow(joined("a", "b", "c", quorum=2))
    flow.network.run()
    flow.network.kill("c/rep-0")
    call_id = flow.ask()
    flow.network.run(PATIENCE / 2)
    assert text_of(flow.outcome(call_id).parts) == "join(a(in)+b(in))"
    flow.network.run()
    assert flow.leftovers() == {}


@pytest.mark.parametrize("broken", [fail, crash, refuse], ids=["it raises", "it dies", "it refuses"])
def test_a_branch_that_fails_first_is_missing_and_no_more_than_that(broken):
    asked = Asked(joined("a", "b", "c", quorum=2), for_node("b", broken, tell), a=1.0, c=1.0)
    assert asked.answered_within(1.5)
    assert asked.text == "join(a(in)+c(in))"
    asked.rest()


def test_what_was_survived_is_told_in_the_status():
    asked = Asked(joined("a", "b", "c", quorum=2), for_node("b", fail, tell), a=1.0, c=1.0)
    asked.rest()
    hopeless = Asked(joined("a", "b", quorum=2), for_node("b", fail, tell), a=1.0)
    hopeless.rest()
    for flow, count in ((asked.flow, 1), (hopeless.flow, 0)):
        [(_, status)] = flow.gateway.receive((b"operator",), Message(Kind.PING), flow.network.clock.now)
        assert details_of(status)["survived"] == count


def test_without_hope_of_a_quorum_the_walk_fails_with_what_failed_last_and_cancels_its_siblings():
    broken = for_node("a", fail, for_node("b", refuse, tell))
    asked = Asked(joined("a", "b", "c", quorum=2), broken, a=1.0, b=0.0, c=9.0)
    assert asked.answered_within(1.5)
    assert (asked.failure.extra["code"], asked.failure.flags) == (ExecutorError.code, MAYBE_EXECUTED)
    assert asked.sent(Kind.CANCEL) == ["c/rep-0"]
    asked.rest()
    assert asked.network.peers["join/rep-0"].executed == []


def test_a_branch_that_others_wait_for_is_not_spared():
    nodes = [*joined("a", "b", quorum=1), Node("other", ("b",)), Node("last", ("join", "other"))]
    asked = Asked(nodes, for_node("b", fail, tell), a=0.0, b=1.0)
    assert not asked.answered_within(0.5)
    assert asked.answered_within(1.0)
    assert asked.failure.extra["code"] == ExecutorError.code
    asked.rest()


def test_a_branch_that_others_wait_for_is_not_given_up():
    nodes = [*joined("a", "b", quorum=1), Node("other", ("b",)), Node("last", ("join", "other"))]
    asked = Asked(nodes, a=0.0, b=1.0)
    assert asked.answered_within(1.5)
    assert asked.text == "last(join(a(in))+other(b(in)))"
    assert asked.sent(Kind.CANCEL) == []
    asked.rest()


def test_of_a_longer_branch_what_runs_is_cancelled_and_what_follows_never_begins():
    nodes = [*branches("a", "b1"), Node("b2", ("b1",)), Node("join", ("a", "b2"), quorum=1)]
    asked = Asked(nodes, a=1.0, b1=5.0)
    assert asked.answered_within(1.5)
    assert asked.text == "join(a(in))"
    assert asked.sent(Kind.CANCEL) == ["b1/rep-0"]
    asked.rest()
    assert asked.network.peers["b2/rep-0"].executed == []


def test_what_was_given_up_does_not_begin_when_what_it_needs_ends_for_others():
    nodes = [*branches("a", "b1"), Node("b2", ("b1",)), Node("join", ("a", "b2"), quorum=1), Node("other", ("b1",))]
    asked = Asked([*nodes, Node("last", ("join", "other"))], a=0.0, b1=1.0)
    asked.rest()
    assert asked.text == "last(join(a(in))+other(b1(in)))"
    assert asked.network.peers["b2/rep-0"].executed == []


def test_a_failure_deep_in_a_branch_takes_its_siblings_there_along():
    """b needs b1 and b2; b1 fails, so nobody waits for b2 any more, but the join does for a."""
    nodes = [*branches("a", "b1", "b2"), Node("b", ("b1", "b2")), Node("join", ("a", "b"), quorum=1)]
    asked = Asked(nodes, for_node("b1", fail, tell), a=3.0, b1=1.0, b2=9.0)
    asked.network.run(2.0)
    assert asked.sent(Kind.CANCEL) == ["b2/rep-0"]
    assert asked.answered_within(2.0)
    assert asked.text == "join(a(in))"
    asked.rest()
    assert asked.network.peers["b/rep-0"].executed == []


def test_a_patient_join_within_the_branch_of_another():
    nodes = [*joined("a", "b", quorum=1), Node("c", ("gateway",)), Node("outer", ("join", "c"), quorum=1)]
    asked = Asked(nodes, a=2.0, b=3.0, c=1.0)
    assert asked.answered_within(1.5)
    assert asked.text == "outer(c(in))"
    assert sorted(asked.sent(Kind.CANCEL)) == ["a/rep-0", "b/rep-0"]
    asked.rest()


def test_the_callers_input_is_there_from_the_beginning():
    asked = Asked([Node("a", ("gateway",)), Node("join", ("gateway", "a"), quorum=1)], a=1.0)
    assert asked.answered_within(0.5)
    assert asked.text == "join(in)"
    asked.rest()


def test_a_join_that_the_caller_leaves_out_hands_on_what_it_would_have_had():
    flow = SmallFlow([*joined("a", "b", quorum=1), Node("last", ("join",))], takes=taking(a=1.0, b=9.0))
    call_id = flow.ask(target="a|b|last")
    flow.network.run(2.0)
    assert text_of(flow.outcome(call_id).parts) == "last(a(in))"
    flow.network.run()
    assert flow.leftovers() == {}


# -- within ------------------------------------------------------------------------------------------------------------


def test_a_join_waits_for_so_long_from_when_the_first_branch_has_ended():
    asked = Asked(joined("a", "b", "c", within=2.0), a=1.0, b=2.5, c=9.0)
    assert not asked.answered_within(2.9)
    assert asked.answered_within(0.2)
    assert asked.text == "join(a(in)+b(in))"
    assert asked.sent(Kind.CANCEL) == ["c/rep-0"]
    asked.rest()


def test_a_join_does_not_wait_when_all_are_there():
    asked = Asked(joined("a", "b", within=2.0), a=0.5, b=1.0)
    assert asked.answered_within(1.1)
    assert asked.text == "join(a(in)+b(in))"
    asked.rest()


def test_after_its_time_a_join_waits_for_no_more_than_a_quorum():
    asked = Asked(joined("a", "b", "c", quorum=2, within=2.0), a=1.0, b=5.0, c=9.0)
    assert not asked.answered_within(4.9)
    assert asked.answered_within(0.2)
    assert asked.text == "join(a(in)+b(in))"
    asked.rest()


def test_within_its_time_a_join_waits_for_more_than_a_quorum():
    asked = Asked(joined("a", "b", "c", quorum=1, within=2.0), a=1.0, b=2.0, c=9.0)
    assert not asked.answered_within(2.9)
    assert asked.answered_within(0.2)
    assert asked.text == "join(a(in)+b(in))"
    asked.rest()


def test_a_failure_does_not_begin_the_time_and_the_last_one_left_ends_the_waiting():
    asked = Asked(joined("a", "b", within=1.0), for_node("a", fail, tell), a=0.0, b=5.0)
    assert not asked.answered_within(4.9)
    assert asked.answered_within(0.2)
    assert asked.text == "join(b(in))"
    asked.rest()


def test_a_join_of_which_every_branch_fails_fails():
    asked = Asked(joined("a", "b", within=1.0), for_node("join", tell, fail), a=1.0)
    asked.network.run()
    assert asked.failure.extra["code"] == ExecutorError.code
    asked.rest()


@pytest.mark.parametrize("end", ["deadline", "cancel", "loss", "failure"])
def test_a_walk_that_ends_while_a_join_waits_leaves_nothing(end):
    nodes = [*joined("a", "b", within=50.0), Node("other", ("gateway",)), Node("last", ("join", "other"))]
    executor = for_node("other", fail, tell) if end == "failure" else tell
    asked = Asked(nodes, executor, budget=2.0 if end == "deadline" else None, a=0.5, b=99.0, other=2.0)
    asked.network.run(1.0)
    if end == "cancel":
        asked.flow.cancel(asked.call_id)
    elif end == "loss":
        asked.network.kill("client")
    asked.network.run(1.5)
    assert vars(asked.flow.gateway)["_walks"] == {}
    if end != "loss":
        assert asked.failure.kind is Kind.FAILURE
    asked.network.run()
    assert asked.flow.leftovers() == {}


def test_the_callers_own_deadline_is_not_survived():
    asked = Asked(joined("a", "b", within=9.0), budget=2.0, a=1.0, b=5.0)
    assert asked.answered_within(2.1)
    assert asked.failure.extra["code"] == DeadlineExceeded.code
    asked.rest()


# -- skipping ----------------------------------------------------------------------------------------------------------


def skipping(nodes: list[Node], executor: ExecutorFunction = tell, budget: float | None = None, **seconds: float):
    """Ask a graph whose node "slow" has a limit of a second; the outcome, after everything has come to rest."""
    flow = SmallFlow(nodes, executor=executor, takes=taking(**seconds), head={"slow": {"timeout": 1.0}}, inline=True)
    flow.network.run()
    call_id = flow.ask(budget=budget)
    flow.network.run()
    assert flow.leftovers() == {}
    return flow, flow.outcome(call_id)


def slow_one(*needs: str) -> Node:
    return Node("slow", needs or ("gateway",), on_timeout=SKIP)


def test_a_join_lacks_a_branch_that_took_too_long_and_its_late_answer_is_dropped():
    flow, reply = skipping([slow_one(), Node("a", ("gateway",)), Node("join", ("slow", "a"))], slow=5.0)
    assert text_of(reply.parts) == "join(a(in))"
    head = vars(flow.gateway)["_heads"]["slow"]
    assert (len(flow.network.peers["slow/rep-0"].executed), vars(head)["_calls"]) == (1, {})


def test_who_follows_a_skipped_node_alone_is_asked_without_documents():
    _, reply = skipping([slow_one(), Node("next", ("slow",))], slow=5.0)
    assert text_of(reply.parts) == "next()"


def test_a_skipped_last_node_makes_an_empty_reply():
    _, reply = skipping([Node("a", ("gateway",)), slow_one("a")], slow=5.0)
    assert (reply.kind, text_of(reply.parts)) == (Kind.REPLY, "")


def test_a_node_in_time_is_not_skipped():
    _, reply = skipping([slow_one(), Node("next", ("slow",))], slow=0.5)
    assert text_of(reply.parts) == "next(slow(in))"


@pytest.mark.parametrize(("broken", "error"), [(fail, ExecutorError), (crash, Unavailable)], ids=["raises", "dies"])
def test_only_slowness_is_skipped(broken, error):
    _, failed = skipping([slow_one(), Node("next", ("slow",))], for_node("slow", broken, tell))
    assert (failed.kind, failed.extra["code"]) == (Kind.FAILURE, error.code)


@pytest.mark.parametrize("nodes", [[slow_one()], [slow_one(), Node("next", ("slow",))]], ids=["last", "not last"])
def test_the_callers_deadline_is_not_skipped(nodes):
    _, failed = skipping(nodes, budget=0.5, slow=5.0)
    assert (failed.kind, failed.extra["code"]) == (Kind.FAILURE, DeadlineExceeded.code)
    assert details_of(failed)["node"] == "slow"


def test_what_would_have_followed_a_skipped_node_is_not_begun_when_a_join_fails_for_it():
    nodes = [*(slow_one(), *branches("a", "b")), Node("join", ("slow", "a", "b"), quorum=3), Node("other", ("slow",))]
    flow, failed = skipping([*nodes, Node("last", ("join", "other"))], slow=5.0, a=9.0, b=9.0)
    assert failed.extra["code"] == DeadlineExceeded.code
    assert flow.network.peers["other/rep-0"].executed == []


def test_a_skipped_branch_does_not_count_for_a_quorum():
    nodes = [
        *(slow_one(), Node("a", ("gateway",)), Node("b", ("gateway",)), Node("other", ("slow",))),
        *(Node("join", ("slow", "a", "b"), quorum=2), Node("last", ("join", "other"))),
    ]
    _, reply = skipping(nodes, slow=9.0, a=0.5, b=3.0)
    assert text_of(reply.parts) == "last(join(a(in)+b(in))+other())"
    _, failed = skipping(nodes, for_node("b", fail, tell), slow=9.0, a=0.5, b=0.6)
    assert failed.extra["code"] == DeadlineExceeded.code
    assert details_of(failed)["node"] == "slow"


# -- what follows from a graph -----------------------------------------------------------------------------------------


def test_a_graph_that_waits_for_everything_needs_no_patience():
    assert not Patience(Topology([*joined("a", "b"), Node("log", ("join",), floating=True)])).is_needed
    assert Patience(Topology(joined("a", "b", quorum=1))).is_needed
    assert Patience(Topology([slow_one()])).is_needed


def test_spared_is_what_only_patient_joins_wait_for_floating_nodes_aside():
    nodes = [*branches("a", "b1", "c"), Node("b", ("b1",)), Node("log", ("a",), floating=True)]
    nodes += [Node("join", ("a", "b", "c"), quorum=1), Node("hanging", ("c",))]
    patience = Patience(Topology(nodes))
    assert patience.spared == {"a", "b", "b1"}
    assert patience.after["a"] == ("join",)
    assert patience.awaited.index("join") < patience.awaited.index("b") < patience.awaited.index("b1")


@pytest.mark.parametrize(
    ("ended", "missing", "overdue", "quorum", "within", "expected"),
    [
        ("", "", False, 2, None, Verdict.WAIT),
        ("a", "", False, 2, None, Verdict.WAIT),
        ("ab", "", False, 2, None, Verdict.BEGIN),
        ("a", "b", False, 2, None, Verdict.WAIT),
        ("a", "bc", False, 2, None, Verdict.FAIL),
        ("", "bc", False, 2, None, Verdict.FAIL),
        ("", "ab", False, 0, 1.0, Verdict.WAIT),
        ("", "abc", True, 0, 1.0, Verdict.FAIL),
        ("a", "", True, 0, 1.0, Verdict.BEGIN),
        ("a", "", True, 2, 1.0, Verdict.WAIT),
        ("ab", "", False, 2, 1.0, Verdict.WAIT),
        ("ab", "c", False, 2, 1.0, Verdict.BEGIN),
        ("abc", "", False, 3, 1.0, Verdict.BEGIN),
    ],
)
def test_verdicts(ended, missing, overdue, quorum, within, expected):
    topology = Topology(joined("a", "b", "c", quorum=quorum, within=within))
    progress = Progress(Patience(topology))
    progress.open -= {*ended, *missing}
    progress.missing |= {*missing}
    if overdue:
        progress.overdue.add("join")
    assert progress.verdict(topology.by_name["join"]) is expected


# -- whatever happens --------------------------------------------------------------------------------------------------


@st.composite
def graphs(draw) -> list[Node]:
    """Graphs of up to 7 nodes with everything that may be said of them."""
    nodes: list[Node] = []
    for number in range(draw(st.integers(1, 7))):
        known = [GATEWAY, *(node.name for node in nodes if not node.floating)]
        floating = draw(st.integers(0, 4)) == 0
        choices = [GATEWAY, *(node.name for node in nodes)] if floating else known
        needs = tuple(draw(st.lists(st.sampled_from(choices), min_size=1, max_size=3, unique=True)))
        is_join = len(needs) > 1 and not floating
        quorum = draw(st.integers(0, len(needs))) if is_join else 0
        within = draw(st.sampled_from([None, 0.5, 2.0])) if is_join else None
        on_timeout = "fail" if floating else draw(st.sampled_from(["fail", SKIP]))
        nodes.append(Node(f"n{number}", needs, floating=floating, on_timeout=on_timeout, quorum=quorum, within=within))
    return nodes


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(graphs(), st.data())
def test_every_request_ends_once_and_leaves_nothing(nodes, data):
    names = [node.name for node in nodes]
    limits = data.draw(st.dictionaries(st.sampled_from(names), st.just({"timeout": 1.0})))
    seconds = data.draw(st.fixed_dictionaries({name: st.sampled_from([0.0, 0.4, 1.5, 4.0]) for name in names}))
    broken = data.draw(st.dictionaries(st.sampled_from(names), st.sampled_from([fail, crash, refuse]), max_size=3))
    budget = data.draw(st.sampled_from([None, None, 1.0, 3.0]))

    def executor(request: Message) -> Message:
        return broken.get(str(request.extra["node"]), tell)(request)

    flow = SmallFlow(nodes, executor=executor, takes=taking(**seconds), head=limits)
    flow.network.run()
    calls = [flow.ask(budget=budget) for _ in range(3)]
    flow.network.run()
    for call_id in calls:
        assert flow.outcome(call_id).kind in (Kind.REPLY, Kind.FAILURE)
        if not broken and not limits and budget is None:
            assert flow.outcome(call_id).kind is Kind.REPLY
    assert flow.leftovers() == {}
    held = vars(flow.gateway)
    assert held["_walks"] == held["_steps"] == held["_floating"] == {}
