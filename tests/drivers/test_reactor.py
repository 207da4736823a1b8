"""The reactor: serves until it is stopped, by whomever and whenever; then drains, closes, and leaves nothing behind."""

from __future__ import annotations

import math
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.support.executors import echo
from tests.support.peers import ANY_PORT, Answers, Gate, Served, Stranger, child, hold_until, served_by_child
from zflow.client import Client
from zflow.documents.document import Document
from zflow.drivers import carrier
from zflow.drivers import reactor as reactor_module
from zflow.drivers.identity import new_id
from zflow.drivers.reactor import Reactor
from zflow.errors import PortInUse, Unavailable
from zflow.response import error_of
from zflow.roles import front_door
from zflow.roles.batching import Batching, Rule
from zflow.roles.contract import Batch
from zflow.roles.worker import Worker
from zflow.wire.header import NOT_STARTED, Kind, Message
from zflow.wire.payload import decode_map

PROMPT = 1.0  # seconds; what happens at once happens well before
FIRST, SECOND, THIRD = b"1" * 16, b"2" * 16, b"3" * 16


def reactor(local=echo, **options) -> Reactor:
    return Reactor(Worker("peer/rep-0", boot=new_id()), bind=ANY_PORT, executor=Answers(local), **options)


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture
def wakeup_descriptor() -> Iterator[None]:
    """Whatever a test does to the interpreter's wake-up descriptor is undone."""
    before = signal.set_wakeup_fd(-1)
    yield
    signal.set_wakeup_fd(before)


# -- serving ---------------------------------------------------------------------------------------------------------


def test_it_serves_at_the_address_that_it_tells():
    with Served() as served, Client(port=served.port) as client:
        assert client.post("/", Document(text="hello")).texts == ["hello"]


def test_a_port_in_use_is_refused_and_nothing_stays_open():
    with Served() as served:
        before = open_files()
        with pytest.raises(PortInUse):
            Reactor(Worker("peer/rep-1", boot=new_id()), bind=served.address)
        hold_until(lambda: open_files() == before)


def test_a_descriptor_of_somebody_else_is_read_in_the_loop():
    near, far = socket.socketpair()
    heard: list[tuple[bytes, int]] = []
    served = Served()
    served.reactor.add_reader(near.fileno(), lambda: heard.append((near.recv(10), threading.get_ident())))
    with near, far, served:
        far.send(b"news")
        hold_until(lambda: heard)
    [(news, thread)] = heard
    assert news == b"news" and thread != threading.get_ident()


def test_between_two_calls_what_waits_at_the_door_is_read(monkeypatch):
    """Given one call running and two behind it, when the last is given up meanwhile, then it never runs.

    However long the poll takes, which is what the loop otherwise tells a crowd by. When the bytes arrive cannot be
    seen from here, so that a slow machine gets some more chances.
    """
    monkeypatch.setattr(carrier, "_DENSE", 0.0)
    assert any(_last_is_left_alone(pause) for pause in (0.02, 0.1, 0.5, 2.0))


def _last_is_left_alone(pause: float) -> bool:
    gate = Gate()
    ran: list[bytes] = []

    def local(request: Message) -> Message:
        ran.append(request.call_id)
        return gate(request)

    with Served(local) as served, Stranger(served.address) as caller:
        caller.greet()
        caller.tell(Message(Kind.REQUEST, FIRST, "/"))
        assert gate.entered.wait(5.0)
        for number in (SECOND, THIRD):
            caller.tell(Message(Kind.REQUEST, number, "/"))
        caller.tell(Message(Kind.CANCEL, THIRD))
        time.sleep(pause)
        gate.open()
        outcomes = {item.call_id: item.kind for item in (caller.hear() for _ in range(3)) if item is not None}
    assert outcomes[FIRST] is outcomes[SECOND] is Kind.REPLY
    return outcomes[THIRD] is Kind.FAILURE and ran == [FIRST, SECOND]


