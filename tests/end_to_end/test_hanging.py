"""A method that goes on after the time of its request is over: its process is replaced, and nobody else suffers."""

from __future__ import annotations

import time

import pytest

from tests.support.processes import wait_for
from zflow import Client, Document, Executor, Flow, dynamic_batching, requests
from zflow.errors import DeadlineExceeded


class Hanging(Executor):
    @requests
    def echo(self, docs, **kwargs):
        pass

    @requests(on="/loop")
    def loop(self, **kwargs):
        while True:
            pass

    @requests(on="/c")
    def c(self, **kwargs):
        import ctypes

        ctypes.PyDLL(None).sleep(600)  # with Python's lock held

    @requests(on="/stream")
    def stream(self, **kwargs):
        yield Document(text="first")
        time.sleep(600)

    @dynamic_batching(preferred_batch_size=2, timeout=10)
    @requests(on="/batch")
    def batch(self, docs, **kwargs):
        time.sleep(600)

    @requests(on="/asks")
    def asks(self, docs, **kwargs):
        until = time.monotonic() + 7
        while time.monotonic() < until:
            time.sleep(0.1)
            if self.cancelled:
                self.was_cancelled = True

    @requests(on="/told")
    def told(self, docs, **kwargs):
        docs.texts = [str(getattr(self, "was_cancelled", False)) for _ in docs]


def restarts(flow: Flow) -> int:
    return sum(status.restarts for status in flow.status())


@pytest.mark.parametrize("endpoint", ["/loop", "/c", "/batch"])
def test_rows_5_and_6_it_is_killed_five_seconds_late_and_replaced(endpoint: str, capfd) -> None:
    with Flow(quiet_error=True).add(uses=Hanging, replicas=2) as flow, Client(port=flow.port) as client:
        with pytest.raises(DeadlineExceeded):
            client.post(endpoint, "x", timeout=0.3)
        late = time.monotonic()
        while not restarts(flow):
            assert time.monotonic() < late + 15
            assert client.post("/", "y", timeout=5).texts == ["y"]  # the other one serves
        assert time.monotonic() - late > 4.0
        wait_for(lambda: all(status.state == "ready" for status in flow.status()), "the new one to be ready")
        assert client.post("/", "z").texts == ["z"]
    told = capfd.readouterr().err
    assert "was ended, because a method went on 5 s after the time of its request was over" in told
    assert f"in {endpoint[1:]}" in told  # where it hung


def test_a_generator_that_hangs_between_two_items_is_no_exception() -> None:
    with Flow(quiet=True).add(uses=Hanging) as flow:
        with pytest.raises(DeadlineExceeded):
            list(flow.stream("/stream", timeout=0.3))
        wait_for(lambda: restarts(flow), "its process to be replaced")
        assert flow.post("/", "z").texts == ["z"]


def test_who_asks_whether_it_is_cancelled_may_take_its_time() -> None:
    with Flow(quiet=True).add(uses=Hanging) as flow:
        with pytest.raises(DeadlineExceeded):
            flow.post("/asks", "x", timeout=0.3)
        assert flow.post("/told", "x").texts == ["True"]
        assert restarts(flow) == 0
