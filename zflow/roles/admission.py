"""Who may come in: which handshake is answered how and when, and what a key on the list may ask for.

The rules, in the order in which they apply:

1. A key that is not on the list is refused. Its address may try `RATE` times a second; who tries more often is told
   so later and later, up to `PATIENCE`, so that a client in a loop slows down and the list is not what it costs most.
2. A key on the list may be used for `RATE` handshakes a second, `MAX_OF_KEY` at once. What comes sooner waits for its
   turn; what would wait longer than `PATIENCE` is sent away for now. Strangers cannot use up what is a key's own.
3. There are at most `MAX_OF_KEY` connections of a key, and `MAX_OF_PORT` in all. Those of strangers do not count: they
   end soon, and must not keep anybody out.

A connection that is in stays in; that its key is still on the list is asked for every message.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import NamedTuple

from zflow.config.keys import Entry
from zflow.errors import AuthError
from zflow.roles.contract import failure
from zflow.wire.header import Kind, Message

RATE = 20.0
MAX_OF_KEY = 100
MAX_OF_PORT = 1000
PATIENCE = 1.0  # seconds; a handshake is over after three
_MAX_KNOWN = 4096

ALLOWED, REFUSED, LATER = "allowed", "refused", "sent away for now"


class Verdict(NamedTuple):
    """How a handshake is answered, and after how many seconds."""

    answer: str
    after: float = 0.0


class Admission:
    """Decides over handshakes at one port. counts: how many were answered how."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._strangers = _Buckets(RATE)
        self._keys = _Buckets(MAX_OF_KEY)
        self._connections: set[int] = set()
        self._owners: dict[int, str] = {}
        self._of_key: Counter[str] = Counter()

    def decide(self, key: str, address: str, listed: Mapping[str, Entry], now: float) -> Verdict:
        """Somebody at `address` has proven to have `key`."""
        verdict = self._verdict(key, address, key in listed, now)
        self.counts[verdict.answer] += 1
        return verdict

    def _verdict(self, key: str, address: str, is_listed: bool, now: float) -> Verdict:
        if not is_listed:
            return Verdict(REFUSED, min(self._strangers.wait(address, now), PATIENCE))
        if len(self._owners) >= MAX_OF_PORT or self._of_key[key] >= MAX_OF_KEY:
            return Verdict(LATER)
        after = self._keys.wait(key, now)
        return Verdict(ALLOWED, after) if after <= PATIENCE else Verdict(LATER)

    def connected(self, number: int) -> None:
        """Somebody, still unknown, has connected. number: which connection, until it is closed."""
        self._connections.add(number)

    def recognized(self, number: int, key: str) -> None:
        """The connection says HELLO, with a key that was allowed."""
        if number in self._connections and number not in self._owners:  # else it is closed already, or said it before
            self._owners[number] = key
            self._of_key[key] += 1

    def disconnected(self, number: int) -> None:
        """The connection is closed; its number may come again."""
        self._connections.discard(number)
        key = self._owners.pop(number, None)
        if key is not None:
            self._of_key[key] -= 1
            if not self._of_key[key]:
                del self._of_key[key]


def is_heard(entry: Entry | None, message: Message) -> bool:
    """Whether `message` may be heard. entry: of the key that it came with; None for one that is on the list no more."""
    if entry is None:
        return False
    if not entry.endpoints or message.kind is not Kind.REQUEST:
        return True
    return any(fnmatchcase(message.endpoint or "/", pattern) for pattern in entry.endpoints)


def turn_away(entry: Entry | None, message: Message, peer: str) -> Message | None:
    """What to say to `message`, which is not heard; None where nobody waits for an answer. peer: who does not hear."""
    if message.kind not in _ANSWERED:
        return None
    told = f"{peer} does not hear us any more: our key is not on its list; there: zflow keys allow NAME KEY"
    if entry is not None:
        endpoint = message.endpoint or "/"
        told = (
            f"{peer} does not let {entry.name} call {endpoint}: its list has {', '.join(entry.endpoints)} for this key"
        )
    return failure(message.call_id, AuthError(told, peer=peer), not_started=True)


_ANSWERED = (Kind.REQUEST, Kind.PING, Kind.DESCRIBE)


class _Buckets:
    """For each of many, `RATE` a second and a store of `size`: how long the next one has to wait for its turn."""

    def __init__(self, size: float) -> None:
        self._size = size
        self._levels: dict[str, tuple[float, float]] = {}  # what is left, and when that was; oldest first

    def wait(self, who: str, now: float) -> float:
        left, since = self._levels.pop(who, (self._size, now))
        left = min(self._size, left + (now - since) * RATE)
        taken = left - 1.0 >= -RATE * PATIENCE  # who is sent away has not taken anything
        self._levels[who] = (left - 1.0 if taken else left, now)
        if len(self._levels) > _MAX_KNOWN:
            del self._levels[next(iter(self._levels))]
        return max(0.0, (1.0 - left) / RATE)
