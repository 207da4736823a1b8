"""Dynamic batching in real processes: who gets what back, and how many Documents each call had."""

from __future__ import annotations

import signal
import sqlite3
import threading
import time
from typing import Any

import pytest

from tests.support.processes import read_until, wait_for
from zflow import Client, Document, Executor, Flow, dynamic_batching, requests
from zflow.errors import DeadlineExceeded, ExecutorError
from zflow.probing import ping

LONG = 20_000  # ms: a timeout that no test waits for


class Encoder(Executor):
    """Says how many Documents each of its calls had."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.calls: list[int] = []

    @dynamic_batching(preferred_batch_size=8, timeout=LONG)
    @requests(on="/encode")
    def encode(self, docs, parameters, **kwargs):
        self.calls.append(len(docs))
        if "bad" in docs.texts:
            raise ValueError("no such text")
        docs.texts = [f"{text}{parameters.get('mark', '!')}" for text in docs.texts]

    @requests(on="/calls")
    def tell(self, **kwargs):
        calls, self.calls = self.calls, []
        return {"calls": calls}

    @requests(on="/plain")
    def plain(self, docs, **kwargs):
        self.calls.append(len(docs))


def calls_of(asked: Flow | Client) -> list[int]:
    [response] = asked.post("/calls", return_responses=True)
    [results] = response.results.values()
    calls: list[int] = results["calls"]
    return calls


def texts(*values: str) -> list[Document]:
    return [Document(text=value) for value in values]


@pytest.fixture(scope="module")
def flow():
    with Flow(quiet=True).add(uses=Encoder) as opened:
        yield opened


@pytest.fixture
def client(flow):
    with Client(port=flow.port) as opened:
        yield opened
    calls_of(flow)


def test_the_requests_of_one_client_run_as_one(client):
    answer = client.post("/encode", texts(*map(str, range(16))), request_size=1, results_in_order=True)
    assert answer.texts == [f"{number}!" for number in range(16)]
    first, *others = calls_of(client)
    assert (first, sum(others)) == (8, 8)  # after a call those run that are there: how many depends on the machine


def test_so_do_those_of_many_clients(flow, client):
    answers: dict[int, list[str]] = {}

    def ask(number: int) -> None:
        with Client(port=flow.port) as mine:
            answers[number] = mine.post("/encode", Document(text=str(number))).texts

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {number: [f"{number}!"] for number in range(8)}
    assert calls_of(client) == [8]


def test_a_request_larger_than_a_batch_is_cut_and_put_together(client):
    assert client.post("/encode", texts(*map(str, range(20)))).texts == [f"{number}!" for number in range(20)]
    assert calls_of(client) == [8, 8, 4]


def test_parameters_keep_requests_apart(flow, client):
    answers: dict[str, list[str]] = {}

    def ask(mark: str) -> None:
        with Client(port=flow.port) as mine:
            inputs = texts(*map(str, range(8)))
            answers[mark] = mine.post("/encode", inputs, request_size=2, parameters={"mark": mark}).texts

    threads = [threading.Thread(target=ask, args=(mark,)) for mark in "?#"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {mark: sorted(told) for mark, told in answers.items()} == {
        mark: [f"{number}{mark}" for number in range(8)] for mark in "?#"
    }
    first, *others = calls_of(client)
    assert (first, sum(others)) == (8, 8)  # after a call those run that are there: how many depends on the machine


def test_an_empty_request_returns_at_once_and_calls_the_method_as_ever(client):
    assert client.post("/encode", inputs=[]).texts == []
    assert calls_of(client) == [0]


def test_endpoints_that_are_not_batched_wait_for_nobody(client):
    assert client.post("/plain", texts("a", "b"), request_size=1).texts == ["a", "b"]
    assert calls_of(client) == [1, 1]


def test_an_exception_fails_every_request_of_its_batch_with_an_outcome_of_its_own(client):
    failed: list[Any] = []
    client.post(
        "/encode",
        texts("a", "bad", *"cdefgh", *map(str, range(8))),
        request_size=1,
        prefetch=16,
        on_done=lambda response: None,
        on_error=lambda response, error: failed.append(error),
    )
    assert [type(error) for error in failed] == [ExecutorError] * 8
    assert {error.description for error in failed} == {"ValueError('no such text')"}
    assert all('raise ValueError("no such text")' in error.traceback for error in failed)
    first, *others = calls_of(client)
    assert (first, sum(others)) == (8, 8)  # after a call those run that are there: how many depends on the machine


def test_a_request_with_little_time_is_not_kept_until_it_is_over(client):
    """The timer would ring in 20 s, and it has 2."""
    assert client.post("/encode", Document(text="a"), timeout=2.0).texts == ["a!"]
    assert calls_of(client) == [1]


class Bound(Executor):
    """Has what only the thread may use that it was made by, keeps Python busy, and asks whether somebody waits."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.table = sqlite3.connect(":memory:")
        self.table.execute("create table seen (text)")
        self.gave_up_after = 0.0

    @dynamic_batching(preferred_batch_size=4, timeout=50)
    @requests(on="/note")
    def note(self, docs, **kwargs):
        until = time.monotonic() + 0.008
        while time.monotonic() < until:
            pass
        self.table.executemany("insert into seen values (?)", [(text,) for text in docs.texts])

    @requests(on="/noted")
    def noted(self, **kwargs):
        return {"noted": [text for (text,) in self.table.execute("select text from seen")]}

    @dynamic_batching(preferred_batch_size=4, timeout=50)
    @requests(on="/wait")
    def wait(self, docs, **kwargs):
        begun = time.monotonic()
        while not self.cancelled and time.monotonic() < begun + 20:
            pass
        self.gave_up_after = time.monotonic() - begun

    @requests(on="/waited")
    def waited(self, **kwargs):
        return {"seconds": self.gave_up_after}


