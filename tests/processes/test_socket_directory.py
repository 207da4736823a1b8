"""The private directory of ipc sockets: who can enter, what is removed, and what is left alone."""

from __future__ import annotations

import fcntl
import os
import stat
import time
from pathlib import Path

import pytest

from zflow.errors import ConfigError
from zflow.processes import socket_directory
from zflow.processes.socket_directory import (
    SocketDirectory,
    box_of,
    control_paths,
    remove,
    remove_if_left,
    remove_stale,
)


@pytest.fixture
def parent(ipc_directory: Path) -> Path:
    return ipc_directory


def make_old(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    later = time.time() + 3600.0  # the time of a change of a directory cannot be set
    monkeypatch.setattr(socket_directory.time, "time", lambda: later)


def test_only_its_owner_can_enter(parent: Path) -> None:
    directory = SocketDirectory(str(parent))
    mode = os.stat(directory.path).st_mode
    assert stat.S_ISDIR(mode) and stat.S_IMODE(mode) == 0o700
    directory.close()
    assert list(parent.iterdir()) == []


def test_addresses_are_distinct_short_and_inside(parent: Path) -> None:
    directory = SocketDirectory(str(parent))
    names = ["executor0/rep-0", "executor0/rep-1", "x" * 64 + "/rep-1023", "gateway"]
    addresses = {directory.address(name, number) for number, name in enumerate(names)}
    addresses.add(directory.address("executor0/rep-0", 999_999))
    assert len(addresses) == 5
    for address in addresses:
        path = address.removeprefix("ipc://")
        assert os.path.dirname(path) == directory.path
        assert len(os.fsencode(path)) <= 107
        assert len(os.fsencode(f"{box_of(address)}/s")) <= 107
    directory.close()


def test_a_box_goes_with_its_process_or_with_the_directory_whatever_is_in_it(parent: Path) -> None:
    directory = SocketDirectory(str(parent))
    addresses = [directory.address("boxed/rep-0", number) for number in range(2)]
    for address in addresses:
        inside = Path(box_of(address), "made", "by", "a container")
        inside.parent.mkdir(parents=True)
        inside.symlink_to("/etc/passwd")
    directory.forget(addresses[0])
    assert [entry.name for entry in Path(directory.path).iterdir()] == ["boxed-rep-0-1.box"]
    directory.close()
    assert list(parent.iterdir()) == []
    assert Path("/etc/passwd").exists()


def test_a_place_with_a_long_path_is_left_for_a_shorter_one(parent: Path) -> None:
    long = parent / ("long" * 20)
    long.mkdir()
    directory = SocketDirectory(str(long))
    assert directory.path.startswith("/tmp/zflow-")
    directory.close()
    assert not os.path.exists(directory.path)


def test_no_place_with_a_short_path_is_refused_with_the_remedy(parent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_directory, "_PATH_LIMIT", 20)
    with pytest.raises(ConfigError, match="TMPDIR"):
        SocketDirectory(str(parent))


def test_closing_removes_the_sockets_and_is_done_once(parent: Path) -> None:
    directory = SocketDirectory(str(parent))
    for name in ("executor0-rep-0-1.sock", "executor0-rep-0.lines", "executor0-rep-0.lines.1"):
        Path(directory.path, name).touch()
    Path(directory.note_path("executor0/rep-0")).touch()
    directory.close()
    directory.close()
    assert not os.path.exists(directory.path)


def test_a_forked_copy_removes_nothing(parent: Path) -> None:
    directory = SocketDirectory(str(parent))
    pid = os.fork()
    if not pid:
        directory.close()
        os._exit(0)
    os.waitpid(pid, 0)
    assert os.path.isdir(directory.path)
    directory.close()


def test_the_socket_of_a_process_that_was_killed_is_forgotten(parent: Path) -> None:
    directory = SocketDirectory(str(parent))
    address = directory.address("executor0/rep-0", 1)
    Path(address.removeprefix("ipc://")).touch()
    elsewhere = parent / "elsewhere.sock"
    elsewhere.touch()
    for gone in (address, address, "tcp://127.0.0.1:1", f"ipc://{elsewhere}", ""):
        directory.forget(gone)
    assert os.listdir(directory.path) == []
    assert elsewhere.exists()
    directory.close()


def test_removing_leaves_what_is_not_ours(parent: Path) -> None:
    folder = parent / "zflow-1-ab"
    folder.mkdir()
    (folder / "a.sock").touch()
    (folder / "notes.txt").touch()
    remove(str(folder))
    assert [entry.name for entry in folder.iterdir()] == ["notes.txt"]
    remove(str(parent / "never-there"))


def test_what_a_killed_owner_left_is_removed(parent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = parent / "zflow-4711-0a0b0c0d"
    left.mkdir(0o700)
    (left / "gateway-1.sock").touch()
    (left / "executor0-rep-0.note").touch()
    make_old(left, monkeypatch)
    assert remove_stale(str(parent)) == [str(left)]
    assert not left.exists()


def test_a_living_owner_is_left_alone(parent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = SocketDirectory(str(parent))
    make_old(Path(directory.path), monkeypatch)
    assert remove_stale(str(parent)) == []
    assert os.path.isdir(directory.path)
    directory.close()


def test_one_that_is_being_made_is_left_alone(parent: Path) -> None:
    (parent / "zflow-4711-0a0b0c0d").mkdir(0o700)  # its owner has not locked it yet
    assert remove_stale(str(parent)) == []


def test_what_only_looks_like_ours_is_left_alone(parent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = parent / "target"
    target.mkdir()
    (target / "precious.sock").touch()
    (parent / "zflow-link").symlink_to(target)
    (parent / "zflow-file").touch()
    (parent / "others").mkdir()
    make_old(parent, monkeypatch)
    assert remove_stale(str(parent)) == []
    assert (target / "precious.sock").exists()
    monkeypatch.setattr(socket_directory.os, "getuid", lambda: os.geteuid() + 1)
    (parent / "zflow-1-00000000").mkdir()
    assert remove_stale(str(parent)) == []


def test_a_lock_held_by_another_process_counts(parent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = parent / "zflow-4711-0a0b0c0d"
    held.mkdir()
    told, tell = os.pipe()
    done, end = os.pipe()
    pid = os.fork()
    if not pid:
        lock = os.open(held, os.O_RDONLY)
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.write(tell, b"!")
        os.read(done, 1)
        os._exit(0)
    os.read(told, 1)
    make_old(held, monkeypatch)
    assert remove_stale(str(parent)) == []
    os.write(end, b"!")
    os.waitpid(pid, 0)
    assert remove_stale(str(parent)) == [str(held)]
    for descriptor in (told, tell, done, end):
        os.close(descriptor)


# -- orders ------------------------------------------------------------------------------------------------------------


def test_who_gives_orders_finds_the_socket_by_the_port(parent: Path) -> None:
    directory, other = SocketDirectory(str(parent)), SocketDirectory(str(parent))
    path = directory.control_path("tcp://127.0.0.1:12345")
    assert os.path.dirname(path) == directory.path
    assert control_paths(12345, str(parent)) == []
    Path(path).touch()
    Path(other.control_path("tcp://127.0.0.1:12346")).touch()
    assert control_paths(12345, str(parent)) == [path]
    directory.close()
    other.close()


def test_without_an_owner_the_last_one_to_leave_removes_it(parent: Path) -> None:
    directory = SocketDirectory(str(parent))
    path = Path(directory.path)
    Path(directory.control_path("tcp://127.0.0.1:12345")).touch()
    (path / "gateway.sock").touch()
    (path / "gateway.lines").touch()
    remove_if_left(str(path))
    assert path.exists()
    (path / "gateway.sock").unlink()
    remove_if_left(str(path))
    assert not path.exists()
    remove_if_left(str(path))


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o702])
def test_a_directory_that_others_can_enter_is_passed_by(parent: Path, mode: int) -> None:
    directory = SocketDirectory(str(parent))
    Path(directory.control_path("tcp://127.0.0.1:12345")).touch()
    os.chmod(directory.path, mode)
    assert control_paths(12345, str(parent)) == []
    directory.close()
