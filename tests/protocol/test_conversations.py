"""The conversations of protocol/conversations, played with the real roles: what arrives, and what must leave."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from tests.protocol import reading
from zflow import errors
from zflow.roles.contract import Link, Role, Steps
from zflow.roles.gateway import Gateway
from zflow.roles.head import Head
from zflow.roles.head_peer import HeadPeer
from zflow.roles.shards import Shards
from zflow.roles.worker import Worker
from zflow.topology import Node, Topology
from zflow.wire.frames import Part, part
from zflow.wire.header import Kind, Message, decode, encode
from zflow.wire.payload import decode_map, encode_map

BEGIN = 1000.0  # no role may rely on a clock that begins with 0
IDS = ("conn", "nonce", "boot", "request")
CONVERSATIONS = reading.conversations()
EVENTS = {"arrives", "opens", "breaks", "unreadable", "drains", "passes"}


def an_id(noted: str) -> bytes:
    return bytes.fromhex(noted).rjust(16, b"\0")


def ids(noted: list[str]) -> Callable[[], bytes]:
    """Gives those that are noted, then others."""
    numbers = itertools.chain(map(an_id, noted), (number.to_bytes(16, "big") for number in itertools.count(1 << 64)))
    return lambda: next(numbers)


# -- the roles ---------------------------------------------------------------------------------------------------------


def worker(setup: dict[str, Any]) -> Worker:
    describes = setup.get("describes", {})
    return Worker(
        setup["name"],
        boot=an_id(setup["boot"]),
        credit=setup.get("credit", 4),
        new_nonce=ids(setup["nonces"]) if "nonces" in setup else None,
        idempotent=setup.get("idempotent", []),
        deaths=[an_id(noted) for noted in setup["deaths"]] if "deaths" in setup else None,
        describe=lambda: describes,
    )


def head(setup: dict[str, Any]) -> Role:
    made = partial(
        Head,
        setup["node"],
        new_id=ids(setup.get("ids", [])),
        nodes=setup.get("nodes", []),
        chance=lambda: float(setup.get("chance", 1.0)),
    )
    if "shards" not in setup:
        return made(setup["replicas"])
    return Shards(
        setup["node"],
        [made(links, name=f"{setup['node']}/shard-{number}") for number, links in enumerate(setup["shards"])],
        polls_all={"*": False, **dict.fromkeys(setup["all"], True)},
        allow_partial=setup.get("partial", False),
        before=made([setup["before"]]) if "before" in setup else None,
        after=made([setup["after"]]) if "after" in setup else None,
        chance=lambda: 0.0,
    )


def head_process(setup: dict[str, Any]) -> HeadPeer:
    inside = Head(setup["node"], setup["replicas"], new_id=ids([]), chance=lambda: 1.0)
    return HeadPeer(setup["name"], inside, described_by=setup["replicas"], new_id=ids(setup["ids"]))


def caller(setup: dict[str, Any]) -> Head:
    return Head(setup["peer"], [setup["peer"]], new_id=ids(setup.get("ids", [])))


def gateway(setup: dict[str, Any]) -> Gateway:
    limits = {node["name"]: node.get("limit") for node in setup["nodes"]}
    nodes = [_node(node) for node in setup["nodes"]]
    names = [node.name for node in nodes]
    return Gateway(
        Topology(nodes),
        {name: Head(name, [f"{name}/rep-0"], new_id=ids([]), nodes=names, timeout=limits[name]) for name in names},
        new_id=ids(setup.get("ids", [])),
        credit=setup.get("credit", 256),
        new_nonce=ids(setup["nonces"]) if "nonces" in setup else None,
    )


def _node(noted: dict[str, Any]) -> Node:
    said = {key: reading.value(item) for key, item in noted.items() if key not in ("name", "needs", "limit")}
    return Node(noted["name"], tuple(noted["needs"]), **said)


ROLES: dict[str, Callable[[dict[str, Any]], Role]] = {
    "worker": worker,
    "head": head,
    "head process": head_process,
    "caller": caller,
    "gateway": gateway,
}


# -- messages ----------------------------------------------------------------------------------------------------------


def message_of(noted: dict[str, Any]) -> Message:
    """What arrives, there and back over the wire: a conversation is made of messages that can be."""
    message = Message(
        Kind[noted["kind"]],
        an_id(noted["call_id"]) if "call_id" in noted else b"",
        noted.get("endpoint", ""),
        noted.get("budget"),
        reading.flags_of(noted.get("flags", [])),
        [_part_of(item) for item in noted.get("parts", [])],
        _extra(noted.get("extra", {})),
    )
    return decode([bytes(frame) for frame in encode(message)])


def _part_of(noted: dict[str, Any]) -> Part:
    buffer = encode_map(noted["map"]) if "map" in noted else noted["holds"].encode()
    return part(reading.PART_KINDS[noted["kind"]], noted["label"], [buffer], noted.get("shard"))


def _extra(noted: dict[str, Any]) -> dict[str, Any]:
    extra = {key: an_id(value) if key in IDS else reading.value(value) for key, value in noted.items()}
    if "deaths" in extra:
        extra["deaths"] = [an_id(item) for item in extra["deaths"]]
    return extra


def differences(message: Message, noted: dict[str, Any]) -> Iterator[str]:
    """In what `message`, which left, is not what is noted."""
    expected = {
        "kind": Kind[noted["kind"]],
        "call_id": an_id(noted["call_id"]) if noted.get("call_id") else b"",
        "flags": reading.flags_of(noted.get("flags", [])),
        "endpoint": noted.get("endpoint"),
        "budget": noted.get("budget"),
    }
    for name, value in expected.items():
        if (name in noted or name == "flags") and getattr(message, name) != value:
            yield f"{name}: {getattr(message, name)!r} instead of {value!r}"
    for key, value in _extra(noted.get("extra", {})).items():
        if message.extra.get(key) != value:
            yield f"extra {key}: {message.extra.get(key)!r} instead of {value!r}"
    if "parts" in noted and list(message.parts) != [_part_of(item) for item in noted["parts"]]:
        yield f"parts: {list(message.parts)} instead of {noted['parts']}"
    details = decode_map(message.parts[0].buffers()[0]) if "details" in noted and message.parts else {}
    for key, value in noted.get("details", {}).items():
        if details.get(key) != value:
            yield f"details {key}: {details.get(key)!r} instead of {value!r}"


# -- playing -----------------------------------------------------------------------------------------------------------


class Player:
    """Plays one conversation: moves the clock, tells the role what happens, and gathers what leaves."""

    def __init__(self, conversation: dict[str, Any]) -> None:
        setup = conversation["setup"]
        self.role = ROLES[conversation["role"]](setup)
        self._named = {*self.role.ways_out(), "executor", "application"}

    def play(self, step: dict[str, Any]) -> Steps:
        """What leaves in a step."""
        now = BEGIN + step["at"]
        early = self._expire(until=now)
        assert not early, f"before {step['at']} s nothing is said to leave, but {early} did"
        leaving = self._told(step, now)
        for _ in range(100):
            due = self.role.next_deadline()
            if due is None or due > now:
                return [(link, decode(encode(message))) for link, message in leaving]
            leaving += self.role.expire(now)
        raise AssertionError(f"it is still due at {due}, after 100 times")

    def _expire(self, until: float) -> Steps:
        """What leaves by itself before `until`."""
        for _ in range(100):
            due = self.role.next_deadline()
            if due is None or due >= until:
                return []
            steps = self.role.expire(due)
            if steps:
                return steps
        raise AssertionError(f"it is still due at {due}, after 100 times")

    def _told(self, step: dict[str, Any], now: float) -> Steps:
        role = self.role
        if "arrives" in step:
            arriving = step["arrives"] if isinstance(step["arrives"], list) else [step["arrives"]]
            return [
                leaving
                for noted in arriving
                for leaving in role.receive(self._link(noted["by"]), message_of(noted), now)
            ]
        if "unreadable" in step:
            noted = step["unreadable"]
            error = getattr(errors, noted["error"])("it cannot be read")
            error.call_id = an_id(noted["call_id"]) if "call_id" in noted else b""
            return role.malformed(self._link(noted["by"]), error, now)
        if "opens" in step:
            return role.opened(step["opens"], now)
        if "breaks" in step:
            return role.lost(self._link(step["breaks"]), "the connection broke", now)
        if "drains" in step:
            return role.drain(now)
        assert "passes" in step
        return role.expire(now)

    def _link(self, name: str) -> Link:
        return name if name in self._named else (name.encode(),)


def by_link(steps: Steps) -> dict[str, list[Message]]:
    """What leaves, in order for each link."""
    found: dict[str, list[Message]] = {}
    for link, message in steps:
        found.setdefault(link if isinstance(link, str) else link[0].decode(), []).append(message)
    return found


@pytest.mark.parametrize(
    "conversation", [pytest.param(told, id=f"{told['role']}: {told['title']}") for told in CONVERSATIONS]
)
def test_a_conversation_goes_as_it_is_told(conversation: dict[str, Any]) -> None:
    player = Player(conversation)
    for step in conversation["steps"]:
        left = by_link(player.play(step))

        where = f"at {step['at']} s"
        for noted in step["leaves"]:
            messages = left.get(noted["by"], [])
            if noted.get("or_not") and not messages:
                continue
            assert messages, f"{where}: nothing left by {noted['by']}, where {noted} is due"
            assert list(differences(messages.pop(0), noted)) == [], f"{where}: {noted}"
        assert not any(left.values()), f"{where}: more left than is told: {left}"
        if "may_exit" in step:
            assert player.role.is_idle(BEGIN + step["at"]) is step["may_exit"], where


def test_each_role_has_conversations_and_each_has_its_own_title() -> None:
    titles = [(told["role"], told["title"]) for told in CONVERSATIONS]

    assert {role for role, _ in titles} == ROLES.keys()
    assert len(set(titles)) == len(titles) >= 50


def test_conversations_hold_nothing_that_nobody_reads() -> None:
    message = {"by", "kind", "call_id", "endpoint", "budget", "flags", "extra", "parts"}
    for told in CONVERSATIONS:
        assert told.keys() == {"title", "role", "setup", "steps"}
        times = [step["at"] for step in told["steps"]]
        assert times == sorted(times)
        for step in told["steps"]:
            assert len(step.keys() & EVENTS) == 1
            assert step.keys() <= EVENTS | {"at", "leaves", "may_exit"}
            assert all(noted.keys() <= message | {"details", "or_not"} for noted in step["leaves"])


def test_every_kind_arrives_at_every_role_or_leaves_it() -> None:
    """A state table says something of every kind, so somebody should have tried."""
    for name in ("worker", "head"):
        met = set()
        for told in CONVERSATIONS:
            if told["role"] == name:
                for step in told["steps"]:
                    arriving = step.get("arrives", [])
                    met |= {noted["kind"] for noted in (arriving if isinstance(arriving, list) else [arriving])}
                    met |= {noted["kind"] for noted in step["leaves"]}
        assert met >= {kind.name for kind in Kind} - ({"STATUS", "DESCRIPTION"} if name == "head" else set())
