"""Archives that somebody hostile has put into a registry: refused as a whole, before anything of them is on the disk.

Here they are fetched as packages are, from a registry that gives whatever it was told to; tests/hub/ looks at each
check by itself.
"""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from zflow.config.references import parse_reference
from zflow.errors import HubError
from zflow.hub import fetching
from zflow.hub.archive import Entry, packed_size
from zflow.hub.fetching import fetch
from zflow.hub.manifest import About, blob, dump_about, dump_manifest
from zflow.hub.registry import digest_of

ABOUT = About("x", "X", "", (), 1, 1)


class Hostile:
    """A registry as `Registry` is, that gives `archive` for every package."""

    def __init__(self, archive: bytes) -> None:
        self.blobs = {digest_of(dump_about(ABOUT)): dump_about(ABOUT), digest_of(archive): archive}
        self.body = dump_manifest(ABOUT, blob(dump_about(ABOUT)), blob(archive))

    def __call__(self, home: Any) -> Hostile:
        self.home = home
        return self

    def __enter__(self) -> Hostile:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def manifest(self, name: str, version: str) -> tuple[bytes, str]:
        return self.body, digest_of(self.body)

    def blob(self, name: str, digest: str, size: int, target: io.BytesIO, tell: object = None) -> None:
        target.write(self.blobs[digest])


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("ZFLOW_HUB_CACHE", str(tmp_path / "cache"))
    yield tmp_path
    files = [path for path in tmp_path.rglob("*") if not path.is_dir() or path.is_symlink()]
    assert files == [], "something of it was left"


def refused(archive: bytes, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(fetching, "Registry", Hostile(archive))
    with pytest.raises(HubError, match="Nothing of it was run, and nothing is left of it here") as caught:
        fetch(parse_reference("hub://localhost:1/x"))
    return str(caught.value)


def tar(write: Callable[[tarfile.TarFile], object], form: int = tarfile.GNU_FORMAT) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=form) as archive:
        write(archive)
        end = archive.offset
    return made.getvalue()[:end] + bytes(1024)


def add(
    archive: tarfile.TarFile, name: str, kind: bytes = tarfile.REGTYPE, link: str = "", content: bytes = b""
) -> None:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, len(content)
    archive.addfile(info, io.BytesIO(content))


def sparse() -> bytes:
    """A gigabyte of nothing in two blocks."""
    info = tarfile.TarInfo("config.yml")
    info.type, info.size = tarfile.GNUTYPE_SPARSE, 512
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[386:410] = b"00000000000\x0000000001000\x00"
    header[483:495] = b"10000000000\x00"
    header[148:156] = b"%06o\x00 " % tarfile.calc_chksums(bytes(header))[0]
    return bytes(header) + bytes(512 + 1024)


def two_through_a_link(archive: tarfile.TarFile) -> None:
    add(archive, "x", tarfile.SYMTYPE, "/tmp")
    add(archive, "x/y", content=b"out")


@pytest.mark.parametrize(
    ("archive", "told"),
    [
        pytest.param(tar(lambda it: add(it, "../x", content=b"x")), "empty, '.' or '..'", id="84 leads out"),
        pytest.param(tar(lambda it: add(it, "/etc/x", content=b"x")), "is absolute", id="84 is absolute"),
        pytest.param(tar(lambda it: add(it, "x", tarfile.SYMTYPE, "/etc")), "no regular file", id="84 is a symlink"),
        pytest.param(tar(lambda it: add(it, "x", tarfile.LNKTYPE, "/etc")), "no regular file", id="84 is a hard link"),
        pytest.param(tar(two_through_a_link), "no regular file", id="84 writes through a link"),
        pytest.param(tar(lambda it: add(it, "x", tarfile.CHRTYPE)), "no regular file", id="84 is a device"),
        pytest.param(tar(lambda it: add(it, "x", tarfile.FIFOTYPE)), "no regular file", id="84 is a pipe"),
        pytest.param(sparse(), "no regular file", id="84 is sparse"),
        pytest.param(tar(lambda it: add(it, "x" * 300, content=b"x")), "no regular file", id="84 has a long name"),
    ],
)
def test_a_tar_that_is_more_than_files(archive: bytes, told: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert told in refused(archive, monkeypatch)


def zipped(name: str, content: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return made.getvalue()


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: zipped("../x", b"x"), id="85 a zip that leads out"),
        pytest.param(lambda: zipped("x", bytes(100 << 20)), id="85 a zip that unfolds to a hundred times its size"),
        pytest.param(lambda: gzip.compress(tar(lambda it: add(it, "x", content=b"x"))), id="85 a tar that is packed"),
    ],
)
def test_what_is_packed_is_never_unfolded(
    make: Callable[[], bytes], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "is no archive of a package" in refused(make() + bytes(512), monkeypatch)


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: tar(lambda it: add(it, "../x", content=b"x")), id="86 a tar in it"),
        pytest.param(lambda: zipped("x", bytes(100 << 20)), id="86 a bomb in it"),
    ],
)
def test_an_archive_in_it_is_a_file_like_any_other(
    make: Callable[[], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = make()
    monkeypatch.setenv("ZFLOW_HUB_CACHE", str(tmp_path / "cache"))

    def write(it: tarfile.TarFile) -> None:
        add(it, "config.yml", content=b"jtype: X\n")
        add(it, "inner", content=inner)

    monkeypatch.setattr(fetching, "Registry", Hostile(tar(write)))
    package = fetch(parse_reference("hub://localhost:1/x"))
    assert sorted(path.name for path in package.folder.iterdir()) == ["config.yml", "inner"]
    assert (package.folder / "inner").read_bytes() == inner


def many(it: tarfile.TarFile) -> None:
    for number in range(100_000):
        add(it, f"{number}")


def twice(it: tarfile.TarFile) -> None:
    add(it, "config.yml", content=b"jtype: X\n")
    add(it, "CONFIG.yml", content=b"jtype: Y\n")


def one() -> bytes:
    return tar(lambda it: add(it, "x", content=b"x"))


@pytest.mark.parametrize(
    ("make", "told"),
    [
        pytest.param(lambda: tar(many), "more than the 2000 files", id="87 100,000 members"),
        pytest.param(lambda: tar(twice), "that some disks take for one", id="87 names that differ by case"),
        pytest.param(lambda: one()[:-600], "it ends", id="87 truncated"),
        pytest.param(lambda: one()[:700], "it ends", id="87 truncated within a file"),
    ],
)
def test_what_is_too_many_or_too_little(
    make: Callable[[], bytes], told: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert told in refused(make(), monkeypatch)


def test_the_size_of_an_archive_is_known_before_it_is_made() -> None:
    assert packed_size([Entry("x", 1, False)]) == len(one())
