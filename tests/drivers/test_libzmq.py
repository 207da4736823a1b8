"""The libzmq that the tests run with can do what zflow needs."""

import zmq

from zflow.drivers.libzmq import libzmq


def test_it_is_asked_not_guessed() -> None:
    found = libzmq()
    assert (found.version, found.pyzmq) == (zmq.zmq_version(), zmq.__version__)
    assert found.is_new_enough and found.has_ipc and found.has_curve == zmq.has("curve")
    assert found.has_draft == zmq.has("draft")


def test_one_that_knows_no_heartbeats_is_too_old(monkeypatch) -> None:
    monkeypatch.setattr(zmq, "zmq_version_info", lambda: (4, 1, 9))
    assert not libzmq().is_new_enough
