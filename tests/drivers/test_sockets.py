"""Sockets: what can be bound and dialled, what is said when it cannot, and that messages come out as they went in."""

from __future__ import annotations

import os
import socket as plain
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from zflow.drivers import sockets
from zflow.errors import ConfigError, PortInUse
from zflow.roles.contract import Refusal
from zflow.wire.frames import MAX_FRAME, MAX_FRAMES

WAIT_MS = 5000


@pytest.fixture
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    """It keeps every socket open until the test is over, whether or not the test still holds it."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    make, kept = context.socket, []

    def socket(*arguments):
        kept.append(make(*arguments))
        return kept[-1]

    context.socket = socket
    yield context
    context.destroy(linger=0)


@pytest.fixture
def bound_port() -> Iterator[int]:
    """A port that somebody else, who never answers, holds."""
    with plain.create_server(("127.0.0.1", 0)) as holder:
        yield holder.getsockname()[1]


def fate_of(monitor: zmq.Socket[bytes], curve: sockets.Curve | None = None) -> str:
    """What becomes of a connection."""
    assert monitor.poll(WAIT_MS), "nothing became of the connection"
    return sockets.read_monitor(monitor, curve)


class Pair:
    """A caller and the peer that it has dialled."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], address: str) -> None:
        self.peer, self.address = sockets.bind(context, address)
        self.caller, self.monitor = sockets.dial(context, self.address)
        self.over_tcp = sockets.is_tcp(address)

    def there(self, *frames: sockets.Buffer) -> list[zmq.Frame]:
        """What arrives at the peer of `frames`: the caller's id first."""
        sockets.send(self.caller, (), frames, self.over_tcp)
        assert self.peer.poll(WAIT_MS), "the message did not arrive"
        return sockets.receive(self.peer)


# -- binding -----------------------------------------------------------------------------------------------------------


def test_the_port_that_the_kernel_chose_is_told(context):
    _, address = sockets.bind(context, "tcp://127.0.0.1:0")
    host, _, port = address.rpartition(":")
    assert host == "tcp://127.0.0.1"
    with plain.create_connection(("127.0.0.1", int(port)), timeout=5):
        pass


def test_a_port_in_use_is_refused_with_its_number_and_who_holds_it(context, bound_port):
    with pytest.raises(PortInUse) as caught:
        sockets.bind(context, f"tcp://127.0.0.1:{bound_port}")
    told = str(caught.value)
    assert f"port {bound_port} is in use" in told
    assert f"(pid {os.getpid()})" in told
    assert "choose another port" in told


def test_two_peers_cannot_have_one_port(context):
    _, address = sockets.bind(context, "tcp://127.0.0.1:0")
    with pytest.raises(PortInUse):
        sockets.bind(context, address)


@pytest.mark.parametrize(
    "address, told",
    [
        ("tcp://192.0.2.7:0", "Cannot assign requested address"),
        ("tcp://no-such-host.invalid:0", "no such host"),
        ("ipc:///no/such/directory/socket", "No such file or directory"),
        ("ipc:///tmp/" + "ä" * 90, "File name too long"),
    ],
)
def test_an_address_that_cannot_be_bound_is_told_with_its_reason_and_once(context, address, told):
    with pytest.raises(ConfigError) as caught:
        sockets.bind(context, address)
    assert told in str(caught.value)
    assert str(caught.value).count(address) == 1


@pytest.mark.parametrize(
    "address",
    [
        "",
        "127.0.0.1:80",
        "tcp://127.0.0.1",
        "tcp://127.0.0.1:",
        "tcp://127.0.0.1:65536",
        "tcp://127.0.0.1:12345; rm",
        "tcp://a b:1",
        "tcp://127.0.0.1:1\n",
        "ipc://",
        "ipc://" + "x" * 108,
        "http://127.0.0.1:80",
        "inproc://somewhere",
    ],
)
def test_what_is_no_address_is_refused(context, address):
    for make in (sockets.bind, sockets.dial):
        with pytest.raises(ConfigError, match="is not an address"):
            make(context, address)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_a_socket_file_is_its_owners_alone_whatever_the_umask(context, ipc_directory, umask):
    path = ipc_directory / "s"
    before = os.umask(umask)
    try:
        sockets.bind(context, f"ipc://{path}")
        assert os.umask(umask) == umask, "the process' own umask must come back"
    finally:
        os.umask(before)
    assert stat.S_ISSOCK(path.stat().st_mode)
    assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0


