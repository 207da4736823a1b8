"""A folder becomes the same bytes anywhere, comes back as it was, and nothing else is ever unpacked."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zflow.errors import ConfigError, HubError
from zflow.hub.archive import Entry, Limits, clash_of, entries_of, fault_of_name, pack, packed_size, unpack

FILES = {"config.yml": b"jtype: A\n", "executor.py": b"", "model/weights.bin": bytes(range(256)) * 5}


def write(folder: Path, files: dict[str, bytes]) -> list[Entry]:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return [Entry(name, len(content), name == "run.sh") for name, content in files.items()]


def packed(folder: Path, entries: list[Entry]) -> bytes:
    archive = io.BytesIO()
    pack(folder, entries, archive)
    return archive.getvalue()


def looked_at(archive: bytes, **limits: int) -> list[Entry]:
    return entries_of(io.BytesIO(archive), Limits(**limits))


def of_tarfile(write: Callable[[tarfile.TarFile], None], form: int = tarfile.USTAR_FORMAT) -> bytes:
    """An archive as somebody else would make it, without the padding of tapes."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=form) as tar:
        write(tar)
        end = tar.offset
    return made.getvalue()[:end] + bytes(1024)


def member(name: str, content: bytes = b"x", **more: object) -> Callable[[tarfile.TarFile], None]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in more.items():
        setattr(info, key, value)
    return lambda tar: tar.addfile(info, io.BytesIO(content))


# -- there and back ----------------------------------------------------------------------------------------------------


def test_what_was_packed_comes_back(tmp_path: Path) -> None:
    entries = write(tmp_path / "a", {**FILES, "run.sh": b"#!/bin/sh\n"})
    archive = io.BytesIO(packed(tmp_path / "a", entries))
    told: list[int] = []
    (tmp_path / "b").mkdir()
    unpack(archive, entries_of(archive, Limits()), tmp_path / "b", told.append)
    found = {str(path.relative_to(tmp_path / "b")): path for path in (tmp_path / "b").rglob("*") if path.is_file()}
    assert {name: path.read_bytes() for name, path in found.items()} == {**FILES, "run.sh": b"#!/bin/sh\n"}
    assert {name: oct(path.stat().st_mode & 0o7777) for name, path in found.items()} == {
        **dict.fromkeys(FILES, "0o644"),
        "run.sh": "0o755",
    }
    assert sum(told) == sum(entry.size for entry in entries)


def test_the_same_files_are_the_same_bytes_whenever_and_in_whatever_order_they_were_made(tmp_path: Path) -> None:
    first = packed(tmp_path / "a", write(tmp_path / "a", FILES))
    entries = write(tmp_path / "b", dict(reversed(FILES.items())))
    for name in FILES:
        os.utime(tmp_path / "b" / name, (1, 1))
        (tmp_path / "b" / name).chmod(0o600)
    assert packed(tmp_path / "b", entries) == first
    assert len(first) == packed_size(entries)


def test_other_programs_can_read_it(tmp_path: Path) -> None:
    archive = packed(tmp_path, write(tmp_path, FILES))
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as tar:
        assert tar.getnames() == sorted(FILES)


def test_a_file_that_grows_or_shrinks_meanwhile_is_refused(tmp_path: Path) -> None:
    write(tmp_path, FILES)
    for size in (8, 10):
        with pytest.raises(ConfigError, match="config.yml changes while it is packed"):
            packed(tmp_path, [Entry("config.yml", size, False)])


def test_a_file_that_became_a_link_meanwhile_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "config.yml").symlink_to("/etc/passwd")
    with pytest.raises(OSError):
        packed(tmp_path, [Entry("config.yml", 1, False)])


# -- hostile archives --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("../x", r"'\.\.'"),
        ("a/../../x", r"'\.\.'"),
        ("..", r"'\.\.'"),
        ("./x", "empty, '.'"),
        ("a//b", "empty"),
        ("a/", "empty"),
        ("/etc/cron.d/x", "is absolute"),
        ("a\\b", "not the same everywhere"),
        ("a\nb", "not the same everywhere"),
        ("a\u202eb", "not the same everywhere"),
        ("/".join("a" * 17), "folders deep"),
        ("", "empty"),
    ],
)
def test_a_name_that_leads_elsewhere_is_refused(name: str, told: str) -> None:
    assert fault_of_name(name)
    with pytest.raises(HubError, match=told):
        looked_at(of_tarfile(member(name)))


