"""Executors that are given only some of the documents: chains, branches, joins, and Executors of other Flows."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from tests.support.processes import read_until
from zflow import Client, Document, DocumentArray, Executor, Flow, requests
from zflow.errors import ConfigError

IS_A = {"tags__kind": {"$eq": "a"}}
IS_NOT_A = {"$not": IS_A}


class Mark(Executor):
    """Writes its node's name behind each text, and notes that it was called."""

    def __init__(self, log: str = "", **kwargs):
        super().__init__(**kwargs)
        self.log = log

    @requests
    def mark(self, docs, **kwargs):
        for doc in docs:
            doc.text += self.runtime_args.name.partition("/")[0]
        if self.log:
            with open(self.log, "a") as log:
                log.write(f"{len(docs)}\n")
        return {"seen": docs.ids}


def documents(kinds: str) -> DocumentArray:
    return DocumentArray(
        [Document(id=str(number), tags={"kind": kind}) for number, kind in enumerate(kinds)],
    )


def test_branches_with_conditions_that_complete_each_other_give_every_document_back_once_and_in_order() -> None:
    flow = (
        Flow(quiet=True)
        .add(uses=Mark, name="before")
        .add(uses=Mark, name="A", needs="before", when=IS_A)
        .add(uses=Mark, name="B", needs="before", when=IS_NOT_A)
        .needs(["B", "A"])
        .add(uses=Mark, name="after")
    )
    with flow, Client(port=flow.port) as client:
        for asker in (flow, client):
            docs = asker.post("/", documents("abbabca"))
            assert docs.ids == list("0123456")
            assert docs.texts == [f"before{'A' if kind == 'a' else 'B'}after" for kind in "abbabca"]
            in_requests = asker.post("/", documents("abbabca"), request_size=2, results_in_order=True)
            assert in_requests.ids == list("0123456")


def test_in_a_chain_documents_that_do_not_meet_the_condition_are_gone() -> None:
    flow = Flow(quiet=True).add(uses=Mark, name="one", when=IS_A).add(uses=Mark, name="two")
    with flow:
        response = flow.post("/", documents("abba"), return_responses=True)[0]
        assert (response.docs.ids, response.docs.texts) == (["0", "3"], ["onetwo", "onetwo"])
        assert response.results == {"one/rep-0": {"seen": ["0", "3"]}, "two/rep-0": {"seen": ["0", "3"]}}


def test_an_executor_of_whose_documents_none_is_left_is_not_called(tmp_path: Path) -> None:
    log = tmp_path / "log"
    flow = Flow(quiet=True).add(uses=Mark, name="one", when=IS_A, uses_with={"log": str(log)})
    with flow:
        assert len(flow.post("/", documents("bb"))) == 0
        assert flow.post("/", documents("ab")).ids == ["0"]
        flow.post("/")  # there was nothing to be kept back
        assert log.read_text() == "1\n0\n"


def test_arrays_of_those_that_pass_are_the_right_ones() -> None:
    docs = documents("ab" * 50)
    docs.tensors = np.arange(100 * 5000, dtype="f4").reshape(100, 5000)
    with Flow(quiet=True).add(uses=Mark, when=IS_A) as flow:
        passed = flow.post("/", docs)
        assert np.array_equal(passed.tensors, docs.tensors[::2])


def test_a_flow_that_is_an_executor_of_another_applies_the_condition_of_that_one() -> None:
    inner = Flow(quiet=True).add(uses=Mark, name="one", when={"tags__kind": {"$neq": "c"}}).add(uses=Mark, name="two")
    with inner:
        nested = {"host": "localhost", "port_in": inner.port, "external": True}
        outer = (
            Flow(quiet=True)
            .add(uses=Mark, name="A", needs="gateway", when=IS_A)
            .add(**nested, name="nested", needs="gateway", when=IS_NOT_A)
            .needs(["nested", "A"])
        )
        with outer:
            docs = outer.post("/", documents("bacab"))
            assert docs.ids == ["0", "1", "3", "4"]
            assert docs.texts == ["onetwo", "A", "A", "onetwo"]


def test_a_worker_that_stands_alone_applies_the_condition_of_a_flow_that_it_does_not_know(
    start, zflow_command: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "alone.py").write_text(
        "from zflow import Executor, requests\n"
        "class Alone(Executor):\n"
        "    @requests\n"
        "    def mark(self, docs, **kwargs):\n"
        "        docs.texts = ['alone'] * len(docs)\n"
    )
    command = ("executor", "--uses", "Alone", "--py-modules", str(tmp_path / "alone.py"))
    serving = start(*zflow_command, *command, "--port-in", "0", cwd=tmp_path)
    found = re.search(r"serving at tcp://127.0.0.1:(\d+)", read_until(serving, "serving at"))
    assert found is not None
    with Flow(quiet=True).add(host="localhost", port_in=int(found[1]), external=True, when=IS_A) as flow:
        docs = flow.post("/", documents("abca"))
        assert (docs.ids, docs.texts) == (["0", "3"], ["alone", "alone"])


def test_a_flow_without_conditions_around_one_with_them_keeps_the_order() -> None:
    inner = (
        Flow(quiet=True)
        .add(uses=Mark, name="A", needs="gateway", when=IS_A)
        .add(uses=Mark, name="B", needs="gateway", when=IS_NOT_A)
        .needs(["B", "A"])
    )
    with inner, Flow(quiet=True).add(host="localhost", port_in=inner.port, external=True) as outer:
        assert outer.post("/", documents("abab")).ids == list("0123")


def test_a_wrong_condition_is_refused_when_the_flow_is_built() -> None:
    with pytest.raises(ConfigError, match=r"when: .*unknown operator '\$exist'; did you mean '\$exists'"):
        Flow().add(uses=Mark, when={"text": {"$exist": True}})
