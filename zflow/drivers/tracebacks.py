"""Tracebacks of user code as its author wants them: from the user's first line on, and the last one named by itself."""

from __future__ import annotations

import os
import traceback
from types import TracebackType

_STANDARD_LIBRARY = os.path.dirname(os.__file__) + os.sep
_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")
_CALLERS = ("zflow.drivers.", "zflow.processes.")  # of ours, that call user code


def users_frames(error: BaseException) -> TracebackType | None:
    """The traceback from the user's code on: our own frames above it, and those of the event loop, help nobody."""
    start = error.__traceback__
    while start is not None and start.tb_next is not None and _calls_users(start):
        start = start.tb_next
    return start


def remote_traceback(error: BaseException) -> str:
    """What travels: where the user's own code was at last, if a library's raised, and then all of it."""
    text = "".join(traceback.format_exception(type(error), error, users_frames(error)))
    return f"{_last_own_line(error)}{text}"


def _last_own_line(error: BaseException) -> str:
    """Empty where the traceback ends with it, or has none."""
    frames = traceback.extract_tb(users_frames(error))
    own = [frame for frame in frames if _is_users(frame.filename)]
    if not own or own[-1] is frames[-1]:
        return ""
    frame = own[-1]
    line = f"    {frame.line}\n" if frame.line else ""
    return f'The last line of your own:\n  File "{frame.filename}", line {frame.lineno}, in {frame.name}\n{line}'


def _calls_users(trace: TracebackType) -> bool:
    module: str = trace.tb_frame.f_globals.get("__name__", "")
    return module.startswith(_CALLERS) or module.partition(".")[0] == "asyncio"


def _is_users(filename: str) -> bool:
    if filename.startswith("<frozen"):
        return False
    return not any(part in filename for part in _INSTALLED) and not filename.startswith((_STANDARD_LIBRARY, _OURS))
