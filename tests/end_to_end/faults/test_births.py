"""Replicas that end of themselves, or before they are ready: rows 3, 7, 9, 22 and 30 of docs/reliability.md."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import wait_for
from tests.support.rush import Diarist, Rush, Victims, runs
from zflow import Client, Document, Flow, requests
from zflow.errors import ExecutorError, PoisonRequest, RemoteError, Unavailable

Replicated = Callable[..., Flow]
counts = pytest.mark.parametrize(
    ("many", "every"), [(300, 75), pytest.param(10_000, 500, marks=[pytest.mark.full, pytest.mark.time_limit(300)])]
)


class Laboured(Diarist):
    """It takes as long to load as there is a file `hold`, and cannot load while there is a file `broken`."""

    def __init__(self, diary: str, **kwargs: Any) -> None:
        super().__init__(diary, **kwargs)
        folder = Path(diary).parent
        if (folder / "hold").exists():
            (folder / "loading").touch()
        wait_for(lambda: not (folder / "hold").exists(), "leave to be loaded")
        if (folder / "broken").exists():
            raise RuntimeError("the model is broken")


def test_row_3_one_that_is_killed_while_it_loads_is_asked_nothing(
    replicated: Replicated, tmp_path: Path, diary: Path
) -> None:
    with replicated(uses=Laboured) as flow, Client(port=flow.port) as client:
        victims = Victims(flow)
        (tmp_path / "hold").touch()
        assert victims.kill()
        wait_for((tmp_path / "loading").exists, "its successor to load")
        [loading] = [status.pid for status in flow.status() if status.state == "starting"]
        assert loading is not None
        during = Rush(client, 100).run()
        os.kill(loading, signal.SIGKILL)
        after = Rush(client, 100).run()
        (tmp_path / "hold").unlink()
        victims.wait()
    during.check()
    after.check()
    assert during.errors == after.errors == {}
    assert set(runs(diary).values()) == {2}  # once in each rush


class Dying(Diarist):
    @requests(on="/die")
    def die(self, parameters, **kwargs):
        how = parameters["how"]
        if how == "sys.exit":
            sys.exit(1)
        if how == "os._exit":
            os._exit(1)
        if how == "abort":
            os.abort()
        if how == "segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
        raise MemoryError


@pytest.mark.parametrize("how", ["os._exit", "abort", "segfault"])
def test_row_7_however_it_dies_the_outcome_is_the_same(replicated: Replicated, how: str) -> None:
    with replicated(uses=Dying, replicas=1) as flow, Client(port=flow.port) as client:
        with pytest.raises(Unavailable) as raised:
            client.post("/die", parameters={"how": how})
        assert raised.value.maybe_executed and raised.value.node == "diarist"
        assert client.post("/", Document(text="goes on")).texts == ["GOES ON"]


@pytest.mark.parametrize(("how", "name"), [("memory", "MemoryError"), ("sys.exit", "SystemExit")])
def test_row_7_what_python_can_tell_is_told_and_its_process_lives(replicated: Replicated, how: str, name: str) -> None:
    with replicated(uses=Dying, replicas=1) as flow, Client(port=flow.port) as client:
        with pytest.raises(RemoteError) as raised:
            client.post("/die", parameters={"how": how})
        assert isinstance(raised.value, ExecutorError) and raised.value.name == name
        assert client.post("/", Document(text="goes on")).texts == ["GOES ON"]
        assert sum(status.restarts for status in flow.status()) == 0


@pytest.mark.full
@pytest.mark.time_limit(60)
def test_row_9_one_that_cannot_load_any_more_is_told_to_have_failed_and_costs_nothing(
    replicated: Replicated, tmp_path: Path
) -> None:
    with replicated(uses=Laboured, replicas=1) as flow, Client(port=flow.port) as client:
        (tmp_path / "broken").touch()
        assert Victims(flow, least=1).kill()
        wait_for(lambda: flow.status()[0].state == "failed", "it to be told to have failed", timeout=30)
        assert flow.status()[0].restarts == 5
        began, before = time.monotonic(), time.process_time()
        with pytest.raises(Unavailable) as raised:
            client.post("/", Document(text="nobody there"))
        assert not raised.value.maybe_executed
        assert time.monotonic() - began < 3.0 + 1.0  # three are how long a request waits for one that may come back
        assert time.process_time() - before < 0.5


@counts
def test_row_30_replicas_are_told_to_end_one_after_the_other_and_nothing_fails(
    replicated: Replicated, diary: Path, many: int, every: int
) -> None:
    with replicated() as flow, Client(port=flow.port) as client:
        victims = Victims(flow)
        rush = Rush(client, many).run(every=every, deed=victims.terminate)
        victims.wait()
    print(rush.told(f"{victims.count} replicas told to end"))
    rush.check()
    assert victims.count >= 3
    assert rush.errors == {}
    assert set(runs(diary).values()) == {1}


class Poisonable(Diarist):
    def _work(self, docs):
        super()._work(docs)
        if "REQUEST 150" in docs.texts:
            os._exit(9)


def test_rows_22_and_23_a_request_that_kills_two_replicas_is_found_and_no_other_is_blamed(
    replicated: Replicated, diary: Path
) -> None:
    with replicated(uses=Poisonable) as flow, Client(port=flow.port) as client:
        rush = Rush(client, 300, on="/again").run()
        Victims(flow).wait()
        restarts = sum(status.restarts for status in flow.status())
    rush.check()
    assert {text: type(error) for text, error in rush.errors.items()} == {"request 150": PoisonRequest}
    assert restarts == runs(diary)["request 150"] == 2


class Beside(Poisonable):
    @requests(on="/slow", idempotent=True)
    def slow(self, docs, **kwargs):
        time.sleep(0.1)


@pytest.mark.time_limit(60)
def test_row_23_what_another_head_has_asked_the_same_replica_is_not_blamed(replicated: Replicated, diary: Path) -> None:
    """The poison comes by the gateway, the others from here: two heads, of which each knows its own requests only."""
    stop, wrong, answered = threading.Event(), [], Counter[str]()

    def ask(flow: Flow, name: str) -> None:
        while not stop.is_set():
            try:
                flow.post("/slow", Document())
                answered[name] += 1
            except RemoteError as error:
                wrong.append(error)

    with replicated(uses=Beside, replicas=2, retries=10) as flow, Client(port=flow.port) as client:
        asking = [threading.Thread(target=ask, args=(flow, f"asker {number}")) for number in range(8)]
        for thread in asking:
            thread.start()
        wait_for(lambda: len(answered) == 8, "each to have been answered once")
        for _ in range(2):
            with pytest.raises(PoisonRequest):
                client.post("/again", Document(text="request 150"))
        stop.set()
        for thread in asking:
            thread.join(20)
    assert wrong == []
