"""Pods as a cluster has them: each with an address of its own, found by a name whose addresses change while they run.

A network namespace is the node, with a bridge and a server for names on it; each pod is a namespace on that bridge.
What runs in a pod asks that server and nobody else.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support.processes import wait_for

_NODE = "10.231.8.1"
_SERVER = """
import sys
from dnslib import A, QTYPE, RR
from dnslib.server import BaseResolver, DNSLogger, DNSServer
class Names(BaseResolver):
    def resolve(self, request, handler):
        asked, reply = str(request.q.qname).rstrip('.'), request.reply()
        with open(sys.argv[1]) as file:
            pairs = [line.split() for line in file]
        if not any(name == asked for name, _ in pairs):
            reply.header.rcode = 3  # there is no such name
        elif request.q.qtype == QTYPE.A:
            for name, address in pairs:
                if name == asked and address != '-':
                    reply.add_answer(RR(asked, QTYPE.A, rdata=A(address), ttl=5))
        return reply
server = DNSServer(Names(), address=sys.argv[2], port=53, logger=DNSLogger('-request,-reply,-truncated,-error'))
print('answering', flush=True)
server.start()
"""
_INSIDE = 'mount --bind "$0" /etc/resolv.conf && mount --bind "$1" /etc/nsswitch.conf && shift && exec "$@"'


class Pods:
    """Makes namespaces and says which addresses names have. folder: for files; domain: of names, as in a cluster."""

    def __init__(self, folder: Path, domain: str = "search.svc.cluster.local") -> None:
        self._folder = folder
        self._domain = domain
        self._made: list[str] = []
        self._names: dict[str, list[str]] = {}
        self._node = f"zflow-node-{os.getpid()}"
        self._server: subprocess.Popen[str] | None = None

    def open(self) -> None:
        """The node, and its server for names."""
        _ip("netns", "add", self._node)
        _ip("-n", self._node, "link", "set", "lo", "up")
        # An address of its own: else it takes the lowest of its ports', and pods lose it whenever another one comes.
        _ip("-n", self._node, "link", "add", "bridge", "address", "02:00:00:00:00:01", "type", "bridge")
        _ip("-n", self._node, "address", "add", f"{_NODE}/24", "dev", "bridge")
        _ip("-n", self._node, "link", "set", "bridge", "up")
        (self._folder / "resolv.conf").write_text(
            f"nameserver {_NODE}\nsearch {self._domain} svc.cluster.local cluster.local\noptions ndots:5\n"
        )
        (self._folder / "nsswitch.conf").write_text("hosts: files dns\n")
        self._write()
        words = ["ip", "netns", "exec", self._node, sys.executable, "-c", _SERVER, str(self._folder / "names"), _NODE]
        self._server = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        assert self._server.stdout is not None
        assert self._server.stdout.readline() == "answering\n"

    def close(self) -> None:
        """Everything is gone. What runs in pods must have ended."""
        if self._server is not None:
            self._server.kill()
            self._server.communicate()
        for name in (*self._made, self._node):
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)

    def make(self) -> str:
        """A pod; its address."""
        number = len(self._made) + 2
        name, cable, address = f"zflow-pod-{os.getpid()}-{number}", f"pod{number}", f"10.231.8.{number}"
        _ip("netns", "add", name)
        self._made.append(name)
        _ip("-n", name, "link", "set", "lo", "up")
        _ip("link", "add", cable, "netns", self._node, "type", "veth", "peer", "name", "eth0", "netns", name)
        _ip("-n", self._node, "link", "set", cable, "master", "bridge", "up")
        _ip("-n", name, "address", "add", f"{address}/24", "dev", "eth0")
        _ip("-n", name, "link", "set", "eth0", "up")
        return address

    def cut(self, address: str) -> None:
        """Nothing that the pod sends arrives anywhere, and it hears nothing."""
        _ip("-n", self._node, "link", "set", f"pod{address.rpartition('.')[2]}", "down")

    def command(self, address: str, *words: str) -> list[str]:
        """What runs `words` in that pod."""
        name = self._made[int(address.rpartition(".")[2]) - 2]
        files = [str(self._folder / "resolv.conf"), str(self._folder / "nsswitch.conf")]
        return ["ip", "netns", "exec", name, "unshare", "--mount", "sh", "-c", _INSIDE, *files, *words]

    def name(self, **names: Sequence[str]) -> None:
        """From now on these names have these addresses; underscores are hyphens."""
        self._names.update({name.replace("_", "-"): list(addresses) for name, addresses in names.items()})
        self._write()

    def listens(self, address: str, port: int) -> None:
        """Return when somebody listens in that pod: what a probe of its node would find."""
        name = self._made[int(address.rpartition(".")[2]) - 2]
        line = f":{port:04X} 00000000:0000 0A "

        def has_it() -> bool:
            told = subprocess.run(["ip", "netns", "exec", name, "cat", "/proc/net/tcp"], capture_output=True, text=True)
            return line in told.stdout

        wait_for(has_it, f"port {port} in {address}", 30)

    def _write(self) -> None:
        pairs = [
            f"{name}.{self._domain} {address}\n"
            for name, addresses in self._names.items()
            for address in addresses or ("-",)
        ]
        (self._folder / "names.new").write_text("".join(pairs))
        os.replace(self._folder / "names.new", self._folder / "names")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


@contextmanager
def pods(folder: Path) -> Iterator[Pods]:
    """A node without pods. folder: for its files."""
    made = Pods(folder)
    try:
        made.open()
        yield made
    finally:
        made.close()
