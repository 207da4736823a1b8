"""Inputs 1 to 26: whatever bytes come to an open port, nobody dies, nothing is run, and good requests are served.

Strangers who say half of something are left where they are until the time of the handshake (or of a heartbeat) is over;
so all of them come at once, and each test looks what has become of one.
"""

from __future__ import annotations

import random
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
import zmq

from tests.hostile.door import Door, new_call, opened, rows
from tests.hostile.zmtp import (
    COMMAND,
    LONG,
    MORE,
    Raw,
    command,
    frame,
    greeting,
    http_post,
    message,
    of_version_1,
    ready,
)
from tests.support.peers import hold_until, served_by_child
from zflow.client import Client
from zflow.config import keys
from zflow.documents import Document
from zflow.drivers.sockets import new_identity
from zflow.wire.header import Kind, Message, encode

GONE_WITHIN = 12.0  # seconds: a handshake may take 3, a heartbeat goes out every second and may stay unanswered for 3
REQUEST = bytes(encode(Message(Kind.REQUEST, new_call(), "/"))[0])
HELLO = bytes(encode(Message(Kind.HELLO))[0])
NOISE = random.Random(6).randbytes(5000)


class Strangers(NamedTuple):
    """An open door, and the names of those at it who were sent away in time."""

    door: Door
    gone: set[str]


BEFORE_READY = {  # said at once
    "1 nothing": b"",
    "7 zeros": bytes(5000),
    "8 0xff": b"\xff" * 5000,
    "9 half a greeting": greeting()[:12],
    "9 a greeting that lacks a byte": greeting()[:63],
    "10 version 9.9": greeting(b"\x09\x09"),
    "10 version 9.9 that goes on": greeting(b"\x09\x09") + b"\x55" * 100,
    "12 an unknown mechanism": greeting(mechanism=b"MAGIC") + ready(),
    "12 PLAIN": greeting(mechanism=b"PLAIN") + command(b"HELLO", b"\4user\4word"),
    "12 CURVE where there are no keys": greeting(mechanism=b"CURVE") + command(b"HELLO", bytes(194)),
    "12 a mechanism that fills its place": greeting(mechanism=b"N" * 20) + ready(),
    "14 half a READY": greeting() + ready()[:10],
    "14 a READY shorter than it says": greeting() + frame(b"\5READY\x0bSocket-Type\0\0\0\6DEA", COMMAND),
    "15 a property of 2^32-1 bytes": greeting() + frame(b"\5READY\x0bSocket-Type\xff\xff\xff\xffDEALER", COMMAND),
    "15 a property of 2^31 bytes": greeting() + frame(b"\5READY\x0bSocket-Type\x80\0\0\0DEALER", COMMAND),
    "16 no socket type": greeting() + command(b"READY"),
    "16 an unknown socket type": greeting() + ready(Socket_Type=b"WEBSOCKET"),
    "16 a socket type that does not fit": greeting() + ready(Socket_Type=b"SUB"),
    "17 an identity of 300 bytes": greeting() + ready(Identity=b"i" * 300),
    "18 READY twice at once": greeting() + ready() + ready(),
    "19 reserved bits before READY": greeting() + bytes([0xFC]) + ready()[1:],
    "21 a READY of 2^62 bytes": greeting() + bytes([LONG | COMMAND]) + (1 << 62).to_bytes(8, "big") + b"\5READY",
}
AFTER_READY = {  # said by who has been answered READY
    "1 nothing after READY": b"",
    "18 READY once more": ready(),
    "19 reserved bits of a frame": bytes([0xF8, 2]) + b"xx",
    "19 a command that has more": frame(b"\4PING\0\1", COMMAND | MORE),
    "20 PING that is too short": command(b"PING"),
    "20 PING with a context of 2 kB": command(b"PING", b"\0\x0a" + b"c" * 2048),
    "20 an unknown command": command(b"SHUTDOWN", b"now"),
    "20 ERROR in the middle": command(b"ERROR", b"\5wrong"),
    "22 half a short frame": bytes([0, 200]) + b"half",
    "22 half a long frame": bytes([LONG]) + (1 << 20).to_bytes(8, "big") + b"half",
    "23 a message that does not go on": frame(b"", MORE) + frame(b"part", MORE) * 100,
    **{
        f"21 a frame of {told} bytes": bytes([LONG]) + size.to_bytes(8, "big") + b"x"
        for told, size in {"2^33": 1 << 33, "2^62": 1 << 62, "2^63": 1 << 63, "2^64-1": (1 << 64) - 1}.items()
    },
    "21 a frame of one byte too many": bytes([LONG]) + ((1 << 20) + (64 << 10) + 1).to_bytes(8, "big") + b"x",
    "21 a command of 2^62 bytes": bytes([LONG | COMMAND]) + (1 << 62).to_bytes(8, "big") + b"\4PING",
}
SLOW = "26 a byte now and then"


