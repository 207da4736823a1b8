"""The floor: what pyzmq and msgpack need for the same question when there is no framework at all.

Every worker, and the gateway, is an operating system process of its own, started from this file with a role as its
argument. Sockets, frames and codec are the ones zflow uses: DEALER to ROUTER, `[route...] "" header payload`, the
header one msgpack array of eight fields, the documents one msgpack map of columns. Nothing else is: no checks, no
deadlines, no retries, no liveness, no user class. What a framework adds is the ratio to this.

A question comes in one of three styles of moving frames:

- `plain`: `send_multipart` and `recv_multipart`, what one writes first. This is *the* floor of every target;
- `reference`: the same with `copy=False`, for large arrays;
- `tight`: a loop of our own over the socket's C methods, one call per frame. The lowest number we know how to reach.

Every wait has a deadline, in the caller and in the children, so that no run leaves a process behind.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgpack
import zmq
import zmq.backend

from bench.children import process
from bench.workloads import BATCH, NAP_S, PER_DOCUMENT_S

Frames = list[Any]
Receive = Callable[[Any], Frames]
Send = Callable[[Any, Frames], None]
Work = Callable[[Frames], Frames]
Ask = Callable[[], object]

ANSWER_MS = 20_000
# A child that hears nothing for so long has lost its run: it ends by itself. Longer than any pause within a run.
IDLE_MS = 180_000
REQUEST, REPLY = 1, 2
DOCUMENTS = 0

pack = msgpack.Packer().pack
unpack = msgpack.unpackb

SEND_MORE = int(zmq.SNDMORE)
_raw_send = zmq.backend.Socket.send
_raw_receive = zmq.backend.Socket.recv


# -- three ways to move frames


def _receive_plain(socket: Any) -> Frames:
    frames: Frames = socket.recv_multipart()
    return frames


def _send_plain(socket: Any, frames: Frames) -> None:
    socket.send_multipart(frames)


def _receive_reference(socket: Any) -> Frames:
    frames: Frames = socket.recv_multipart(copy=False)
    return frames


def _send_reference(socket: Any, frames: Frames) -> None:
    socket.send_multipart(frames, copy=False)


def _receive_tight(socket: Any) -> Frames:
    frame = _raw_receive(socket, 0, False)
    frames = [frame]
    while frame.more:
        frame = _raw_receive(socket, 0, False)
        frames.append(frame)
    return frames


def _send_tight(socket: Any, frames: Frames) -> None:
    for frame in frames[:-1]:
        _raw_send(socket, frame, SEND_MORE)
    _raw_send(socket, frames[-1], 0)


STYLES: dict[str, tuple[Receive, Send]] = {
    "plain": (_receive_plain, _send_plain),
    "reference": (_receive_reference, _send_reference),
    "tight": (_receive_tight, _send_tight),
}


# -- what travels


def header(kind: int, call_id: bytes, endpoint: str, sizes: Sequence[int]) -> bytes:
    """The eight fields of a header; `sizes` are the lengths of the one documents part's buffers."""
    packed: bytes = pack([1, kind, call_id, endpoint, None, 0, [[DOCUMENTS, "gateway", None, list(sizes)]], {}])
    return packed


def columns(ids: list[str], texts: list[str]) -> bytes:
    """Documents as two columns in one msgpack map."""
    packed: bytes = pack({"id": ids, "text": texts})
    return packed


def rows(ids: list[str], texts: list[str]) -> bytes:
    """The same documents as a list of maps, for comparison."""
    packed: bytes = pack([{"id": one, "text": text} for one, text in zip(ids, texts, strict=True)])
    return packed


# -- what a worker does; each takes and gives payload frames


def upper_columns(payload: Frames) -> Frames:
    """Set every text, one document after the other, as user code does."""
    body = unpack(payload[0])
    body["text"] = [text.upper() for text in body["text"]]
    return [pack(body)]


def upper_rows(payload: Frames) -> Frames:
    """Set every text of documents that travel as rows."""
    body = unpack(payload[0])
    for document in body:
        document["text"] = document["text"].upper()
    return [pack(body)]


def nap_columns(payload: Frames) -> Frames:
    """Do nothing for `NAP_S`, as a model on another chip makes its host do."""
    time.sleep(NAP_S)
    return payload


