"""Keys on disk: a folder is made once, others cannot look into it, and what is wrong with a file is told without it."""

from __future__ import annotations

import os
import pickle
import stat
from pathlib import Path

import pytest

from zflow.config import keys
from zflow.config.keys import Allowed, Entry, Identity
from zflow.errors import ConfigError

PUBLIC = "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID"  # the test vectors of CurveZMQ, ZeroMQ RFC 26
SECRET = "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs"
OTHER = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    keys.create(tmp_path / "keys", Identity(PUBLIC, SECRET))
    return tmp_path / "keys"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_folder_is_made_that_only_its_owner_can_enter(folder: Path) -> None:
    assert (mode(folder), mode(folder / "secret.key"), mode(folder / "allowed")) == (0o700, 0o600, 0o600)
    assert (folder / "public.key").read_text() == f"{PUBLIC}\n"
    loaded = keys.load(folder)
    assert (loaded.public, loaded.secret) == (PUBLIC, SECRET)
    assert keys.read_allowed(folder) == Allowed({})


@pytest.mark.parametrize("umask", [0o000, 0o277])
def test_the_umask_changes_nothing(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        keys.create(tmp_path / "keys", Identity(PUBLIC, SECRET))
    finally:
        os.umask(before)
    assert mode(tmp_path / "keys" / "secret.key") == 0o600
    assert mode(tmp_path / "keys") == 0o700


def test_keys_are_never_overwritten(folder: Path) -> None:
    with pytest.raises(ConfigError, match="secret.key exists already"):
        keys.create(folder, Identity(OTHER, SECRET))
    assert keys.load(folder).public == PUBLIC


def test_where_nothing_can_be_made_it_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot make keys there: Not a directory"):
        keys.create(tmp_path / "file" / "keys", Identity(PUBLIC, SECRET))


def test_without_keys_the_remedy_is_named(tmp_path: Path) -> None:
    for ask in (keys.load, lambda folder: keys.allow(folder, "a", OTHER), lambda folder: keys.revoke(folder, "a")):
        with pytest.raises(ConfigError, match=f"{tmp_path}/none has no keys; make them with `zflow keygen --keys"):
            ask(tmp_path / "none")


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o620, 0o606, 0o666])
def test_a_secret_that_others_can_read_is_refused(folder: Path, bits: int) -> None:
    (folder / "secret.key").chmod(bits)
    with pytest.raises(ConfigError, match=rf"secret.key: others can read it \(mode {bits:o}\); chmod 600"):
        keys.load(folder)


@pytest.mark.parametrize("bits", [0o620, 0o602, 0o666])
def test_a_list_that_others_can_change_is_refused(folder: Path, bits: int) -> None:
    (folder / "allowed").chmod(bits)
    for ask in (keys.read_allowed, lambda folder: keys.allow(folder, "a", OTHER)):
        with pytest.raises(ConfigError, match=rf"allowed: others can write it \(mode {bits:o}\); chmod 600"):
            ask(folder)


def test_a_list_that_others_can_only_read_is_none_of_our_business(folder: Path) -> None:
    (folder / "allowed").chmod(0o644)
    assert keys.read_allowed(folder) == Allowed({})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        SECRET,
        f"public: {PUBLIC}\n",
        f"public: {PUBLIC}\nsecret: {SECRET[:-1]}\n",
        f"public: {PUBLIC}\nsecret: {'~' * 40}\n",
        f"public: {PUBLIC}\nsecret: {'#' * 40}\n",  # digits, but more than 32 bits
        "\0" * 40,
    ],
)
def test_a_file_without_a_pair_is_refused_and_not_repeated(folder: Path, text: str) -> None:
    (folder / "secret.key").write_text(text)
    with pytest.raises(ConfigError, match="secret.key holds no key pair as `zflow keygen` writes it") as caught:
        keys.load(folder)
    assert SECRET[:8] not in str(caught.value)


def test_what_is_no_file_of_text_is_refused(folder: Path) -> None:
    secret = folder / "secret.key"
    secret.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="is no text"):
        keys.load(folder)
    secret.write_bytes(bytes(2 << 20))
    with pytest.raises(ConfigError, match="is larger than"):
        keys.load(folder)
    secret.unlink()
    os.mkfifo(secret, 0o600)  # nobody writes: opening it must not wait
    with pytest.raises(ConfigError, match="is no regular file"):
        keys.load(folder)


