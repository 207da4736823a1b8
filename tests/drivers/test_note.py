"""What ran when a process died is read by the next one of its place; what had ended, or only waited, is not."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from zflow.drivers.note import SIZE, Note, note_at

FIRST, SECOND, THIRD = b"1" * 16, b"2" * 16, b"3" * 16


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "a.note")


def killed(path: str, life: Callable[[Note], None]) -> None:
    """A process that leads this life with the note at `path`, and is killed at its end."""
    pid = os.fork()
    if not pid:
        try:
            life(Note(path))
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL


def test_the_first_one_of_a_place_follows_no_death(path: str) -> None:
    assert Note(path).deaths == []


def test_what_a_killed_process_ran_is_named(path: str) -> None:
    def life(note: Note) -> None:
        note.runs(FIRST)
        note.rests()
        note.begin(SECOND)
        note.begin(THIRD)
        note.end(SECOND)
        note.runs(FIRST)

    killed(path, life)
    assert sorted(Note(path).deaths or ()) == [FIRST, THIRD]
    assert Note(path).deaths == [], "the one after that did not die with them"


def test_more_than_there_is_place_for_is_as_good_as_no_note(path: str) -> None:
    def life(note: Note) -> None:
        for number in range(SIZE // 16):
            note.begin(number.to_bytes(16, "big"))

    killed(path, life)
    assert Note(path).deaths is None


def test_all_of_a_batch_are_named_and_none_of_the_one_before(path: str) -> None:
    def life(note: Note) -> None:
        note.runs(FIRST + SECOND + THIRD)
        note.rests()
        note.runs(THIRD + FIRST)

    killed(path, life)
    assert sorted(Note(path).deaths or ()) == [FIRST, THIRD]


def test_a_batch_that_is_too_large_is_as_good_as_no_note_while_it_runs(path: str) -> None:
    def life(note: Note) -> None:
        note.runs(FIRST * SIZE)

    killed(path, life)
    assert Note(path).deaths is None

    def longer_life(note: Note) -> None:
        life(note)
        note.rests()
        note.runs(SECOND)

    killed(path, longer_life)
    assert Note(path).deaths == [SECOND]


def test_a_batch_that_has_ended_does_not_make_up_for_what_had_no_place_beside_it(path: str) -> None:
    def life(note: Note) -> None:
        for number in range(SIZE // 16):
            note.begin(number.to_bytes(16, "big"))
        note.runs(FIRST * SIZE)
        note.rests()

    killed(path, life)
    assert Note(path).deaths is None


def test_places_are_used_again_and_an_unknown_end_does_no_harm(path: str) -> None:
    def life(note: Note) -> None:
        for number in range(2 * SIZE):
            call_id = number.to_bytes(16, "big")
            note.begin(call_id)
            note.end(call_id)
        note.end(b"unknown")
        note.begin(FIRST)

    killed(path, life)
    assert Note(path).deaths == [FIRST]


def test_who_ends_in_peace_takes_its_note_along_and_who_ends_in_the_middle_leaves_it(path: str) -> None:
    Note(path).close()
    assert not os.path.exists(path)
    note = Note(path)
    note.runs(FIRST)
    note.close()
    assert Note(path).deaths == [FIRST]


def test_where_none_can_be_made_there_is_none(tmp_path: Path) -> None:
    assert note_at("") is None
    assert note_at(str(tmp_path / "nowhere" / "a.note")) is None
    os.symlink(tmp_path / "elsewhere", tmp_path / "link.note")
    assert note_at(str(tmp_path / "link.note")) is None
    assert note_at(str(tmp_path / "a.note")) is not None
