"""A request goes all the way through the roles and comes back as the answer to its question."""

from __future__ import annotations

import pytest

from bench import roles
from zflow.wire.header import Kind


@pytest.mark.parametrize(("shape", "expected"), [("one", 1), ("row", 1), ("branches", 1)])
def test_every_shape_answers_every_question_with_documents(shape, expected):
    ask = roles.ask_through(shape)
    for _ in range(3):
        [(question, reply)] = ask()
        assert question is None
        assert (reply.kind, len(reply.parts)) == (Kind.REPLY, expected)
