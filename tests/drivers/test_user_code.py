"""The local link "executor": whatever comes is answered, whatever user code does comes to an answer that tells it."""

from __future__ import annotations

import asyncio
import functools
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from zflow.documents.document import Document
from zflow.documents.document_array import DocumentArray
from zflow.drivers.note import Note, calls_in
from zflow.drivers.user_code import UserCode
from zflow.endpoints import requests
from zflow.errors import ExecutorError, InvalidRequest, RemoteError
from zflow.executor import Executor
from zflow.response import Response, error_of, read
from zflow.wire.conditions import encode_condition
from zflow.wire.frames import DOCUMENTS, PARAMETERS, RESULTS, Part, part
from zflow.wire.header import MAYBE_EXECUTED, NO_REDUCE, NOT_STARTED, Kind, Message
from zflow.wire.payload import encode_documents, encode_map

CALL = bytes(range(16))
Method = Callable[..., Any]


class Asked:
    """An Executor whose default method is `method`, behind the link; what it reports is kept."""

    def __init__(self, method: Method | None = None, *, cls: type[Executor] | None = None, name: str = "exec/rep-0"):
        self.executor = (cls or type("Asked", (Executor,), {"method": requests(method)} if method else {}))()
        self.reported: list[BaseException] = []
        self.user_code = UserCode(self.executor, name=name, report=self.reported.append)
        self.woken = threading.Event()
        self.user_code.attach(wake=self.woken.set, look=lambda: None)

    def ask(
        self,
        *branches: DocumentArray,
        on: str = "/",
        parameters: dict[str, Any] | None = None,
        labels: str = "gateway",
        flags: int = 0,
        **extra: Any,
    ) -> Message:
        """The outcome of a request with a part of documents for each branch. labels: whose they are."""
        names = labels.split()
        parts = [part(DOCUMENTS, name, encode_documents(branch)) for name, branch in zip(names, branches)]
        if parameters is not None:
            parts.append(part(PARAMETERS, "", [encode_map(parameters)]))
        return self.ask_parts(parts, on=on, flags=flags, **extra)

    def ask_parts(self, parts: list[Part], *, on: str = "/", flags: int = 0, **extra: Any) -> Message:
        """The outcome of a request with these parts."""
        outcome = self.user_code(Message(Kind.REQUEST, CALL, on, None, flags, parts, extra)) or self.next()
        assert outcome.call_id == CALL
        return outcome

    def next(self) -> Message:
        """What is said next, by a generator or from the event loop."""
        assert self.user_code.is_ready or self.woken.wait(5.0)
        self.woken.clear()
        said = self.user_code.step()
        assert said is not None
        return said

    def response(self, *branches: DocumentArray, **options: Any) -> Response:
        """The same, as the caller sees it; it must have succeeded."""
        outcome = self.ask(*branches, **options)
        assert outcome.kind is Kind.REPLY, error_of(outcome)
        return read(outcome, DocumentArray(), {}, "/")

    def error(self, *branches: DocumentArray, **options: Any) -> RemoteError:
        """The same; it must have failed."""
        outcome = self.ask(*branches, **options)
        assert outcome.kind is Kind.FAILURE
        return error_of(outcome)


def texts(*values: str) -> DocumentArray:
    return DocumentArray([Document(id=value, text=value) for value in values])


# -- what a method may return ------------------------------------------------------------------------------------------


def test_nothing_keeps_the_documents_as_the_method_left_them():
    def method(self, docs, **kwargs):
        docs[0].text = "changed"

    response = Asked(method).response(texts("a", "b"))
    assert response.docs.texts == ["changed", "b"]
    assert response.results == {}


RETURNED = {
    "an array": lambda: texts("x", "y"),
    "a list": lambda: [Document(text="x"), Document(text="y")],
    "a tuple": lambda: (Document(text="x"), Document(text="y")),
}


