"""A whole Flow of roles: whatever graph, order of events and losses, each request has exactly one outcome.

The first tests show that the Flow is one; the last one is the promise of the runtime, put to the test with random
graphs, workers that die, drain and come back, connections that break, messages that come late, twice or out of order,
and callers that give up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.executors import fail, refuse, tell, text_of
from tests.support.network import Network
from tests.support.small_flow import CLIENT, GATEWAY, SmallFlow
from zflow.roles.call import RETRIES
from zflow.topology import Node, Topology
from zflow.wire.header import IDEMPOTENT, NOT_STARTED, Kind, Message


def test_names_make_a_chain_and_a_request_goes_all_the_way():
    flow = SmallFlow(["a", "b"])
    call_id = flow.ask("hello")
    flow.network.run()
    assert text_of(flow.outcome(call_id).parts) == "b(a(hello))"
    assert flow.leftovers() == {}
    assert flow.links() == ["a/rep-0", "b/rep-0"]


def test_each_node_has_as_many_workers_as_asked():
    flow = SmallFlow(["a", "b"], replicas={"b": 3})
    assert flow.links("b") == ["b/rep-0", "b/rep-1", "b/rep-2"]
    assert set(flow.network.peers) == {CLIENT, GATEWAY, *flow.links()}


def test_shards_have_workers_each_and_so_have_those_around_them():
    flow = SmallFlow(["a", "b"], replicas={"b": 2}, shards={"b": 2}, sharding={"after": True})
    links = [f"b/shard-{shard}/rep-{replica}" for shard in (0, 1) for replica in (0, 1)]
    assert flow.links("b") == [*links, "b/uses-after/rep-0"]
    call_id = flow.ask()
    flow.network.run()
    assert text_of(flow.outcome(call_id).parts) == "b(b(a(in))+b(a(in)))"


def test_a_node_may_stand_alone_behind_a_head_of_its_own():
    flow = SmallFlow(["a", "b"], replicas={"b": 2}, standing=["b"])
    assert (flow.dialler_of("a/rep-0"), flow.dialler_of("b/rep-1")) == (GATEWAY, "b/head")
    assert flow.gateway.ways_out() == ["a/rep-0", "b/head"]
    call_id = flow.ask()
    flow.network.run()
    assert text_of(flow.outcome(call_id).parts) == "b(a(in))"
    assert flow.leftovers() == {}


def test_a_request_that_is_under_way_is_found_among_the_leftovers():
    flow = SmallFlow(["a"], takes=1.0)
    call_id = flow.ask()
    flow.network.run(0.5)
    assert set(flow.leftovers()) == {"a/rep-0", CLIENT, GATEWAY}
    assert flow.outcomes(call_id) == []
    with pytest.raises(AssertionError, match="0 outcomes"):
        flow.outcome(call_id)


def test_the_gateway_can_be_asked_inline_as_a_flow_does():
    flow = SmallFlow(["a"], inline=True)
    call_id = flow.ask()
    flow.network.run()
    assert text_of(flow.outcome(call_id).parts) == "a(in)"
    assert CLIENT not in flow.network.peers


def test_a_flow_fails_and_recovers():
    """The worker dies with the request; the next one waits for its successor."""
    flow = SmallFlow(["a", "b"], takes=1.0)
    lost = flow.ask()
    flow.network.run(0.5)
    flow.network.kill("a/rep-0")
    flow.network.run(0.1)
    assert flow.outcome(lost).kind is Kind.FAILURE
    waiting = flow.ask()
    flow.network.run(0.1)
    flow.network.restart("a/rep-0", flow.new_worker("a/rep-0"))
    flow.network.run()
    assert text_of(flow.outcome(waiting).parts) == "b(a(in))"


# -- the promise -------------------------------------------------------------------------------------------------------

Behaviour = Callable[[Message], Message]
Event = tuple[float, int, Callable[[], None]]

HORIZON = 8.0  # seconds within which requests and faults happen
BOUND = 120.0  # seconds within which a request without a deadline must have ended


class Asked(NamedTuple):
    """One request of a story."""

    at: float
    budget: float | None
    is_idempotent: bool
    cancelled_after: float | None


class Mishap(NamedTuple):
    """Something that goes wrong at a time, to the peer or connection that `whom` chooses."""

    at: float
    what: str
    whom: int
    lasts: float


class Begun(NamedTuple):
    """One execution: the step's call id, its node, its documents."""

    call_id: bytes
    node: str
    text: str


class Story(NamedTuple):
    """What a run is made of."""

    nodes: tuple[Node, ...]
    replicas: dict[str, int]
    shards: dict[str, int]
    sharding: dict[str, object]
    standing: frozenset[str]
    idempotent: frozenset[str]
    timeouts: dict[str, float]
    credit: int
    inline: bool
    nonces: bool
    doors_notice: bool
    latency: float
    durations: tuple[float, ...]
    behaviours: tuple[Behaviour, ...]
    asked: tuple[Asked, ...]
    mishaps: tuple[Mishap, ...]


