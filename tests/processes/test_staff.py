"""Those who come and go are carried in and out of service; nobody is told to end while somebody may still ask him."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from zflow.config.plan import WorkerPlan, plan_flow
from zflow.config.spec import FlowSpec
from zflow.drivers.directory import Directory
from zflow.errors import PortInUse, StartError
from zflow.executor import Executor
from zflow.processes.announcing import Announcer
from zflow.processes.child import Child, State
from zflow.processes.lifeline import GRACE
from zflow.processes.roster import Roster
from zflow.processes.staff import Staff
from zflow.processes.turnover import Turnover

PORT = "tcp://127.0.0.1:5"


class Channel:
    """The end of a process that is there."""

    def close(self) -> None: ...


class House:
    """A roster with one Executor, whose processes live as long as a test says."""

    def __init__(self, replicas: int = 2, **options: Any) -> None:
        self.options = options
        self.roster = Roster(plan_flow(self._spec(replicas)))
        self.directory = Directory()
        self.said: list[tuple[str, dict[str, Any]]] = []
        self.forgotten: list[str] = []
        self.refusal: Exception | None = None
        self.announcer = Announcer(self.directory, self._say_to_gateway)
        self.staff = Staff(
            self.roster,
            self.announcer,
            give_birth=self._give_birth,
            say=lambda child, words: self.said.append((child.link, words)),
            forget=lambda child: self.forgotten.append(child.link),
            notify=lambda: None,
        )
        for child in self.roster.workers:
            self._give_birth(child)
            self.ready(child)

    def _spec(self, replicas: int) -> FlowSpec:
        return FlowSpec.from_options().add(uses=Executor, name="a", replicas=replicas, **self.options)

    def _say_to_gateway(self, words: dict[str, Any]) -> bool:
        self.said.append(("gateway", words))
        return True

    def _give_birth(self, child: Child) -> None:
        if self.refusal is not None:
            raise self.refusal
        child.born(Channel(), child.bind or "", 0.0)  # type: ignore[arg-type]

    def plans(self, replicas: int) -> list[WorkerPlan]:
        return list(plan_flow(self._spec(replicas)).workers)

    def begin(self, replicas: int, **options: bool) -> Turnover:
        turnover = Turnover("a", self.plans(replicas), **options)
        self.staff.begin(turnover)
        return turnover

    def child(self, link: str) -> Child:
        child = self.roster.by_link(link)
        assert child is not None
        return child

    def ready(self, child: Child) -> None:
        child.ready(child.bind or f"ipc:///{child.link}", 0.0)
        self.staff.became_ready(child)

    def ended(self, child: Child, how: str = "ended with exit code 0") -> bool:
        child.ended()
        return self.staff.ended(child, how)

    def confirm(self) -> None:
        """The gateway has seen all changes."""
        for who, words in list(self.said):
            if who == "gateway" and "number" in words:
                self.announcer.seen(words["number"])

    def told_to_stop(self) -> list[str]:
        return [link for link, words in self.said if "stop" in words]

    def links(self) -> list[str]:
        return [child.link for child in self.roster.workers]


@pytest.fixture
def house() -> House:
    return House()


def test_a_newcomer_is_asked_as_soon_as_it_is_ready(house):
    turnover = house.begin(3)
    newcomer = house.child("a/rep-2")
    assert house.staff.is_coming(newcomer) and not newcomer.is_member
    assert house.directory.replicas() == {}
    house.ready(newcomer)
    assert house.directory.replicas() == {"a": ("a/rep-0", "a/rep-1", "a/rep-2")}
    assert house.directory.get("a/rep-2") == "ipc:///a/rep-2"
    assert turnover.is_over and turnover.error is None
    assert not house.staff.is_coming(newcomer)


def test_one_that_leaves_is_told_to_end_when_nobody_asks_it_any_more(house):
    turnover = house.begin(1)
    assert house.directory.replicas() == {"a": ("a/rep-0",)}
    assert house.told_to_stop() == []
    house.confirm()
    assert house.told_to_stop() == ["a/rep-1"]
    leaving = house.child("a/rep-1")
    assert leaving.state is State.STOPPING and leaving.due is not None
    assert house.ended(leaving)
    assert (house.links(), house.forgotten) == (["a/rep-0"], ["a/rep-1"])
    assert turnover.is_over and turnover.error is None


def test_one_that_had_ended_by_itself_leaves_without_being_told(house):
    leaving = house.child("a/rep-1")
    leaving.ended()
    turnover = house.begin(1)
    house.confirm()
    assert house.told_to_stop() == [] and house.links() == ["a/rep-0"]
    assert turnover.is_over


def test_anew_the_successor_has_a_link_of_its_own_and_takes_the_place(house):
    turnover = house.begin(2, renew=True)
    house.ready(house.child("a/rep-0.1"))
    assert house.directory.replicas() == {"a": ("a/rep-1", "a/rep-0.1")}
    house.confirm()
    house.ended(house.child("a/rep-0"))
    house.ready(house.child("a/rep-1.1"))
    house.confirm()
    house.ended(house.child("a/rep-1"))
    assert turnover.is_over and turnover.error is None
    assert house.links() == ["a/rep-0.1", "a/rep-1.1"]
    assert [child.name for child in house.roster.workers] == ["a/rep-0", "a/rep-1"]


def test_who_dies_while_he_serves_has_not_left(house):
    house.begin(3)
    assert house.ended(house.child("a/rep-0"), "was killed") is False
    assert house.links() == ["a/rep-0", "a/rep-1", "a/rep-2"]


def test_one_that_cannot_start_is_told_and_the_others_serve_on(house):
    turnover = house.begin(3)
    newcomer = house.child("a/rep-2")
    house.staff.could_not_start(newcomer, StartError("no such model"))
    assert house.ended(newcomer, "ended with exit code 1")
    assert turnover.is_over and str(turnover.error) == "no such model"
    assert (house.links(), house.directory.replicas()) == (["a/rep-0", "a/rep-1"], {})


def test_one_that_cannot_be_born_leaves_no_trace(house):
    house.refusal = OSError("no descriptors left")
    turnover = house.begin(3)
    assert "no descriptors left" in str(turnover.error)
    assert house.links() == ["a/rep-0", "a/rep-1"]


def test_the_end_of_everything_abandons_what_is_under_way(house):
    turnover = house.begin(3)
    house.staff.abandon(StartError("closed"))
    assert turnover.is_over and str(turnover.error) == "closed"


# -- a worker with a port of its own -----------------------------------------------------------------------------------


@pytest.fixture
def at_port() -> tuple[House, Turnover]:
    """The old one has left, the new one is ready at a private address and has been told to bind the port as well."""
    house = House(1, port_in=5)
    turnover = house.begin(1, renew=True)
    newcomer = house.child("a/rep-0.1")
    assert newcomer.bind is None
    house.ready(newcomer)
    house.confirm()
    house.ended(house.child("a/rep-0"))
    assert ("a/rep-0.1", {"bind": PORT}) in house.said
    assert not turnover.is_over
    return house, turnover


def test_a_port_is_taken_over(at_port):
    house, turnover = at_port
    newcomer = house.child("a/rep-0.1")
    house.staff.bound(newcomer, PORT)
    assert turnover.is_over and turnover.error is None
    assert newcomer.bind == PORT  # where it is bound when it is started again


def test_a_port_that_somebody_else_has_taken_is_told(at_port):
    house, turnover = at_port
    house.staff.not_bound(house.child("a/rep-0.1"), "port 5 is in use by nginx")
    assert isinstance(turnover.error, PortInUse)
    assert "a/rep-0 serves this Flow, but not at its port: port 5 is in use by nginx" in str(turnover.error)


def test_one_that_dies_before_it_has_taken_its_port_gets_it_when_it_is_born_again(at_port):
    house, turnover = at_port
    newcomer = house.child("a/rep-0.1")
    assert house.ended(newcomer, "was killed") is False
    assert newcomer.bind == PORT
    assert turnover.is_over and turnover.error is None


def test_one_of_those_who_serve_is_told_what_to_log(house):
    house.ended(house.child("a/rep-0"))
    assert house.staff.tell("a", "news")
    assert house.said[-1] == ("a/rep-1", {"log": "news"})
    house.ended(house.child("a/rep-1"))
    assert not house.staff.tell("a", "news") and not house.staff.tell("b", "news")


def test_what_is_in_front_ends_in_order_to_be_born_by_another_plan(house):
    front, asked = house.roster.gateway, threading.Event()
    front.born(Channel(), front.bind, 0.0)
    front.ready("tcp://127.0.0.1:7", 0.0)
    plan = front.plan._replace(env={"X": "1"})
    house.staff.change_front(plan, asked)
    assert asked.is_set() and not front.is_settled
    assert (front.plan, front.state, house.said[-1]) == (plan, State.STOPPING, ("gateway", {"stop": GRACE}))
    front.ended()
    house.staff.change_front(plan, asked)  # it has ended by itself: it is started again anyway, and by that plan
    assert front.is_settled and house.roster.front_address == ""