@pytest.mark.parametrize("make", [pytest.param(make, id=name) for name, make in RETURNED.items()])
def test_documents_replace_those_that_came(make):
    assert Asked(lambda self, **kwargs: make()).response(texts("a")).docs.texts == ["x", "y"]


def test_one_document_replaces_all_that_came():
    assert Asked(lambda self, **kwargs: Document(text="x")).response(texts("a", "b")).docs.texts == ["x"]


def test_no_documents_at_all_can_be_returned():
    assert len(Asked(lambda self, **kwargs: DocumentArray()).response(texts("a")).docs) == 0
    assert len(Asked(lambda self, **kwargs: []).response(texts("a")).docs) == 0


def test_a_dict_is_a_result_beside_the_documents_under_the_name_of_node_and_replica():
    asked = Asked(lambda self, **kwargs: {"internal_parameter": 20.0}, name="executor0/rep-1")
    response = asked.response(texts("a"), node="my_executor")
    assert response.to_dict()["parameters"] == {"__results__": {"my_executor/rep-1": {"internal_parameter": 20.0}}}
    assert response.docs.texts == ["a"]


def test_a_replica_of_a_shard_tells_its_shard():
    asked = Asked(lambda self, **kwargs: {"a": 1}, name="executor0/shard-1/rep-0")
    assert asked.response(node="named").results == {"named/shard-1/rep-0": {"a": 1}}


def test_an_empty_dict_is_a_result_too():
    assert Asked(lambda self, **kwargs: {}).response(texts("a")).results == {"exec/rep-0": {}}


NONSENSE = {
    "a number": (lambda self, **kwargs: 5, "int"),
    "a text": (lambda self, **kwargs: "docs", "str"),
    "a list of texts": (lambda self, **kwargs: ["a"], "list"),
    "True": (lambda self, **kwargs: True, "bool"),
    "an array of numpy": (lambda self, **kwargs: np.zeros(3), "ndarray"),
    "a class": (lambda self, **kwargs: DocumentArray, "type"),
}


@pytest.mark.parametrize("method, told", [pytest.param(*case, id=name) for name, case in NONSENSE.items()])
def test_anything_else_is_an_error_that_names_method_and_endpoint_and_says_what_to_return(method, told):
    asked = Asked(method)
    error = asked.error(texts("a"), node="my_executor")
    assert isinstance(error, ExecutorError)
    assert error.name == "TypeError" and error.node == "my_executor"
    for words in (f"returned {told}", "(endpoint /default)", "return a DocumentArray, a Document, a dict"):
        assert words in error.description
    assert len(asked.reported) == 1


def test_a_result_that_cannot_travel_is_an_error_with_its_path():
    error = Asked(lambda self, **kwargs: {"scores": [1, {2, 3}]}).error()
    assert "results['scores'][1]" in error.description
    assert "set cannot travel; write sorted(...)" in error.description


def test_documents_that_cannot_travel_are_an_error_with_their_path():
    def method(self, docs, **kwargs):
        docs[0].tags["when"] = object()

    error = Asked(method).error(texts("a"))
    assert "[0].tags['when']" in error.description


# -- how methods are called --------------------------------------------------------------------------------------------


def test_each_endpoint_gets_the_arguments_that_it_names():
    class Several(Executor):
        @requests(on="/docs")
        def only_docs(self, docs):
            return {"got": sorted(docs.texts)}

        @requests(on="/parameters")
        def only_parameters(self, parameters):
            return {"got": parameters}

        @requests(on="/nothing")
        def nothing(self):
            return {"got": None}

        @requests(on="/all")
        def everything(self, **kwargs):
            return {"got": sorted(kwargs)}

    asked = Asked(cls=Several)
    got = {
        on: asked.response(texts("a"), on=on, parameters={"top_k": 10}).results["exec/rep-0"]["got"]
        for on in ("/docs", "/parameters", "/nothing", "/all")
    }
    assert got == {
        "/docs": ["a"],
        "/parameters": {"top_k": 10},
        "/nothing": None,
        "/all": ["docs", "docs_map", "docs_matrix", "parameters"],
    }


