"""The network does to roles what sockets do, makes the faults it is told to, and tells when a role misbehaves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tests.support.executors import crash, echo
from tests.support.network import Network, Peer
from zflow.errors import RemoteError
from zflow.roles.contract import APPLICATION, EXECUTOR, Batch, Link, Steps
from zflow.wire.header import Kind, Message

SERVER = "server"


def call(number: int) -> bytes:
    return number.to_bytes(16, "big")


def question(number: int) -> Message:
    return Message(Kind.REQUEST, call(number), "/")


class Diary:
    """A role that writes down what it is told, and passes questions on to `passes_to`."""

    def __init__(self, *ways_out: str, passes_to: Link | None = None, due: float | None = None) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.due = due
        self._ways_out = ways_out
        self._passes_to = passes_to
        self._origins: dict[bytes, Link] = {}

    def ways_out(self) -> Sequence[str]:
        return self._ways_out

    def receive(self, link: Link, message: Message, now: float) -> Steps:
        self.told.append(("received", message.kind, int.from_bytes(message.call_id, "big"), now))
        if message.kind is Kind.REQUEST and self._passes_to is not None:
            self._origins[message.call_id] = link
            return [(self._passes_to, message)]
        if message.kind is Kind.REPLY:
            return [(self._origins.get(message.call_id, APPLICATION), message)]
        return []

    def opened(self, link: str, now: float) -> Steps:
        self.told.append(("opened", link, now))
        return []

    def lost(self, link: Link, reason: str, now: float) -> Steps:
        self.told.append(("lost", link if isinstance(link, str) else "a caller", reason, now))
        return []

    def malformed(self, link: Link, error: RemoteError, now: float) -> Steps:
        self.told.append(("malformed", str(error), now))
        return []

    def expire(self, now: float) -> Steps:
        self.told.append(("expired", now))
        return []

    def next_deadline(self) -> float | None:
        return self.due

    def drain(self, now: float) -> Steps:
        self.told.append(("drained", now))
        return [(link, Message(Kind.DRAIN)) for link in self._ways_out]

    def is_idle(self, now: float) -> bool:
        return True

    def of(self, *words: str) -> list[tuple[Any, ...]]:
        """What it was told that begins with one of `words`."""
        return [entry for entry in self.told if entry[0] in words]

    def numbers(self) -> list[int]:
        """The call ids that came in, in their order."""
        return [entry[2] for entry in self.of("received")]


def asker(network: Network) -> Diary:
    role = Diary(SERVER, passes_to=SERVER)
    network.add("asker", role)
    return role


def server(network: Network, *, takes: float = 0.0, executor: Any = echo) -> Diary:
    role = Diary(passes_to=EXECUTOR)
    network.add(SERVER, role, executor=executor, takes=takes)
    return role


def ask(network: Network, *numbers: int) -> None:
    for number in numbers:
        network.ask("asker", question(number))


def answers(network: Network) -> list[int]:
    return [int.from_bytes(message.call_id, "big") for message in network.peers["asker"].answers]


# -- what sockets do ---------------------------------------------------------------------------------------------------


def test_a_question_goes_to_the_executor_and_comes_back(network):
    server(network)
    asker(network)
    network.run()
    ask(network, 1)
    network.run()
    assert answers(network) == [1]
    assert network.peers[SERVER].executed == [call(1)]
    assert [(sent.sender, sent.receiver, sent.message.kind) for sent in network.sent] == [
        ("asker", SERVER, Kind.REQUEST),
        (SERVER, "asker", Kind.REPLY),
    ]


def test_a_batch_runs_as_one_and_each_of_it_is_answered(network):
    role = Diary()
    network.add(SERVER, role, executor=echo, takes=1.0)
    network._carry(network.peers[SERVER], [(EXECUTOR, Batch([question(1), question(2)]))])
    network.run()
    assert network.peers[SERVER].executed == [call(1), call(2)]
    assert role.numbers() == [0]  # one Batch of both outcomes, without a call id of its own


def test_what_is_said_while_a_connection_is_being_made_waits_for_it(network):
    class Greeter(Diary):
        def opened(self, link: str, now: float) -> Steps:
            return [(link, question(7))]

    network.add("asker", Greeter(SERVER, passes_to=SERVER))
    network.run(0.5)
    role = server(network)
    network.run()
    assert role.numbers() == [7, 7]  # the question, and the answer of its executor


def test_what_is_said_without_a_connection_is_lost(network):
    asker(network)
    network.run()
    ask(network, 1)
    role = server(network)
    network.run()
    assert role.told == [] and answers(network) == []


def test_messages_are_copies(network):
    role = server(network)
    asker(network)
    network.run()
    shared = question(1)
    network.ask("asker", shared)
    shared.extra["changed"] = True
    network.run()
    assert role.numbers() == [1, 1]
    assert network.sent[0].message.extra == {}


def test_messages_arrive_in_order_and_after_the_latency():
    network = Network(latency=0.25)
    role = server(network, takes=0.0)
    asker(network)
    network.run()
    started = network.clock.now
    ask(network, 1, 2, 3)
    network.run(0.2)
    assert role.told == []
    network.run()
    assert answers(network) == [1, 2, 3]
    assert network.clock.now == started + 0.5


def test_a_busy_peer_hears_nothing_until_its_executor_is_done(network):
    role = server(network, takes=2.0)
    asker(network)
    network.run()
    started = network.clock.now
    ask(network, 1)
    network.run(0.5)
    network.ask("asker", Message(Kind.CANCEL, call(1)))
    network.inject("asker", Message(Kind.CANCEL, call(1)), SERVER)
    network.run()
    assert role.told == [
        ("received", Kind.REQUEST, 1, started),
        ("received", Kind.REPLY, 1, started + 2.0),
        ("received", Kind.CANCEL, 1, started + 2.0),
    ]


def test_two_requests_at_once_for_one_executor_are_a_fault_of_the_role(network):
    server(network, takes=1.0)
    asker(network)
    network.run()
    peer = network.peers[SERVER]
    network._execute(peer, question(1))
    with pytest.raises(AssertionError, match="busy"):
        network._execute(peer, question(2))


def test_the_clock_moves_to_the_next_deadline_and_stops_when_all_is_quiet(network):
    class Patient(Diary):
        def expire(self, now: float) -> Steps:
            self.due = None
            return super().expire(now)

    started = network.clock.now
    role = Patient(due=started + 7.0)
    network.add("patient", role)
    network.run(5.0)
    assert role.told == []
    network.run()
    assert role.told == [("expired", started + 7.0)]
    assert network.clock.now == started + 7.0


def test_a_role_that_stays_due_is_found_out(network):
    network.add("spinner", Diary(due=network.clock.now))
    with pytest.raises(AssertionError, match="spinner spins"):
        network.run()


def test_a_network_that_never_rests_is_found_out(network):
    class Restless(Diary):
        def expire(self, now: float) -> Steps:
            self.due = now + 1.0
            return []

    network.add("restless", Restless(due=network.clock.now))
    with pytest.raises(AssertionError, match="not quiet after 100 s"):
        network.run(limit=100.0)


def test_a_role_that_names_a_way_out_it_does_not_have_is_found_out(network):
    network.add("lost", Diary(passes_to="nowhere"))
    with pytest.raises(KeyError, match="nowhere"):
        network.ask("lost", question(1))


def test_foreign_bytes_are_told_as_malformed(network):
    role = server(network)
    asker(network)
    network.run()
    network.inject("asker", [b"no header"], SERVER)
    network.run()
    [(_, error, _)] = role.of("malformed")
    assert "header" in error


# -- what goes wrong ---------------------------------------------------------------------------------------------------


def test_a_killed_peer_is_lost_on_both_sides_and_answers_nothing(network):
    role = asker(network)
    listener = Diary(passes_to=EXECUTOR)
    network.add(SERVER, listener, executor=echo, takes=1.0)
    network.run()
    started = network.clock.now
    ask(network, 1)
    network.run(0.5)
    network.kill(SERVER)
    assert role.of("lost") == [("lost", SERVER, "server died", started + 0.5)]
    network.run(2.0)
    assert answers(network) == []
    network.kill("asker")
    assert listener.of("lost") == []  # it is dead itself


def test_a_killed_caller_is_lost_at_the_front_door(network):
    role = server(network)
    asker(network)
    network.run()
    network.kill("asker")
    assert [entry[:3] for entry in role.told] == [("lost", "a caller", "asker died")]


def test_a_front_door_that_does_not_notice_finds_out_by_sending(network):
    network.front_doors_notice = False
    role = server(network, takes=1.0)
    asker(network)
    network.run()
    ask(network, 1)
    network.run(0.5)
    network.kill("asker")
    assert role.of("lost") == []
    network.run()
    assert [entry[:3] for entry in role.of("lost")] == [("lost", "a caller", "cannot send: no route")]


def test_the_dead_are_dialled_again_and_again_with_growing_pauses(network):
    role = asker(network)
    server(network)
    network.run()
    network.kill(SERVER)
    network.run(10.0)
    times = [entry[-1] for entry in role.of("opened")]
    pauses = [later - earlier for earlier, later in zip(times[1:], times[2:])]
    assert len(times) > 8
    assert pauses == sorted(pauses) and max(pauses) <= 1.0
    assert len(role.of("lost")) == len(times)


def test_a_new_incarnation_is_dialled_at_once_and_has_the_old_executor(network):
    role = asker(network)
    server(network)
    network.run()
    network.kill(SERVER)
    network.run(30.0)
    came_back = network.clock.now
    network.restart(SERVER, Diary(passes_to=EXECUTOR))
    network.run()
    assert role.of("opened")[-1] == ("opened", SERVER, came_back)
    ask(network, 1)
    network.run()
    assert answers(network) == [1]


def test_restarting_a_living_peer_ends_it_first(network):
    role = asker(network)
    server(network)
    network.run()
    network.restart(SERVER, Diary(passes_to=EXECUTOR))
    network.run()
    assert [entry[0] for entry in role.told] == ["opened", "lost", "opened"]


def test_a_cut_connection_is_lost_on_both_sides_with_all_that_is_under_way():
    network = Network(latency=0.1)
    role = asker(network)
    listener = server(network)
    network.run()
    ask(network, 1)
    network.cut("asker", SERVER)
    network.run()
    assert answers(network) == [] and network.peers[SERVER].executed == []
    assert [entry[0] for entry in role.of("opened", "lost")] == ["opened", "lost", "opened"]
    assert [entry[0] for entry in listener.told] == ["lost"]
    network.peers["asker"].ways_out[SERVER].connection = None
    network.cut("asker", SERVER)  # nothing to cut


def test_a_crashing_executor_takes_its_peer_along(network):
    role = asker(network)
    server(network, executor=crash)
    network.run()
    ask(network, 1)
    network.run(0.001)
    assert not network.peers[SERVER].is_alive
    assert role.of("lost")[0][1:3] == (SERVER, "server died")


def test_dropped_messages_never_arrive_and_are_counted(network):
    asker(network)
    role = server(network)
    network.run()
    fault = network.drop(times=2, kind=Kind.REQUEST, sender="asker")
    ask(network, 1, 2, 3)
    network.run()
    assert (fault.seen, fault.left, network.dropped, answers(network)) == (2, 0, 2, [3])
    assert role.numbers() == [3, 3]


def test_duplicated_messages_arrive_twice(network):
    asker(network)
    server(network)
    network.run()
    fault = network.duplicate(kind=Kind.REPLY, receiver="asker")
    ask(network, 1)
    network.run()
    assert (fault.seen, answers(network)) == (1, [1, 1])


def test_delayed_messages_hold_up_what_is_behind_them(network):
    asker(network)
    role = server(network)
    network.run()
    started = network.clock.now
    network.delay(2.0, kind=Kind.REQUEST)
    ask(network, 1, 2)
    network.run()
    assert [entry[2:] for entry in role.of("received")][::2] == [(1, started + 2.0), (2, started + 2.0)]


def test_reordered_messages_are_overtaken(network):
    asker(network)
    server(network)
    network.run()
    network.reorder(kind=Kind.REQUEST)
    ask(network, 1, 2)
    network.run()
    assert answers(network) == [2, 1]


def test_garbled_messages_arrive_as_they_were_changed(network):
    asker(network)
    role = server(network)
    network.run()
    network.garble(lambda frames: [frames[0][:-1]], kind=Kind.REQUEST)
    ask(network, 1)
    network.run()
    assert len(role.of("malformed")) == 1


def test_a_fault_that_matches_nothing_happens_to_nobody(network):
    asker(network)
    server(network)
    network.run()
    fault = network.drop(kind=Kind.CANCEL)
    ask(network, 1)
    network.run()
    assert (fault.seen, answers(network)) == (0, [1])
    with pytest.raises(TypeError, match="'receivers'"):
        network.drop(receivers="x")


def test_draining_is_told_and_its_steps_carried_out(network):
    asker(network)
    role = server(network)
    network.run()
    network.drain("asker")
    network.run()
    assert [entry[:2] for entry in role.told] == [("received", Kind.DRAIN)]


def test_who_has_no_connection_cannot_inject(network):
    asker(network)
    with pytest.raises(LookupError, match="asker has no connection to server"):
        network.inject("asker", question(1), SERVER)


def test_peers_say_how_they_are(network):
    peer = network.add("x", Diary(), executor=echo)
    assert isinstance(peer, Peer) and repr(peer) == "<x: alive>"
    network.kill("x")
    assert repr(peer) == "<x: dead>"
