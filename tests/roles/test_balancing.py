"""The replica with the least to do is chosen, and one to be avoided only when no other has room."""

from __future__ import annotations

from tests.support.clock import Ids
from zflow.roles.balancing import least_outstanding
from zflow.roles.liveness import Neighbour
from zflow.wire.header import Kind, Message


def replicas(*outstanding: int, credit: int = 2) -> list[Neighbour]:
    """r0, r1 ... with so many calls each, all of them ready."""
    made = []
    for number, count in enumerate(outstanding):
        neighbour = Neighbour(f"r{number}", Ids())
        neighbour.greet(0.0)
        neighbour.accept(Message(Kind.READY, extra={"boot": b"", "credit": credit}))
        neighbour.calls.update({bytes([call]): None for call in range(count)})
        made.append(neighbour)
    return made


def chosen(neighbours: list[Neighbour], avoid: tuple[str, ...] = ()) -> str | None:
    neighbour = least_outstanding(neighbours, avoid)
    return None if neighbour is None else neighbour.link


def test_the_least_burdened_is_chosen():
    assert chosen(replicas(2, 1, 0, 1)) == "r2"


def test_among_equals_the_first():
    assert chosen(replicas(1, 0, 0)) == "r1"


def test_nobody_when_all_are_full():
    assert chosen(replicas(2, 2)) is None


def test_nobody_when_there_is_nobody():
    assert chosen([]) is None


def test_who_is_not_ready_is_passed_over_however_idle():
    neighbours = replicas(0, 1)
    neighbours[0].retire()
    assert chosen(neighbours) == "r1"


def test_one_to_be_avoided_comes_after_a_busier_one():
    assert chosen(replicas(0, 1), avoid=("r0",)) == "r1"


def test_one_to_be_avoided_is_better_than_none():
    assert chosen(replicas(0, 2), avoid=("r0",)) == "r0"
    assert chosen(replicas(1, 0), avoid=("r0", "r1")) == "r1"