def merge_columns(payload: Frames) -> Frames:
    """Join the documents of all branches by id, then set every text."""
    merged: dict[str, str] = {}
    for frame in payload:
        body = unpack(frame)
        merged.update(zip(body["id"], body["text"], strict=True))
    return [columns(list(merged), [text.upper() for text in merged.values()])]


def echo_array(payload: Frames) -> Frames:
    """Give back the array that came out of band, seen as numpy sees it, never copied."""
    import numpy  # only this worker pays for numpy

    body = unpack(payload[0])
    array = numpy.frombuffer(payload[1], dtype=body["dtype"]).reshape(body["shape"])
    return [pack({"id": body["id"], "dtype": array.dtype.str, "shape": list(array.shape)}), array]


WORK: dict[str, Work] = {
    work.__name__: work for work in (upper_columns, upper_rows, merge_columns, echo_array, nap_columns)
}


# -- the children


def _report(socket: Any) -> None:
    """Tell the starter where `socket` is bound: in one write, because forked workers share the pipe."""
    os.write(1, socket.last_endpoint + b"\n")


def serve(address: str, work: str, style: str) -> None:
    """A worker: decode, do the work, encode; blocking, one thread."""
    receive, send = STYLES[style]
    do = WORK[work]
    with contextlib.suppress(zmq.Again), zmq.Context() as context, context.socket(zmq.ROUTER) as socket:
        socket.linger = 0
        socket.rcvtimeo = IDLE_MS
        socket.bind(address)
        _report(socket)
        while True:
            frames = receive(socket)
            cut = 1
            while len(frames[cut]):
                cut += 1
            fields = unpack(frames[cut + 1])
            payload = do(frames[cut + 2 :])
            sizes = [memoryview(frame).nbytes for frame in payload]
            send(socket, [*frames[: cut + 1], header(REPLY, fields[2], fields[3], sizes), *payload])


def batch(address: str, style: str) -> None:
    """A worker that does the work of up to `BATCH` questions in one go, of those that are there; then answers each."""
    receive, send = STYLES[style]
    with contextlib.suppress(zmq.Again), zmq.Context() as context, context.socket(zmq.ROUTER) as socket:
        socket.linger = 0
        socket.rcvtimeo = IDLE_MS
        socket.bind(address)
        _report(socket)
        while True:
            together = [receive(socket)]
            while len(together) < BATCH and socket.poll(2):  # more may be on their way
                together.append(receive(socket))
            time.sleep(NAP_S + PER_DOCUMENT_S * len(together))
            for frames in together:
                cut = 1
                while len(frames[cut]):
                    cut += 1
                fields = unpack(frames[cut + 1])
                payload = upper_columns(frames[cut + 2 :])
                sizes = [memoryview(frame).nbytes for frame in payload]
                send(socket, [*frames[: cut + 1], header(REPLY, fields[2], fields[3], sizes), *payload])


def stream(address: str, style: str) -> None:
    """A worker that answers with as many documents as it is asked for, a message each; nothing slows it down."""
    receive, send = STYLES[style]
    with contextlib.suppress(zmq.Again), zmq.Context() as context, context.socket(zmq.ROUTER) as socket:
        socket.linger = socket.sndhwm = 0  # no limit: a ROUTER that may not queue would throw away
        socket.rcvtimeo = IDLE_MS
        socket.bind(address)
        _report(socket)
        while True:
            frames = receive(socket)
            cut = 1
            while len(frames[cut]):
                cut += 1
            fields = unpack(frames[cut + 1])
            for number in range(unpack(frames[cut + 2])):
                payload = columns([f"{number:032x}"], ["a text of 20 letters".upper()])
                send(socket, [*frames[: cut + 1], header(REPLY, fields[2], fields[3], [len(payload)]), payload])


def forward(address: str, behind: str, style: str) -> None:
    """A gateway in front of one worker: frames go through unopened, the route stays on them."""
    receive, send = STYLES[style]
    with zmq.Context() as context, context.socket(zmq.ROUTER) as front, context.socket(zmq.DEALER) as back:
        front.linger = back.linger = front.sndhwm = 0
        front.bind(address)
        back.connect(behind)
        _report(front)
        poller = zmq.Poller()
        poller.register(front, zmq.POLLIN)
        poller.register(back, zmq.POLLIN)
        way_out = {front: back, back: front}
        while ready := poller.poll(IDLE_MS):
            for socket, _ in ready:
                # Whatever waits goes at once: one poll per message costs a fifth of the throughput.
                while socket.get(zmq.EVENTS) & zmq.POLLIN:
                    send(way_out[socket], receive(socket))


