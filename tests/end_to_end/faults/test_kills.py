"""Rows 1 to 4, 7 to 9, 22 and 30 of docs/reliability.md: replicas that are killed, stopped, or end in their own way."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.faults.load import Counting, Load, Runs
from tests.support.processes import wait_for
from zflow import Client, Document, Executor, Flow, requests
from zflow.errors import ExecutorError, PoisonRequest, RemoteError, Unavailable, ZflowError

REPLICAS = 4
FAULTS = [  # requests, and after how many of them one replica is hit
    pytest.param(400, 100, id="short"),
    pytest.param(10_000, 400, id="full", marks=[pytest.mark.full, pytest.mark.time_limit(300)]),
]


@contextmanager
def opened(runs: Runs, **options: Any) -> Iterator[tuple[Flow, list[Any]]]:
    """A Flow of four replicas, and who asks it: this process by itself and by the gateway, four threads each."""
    options = {"uses": Counting, "replicas": REPLICAS, "uses_with": {"runs": runs.path}, **options}
    with Flow(quiet=True).add(name="it", **options) as flow, Client(port=flow.port) as client:
        yield flow, [flow, flow, flow, flow, client, client, client, client]


def replicas(flow: Flow) -> dict[str, int]:
    """The pids of those that are ready, by name."""
    return {
        item.name: item.pid for item in flow.status() if "/rep-" in item.name and item.pid and item.state == "ready"
    }


def hit(flow: Flow, load: Load, at: int, number: signal.Signals, chance: random.Random) -> None:
    """Send the signal to one replica when so many requests have ended, and all replicas are there."""
    load.reach(at)
    wait_for(lambda: len(replicas(flow)) == REPLICAS, "all replicas to be ready")
    os.kill(chance.choice(list(replicas(flow).values())), number)


@pytest.mark.time_limit(60)
@pytest.mark.parametrize(("many", "step"), FAULTS)
def test_row_1_replicas_are_killed_and_it_is_idempotent(tmp_path: Path, many: int, step: int) -> None:
    runs, chance = Runs(tmp_path), random.Random(1)
    with opened(runs, idempotent=True) as (flow, askers):
        with Load(askers, many) as load:
            for at in range(step // 2, many, step):
                hit(flow, load, at, signal.SIGKILL, chance)
        load.check_all_answered()
    assert set(runs.of_each()) == set(load.answers)


@pytest.mark.time_limit(60)
@pytest.mark.parametrize(("many", "step"), FAULTS)
def test_row_2_replicas_are_killed_and_it_is_not_idempotent(tmp_path: Path, many: int, step: int) -> None:
    runs, chance, kills = Runs(tmp_path), random.Random(2), len(range(step // 2, many, step))
    with opened(runs) as (flow, askers):
        with Load(askers, many) as load:
            for at in range(step // 2, many, step):
                hit(flow, load, at, signal.SIGKILL, chance)
        load.check_one_outcome_each()
    credit = 2 * (1 + 4)  # what one replica may have at most, of the gateway and of each lane of this process
    assert len(load.errors) <= kills * credit
    assert all(isinstance(error, Unavailable) and error.maybe_executed for error in load.errors.values())
    assert set(runs.of_each().values()) == {1}


@pytest.mark.time_limit(60)
def test_row_3_a_replica_is_killed_while_it_loads_its_model(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    with opened(runs, replicas=2, uses_with={"runs": runs.path}) as (flow, askers):
        [first, second] = replicas(flow).values()
        with Load(askers, 300) as load:
            os.kill(second, signal.SIGKILL)
            wait_for(
                lambda: [item for item in flow.status() if item.pid not in (first, second) and item.pid], "a new one"
            )
            for item in flow.status():
                if item.name in ("it/rep-0", "it/rep-1") and item.pid and item.pid != first:
                    os.kill(item.pid, signal.SIGKILL)
        load.check_one_outcome_each()
    assert all(error.maybe_executed for error in load.errors.values() if isinstance(error, Unavailable))
    assert len(load.errors) <= 2 * (1 + 4)


@pytest.mark.time_limit(120)
@pytest.mark.parametrize(("many", "step"), [FAULTS[0], pytest.param(10_000, 700, id="full", marks=FAULTS[1].marks)])
def test_row_4_replicas_stand_still_and_it_is_idempotent(tmp_path: Path, many: int, step: int) -> None:
    runs, chance = Runs(tmp_path), random.Random(4)
    with opened(runs, idempotent=True) as (flow, askers):
        with Load(askers, many) as load:
            for at in range(step // 2, many, step):
                load.reach(at)
                wait_for(lambda: len(replicas(flow)) == REPLICAS, "all replicas to be ready")
                pid = chance.choice(list(replicas(flow).values()))
                os.kill(pid, signal.SIGSTOP)
                load.reach(at + step // 2)
                os.kill(pid, signal.SIGCONT)
        load.check_all_answered()
        assert load.slowest < 10  # it was found out that they stood still, without any deadline
    assert set(runs.of_each()) == set(load.answers)


class Dying(Executor):
    @requests(on="/exit")
    def exit(self, **kwargs):
        os._exit(3)

    @requests(on="/abort")
    def abort(self, **kwargs):
        os.abort()

    @requests(on="/fault")
    def fault(self, **kwargs):
        os.kill(os.getpid(), signal.SIGSEGV)

    @requests(on="/kill")
    def kill(self, **kwargs):
        os.kill(os.getpid(), signal.SIGKILL)

    @requests(on="/memory")
    def memory(self, **kwargs):
        raise MemoryError("no more of it")

    @requests(on="/leave")
    def leave(self, **kwargs):
        raise SystemExit(3)

    @requests
    def echo(self, **kwargs):
        pass


@pytest.fixture(scope="module")
def dying() -> Iterator[Flow]:
    with Flow(quiet=True, quiet_error=True).add(uses=Dying, name="it") as flow:
        yield flow


@pytest.mark.parametrize("endpoint", ["/exit", "/abort", "/fault", "/kill", "/memory", "/leave"])
def test_row_7_however_it_ends_there_is_one_outcome_that_names_it(dying: Flow, endpoint: str) -> None:
    with pytest.raises(RemoteError) as raised:
        dying.post(endpoint, Document(), timeout=10.0)
    assert isinstance(raised.value, (ExecutorError, Unavailable)) and raised.value.node == "it"
    assert isinstance(raised.value, ExecutorError) or raised.value.maybe_executed
    assert dying.post("/", Document(text="next"), timeout=10.0).texts == ["next"]


@pytest.mark.parametrize("is_idempotent", [True, False])
def test_row_8_all_replicas_are_killed_at_once(tmp_path: Path, is_idempotent: bool) -> None:
    runs = Runs(tmp_path)
    with opened(runs, idempotent=is_idempotent) as (flow, askers):
        with Load(askers, 200) as load:
            load.reach(50)
            for pid in replicas(flow).values():
                os.kill(pid, signal.SIGKILL)
        load.check_one_outcome_each()
        if is_idempotent:
            assert load.errors == {}
        assert all(isinstance(error, Unavailable) and error.maybe_executed for error in load.errors.values())
        wait_for(lambda: len(replicas(flow)) == REPLICAS, "all replicas to be back")
    assert is_idempotent or set(runs.of_each().values()) == {1}


class Refusing(Executor):
    """Cannot be made any more once there is a certain file."""

    def __init__(self, unless: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if Path(unless).exists():
            raise RuntimeError("no such model")

    @requests
    def echo(self, **kwargs):
        pass


@pytest.mark.time_limit(60)
def test_row_9_one_that_cannot_start_again_is_given_up_and_says_so(tmp_path: Path) -> None:
    unless = tmp_path / "unless"
    with Flow(quiet=True, quiet_error=True).add(uses=Refusing, uses_with={"unless": str(unless)}, name="it") as flow:
        unless.touch()
        os.kill(replicas(flow)["it/rep-0"], signal.SIGKILL)
        wait_for(lambda: [item for item in flow.status() if item.state == "failed"], "it to be given up", 40.0)
        [given_up] = [item for item in flow.status() if item.state == "failed"]
        assert (given_up.name, given_up.restarts) == ("it/rep-0", 5)
        with pytest.raises(Unavailable, match="it has failed too often.* could not start: RuntimeError: no such model"):
            flow.post("/", Document(), timeout=10.0)
        with Client(port=flow.port) as client, pytest.raises(Unavailable, match="no such model"):
            client.post("/", Document(), timeout=10.0)


@pytest.mark.time_limit(60)
@pytest.mark.parametrize("many", [300, pytest.param(9_999, marks=[pytest.mark.full, pytest.mark.time_limit(300)])])
def test_row_22_one_request_that_kills_is_found_among_many(tmp_path: Path, many: int) -> None:
    runs = Runs(tmp_path)
    poison: list[ZflowError] = []
    with opened(runs, uses=Poisoned, idempotent=True) as (flow, _), Client(port=flow.port) as client:
        with Load([client] * 8, many) as load:  # by one gateway: what is lost with it is a suspect of one head only
            load.reach(many // 3)
            try:
                client.post("/", Document(text="poison"), timeout=30.0)
            except ZflowError as error:
                poison.append(error)
        load.check_all_answered()
    assert [type(error) for error in poison] == [PoisonRequest]
    assert runs.of_each()["poison"] == 2


class Poisoned(Counting):
    @requests
    def count(self, docs, **kwargs):
        is_poison = docs[0].text == "poison"
        super().count(docs, **kwargs)
        if is_poison:
            os._exit(1)


@pytest.mark.time_limit(60)
@pytest.mark.parametrize(("many", "step"), FAULTS)
def test_row_30_replicas_are_told_to_end_one_after_another(tmp_path: Path, many: int, step: int) -> None:
    runs, chance, ended = Runs(tmp_path), random.Random(30), 0
    with opened(runs) as (flow, askers):
        with Load(askers, many) as load:
            for at in range(step // 2, many, step):
                hit(flow, load, at, signal.SIGTERM, chance)
                ended += 1
        load.check_all_answered()
        wait_for(lambda: runs.closed() == ended and len(replicas(flow)) == REPLICAS, "all replicas to be back")
    assert set(runs.of_each().values()) == {1}
    assert runs.closed() == ended + REPLICAS