def test_a_name_that_is_too_long_is_refused_by_who_packs() -> None:
    assert fault_of_name("a" * 101) == "is too long"
    assert fault_of_name("ä" * 50 + "/" + "a" * 100) == ""


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        (tarfile.SYMTYPE, {"linkname": "/etc/passwd"}),
        (tarfile.LNKTYPE, {"linkname": "config.yml"}),
        (tarfile.CHRTYPE, {"devmajor": 1, "devminor": 3}),
        (tarfile.BLKTYPE, {}),
        (tarfile.FIFOTYPE, {}),
        (tarfile.DIRTYPE, {}),
        (tarfile.CONTTYPE, {}),
        (tarfile.GNUTYPE_SPARSE, {}),
        (b"Z", {}),
    ],
)
def test_whatever_is_no_regular_file_is_refused(kind: bytes, more: dict[str, object]) -> None:
    def written(tar: tarfile.TarFile) -> None:
        member("config.yml")(tar)
        info = tarfile.TarInfo("x")
        info.type = kind
        for key, value in more.items():
            setattr(info, key, value)
        tar.addfile(info)

    with pytest.raises(HubError, match="'x' is no regular file"):
        looked_at(of_tarfile(written))


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_extended_headers_which_can_say_anything_are_refused(form: int) -> None:
    with pytest.raises(HubError, match="is no regular file"):
        looked_at(of_tarfile(member("a" * 200), form))


@pytest.mark.parametrize(
    "names",
    [
        ("a", "a"),
        ("a", "A"),
        ("\u00e9", "e\u0301"),
        ("a", "a/b"),
        ("a/b", "a"),
        ("a/b", "A/c"),
        ("stra\u00dfe", "STRASSE"),
    ],
)
def test_two_things_of_one_name_are_refused_also_where_only_some_disks_take_them_for_one(
    names: tuple[str, str],
) -> None:
    assert clash_of(names)

    def written(tar: tarfile.TarFile) -> None:
        for name in names:
            member(name)(tar)

    with pytest.raises(HubError, match="name"):
        looked_at(of_tarfile(written))


def test_names_that_only_look_alike_are_none_of_their_business() -> None:
    assert clash_of(["a/b", "a/c", "a.b", "b/a"]) == ""


def test_more_bytes_or_files_than_allowed_are_refused() -> None:
    archive = of_tarfile(lambda tar: [member(f"f{number}")(tar) for number in range(3)])
    assert len(looked_at(archive, files=3)) == 3
    with pytest.raises(HubError, match="more than the 2 files"):
        looked_at(archive, files=2)
    with pytest.raises(HubError, match=f"{len(archive)} bytes, more than the 1000 that are allowed"):
        looked_at(archive, size=1000)


@pytest.mark.parametrize("size", [1 << 20, 1 << 62, -1])
def test_a_header_that_lies_of_the_size_is_refused(size: int) -> None:
    info = tarfile.TarInfo("bomb")
    info.size = size
    header = info.tobuf(tarfile.GNU_FORMAT)  # which can spell such numbers
    with pytest.raises(HubError, match="it ends within 'bomb'|a size below 0"):
        looked_at(header + bytes(1024))


def test_a_compressed_bomb_is_no_archive() -> None:
    with pytest.raises(HubError, match="it is no archive of a package"):
        looked_at(gzip.compress(bytes(10 << 20)) + bytes(512))


@pytest.mark.parametrize("cut", [1, 511, 512, 1024, 1500])
def test_one_that_was_cut_off_is_refused(cut: int, tmp_path: Path) -> None:
    archive = packed(tmp_path, write(tmp_path, FILES))
    with pytest.raises(HubError, match="it ends|after its end mark"):
        looked_at(archive[:-cut])


def test_what_comes_after_the_end_is_refused(tmp_path: Path) -> None:
    archive = packed(tmp_path, write(tmp_path, FILES))
    for more in (b"x", bytes(512), archive):
        with pytest.raises(HubError, match="something comes after its end mark"):
            looked_at(archive + more)


@given(st.data())
def test_any_bytes_are_refused_or_stay_below_the_folder(data: st.DataObject) -> None:
    archive = bytearray(of_tarfile(lambda tar: [member(name)(tar) for name in ("a", "b/c")]))
    for place in data.draw(st.lists(st.integers(0, len(archive) - 1), max_size=4)):
        archive[place] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):  # with a checksum that is right again
        archive[148:156] = b"%06o\0 " % tarfile.calc_chksums(archive[:512])[0]
    try:
        entries = looked_at(bytes(archive))
    except HubError:
        return
    assert [fault_of_name(entry.name) for entry in entries] == [""] * len(entries)
    assert sum(entry.size for entry in entries) <= len(archive)
