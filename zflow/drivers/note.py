"""A note of what runs: if the process dies, the next one of its place reads there which calls it died with.

The note is a small file in memory that both map. Nobody writes to it but the process that runs them, and what stands in
it when that is killed is still there afterwards. A call is noted from the moment when it is handed to user code until
its outcome is known; what only waits is not, for it cannot have been the cause.
"""

from __future__ import annotations

import mmap
import os
from contextlib import suppress

from zflow.wire.header import CALL_ID

SIZE = 8192
_EMPTY = bytes(CALL_ID)
_COMPLETE, _INCOMPLETE = b"\x00", b"\x01"  # the first place is no call's: more run at once than there are places
_BESIDE = SIZE // 2  # from there on are the places of calls that run beside the thread's own


class Note:
    """The note at `path`. deaths: the calls that the process before us died with; None where that was not noted.

    Raises OSError where it cannot be made.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            before = os.pread(descriptor, SIZE, 0)
            os.pwrite(descriptor, bytes(SIZE), 0)  # now, for a full disk would kill who only writes to the memory later
            self._memory = mmap.mmap(descriptor, SIZE)
        finally:
            os.close(descriptor)
        self.deaths = calls_in(before)
        self._free = [slice(at, at + CALL_ID) for at in range(_BESIDE, SIZE, CALL_ID)]
        self._places: dict[bytes, slice] = {}
        self._end = CALL_ID
        self._is_complete = True

    def runs(self, call_ids: bytes) -> None:
        """The thread that all calls are handed to is at work on these, one behind the other, and on no others."""
        self._end = CALL_ID + len(call_ids)
        if self._end > _BESIDE:
            self._memory[:1] = _INCOMPLETE
        else:
            self._memory[CALL_ID : self._end] = call_ids

    def rests(self) -> None:
        """That thread has done what it was given to do."""
        if self._end > _BESIDE:
            self._memory[:1] = _COMPLETE if self._is_complete else _INCOMPLETE
        else:
            self._memory[CALL_ID : self._end] = bytes(self._end - CALL_ID)

    def begin(self, call_id: bytes) -> None:
        """A call runs from now on, maybe beside others."""
        if not self._free:
            self._is_complete = False
            self._memory[:1] = _INCOMPLETE
            return
        place = self._places[call_id] = self._free.pop()
        self._memory[place] = call_id

    def end(self, call_id: bytes) -> None:
        """It has come to its outcome."""
        place = self._places.pop(call_id, None)
        if place is not None:
            self._memory[place] = _EMPTY
            self._free.append(place)

    def close(self) -> None:
        """The process ends. The note goes with it, unless something runs that may be the reason."""
        if calls_in(self._memory[:]) == []:
            with suppress(OSError):
                os.unlink(self.path)


def calls_in(noted: bytes) -> list[bytes] | None:
    """The calls that stand in a note; None where not all of them do."""
    if noted.startswith(_INCOMPLETE):
        return None
    places = [noted[at : at + CALL_ID] for at in range(CALL_ID, len(noted), CALL_ID)]
    return [call_id for call_id in places if call_id != _EMPTY]


def note_at(path: str) -> Note | None:
    """The note at `path`; None where there shall be none, or can be none."""
    with suppress(OSError):
        return Note(path) if path else None
    return None
