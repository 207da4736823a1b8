"""ZMTP as bytes, for who does not keep to it: greetings, commands and frames, and a plain TCP socket that says them."""

from __future__ import annotations

import contextlib
import socket
from types import TracebackType

DELIMITER = b"\0\0"  # an empty frame, with none after it
MORE, LONG, COMMAND = 1, 2, 4


def greeting(
    version: bytes = b"\3\1", mechanism: bytes = b"NULL", as_server: bytes = b"\0", rest: bytes = b""
) -> bytes:
    """The 64 bytes that a connection begins with."""
    return b"\xff" + bytes(8) + b"\x7f" + version + mechanism.ljust(20, b"\0") + as_server + rest.ljust(31, b"\0")


def frame(content: bytes, flags: int = 0) -> bytes:
    """One frame; a long one says so."""
    if len(content) > 255:
        return bytes([flags | LONG]) + len(content).to_bytes(8, "big") + content
    return bytes([flags, len(content)]) + content


def message(*contents: bytes) -> bytes:
    """One multipart message."""
    return b"".join(frame(item, MORE) for item in contents[:-1]) + frame(contents[-1])


def command(name: bytes, content: bytes = b"") -> bytes:
    """A command of the mechanism, or of the connection."""
    return frame(bytes([len(name)]) + name + content, COMMAND)


def ready(**properties: bytes) -> bytes:
    """READY with these properties (``_`` stands for ``-``); a DEALER's, unless told otherwise."""
    given = {"Socket_Type": b"DEALER", **properties}
    told = [(name.replace("_", "-").encode(), value) for name, value in given.items()]
    held = b"".join(bytes([len(name)]) + name + len(value).to_bytes(4, "big") + value for name, value in told)
    return command(b"READY", held)


def of_version_1(frames: tuple[bytes, ...]) -> bytes:
    """A message as ZMTP/1.0 has it: each frame behind its length, which counts the flags as well."""
    flags = [b"\1"] * (len(frames) - 1) + [b"\0"]
    return b"".join(bytes([len(item) + 1]) + flag + item for item, flag in zip(frames, flags, strict=True))


def http_post(port: int, *messages: tuple[bytes, ...]) -> bytes:
    """A POST as a browser would send it, its body aligned so that ZMTP/1.0 finds `messages` (of short frames) in it.

    The walk goes over the text of the header: each byte where a frame should begin is taken for its length.
    """
    head = b"POST / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: text/plain\r\nContent-Length: 4000\r\n\r\n" % port
    at = head[0] + 1
    while at < len(head):
        at += head[at] + 1
    return head + b"\0" * (at - len(head)) + b"".join(map(of_version_1, messages))


class Raw:
    """A plain connection to a port."""

    def __init__(self, port: int, said: bytes = b"") -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.say(said)

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, traceback: TracebackType | None) -> None:
        self.socket.close()

    @classmethod
    def greeted(cls, port: int, said: bytes = b"", opening: bytes = b"") -> Raw:
        """One that has heard the other side's READY before it says more, as libzmq demands.

        opening: greeting and READY, where they are not the usual ones.
        """
        raw = cls(port, opening or greeting() + ready())
        raw.socket.settimeout(5.0)
        heard = b""
        while b"READY" not in heard and (piece := raw.socket.recv(1024)):
            heard += piece
        raw.say(said)
        return raw

    def say(self, said: bytes) -> None:
        """Send it, as far as the other side still listens."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(said)

    def ends(self, within: float) -> bool:
        """Whether the other side closes the connection; what it says until then is not listened to."""
        self.socket.settimeout(within)
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False
        return True
