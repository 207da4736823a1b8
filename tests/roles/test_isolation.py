"""Suspects run alone: what kills is found after two deaths, and nobody else is blamed for it or waits long."""

from __future__ import annotations

from tests.support.clock import Ids
from tests.support.executors import details_of
from zflow.errors import PoisonRequest
from zflow.roles.contract import Steps
from zflow.roles.head import PATIENCE, Head
from zflow.roles.isolation import MOST_SUSPECTS, TOGETHER
from zflow.wire.header import IDEMPOTENT, MAYBE_EXECUTED, Kind, Message

UP = "gateway"
R0, R1, R2 = "a/rep-0", "a/rep-1", "a/rep-2"
ANSWER_AT = TOGETHER + 0.06  # seconds after which it is looked again whether a replica has died


def call(number: int) -> bytes:
    return number.to_bytes(16, "big")


class Replicas:
    """A head with replicas, each of which may come back as the same or as another incarnation."""

    def __init__(self, *links: str, credit: int = 8) -> None:
        self.head = Head("a", links, new_id=Ids(), chance=lambda: 0.5)
        self._credit = credit
        self._boots = dict.fromkeys(links, 0)
        for link in links:
            self.comes_back(link)

    def comes_back(self, link: str, now: float = 0.0, named: list[int] | None = None) -> list[tuple[object, int]]:
        """named: the calls that it says its former incarnation has died with, if it does say so."""
        self.head.opened(link, now)
        extra: dict[str, object] = {"boot": self._boots[link].to_bytes(16, "big"), "credit": self._credit}
        if named is not None:
            extra["deaths"] = list(map(call, named))
        return sent(self.head.receive(link, Message(Kind.READY, extra=extra), now))

    def dies(self, link: str, now: float = 0.0) -> list[tuple[object, int]]:
        self._boots[link] += 1
        return self.breaks(link, now)

    def breaks(self, link: str, now: float = 0.0) -> list[tuple[object, int]]:
        """What is sent in that moment, and after those in which others may be lost by the same cause."""
        return self.is_lost(link, now) + sent(self.head.expire(now + TOGETHER))

    def is_lost(self, link: str, now: float = 0.0) -> list[tuple[object, int]]:
        return sent(self.head.lost(link, "the connection broke", now))

    def asks(self, number: int, now: float = 0.0) -> list[tuple[object, int]]:
        return sent(self.head.receive(UP, Message(Kind.REQUEST, call(number), "/", None, IDEMPOTENT), now))

    def answers(self, link: str, number: int, now: float = 0.0) -> list[tuple[object, int]]:
        return sent(self.head.receive(link, Message(Kind.REPLY, call(number)), now))


def sent(steps: Steps) -> list[tuple[object, int]]:
    """To whom which request leaves."""
    return [(link, int.from_bytes(message.call_id, "big")) for link, message in steps if message.kind is Kind.REQUEST]


def test_the_suspects_of_a_death_run_one_after_another_and_others_elsewhere():
    replicas = Replicas(R0, R1, R2)
    for number in (1, 2, 3):  # to three replicas
        replicas.asks(number)
    for number in (4, 5, 6):
        replicas.asks(number)
    assert replicas.dies(R0) == []  # it had 1 and 4; one of the others is kept free for them
    assert replicas.asks(7) == [(R2, 7)]
    assert replicas.answers(R1, 2) == []
    assert replicas.answers(R1, 5) == [(R1, 1)]
    assert replicas.asks(8) == [(R2, 8)]
    assert replicas.answers(R1, 1) == [(R1, 4)]
    assert replicas.answers(R1, 4) == []
    assert replicas.asks(9) == [(R1, 9)]  # which is one like the others again


def test_what_kills_twice_is_found_and_those_beside_it_are_answered():
    replicas = Replicas(R0, R1)
    for number in (1, 2):
        replicas.asks(number)
    replicas.answers(R1, 2)
    for number in (3, 4):
        replicas.asks(number)  # 1 kills; so R0 has 1 and another one, R1 the third
    with_it = [number for link, number in ((R1, 3), (R0, 4)) if link == R0]
    replicas.answers(R1, 3)
    assert replicas.dies(R0, 1.0) == [(R1, 1)]
    replicas.comes_back(R0, 1.1)
    assert replicas.dies(R1, 1.2) == [(R0, with_it[0])]
    replicas.comes_back(R1, 1.3)
    *_, (to, outcome) = replicas.head.receive(R0, Message(Kind.REPLY, call(with_it[0])), 1.3)
    assert (to, outcome.kind, outcome.flags, outcome.extra["code"]) == (UP, Kind.FAILURE, MAYBE_EXECUTED, 10)
    assert details_of(outcome)["message"] == "a: a/rep-0 and a/rep-1 died while they had it; it is not sent to a third"
    assert replicas.asks(9, 2.0) != []


