"""What a process is told by its supervisor while it serves, but for its end: who is where, where to bind as well, and
what to log.

``{"address": [link, address or None]}``; ``{"given up": [link, why]}``; ``{"replicas": [group, links, addresses],
"number": n}``, answered by ``{"seen": n}`` once nothing more will be sent to who was left out; ``{"bind": address}``,
answered by ``{"bound": address}`` or ``{"not bound": why}``; ``{"log": text}``.
"""

from __future__ import annotations

from zflow.drivers.directory import Directory
from zflow.drivers.reactor import Reactor
from zflow.errors import ConfigError
from zflow.processes.channel import Channel, Words
from zflow.processes.logs import Log


class Hearing:
    """The ears of one process: `hear` is called on the lifeline's thread. reactor: what serves, once it does."""

    def __init__(self, channel: Channel, directory: Directory, log: Log) -> None:
        self.reactor: Reactor | None = None
        self._log = log
        self._channel = channel
        self._directory = directory

    def hear(self, words: Words) -> None:
        if "address" in words:
            link, address = words["address"]
            if address is None:
                self._directory.remove(link)
            else:
                self._directory.set(link, address)
        elif "given up" in words:
            self._directory.give_up(*words["given up"])
        elif "replicas" in words:
            self._directory.set_replicas(*words["replicas"])
            if self.reactor is None:
                self._say({"seen": words["number"]})
            else:
                self.reactor.ask(lambda: self._say({"seen": words["number"]}))
        elif "log" in words:
            self._log.info("%s", words["log"])
        elif "bind" in words and self.reactor is not None:
            self.reactor.ask(lambda: self._bind(words["bind"]))

    def _bind(self, address: str) -> None:
        assert self.reactor is not None
        try:
            self._say({"bound": self.reactor.bind(address)})
        except ConfigError as error:
            self._say({"not bound": str(error)})

    def _say(self, words: Words) -> None:
        self._channel.send(words)