times = st.integers(0, int(HORIZON * 10)).map(lambda tenth: tenth / 10)
MISHAPS = ["kill", "restart", "cut", "roll", "cut the client", "kill the gateway", "kill a head"]
MISHAPS += ["delay", "duplicate", "reorder"]


@st.composite
def graphs(draw: st.DrawFn) -> tuple[Node, ...]:
    nodes: list[Node] = []
    for number in range(draw(st.integers(0, 5))):
        known = [GATEWAY, *(node.name for node in nodes)]
        needs = draw(st.lists(st.sampled_from(known), min_size=1, max_size=3, unique=True))
        nodes.append(Node(f"n{number}", tuple(needs), draw(st.booleans())))
    return tuple(nodes)


@st.composite
def stories(draw: st.DrawFn) -> Story:
    nodes = draw(graphs())
    names = [node.name for node in nodes]
    optional_time = st.none() | st.sampled_from([0.0, 0.3, 1.0, 2.5, 6.0])
    return Story(
        nodes=nodes,
        replicas={name: draw(st.integers(1, 3)) for name in names},
        shards={name: draw(st.integers(1, 3)) for name in names if draw(st.integers(0, 2)) == 0},
        sharding={
            "polls_all": {"*": draw(st.booleans())},
            **{option: draw(st.booleans()) for option in ("allow_partial", "before", "after")},
        },
        standing=frozenset(name for name in names if draw(st.integers(0, 2)) == 0),
        idempotent=frozenset(name for name in names if draw(st.booleans())),
        timeouts={name: 1.5 for name in names if draw(st.integers(0, 5)) == 0},
        credit=draw(st.integers(1, 3)),
        inline=draw(st.booleans()),
        nonces=draw(st.booleans()),
        doors_notice=draw(st.booleans()),
        latency=draw(st.sampled_from([0.0, 0.01, 0.2])),
        durations=tuple(draw(st.lists(st.sampled_from([0.0, 0.1, 0.5, 2.0, 5.0]), min_size=1, max_size=5))),
        behaviours=tuple(draw(st.lists(st.sampled_from([tell, tell, tell, fail, refuse]), min_size=1, max_size=6))),
        asked=tuple(
            draw(st.lists(st.builds(Asked, times, optional_time, st.booleans(), optional_time), min_size=1, max_size=8))
        ),
        mishaps=tuple(
            draw(st.lists(st.builds(Mishap, times, st.sampled_from(MISHAPS), st.integers(0, 99), times), max_size=8))
        ),
    )