def test_numbers_keep_their_types_in_parameters():
    asked = Asked(lambda self, parameters, **kwargs: {key: type(value).__name__ for key, value in parameters.items()})
    results = asked.response(parameters={"a": 10, "b": 10.0, "c": True, "d": None, "e": "x"}).results
    assert results == {"exec/rep-0": {"a": "int", "b": "float", "c": "bool", "d": "NoneType", "e": "str"}}


def test_a_request_without_documents_calls_the_method_once_with_none():
    seen: list[int] = []
    asked = Asked(lambda self, docs, **kwargs: seen.append(len(docs)))
    assert len(asked.response().docs) == 0
    assert len(asked.response(DocumentArray()).docs) == 0
    assert seen == [0, 0]


def test_a_method_of_one_document_is_called_for_each_in_their_order():
    def method(self, doc, parameters, **kwargs):
        doc.text += parameters["suffix"]

    response = Asked(method).response(texts("a", "b"), parameters={"suffix": "!"})
    assert response.docs.texts == ["a!", "b!"]


def test_a_method_of_one_document_may_give_another_or_several_or_none_for_it():
    def method(self, doc):
        return {"a": Document(text="A"), "b": [doc, Document(text="B")], "c": DocumentArray(), "d": None}[doc.text]

    assert Asked(method).response(texts("a", "b", "c", "d")).docs.texts == ["A", "b", "B", "d"]


def test_a_dict_for_one_document_is_refused_and_not_dropped_in_silence():
    error = Asked(lambda self, doc: {"a": 1}).error(texts("a"))
    assert "returned a dict" in error.description and "docs" in error.description


def test_a_method_of_one_document_is_not_called_without_documents():
    seen: list[Document] = []
    assert len(Asked(lambda self, doc: seen.append(doc)).response().docs) == 0
    assert seen == []


def test_an_asynchronous_method_is_awaited_and_keeps_its_loop():
    loops = []

    async def method(self, docs, **kwargs):
        await asyncio.sleep(0)
        loops.append(asyncio.get_running_loop())
        docs[0].text = "awaited"

    asked = Asked(method)
    for _ in range(2):
        assert asked.response(texts("a")).docs.texts == ["awaited"]
    assert loops[0] is loops[1]
    asked.user_code.close()
    assert loops[0].is_closed()
    asked.user_code.close()


def test_an_asynchronous_method_of_one_document():
    async def method(self, doc, **kwargs):
        await asyncio.sleep(0)
        return Document(text=doc.text.upper())

    asked = Asked(method)
    assert asked.response(texts("a", "b")).docs.texts == ["A", "B"]
    asked.user_code.close()


def test_tasks_that_a_method_left_running_end_with_the_process():
    """Their `finally` runs, and nobody is told on stderr that they were destroyed."""
    ended: list[str] = []

    async def background() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("background")

    async def method(self, **kwargs):
        self.task = asyncio.ensure_future(background())
        await asyncio.sleep(0)

    asked = Asked(method)
    asked.response()
    asked.user_code.close()
    assert ended == ["background"]


# -- branches ----------------------------------------------------------------------------------------------------------


def test_a_join_sees_its_branches_in_their_order_and_by_name():
    seen = {}

    def method(self, docs, docs_matrix, docs_map, **kwargs):
        seen["matrix"] = [branch.texts for branch in docs_matrix]
        seen["map"] = {name: branch.texts for name, branch in docs_map.items()}
        seen["docs"] = docs.texts

    Asked(method).response(texts("z"), texts("a", "b"), labels="second first")
    assert seen == {
        "matrix": [["z"], ["a", "b"]],
        "map": {"second": ["z"], "first": ["a", "b"]},
        "docs": ["z", "a", "b"],
    }
    assert list(seen["map"]) == ["second", "first"]