class Busy(Answers):
    """A local end that has something to do all the time, from a REQUEST to its CANCEL."""

    def __init__(self) -> None:
        super().__init__(echo)
        self.steps = 0
        self.is_ready = False

    def __call__(self, message: Message) -> Message | None:
        self.is_ready = message.kind is Kind.REQUEST
        return None if self.is_ready else echo(Message(Kind.REQUEST, message.call_id))

    def step(self) -> Message | None:
        self.steps += 1
        return None


def test_what_is_under_way_never_keeps_it_from_the_door():
    busy = Busy()
    serving = Reactor(Worker("peer/rep-0", boot=new_id()), bind=ANY_PORT, executor=busy)
    thread = threading.Thread(target=serving.run)
    thread.start()
    try:
        with Stranger(serving.address) as caller:
            caller.greet()
            caller.tell(Message(Kind.REQUEST, FIRST, "/"))
            hold_until(lambda: busy.steps > 1000)
            caller.tell(Message(Kind.CANCEL, FIRST))
            outcome = caller.hear()
            assert outcome is not None and (outcome.kind, outcome.call_id) == (Kind.REPLY, FIRST)
        busy.is_ready = True
    finally:
        serving.stop()
        thread.join(10.0)
    assert not thread.is_alive()


# -- while user code runs ----------------------------------------------------------------------------------------------


class Together(Answers):
    """A local end that stays in each Batch until it may go on. ran: the requests of each. heard: CANCELs meanwhile."""

    def __init__(self) -> None:
        super().__init__(echo)
        self.ran: list[list[bytes]] = []
        self.threads: set[int] = set()
        self.heard: list[bytes] = []
        self.look: Callable[[], None] = lambda: None
        self._may_go_on = threading.Semaphore(0)

    def attach(self, *, wake: Callable[[], None], look: Callable[[], None]) -> None:
        self.look = look

    def go_on(self) -> None:
        self._may_go_on.release()

    def __call__(self, message: Message) -> Message | None:
        self.threads.add(threading.get_ident())
        if message.kind is Kind.CANCEL:
            self.heard.append(message.call_id)
            return None
        assert isinstance(message, Batch)
        self.ran.append([member.call_id for member in message.members])
        while not self._may_go_on.acquire(timeout=0.01):
            self.look()
        return Batch([echo(member) for member in message.members])


class Batched(Served):
    """A worker that runs `size` requests together."""

    def __init__(self, size: int = 2) -> None:
        rule = Rule("/", size=size, timeout=5.0, weigh=lambda request: 1.0)
        worker = Worker("peer/rep-0", boot=new_id(), credit=64, batching=Batching({"/": rule}))
        self.local = Together()
        super().__init__(role=worker, executor=self.local, has_porter=True)


def ask(caller: Stranger, *numbers: int) -> None:
    for number in numbers:
        caller.tell(Message(Kind.REQUEST, bytes([number]) * 16, "/"))


def replies(caller: Stranger, count: int) -> list[int]:
    heard = [caller.hear() for _ in range(count)]
    assert all(message is not None and message.kind is Kind.REPLY for message in heard)
    return [message.call_id[0] for message in heard if message is not None]


def test_while_a_batch_runs_it_is_heard_and_answered_at_the_door():
    with Batched() as served, Stranger(served.address) as caller:
        caller.greet()
        ask(caller, 1, 2)
        hold_until(lambda: served.local.ran)
        ask(caller, 3, 4)
        caller.tell(Message(Kind.PING, FIRST))
        status = caller.hear()
        assert status is not None and status.kind is Kind.STATUS
        details = decode_map(status.parts[0].buffers()[0])
        assert (details["inflight"], details["queued"]) == (2, 2)
        served.local.go_on()
        hold_until(lambda: len(served.local.ran) == 2)
        assert sorted(replies(caller, 2)) == [1, 2], "they leave while the next batch runs"
        served.local.go_on()
        assert sorted(replies(caller, 2)) == [3, 4]
        assert len(served.local.threads) == 1, "user code stays on its thread"


def porters() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "zflow-porter"]