@pytest.fixture(scope="module")
def strangers() -> Iterator[Strangers]:
    """All who say half of something, at one open door, and one who says a byte now and then."""
    with opened() as door, ExitStack() as stack:
        port = door.served.port
        raws = {name: stack.enter_context(Raw(port, said)) for name, said in BEFORE_READY.items()}
        raws |= {name: stack.enter_context(Raw.greeted(port, said)) for name, said in AFTER_READY.items()}
        raws[SLOW] = stack.enter_context(Raw(port))
        dripping = threading.Thread(target=_drip, args=(raws[SLOW], greeting()))
        dripping.start()
        until = time.monotonic() + GONE_WITHIN
        gone = {name for name, raw in raws.items() if raw.ends(max(0.1, until - time.monotonic()))}
        dripping.join()
        yield Strangers(door, gone)


def _drip(raw: Raw, said: bytes) -> None:
    waiter = threading.Event()
    for at in range(len(said)):
        raw.say(said[at : at + 1])
        if waiter.wait(0.1):
            return


@pytest.mark.time_limit(60)
@pytest.mark.parametrize("name", rows(*[(name, name) for name in (*BEFORE_READY, *AFTER_READY, SLOW)]))
def test_who_says_half_of_something_is_sent_away_and_others_are_served(strangers: Strangers, name: str) -> None:
    assert name in strangers.gone, "still there"
    assert strangers.door.serves()