def test_each_branch_of_a_join_is_its_own_copy():
    def method(self, docs_matrix, **kwargs):
        docs_matrix[0][0].text = "changed"
        return docs_matrix[1]

    assert Asked(method).response(texts("a"), texts("a"), labels="one two").docs.texts == ["a"]


def test_a_join_reduces_by_id_and_the_left_most_value_wins():
    left = DocumentArray([Document(id="1", text="left"), Document(id="2")])
    late = Document(id="1", text="late", tags={"a": 1})
    right = DocumentArray([Document(id="2", text="right"), late, Document(id="3")])
    docs = Asked(lambda self, docs, **kwargs: None).response(left, right, labels="one two").docs
    assert docs.ids == ["1", "2", "3"]
    assert docs.texts == ["left", "right", ""]
    assert docs[0].tags == {"a": 1}


def test_a_join_that_must_not_reduce_appends():
    asked = Asked(lambda self, docs, **kwargs: None)
    assert asked.response(texts("a"), texts("a"), labels="one two", flags=NO_REDUCE).docs.texts == ["a", "a"]


def test_shards_of_one_branch_are_one_branch():
    seen = {}

    def method(self, docs_map, **kwargs):
        seen.update({name: branch.texts for name, branch in docs_map.items()})

    Asked(method).response(texts("a"), texts("b"), texts("z"), labels="shards shards other")
    assert seen == {"shards": ["a", "b"], "other": ["z"]}


# -- parameters --------------------------------------------------------------------------------------------------------


def test_parameters_are_taken_apart_by_the_name_of_the_node_and_the_names_of_the_flow():
    asked = Asked(lambda self, parameters, **kwargs: parameters)
    response = asked.response(parameters={"a__x": 1, "b__x": 2, "x": 0}, node="b", nodes=["a", "b"])
    assert response.results == {"b/rep-0": {"x": 2}}


def test_the_name_of_the_process_is_taken_where_no_node_is_told():
    asked = Asked(lambda self, parameters, **kwargs: parameters, name="exec/rep-0")
    assert asked.response(parameters={"exec__x": 1}).results == {"exec/rep-0": {"x": 1}}


# -- nobody answers ----------------------------------------------------------------------------------------------------


def test_an_endpoint_that_nobody_answers_passes_the_documents_on_unopened():
    """Given frames that are no documents at all, then they leave as the same objects, and parameters do not."""
    documents = part(DOCUMENTS, "gateway", [b"never opened", b"x" * 9])
    shard = part(DOCUMENTS, "other", [b"nor this"], shard=3)
    outcome = Asked(cls=Executor).ask_parts([documents, part(PARAMETERS, "", [b"\x80"]), shard], on="/unknown")
    assert outcome.kind is Kind.REPLY
    assert outcome.parts == [documents, shard]
    assert all(mine is theirs for mine, theirs in zip(outcome.parts[0].frames, documents.frames))


def test_the_default_method_answers_what_nobody_names_and_the_empty_endpoint():
    asked = Asked(lambda self, docs, **kwargs: texts("default"))
    for on in ("", "/", "/default", "/whatever"):
        assert asked.response(texts("a"), on=on).docs.texts == ["default"]


# -- requests that cannot be read --------------------------------------------------------------------------------------

MALFORMED = {
    "documents that are no msgpack": [part(DOCUMENTS, "gateway", [b"\xc1"])],
    "documents that are no table": [part(DOCUMENTS, "gateway", [b"\x93\1\2\3"])],
    "documents without a body": [Part(DOCUMENTS, "gateway", None, [], [])],
    "a table that lacks its ids": [part(DOCUMENTS, "gateway", [encode_map({"n": 3})])],
    "one buffer too many": [part(DOCUMENTS, "gateway", [*encode_documents(texts("a")), b"more"])],
    "the second branch": [
        part(DOCUMENTS, "one", encode_documents(texts("a"))),
        part(DOCUMENTS, "two", [b"\xc1"]),
    ],
    "parameters that are no map": [part(PARAMETERS, "", [b"\x01"])],
    "parameters that are no msgpack": [part(PARAMETERS, "", [b"\xc1"])],
}


