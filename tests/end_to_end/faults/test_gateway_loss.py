"""The gateway, by which everybody else asks, is killed: row 11 of docs/reliability.md."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.processes import wait_for
from tests.support.rush import Rush, Victims, runs
from zflow import Client, Document, Executor, Flow, requests
from zflow.errors import Unavailable

Replicated = Callable[..., Flow]
OUTSTANDING = 64


@pytest.mark.parametrize(
    ("many", "every"), [(300, 100), pytest.param(10_000, 2_500, marks=[pytest.mark.full, pytest.mark.time_limit(300)])]
)
@pytest.mark.parametrize("on", ["/", "/again"])
def test_row_11_the_gateway_is_killed(replicated: Replicated, diary: Path, many: int, every: int, on: str) -> None:
    with replicated() as flow, Client(port=flow.port) as client:
        victims = Victims(flow, "gateway", least=1)
        rush = Rush(client, many, on=on, outstanding=OUTSTANDING).run(every=every, deed=victims.kill)
        victims.wait()
    print(rush.told(f"the gateway killed {victims.count} times"))
    rush.check()
    assert victims.count >= 2
    for error in rush.errors.values():
        assert isinstance(error, Unavailable) and error.maybe_executed
    if on == "/":
        assert len(rush.errors) <= victims.count * OUTSTANDING
        assert set(runs(diary).values()) == {1}
    else:
        assert rush.errors == {}


class Slow(Executor):
    @requests(on="/items")
    def items(self, **kwargs):
        number = 0
        while True:
            yield Document(text=str(number))
            number += 1

    @requests(on="/wait")
    def wait(self, parameters, **kwargs):
        Path(parameters["begun"]).touch()
        wait_for(lambda: Path(parameters["go on"]).exists(), "the word to go on")


@pytest.fixture
def slow() -> Flow:
    return Flow(quiet=True).add(uses=Slow, name="slow", replicas=2)


def kill_gateway(flow: Flow) -> None:
    [pid] = [status.pid for status in flow.status() if status.name == "gateway"]
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def test_row_11_a_call_that_waits_ends_at_once_with_an_error_that_says_it_may_have_run(
    slow: Flow, tmp_path: Path
) -> None:
    words = {"begun": str(tmp_path / "begun"), "go on": str(tmp_path / "go on")}
    ended: list[tuple[float, BaseException]] = []

    def ask(client: Client) -> None:
        try:
            client.post("/wait", parameters=words)
        except Unavailable as error:
            ended.append((time.monotonic(), error))

    with slow as flow, Client(port=flow.port) as client:
        asking = threading.Thread(target=ask, args=(client,))
        asking.start()
        wait_for(Path(words["begun"]).exists, "the request to run")
        kill_gateway(flow)
        killed = time.monotonic()
        asking.join(10)
        Path(words["go on"]).touch()
        [(at, error)] = ended
        assert isinstance(error, Unavailable) and error.maybe_executed
        assert at - killed < 1.0 + 1.0  # one is promised; the other is for a busy machine
        assert client.post("/", Document(text="again")).texts == ["again"]


def test_row_11_a_stream_ends_with_an_error_and_the_next_one_is_served(slow: Flow) -> None:
    with slow as flow, Client(port=flow.port) as client:
        stream = client.stream("/items")
        assert next(stream).text == "0"
        kill_gateway(flow)
        with pytest.raises(Unavailable) as raised:
            list(stream)
        assert raised.value.maybe_executed
        again = client.stream("/items")
        assert next(again).text == "0"
        again.close()
