"""Carries a role: waits on its sockets and its clock, tells it what happened, carries out the steps it returns.

This is the part that reactor and inline driver share. One thread owns a carrier and everything in it.

A way out is one connection of one socket. When the connection is lost, everything that had arrived is delivered, the
role is told, the socket is closed and after a pause a new one is dialled, at the address the directory then knows.
When the replicas of a group change, the role is told; a way out that it has no use for any more is closed for good.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import zmq

from zflow.drivers import sockets
from zflow.drivers.authenticator import Authenticator
from zflow.drivers.callers import Callers
from zflow.drivers.directory import Directory
from zflow.drivers.news import News
from zflow.drivers.waiting import Waiting, descriptor_of
from zflow.drivers.way_out import LONGEST_PAUSE, WayOut
from zflow.errors import ConfigError, ProtocolError, RemoteError, UnsupportedRequest
from zflow.roles import admission
from zflow.roles.contract import APPLICATION, EXECUTOR, GivenUp, Link, Owed, Refusal, Role, Step, Steps
from zflow.wire.header import Kind, Message, decode, encode

clock = time.monotonic

_LOOK_AGAIN = 0.02  # seconds until the directory is asked again for a peer without an address
_BURST = 64  # messages read from one socket before the others are looked at
# Seconds; a poll that returns sooner did not sleep: more than one message may wait. One alone is followed by none.
_DENSE = 20e-6
_FAREWELL_MS = 200
_MAY_COME = 1024  # ways out that may come while it runs


def _say_nothing(told: str) -> None:
    """Nobody wants to know."""


class Carrier:
    """Runs `role`: `turn` by `turn`. What the role addresses to a local end is left in `asked` and `answered`.

    asked: REQUESTs for the link "executor", to be run and answered by whoever owns the carrier. answered: outcomes
    for the link "application".

    keys: the folder of the keys that callers at `bind` must have; empty for none. report: tells people of those who
    were not let in.
    """

    def __init__(
        self,
        role: Role,
        directory: Directory,
        *,
        bind: str | None = None,
        keys: str = "",
        report: Callable[[str], None] = _say_nothing,
    ) -> None:
        self.role = role
        self.asked: deque[Message] = deque()
        self.answered: deque[Message] = deque()
        self.dropped = 0
        self.address = ""
        self._directory = directory
        self._news = News(directory)
        self._told_of_replicas()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        # Two per way out, and as many again that are still closing. libzmq touches a table of this size: at its most
        # of 65,535 that is 0.8 MB in every process.
        ways_out = len(role.ways_out())
        self._context.max_sockets = min(65_535, 64 + 4 * (ways_out + _MAY_COME if ways_out else 0))
        self._waiting = Waiting()
        self._touched = self._waiting.touched
        self._is_dense = False
        self._expects_many = False
        self._readers: dict[Any, Callable[[], None]] = {}
        self._front: zmq.Socket[bytes] | None = None
        self._front_over_tcp = False
        self._callers = Callers()
        self._authenticator: Authenticator | None = None
        self._ways_out = {link: WayOut(link) for link in role.ways_out()}
        self._undialled = list(self._ways_out.values())
        self._has_leaving = False
        self._told_of_given_up()
        try:
            if bind is not None:
                self._front_over_tcp = sockets.is_tcp(bind)
                if keys and self._front_over_tcp:
                    self._bind_with_keys(bind, keys, report)
                else:
                    self._front, self.address = sockets.bind(self._context, bind)
                self._watch(self._front, self._read_front)
        except BaseException:
            self.close()
            raise

    # -- for the drivers ---------------------------------------------------------------------------------------------

    def turn(self, until: float | None) -> bool:
        """Deliver what has come in, dial what is due; first sleep until something comes, or until the time `until`.

        Returns whether anything had come in or was due. Either may have been answered, and who sleeps on `descriptors`
        does not learn what comes in while something is sent: it turns until nothing is left.
        """
        now = clock()
        if self._undialled:
            self._dial_due(now)
        due = self.next_due()
        if until is not None and (due is None or until < due):
            due = until
        ready = self._waiting.sleep(None if due is None else due - now)
        self._is_dense = self._expects_many or clock() - now < _DENSE
        self._expects_many = False
        for source in ready:
            reader = self._readers.get(source)
            if reader is not None:  # an earlier one of this round may have closed it
                reader()
        due = self.role.next_deadline()
        is_due = due is not None and due <= (now := clock())
        if is_due:
            self.carry(self.role.expire(now))
        self.look_up()
        if self._has_leaving:
            self._close_left()
        return is_due or bool(ready)

    def look_up(self) -> None:
        """Act on what has changed in the directory; it costs one comparison if nothing has."""
        if self._news.version != self._directory.version:
            self._look_up()

    def next_due(self) -> float | None:
        """When `turn` has something to do at the latest, even if nothing comes in."""
        due = self.role.next_deadline()
        if self._undialled:
            dial_at = min(way_out.dial_at for way_out in self._undialled)
            return dial_at if due is None else min(due, dial_at)
        return due

    def bind(self, address: str) -> str:
        """Listen at `address` besides where it listens already. Returns the address really bound; raises PortInUse."""
        assert self._front is not None
        bound = sockets.bind_also(self._front, address)
        self._front_over_tcp = self._front_over_tcp or sockets.is_tcp(address)
        return bound

    def expect_many(self) -> None:
        """Nobody has looked for a while: the next turn reads everything that waits, a cancel behind what it cancels."""
        self._expects_many = True

    def deliver(self, link: Link, message: Message) -> None:
        """A local end says `message`."""
        self.look_up()  # a replica that is leaving must not be sent what it could lose
        self.carry(self.role.receive(link, message, clock()))

    def hear(self, link: Link, message: Message) -> Steps:
        """As `deliver`, but the steps that follow are for you to `carry`: answers can wait for what is more urgent."""
        return self.role.receive(link, message, clock())

    def carry(self, steps: Iterable[Step]) -> None:
        """Carry out `steps`, and those that follow from what fails."""
        for link, message in steps:
            if link == EXECUTOR:
                self.asked.append(message)
            elif link == APPLICATION:
                self.answered.append(message)
            elif isinstance(link, str):
                self._send_out(self._ways_out[link], message)
            else:
                self._send_back(link, message)

    def add_reader(self, descriptor: int, reader: Callable[[], None]) -> None:
        """Call `reader` in `turn` whenever `descriptor` is readable."""
        self._watch(descriptor, reader)

    def descriptors(self) -> dict[int, object]:
        """What an event loop must watch: each becomes readable when `turn` may have something to do.

        With each its owner: the number of a socket that was closed may soon be another one's.
        """
        return {descriptor_of(source): source for source in self._readers}

    @property
    def descriptors_version(self) -> int:
        """Grows when `descriptors` has others to tell."""
        return self._waiting.version

    def close(self, linger_ms: int = 0) -> None:
        """Say goodbye and close everything. What was sent gets `linger_ms` to leave."""
        for way_out in self._ways_out.values():
            self._say_goodbye(way_out, linger_ms)
        if self._front is not None:
            self._front.setsockopt(zmq.LINGER, linger_ms)
            self._unwatch(self._front)
            if self._authenticator is not None:
                self._front.disable_monitor()
            self._front.close()
            self._front = None
        if self._authenticator is not None:
            self._authenticator.close()
            self._authenticator = None
        self._readers.clear()
        self._waiting.close()
        self._context.term()

    # -- sending -----------------------------------------------------------------------------------------------------

    def _send_out(self, way_out: WayOut, message: Message) -> None:
        if way_out.socket is None:
            return  # lost a moment ago; the role has been told and has drawn its conclusions
        self._touched.add(way_out.socket)
        try:
            sockets.send(way_out.socket, (), encode(message), way_out.over_tcp)
        except zmq.ZMQError as error:
            self._lose(way_out, f"cannot send: {error}")

    def _send_back(self, route: tuple[bytes, ...], message: Message) -> None:
        if self._front is None:
            return
        self._touched.add(self._front)
        frames = encode(message.make() if type(message) is Owed else message)
        try:
            sockets.send(self._front, route, frames, self._front_over_tcp)
        except zmq.ZMQError as error:
            self.dropped += 1
            if error.errno == zmq.EAGAIN:  # it does not read, and what it leaves unread must not stay here
                self._callers.cut_off(route[0])
            self.carry(self.role.lost(route, f"cannot send: {error}", clock()))
        else:
            if self._front_over_tcp and self._callers.leaves_unread(
                route[0], frames, is_piece=message.kind is Kind.PARTIAL
            ):
                self._callers.cut_off(route[0])
                self.carry(self.role.lost(route, "it leaves too much unread", clock()))

    # -- receiving ---------------------------------------------------------------------------------------------------

    def _read_front(self) -> None:
        front = self._front
        assert front is not None
        self._touched.add(front)
        authenticator = self._authenticator
        if authenticator is not None:
            authenticator.refresh()
        for frames in sockets.receive_all(front, _BURST if self._is_dense else 1):
            route = sockets.route_of(frames)
            if route is None:
                self.dropped += 1
            else:
                if route[0] not in self._callers.known:
                    self._callers.note(route[0], frames[0])
                if authenticator is None:
                    self._deliver(route, frames[len(route) + 1 :])
                else:
                    self._deliver_if_allowed(authenticator, frames[0], route, frames[len(route) + 1 :])
            if self._front is not front:
                return

    def _read_way_out(self, way_out: WayOut) -> None:
        socket = way_out.socket
        assert socket is not None
        self._touched.add(socket)
        for frames in sockets.receive_all(socket, _BURST if self._is_dense else 1):
            if len(frames[0]):
                self.dropped += 1
            else:
                way_out.has_heard()
                self._deliver(way_out.link, frames[1:], way_out)
            if way_out.socket is not socket:
                break
        self._hand_over(way_out.link, way_out.let_go())

    def _deliver(self, link: Link, frames: list[Any], way_out: WayOut | None = None) -> None:
        if frames:
            frames[0] = frames[0].bytes
        try:
            message = decode(frames)
        except (ProtocolError, UnsupportedRequest) as error:
            if way_out is not None:
                self._hand_over(link, way_out.let_go())
            self._malformed(link, error)
        else:
            self._hand_over(link, (message,) if way_out is None else way_out.take(message))

    def _hand_over(self, link: Link, messages: Sequence[Message]) -> None:
        for message in messages:
            self.carry(self.role.receive(link, message, clock()))

    def _deliver_if_allowed(
        self, authenticator: Authenticator, first: Any, route: tuple[bytes, ...], frames: list[Any]
    ) -> None:
        """first: a frame as it came in, which tells whose the message is."""
        entry = authenticator.entry_of(first)
        if frames:
            frames[0] = frames[0].bytes
        try:
            message = decode(frames)
        except (ProtocolError, UnsupportedRequest) as error:
            if entry is None:
                self.dropped += 1
            else:
                self._malformed(route, error)
            return
        if admission.is_heard(entry, message):
            authenticator.note(first, message)
            self.carry(self.role.receive(route, message, clock()))
            return
        self.dropped += 1
        answer = admission.turn_away(entry, message, self.address)
        if answer is not None:
            self._send_back(route, answer)

    def _malformed(self, link: Link, error: RemoteError) -> None:
        self.dropped += 1
        self.carry(self.role.malformed(link, error, clock()))

    # -- connections -------------------------------------------------------------------------------------------------

    def _bind_with_keys(self, bind: str, keys: str, report: Callable[[str], None]) -> None:
        self._authenticator = Authenticator(self._context, keys, report)  # first: nobody comes in unasked
        self._front, self.address = sockets.bind(self._context, bind, self._authenticator.identity)
        self._authenticator.watch(sockets.watch_callers(self._context, self._front))

    def _dial_due(self, now: float) -> None:
        waiting, self._undialled = self._undialled, []
        for way_out in waiting:
            if way_out.dial_at > now or not self._dial(way_out, now):
                self._undialled.append(way_out)

    def _dial(self, way_out: WayOut, now: float) -> bool:
        address = self._directory.get(way_out.link)
        if address is None:
            way_out.dial_at = now + _LOOK_AGAIN
            return False
        way_out.address = address
        way_out.over_tcp = sockets.is_tcp(address)
        way_out.heard = False
        way_out.curve = self._directory.curve(way_out.link) if way_out.over_tcp else None
        try:
            way_out.socket, way_out.monitor = sockets.dial(self._context, address, way_out.curve)
        except ConfigError as error:
            way_out.dial_at = now + LONGEST_PAUSE
            self.carry(self.role.lost(way_out.link, str(error), now))
            return False
        self._watch(way_out.socket, lambda: self._read_way_out(way_out))
        self._watch(way_out.monitor, lambda: self._connection_ended(way_out))
        self.carry(self.role.opened(way_out.link, now))
        return True

    def _connection_ended(self, way_out: WayOut) -> None:
        if way_out.monitor is None:
            return
        self._touched.add(way_out.monitor)
        reason = sockets.read_monitor(way_out.monitor, way_out.curve)
        if way_out.is_suspicious_of(reason):
            reason = sockets.explain(way_out.address, way_out.curve) or reason
        socket = way_out.socket
        while socket is not None and way_out.socket is socket and sockets.has_input(socket):
            self._read_way_out(way_out)  # answers that had arrived before the end
        if way_out.socket is socket:
            self._lose(way_out, reason)

    def _lose(self, way_out: WayOut, reason: str) -> None:
        self._hang_up(way_out)
        now = clock()
        way_out.dial_at = now + way_out.pause_after(reason) * random.random()
        self._undialled.append(way_out)
        where = "" if way_out.address == way_out.link else f"{way_out.address}: "
        told = where + reason
        self.carry(self.role.lost(way_out.link, Refusal(told) if isinstance(reason, Refusal) else told, now))
        self._directory.lost(way_out.link)

    def _look_up(self) -> None:
        """The directory has changed: dial at once who has an address now, leave who has moved or gone."""
        self._news.version = self._directory.version
        if self._told_of_replicas():
            self._follow_role()
        for way_out in self._ways_out.values():
            address = self._directory.get(way_out.link)
            if way_out.socket is None:
                way_out.dial_at = way_out.dial_at if address is None else 0.0
                way_out.failures = way_out.suspect = 0
            elif address is not None and address != way_out.address:
                self._lose(way_out, "it was replaced")
        self._told_of_given_up()

    def _told_of_given_up(self) -> None:
        """Tell the role which of its peers will not be back soon."""
        for link, why in self._news.given_up().items():
            if link in self._ways_out:
                self.carry(self.role.lost(link, GivenUp(why), clock()))

    def _told_of_replicas(self) -> bool:
        """Tell the role which groups have other replicas now. Returns whether there were any."""
        changed = self._news.replicas()
        for group, links in changed.items():
            self.carry(self.role.replicas(group, links, clock()))
        return bool(changed)

    def _follow_role(self) -> None:
        """Keep the ways out that the role has now."""
        for link in self.role.ways_out():
            if link not in self._ways_out:
                self._ways_out[link] = way_out = WayOut(link)
                self._undialled.append(way_out)
        self._has_leaving = True

    def _close_left(self) -> None:
        """Close those ways out for good that the role has no use for any more; look again while some are finishing."""
        used = set(self.role.ways_out())
        for way_out in [way_out for link, way_out in self._ways_out.items() if link not in used]:
            self._say_goodbye(way_out, 0)
            del self._ways_out[way_out.link]
            if way_out in self._undialled:
                self._undialled.remove(way_out)
            self.carry(self.role.lost(way_out.link, "it is a replica no longer", clock()))
        self._has_leaving = any(map(self._news.is_left, self._ways_out))

    def _say_goodbye(self, way_out: WayOut, linger_ms: int) -> None:
        if way_out.socket is not None and way_out.heard:
            way_out.socket.setsockopt(zmq.LINGER, max(linger_ms, _FAREWELL_MS))
            self._send_out(way_out, Message(Kind.DRAINED))
        self._hang_up(way_out)

    def _hang_up(self, way_out: WayOut) -> None:
        socket, monitor = way_out.socket, way_out.monitor
        way_out.socket = way_out.monitor = None
        if socket is not None and monitor is not None:
            self._unwatch(socket)
            self._unwatch(monitor)
            socket.disable_monitor()
            monitor.close()
            socket.close()

    def _watch(self, source: Any, reader: Callable[[], None]) -> None:
        self._readers[source] = reader
        self._waiting.watch(source)

    def _unwatch(self, source: Any) -> None:
        self._readers.pop(source, None)
        self._waiting.unwatch(source)