@pytest.mark.parametrize(
    "said",
    rows(
        ("2 an HTTP GET", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        ("3 an HTTP POST of a form", b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\na=1&b=2&c"),
        ("4 a TLS hello", bytes.fromhex("16030100c8010000c40303") + b"\x55" * 200),
        ("5 an SSH banner", b"SSH-2.0-OpenSSH_9.6\r\n"),
        ("6 random bytes", NOISE),
        ("11 a greeting of ZMTP/2.0 and silence", b"\xff" + bytes(8) + b"\x7f\1\5"),
    ),
)
def test_who_is_taken_for_an_old_zmtp_reaches_nothing_and_costs_a_descriptor(said: bytes) -> None:
    """Before ZMTP/3 there were no heartbeats: it may stay, as may everybody who was answered; it goes when it goes."""
    with opened() as door:
        process = psutil.Process()
        before = process.num_fds()
        with Raw(door.served.port, said):
            assert door.serves()
            hold_until(lambda: process.num_fds() in (before + 1, before + 2))  # its end, and ours, if that still is
        hold_until(lambda: process.num_fds() == before)
        assert door.serves()
        assert not door.served.role._calls  # type: ignore[attr-defined]


# -- whole messages that nobody may have sent ------------------------------------------------------------------------


WELL_FORMED = rows(
    (
        "3 an HTTP POST that holds messages",
        None,
        lambda port: http_post(port, (b"", HELLO), *[(b"", REQUEST)] * 20),
        20,
    ),
    ("11 ZMTP/1.0", None, lambda port: b"\1\0" + of_version_1((b"", HELLO)) + of_version_1((b"", REQUEST)) * 3, 3),
    ("11 ZMTP/2.0", None, lambda port: b"\xff" + bytes(8) + b"\x7f\1\5" + frame(b"") + _asked(3), 3),
    (
        "13 the as-server bit, which NULL does not look at",
        greeting(as_server=b"\1") + ready(),
        lambda port: _asked(2),
        2,
    ),
    ("13 filler that is not empty", greeting(rest=b"\xff" * 31) + ready(), lambda port: _asked(2), 2),
    ("17 an identity of ours", greeting() + ready(Identity=b"\1" * 5), lambda port: _asked(2), 2),
    ("20 PINGs of every time to live", b"", lambda port: _pings() + _asked(2), 2),
    ("24 300,000 empty frames", b"", lambda port: b"\1\0" * 300_000 + b"\0\0" + _asked(1), 2),
    ("27 an envelope without an end", b"", lambda port: message(*[b"hop"] * 40) + _asked(1), 2),
    ("27 an envelope of many hops", b"", lambda port: message(*[b"hop"] * 7, b"", REQUEST), 1),
    ("27 an envelope of one hop too many", b"", lambda port: message(*[b"hop"] * 8, b"", REQUEST), 1),
    ("29 a message of delimiters only", b"", lambda port: message(b"", b"", b"", b"") + _asked(1), 2),
)


def _asked(times: int) -> bytes:
    return message(b"", REQUEST) * times


def _pings() -> bytes:
    return b"".join(command(b"PING", ttl + bytes(16)) for ttl in (b"\0\0", b"\xff\xff", b"\0\1"))


@pytest.mark.parametrize(("opening", "said", "dropped"), WELL_FORMED)
def test_what_is_well_formed_but_does_not_know_the_nonce_is_dropped_and_counted(opening, said, dropped: int) -> None:
    """opening: greeting and READY, empty for the usual ones, None where they are part of what is said."""
    with opened() as door:
        before, port = door.dropped, door.served.port
        with Raw(port, said(port)) if opening is None else Raw.greeted(port, said(port), opening):
            hold_until(lambda: door.dropped >= before + dropped, timeout=15.0)
            assert door.serves()
        assert door.served.role._served == 1  # type: ignore[attr-defined]


# -- what costs memory -------------------------------------------------------------------------------------------------


def test_an_endless_message_costs_what_was_sent_and_no_longer_than_its_sender_lives() -> None:
    """Input 23 once more: what libzmq cannot bound, a message of many small frames, goes with who sends it."""
    sent, rounds = 16 << 20, 5
    piece = frame(bytes(16 << 10), MORE)
    with served_by_child() as (process, address), Client(address) as client:
        assert client.post("/", Document(text="before")).texts == ["before"]
        child = psutil.Process(process.pid)
        before, open_before = child.memory_info().rss, child.num_fds()
        for _ in range(rounds):
            with Raw.greeted(_port(address)) as raw:
                for _ in range(sent // len(piece)):
                    raw.say(piece)
                assert client.post("/", Document(text="during")).texts == ["during"]
            hold_until(lambda: child.num_fds() == open_before)
        assert client.post("/", Document(text="after")).texts == ["after"]
        after = child.memory_info().rss
        assert after < before + sent * (rounds - 2), f"{before} bytes grew to {after}: nothing comes back"


def test_frames_that_are_announced_cost_nothing_before_they_come() -> None:
    """Input 21 once more, of a size that is allowed."""
    announced = bytes([LONG]) + (1 << 20).to_bytes(8, "big")
    with served_by_child() as (process, address), Client(address) as client, ExitStack() as stack:
        assert client.post("/", Document(text="before")).texts == ["before"]
        child = psutil.Process(process.pid)
        before = child.memory_info().rss
        for _ in range(100):
            stack.enter_context(Raw.greeted(_port(address), announced))
        assert client.post("/", Document(text="during")).texts == ["during"]
        assert child.memory_info().rss < before + (20 << 20)


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])


# -- keys --------------------------------------------------------------------------------------------------------------

CURVE = greeting(mechanism=b"CURVE")
HELLO_OF_CURVE = b"\1\0" + bytes(72) + bytes(32) + bytes(8) + bytes(80)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Client]]:
    """The port of a worker with keys, and a client that is on its list."""
    from tests.drivers.test_authenticator import Guarded

    folder = tmp_path_factory.mktemp("keys")
    for name in ("server", "good"):
        keys.create(folder / name, new_identity())
    keys.allow(folder / "server", "good", keys.load(folder / "good").public)
    with Guarded(folder / "server") as served, served.asked_by(folder / "good") as client:
        yield _port(served.address), client


