"""A batch in one call: each request gets its own Documents back, and its own fault, and nobody else's."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import FunctionType
from typing import Any

import numpy as np
import pytest

from zflow.batching import dynamic_batching
from zflow.documents.document import Document
from zflow.documents.document_array import DocumentArray
from zflow.drivers import invocation
from zflow.drivers.batch_code import BatchCode, local_end
from zflow.drivers.note import Note, calls_in
from zflow.drivers.user_code import UserCode
from zflow.errors import Cancelled, ExecutorError, InvalidRequest, RemoteError
from zflow.executor import Executor, requests
from zflow.response import error_of
from zflow.roles.contract import Batch, Owed
from zflow.wire.conditions import WHEN, encode_condition
from zflow.wire.frames import DOCUMENTS, PARAMETERS, Part, part
from zflow.wire.header import MAYBE_EXECUTED, NO_REDUCE, NOT_STARTED, Kind, Message
from zflow.wire.payload import decode_documents, encode_documents, encode_map

Metric = Any  # a function of a Document
Method = Any  # a function; each test has a copy of it, for decorators to mark


def call(number: int) -> bytes:
    return number.to_bytes(16, "big")


def texts(*values: str) -> DocumentArray:
    return DocumentArray([Document(id=value, text=value) for value in values])


def brought(documents: DocumentArray, label: str = "gateway") -> Part:
    return part(DOCUMENTS, label, encode_documents(documents))


class Asked:
    """An Executor whose batched method is `method`. calls: how many Documents each call of it was given."""

    def __init__(self, method: Method, **options: Any) -> None:
        self.calls: list[int] = []
        own = FunctionType(method.__code__, method.__globals__, method.__name__, None, method.__closure__)
        batched = dynamic_batching(**options)(requests(on="/batched")(own))
        executor = type("Asked", (Executor,), {"method": batched, "calls": self.calls})()
        self.reported: list[BaseException] = []
        self.code = BatchCode(executor, name="exec/rep-0", report=self.reported.append)

    def ask(
        self, *members: DocumentArray | Sequence[Part], more_extra: dict[str, Any] | None = None, **more: Any
    ) -> list[Message]:
        """The outcomes of requests with these Documents, or parts, that run as one."""
        asked = [
            Message(
                Kind.REQUEST,
                call(number),
                "/batched",
                parts=[brought(given)] if isinstance(given, DocumentArray) else given,
                extra={"node": "exec", "nodes": ["exec"]},
                **more,
            )
            for number, given in enumerate(members)
        ]
        for message in asked:
            message.extra.update(more_extra or {})
        outcomes = self.code(Batch(asked))
        assert isinstance(outcomes, Batch)
        assert [outcome.call_id for outcome in outcomes.members] == [message.call_id for message in asked]
        return sent(outcomes)

    def answers(self, *members: DocumentArray | Sequence[Part], **more: Any) -> list[DocumentArray]:
        """The Documents of each; all of them must have succeeded."""
        return [documents_of(outcome) for outcome in self.ask(*members, **more)]


def sent(outcomes: Message | None) -> list[Message]:
    """The outcomes as they leave."""
    assert isinstance(outcomes, Batch)
    return [outcome.make() if isinstance(outcome, Owed) else outcome for outcome in outcomes.members]


def documents_of(outcome: Message) -> DocumentArray:
    assert outcome.kind is Kind.REPLY, error_of(outcome)
    [told] = outcome.parts
    assert told.label == "exec"
    return decode_documents(told.buffers())


def documents_of_any(outcome: Message) -> DocumentArray:
    """The Documents of a REPLY, of whatever label."""
    [told] = outcome.parts
    return decode_documents(told.buffers())


def error(outcome: Message) -> RemoteError:
    assert outcome.kind is Kind.FAILURE
    return error_of(outcome)


def shout(self, docs, **kwargs):
    self.calls.append(len(docs))
    for doc in docs:
        doc.text = doc.text.upper()


def test_only_who_batches_something_pays_for_it():
    class Single(Executor):
        @requests
        def method(self, docs, **kwargs): ...

    table = {"method": {"timeout": 1}}
    assert type(local_end(Single(), name="exec/rep-0", report=print)) is UserCode
    assert type(local_end(Single(dynamic_batching=table), name="exec/rep-0", report=print)) is BatchCode


# -- one call ----------------------------------------------------------------------------------------------------------


def test_the_documents_of_all_are_given_in_one_call_and_each_gets_its_own_back():
    asked = Asked(shout)
    answers = asked.answers(texts("a", "b"), texts("c"), texts("d", "e", "f"))
    assert [answer.texts for answer in answers] == [["A", "B"], ["C"], ["D", "E", "F"]]
    assert [answer.ids for answer in answers] == [["a", "b"], ["c"], ["d", "e", "f"]]
    assert asked.calls == [6]


def test_documents_of_one_id_in_two_requests_stay_two():
    answers = Asked(shout).answers(texts("a"), texts("a"))
    assert [answer.texts for answer in answers] == [["A"], ["A"]]


RETURNED = {
    "a new array": lambda self, docs, **kwargs: DocumentArray([Document(text=text * 2) for text in docs.texts]),
    "a list": lambda self, docs, **kwargs: [Document(text=text * 2) for text in docs.texts],
    "the same": lambda self, docs, **kwargs: (setattr(docs, "texts", [text * 2 for text in docs.texts]), docs)[1],
}


@pytest.mark.parametrize("method", [pytest.param(method, id=name) for name, method in RETURNED.items()])
def test_what_is_returned_is_divided_in_the_same_order(method):
    assert [answer.texts for answer in Asked(method).answers(texts("a", "b"), texts("c"))] == [["aa", "bb"], ["cc"]]


def test_columns_stay_packed_on_the_way_in_and_out():
    seen = []

    def encode(self, docs, **kwargs):
        seen.append((docs.is_packed, docs.tensors.shape))
        docs.embeddings = docs.tensors * 2
        seen.append((docs.is_packed,))

    members = [DocumentArray([Document(tensor=np.full(3, number, "f4"))]) for number in range(64)]
    answers = Asked(encode).answers(*members)
    assert seen == [(True, (64, 3)), (True,)]
    assert [answer.embeddings.tolist() for answer in answers] == [[[2.0 * number] * 3] for number in range(64)]


def test_a_method_that_takes_anything_gets_no_matrix_of_branches():
    got = []
    Asked(lambda self, **kwargs: got.append(sorted(kwargs))).ask(texts("a"), texts("b"))
    assert got == [["docs", "parameters"]]


def test_an_async_method_is_waited_for():
    async def method(self, docs, **kwargs):
        await asyncio.sleep(0)
        docs.texts = ["x"] * len(docs)

    asked = Asked(method)
    assert [answer.texts for answer in asked.answers(texts("a"), texts("b"))] == [["x"], ["x"]]
    asked.code.close()


def test_parameters_are_those_that_the_node_sees():
    def method(self, docs, parameters):
        docs.texts = [str(parameters)] * len(docs)

    parts = [brought(texts("a")), part(PARAMETERS, "", [encode_map({"exec__top_k": 3, "other": 1})])]
    answers = Asked(method).answers(parts, parts)
    assert [answer.texts for answer in answers] == [["{'other': 1, 'top_k': 3}"]] * 2


@pytest.mark.parametrize("flags, told", [(0, ["A", "B"]), (NO_REDUCE, ["A", "B", "A"])])
def test_branches_are_joined_for_each_request_by_itself(flags, told):
    branches = [brought(texts("a", "b"), "one"), brought(texts("a"), "two")]
    first, second, third = Asked(shout).answers(branches, texts("a"), branches, flags=flags)
    assert (first.texts, second.texts, third.texts) == (told, ["A"], told)


def test_other_requests_run_as_without_batching():
    asked = Asked(lambda self, docs, **kwargs: {"seen": len(docs)})
    outcome = asked.code(Message(Kind.REQUEST, call(1), "/batched"))
    assert outcome.kind is Kind.REPLY and not isinstance(outcome, Batch)
    assert asked.code(Message(Kind.REQUEST, call(2), "/unknown", parts=[brought(texts("a"))])).kind is Kind.REPLY


# -- several calls -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "calls"),
    [([4], [4]), ([5], [4, 1]), ([9, 2, 1], [4, 4, 4]), ([12], [4, 4, 4]), ([3, 3], [4, 2]), ([1, 1], [2])],
)
def test_what_is_larger_than_a_batch_is_cut_and_put_together_again(sizes, calls):
    asked = Asked(shout, preferred_batch_size=4)
    members = [texts(*(f"{member}.{at}x" for at in range(size))) for member, size in enumerate(sizes)]
    expected = [[text.upper() for text in member.texts] for member in members]
    assert [answer.texts for answer in asked.answers(*members)] == expected
    assert asked.calls == calls


def test_flush_all_is_never_cut():
    asked = Asked(shout, preferred_batch_size=4, flush_all=True)
    assert len(asked.answers(texts(*map(str, range(50))))[0]) == 50
    assert asked.calls == [50]


def test_by_cost_a_call_takes_what_fits_and_one_document_at_least():
    asked = Asked(shout, preferred_batch_size=5, custom_metric=lambda doc: len(doc.text))
    [answer] = asked.answers(texts("aa", "bbb", "c", "ddddddd", "ee", "ff", "gg"))
    assert answer.texts == ["AA", "BBB", "C", "DDDDDDD", "EE", "FF", "GG"]
    assert asked.calls == [2, 1, 1, 2, 1]


def test_of_a_call_that_fails_only_those_suffer_whose_documents_it_had():
    def method(self, docs, **kwargs):
        self.calls.append(len(docs))
        if "bad" in docs.texts:
            raise ValueError("bad")

    asked = Asked(method, preferred_batch_size=2)
    outcomes = asked.ask(texts("a", "b", "bad", "c", "d"), texts("e"), texts("f"))
    assert error(outcomes[0]).description == "ValueError('bad')"
    assert documents_of(outcomes[1]).texts == ["e"]
    assert documents_of(outcomes[2]).texts == ["f"]
    assert asked.calls == [2, 2, 2, 1]


def test_what_nobody_waits_for_any_more_is_not_begun():
    def method(self, docs, **kwargs):
        self.calls.append(len(docs))
        raise ValueError("bad")

    asked = Asked(method, preferred_batch_size=2)
    assert [error(outcome).name for outcome in asked.ask(texts("a", "b", "c", "d", "e"))] == ["ValueError"]
    assert asked.calls == [2] and len(asked.reported) == 1


# -- what goes wrong ---------------------------------------------------------------------------------------------------


def test_an_exception_is_the_outcome_of_every_request_and_reported_once():
    def method(self, docs, **kwargs):
        raise NotImplementedError("no time for it")

    asked = Asked(method)
    outcomes = asked.ask(texts("a"), texts("b"), texts("c"))
    for outcome in outcomes:
        told = error(outcome)
        assert isinstance(told, ExecutorError) and outcome.flags & MAYBE_EXECUTED
        assert (told.node, told.peer, told.name) == ("exec", "exec/rep-0", "NotImplementedError")
        assert told.traceback.splitlines()[1].startswith(f'  File "{__file__}", line ')
    assert len(asked.reported) == 1


MALFORMED = {
    "no documents": [part(DOCUMENTS, "gateway", [b"\xc1"])],
    "a count that lies": [part(DOCUMENTS, "gateway", [encode_map({"n": 3})])],
    "parameters that are none": [brought(texts("x")), part(PARAMETERS, "", [b"\xc1"])],
}


@pytest.mark.parametrize("parts", [pytest.param(parts, id=name) for name, parts in MALFORMED.items()])
def test_a_request_that_cannot_be_read_fails_alone(parts):
    asked = Asked(shout)
    first, poisoned, last = asked.ask(texts("a"), parts, texts("b"))
    assert documents_of(first).texts == ["A"] and documents_of(last).texts == ["B"]
    assert isinstance(error(poisoned), InvalidRequest) and poisoned.flags & NOT_STARTED
    assert asked.calls == [2] and asked.reported == []


def test_where_no_request_can_be_read_nothing_is_called():
    asked = Asked(shout)
    assert [outcome.kind for outcome in asked.ask(*MALFORMED.values())] == [Kind.FAILURE] * 3
    assert asked.calls == []


def test_an_answer_that_cannot_travel_fails_alone():
    def method(self, docs, **kwargs):
        docs[1].tags["when"] = object()

    asked = Asked(method)
    first, second, third = asked.ask(texts("a"), texts("b"), texts("c"))
    assert documents_of(first).texts == ["a"] and documents_of(third).texts == ["c"]
    assert "[0].tags['when']" in error(second).args[0]
    assert len(asked.reported) == 1


WRONG = {
    "fewer": (lambda self, docs, **kwargs: docs[:1], "was given 2 Documents and made 1 of them"),
    "more": (lambda self, docs, **kwargs: docs.append(Document()), "was given 2 Documents and made 3 of them"),
    "none": (lambda self, docs, **kwargs: docs.clear(), "was given 2 Documents and made 0 of them"),
    "a dict": (lambda self, docs, **kwargs: {"a": 1}, "returned a dict, and with dynamic batching a call has the Doc"),
    "a number": (lambda self, docs, **kwargs: 5, "returned int; return a DocumentArray"),
}


@pytest.mark.parametrize("method, told", [pytest.param(*case, id=name) for name, case in WRONG.items()])
def test_what_cannot_be_divided_is_an_error_that_names_the_method(method, told):
    for outcome in Asked(method).ask(texts("a"), texts("b")):
        description = error(outcome).description
        assert told in description and "(endpoint /batched)" in description


def test_a_method_that_ends_the_process_fails_instead():
    def method(self, docs, **kwargs):
        raise SystemExit(3)

    assert [error(outcome).name for outcome in Asked(method).ask(texts("a"), texts("b"))] == ["SystemExit"] * 2


def test_ctrl_c_passes_through():
    def method(self, docs, **kwargs):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Asked(method).ask(texts("a"), texts("b"))


def test_a_cancelled_task_is_a_failure_of_the_method():
    def method(self, docs, **kwargs):
        raise asyncio.CancelledError

    assert [error(outcome).name for outcome in Asked(method).ask(texts("a"), texts("b"))] == ["CancelledError"] * 2


# -- who is not to be served any more, or not at all -------------------------------------------------------------------


def test_a_request_that_is_given_up_gets_no_further_calls():
    def method(self, docs, **kwargs):
        self.calls.append(len(docs))

    asked = Asked(method, preferred_batch_size=2)
    cancels = [Message(Kind.CANCEL, call(0)), Message(Kind.CANCEL, call(77))]
    asked.code.attach(wake=lambda: None, look=lambda: [asked.code(cancel) for cancel in cancels])
    first, second = asked.ask(texts("a", "b", "c", "d"), texts("e", "f"))
    assert (error(first).code, bool(first.flags & NOT_STARTED)) == (Cancelled.code, False)
    assert documents_of(second).texts == ["e", "f"]
    assert asked.calls == [2, 2]


def test_what_was_made_before_it_was_given_up_is_told():
    asked = Asked(shout, preferred_batch_size=2)
    asked.code.attach(wake=lambda: None, look=lambda: asked.code(Message(Kind.CANCEL, call(0))))
    assert [answer.texts for answer in asked.answers(texts("a", "b"), texts("c"))] == [["A", "B"], ["C"]]


def test_user_code_is_cancelled_when_nobody_of_the_batch_waits_any_more():
    seen = []

    def method(self, docs, **kwargs):
        for number in (0, 1):
            asked.code(Message(Kind.CANCEL, call(number)))
            seen.append(self.cancelled)

    asked = Asked(method)
    asked.ask(texts("a"), texts("b"))
    assert seen == [False, True]
    asked.ask(texts("c"))
    assert seen[2] is True  # number 0 is the only one now
    assert asked.code._executor.cancelled is False  # nothing runs any more


def test_of_each_request_only_the_documents_that_meet_its_conditions_are_given():
    when = {WHEN: [[encode_condition({"text": {"$neq": "b"}}), None]]}
    asked = Asked(shout)
    answers = [
        documents.texts for documents in map(documents_of_any, asked.ask(texts("a", "b"), texts("b"), more_extra=when))
    ]
    assert answers == [["A"], []]
    assert asked.calls == [1]


def test_what_cannot_change_any_more_is_packed_when_it_is_sent_and_anything_else_at_once():
    kept: list[DocumentArray] = []

    def bulk(self, docs, **kwargs):
        docs.texts = [text.upper() for text in docs.texts]
        kept.append(docs)

    requests = [Message(Kind.REQUEST, call(number), "/batched", parts=[brought(texts("a"))]) for number in (1, 2)]
    outcomes = Asked(bulk).code(Batch(requests))
    assert isinstance(outcomes, Batch) and all(isinstance(outcome, Owed) for outcome in outcomes.members)
    kept[0].texts = ["changed", "by the next call"]
    kept[0][0].text = "and once more"
    assert [documents_of_any(outcome).texts for outcome in sent(outcomes)] == [["A"], ["A"]]
    for request in requests:
        request.opened = None
    outcomes = Asked(shout).code(Batch(requests))
    assert isinstance(outcomes, Batch) and not any(isinstance(outcome, Owed) for outcome in outcomes.members)


# -- weighing ----------------------------------------------------------------------------------------------------------


def length(document: Document) -> float:
    return len(document.text)


def asks(*parts: Part) -> Message:
    return Message(Kind.REQUEST, call(1), "/batched", parts=parts)


def weighing(metric: Metric | None, size: int | None = 10) -> BatchCode:
    return Asked(shout, custom_metric=metric, preferred_batch_size=size).code


def test_a_request_weighs_what_its_documents_do_and_that_is_asked_once():
    asked: list[str] = []

    def metric(document):
        asked.append(document.text)
        return length(document)

    request = asks(brought(texts("a", "bbb")))
    code = weighing(metric)
    assert code.weigh(request) == 4
    code(Batch([request]))
    assert asked == ["a", "bbb"]


def test_without_a_metric_documents_count_and_are_decoded_once(monkeypatch):
    opened: list[int] = []

    def noting(buffers):
        opened.append(len(buffers))
        return decode_documents(buffers)

    monkeypatch.setattr(invocation, "decode_documents", noting)
    request = asks(brought(texts("a", "bbb")))
    code = weighing(None)
    assert code.weigh(request) == 2
    assert documents_of_any(sent(code(Batch([request])))[0]).texts == ["A", "BBB"]
    assert opened == [1]


def test_a_metric_is_never_asked_while_user_code_runs():
    assert weighing(None).has_porter
    assert not weighing(length).has_porter


def test_of_branches_the_joined_documents_count():
    parts = [brought(texts("a", "b"), "one"), brought(texts("b", "c"), "two")]
    assert weighing(None).weigh(asks(*parts)) == 3
    request = asks(*parts)
    request.flags = NO_REDUCE
    assert weighing(None).weigh(request) == 4


def test_without_documents_there_is_nothing_to_weigh():
    assert weighing(length).weigh(asks()) is None
    assert weighing(None).weigh(asks(brought(texts()))) is None


def test_what_cannot_be_read_or_is_for_others_needs_no_company():
    assert weighing(length).weigh(asks(part(DOCUMENTS, "gateway", [b"\xc1"]))) is None
    request = asks(brought(texts("a")))
    request.extra[WHEN] = [[encode_condition({"text": {"$eq": "other"}}), None]]
    assert weighing(None).weigh(request) is None


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), "3", None, [1]])
def test_a_metric_that_gives_no_number_fails_the_request_that_it_was_asked_of(value):
    def metric(document):
        return value if document.text == "odd" else 1

    assert weighing(metric).weigh(asks(brought(texts("odd")))) == 10
    assert weighing(metric, None).weigh(asks(brought(texts("odd")))) == 1
    asked = Asked(shout, custom_metric=metric)
    first, odd, last = asked.ask(texts("a"), texts("odd"), texts("b"))
    assert documents_of(first).texts == ["A"] and documents_of(last).texts == ["B"]
    assert "a number from 0 is due" in error(odd).args[0]
    assert asked.calls == [2] and len(asked.reported) == 1


def test_a_metric_that_raises_is_told_once_with_its_traceback():
    def metric(document):
        raise KeyError("no such tag")

    asked = Asked(shout, custom_metric=metric, preferred_batch_size=4)
    request = asks(brought(texts("a")))
    assert asked.code.weigh(request) == 4
    [outcome] = asked.code(Batch([request])).members
    assert error(outcome).name == "KeyError"
    assert "in metric" in error(outcome).traceback
    assert len(asked.reported) == 1 and not asked.calls


def test_all_of_a_batch_are_noted_while_it_runs(tmp_path):
    seen = []

    def method(self, docs, **kwargs):
        seen.extend(calls_in((tmp_path / "a.note").read_bytes()))

    asked = Asked(method)
    asked.code._noted = Note(str(tmp_path / "a.note"))
    asked.answers(texts("a"), texts("b"), texts("c"))
    assert sorted(seen) == [call(1), call(2)]  # an id of zeros only, as call(0) is, is nobody's in a note
    assert calls_in((tmp_path / "a.note").read_bytes()) == []