@pytest.mark.parametrize("parts", [pytest.param(parts, id=name) for name, parts in MALFORMED.items()])
def test_what_cannot_be_read_is_the_callers_fault_and_reaches_no_user_code(parts):
    called: list[bool] = []
    asked = Asked(lambda self, docs, parameters, **kwargs: called.append(True))
    outcome = asked.ask_parts(parts, node="my_executor")
    assert outcome.kind is Kind.FAILURE and outcome.flags & NOT_STARTED
    error = error_of(outcome)
    assert isinstance(error, InvalidRequest) and not error.maybe_executed
    assert str(error).startswith("my_executor: ")
    assert called == [] and asked.reported == []


# -- exceptions --------------------------------------------------------------------------------------------------------


def _raise() -> None:
    raise NotImplementedError("no time for it")


def _bad_method() -> Method:
    def method(self, docs, **kwargs):
        _raise()

    return method


def _bad_async_method() -> Method:
    async def method(self, docs, **kwargs):
        await asyncio.sleep(0)
        _raise()

    return method


def _bad_decorated_method() -> Method:
    inner = _bad_method()

    @functools.wraps(inner)
    def method(self, **kwargs):
        return inner(self, **kwargs)

    return method


BAD = {
    "a method": _bad_method,
    "async": _bad_async_method,
    "for each doc": lambda: lambda self, doc: _raise(),
    "decorated": _bad_decorated_method,
}


def test_an_exception_is_told_with_everything_that_helps():
    asked = Asked(BAD["a method"](), name="executor0/rep-0")
    outcome = asked.ask(texts("a"), node="my_executor")
    assert outcome.kind is Kind.FAILURE and outcome.flags & MAYBE_EXECUTED
    error = error_of(outcome)
    assert isinstance(error, ExecutorError)
    assert (error.node, error.peer, error.name) == ("my_executor", "executor0/rep-0", "NotImplementedError")
    assert error.description == "NotImplementedError('no time for it')"
    assert error.args[0] == "my_executor (executor0/rep-0) raised NotImplementedError('no time for it')"
    assert [type(reported) for reported in asked.reported] == [NotImplementedError]


def test_after_an_exception_the_next_request_is_served():
    def method(self, docs, **kwargs):
        if docs[0].text == "bad":
            raise ValueError(docs[0].text)

    asked = Asked(method)
    assert asked.error(texts("bad")).description == "ValueError('bad')"
    assert asked.response(texts("good")).docs.texts == ["good"]


@pytest.mark.parametrize("make", [pytest.param(make, id=name) for name, make in BAD.items()])
def test_the_traceback_begins_in_the_users_code_and_ends_at_the_users_line(make):
    asked = Asked(make())
    told = asked.error(texts("a")).traceback
    asked.user_code.close()
    first, *lines = told.strip().splitlines()
    assert first == "Traceback (most recent call last):"
    assert lines[0].startswith(f'  File "{__file__}", line ')
    assert lines[-1] == "NotImplementedError: no time for it"
    assert "zflow/drivers" not in told and "asyncio" not in told


def test_the_traceback_tells_the_cause_too():
    def method(self, **kwargs):
        try:
            {}["missing"]
        except KeyError as error:
            raise RuntimeError("wrapped") from error

    told = Asked(method).error().traceback
    assert "KeyError: 'missing'" in told and "direct cause" in told and "RuntimeError: wrapped" in told


