"""Graphs of real processes: chains, branches, joins, what hangs, what fails, Flows within Flows."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from zflow import Client, Document, DocumentArray, Executor, Flow, requests
from zflow.errors import ExecutorError, TopologyError


class Mark(Executor):
    """Writes its node's name into each document, and into a log where it is given one."""

    def __init__(self, log: str = "", delay: float = 0, **kwargs):
        super().__init__(**kwargs)
        self.log = log
        self.delay = delay

    @requests
    def mark(self, docs, **kwargs):
        name = self.runtime_args.name.partition("/")[0]
        time.sleep(self.delay)
        for doc in docs:
            doc.tags[name] = True
            doc.text += name
        if self.log:
            with open(self.log, "a") as log:
                log.write(f"{name}\n")

    @requests(on="/own")
    def own(self, docs, **kwargs):
        name = self.runtime_args.name.partition("/")[0]
        return DocumentArray([Document(id=name, text=name)])


class Join(Executor):
    @requests
    def join(self, docs, docs_matrix, docs_map, **kwargs):
        return {"matrix": [branch.texts for branch in docs_matrix], "map": {k: v.texts for k, v in docs_map.items()}}

    @requests(on="/own")
    def own(self, docs, **kwargs):
        pass


class Fail(Executor):
    @requests
    def fail(self, **kwargs):
        raise RuntimeError("this branch is broken")


def test_a_chain() -> None:
    with Flow(quiet=True).add(uses=Mark, name="a").add(uses=Mark, name="b").add(uses=Mark, name="c") as flow:
        assert flow.post("/", Document(text="-")).texts == ["-abc"]


def test_branches_hold_their_own_copies_and_join_in_the_order_of_needs() -> None:
    flow = (
        Flow(quiet=True)
        .add(uses=Mark, name="slow", uses_with={"delay": 0.05})
        .add(uses=Mark, name="quick", needs="gateway")
        .add(uses=Join, name="join", needs=["slow", "quick"])
    )
    with flow, Client(port=flow.port) as client:
        for asker in (flow, client):
            response = asker.post("/", Document(text="-"), return_responses=True)[0]
            result = response.results["join/rep-0"]
            assert result["matrix"] == [["-slow"], ["-quick"]]
            assert result["map"] == {"slow": ["-slow"], "quick": ["-quick"]}
            assert response.docs.texts == ["-slow"]  # by id: the left-most that has a text
            assert response.docs[0].tags == {"slow": True}


def test_documents_of_branches_are_reduced_by_id_unless_told_otherwise() -> None:
    def joined(**options) -> DocumentArray:
        flow = (
            Flow(quiet=True)
            .add(uses=Mark, name="a", needs="gateway")
            .add(uses=Mark, name="b", needs="gateway")
            .add(uses=Join, name="join", needs=["b", "a"], **options)
        )
        with flow:
            return flow.post("/own", Document(id="x")), flow.post("/", Document(id="x"))

    own, marked = joined()
    assert own.texts == ["b", "a"]
    assert marked.texts == ["b"]
    own, marked = joined(no_reduce=True)
    assert marked.texts == ["b", "a"]


def test_needs_all_joins_what_hangs() -> None:
    flow = (
        Flow(quiet=True)
        .add(uses=Mark, name="a", needs="gateway")
        .add(uses=Mark, name="b", needs="gateway")
        .needs_all(uses=Join, name="all")
    )
    with flow:
        result = flow.post("/", Document(text="-"), return_responses=True)[0].results["all/rep-0"]
    assert result["map"] == {"a": ["-a"], "b": ["-b"]}


def test_a_node_that_nothing_needs_ends_before_the_reply(tmp_path: Path) -> None:
    log = tmp_path / "log"
    flow = (
        Flow(quiet=True)
        .add(uses=Mark, name="hangs", uses_with={"log": str(log), "delay": 0.1})
        .add(uses=Mark, name="last", needs="gateway")
    )
    with flow:
        assert flow.post("/", Document(text="-")).texts == ["-last"]
        assert log.read_text() == "hangs\n"


def test_a_failing_branch_is_named_and_the_flow_goes_on() -> None:
    flow = (
        Flow(quiet=True, quiet_error=True)
        .add(uses=Mark, name="good", needs="gateway")
        .add(uses=Fail, name="broken", needs="gateway")
        .add(uses=Join, name="join", needs=["good", "broken"])
    )
    with flow:
        for _ in range(3):
            with pytest.raises(ExecutorError, match="this branch is broken") as raised:
                flow.post("/", Document())
            assert raised.value.node == "broken"
        assert flow.post("/own", Document(), target_executor="good|join")[0].text == "good"


def test_a_flow_is_an_external_executor_of_another() -> None:
    with Flow(quiet=True).add(uses=Mark, name="inner") as inner:
        outer = (
            Flow(quiet=True)
            .add(uses=Mark, name="before")
            .add(host="localhost", port_in=inner.port, external=True, name="nested")
            .add(uses=Mark, name="after")
        )
        with outer:
            assert outer.post("/", Document(text="-")).texts == ["-beforeinnerafter"]


@pytest.mark.parametrize(
    ("build", "told"),
    [
        (lambda: Flow().add(name="encoder").add(needs="encodr"), "did you mean 'encoder'"),
        (lambda: Flow().add(name="a", needs="a"), "needs itself"),
        (lambda: Flow().add(name="a").add(name="a"), "two Executors are named 'a'"),
        (lambda: Flow().add(name="not a name"), "cannot name an Executor"),
        (lambda: Flow().add(name="gateway"), "entrance"),
    ],
)
def test_a_wrong_graph_is_refused_when_it_is_built(build, told) -> None:
    with pytest.raises(TopologyError, match=told):
        build()


def test_replicas_share_the_work() -> None:
    class Who(Executor):
        @requests
        def who(self, docs, **kwargs):
            time.sleep(0.02)
            return {"pid": __import__("os").getpid()}

    with Flow(quiet=True).add(uses=Who, name="who", replicas=3) as flow:
        docs = [Document() for _ in range(24)]
        responses = flow.post("/", docs, request_size=1, return_responses=True)
        replicas = {name for response in responses for name in response.results}
    assert replicas == {"who/rep-0", "who/rep-1", "who/rep-2"}
