"""Pieces of an answer that wait go on as one message, in their order, and are told apart by who takes them."""

from __future__ import annotations

import pytest

from zflow.errors import ProtocolError
from zflow.wire.frames import DOCUMENTS, MAX_PARTS, RESULTS, part
from zflow.wire.header import Kind, Message, decode, encode
from zflow.wire.pieces import MOST, SMALL, Gathering, apart, as_taken

ID, OTHER = b"1" * 16, b"2" * 16


def piece(*texts: str, call_id: bytes = ID) -> Message:
    parts = [part(RESULTS if text.isupper() else DOCUMENTS, "writer", [text.encode()]) for text in texts]
    return Message(Kind.PARTIAL, call_id, parts=parts)


def gathered(first: Message, *others: Message) -> Message:
    gathering = Gathering(first)
    assert all(gathering.takes(other) for other in others)
    return gathering.whole()


def test_one_alone_goes_on_as_it_came():
    alone = piece("a")
    assert gathered(alone) is alone
    assert apart(alone) == [alone]


def test_several_are_one_message_and_apart_again_what_they_were():
    pieces = [piece("a"), piece("b", "RESULT"), piece("RESULT"), piece("c")]
    whole = gathered(*pieces)
    assert whole.extra == {"pieces": [1, 2, 1, 1]}
    assert apart(decode(encode(whole))) == pieces


def test_what_was_gathered_before_is_gathered_again():
    pieces = [piece(text) for text in "abcdef"]
    assert apart(gathered(gathered(*pieces[:2]), pieces[2], gathered(*pieces[3:]))) == pieces


@pytest.mark.parametrize(
    "other",
    [piece("b", call_id=OTHER), Message(Kind.REPLY, ID), Message(Kind.FAILURE, ID), Message(Kind.STATUS)],
    ids=["another call", "outcome", "failure", "status"],
)
def test_what_is_no_piece_of_the_same_call_does_not_go_with_it(other):
    gathering = Gathering(piece("a"))
    assert not gathering.takes(other)
    assert gathering.whole() == piece("a")


@pytest.mark.parametrize(
    ("of", "fit"),
    [
        (piece("a"), MOST),
        (piece("x" * (SMALL // 4)), 4),
        (piece("x" * SMALL), 1),
        (piece("x" * 10 * SMALL), 1),
        (piece(*"a" * (MAX_PARTS // 2)), 2),
    ],
    ids=["many", "larger", "as large as they may be", "too large for company", "of many parts"],
)
def test_no_more_go_together_than_pays(of, fit):
    gathering = Gathering(of)
    taken = 1
    while gathering.takes(of):
        taken += 1
    assert taken == fit
    assert len(apart(decode(encode(gathering.whole())))) == fit


def test_who_does_not_say_that_it_tells_pieces_apart_is_sent_one_each():
    whole = gathered(piece("a"), piece("b"))
    assert as_taken(whole, Message(Kind.REQUEST, ID, extra={"partial": True})) == [piece("a"), piece("b")]
    assert as_taken(whole, Message(Kind.REQUEST, ID, extra={"partial": True, "gathered": True})) == [whole]


@pytest.mark.parametrize("counts", [[], [1], [1, 1, 1], [2, 0], [3, -1], [True, 1], [1.0, 1.0], ["1", "1"], [[1], 1]])
def test_counts_that_are_not_those_of_the_parts_cannot_be_read(counts):
    message = Message(Kind.PARTIAL, ID, parts=piece("a", "b").parts, extra={"pieces": counts})
    with pytest.raises(ProtocolError, match="do not add up"):
        decode(encode(message))
