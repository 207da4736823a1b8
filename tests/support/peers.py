"""Real peers on real sockets: a role on a reactor, in a thread of this process or in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import zmq

from tests.support.executors import ExecutorFunction, echo
from zflow.drivers.identity import new_id
from zflow.drivers.reactor import LocalEnd, Reactor
from zflow.drivers.sockets import is_tcp
from zflow.roles.contract import Role
from zflow.roles.worker import Worker
from zflow.wire.header import Kind, Message, decode, encode

ANY_PORT = "tcp://127.0.0.1:0"
GONE_WITHIN = 5.0  # seconds until a peer that was stopped must have ended
_ROOT = Path(__file__).parents[2]


class Answers:
    """A local end that answers each REQUEST at once, and hears nothing else."""

    is_ready = False

    def __init__(self, answer: ExecutorFunction) -> None:
        self._answer = answer

    def attach(self, **hooks: Callable[[], None]) -> None:
        """It needs none of them."""

    def __call__(self, message: Message) -> Message | None:
        return self._answer(message) if message.kind is Kind.REQUEST else None

    def step(self) -> Message | None:
        """It has never anything under way."""
        return None


class Served:
    """`role` behind a bound socket, served by a thread from ``with`` on until its end."""

    def __init__(
        self,
        local: ExecutorFunction = echo,
        *,
        bind: str = ANY_PORT,
        credit: int = 4,
        role: Role | None = None,
        executor: LocalEnd | None = None,
        has_porter: bool = False,
        grace: float = 25.0,
    ) -> None:
        nonces = new_id if is_tcp(bind) else None
        self.role = role or Worker("peer/rep-0", boot=new_id(), credit=credit, new_nonce=nonces)
        self.reactor = Reactor(
            self.role, bind=bind, executor=executor or Answers(local), has_porter=has_porter, grace=grace
        )
        self.address = self.reactor.address
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="served peer")

    @property
    def port(self) -> int:
        """The port really bound."""
        return int(self.address.rpartition(":")[2])

    def _run(self) -> None:
        try:
            self.reactor.run()
        except BaseException as error:
            self.failure = error

    def __enter__(self) -> Served:
        self._thread.start()
        return self

    def stop(self) -> None:
        """Let it drain, and wait until it has ended."""
        self.reactor.stop()
        self._thread.join(GONE_WITHIN)
        assert not self._thread.is_alive(), "the peer goes on after its stop"

    def __exit__(self, kind: type[BaseException] | None, *told: object) -> None:
        self.stop()
        if self.failure is not None and kind is None:
            raise self.failure


class Stranger:
    """Whoever can reach a port and says whatever it likes, on a ZeroMQ socket of its own."""

    def __init__(self, address: str) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.connect(address)

    def __enter__(self) -> Stranger:
        return self

    def __exit__(self, *told: object) -> None:
        self._context.destroy(linger=0)

    def say(self, *frames: bytes) -> None:
        """Anything, behind the envelope's empty frame."""
        self._socket.send_multipart([b"", *frames])

    def tell(self, message: Message) -> None:
        """A message, well-formed."""
        self.say(*[bytes(frame) for frame in encode(message)])

    def hear(self, timeout_ms: int = 5000) -> Message | None:
        """The next answer; None when there is none."""
        if not self._socket.poll(timeout_ms):
            return None
        return decode(self._socket.recv_multipart()[1:])

    def greet(self) -> None:
        """Be let in, with the nonce where one is asked for."""
        self.tell(Message(Kind.HELLO))
        answer = self.hear()
        if answer is not None and answer.kind is Kind.CHALLENGE:
            self.tell(Message(Kind.HELLO, extra={"nonce": answer.extra["nonce"]}))
            answer = self.hear()
        assert answer is not None and answer.kind is Kind.READY


class Gate:
    """An executor function that stays in a request until it is opened; `entered` tells that it has begun one."""

    def __init__(self, then: ExecutorFunction = echo) -> None:
        self._then = then
        self._is_open = threading.Event()
        self.entered = threading.Event()

    def __call__(self, request: Message) -> Message:
        self.entered.set()
        assert self._is_open.wait(10.0), "nobody opened the gate"
        return self._then(request)

    def open(self) -> None:
        """Let everything pass from now on."""
        self._is_open.set()


@contextmanager
def child(source: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A process of its own that runs `source`; what it prints can be read. Killed at the end if it still runs."""
    process = subprocess.Popen(
        [sys.executable, "-c", source, *arguments],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=GONE_WITHIN)


SERVE = """
import signal, sys, time
from tests.support.executors import echo
from tests.support.peers import Answers
from zflow.drivers.identity import new_id
from zflow.drivers.reactor import LocalEnd, Reactor
from zflow.roles.worker import Worker

def answer(request):
    if request.endpoint == "/nap":
        print("napping", flush=True)
        time.sleep(0.2)
    if request.endpoint == "/hang":
        print("hanging", flush=True)
        while True:
            pass
    return echo(request)

worker = Worker("child/rep-0", boot=new_id(), new_nonce=new_id)
reactor = Reactor(worker, bind=sys.argv[1], executor=Answers(answer))
signal.signal(signal.SIGTERM, lambda number, frame: reactor.stop())
print(reactor.address, flush=True)
reactor.run()
"""


@contextmanager
def served_by_child(bind: str = ANY_PORT) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A worker in a process of its own, and its address.

    It echoes; at ``/nap`` after 0.2 s, at ``/hang`` never, because it is busy for ever. Both it says first.
    """
    with child(SERVE, bind) as process:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()


def hold_until(condition: Callable[[], bool], timeout: float = 5.0) -> None:
    """Return once `condition` holds; fail when it does not in time."""
    waiter = threading.Event()
    for _ in range(int(timeout / 0.002)):
        if condition():
            return
        waiter.wait(0.002)
    raise AssertionError("it did not come to it in time")
