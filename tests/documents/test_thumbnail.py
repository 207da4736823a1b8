"""Pictures for notebooks: what is one, and what it looks like to others."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest

from zflow.documents import thumbnail


def pixels_of(source: str) -> Any:
    """What Pillow sees in a ``data:`` URI."""
    image = pytest.importorskip("PIL.Image", reason="matplotlib, of the extra test, needs it")
    head, _, data = source.partition(",")
    assert head == "data:image/png;base64"
    return np.asarray(image.open(io.BytesIO(base64.b64decode(data))))


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3), (5, 7, 4)])
def test_a_tensor_of_bytes_is_a_picture_pixel_by_pixel(shape: tuple[int, ...]) -> None:
    tensor = np.random.default_rng(1).integers(0, 256, shape, "u1")
    assert np.array_equal(pixels_of(thumbnail.of_tensor(tensor)), tensor)


def test_one_channel_is_grey_and_views_are_taken_as_they_are() -> None:
    tensor = np.arange(70, dtype="u1").reshape(5, 14)[:, ::2]
    assert np.array_equal(pixels_of(thumbnail.of_tensor(tensor[:, :, None])), tensor)


def test_a_large_one_is_made_small() -> None:
    tensor = np.zeros((3000, 1000, 3), "u1")
    tensor[::16] = 255
    seen = pixels_of(thumbnail.of_tensor(tensor))
    assert max(seen.shape[:2]) <= 192 and seen.shape[0] / seen.shape[1] == pytest.approx(3, rel=0.1)
    assert len(thumbnail.of_tensor(tensor)) < 200_000


@pytest.mark.parametrize(
    "tensor",
    [
        np.zeros((5, 7), "f4"),
        np.zeros((5, 7, 2), "u1"),
        np.zeros((0, 7, 3), "u1"),
        np.zeros((1, 700), "u1"),
        np.zeros(7, "u1"),
        np.zeros((2, 5, 7, 3), "u1"),
        [[1, 2], [3, 4]],
        None,
    ],
)
def test_what_may_be_anything_is_no_picture(tensor: Any) -> None:
    assert thumbnail.of_tensor(tensor) == ""


@pytest.mark.parametrize(
    ("blob", "kind"),
    [(b"\x89PNG\r\n\x1a\n.", "png"), (b"\xff\xd8\xff.", "jpeg"), (b"GIF89a", "gif"), (b"RIFF0000WEBPVP8 ", "webp")],
)
def test_a_blob_is_known_by_how_it_begins(blob: bytes, kind: str) -> None:
    assert thumbnail.of_blob(blob) == f"data:image/{kind};base64,{base64.b64encode(blob).decode()}"


@pytest.mark.parametrize("blob", [b"", b"<svg onload='alert(1)'>", b"RIFF0000WAVE", b"\xff\xd8\xff" + bytes(1 << 19)])
def test_other_blobs_and_large_ones_are_not_shown(blob: bytes) -> None:
    assert thumbnail.of_blob(blob) == ""