class Run:
    """Lets a story happen."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.network = Network(latency=story.latency)
        self.network.front_doors_notice = story.doors_notice
        self.begun: list[Begun] = []
        self._chosen: dict[int, Behaviour] = {}
        self._later: list[Event] = []
        self._turns = 0
        self.flow = SmallFlow(
            story.nodes,
            network=self.network,
            replicas=story.replicas,
            shards=story.shards,
            sharding=story.sharding,
            standing=story.standing,
            executor=self._execute,
            takes=self._takes,
            credit=story.credit,
            head={
                name: {"idempotent": name in story.idempotent, "timeout": story.timeouts.get(name)}
                for name in story.replicas
            },
            demands_nonces=story.nonces,
            inline=story.inline,
        )
        self.calls: dict[bytes, tuple[Asked, str, float]] = {}
        self._start = self.network.clock.now

    def happen(self) -> None:
        """All that the story tells, in the order of time, and then whatever follows from it until all is quiet."""
        events: list[Event] = []
        for number, asked in enumerate(self.story.asked):
            events.append((asked.at, number, lambda asked=asked, number=number: self._ask(asked, f"r{number};")))  # type: ignore[misc]
        for number, mishap in enumerate(self.story.mishaps, start=100):
            events.append((mishap.at, number, lambda mishap=mishap: self._go_wrong(mishap)))  # type: ignore[misc]
        while events:
            events.sort(key=lambda event: event[:2])
            at, _, happens = events.pop(0)
            self._run_until(at)
            happens()
            events += self._later
            self._later = []
        self.network.run(limit=BOUND + HORIZON)

    def _run_until(self, at: float) -> None:
        self.network.run(max(0.0, self._start + at - self.network.clock.now))

    def _takes(self, request: Message) -> float:
        """A worker takes a request up: what it will do, and how long it needs, differs from step to step."""
        turn = self._turns = self._turns + 1
        behaviour = self.story.behaviours[turn % len(self.story.behaviours)]
        self._chosen[id(request)] = behaviour
        if behaviour is not refuse:
            self.begun.append(Begun(request.call_id, str(request.extra["node"]), text_of(request.parts)))
        return self.story.durations[turn % len(self.story.durations)]

    def _execute(self, request: Message) -> Message:
        return self._chosen.pop(id(request))(request)

    def _ask(self, asked: Asked, text: str) -> None:
        flags = IDEMPOTENT if asked.is_idempotent else 0
        call_id = self.flow.ask(text, budget=asked.budget, flags=flags)
        self.calls[call_id] = asked, text, self.network.clock.now
        if asked.cancelled_after is not None:
            at = self.network.clock.now - self._start + asked.cancelled_after
            self._later.append((at, 200, lambda: self.flow.cancel(call_id)))

    def _go_wrong(self, mishap: Mishap) -> None:
        links = self.flow.links()
        if mishap.what in ("delay", "duplicate", "reorder"):
            kind = (Kind.REQUEST, Kind.REPLY, Kind.CANCEL, Kind.FAILURE)[mishap.whom % 4]
            self._disturb(mishap, kind)
        elif mishap.what == "cut the client":
            if not self.story.inline:
                self.network.cut(CLIENT, GATEWAY)
        elif mishap.what == "kill the gateway":
            if not self.story.inline:
                self.network.restart(GATEWAY, self.flow.new_gateway())
        elif mishap.what == "kill a head":
            for name in sorted(self.story.standing)[mishap.whom % 5 :][:1]:
                self.network.restart(f"{name}/head", self.flow.new_head_peer(name))
        elif links:
            self._harm(links[mishap.whom % len(links)], mishap.what)

    def _disturb(self, mishap: Mishap, kind: Kind) -> None:
        if mishap.what == "delay":
            self.network.delay(mishap.lasts, kind=kind)
        elif mishap.what == "duplicate" and kind is not Kind.FAILURE:
            # A connection duplicates nothing. A refusal that came twice would pass for the answer to a second attempt
            # that the first one has caused on the same connection, since attempts have no numbers.
            self.network.duplicate(kind=kind)
        elif mishap.what == "reorder":
            self.network.reorder(kind=kind)

    def _harm(self, link: str, what: str) -> None:
        network = self.network
        if what == "kill":
            network.kill(link)
        elif what == "restart":
            network.restart(link, self.flow.new_worker(link))
        elif what == "cut":
            network.cut(self.flow.dialler_of(link), link)
        elif network.peers[link].is_alive and not network.peers[link].is_busy:  # what a reactor does between requests
            network.drain(link)
            waited = 0
            while (
                network.peers[link].is_alive
                and not network.peers[link].role.is_idle(network.clock.now)
                and waited < 100
            ):
                network.run(0.1)
                waited += 1
            network.restart(link, self.flow.new_worker(link))


def expected_text(topology: Topology, text: str, story: Story) -> str:
    """What `tell` makes of a request on its way through the graph."""
    made = {GATEWAY: text}

    def of(name: str) -> str:
        if name not in made:
            inputs = "+".join(of(need) for need in topology.by_name[name].needs)
            for places in _stages(name, story):
                inputs = "+".join([f"{name}({inputs})"] * places)
            made[name] = inputs
        return made[name]

    return of(topology.last)


def _stages(name: str, story: Story) -> list[int]:
    """The stages of a node, and in how many places each is worked on at once."""
    if name not in story.shards:
        return [1]
    around = {where: [1] if story.sharding[where] else [] for where in ("before", "after")}
    return [*around["before"], story.shards[name] if story.sharding["polls_all"]["*"] else 1, *around["after"]]  # type: ignore[index]


def check(run: Run) -> None:
    """One outcome each, right, on time and true; nothing ran more often than allowed; nothing is left."""
    flow, asker = run.flow, run.flow.asker
    assert len(asker.answers) == len(run.calls)
    for call_id, (asked, text, at) in run.calls.items():
        outcome = flow.outcome(call_id)
        took = asker.answered_at[asker.answers.index(outcome)] - at
        assert took <= (BOUND if asked.budget is None else asked.budget + 0.001), f"{outcome} took {took:g} s"
        if outcome.kind is Kind.REPLY:
            if "missing" in outcome.extra:
                assert run.story.sharding["allow_partial"]
            else:
                assert text_of(outcome.parts) == expected_text(flow.topology, text, run.story)
        else:
            assert outcome.kind is Kind.FAILURE
        if outcome.flags & NOT_STARTED:
            assert not [begun for begun in run.begun if text in begun.text], f"{outcome} says that nothing ran"
        if not asked.is_idempotent:
            attempts = Counter((begun.call_id, begun.node) for begun in run.begun if text in begun.text)
            for (_, node), count in attempts.items():
                most = sum(_stages(node, run.story)) * (1 + (RETRIES if node in run.story.idempotent else 0))
                assert count <= most, f"{node} ran {text} {count} times"
            for node, calls in Counter(node for _, node in attempts).items():
                # a head process makes a call of its own of each attempt; nobody else has more than one for a request
                most = 1 + RETRIES if node in run.story.standing & run.story.idempotent else 1
                assert calls <= most, f"{text} was walked twice: {attempts}"
    assert flow.leftovers() == {}


@given(stories())
def test_every_request_has_exactly_one_outcome_whatever_happens(story):
    run = Run(story)
    run.happen()
    check(run)


@pytest.mark.full
@pytest.mark.time_limit(300)
@given(stories())
@settings(max_examples=5_000)
def test_every_request_has_exactly_one_outcome_in_very_many_stories(story):
    run = Run(story)
    run.happen()
    check(run)