def results_of(client: Client, endpoint: str) -> Any:
    [response] = client.post(endpoint, return_responses=True)
    [results] = response.results.values()
    return results


def test_a_batch_runs_on_the_thread_that_made_the_executor_and_is_told_when_nobody_waits() -> None:
    with Flow(quiet=True).add(uses=Bound) as flow, Client(port=flow.port) as client:
        sent = [str(number) for number in range(200)]
        assert client.post("/note", texts(*sent), request_size=1, prefetch=16).texts == sent
        assert sorted(results_of(client, "/noted")["noted"], key=int) == sent
        with pytest.raises(DeadlineExceeded):
            client.post("/wait", texts("a"), timeout=1.0)
        assert 0 < results_of(client, "/waited")["seconds"] < 10


STANDALONE = """
from zflow import Executor, requests


class Encoder(Executor):
    @requests
    def encode(self, docs, **kwargs):
        docs.texts = [f"{text} of {len(docs)}" for text in docs.texts]
"""


def test_the_command_line_batches_and_a_drain_waits_for_no_company(tmp_path, start, zflow_command, port) -> None:
    """1. A table from YAML and one from the command line. 2. Two requests wait. 3. SIGTERM: they are answered."""
    (tmp_path / "encoder.py").write_text(STANDALONE)
    (tmp_path / "exec.yml").write_text(
        "jtype: Encoder\npy_modules: [encoder.py]\ndynamic_batching:\n  encode: {preferred_batch_size: 3, timeout: 1}\n"
    )
    words = ("--uses", str(tmp_path / "exec.yml"), "--uses-dynamic-batching", f'encode={{"timeout": {LONG}}}')
    process = start(*zflow_command, "executor", *words, "--port-in", str(port))
    read_until(process, f"127.0.0.1:{port}")
    address = f"tcp://127.0.0.1:{port}"
    with Client(port=port) as client:
        assert client.post("/", texts("a", "b", "c"), request_size=1).texts == ["a of 3", "b of 3", "c of 3"]
        answers: list[list[str]] = []
        ask = lambda: answers.append(client.post("/", texts("d", "e"), request_size=1).texts)  # noqa: E731
        waiting = threading.Thread(target=ask)
        waiting.start()
        wait_for(lambda: ping(address)["queued"] == 2, "two requests that wait for company")
        process.send_signal(signal.SIGTERM)
        waiting.join(10)
    assert answers == [["d of 2", "e of 2"]]
    assert process.wait(10) == 0


def test_one_executor_batches_the_requests_of_several_flows(tmp_path, start, zflow_command, port) -> None:
    (tmp_path / "encoder.py").write_text(STANDALONE)
    words = ("--uses", "Encoder", "--py-modules", str(tmp_path / "encoder.py"))
    table = f'/default={{"preferred_batch_size": 2, "timeout": {LONG}}}'
    process = start(*zflow_command, "executor", *words, "--uses-dynamic-batching", table, "--port-in", str(port))
    read_until(process, f"127.0.0.1:{port}")
    answers: dict[str, list[str]] = {}

    def ask(name: str) -> None:
        with Flow(quiet=True).add(name=name, host="localhost", port_in=port, external=True) as flow:
            answers[name] = flow.post("/", Document(text=name)).texts

    threads = [threading.Thread(target=ask, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {"one": ["one of 2"], "two": ["two of 2"]}
