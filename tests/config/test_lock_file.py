"""What is in a lock file means one package for good, and where there is one nothing is guessed."""

from __future__ import annotations

from pathlib import Path

import pytest

from zflow.config.definition import Folder, checked_uses
from zflow.config.lock_file import pinned, read_lock, write_lock
from zflow.config.places import Place
from zflow.config.references import parse_reference
from zflow.config.yaml_file import dump_flow, load_flow
from zflow.errors import ConfigError

DIGEST = "sha256:" + "1" * 64
OTHER = "sha256:" + "2" * 64


def test_without_a_lock_file_a_name_stays_as_it_is(tmp_path: Path) -> None:
    assert read_lock(tmp_path) is None
    assert pinned(parse_reference("hub://x:1"), tmp_path) == parse_reference("hub://x:1")


def test_what_was_written_is_read_and_is_the_same_bytes_in_any_order(tmp_path: Path) -> None:
    path = write_lock(tmp_path, {"hub://b:1": OTHER, "hub://a:1": DIGEST})
    text = path.read_text()
    assert read_lock(tmp_path) == {"hub://a:1": DIGEST, "hub://b:1": OTHER}
    write_lock(tmp_path, {"hub://a:1": DIGEST, "hub://b:1": OTHER})
    assert path.read_text() == text


def test_a_name_gets_its_digest_in_whatever_spelling(tmp_path: Path) -> None:
    write_lock(tmp_path, {"hub://me/encoder:latest": DIGEST})
    for uses in ("hub://me/encoder", "hub://me/encoder:latest", "jinaai://me/Encoder"):
        assert checked_uses(uses, Folder(tmp_path), Place()) == f"hub://me/encoder:latest@{DIGEST}"


def test_a_digest_that_was_given_is_the_one(tmp_path: Path) -> None:
    write_lock(tmp_path, {"hub://x:1": DIGEST})
    assert checked_uses(f"hub://x:1@{OTHER}", Folder(tmp_path), Place()) == f"hub://x:1@{OTHER}"


def test_what_it_does_not_hold_is_refused_with_the_way_to_add_it(tmp_path: Path) -> None:
    write_lock(tmp_path, {"hub://x:1": DIGEST})
    with pytest.raises(ConfigError, match=r"uses: .*zflow.lock does not hold hub://y:latest.*zflow hub lock FILE"):
        checked_uses("hub://y", Folder(tmp_path), Place("uses"))


def test_a_flow_has_the_one_beside_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "flow.yml").write_text("jtype: Flow\nexecutors:\n- uses: hub://x:1\n")
    write_lock(tmp_path / "a", {"hub://x:1": DIGEST})
    write_lock(tmp_path, {"hub://x:1": OTHER})
    monkeypatch.chdir(tmp_path)
    spec = load_flow(Path("a/flow.yml"))
    assert spec.executors[0].uses == f"hub://x:1@{DIGEST}"
    assert f"hub://x:1@{DIGEST}" in dump_flow(spec)
    assert spec.add(uses="hub://x:1").executors[1].uses == f"hub://x:1@{OTHER}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"version": 2, "executors": {}}',
        '{"version": 1, "executors": []}',
        '{"version": 1, "executors": {"hub://x:1": "sha256:12"}}',
        '{"version": 1, "executors": {"hub://x:1": 3}}',
        "[" * 100_000,
        '{"version": 1, "executors": {}}' + " " * (1 << 20),
    ],
)
def test_a_lock_file_that_is_wrong_locks_nothing_and_says_so(tmp_path: Path, text: str) -> None:
    (tmp_path / "zflow.lock").write_text(text)
    with pytest.raises(ConfigError, match="zflow.lock is no lock file of this version"):
        pinned(parse_reference("hub://x:1"), tmp_path)


def test_one_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "zflow.lock").mkdir()
    with pytest.raises(ConfigError, match="zflow.lock cannot be read: Is a directory"):
        pinned(parse_reference("hub://x:1"), tmp_path)
