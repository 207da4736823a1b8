"""Which requests run is known where user code runs, and nowhere else."""

from __future__ import annotations

import contextvars
import threading

from zflow.drivers.running import id_of, note, requests_at_work
from zflow.wire.header import Kind, Message

STEP = Message(Kind.REQUEST, b"s" * 16, extra={"request": b"q" * 16})
ALONE = Message(Kind.REQUEST, b"a" * 16)


def test_a_step_is_known_by_the_request_that_it_is_a_step_of() -> None:
    assert (id_of(STEP), id_of(ALONE)) == (b"q" * 16, b"a" * 16)
    assert id_of(Message(Kind.REQUEST, b"a" * 16, extra={"request": "no bytes"})) == b"a" * 16


def test_what_is_noted_holds_until_something_else_is() -> None:
    def noting() -> None:
        assert requests_at_work() == []
        note(STEP, ALONE)
        assert requests_at_work() == [(b"q" * 16).hex(), (b"a" * 16).hex()]
        note()
        assert requests_at_work() == []

    contextvars.copy_context().run(noting)


def test_another_thread_works_on_its_own() -> None:
    seen: list[list[str]] = []

    def noting() -> None:
        note(STEP)
        thread = threading.Thread(target=lambda: seen.append(requests_at_work()))
        thread.start()
        thread.join()

    contextvars.copy_context().run(noting)
    assert seen == [[]]