@pytest.mark.parametrize(
    "given, told",
    [
        (PUBLIC[:-1], "has 40 characters, this has 39"),
        ("", "has 40 characters, this has 0"),
        (PUBLIC + "x", "has 40 characters, this has 41"),
        ("~" * 40, "are not Z85"),
        ("#" * 40, "are not Z85"),
        ("ä" * 40, "are not Z85"),
        (f"secret: {SECRET}", "this is a secret key, which nobody else may ever see; use the one in public.key"),
        (5, "not of type int"),
        (None, "not of type NoneType"),
    ],
)
def test_what_is_no_public_key_is_told_and_not_repeated(given: object, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        keys.checked_key(given)
    assert SECRET not in str(caught.value)


def test_a_public_key_may_come_with_what_stands_around_it() -> None:
    assert keys.checked_key(f" {PUBLIC}\n") == PUBLIC
    assert keys.checked_key(f"public: {PUBLIC}") == PUBLIC


def test_who_is_allowed_is_on_the_list_until_revoked(folder: Path) -> None:
    keys.allow(folder, "robot", OTHER, ["/search", "/status*"])
    assert keys.read_allowed(folder) == Allowed({OTHER: Entry("robot", ("/search", "/status*"))})
    for name, key in (("robot", PUBLIC), ("other", OTHER)):
        with pytest.raises(ConfigError, match="robot is on the list already; `zflow keys revoke robot`"):
            keys.allow(folder, name, key)
    with pytest.raises(ConfigError, match="robt is not on the list: did you mean 'robot'?"):
        keys.revoke(folder, "robt")
    keys.revoke(folder, "robot")
    assert keys.read_allowed(folder) == Allowed({})
    keys.allow(folder, "robot", OTHER)
    keys.revoke(folder, OTHER)
    assert keys.read_allowed(folder) == Allowed({})


def test_the_own_secret_in_the_place_of_a_public_key_is_recognised(folder: Path) -> None:
    with pytest.raises(ConfigError, match="this is the secret key of") as caught:
        keys.allow(folder, "robot", SECRET)
    assert SECRET not in str(caught.value)
    assert (folder / "allowed").read_text() == ""


@pytest.mark.parametrize("name", ["", "../x", "a;b", "a b", "x" * 65, "ä", "#a"])
def test_names_are_names(folder: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="expected a name"):
        keys.allow(folder, name, OTHER)


@pytest.mark.parametrize("pattern", ["search", "/a b", "/" + "x" * 128, "/[a]", "/a\nb"])
def test_patterns_are_of_endpoints(folder: Path, pattern: str) -> None:
    with pytest.raises(ConfigError, match="is no endpoint"):
        keys.allow(folder, "robot", OTHER, [pattern])


def test_a_wrong_line_lets_nobody_in_and_the_others_are_not_affected(folder: Path) -> None:
    (folder / "allowed").write_text(f"# people\n\nrobot {OTHER}\nhand {SECRET[:39]}\nalone\nthief secret:{SECRET}\n")
    found = keys.read_allowed(folder)
    assert found.entries == {OTHER: Entry("robot")}
    assert [fault.split(": ")[0].rpartition("/")[2] for fault in found.faults] == [f"allowed:{at}" for at in (4, 5, 6)]
    assert SECRET[:39] not in " ".join(found.faults)


def test_comments_stay(folder: Path) -> None:
    (folder / "allowed").write_text(f"# robot is in the cellar\nrobot {OTHER}\n")
    keys.revoke(folder, "robot")
    assert (folder / "allowed").read_text() == "# robot is in the cellar\n"


def test_the_list_is_replaced_as_a_whole(folder: Path) -> None:
    before = (folder / "allowed").stat().st_ino
    keys.allow(folder, "robot", OTHER)
    assert (folder / "allowed").stat().st_ino != before
    assert mode(folder / "allowed") == 0o600
    assert sorted(path.name for path in folder.iterdir()) == ["allowed", "public.key", "secret.key"]


def test_a_list_that_cannot_be_written_stays_as_it_was(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys.allow(folder, "robot", OTHER)

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(ConfigError, match="allowed: cannot be written: No space left on device"):
        keys.revoke(folder, "robot")
    assert keys.read_allowed(folder).entries == {OTHER: Entry("robot")}
    assert len(list(folder.iterdir())) == 3


def test_keys_that_nobody_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.delenv("ZFLOW_KEYS", raising=False)
    assert keys.default_folder() == "/home/me/.config/zflow/keys"
    monkeypatch.setenv("ZFLOW_KEYS", "/run/keys")
    assert keys.default_folder() == "/run/keys"


def test_a_secret_is_in_no_repr_and_in_no_pickle() -> None:
    identity = Identity(PUBLIC, SECRET)
    assert SECRET not in repr(identity) + str(identity) + f"{[identity]}"
    with pytest.raises(TypeError, match="stays where it is"):
        pickle.dumps(identity)


@pytest.mark.skipif(os.geteuid() != 0, reason="a file of root's takes root to make")
def test_root_may_let_the_group_of_a_service_read_its_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys.create(tmp_path / "keys", Identity("p" * 40, "s" * 40))
    secret = tmp_path / "keys" / keys.SECRET
    monkeypatch.setattr(os, "geteuid", lambda: 65532)
    for mode, told in ((0o440, "is no secret key|a key"), (0o444, "others can read it"), (0o460, "others can read it")):
        secret.chmod(mode)
        if mode == 0o440:
            assert keys.load(tmp_path / "keys").public
            continue
        with pytest.raises(ConfigError, match=told):
            keys.load(tmp_path / "keys")