def test_a_file_in_the_place_of_a_socket_is_left_alone(context, ipc_directory):
    """libzmq would delete it and bind."""
    path = ipc_directory / "precious"
    path.write_text("data")
    with pytest.raises(ConfigError, match="exists already"):
        sockets.bind(context, f"ipc://{path}")
    assert path.read_text() == "data"


def test_a_second_peer_cannot_steal_the_path_of_the_first(context, ipc_directory):
    """libzmq would unlink the first one's socket, which then waits for callers in vain."""
    pair = Pair(context, f"ipc://{ipc_directory}/s")
    with pytest.raises(ConfigError, match="exists already"):
        sockets.bind(context, pair.address)
    assert [frame.bytes for frame in pair.there(b"still here")[1:]] == [b"", b"still here"]


def test_a_name_without_permissions_is_refused(context):
    """Linux' abstract names can be connected to by every user of the machine."""
    with pytest.raises(ConfigError, match="is not an address"):
        sockets.bind(context, "ipc://@everybody")


def test_addresses_of_ipv6_can_be_used(context):
    if not Path("/proc/net/if_inet6").exists():
        pytest.skip("this machine has no IPv6")
    pair = Pair(context, "tcp://[::1]:0")
    assert pair.there(b"hello")[-1].bytes == b"hello"


def test_a_refusal_to_bind_leaves_no_socket_behind(ipc_directory, bound_port):
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    (ipc_directory / "taken").touch()
    for address in (f"tcp://127.0.0.1:{bound_port}", f"ipc://{ipc_directory}/taken", "nonsense"):
        with pytest.raises(ConfigError):
            sockets.bind(context, address)
    context.term()  # waits for ever while a socket is open; the time limit would tell


# -- dialling ----------------------------------------------------------------------------------------------------------


def test_nobody_listens_at_a_port(context, bound_port):
    with plain.create_server(("127.0.0.1", 0)) as closing:
        free = closing.getsockname()[1]
    _, monitor = sockets.dial(context, f"tcp://127.0.0.1:{free}")
    assert fate_of(monitor) == "nobody listens there"


def test_a_name_that_nobody_knows_is_another_matter(context):
    _, monitor = sockets.dial(context, "tcp://no.such.host.invalid:1234")
    assert fate_of(monitor) == "no such host is known here, or there is no way to it"


def test_nobody_listens_at_a_path(context, ipc_directory):
    _, monitor = sockets.dial(context, f"ipc://{ipc_directory}/nobody")
    assert fate_of(monitor) == "nobody listens there"


def test_a_peer_that_goes_breaks_the_connection(context, ipc_directory):
    pair = Pair(context, f"ipc://{ipc_directory}/s")
    pair.there(b"hello")
    pair.peer.close(0)
    assert fate_of(pair.monitor) == "the connection broke"


def test_a_dialled_socket_never_reconnects_by_itself(context, ipc_directory):
    """What was queued for one incarnation of a peer must not reach the next."""
    pair = Pair(context, f"ipc://{ipc_directory}/s")
    pair.there(b"hello")
    pair.peer.close(0)
    assert fate_of(pair.monitor) == "the connection broke"
    os.unlink(f"{ipc_directory}/s")
    again, _ = sockets.bind(context, pair.address)
    sockets.send(pair.caller, (), [b"for the first"], False)
    assert not again.poll(150)


def test_a_host_that_swallows_packets_is_given_up(context, monkeypatch):
    """The kernel itself would try for two minutes, ever more seldom, and miss the host's return."""
    monkeypatch.setattr(sockets, "_HANDSHAKE_MS", 150)
    full = plain.create_server(("127.0.0.1", 0), backlog=0)
    fillers = [plain.socket() for _ in range(3)]
    try:
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        _, monitor = sockets.dial(context, f"tcp://127.0.0.1:{full.getsockname()[1]}")
        assert fate_of(monitor) == "nobody listens there"
    finally:
        for opened in (full, *fillers):
            opened.close()


def test_a_silent_server_is_given_up(context, monkeypatch, bound_port):
    monkeypatch.setattr(sockets, "_HANDSHAKE_MS", 150)
    _, monitor = sockets.dial(context, f"tcp://127.0.0.1:{bound_port}")
    assert "is it a zflow peer" in fate_of(monitor)


