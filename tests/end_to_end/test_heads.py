"""An Executor with replicas and shards that stands alone behind one port, tapped by Flows and Clients as one."""

from __future__ import annotations

import json
import signal
import threading
from pathlib import Path

import pytest

from tests.support.processes import descendants_of, is_alive, read_until, wait_for
from zflow import Client, Document, DocumentArray, Executor, ExecutorError, Flow, requests
from zflow.errors import ConfigError, Unavailable
from zflow.probing import describe, ping

EXEC_PY = """
import os
import signal
import time

from zflow import DocumentArray, Executor, requests


class Part(Executor):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.stored = DocumentArray()

    @requests(on="/index")
    def index(self, docs, **kwargs):
        self.stored.extend(docs)

    @requests(on="/search")
    def search(self, docs, parameters, **kwargs):
        if parameters.get("dies") == self.runtime_args.shard_id:
            os.kill(os.getpid(), signal.SIGKILL)
        for doc in docs:
            doc.matches = DocumentArray(self.stored)

    @requests(on="/status", idempotent=True)
    def status(self, parameters, **kwargs):
        return {"parameters": parameters, "shard": self.runtime_args.shard_id, "pid": os.getpid()}

    @requests(on="/fail")
    def fail(self, **kwargs):
        raise NotImplementedError("no time for it")

    @requests(on="/sleep")
    def sleep(self, docs, parameters, **kwargs):
        open(parameters["begun"], "w").close()
        time.sleep(parameters["seconds"])

    @requests(on="/stream")
    def stream(self, **kwargs):
        for number in range(1_000_000):
            yield DocumentArray([{"text": str(number)}])
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "exec.py").write_text(EXEC_PY)
    (tmp_path / "my-exec.yml").write_text("!Part\nmetas:\n  py_modules: [exec.py]\n")
    return tmp_path


@pytest.fixture
def head(folder: Path, start, zflow_command, port):
    """``zflow executor --uses my-exec.yml --port-in PORT`` with shards and replicas."""

    def begin(*options: str):
        uses = str(folder / "my-exec.yml")
        process = start(*zflow_command, "executor", "--uses", uses, "--port-in", str(port), *options, cwd="/")
        read_until(process, f"127.0.0.1:{port}")
        return process

    return begin


def test_flows_and_clients_tap_it_as_one_executor(head, port) -> None:
    head("--shards", "2", "--replicas", "2", "--polling", "/search=ALL,/status=ALL", "--name", "store")
    with (
        Flow(quiet=True).add(host="localhost", port_in=port, external=True, name="mine").add(name="other") as flow,
        Client(port=port) as client,
    ):
        for number in range(8):
            flow.index(Document(id=str(number), text=str(number)))
        parameters = {"mine__a": 1, "store__b": 2, "other__c": 3, "d": 4}
        [response] = flow.post("/status", parameters=parameters, return_responses=True)
        assert {name.rpartition("/")[0] for name in response.results} == {"mine/shard-0", "mine/shard-1"}
        seen = [result["parameters"] for result in response.results.values()]
        assert seen == [{"a": 1, "store__b": 2, "d": 4}] * 2  # named as in the Flow that asks
        [response] = client.post("/status", parameters={"store__b": 2}, return_responses=True)
        assert [result["parameters"] for result in response.results.values()] == [{"b": 2}] * 2
        assert {name.rpartition("/")[0] for name in response.results} == {"store/shard-0", "store/shard-1"}
        with pytest.raises(ExecutorError) as raised:
            flow.post("/fail")
        assert (raised.value.node, raised.value.name) == ("mine", "NotImplementedError")
        assert "exec.py" in raised.value.traceback


def test_it_tells_its_endpoints_and_how_its_replicas_are(head, port) -> None:
    head("--replicas", "3")
    told = describe(f"tcp://127.0.0.1:{port}")
    assert (told["name"], told["role"]) == ("Part/head", "head")
    assert {"name": "/status", "idempotent": True} in told["endpoints"]
    status = ping(f"tcp://127.0.0.1:{port}")
    assert status["replicas"] == {f"Part/rep-{number}": "ready" for number in range(3)}
    json.dumps(status)


def test_several_flows_share_it_and_its_replicas_share_the_work(head, port) -> None:
    head("--replicas", "2")
    pids: list[int] = []

    def use() -> None:
        with Flow(quiet=True).add(host="localhost", port_in=port, external=True) as flow:
            for response in flow.post("/status", DocumentArray.empty(40), request_size=1, return_responses=True):
                pids.extend(result["pid"] for result in response.results.values())

    threads = [threading.Thread(target=use) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(pids) == 80 and len(set(pids)) == 2


def test_pieces_pass_through_it_and_a_reader_who_leaves_stops_them(head, port) -> None:
    head("--replicas", "2")
    with Flow(quiet=True).add(host="localhost", port_in=port, external=True) as flow, Client(port=port) as client:
        for asker in (flow, client):
            stream = asker.stream("/stream", Document(), prefetch=2)
            assert [next(stream).text for _ in range(20)] == [str(number) for number in range(20)]
            stream.close()
            address = f"tcp://127.0.0.1:{port}"
            wait_for(lambda address=address: ping(address)["inflight"] == 0, "the end of the stream")  # type: ignore[misc]


def test_a_replica_that_dies_is_started_again_and_its_shard_is_named(head, port) -> None:
    head("--shards", "2", "--name", "store")
    flow = Flow(quiet=True).add(host="localhost", port_in=port, external=True, name="mine")
    with flow, Client(port=port) as client:
        with pytest.raises(Unavailable) as raised:
            flow.search(Document(), parameters={"dies": 1})
        assert raised.value.maybe_executed
        assert (raised.value.node, raised.value.peer) == ("mine", "store/shard-1/rep-0")
        assert len(client.search(DocumentArray.empty(2))) == 2


def test_a_partial_answer_names_what_is_missing_as_the_asker_does(head, port) -> None:
    head("--shards", "2", "--allow-partial")
    with Flow(quiet=True).add(host="localhost", port_in=port, external=True, name="mine") as flow:
        [response] = flow.search(Document(), parameters={"dies": 1}, return_responses=True)
        assert response.error is None and response.missing == {"mine/shard-1": "Unavailable"}


def test_sigterm_drains_and_leaves_nothing(head, port, tmp_path: Path) -> None:
    process = head("--replicas", "2")
    begun = tmp_path / "begun"
    answers: list[DocumentArray] = []

    def ask() -> None:
        with Client(port=port) as client:
            answers.append(client.post("/sleep", Document(), parameters={"begun": str(begun), "seconds": 0.5}))

    thread = threading.Thread(target=ask)
    thread.start()
    wait_for(begun.exists, "the request to begin")
    others = descendants_of(process.pid)
    assert len(others) >= 3
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    thread.join(10)
    assert len(answers) == 1 and len(answers[0]) == 1
    assert [pid for pid in others if is_alive(pid)] == []


def test_sigkill_of_it_leaves_nothing(head) -> None:
    process = head("--replicas", "2", "--shards", "2")
    others = descendants_of(process.pid)
    assert len(others) >= 5
    process.kill()
    process.wait(10)
    wait_for(lambda: not any(map(is_alive, others)), "everything that it started to end")


def test_it_may_be_started_after_the_flow_that_taps_it(head, port) -> None:
    with Flow(quiet=True).add(host="localhost", port_in=port, external=True) as flow:
        with pytest.raises(Unavailable, match="cannot be reached"):
            flow.post("/status")
        head("--replicas", "2")
        assert len(flow.post("/status", DocumentArray.empty(1))) == 1


def test_what_cannot_be_is_refused(folder: Path, start, zflow_command, port) -> None:
    uses = str(folder / "my-exec.yml")
    for options, told in [
        (("--replicas", "2", "--host", "0.0.0.0"), "insecure"),
        (("--replicas", "0"), "replicas: expected a whole number"),
        (("--retries", "2"), "retries: nothing stands before the one process"),
        (("--shards", "2", "--polling", "SOME"), "polling: no way of polling is called"),
    ]:
        process = start(*zflow_command, "executor", "--uses", uses, "--port-in", str(port), *options)
        output, _ = process.communicate(timeout=20)
        assert process.returncode != 0 and told in output


class Local(Executor):
    @requests
    def work(self, **kwargs):
        pass


def test_in_a_flow_replicas_share_no_port() -> None:
    with pytest.raises(ConfigError, match="replicas cannot share one port"):
        Flow().add(uses=Local, replicas=2, port_in=12345)
