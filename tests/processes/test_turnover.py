"""What a change of replicas has done, and when: nobody leaves before who comes is ready; what fails is undone."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from zflow.config.plan import WorkerPlan
from zflow.config.spec import FlowSpec
from zflow.errors import StartError
from zflow.executor import Executor
from zflow.processes.child import Child, State
from zflow.processes.turnover import Turnover


def plans(replicas: int, **options: object) -> list[WorkerPlan]:
    from zflow.config.plan import plan_flow

    return list(plan_flow(FlowSpec.from_options().add(uses=Executor, name="a", replicas=replicas, **options)).workers)


class House:
    """Notes what it is asked for; children are ready, or end, when a test says so."""

    def __init__(self) -> None:
        self.born: list[Child] = []
        self.admitted: list[tuple[str, str]] = []
        self.dismissed: list[str] = []
        self.ports: list[tuple[str, str]] = []
        self.refuses: Exception | None = None
        self.changes = 0

    def bear(self, plan: WorkerPlan, turnover: Turnover) -> Child:
        if self.refuses is not None:
            raise self.refuses
        self.born.append(child := Child(plan))
        return child

    def admit(self, newcomer: Child, instead_of: Child | None, turnover: Turnover) -> None:
        self.admitted.append((newcomer.name, instead_of.name if instead_of is not None else ""))

    def dismiss(self, children: Sequence[Child], turnover: Turnover) -> None:
        self.dismissed += [child.name for child in children]

    def take_port(self, child: Child, address: str) -> None:
        self.ports.append((child.name, address))

    def changed(self) -> None:
        self.changes += 1


def serving(count: int) -> list[Child]:
    children = [Child(plan) for plan in plans(count)]
    for child in children:
        child.state = State.READY
    return children


def begin(house: House, present: list[Child], wanted: int, **options: bool) -> Turnover:
    turnover = Turnover("a", plans(wanted), **options)
    turnover.begin(house, present)
    return turnover


@pytest.fixture
def house() -> House:
    return House()


def test_more_are_all_started_at_once_and_each_is_asked_as_soon_as_it_is_ready(house):
    present = serving(1)
    turnover = begin(house, present, 3)
    assert [child.name for child in house.born] == ["a/rep-1", "a/rep-2"]
    assert turnover.progress() == (["a/rep-1", "a/rep-2"], [])
    turnover.became_ready(house.born[1])
    assert house.admitted == [("a/rep-2", "")]
    assert turnover.progress() == (["a/rep-1"], ["a/rep-2"])
    assert not turnover.is_over
    turnover.became_ready(house.born[0])
    assert turnover.is_over and turnover.error is None
    assert present[0].plan.runtime_args["replicas"] == 3  # what it is started from, should it have to be


def test_of_fewer_the_last_ones_leave_and_it_is_over_when_they_have(house):
    present = serving(3)
    turnover = begin(house, present, 1)
    assert house.dismissed == ["a/rep-1", "a/rep-2"]
    assert (house.born, turnover.is_over) == ([], False)
    turnover.ended(present[2], "ended")
    assert turnover.progress() == (["a/rep-1"], [])
    turnover.ended(present[1], "ended")
    assert turnover.is_over and turnover.error is None


def test_as_many_as_before_is_no_change(house):
    turnover = begin(house, serving(2), 2)
    assert turnover.is_over and (house.born, house.dismissed) == ([], [])


def test_nobody_leaves_when_only_those_stay_that_do_not_serve(house):
    present = serving(2)
    present[0].state = State.RESTING
    turnover = begin(house, present, 1)
    assert turnover.is_over and house.dismissed == []
    assert "a/rep-0 is waiting to be restarted" in str(turnover.error)


def test_anew_one_after_the_other_and_the_old_one_leaves_when_the_new_one_is_ready(house):
    present = serving(2)
    turnover = begin(house, present, 2, renew=True)
    assert len(house.born) == 1
    turnover.became_ready(house.born[0])
    assert house.admitted == [("a/rep-0", "a/rep-0")]
    assert len(house.born) == 1  # the old one is still at work
    turnover.ended(present[0], "ended")
    assert len(house.born) == 2
    turnover.became_ready(house.born[1])
    turnover.ended(present[1], "ended")
    assert turnover.is_over and turnover.error is None
    assert house.admitted[1] == ("a/rep-1", "a/rep-1")


def test_a_port_is_taken_over_once_its_owner_has_left(house):
    [old] = serving(1)
    old.bind = "tcp://127.0.0.1:5"
    turnover = begin(house, [old], 1, renew=True)
    turnover.became_ready(house.born[0])
    assert house.ports == []
    turnover.ended(old, "ended")
    assert house.ports == [("a/rep-0", "tcp://127.0.0.1:5")]
    assert not turnover.is_over
    turnover.took_port(house.born[0])
    assert turnover.is_over and turnover.error is None


def test_a_port_that_cannot_be_taken_is_told(house):
    [old] = serving(1)
    old.bind = "tcp://127.0.0.1:5"
    turnover = begin(house, [old], 1, renew=True)
    turnover.became_ready(house.born[0])
    turnover.ended(old, "ended")
    turnover.took_port(house.born[0], StartError("it is taken"))
    assert turnover.is_over and "it is taken" in str(turnover.error)


def test_when_one_of_more_cannot_start_the_others_leave_again(house):
    turnover = begin(house, serving(1), 4)
    first, second, third = house.born
    turnover.became_ready(first)
    turnover.could_not_start(second, StartError("no such model"))
    assert house.dismissed == ["a/rep-2", "a/rep-3", "a/rep-1"]
    turnover.could_not_start(third, StartError("nor here"))
    for child in house.born:
        turnover.ended(child, "ended")
    assert turnover.is_over and str(turnover.error) == "no such model"


def test_when_a_new_one_cannot_start_the_others_stay_as_they_are(house):
    present = serving(3)
    turnover = begin(house, present, 3, renew=True)
    turnover.became_ready(house.born[0])
    turnover.ended(present[0], "ended")
    turnover.could_not_start(house.born[1], StartError("no such model"))
    turnover.ended(house.born[1], "ended with exit code 1")
    assert turnover.is_over and len(house.born) == 2
    assert str(turnover.error).startswith("no such model (a/rep-0 had been renewed before and stays so")


def test_one_that_ends_before_it_is_ready_is_a_failure(house):
    turnover = begin(house, serving(1), 2)
    turnover.ended(house.born[0], "was killed by SIGKILL")
    assert turnover.is_over
    assert "a/rep-1 was killed by SIGKILL before it was ready" in str(turnover.error)


@pytest.mark.parametrize("refusal", [OSError("no descriptors left"), StartError("nobody bears it")])
def test_one_that_cannot_be_born_is_a_failure(house, refusal):
    house.refuses = refusal
    turnover = begin(house, serving(1), 2)
    assert turnover.is_over and isinstance(turnover.error, StartError)
    assert str(refusal) in str(turnover.error)


def test_who_gives_up_has_what_is_not_finished_undone(house):
    turnover = begin(house, serving(1), 3)
    turnover.became_ready(house.born[0])
    turnover.give_up(StartError("interrupted"))
    assert sorted(house.dismissed) == ["a/rep-1", "a/rep-2"]
    for child in house.born:
        turnover.ended(child, "ended")
    assert turnover.is_over and str(turnover.error) == "interrupted"
    turnover.give_up(StartError("again"))
    assert str(turnover.error) == "interrupted"


def test_the_end_of_everything_is_its_end(house):
    turnover = begin(house, serving(1), 2)
    turnover.abandon(StartError("closed"))
    assert turnover.is_over and str(turnover.error) == "closed"
    assert house.dismissed == []  # who ends everything ends them too


def test_who_does_not_wait_goes_on_while_the_old_ones_finish(house):
    present = serving(2)
    turnover = begin(house, present, 2, renew=True, waits=False)
    turnover.became_ready(house.born[0])
    turnover.became_ready(house.born[1])
    assert house.admitted == [("a/rep-0", "a/rep-0"), ("a/rep-1", "a/rep-1")]
    assert turnover.is_over and turnover.error is None
    for child in present:
        turnover.ended(child, "ended")  # which is told all the same
    assert turnover.is_over and turnover.error is None


def test_who_does_not_wait_still_waits_for_a_port(house):
    [old] = serving(1)
    old.bind = "tcp://127.0.0.1:5"
    turnover = begin(house, [old], 1, renew=True, waits=False)
    turnover.became_ready(house.born[0])
    assert not turnover.is_over
    turnover.ended(old, "ended")
    assert house.ports == [("a/rep-0", "tcp://127.0.0.1:5")] and not turnover.is_over
    turnover.took_port(house.born[0])
    assert turnover.is_over and turnover.error is None


def test_all_leave_when_there_shall_be_none(house):
    present = serving(2)
    turnover = Turnover("a", [])
    turnover.begin(house, present)
    assert house.dismissed == ["a/rep-0", "a/rep-1"]
    for child in present:
        turnover.ended(child, "ended")
    assert turnover.is_over and turnover.error is None