@pytest.mark.parametrize("is_long", [False, True])
def test_after_a_call_that_took_its_time_the_next_has_a_porter(monkeypatch, is_long):
    monkeypatch.setattr(reactor_module, "_LONG", -1.0 if is_long else math.inf)
    gate = Gate()

    def local(request: Message) -> Message:
        return gate(request) if request.call_id == SECOND else echo(request)

    with Served(local, has_porter=True) as served, Stranger(served.address) as caller:
        caller.greet()
        caller.tell(Message(Kind.REQUEST, FIRST, "/"))
        first = caller.hear()
        assert first is not None and first.kind is Kind.REPLY
        caller.tell(Message(Kind.REQUEST, SECOND, "/"))
        assert gate.entered.wait(5.0)
        caller.tell(Message(Kind.PING, THIRD))
        if is_long:
            status = caller.hear()
            assert status is not None and status.kind is Kind.STATUS
        assert len(porters()) == is_long
        gate.open()
        heard = {message.kind for message in (caller.hear() for _ in range(2 - is_long)) if message is not None}
        assert heard == {Kind.REPLY} if is_long else {Kind.REPLY, Kind.STATUS}
    assert not porters()


def test_who_is_given_up_while_a_batch_runs_is_told_to_user_code_or_never_runs():
    with Batched() as served, Stranger(served.address) as caller:
        caller.greet()
        ask(caller, 1, 2)
        hold_until(lambda: served.local.ran)
        ask(caller, 3, 4, 5)
        for number in (1, 3):
            caller.tell(Message(Kind.CANCEL, bytes([number]) * 16))
        hold_until(lambda: served.local.heard == [b"\1" * 16])
        gone = caller.hear()
        assert gone is not None and gone.call_id == b"\3" * 16 and gone.flags & NOT_STARTED
        served.local.go_on()
        served.local.go_on()
        assert sorted(replies(caller, 4)) == [1, 2, 4, 5]
        assert [sorted(number[0] for number in batch) for batch in served.local.ran] == [[1, 2], [4, 5]]


def test_a_stop_while_a_batch_runs_is_told_at_once_and_its_answers_still_leave():
    with Batched() as served, Stranger(served.address) as caller:
        caller.greet()
        ask(caller, 1, 2)
        hold_until(lambda: served.local.ran)
        served.reactor.stop()
        drain = caller.hear()
        assert drain is not None and drain.kind is Kind.DRAIN
        caller.tell(Message(Kind.DRAINED))
        served.local.go_on()
        assert sorted(replies(caller, 2)) == [1, 2]
        served.stop()
    assert not porters()


# -- stopping --------------------------------------------------------------------------------------------------------


def test_a_stop_from_another_thread_ends_it_at_once_where_nobody_is_connected():
    with Served() as served:
        before = time.monotonic()
        served.stop()
        assert time.monotonic() - before < PROMPT


def test_a_stop_before_it_runs_is_not_forgotten():
    early = reactor()
    early.stop()
    early.run()


def test_a_stop_that_is_said_often_is_one_stop():
    often = reactor()
    for _ in range(100_000):
        often.stop()
    often.run()
    often.stop()


def test_who_is_connected_is_asked_to_send_no_more_and_answered_not_started_if_he_does(monkeypatch):
    monkeypatch.setattr(front_door, "FAREWELL", 20.0)
    with Served() as served, Stranger(served.address) as caller:
        caller.greet()
        served.reactor.stop()
        drain = caller.hear()
        assert drain is not None and drain.kind is Kind.DRAIN
        caller.tell(Message(Kind.REQUEST, FIRST, "/"))
        refusal = caller.hear()
        assert refusal is not None and (refusal.kind, refusal.call_id) == (Kind.FAILURE, FIRST)
        assert refusal.flags & NOT_STARTED
        assert isinstance(error_of(refusal), Unavailable)
        assert "is shutting down" in str(error_of(refusal))
        before = time.monotonic()
        caller.tell(Message(Kind.DRAINED))
        served.stop()
        assert time.monotonic() - before < PROMPT, "once everybody has said goodbye there is nothing to wait for"


