"""Several pieces of an answer in one PARTIAL.

Whoever makes an answer piece by piece says each when it is made. Whoever hands them on says those in one message that
wait to be handed on anyway, and whoever takes them tells them apart: what a message costs is paid once, and no piece
comes later for it.
"""

from __future__ import annotations

from zflow.wire.frames import MAX_PARTS
from zflow.wire.header import Kind, Message

ASKS_FOR_PIECES = ("partial", "items", "gathered")  # keys of a REQUEST, which whoever hands it on hands on
SMALL = 16 * 1024  # bytes of all pieces together, beyond which a message is no longer what costs
MOST = 64  # pieces of one message


class Gathering:
    """PARTIALs of one call that came one behind the other, and may go on as one."""

    def __init__(self, first: Message) -> None:
        self._told = [first]
        self._count = len(counts(first))
        self._parts = len(first.parts)
        self._size = _size(first)

    def takes(self, following: Message) -> bool:
        """Add `following` if it may go with the others."""
        if following.kind is not Kind.PARTIAL or following.call_id != self._told[0].call_id:
            return False
        self._count += len(counts(following))
        self._parts += len(following.parts)
        self._size += _size(following)
        if self._count > MOST or self._parts > MAX_PARTS or self._size > SMALL:
            return False
        self._told.append(following)
        return True

    def whole(self) -> Message:
        """All of them as one PARTIAL."""
        first = self._told[0]
        if len(self._told) == 1:
            return first
        parts = [part for message in self._told for part in message.parts]
        pieces = [count for message in self._told for count in counts(message)]
        return Message(Kind.PARTIAL, first.call_id, parts=parts, extra={"pieces": pieces})


def apart(partial: Message) -> list[Message]:
    """A PARTIAL for each piece of `partial`."""
    if "pieces" not in partial.extra:
        return [partial]
    pieces, at = [], 0
    for count in partial.extra["pieces"]:
        pieces.append(Message(Kind.PARTIAL, partial.call_id, parts=partial.parts[at : at + count]))
        at += count
    return pieces


def as_taken(partial: Message, asked: Message) -> list[Message]:
    """`partial` as whoever sent the REQUEST `asked` takes it: apart, unless they said that they tell pieces apart."""
    return [partial] if asked.extra.get("gathered") else apart(partial)


def counts(partial: Message) -> list[int]:
    """How many parts each piece has."""
    return partial.extra.get("pieces") or [len(partial.parts)]


def _size(message: Message) -> int:
    return sum([sum(part.sizes) for part in message.parts])
