"""Parts, logical buffers and frames. What must be refused is in protocol/vectors; here is what is kept and copied."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zflow.errors import ProtocolError
from zflow.wire.frames import (
    DOCUMENTS,
    MAX_FRAME,
    MAX_FRAMES,
    MAX_PARTS,
    MAX_REQUEST,
    PARAMETERS,
    Part,
    cut,
    excess,
    part,
    split,
)

BUFFERS = st.lists(st.binary(max_size=12), min_size=1, max_size=6)


def layout(parts: list[Part]) -> list[tuple[int, str, int | None, list[int]]]:
    return [(item.kind, item.label, item.shard, list(item.sizes)) for item in parts]


# -- a part made here --------------------------------------------------------------------------------------------------


def test_a_part_names_the_size_of_each_buffer_and_has_no_frame_for_an_empty_one() -> None:
    made = part(DOCUMENTS, "encoder", [b"body", b"", memoryview(b"12")], shard=3)

    assert made[:4] == (DOCUMENTS, "encoder", 3, [4, 0, 2])
    assert [bytes(frame) for frame in made.frames] == [b"body", b"12"]


def test_the_size_of_a_view_is_in_bytes_whatever_its_items_are() -> None:
    assert part(DOCUMENTS, "", [memoryview(bytes(16)).cast("d")]).sizes == [16]


def test_buffers_that_were_not_cut_are_given_by_reference() -> None:
    body, array = b"body", memoryview(bytearray(b"array"))
    first, second = part(DOCUMENTS, "", [body, array]).buffers()

    assert first is body
    assert isinstance(second, memoryview) and second.obj is array.obj


def test_whole_buffers_beside_an_empty_one_are_given_by_reference_too() -> None:
    body, array = b"body", memoryview(bytearray(b"array"))
    first, empty, second = part(DOCUMENTS, "", [body, b"", array]).buffers()

    assert first is body and empty == b""
    assert isinstance(second, memoryview) and second.obj is array.obj


def test_a_buffer_that_was_cut_is_joined_into_memory_that_may_be_written() -> None:
    joined = Part(DOCUMENTS, "", None, [6], [b"ab", b"cd", b"ef"]).buffers()[0]

    assert joined == b"abcdef"
    assert isinstance(joined, memoryview) and not joined.readonly


def test_an_empty_buffer_does_not_hide_that_another_was_cut() -> None:
    assert Part(DOCUMENTS, "", None, [4, 0, 3], [b"body", b"12", b"3"]).buffers() == [b"body", b"", b"123"]


# -- a payload that came -----------------------------------------------------------------------------------------------


def test_split_gives_each_part_its_own_frames_by_reference() -> None:
    frames = [b"left", b"ri", b"ght", b"x"]
    left, right, parameters = split(
        [(DOCUMENTS, "left", None, [4]), (DOCUMENTS, "right", 1, [5, 0]), (PARAMETERS, "", None, [1])], frames
    )

    assert left == Part(DOCUMENTS, "left", None, [4], [b"left"])
    assert right == Part(DOCUMENTS, "right", 1, [5, 0], [b"ri", b"ght"])
    assert parameters.frames[0] is frames[3]


@pytest.mark.parametrize(
    ("sizes", "frames", "fault"),
    [
        ([4], [], "4 of 4 bytes are missing"),
        ([4], [b"123"], "1 of 4 bytes are missing"),
        ([4], [b"12345"], "1 bytes beyond its buffer of 4"),
        ([4, 4], [b"12345678"], "4 bytes beyond its buffer of 4"),
        ([4], [b"12", b"", b"34"], "a payload frame is empty"),
        ([0], [b""], "1 frames more than the layout names"),
        ([4], [b"1234", b"5"], "1 frames more than the layout names"),
    ],
)
def test_frames_that_do_not_fit_the_layout_are_refused(sizes: list[int], frames: list[bytes], fault: str) -> None:
    with pytest.raises(ProtocolError, match=fault):
        split([(DOCUMENTS, "x", None, sizes)], frames)


@given(st.lists(BUFFERS, max_size=4), st.integers(1, 5))
def test_whatever_is_cut_is_found_again(payload: list[list[bytes]], length: int) -> None:
    sent = [part(DOCUMENTS, f"node{at}", buffers) for at, buffers in enumerate(payload)]
    frames = [
        frame[at : at + length]
        for item in sent
        for frame in map(bytes, item.frames)
        for at in range(0, len(frame), length)
    ]

    received = split(layout(sent), frames)

    assert [item.buffers() for item in received] == payload


# -- cutting -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, MAX_FRAME - 1, MAX_FRAME, MAX_FRAME + 1, 3 * MAX_FRAME, 3 * MAX_FRAME + 7])
def test_frames_are_cut_at_one_mebibyte_and_filled(size: int) -> None:
    frame = bytes(range(256)) * (size // 256) + bytes(size % 256)

    pieces = cut([b"header", frame])

    assert b"".join(bytes(piece) for piece in pieces[1:]) == frame
    assert [len(piece) for piece in pieces[1:-1]] == [MAX_FRAME] * (len(pieces) - 2)
    assert len(pieces[-1]) <= MAX_FRAME


def test_cutting_copies_nothing() -> None:
    small, large = b"small", bytearray(MAX_FRAME + 1)

    kept, first, second = cut([small, large])

    assert kept is small
    assert isinstance(first, memoryview) and isinstance(second, memoryview)
    assert first.obj is large and second.obj is large


# -- too much ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ([Part(DOCUMENTS, "a", None, [MAX_REQUEST // 2], []), Part(DOCUMENTS, "b", None, [MAX_REQUEST // 2], [])], ""),
        ([Part(DOCUMENTS, "a", None, [MAX_REQUEST, 1], [])], f"{MAX_REQUEST + 1} bytes in one request"),
        ([Part(DOCUMENTS, "a", None, [1] * (MAX_FRAMES - 2), [])], ""),
        ([Part(DOCUMENTS, "a", None, [1] * MAX_FRAMES, [])], f"{MAX_FRAMES} frames in 1 parts"),
        ([Part(DOCUMENTS, "a", None, [1], [])] * (MAX_PARTS + 1), f"{MAX_PARTS + 1} parts"),
    ],
)
def test_what_no_peer_would_accept_is_known_before_it_is_sent(parts: list[Part], told: str) -> None:
    assert (told in excess(parts)) if told else (excess(parts) == "")