def test_what_was_begun_or_waited_before_the_stop_is_answered_or_certainly_not_begun():
    gate = Gate()
    ran: list[bytes] = []

    def local(request: Message) -> Message:
        ran.append(request.call_id)
        return gate(request)

    with Served(local) as served, Stranger(served.address) as caller:
        caller.greet()
        caller.tell(Message(Kind.REQUEST, FIRST, "/"))
        assert gate.entered.wait(5.0)
        caller.tell(Message(Kind.REQUEST, SECOND, "/"))
        served.reactor.stop()
        gate.open()
        heard = {}
        while len(heard) < 2:
            message = caller.hear()
            assert message is not None
            if message.kind is not Kind.DRAIN:
                heard[message.call_id] = message
    assert heard[FIRST].kind is Kind.REPLY
    assert heard[SECOND].kind is Kind.REPLY if SECOND in ran else heard[SECOND].flags & NOT_STARTED


def test_after_its_grace_it_returns_whatever_still_waits():
    """Given four calls of 0.15 s each and a grace of 0.2 s, then it does not take 0.6 s."""
    ran: list[bytes] = []

    def local(request: Message) -> Message:
        ran.append(request.call_id)
        time.sleep(0.15)
        return echo(request)

    with Served(local, grace=0.2) as served, Stranger(served.address) as caller:
        caller.greet()
        for number in range(4):
            caller.tell(Message(Kind.REQUEST, bytes([number]) * 16, "/"))
        hold_until(lambda: ran)
        before = time.monotonic()
        served.stop()
        assert time.monotonic() - before < 0.55
    assert 1 <= len(ran) < 4


def test_the_grace_can_be_given_with_the_stop():
    with Served(lambda request: time.sleep(0.1) or echo(request)) as served, Stranger(served.address) as caller:
        caller.greet()
        for number in range(4):
            caller.tell(Message(Kind.REQUEST, bytes([number]) * 16, "/"))
        hold_until(lambda: served.role._calls)
        before = time.monotonic()
        served.reactor.stop(grace=0.0)
        served.stop()
        assert time.monotonic() - before < 0.35


def test_answers_leave_before_it_has_ended():
    """64 KiB and more are sent by reference, behind the peer's back; its end must wait for them."""
    large = os.urandom(4 << 20)
    gate = Gate()
    with Served(gate) as served, Client(port=served.port) as client:
        answers: list[bytes] = []
        post = threading.Thread(target=lambda: answers.append(client.post("/", Document(blob=large)).blobs[0]))
        post.start()
        assert gate.entered.wait(5.0)
        served.reactor.stop()
        gate.open()
        post.join(10.0)
    assert answers == [large]


def test_a_stop_after_its_end_writes_to_nobody(wakeup_descriptor):
    """The number of a closed descriptor is the next one's, which may be a file of the user's."""
    ended = reactor()
    ended.stop()
    ended.run()
    reused = [os.pipe() for _ in range(20)]
    try:
        ended.stop()
        for read, write in reused:
            os.close(write)
            assert os.read(read, 10) == b""
    finally:
        for read, _ in reused:
            os.close(read)


# -- signals ---------------------------------------------------------------------------------------------------------

SIGNALLED = """
import faulthandler, os, random, signal, sys, threading, time
from tests.support.executors import echo
from tests.support.peers import ANY_PORT, Answers
from zflow.drivers import carrier
from zflow.drivers import reactor as reactor_module
from zflow.drivers.identity import new_id
from zflow.drivers.reactor import Reactor
from zflow.roles.worker import Worker

faulthandler.dump_traceback_later(20, exit=True)
chance = random.Random(15)
main = threading.main_thread().ident
for number in range(50):
    reactor = Reactor(Worker("child/rep-0", boot=new_id()), bind=ANY_PORT, executor=Answers(echo))
    signal.signal(signal.SIGTERM, lambda *told: reactor.stop())

    def send(pause=chance.random() * 0.004, to_main=number % 2):
        until = time.perf_counter() + pause
        while time.perf_counter() < until:
            pass
        # Signals to a process reach any of its threads: then nothing interrupts the poll of the main one.
        signal.pthread_kill(main if to_main else threading.get_ident(), signal.SIGTERM)

    sender = threading.Thread(target=send)
    sender.start()
    before = time.monotonic()
    reactor.run()
    if time.monotonic() - before > 1.0:
        sys.exit(f"the signal was heard after {time.monotonic() - before:.1f} s")
    sender.join()
print("stopped 50 times")
"""