class Unspeakable(Exception):
    """An exception that breaks whoever looks at it."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    __str__ = __repr__


def test_an_exception_that_cannot_be_shown_is_told_by_its_name():
    def method(self, **kwargs):
        raise Unspeakable

    error = Asked(method).error()
    assert isinstance(error, ExecutorError)
    assert error.name == "Unspeakable" and "Unspeakable" in error.description


def test_an_exception_of_endless_words_is_told_shortened():
    def method(self, **kwargs):
        raise ValueError("x" * 10_000_000)

    outcome = Asked(method).ask()
    assert sum(len(frame) for item in outcome.parts for frame in item.frames) < 2_000_000
    assert "characters left out" in error_of(outcome).traceback


def test_an_exception_whose_words_are_no_unicode_is_told_all_the_same():
    def method(self, **kwargs):
        raise ValueError("lone \ud800 surrogate")

    assert "surrogate" in Asked(method).error().description


@pytest.mark.parametrize("kind", [asyncio.CancelledError, GeneratorExit, BaseException])
def test_only_what_must_end_the_process_is_let_through(kind):
    """A task that was cancelled inside a method is that method's failure, not the end of its worker."""

    def method(self, **kwargs):
        raise kind("inner")

    asked = Asked(method)
    assert asked.error().name == kind.__name__
    assert len(asked.reported) == 1


@pytest.mark.parametrize("is_async", [False, True])
def test_a_method_that_ends_the_process_fails_instead(is_async):
    def method(self, **kwargs):
        sys.exit(3)

    async def async_method(self, **kwargs):
        sys.exit(3)

    asked = Asked(async_method if is_async else method)
    error = asked.error()
    assert (error.name, error.description) == ("SystemExit", "SystemExit(3)")
    assert "a method cannot end its process: raise an exception that says what is wrong" in str(error)
    assert len(asked.reported) == 1
    asked.user_code.close()


@pytest.mark.parametrize("is_async", [False, True])
def test_ctrl_c_passes_through(is_async):
    def method(self, **kwargs):
        raise KeyboardInterrupt

    async def async_method(self, **kwargs):
        raise KeyboardInterrupt

    asked = Asked(async_method if is_async else method)
    with pytest.raises(KeyboardInterrupt):
        asked.ask()
    assert asked.reported == []
    asked.user_code.close()


def test_results_are_a_part_of_their_own_behind_the_documents():
    outcome = Asked(lambda self, **kwargs: {"a": 1}).ask(texts("a"), node="n")
    assert [(item.kind, item.label) for item in outcome.parts] == [(DOCUMENTS, "n"), (RESULTS, "n/rep-0")]


def test_arrays_that_pass_through_a_method_are_not_copied_on_the_way_in():
    matrix = np.arange(40_000, dtype="f4").reshape(4, 10_000)
    asked = Asked(lambda self, docs, **kwargs: {"sum": float(docs.tensors.sum())})
    docs = DocumentArray([Document(tensor=row) for row in matrix])
    response = asked.response(docs)
    assert response.results["exec/rep-0"]["sum"] == pytest.approx(float(matrix.sum()))
    assert (response.docs.tensors == matrix).all()


# -- conditions --------------------------------------------------------------------------------------------------------


def when(query: dict[str, Any]) -> dict[str, Any]:
    return {"!when": [[encode_condition(query), None]]}


NOT_A = when({"text": {"$neq": "a"}})


def test_a_method_sees_only_the_documents_that_meet_the_condition_and_they_alone_go_on():
    asked = Asked(lambda self, docs, **kwargs: {"seen": docs.texts})
    response = asked.response(texts("a", "b", "c"), **NOT_A)
    assert response.results == {"exec/rep-0": {"seen": ["b", "c"]}}
    assert response.docs.texts == ["b", "c"]