def fork_workers(directory: str, count: str) -> None:
    """Fork `count` workers from this process, which has imported everything and started nothing; then wait for them."""
    import numpy  # noqa: F401  the copies share it, as zflow's workers do

    children = []
    for number in range(int(count)):
        child = os.fork()
        if child == 0:
            serve(f"ipc://{directory}/forked-{number}", "upper_columns", "plain")
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)


# -- starting them


@contextlib.contextmanager
def peers(*works: str, style: str, links: Sequence[str]) -> Iterator[list[str]]:
    """Addresses of one worker per entry of `works`, or of a gateway in front of the only one.

    `links` are the transports on the way ("ipc" or "tcp"), the caller's first: one entry asks the workers directly, two
    go through a gateway.
    """
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="floor-"))  # mkdtemp: mode 0700

        def place(link: str, name: str) -> str:
            return f"ipc://{directory}/{name}" if link == "ipc" else "tcp://127.0.0.1:0"

        children = [
            stack.enter_context(process(*_command(work, place(links[-1], f"worker-{number}"), style)))
            for number, work in enumerate(works)
        ]
        addresses = [child.addresses(1)[0] for child in children]
        if len(links) == 2:
            gateway = stack.enter_context(process("forward", place(links[0], "gateway"), addresses[0], style))
            addresses = gateway.addresses(1)
        yield addresses


def _command(work: str, address: str, style: str) -> list[str]:
    return [work, address, style] if work in ("stream", "batch") else ["serve", address, work, style]


# -- the callers


class Text:
    """`count` documents with an id of 32 hex digits and a text of 20 characters, as columns or as rows."""

    def __init__(self, count: int, encode: Callable[[list[str], list[str]], bytes] = columns) -> None:
        self._ids = [f"{number:032x}" for number in range(count)]
        self._texts = ["a text of 20 letters" for _ in range(count)]
        self._encode = encode

    def question(self) -> Frames:
        return [self._encode(self._ids, self._texts)]

    @staticmethod
    def answer(payload: Frames) -> str:
        """The last text that came back."""
        body = unpack(payload[0])
        last: str = body["text"][-1] if isinstance(body, dict) else body[-1]["text"]
        return last