def test_a_peer_that_wants_keys_is_recognised(context):
    peer = context.socket(zmq.ROUTER)
    peer.curve_publickey, peer.curve_secretkey = zmq.curve_keypair()
    peer.curve_server = True
    port = peer.bind_to_random_port("tcp://127.0.0.1")
    _, monitor = sockets.dial(context, f"tcp://127.0.0.1:{port}")
    fate = fate_of(monitor)
    if not isinstance(fate, Refusal):  # the peer was quicker to close it
        assert isinstance(fate, sockets.Suspicion) and "are keys needed?" in fate
        fate = sockets.explain(f"tcp://127.0.0.1:{port}", None)
    assert isinstance(fate, Refusal) and "it needs keys" in fate and "server_key" in fate


def test_a_peer_that_has_no_keys_is_not_trusted(context):
    _, address = sockets.bind(context, "tcp://127.0.0.1:0")
    curve = sockets.Curve(sockets.new_identity(), sockets.new_identity().public)
    _, monitor = sockets.dial(context, address, curve)
    fate = fate_of(monitor, curve)
    if not isinstance(fate, Refusal):  # the peer was quicker to close it
        assert isinstance(fate, sockets.Suspicion)
        fate = sockets.explain(address, curve)
    assert isinstance(fate, Refusal) and "it has no keys" in fate


def test_a_peer_with_another_key_is_suspected(context):
    _, address = sockets.bind(context, "tcp://127.0.0.1:0", sockets.new_identity())
    curve = sockets.Curve(sockets.new_identity(), sockets.new_identity().public)
    _, monitor = sockets.dial(context, address, curve)
    fate = fate_of(monitor, curve)
    assert isinstance(fate, sockets.Suspicion) and "compare server_key" in fate
    assert isinstance(sockets.explain(address, curve), Refusal)


def test_a_connection_that_nobody_explains_is_no_matter_of_keys():
    with plain.create_server(("127.0.0.1", 0)) as listening:
        address = f"tcp://127.0.0.1:{listening.getsockname()[1]}"
    assert sockets.explain(address, None) is None
    assert sockets.explain(address, sockets.Curve(sockets.new_identity(), "key")) is None


def test_a_port_with_keys_and_nobody_who_checks_them_lets_nobody_in(context):
    server = sockets.new_identity()
    front, address = sockets.bind(context, "tcp://127.0.0.1:0", server)
    curve = sockets.Curve(sockets.new_identity(), server.public)
    dealer, monitor = sockets.dial(context, address, curve)
    sockets.send(dealer, (), [b"in"], True)
    assert fate_of(monitor, curve)
    assert not sockets.has_input(front)


def test_a_new_public_key_is_taken_for_no_option():
    assert all(sockets.new_identity().public[0].isalnum() for _ in range(100))


def test_secrets_are_in_no_repr():
    identity = sockets.new_identity()
    assert identity.secret not in repr(sockets.Curve(identity, "server"))


def test_an_address_that_cannot_be_dialled_is_told_and_leaves_no_socket_behind():
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    with pytest.raises(ConfigError, match="cannot connect to ipc:///.*: File name too long"):
        sockets.dial(context, "ipc:///" + "ä" * 90)
    context.term()


def test_running_out_of_sockets_is_an_error_of_ours_with_its_cause():
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    context.max_sockets = 1
    taken = context.socket(zmq.PAIR)
    for make, address in ((sockets.bind, "tcp://127.0.0.1:0"), (sockets.dial, "tcp://127.0.0.1:9")):
        with pytest.raises(ConfigError, match="Too many open files"):
            make(context, address)
    taken.close(0)
    context.term()


def test_no_two_monitors_have_one_name(context, bound_port):
    address = f"tcp://127.0.0.1:{bound_port}"
    for _ in range(50):
        dialled, monitor = sockets.dial(context, address)
        dialled.disable_monitor()
        monitor.close(0)
        dialled.close(0)
    sockets.dial(context, address)


# -- messages ----------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["tcp", "ipc"])
def pair(request, context, ipc_directory) -> Pair:
    return Pair(context, "tcp://127.0.0.1:0" if request.param == "tcp" else f"ipc://{ipc_directory}/s")


def test_frames_arrive_as_they_were_sent_behind_an_empty_one(pair):
    frames = [b"header", b"x" * 200_000, memoryview(b"y" * 300), bytearray(b"z" * 70_000)]
    identity, delimiter, *received = pair.there(*frames)
    assert len(identity.bytes) == 5 and delimiter.bytes == b""
    assert [frame.bytes for frame in received] == [bytes(frame) for frame in frames]


