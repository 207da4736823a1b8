"""Deployment: one Executor with processes of its own, asked from here as a Flow is, and by others at its port."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from tests.support.processes import descendants_of, is_alive, read_until, wait_for
from zflow import Client, Deployment, Document, DocumentArray, Executor, Flow, PortInUse, StartError, requests
from zflow.errors import ExecutorError

EXEC_PY = """
from zflow import DocumentArray, Executor, requests


class Store(Executor):
    def __init__(self, greeting="hello", **kwargs):
        super().__init__(**kwargs)
        self.greeting = greeting
        self.stored = DocumentArray()

    @requests(on="/index")
    def index(self, docs, **kwargs):
        self.stored.extend(docs)

    @requests(on="/search")
    def search(self, docs, **kwargs):
        for doc in docs:
            doc.matches = DocumentArray(self.stored)

    @requests
    def greet(self, docs, **kwargs):
        for doc in docs:
            doc.text = f"{self.greeting} {doc.text}"
"""


class Echo(Executor):
    def __init__(self, fail: bool = False, **kwargs):
        super().__init__(**kwargs)
        if fail:
            raise RuntimeError("on purpose")
        self.stored = DocumentArray()

    @requests(on=["/index", "/update", "/delete"])
    def keep(self, docs, **kwargs):
        self.stored.extend(docs)

    @requests(on="/search")
    def search(self, docs, **kwargs):
        for doc in docs:
            doc.matches = DocumentArray(self.stored)

    @requests(on="/stream")
    def stream(self, docs, **kwargs):
        for number in range(3):
            yield DocumentArray([{"text": f"{docs[0].text}{number}"}])

    @requests(on="/fail")
    def fail(self, **kwargs):
        raise ValueError("as asked")

    @requests(on="/status")
    def status(self, parameters, **kwargs):
        return {"parameters": parameters, "workspace": self.workspace}


def test_it_posts_indexes_searches_updates_deletes_and_streams(tmp_path: Path) -> None:
    with Deployment(uses=Echo, replicas=1, quiet=True, workspace=tmp_path, quiet_error=True) as deployment:
        for ask in (deployment.index, deployment.update, deployment.delete):
            ask(Document(text=ask.__name__))
        assert deployment.search(Document())[0].matches.texts == ["index", "update", "delete"]
        assert [doc.text for doc in deployment.stream("/stream", Document(text="a"))] == ["a0", "a1", "a2"]
        told = deployment.post("/status", parameters={"Echo__a": 1, "b": 2}, return_responses=True)[0].results
        assert told == {"Echo/rep-0": {"parameters": {"a": 1, "b": 2}, "workspace": str(tmp_path / "Echo" / "0")}}
        with pytest.raises(ExecutorError) as raised:
            deployment.post("/fail")
        assert (raised.value.node, raised.value.name) == ("Echo", "ValueError")
        heard: list[str] = []
        deployment.post("/fail", on_error=lambda response, error: heard.append(response.status.description))
        assert heard == ["ValueError('as asked')"]


def test_others_ask_it_at_its_port_and_it_has_scale() -> None:
    with Deployment(uses=Echo, name="store", shards=2, replicas=2, quiet=True) as deployment:
        for number in range(4):
            deployment.index(Document(id=str(number)))
        names = [f"store/shard-{shard}/rep-{replica}" for shard in (0, 1) for replica in (0, 1)]
        assert [status.name for status in deployment.status()] == [*names, "store/head"]
        flow = Flow(quiet=True).add(host="localhost", port_in=deployment.port, external=True)
        with Client(port=deployment.port) as client, flow:
            for asker in (deployment, client, flow):
                assert len(asker.post("/", DocumentArray.empty(3))) == 3
        assert os.getpid() not in [status.pid for status in deployment.status()]


def test_a_dead_replica_and_a_dead_head_are_started_again() -> None:
    with Deployment(uses=Echo, replicas=2, quiet=True) as deployment, Client(port=deployment.port) as client:
        port = deployment.port
        for number in (0, 2):  # a replica, the head
            pid = deployment.status()[number].pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            wait_for(lambda n=number, old=pid: deployment.status()[n].pid not in (None, old), "its successor")  # type: ignore[misc]
            wait_for(lambda: all(status.state == "ready" for status in deployment.status()), "everything to be ready")
            assert len(deployment.post("/", DocumentArray.empty(2))) == 2
            assert len(client.post("/", DocumentArray.empty(2))) == 2
        assert deployment.port == port


def test_it_starts_whole_or_not_at_all() -> None:
    with pytest.raises(StartError, match="on purpose"):
        Deployment(uses=Echo, uses_with={"fail": True}, replicas=2, quiet=True).start()
    with Deployment(uses=Echo, quiet=True) as deployment:
        with pytest.raises(PortInUse, match=str(deployment.port)):
            Deployment(uses=Echo, port=deployment.port, quiet=True).start()


def test_on_asyncio() -> None:
    async def use() -> None:
        async with Deployment(uses=Echo, replicas=2, quiet=True, asyncio=True) as deployment:
            assert (await deployment.post("/", [Document(text="a")])).texts == ["a"]
            assert [doc.text async for doc in deployment.stream("/stream", Document(text="a"))] == ["a0", "a1", "a2"]

    asyncio.run(use())


YAML = """
jtype: Deployment
with:
  uses:
    jtype: Store
    metas: {py_modules: [exec.py]}
  uses_with: {greeting: hi}
  shards: 2
  polling: {/search: ALL}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "exec.py").write_text(EXEC_PY)
    (tmp_path / "deployment.yml").write_text(YAML)
    (tmp_path / "exec.yml").write_text("jtype: Store\nmetas: {py_modules: [exec.py]}\n")
    return tmp_path


def test_from_yaml(folder: Path) -> None:
    with Deployment.load_config(folder / "deployment.yml") as deployment:
        assert deployment.post("/", Document(text="you")).texts == ["hi you"]
        assert len(deployment.status()) == 3


@pytest.mark.parametrize(
    ("uses", "options", "greeting", "processes"),
    [
        ("deployment.yml", (), "hi", 3),
        ("deployment.yml", ("--shards", "3", "--uses-with", "greeting=hey"), "hey", 4),
        ("exec.yml", ("--replicas", "2"), "hello", 3),
    ],
)
def test_by_the_command_line(folder: Path, start, zflow_command, port, uses, options, greeting, processes) -> None:
    uses = str(folder / uses)
    process = start(*zflow_command, "deployment", "--uses", uses, "--port", str(port), *options, cwd="/")
    read_until(process, f"127.0.0.1:{port}")
    with Client(port=port) as client:
        assert client.post("/", Document(text="you")).texts == [f"{greeting} you"]
    others = descendants_of(process.pid)
    assert len(others) == processes + 1  # and the warm parent
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert [pid for pid in others if is_alive(pid)] == []