class Array:
    """One document with a float32 array of `size` bytes, out of band."""

    def __init__(self, size: int) -> None:
        import numpy  # only W4 pays for numpy

        self._array = numpy.zeros(size // 4, dtype="f4")

    def question(self) -> Frames:
        described = {"id": [f"{0:032x}"], "dtype": self._array.dtype.str, "shape": list(self._array.shape)}
        return [pack(described), self._array]

    @staticmethod
    def answer(payload: Frames) -> Any:
        """The array that came back, still where the socket put it."""
        import numpy  # only W4 pays for numpy

        body = unpack(payload[0])
        return numpy.frombuffer(payload[1], dtype=body["dtype"]).reshape(body["shape"])


class Caller:
    """DEALER sockets to some peers, and the steps every question is made of."""

    def __init__(self, addresses: Sequence[str], style: str) -> None:
        self._receive, self._send = STYLES[style]
        self._context = zmq.Context()
        self.sockets = [self._context.socket(zmq.DEALER) for _ in addresses]
        for socket, address in zip(self.sockets, addresses, strict=True):
            socket.linger = 0
            socket.rcvtimeo = ANSWER_MS
            socket.connect(address)

    def close(self) -> None:
        self._context.destroy(0)

    def send(self, socket: Any, payload: Frames) -> None:
        sizes = [memoryview(frame).nbytes for frame in payload]
        self._send(socket, [b"", header(REQUEST, os.urandom(16), "/", sizes), *payload])

    def receive(self, socket: Any) -> Frames:
        """The payload of the next answer, its header decoded."""
        frames = self._receive(socket)
        unpack(frames[1])
        return frames[2:]


@contextlib.contextmanager
def asking(
    content: Text | Array, work: str = "upper_columns", style: str = "plain", links: Sequence[str] = ("ipc",)
) -> Iterator[Ask]:
    """One question and its answer, directly or through a gateway (W1, W3, W4)."""
    with peers(work, style=style, links=links) as addresses, contextlib.closing(Caller(addresses, style)) as caller:
        socket = caller.sockets[0]

        def ask() -> object:
            caller.send(socket, content.question())
            return content.answer(caller.receive(socket))

        yield ask


@contextlib.contextmanager
def asking_in_a_row(content: Text, style: str = "plain") -> Iterator[Ask]:
    """Three workers one after the other, the caller handing payload on unopened, as `Flow.post` does (W5)."""
    with (
        peers(*["upper_columns"] * 3, style=style, links=("ipc",)) as addresses,
        contextlib.closing(Caller(addresses, style)) as caller,
    ):

        def ask() -> object:
            payload = content.question()
            for socket in caller.sockets:
                caller.send(socket, payload)
                payload = caller.receive(socket)
            return content.answer(payload)

        yield ask


@contextlib.contextmanager
def asking_two_branches(content: Text, style: str = "plain") -> Iterator[Ask]:
    """Two workers at the same time, then a third that decodes and joins both answers (W6)."""
    works = ("upper_columns", "upper_columns", "merge_columns")
    with (
        peers(*works, style=style, links=("ipc",)) as addresses,
        contextlib.closing(Caller(addresses, style)) as caller,
    ):
        left, right, join = caller.sockets

        def ask() -> object:
            payload = content.question()
            caller.send(left, payload)
            caller.send(right, payload)
            caller.send(join, [*caller.receive(left), *caller.receive(right)])
            return content.answer(caller.receive(join))

        yield ask


@contextlib.contextmanager
def asking_many(
    content: Text, in_flight: int, links: Sequence[str], style: str = "plain", work: str = "upper_columns"
) -> Iterator[Callable[[int], object]]:
    """Give a function that asks `count` questions, `in_flight` at a time, each decoded (W2)."""
    with (
        peers(work, style=style, links=links) as addresses,
        contextlib.closing(Caller(addresses, style)) as caller,
    ):
        socket = caller.sockets[0]

        def ask(count: int) -> object:
            for _ in range(min(in_flight, count)):
                caller.send(socket, content.question())
            for received in range(count):
                answer = content.answer(caller.receive(socket))
                if received + in_flight < count:
                    caller.send(socket, content.question())
            return answer

        yield ask


@contextlib.contextmanager
def asking_replicas(content: Text, replicas: int, ahead: int) -> Iterator[Callable[[int], object]]:
    """Give a function that asks `count` questions, of whichever worker has room; each has `ahead` at most (W7)."""
    with (
        peers(*["nap_columns"] * replicas, style="plain", links=("ipc",)) as addresses,
        contextlib.closing(Caller(addresses, "plain")) as caller,
    ):
        poller = zmq.Poller()
        for socket in caller.sockets:
            poller.register(socket, zmq.POLLIN)

        def ask(count: int) -> object:
            left = count
            for socket in caller.sockets * ahead:
                if left:
                    caller.send(socket, content.question())
                    left -= 1
            received = 0
            while received < count:
                for socket, _ in poller.poll(ANSWER_MS):
                    answer = content.answer(caller.receive(socket))
                    received += 1
                    if left:
                        caller.send(socket, content.question())
                        left -= 1
            return answer

        yield ask


@contextlib.contextmanager
def asking_for_items(links: Sequence[str], style: str = "plain") -> Iterator[Callable[[int], object]]:
    """Give a function that asks once and reads `count` answers, each decoded, as they come."""
    with (
        peers("stream", style=style, links=links) as addresses,
        contextlib.closing(Caller(addresses, style)) as caller,
    ):
        socket = caller.sockets[0]
        socket.rcvhwm = 0

        def ask(count: int) -> object:
            caller.send(socket, [pack(count)])
            for _ in range(count):
                answer = Text.answer(caller.receive(socket))
            return answer

        yield ask


if __name__ == "__main__":
    roles: dict[str, Callable[..., None]] = {
        "serve": serve,
        "stream": stream,
        "batch": batch,
        "forward": forward,
        "fork": fork_workers,
    }
    roles[sys.argv[1]](*sys.argv[2:])