def test_connections_that_break_are_nobodys_fault():
    replicas = Replicas(R0, R1)
    replicas.asks(1)
    assert replicas.breaks(R0) == [(R1, 1)]
    replicas.comes_back(R0)
    assert replicas.breaks(R1) == [(R0, 1)]  # R0 is the one that it was


def test_who_died_and_does_not_name_a_call_has_not_died_of_it():
    replicas = Replicas(R0, R1)
    replicas.asks(1)
    assert replicas.dies(R0) == [(R1, 1)]
    replicas.comes_back(R0, named=[7])  # another head's
    assert replicas.dies(R1) == [(R0, 1)]
    replicas.comes_back(R1, named=[1])  # this once it ran, but the first replica did not die of it
    assert replicas.dies(R0) == []  # the third time it may not be sent again


def test_who_died_twice_with_a_call_and_names_it_has_died_of_it():
    replicas = Replicas(R0, R1)
    replicas.asks(1)
    assert replicas.dies(R0) == [(R1, 1)]
    replicas.comes_back(R0, named=[7, 1])
    assert replicas.dies(R1) == []
    replicas.comes_back(R1, 0.1, named=[1])
    [(_, outcome)] = replicas.head.expire(ANSWER_AT)
    assert outcome.extra["code"] == PoisonRequest.code


def test_whether_they_died_is_known_when_they_are_back():
    replicas = Replicas(R0, R1, R2)
    replicas.asks(1)
    assert replicas.breaks(R0) == [(R1, 1)]
    assert replicas.breaks(R1) == []
    replicas.comes_back(R1)
    assert len(sent(replicas.head.expire(ANSWER_AT))) == 1


def test_who_does_not_come_back_is_taken_for_dead_in_the_end():
    replicas = Replicas(R0, R1, R2)
    replicas.asks(1)
    replicas.breaks(R0)
    assert replicas.breaks(R1) == []
    now = 0.0
    while not (steps := replicas.head.expire(now)):
        now = replicas.head.next_deadline() or 0.0
        assert now < PATIENCE + 0.2
    assert steps[0][1].extra["code"] == PoisonRequest.code
    assert "were lost while they had it, and are not back (the connection broke)" in details_of(steps[0][1])["message"]
    assert replicas.head.next_deadline() is None
    assert replicas.asks(2) == [(R2, 2)]


def test_many_that_were_lost_at_once_do_not_wait_for_each_other():
    replicas = Replicas(R0, R1, credit=2 * MOST_SUSPECTS)
    for number in range(2 * MOST_SUSPECTS + 2):
        replicas.asks(number)
    assert len(replicas.dies(R0)) == MOST_SUSPECTS - 1  # as far as the credit of the other goes


def test_a_suspect_waits_while_there_is_no_replica_and_then_hears_why():
    replicas = Replicas(R0)
    replicas.asks(1)
    assert replicas.dies(R0, 1.0) == []
    assert replicas.head.next_deadline() == 1.0 + PATIENCE
    [(to, outcome)] = replicas.head.expire(1.0 + PATIENCE)
    assert (to, outcome.kind, outcome.flags) == (UP, Kind.FAILURE, MAYBE_EXECUTED)
    assert "cannot be reached" in details_of(outcome)["message"]


def test_a_suspect_that_is_given_up_leaves_no_replica_reserved():
    replicas = Replicas(R0, R1)
    for number in (1, 2, 3, 4):
        replicas.asks(number)
    replicas.dies(R0)
    for number in (1, 3):
        replicas.head.receive(UP, Message(Kind.CANCEL, call(number)), 0.0)
    for number in (2, 4):
        replicas.answers(R1, number)
    assert replicas.asks(5) == [(R1, 5)]
    assert replicas.asks(6) == [(R1, 6)]


def test_the_replica_that_is_kept_free_may_be_lost_too():
    replicas = Replicas(R0, R1, R2)
    for number in (1, 2, 3, 4):
        replicas.asks(number)
    assert replicas.dies(R0) == []  # 1 and 4, for which R1 is kept free, that has 2
    replicas.comes_back(R0)
    assert replicas.dies(R1) == []  # now it is R2, that has 3: 1 and 4 have to avoid R0
    assert replicas.answers(R2, 3) == [(R0, 2)]
    assert replicas.answers(R0, 2) == [(R2, 1)]


def test_what_all_replicas_died_of_at_once_was_no_request():
    replicas = Replicas(R0, R1)
    for number in (1, 2, 3, 4):
        replicas.asks(number)
    for link in (R0, R1):
        replicas._boots[link] += 1
        assert replicas.is_lost(link, 1.0) == []
    assert sent(replicas.head.expire(1.0 + TOGETHER)) == []
    done = [*replicas.comes_back(R0, 1.2), *replicas.comes_back(R1, 1.2)]
    for link, number in done:
        done += replicas.answers(str(link), number, 1.3)
    assert sorted(number for _, number in done) == [1, 2, 3, 4]
