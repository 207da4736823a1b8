"""A package comes from a real registry whole and checked, or not at all; nothing of it is run."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.holding import holding_door
from tests.support.registry import RegistryServer
from zflow.config.references import Reference, home_of, parse_reference
from zflow.errors import ConfigError, HubError, Unavailable
from zflow.hub.archive import Limits
from zflow.hub.cache import Cache
from zflow.hub.contents import contents_of
from zflow.hub.fetching import Package, copy_out, fetch, look_up
from zflow.hub.manifest import about, blob, dump_about, dump_manifest
from zflow.hub.pushing import push
from zflow.hub.registry import Registry


def pushed(server: RegistryServer, folder: Path, name: str) -> Reference:
    return push(folder, parse_reference(f"hub://{server.host}/{name}")).reference


def in_cache(cache: Cache) -> list[str]:
    """All that the cache holds, but the folders that are always there."""
    found = {str(path.relative_to(cache.root)) for path in cache.root.rglob("*")}
    return sorted(found - {"sha256", "unfinished"})


def test_what_was_pushed_comes_back_and_is_not_run(server: RegistryServer, folder: Path) -> None:
    reference = pushed(server, folder, "back")
    package = fetch(reference._replace(digest=""))
    assert (package.digest, package.came, package.about.name) == (reference.digest, True, "shout")
    for path in folder.rglob("*"):
        if path.is_file():
            assert (package.folder / path.relative_to(folder)).read_bytes() == path.read_bytes()
    assert not (package.folder / "imported").exists()


def test_by_its_digest_it_is_fetched_once_and_then_found_without_the_registry(
    server: RegistryServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = pushed(server, folder, "digest")._replace(tag="")
    first = fetch(reference)
    monkeypatch.setattr(Registry, "__init__", lambda *words: pytest.fail("the registry was asked"))
    assert fetch(reference) == first._replace(came=False)


def test_a_tag_is_asked_for_each_time_and_old_digests_stay(server: RegistryServer, folder: Path) -> None:
    old = pushed(server, folder, "moves")
    fetch(old._replace(digest=""))
    (folder / "executor.py").write_text("# new\n")
    new = pushed(server, folder, "moves")
    assert (fetch(new._replace(digest="")).folder / "executor.py").read_text() == "# new\n"
    assert (fetch(old).folder / "executor.py").read_text() != "# new\n"


def test_it_is_copied_out_whole_to_where_nothing_is(server: RegistryServer, folder: Path, tmp_path: Path) -> None:
    package = fetch(pushed(server, folder, "copied"))
    (package.folder / "__pycache__").mkdir()
    copy_out(package, tmp_path / "mine")
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == sorted(path.name for path in folder.iterdir())
    here = set(tmp_path.iterdir())
    with pytest.raises(ConfigError, match="mine is there already; nothing was written"):
        copy_out(package, tmp_path / "mine")
    with pytest.raises(ConfigError, match="cannot be written"):
        copy_out(package, tmp_path / "mine" / "config.yml" / "folder")
    assert set(tmp_path.iterdir()) == here


# -- unknown names -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("team/encodr", "has no 'team/encodr': did you mean 'team/encoder'?"),
        ("team/encoder:1.o", "has no team/encoder with the tag '1.o': did you mean '1.0'?"),
        ("team/encoder@sha256:" + "0" * 64, "has team/encoder, but nothing with the digest sha256:0000"),
    ],
)
def test_an_unknown_name_is_told_the_nearest(server: RegistryServer, folder: Path, name: str, told: str) -> None:
    push(folder, parse_reference(f"hub://{server.host}/team/encoder:1.0"))
    with pytest.raises(ConfigError) as caught:
        fetch(parse_reference(f"hub://{server.host}/{name}"))
    assert told in str(caught.value)


def test_what_is_near_is_told_without_the_prefix_of_the_environment(
    server: RegistryServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZFLOW_HUB", f"{server.host}/deep/er")
    push(folder, parse_reference("hub://tagger"))
    with pytest.raises(ConfigError, match="has no 'taggr': did you mean 'tagger'?"):
        fetch(parse_reference("hub://taggr"))


def test_an_image_is_not_fetched_here_and_its_package_is_told() -> None:
    for ask in (fetch, look_up):
        with pytest.raises(ConfigError, match="names an image, .*; its package is hub://localhost:1/x:latest"):
            ask(parse_reference("hub+docker://localhost:1/x"))


# -- what is no package, damaged or hostile ----------------------------------------------------------------------------


def refused(reference: Reference, told: str, cache: Cache, limits: Limits | None = None) -> None:
    with pytest.raises(HubError, match=told) as caught:
        fetch(reference, limits=limits)
    assert str(caught.value).startswith(str(reference))
    assert str(caught.value).endswith("Nothing of it was run, and nothing is left of it here")
    assert in_cache(cache) == []


@pytest.mark.parametrize("part", ["config", "package"])
@pytest.mark.parametrize("by", ["tag", "digest"])
def test_bytes_that_were_changed_in_the_registry_are_refused(
    server: RegistryServer, folder: Path, cache: Cache, part: str, by: str
) -> None:
    (folder / "own").write_text(f"{part} {by}")  # so that nobody else's blobs are changed with it
    (folder / "config.yml").write_text(f"jtype: Shout\nmetas: {{name: {part}_{by}, py_modules: [executor.py]}}\n")
    reference = pushed(server, folder, f"tampered/{part}-{by}")
    found = look_up(reference)
    blob = found.manifest.package if part == "package" else found.manifest.config
    change_one_bit(server.blob(blob.digest))
    asked = reference._replace(digest="") if by == "tag" else reference._replace(tag="")
    refused(asked, f"gives something else for {blob.digest} ", cache)


def test_a_manifest_that_was_changed_is_refused_by_who_knows_its_digest(
    server: RegistryServer, folder: Path, cache: Cache
) -> None:
    (folder / "own").write_text("manifest")
    reference = pushed(server, folder, "tampered/manifest")
    path = server.blob(reference.digest)
    path.write_bytes(path.read_bytes().replace(b"loud", b"LOUD"))
    refused(reference, f"gives something else for {reference.digest}", cache)


def change_one_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_part_that_the_registry_has_lost_is_told(server: RegistryServer, folder: Path, cache: Cache) -> None:
    (folder / "own").write_text("lost")
    reference = pushed(server, folder, "lost")
    server.blob(look_up(reference).manifest.package.digest).unlink()
    refused(reference, "the registry lacks a part of it; push it again", cache)


def put(server: RegistryServer, folder: Path, name: str, archive: bytes, announced: int | None = None) -> Reference:
    """A package with any archive at all, pushed as nobody of ours would."""
    told = about(contents_of(folder, Limits()))
    config = dump_about(told)
    reference = parse_reference(f"hub://{server.host}/{name}")
    package = blob(archive)._replace(size=len(archive) if announced is None else announced)
    with Registry(home_of(reference)) as registry:
        for body in (archive, config):
            path = folder.parent / "blob"
            path.write_bytes(body)
            registry.put_blob(name, path, *blob(body))
        registry.put_manifest(name, "latest", dump_manifest(told, blob(config), package))
    return reference


def link_out(tar: tarfile.TarFile) -> None:
    info = tarfile.TarInfo("config.yml")
    info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
    tar.addfile(info)


def way_out(tar: tarfile.TarFile) -> None:
    info = tarfile.TarInfo("../../outside")
    info.size = 1
    tar.addfile(info, io.BytesIO(b"x"))


def bad_second(tar: tarfile.TarFile) -> None:
    info = tarfile.TarInfo("config.yml")
    info.size = 9
    tar.addfile(info, io.BytesIO(b"jtype: A\n"))
    way_out(tar)


@pytest.mark.parametrize(
    ("write", "told"),
    [
        (link_out, "'config.yml' is no regular file"),
        (way_out, r"the name '\.\./\.\./outside'"),
        (bad_second, r"the name '\.\./\.\./outside'"),
        (lambda tar: None, "something comes after its end mark|it serves nothing"),
    ],
)
def test_a_hostile_archive_is_refused_and_not_a_file_of_it_is_written(
    server: RegistryServer, folder: Path, cache: Cache, write: Callable[[tarfile.TarFile], None], told: str
) -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        write(tar)
        end = tar.offset
    before = set(cache.root.parent.rglob("*"))
    refused(put(server, folder, "hostile", archive.getvalue()[:end] + bytes(1024)), told, cache)
    assert {path for path in cache.root.parent.rglob("*") if cache.root not in (path, *path.parents)} - before == {
        folder.parent / "blob"
    }


def test_an_archive_without_a_config_serves_nothing(server: RegistryServer, folder: Path, cache: Cache) -> None:
    refused(put(server, folder, "empty", bytes(1024)), "it serves nothing: .* has no config.yml", cache)


def test_what_announces_less_than_it_sends_is_cut_off(server: RegistryServer, folder: Path, cache: Cache) -> None:
    archive = os.urandom(100_000)
    refused(put(server, folder, "liar", archive, announced=5000), "more than the 5000 bytes|gives something", cache)


def test_more_than_is_allowed_is_not_even_fetched(server: RegistryServer, folder: Path, cache: Cache) -> None:
    reference = pushed(server, folder, "large")
    refused(reference, "bytes, more than the 1000 that are allowed", cache, Limits(size=1000))
    refused(reference, "more than the 3 files", cache, Limits(files=3))


def test_what_is_damaged_in_the_cache_is_told_with_the_remedy(server: RegistryServer, folder: Path) -> None:
    reference = pushed(server, folder, "damaged")
    (fetch(reference).folder.parent / "about.json").unlink()
    with pytest.raises(ConfigError, match="is damaged .*; remove it, and it is fetched again"):
        fetch(reference)


# -- interrupted, together, alone --------------------------------------------------------------------------------------

FETCH = "import sys; from zflow.hub.fetching import fetch; from zflow.config.references import parse_reference; "
FETCH += "print(fetch(parse_reference(sys.argv[1])).folder)"


def start(uses: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", FETCH, uses], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_in_the_middle_nothing_half_is_ever_found(
    server: RegistryServer, folder: Path, cache: Cache, number: signal.Signals
) -> None:
    (folder / "large.bin").write_bytes(os.urandom(4 << 20))
    pushed(server, folder, f"halved-{number}")
    with holding_door(server.host, 2 << 20) as door:
        process = start(f"hub://{door.host}/halved-{number}")
        assert door.held.wait(20)
        process.send_signal(number)
        process.communicate(timeout=20)
    assert process.returncode != 0
    left = [name for name in in_cache(cache) if not name.startswith("unfinished/")]
    assert left == []
    if number == signal.SIGINT:
        assert in_cache(cache) == []
    package = fetch(parse_reference(f"hub://{server.host}/halved-{number}"))
    assert (package.folder / "large.bin").stat().st_size == 4 << 20
    assert [name for name in in_cache(cache) if name.startswith("unfinished/")] == []


def test_two_processes_at_once_fetch_it_once(server: RegistryServer, folder: Path, cache: Cache) -> None:
    (folder / "large.bin").write_bytes(os.urandom(4 << 20))
    pushed(server, folder, "together")
    with holding_door(server.host, 2 << 20) as door:
        first = start(f"hub://{door.host}/together")
        assert door.held.wait(20)
        second = start(f"hub://{server.host}/together")  # it waits, although nothing holds it back
        assert second.stderr is not None and "already; waiting for it" in second.stderr.readline()
        door.release.set()
        told = [process.communicate(timeout=20)[0] for process in (first, second)]
    assert told[0] == told[1] and Path(told[0].strip(), "large.bin").stat().st_size == 4 << 20


def test_when_the_first_of_two_is_killed_the_second_fetches_it(server: RegistryServer, folder: Path) -> None:
    (folder / "large.bin").write_bytes(os.urandom(4 << 20))
    pushed(server, folder, "heir")
    with holding_door(server.host, 2 << 20) as door:
        first = start(f"hub://{door.host}/heir")
        assert door.held.wait(20)
        second = start(f"hub://{server.host}/heir")
        first.kill()
        first.communicate(timeout=20)
        told = second.communicate(timeout=20)[0]
    assert Path(told.strip(), "large.bin").stat().st_size == 4 << 20


def test_a_registry_that_nobody_answers_for_is_unavailable(cache: Cache) -> None:
    with pytest.raises(Unavailable, match="127.0.0.1:1 cannot be reached: .*refused.*; is this the registry"):
        fetch(parse_reference("hub://127.0.0.1:1/x"))
    assert not cache.root.exists()


def test_large_packages_are_seen_to_come(server: RegistryServer, folder: Path, screen: io.StringIO) -> None:
    (folder / "large.bin").write_bytes(os.urandom(2 << 20))
    reference = pushed(server, folder, "seen")
    package: Package = fetch(reference)
    assert package.came
    assert "fetch seen: [########################] 2.1/2.1 MB" in screen.getvalue()