def test_a_signal_stops_it_whichever_thread_gets_it_and_whatever_the_loop_does_at_that_moment():
    with child(SIGNALLED) as process:
        told, _ = process.communicate(timeout=25)
        assert told == "stopped 50 times\n"
        assert process.returncode == 0


def test_a_signal_while_user_code_runs_waits_for_that_request_and_then_drains():
    with served_by_child() as (process, address), Client(address) as client:
        client.post("/", Document(text="connect"))
        answered: list[list[str]] = []
        post = threading.Thread(target=lambda: answered.append(client.post("/nap", Document(text="nap")).texts))
        post.start()
        assert process.stdout is not None and process.stdout.readline() == "napping\n"
        process.send_signal(signal.SIGTERM)
        post.join(10.0)
        assert answered == [["nap"]]
        assert process.wait(5.0) == 0


def test_who_listens_to_signals_already_goes_on_listening(wakeup_descriptor):
    """Given that a process' lifeline has signals written to itself, when a peer runs, then they still are."""
    theirs, ours = socket.socketpair()
    theirs.setblocking(False)  # the interpreter writes there; who listens reads at the other end
    seen: list[bytes] = []
    with theirs, ours:
        signal.set_wakeup_fd(theirs.fileno())
        peer = reactor()
        there, here = socket.socketpair()
        with there, here:
            peer.add_reader(there.fileno(), lambda: (seen.append(there.recv(1)), signal.raise_signal(signal.SIGUSR1)))
            here.send(b"!")
            before = signal.signal(signal.SIGUSR1, lambda *told: peer.stop())
            peer.run()
            signal.signal(signal.SIGUSR1, before)
        assert seen == [b"!"]
        assert ours.recv(10) == bytes([signal.SIGUSR1])
        assert signal.set_wakeup_fd(-1) == theirs.fileno()


def test_where_nobody_listened_before_nobody_does_after(wakeup_descriptor):
    peer = reactor()
    peer.stop()
    peer.run()
    assert signal.set_wakeup_fd(-1) == -1


# -- ends that nobody asked for ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("leaving", [SystemExit(3), KeyboardInterrupt(), RuntimeError("a bug of ours")])
def test_what_the_local_end_lets_through_ends_it_with_everything_closed(leaving):
    def local(request: Message) -> Message:
        raise leaving

    before = open_files()
    with Served(local) as served, Client(port=served.port) as client:
        with pytest.raises(Unavailable) as caught:
            client.post("/", Document(text="a"))
        assert caught.value.maybe_executed
        served.stop()
        assert served.failure is leaving
        served.failure = None
    hold_until(lambda: open_files() == before)


def test_a_peer_killed_in_the_middle_of_a_request_is_told_within_a_second():
    with served_by_child() as (process, address), Client(address) as client:
        client.post("/", Document(text="connect"))
        caught: list[Unavailable] = []

        def post() -> None:
            with pytest.raises(Unavailable) as raised:
                client.post("/hang", Document(text="a"))
            caught.append(raised.value)

        poster = threading.Thread(target=post)
        poster.start()
        assert process.stdout is not None and process.stdout.readline() == "hanging\n"
        before = time.monotonic()
        process.kill()
        poster.join(10.0)
        assert time.monotonic() - before < PROMPT
        [error] = caught
        assert error.maybe_executed
        assert "the connection broke" in str(error) and address in str(error)


def test_nothing_is_left_of_many_peers():
    with Served() as served, Client(port=served.port) as client:
        client.post("/")
    files, threads = open_files(), len(os.listdir("/proc/self/task"))
    for _ in range(20):
        with Served() as served, Client(port=served.port) as client:
            client.post("/")
    hold_until(lambda: open_files() <= files and len(os.listdir("/proc/self/task")) <= threads)
