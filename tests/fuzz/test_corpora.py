"""Every input that is kept goes through its target, within its share of memory and time."""

from __future__ import annotations

import pytest

from tests.fuzz import corpora
from tests.fuzz.targets import TARGETS, checked


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_kept_is_read_or_refused(name: str) -> None:
    kept = corpora.read(name)
    assert kept
    for data in kept:
        checked(TARGETS[name], data)


def test_each_corpus_has_a_target() -> None:
    assert {path.stem for path in corpora.FOLDER.glob("*.txt")} == set(TARGETS)


def test_what_is_found_is_kept_once(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(corpora, "FOLDER", tmp_path)
    (tmp_path / "header.txt").write_text("# small valid inputs\nb'a'\n")
    assert corpora.add("header", [b"a", b"\xff\n", b"\xff\n"]) == 1
    assert corpora.read("header") == [b"a", b"\xff\n"]
