"""Executors whose data is spread over several processes: index one at a time, search all, as one Executor."""

from __future__ import annotations

import inspect
import os
import signal
from pathlib import Path

import pytest

from tests.support.processes import read_until, wait_for
from zflow import Client, Document, DocumentArray, Executor, Flow, requests
from zflow.errors import ExecutorError, Unavailable


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
        if parameters.get("raises") == self.runtime_args.shard_id:
            raise ValueError("not here")
        for doc in docs:
            doc.matches = DocumentArray(self.stored)

    @requests(on="/status")
    def status(self, parameters, **kwargs):
        args = self.runtime_args
        where = {"workspace": self.workspace, "shard": args.shard_id, "of": args.shards, "replicas": args.replicas}
        return {**where, "name": args.name, "stored": sorted(self.stored.texts), "k": parameters.get("k")}

    @requests(on="/stream")
    def stream(self, docs, **kwargs):
        for doc in docs:
            for number in range(3):
                yield DocumentArray([{"text": f"{doc.text}{number}"}])


class Mark(Executor):
    @requests
    def mark(self, docs, **kwargs):
        for doc in docs:
            doc.tags["marked"] = True


class Count(Executor):
    @requests
    def count(self, docs, docs_map, **kwargs):
        for doc in docs:
            doc.tags["branches"] = {name: len(docs[0].matches) for name, docs in docs_map.items()}


YAML = """
jtype: Flow
with: {workspace: ws}
executors:
  - name: indexer
    uses: {jtype: Part, metas: {py_modules: [part.py]}}
    shards: 3
    replicas: 2
    polling: {/search: ALL, /status: ALL}
    uses_after: {jtype: Count, metas: {py_modules: [part.py]}}
"""


def fill(asker: Flow | Client, count: int = 6) -> None:
    for number in range(count):
        asker.index(Document(id=str(number), text=f"doc {number}"))


@pytest.mark.parametrize("through_gateway", [False, True])
def test_what_was_indexed_one_by_one_is_found_by_a_search_of_all(tmp_path: Path, through_gateway: bool) -> None:
    polling = {"/search": "ALL", "/status": "ALL"}
    flow = Flow(quiet=True, workspace=tmp_path).add(uses=Part, name="indexer", shards=3, polling=polling)
    with flow, Client(port=flow.port) as client:
        asker = client if through_gateway else flow
        asker.post("/status")  # answered when all are reached: until then turns go on without those that are not
        fill(asker)
        found = asker.search(Document(id="q"))
        assert len(found) == 1  # reduced by id: one query, with the matches of all
        assert sorted(found[0].matches.texts) == [f"doc {number}" for number in range(6)]
        [response] = asker.post("/status", return_responses=True, parameters={"indexer__k": 3})
        names = [f"indexer/shard-{number}/rep-0" for number in range(3)]
        assert sorted(response.results) == names and response.missing == {}
        told = [response.results[name] for name in names]
        assert [result["name"] for result in told] == names
        assert [(result["shard"], result["of"], result["k"]) for result in told] == [(n, 3, 3) for n in range(3)]
        assert [len(result["stored"]) for result in told] == [2, 2, 2]  # in turns
        assert [result["workspace"] for result in told] == [str(tmp_path / "Part" / str(n)) for n in range(3)]
        assert all(Path(result["workspace"]).is_dir() for result in told)
        assert [status.name for status in flow.status()] == [*names, "gateway"]


def test_by_default_a_search_asks_all_and_everything_else_one() -> None:
    with Flow(quiet=True).add(uses=Part, shards=2) as flow:
        fill(flow, 4)
        assert len(flow.search(Document())[0].matches) == 4
        assert len(flow.post("/status", return_responses=True)[0].results) == 1
    with Flow(quiet=True).add(uses=Part, shards=2, polling="ANY") as flow:
        fill(flow, 4)
        assert len(flow.search(Document())[0].matches) == 2