@pytest.mark.parametrize(("sent", "most", "read"), [(1, 9, 1), (3, 9, 3), (9, 9, 9), (20, 9, 9), (20, 64, 20)])
def test_of_those_that_wait_behind_each_other_so_many_are_read(pair, sent, most, read):
    for number in range(sent):
        sockets.send(pair.caller, (), [str(number).encode()], pair.over_tcp)
    received: list[bytes] = []
    for _ in range(1000):  # they need not all be there at once
        if len(received) >= read or not pair.peer.poll(WAIT_MS):
            break
        received += [frames[-1].bytes for frames in sockets.receive_all(pair.peer, most - len(received))]
    assert received == [str(number).encode() for number in range(read)]
    assert bool(pair.peer.poll(50 if read == sent else WAIT_MS)) is (read < sent)


def test_received_frames_can_be_sent_on_as_they_are_and_back(pair):
    identity, _, *received = pair.there(b"header", b"x" * 200_000)
    sockets.send(pair.peer, (identity.bytes,), received, pair.over_tcp)
    assert pair.caller.poll(WAIT_MS)
    assert [frame.bytes for frame in sockets.receive(pair.caller)] == [b"", b"header", b"x" * 200_000]


def test_large_frames_are_cut_on_tcp_and_whole_on_ipc(pair):
    whole = os.urandom(5 * MAX_FRAME + 17)
    received = pair.there(b"header", whole, b"last")[2:]
    cut = [MAX_FRAME] * 5 + [17]
    expected = cut if pair.over_tcp else [len(whole)]
    assert [len(frame) for frame in received] == [6, *expected, 4]
    assert b"".join(frame.bytes for frame in received[1:-1]) == whole


def test_a_frame_of_exactly_the_limit_stays_whole(pair):
    assert [len(frame) for frame in pair.there(b"h", bytes(MAX_FRAME))[2:]] == [1, MAX_FRAME]


def test_a_message_of_too_many_frames_is_kept_long_enough_to_be_recognised_and_no_longer(pair):
    received = pair.there(*[b"x"] * (3 * MAX_FRAMES))
    assert MAX_FRAMES < len(received[2:]) <= MAX_FRAMES + 16
    assert [frame.bytes for frame in pair.there(b"next")[2:]] == [b"next"], "the rest of it was not read away"


def test_a_frame_beyond_the_limit_of_tcp_ends_only_its_own_connection(context):
    pair = Pair(context, "tcp://127.0.0.1:0")
    hostile = context.socket(zmq.DEALER)
    hostile.connect(pair.address)
    hostile.send(bytes(MAX_FRAME + 128 * 1024))
    assert pair.there(b"good")[-1].bytes == b"good"
    assert not pair.peer.poll(50)


def test_sending_to_who_has_gone_fails_instead_of_vanishing(pair):
    identity = pair.there(b"hello")[0].bytes
    pair.caller.close(0)
    with pytest.raises(zmq.ZMQError) as caught:
        for _ in range(5000):
            sockets.send(pair.peer, (identity,), [b"anybody?"], pair.over_tcp)
            pair.peer.poll(1)
    assert caught.value.errno == zmq.EHOSTUNREACH


def test_sending_to_who_never_reads_fails_instead_of_blocking(context, ipc_directory, monkeypatch):
    monkeypatch.setattr(sockets, "_HIGH_WATER", 1000)
    pair = Pair(context, f"ipc://{ipc_directory}/s")
    identity = pair.there(b"hello")[0].bytes
    with pytest.raises(zmq.ZMQError) as caught:
        for _ in range(100_000):
            sockets.send(pair.peer, (identity,), [b"x" * 1000], False)
    assert caught.value.errno == zmq.EAGAIN
    other, _ = sockets.dial(context, pair.address)
    sockets.send(other, (), [b"and me?"], False)
    assert pair.peer.poll(WAIT_MS)
    sockets.send(pair.peer, (sockets.receive(pair.peer)[0].bytes,), [b"you too"], False)
    assert other.poll(WAIT_MS)


def test_whether_a_message_waits_can_be_asked(pair):
    assert not sockets.has_input(pair.peer)
    sockets.send(pair.caller, (), [b"hello"], pair.over_tcp)
    assert pair.peer.poll(WAIT_MS)
    assert sockets.has_input(pair.peer)
    sockets.receive(pair.peer)
    assert not sockets.has_input(pair.peer)


def test_only_tcp_is_open_to_strangers():
    assert sockets.is_tcp("tcp://127.0.0.1:0")
    assert not sockets.is_tcp("ipc:///somewhere")
