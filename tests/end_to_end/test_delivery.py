"""One outcome per request, whatever dies: what is run again, what is not, and what `on_error` hears of."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from tests.support.processes import wait_for
from zflow import Client, Document, DocumentArray, Executor, Flow, requests
from zflow.errors import DeadlineExceeded, ExecutorError, RemoteError, Unavailable


class Mortal(Executor):
    """Notes each run in an append-only log, and dies at the first one where it is told to."""

    def __init__(self, log: str, **kwargs):
        super().__init__(**kwargs)
        self.log = Path(log)

    @requests(on="/once")
    def once(self, docs, **kwargs):
        self.run(docs)

    @requests(on="/again", idempotent=True)
    def again(self, docs, **kwargs):
        self.run(docs)

    @requests(on="/sleep")
    def sleep(self, parameters, **kwargs):
        time.sleep(parameters["seconds"])

    def run(self, docs):
        before = self.log.read_text() if self.log.exists() else ""
        with self.log.open("a") as log:
            log.write(f"{docs[0].text}\n")
        if docs[0].text == "deadly" and before.count("deadly") < docs[0].tags["deaths"]:
            os._exit(1)


def test_what_may_have_run_is_not_run_again(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with Flow(quiet=True).add(uses=Mortal, uses_with={"log": str(log)}, name="mortal") as flow:
        with pytest.raises(Unavailable) as raised:
            flow.post("/once", Document(text="deadly", tags={"deaths": 1}))
    assert raised.value.maybe_executed and raised.value.node == "mortal"
    assert log.read_text() == "deadly\n"


@pytest.mark.parametrize("through_gateway", [False, True])
@pytest.mark.parametrize(("endpoint", "options"), [("/once", {"idempotent": True}), ("/again", {})])
def test_what_is_declared_idempotent_is_run_again(tmp_path: Path, through_gateway: bool, endpoint, options) -> None:
    log = tmp_path / "log"
    with Flow(quiet=True).add(uses=Mortal, uses_with={"log": str(log)}, replicas=2, **options) as flow:
        asker = Client(port=flow.port) if through_gateway else flow
        assert asker.post(endpoint, Document(text="deadly", tags={"deaths": 1})).texts == ["deadly"]
        asker.close()
    assert log.read_text() == "deadly\n" * 2


def test_retries_have_an_end(tmp_path: Path) -> None:
    log = tmp_path / "log"
    options = {"uses_with": {"log": str(log)}, "idempotent": True, "retries": 1}
    with Flow(quiet=True).add(uses=Mortal, **options) as flow:
        with pytest.raises(Unavailable):
            flow.post("/once", Document(text="deadly", tags={"deaths": 100}))
    assert log.read_text() == "deadly\n" * 2


def test_timeout_send_bounds_one_call_and_names_the_executor(tmp_path: Path) -> None:
    options = {"uses_with": {"log": str(tmp_path / "log")}, "timeout_send": 150, "name": "slow"}
    with Flow(quiet=True).add(**options, uses=Mortal) as flow:
        began = time.monotonic()
        with pytest.raises(DeadlineExceeded, match="slow"):
            flow.post("/sleep", parameters={"seconds": 0.6})
        assert time.monotonic() - began < 0.5
        wait_for(lambda: is_free(flow), "the call to end that nobody waits for any more")


def test_a_frozen_executor_is_found_out_without_any_deadline(tmp_path: Path) -> None:
    with Flow(quiet=True).add(uses=Mortal, uses_with={"log": str(tmp_path / "log")}) as flow:
        [worker] = [status.pid for status in flow.status() if status.name == "executor0/rep-0"]
        assert flow.post("/once", Document(text="warm")).texts == ["warm"]
        os.kill(worker, signal.SIGSTOP)
        began = time.monotonic()
        try:
            with pytest.raises(Unavailable) as raised:
                flow.post("/once", Document(text="frozen"))
        finally:
            os.kill(worker, signal.SIGCONT)
        assert raised.value.maybe_executed
        assert time.monotonic() - began < 8  # ZMTP heartbeats: 3 s of silence, found within one more


class Broken(Executor):
    @requests(on="/raise")
    def raises(self, **kwargs):
        raise ValueError("as told")

    @requests(on="/sleep")
    def sleep(self, **kwargs):
        time.sleep(0.4)

    @requests(on="/exit")
    def exit(self, **kwargs):
        os._exit(3)


@pytest.mark.parametrize("through_gateway", [False, True])
def test_on_error_hears_of_every_way_to_fail(port: int, through_gateway: bool) -> None:
    heard: list[type[RemoteError]] = []

    def note(response, exception) -> None:
        assert response.status.code == response.status.ERROR
        assert response.status.description
        heard.append(type(exception))

    flow = Flow(quiet=True, quiet_error=True).add(uses=Broken, name="broken")
    with flow.add(host="localhost", port_in=port, external=True, name="absent") as flow:
        asker = Client(port=flow.port) if through_gateway else flow
        asker.post("/raise", Document(), on_error=note)
        asker.post("/sleep", Document(), on_error=note, timeout=0.1)
        asker.post("/", Document(), on_error=note, target_executor="absent")
        asker.post("/exit", Document(), on_error=note)
        asker.post("/", Document(), on_error=note, target_executor="(")
        asker.close()
    assert [kind.__name__ for kind in heard] == [
        "ExecutorError",
        "DeadlineExceeded",
        "Unavailable",
        "Unavailable",
        "InvalidRequest",
    ]


def test_serving_stops_at_an_event_of_multiprocessing(port: int) -> None:
    stop = multiprocessing.Event()
    thread = threading.Thread(target=lambda: Broken.serve(port=port, stop_event=stop))
    thread.start()
    with Client(port=port) as client:
        wait_for(lambda: answers(client), "the served Executor")
        stop.set()
    thread.join(20)
    assert not thread.is_alive()


def is_free(flow: Flow) -> bool:
    try:
        return flow.post("/once", Document(text="fine")).texts == ["fine"]
    except DeadlineExceeded:
        return False


def answers(client: Client) -> bool:
    try:
        return len(client.post("/", DocumentArray.empty(1))) == 1
    except (Unavailable, ExecutorError):
        return False