def test_before_and_after_the_shards() -> None:
    with Flow(quiet=True).add(uses=Part, name="x", shards=2, uses_before=Mark, uses_after=Count) as flow:
        fill(flow, 4)
        [doc] = flow.search(Document())
        assert doc.tags == {"marked": True, "branches": {"x/shard-0": 2, "x/shard-1": 2}}
        names = [status.name for status in flow.status()]
        assert names[2:] == ["x/uses-before/rep-0", "x/uses-after/rep-0", "gateway"]


@pytest.mark.parametrize("through_gateway", [False, True])
def test_one_shard_streams(through_gateway: bool) -> None:
    with Flow(quiet=True).add(uses=Part, shards=2) as flow, Client(port=flow.port) as client:
        asker = client if through_gateway else flow
        pieces = [doc.text for doc in asker.stream("/stream", Document(text="a"), prefetch=1)]
        assert pieces == ["a0", "a1", "a2"]
        stream = asker.stream("/stream", [Document(text=str(number)) for number in range(100)], prefetch=1)
        assert next(stream).text == "00"
        stream.close()
        assert asker.post("/", Document(text="still there")).texts == ["still there"]


@pytest.mark.parametrize("harm", ["dies", "raises"])
@pytest.mark.parametrize("through_gateway", [False, True])
def test_a_shard_that_fails_is_named_or_left_out(harm: str, through_gateway: bool) -> None:
    flow = (
        Flow(quiet=True)
        .add(uses=Part, name="whole", shards=2)
        .add(uses=Part, name="partial", shards=2, allow_partial=True, needs="gateway")
    )
    with flow, Client(port=flow.port) as client:
        asker = client if through_gateway else flow
        [response] = asker.search(Document(), parameters={f"partial__{harm}": 1}, return_responses=True)
        assert response.error is None
        assert response.missing == {"partial/shard-1": "Unavailable" if harm == "dies" else "ExecutorError"}
        with pytest.raises(Unavailable if harm == "dies" else ExecutorError) as raised:
            asker.search(Document(), parameters={f"whole__{harm}": 1})
        assert raised.value.node == "whole" and raised.value.maybe_executed
        assert "whole/shard-1/rep-0" in f"{raised.value} {raised.value.peer}"
        with pytest.raises((Unavailable, ExecutorError)):
            asker.search(Document(), parameters={f"partial__{harm}": 0, f"whole__{harm}": 0})


def test_a_shard_that_was_killed_is_started_again_and_the_others_keep_their_data() -> None:
    with Flow(quiet=True).add(uses=Part, shards=2, polling="ALL", allow_partial=True) as flow:
        flow.index(Document(text="a"))
        pids = [status.pid for status in flow.status()]
        assert pids[1] is not None
        os.kill(pids[1], signal.SIGKILL)
        wait_for(lambda: flow.status()[1].pid not in (None, pids[1]), "its successor")
        wait_for(lambda: not flow.search(Document(), return_responses=True)[0].missing, "an answer of both")
        [response] = flow.post("/status", return_responses=True)
        stored = [response.results[f"executor0/shard-{number}/rep-0"]["stored"] for number in (0, 1)]
        assert stored == [["a"], []]
        assert [status.pid for status in flow.status()][0] == pids[0]


def test_from_yaml_by_the_command_line(tmp_path: Path, start, zflow_command, port) -> None:
    sources = "\n".join(inspect.getsource(item) for item in (Part, Count))
    (tmp_path / "part.py").write_text(f"from zflow import DocumentArray, Executor, requests\n{sources}")
    (tmp_path / "flow.yml").write_text(YAML)
    process = start(*zflow_command, "flow", "--uses", str(tmp_path / "flow.yml"), "--port", str(port), cwd=tmp_path)
    read_until(process, "ready to use")
    assert "3 shards of 2 replicas each" in read_until(process, "indexer:")
    with Client(port=port) as client:
        [response] = client.post("/status", return_responses=True)
        assert len(response.results) == 3
        assert {name.rpartition("/")[0] for name in response.results} == {f"indexer/shard-{n}" for n in range(3)}
        assert {result["replicas"] for result in response.results.values()} == {2}
        [doc] = client.search(Document())
        assert doc.tags["branches"] == {f"indexer/shard-{number}": 0 for number in range(3)}
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