def test_the_condition_holds_in_every_branch_before_they_are_put_together():
    def method(self, docs, docs_map, docs_matrix, **kwargs):
        return {"map": {name: docs.texts for name, docs in docs_map.items()}, "docs": docs.texts}

    response = Asked(method).response(texts("a", "b"), texts("a"), texts("c", "a"), labels="x y z", **NOT_A)
    assert response.results["exec/rep-0"] == {"map": {"x": ["b"], "y": [], "z": ["c"]}, "docs": ["b", "c"]}


def test_where_no_document_meets_the_condition_nothing_is_called():
    called = []
    asked = Asked(lambda self, docs, **kwargs: called.append(docs))
    assert len(asked.response(texts("a", "a"), **NOT_A).docs) == 0
    assert called == []


def test_a_request_without_documents_calls_the_method_once_all_the_same():
    called = []
    asked = Asked(lambda self, docs, **kwargs: called.append(len(docs)))
    asked.response(texts(), **NOT_A)
    asked.response(**NOT_A)
    assert called == [0, 0]


def test_where_nothing_answers_the_endpoint_the_documents_that_meet_the_condition_go_on():
    class Silent(Executor):
        @requests(on="/other")
        def other(self, **kwargs): ...

    response = Asked(cls=Silent).response(texts("a", "b"), texts("c"), labels="x y", **NOT_A)
    assert response.docs.texts == ["b", "c"]


@pytest.mark.parametrize("wrong", ["text", [], [[b"\xc1", None]], [[b"\x80", [5]]]], ids=repr)
def test_what_is_no_condition_is_refused_as_not_started(wrong):
    called = []
    asked = Asked(lambda self, docs, **kwargs: called.append(docs))
    outcome = asked.ask(texts("a"), **{"!when": wrong})
    assert (outcome.kind, outcome.flags, called) == (Kind.FAILURE, NOT_STARTED, [])
    assert isinstance(error_of(outcome), InvalidRequest)
    assert asked.reported == []


# -- what is noted -----------------------------------------------------------------------------------------------------


class Peeking(Executor):
    """Each endpoint notes what a process after its death would be told."""

    def peek(self):
        with open(self.path, "rb") as note:
            self.seen = calls_in(note.read())

    @requests(on="/sync")
    def sync(self, **kwargs):
        self.peek()

    @requests(on="/async")
    async def asynchronous(self, **kwargs):
        await asyncio.sleep(0)
        self.peek()

    @requests(on="/stream")
    def stream(self, **kwargs):
        yield Document()
        self.peek()

    @requests(on="/fail")
    def fail(self, **kwargs):
        self.peek()
        raise ValueError


@pytest.mark.parametrize(
    ("on", "more"), [("/sync", {}), ("/async", {}), ("/stream", {}), ("/stream", {"partial": True}), ("/fail", {})]
)
def test_what_runs_is_noted_until_its_outcome_is_known(tmp_path, on, more):
    executor = Peeking()
    executor.path = str(tmp_path / "a.note")
    noted = Note(executor.path)
    user_code = UserCode(executor, name="exec/rep-0", report=lambda error: None, noted=noted)
    woken = threading.Event()
    user_code.attach(wake=woken.set, look=lambda: None)
    said = user_code(Message(Kind.REQUEST, CALL, on, extra=more))
    while said is None or said.kind is Kind.PARTIAL:
        assert user_code.is_ready or woken.wait(5.0)
        woken.clear()
        said = user_code.step()
    user_code.close()
    assert executor.seen == [CALL]
    noted.close()
    assert not os.path.exists(executor.path), "there was nothing left to be told"


def test_a_call_that_ends_the_process_stays_noted(tmp_path):
    def method(self, **kwargs):
        raise SystemExit(1)

    executor = type("Ending", (Executor,), {"method": requests(method)})()
    noted = Note(str(tmp_path / "a.note"))
    with pytest.raises(SystemExit):
        UserCode(executor, name="exec/rep-0", report=print, noted=noted)(Message(Kind.REQUEST, CALL, "/"))
    noted.close()
    assert Note(noted.path).deaths == [CALL]
