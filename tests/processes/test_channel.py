"""Words and descriptors between two ends, in one process."""

from __future__ import annotations

import itertools
import os
import select
import socket
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zflow.errors import ConfigError
from zflow.processes.channel import Channel, parent_descriptor

Pair = tuple[Channel, Channel]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ends = socket.socketpair()
    here, there = Channel(ends[0]), Channel(ends[1])
    yield here, there
    here.close()
    there.close()


def test_words_arrive_whole_and_in_order(pair: Pair) -> None:
    here, there = pair
    here.send({"a": 1})
    here.send({"b": [b"\0", "x", None, {"c": 1.5}]})
    assert there.receive() == [{"a": 1}, {"b": [b"\0", "x", None, {"c": 1.5}]}]
    assert there.receive() == []


def test_one_at_a_time_leaves_the_rest_for_later(pair: Pair) -> None:
    here, there = pair
    for number in range(3):
        here.send({"number": number})
    assert there.receive(most=1) == [{"number": 0}]
    assert there.receive(most=1) == [{"number": 1}]
    here.close()
    assert there.receive() == [{"number": 2}]
    with pytest.raises(EOFError):
        there.receive()


def test_what_the_socket_does_not_take_waits_and_nobody_is_blocked(pair: Pair) -> None:
    here, there = pair
    large = os.urandom(3_000_000)
    here.send({"large": large})
    here.send({"small": 1})
    assert here.is_waiting_to_send
    assert not here.flush()
    got: list[dict[str, object]] = []
    while len(got) < 2:
        here.flush()
        got += there.receive()
    assert got == [{"large": large}, {"small": 1}]
    assert not here.is_waiting_to_send


def test_flush_waits_for_a_slow_reader_when_asked_to(pair: Pair) -> None:
    here, there = pair
    got: list[dict[str, object]] = []

    def read() -> None:
        while not got:
            there.wait(5.0)
            got.extend(there.receive())

    reader = threading.Thread(target=read)
    here.send({"large": bytes(3_000_000)})
    reader.start()
    assert here.flush(timeout=5.0)
    reader.join(5.0)
    assert got == [{"large": bytes(3_000_000)}]


def test_descriptors_travel_with_their_message_and_are_closed_here(pair: Pair) -> None:
    here, there = pair
    pipes = [os.pipe() for _ in range(3)]
    for number, (_, writing) in enumerate(pipes):
        here.send({"number": number}, [writing])
        with pytest.raises(OSError):
            os.fstat(writing)
    assert [words["number"] for words in there.receive()] == [0, 1, 2]
    for number, (reading, _) in enumerate(pipes):
        received = there.received_fd()
        assert not os.get_inheritable(received)
        os.write(received, str(number).encode())
        os.close(received)
        assert os.read(reading, 10) == str(number).encode()
        assert os.read(reading, 10) == b""  # no other copy was left open
        os.close(reading)


def test_the_last_words_of_the_dead_are_heard_before_the_end(pair: Pair) -> None:
    here, there = pair
    here.send({"last": "words"})
    here.close()
    assert there.receive() == [{"last": "words"}]
    with pytest.raises(EOFError):
        there.receive()


def test_speaking_to_the_dead_is_no_error(pair: Pair) -> None:
    here, there = pair
    there.close()
    reading, writing = os.pipe()
    here.send({"nobody": "hears"}, [writing])
    assert not here.is_waiting_to_send
    assert os.read(reading, 1) == b""  # the descriptor was closed all the same
    os.close(reading)
    with pytest.raises(EOFError):
        here.receive()


def test_closing_closes_what_was_never_collected() -> None:
    ends = socket.socketpair()
    here, there = Channel(ends[0]), Channel(ends[1])
    reading, writing = os.pipe()
    here.send({"take": "this"}, [writing])
    there.receive()
    there.close()
    assert os.read(reading, 1) == b""
    os.close(reading)
    here.close()


def test_words_that_cannot_be_packed_are_refused(pair: Pair) -> None:
    with pytest.raises(ConfigError, match="too large"):
        pair[0].send({"number": 2**70})


WORDS = st.dictionaries(st.text(max_size=5), st.binary(max_size=300), max_size=3)


@given(st.lists(WORDS, max_size=8), st.lists(st.integers(1, 400), min_size=1))
def test_any_way_of_cutting_the_stream_gives_the_same_words(messages: list[dict[str, bytes]], cuts: list[int]) -> None:
    sending, recording = socket.socketpair()
    recorder = Channel(sending)
    for words in messages:
        recorder.send(words)
    recorder.close()
    stream = b""
    while piece := recording.recv(65536):
        stream += piece
    recording.close()

    raw, end = socket.socketpair()
    reader = Channel(end)
    got: list[dict[str, object]] = []
    for size in itertools.cycle(cuts):
        if not stream:
            break
        raw.sendall(stream[:size])
        stream = stream[size:]
        got += reader.receive()
    raw.close()
    reader.close()
    assert got == messages


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="this system cannot tell of a parent's end by a descriptor")
def test_the_parents_end_is_told_by_a_descriptor() -> None:
    reading, writing = os.pipe()
    parent = os.fork()
    if not parent:  # a parent that waits for a word, with a child that watches it
        if not os.fork():
            watched = parent_descriptor()
            assert watched is not None
            os.write(writing, b"watching")
            found = select.select([watched], [], [], 10.0)[0]
            os.write(writing, b"it ended" if found else b"nothing")
            os._exit(0)
        os.read(reading, 8)
        os._exit(0)
    os.waitpid(parent, 0)
    assert os.read(reading, 8) == b"it ended"
    os.close(reading)
    os.close(writing)


def test_what_was_only_looked_at_is_still_there() -> None:
    ours, theirs = socket.socketpair()
    here, there = Channel(ours), Channel(theirs)
    try:
        assert here.peek() == []
        big = {"plan": b"x" * 1_000_000}
        there.send(big)
        seen: list[dict[str, object]] = []
        while not seen:
            there.flush()
            seen = here.peek()
        there.send({"stop": 1})
        assert here.peek() == [big, {"stop": 1}] == here.peek()
        assert here.receive(most=1) == [big]
        assert here.peek() == [{"stop": 1}] == here.receive()
        there.close()
        with pytest.raises(EOFError):
            here.peek()
    finally:
        here.close()
        there.close()


@pytest.mark.parametrize("data", [b"\xff" * 64, b"\0\0\0\1\xc1", b"\0\0\0\1\x05", (1 << 10).to_bytes(4, "big")])
def test_who_sends_too_much_or_no_message_is_as_good_as_gone(data: bytes) -> None:
    ours, theirs = socket.socketpair()
    channel = Channel(ours, most=512)
    theirs.sendall(data)
    with pytest.raises(EOFError):
        channel.receive()
    channel.close()
    theirs.close()