@pytest.mark.parametrize(
    "said",
    rows(
        ("25 CURVE and silence", CURVE),
        ("25 a HELLO of the wrong length", CURVE + command(b"HELLO", HELLO_OF_CURVE[:100])),
        ("25 a HELLO of another version", CURVE + command(b"HELLO", b"\2\0" + HELLO_OF_CURVE[2:])),
        ("25 a HELLO whose box cannot be opened", CURVE + command(b"HELLO", HELLO_OF_CURVE)),
        ("25 an INITIATE before HELLO", CURVE + command(b"INITIATE", bytes(300))),
        ("25 a MESSAGE before the handshake", CURVE + command(b"MESSAGE", bytes(100))),
        ("25 a message before the handshake", CURVE + message(b"", REQUEST)),
        ("25 a message of 256 MiB before the handshake", CURVE + bytes([LONG]) + (1 << 28).to_bytes(8, "big")),
        ("25 NULL where keys are needed", greeting() + ready() + message(b"", REQUEST)),
        ("25 ZMTP/1.0 where keys are needed", b"\1\0" + of_version_1((b"", REQUEST))),
        ("3 an HTTP POST where keys are needed", b"POST / HTTP/1.1\r\n\r\n" + bytes(100)),
    ),
)
def test_a_port_with_keys_sends_away_who_does_not_finish_the_handshake(guarded, said: bytes) -> None:
    port, client = guarded
    with Raw(port, said) as raw:
        assert client.post("/", Document(text="good")).texts == ["good"]
        assert raw.ends(GONE_WITHIN)


def test_a_session_with_keys_that_is_replayed_is_not_heard(tmp_path: Path) -> None:
    """Input 25 once more: all that a good client said, said again, byte by byte, on a connection of its own."""
    from tests.drivers.test_authenticator import Guarded

    for name in ("server", "good"):
        keys.create(tmp_path / name, new_identity())
    keys.allow(tmp_path / "server", "good", keys.load(tmp_path / "good").public)
    with Guarded(tmp_path / "server") as served:
        with _Tap(_port(served.address)) as tap:
            with Client(f"tcp://127.0.0.1:{tap.port}", keys=tmp_path / "good", server_key=served.key) as client:
                assert client.post("/", Document(text="once")).texts == ["once"]
        assert len(tap.said) > 500
        with Raw(_port(served.address), bytes(tap.said)) as replaying:
            assert replaying.ends(GONE_WITHIN)
        assert served.ask(tmp_path / "good") == ["in"]
        assert served.reactor._role._served == 2  # type: ignore[attr-defined]


class _Tap:
    """Stands between a client and a port, and writes down what the client says."""

    def __init__(self, port: int) -> None:
        self.said = bytearray()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, args=(port,))

    def __enter__(self) -> _Tap:
        self._thread.start()
        return self

    def __exit__(self, *told: object) -> None:
        self._thread.join(10)
        self._listening.close()

    def _serve(self, port: int) -> None:
        near, _ = self._listening.accept()
        with near, socket.create_connection(("127.0.0.1", port)) as far:
            while True:
                for source in select.select([near, far], [], [])[0]:
                    piece = source.recv(65536)
                    if not piece:
                        return
                    if source is near:
                        self.said += piece
                    (far if source is near else near).sendall(piece)


@pytest.mark.parametrize("kind", [zmq.REQ, zmq.ROUTER, zmq.PUSH, zmq.SUB, zmq.PAIR])
def test_sockets_that_are_no_dealers_reach_nothing(kind: int) -> None:
    """Input 16 once more, by libzmq's own sockets: REQ is as good as a DEALER to a ROUTER, until the nonce."""
    with opened() as door, zmq.Context() as context, context.socket(kind) as other:
        other.linger = 0
        other.connect(door.served.address)
        if kind == zmq.REQ:
            other.send(REQUEST)
            hold_until(lambda: door.dropped >= 1)
        assert door.serves()
        assert door.served.role._served == 1  # type: ignore[attr-defined]
