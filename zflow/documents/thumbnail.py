"""Small pictures for notebooks: of a tensor that is one, as PNG, and of a blob that is one already."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any

from zflow.documents.arrays import is_ndarray

_SIDE = 192  # pixels; larger ones are made smaller by leaving rows and columns out
_LARGEST_BLOB = 1 << 18  # a notebook keeps what it shows
_COLORS = {1: 0, 3: 2, 4: 6}  # channels -> color type of PNG (RFC 2083, 4.1.1): grey, RGB, RGBA
_BEGINNINGS = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpeg", b"GIF87a": "gif", b"GIF89a": "gif"}


def of_tensor(value: Any) -> str:
    """A ``data:`` URI if `value` can only be a picture: bytes in two dimensions, of one, three or four channels."""
    if not is_ndarray(value) or value.dtype.str != "|u1" or value.ndim not in (2, 3):
        return ""
    pixels = value if value.ndim == 3 else value[:, :, None]
    height, width, channels = pixels.shape
    if channels not in _COLORS or min(height, width) < 2:
        return ""
    step = -(-max(height, width) // _SIDE)
    pixels = pixels[::step, ::step]
    height, width, _ = pixels.shape
    return _data("png", _png(width, height, _COLORS[channels], b"".join(b"\0" + row.tobytes() for row in pixels)))


def of_blob(value: bytes) -> str:
    """A ``data:`` URI if `value` begins as a picture does that browsers show, and is not too large for a notebook.

    What it says of itself (`mime_type`) does not count: whoever sent it may have said anything.
    """
    if len(value) > _LARGEST_BLOB:
        return ""
    if value[:4] == b"RIFF" and value[8:12] == b"WEBP":
        return _data("webp", value)
    return next((_data(kind, value) for begin, kind in _BEGINNINGS.items() if value.startswith(begin)), "")


def _data(kind: str, value: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(value).decode()}"


def _png(width: int, height: int, color: int, rows: bytes) -> bytes:
    """rows: each with the number of its filter before it, which is 0 for none."""
    header = struct.pack(">IIBBBBB", width, height, 8, color, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in parts)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
