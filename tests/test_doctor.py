"""Each thing that can be wrong with a machine is found, and comes with what to do about it."""

from __future__ import annotations

import os
import resource
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from zflow import doctor
from zflow.config import environment, keys
from zflow.config.keys import Identity
from zflow.doctor import FAIL, OK, WARN, Finding, examine
from zflow.drivers.sockets import new_identity
from zflow.errors import StartError


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in environment.VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def limit() -> Iterator[Callable[[int, int], None]]:
    """Set one of this process's limits for as long as the test runs."""
    before: dict[int, tuple[int, int]] = {}

    def set_to(which: int, soft: int) -> None:
        before[which] = resource.getrlimit(which)
        resource.setrlimit(which, (soft, before[which][1]))

    yield set_to
    for which, limits in before.items():
        resource.setrlimit(which, limits)


def is_well(finding: Finding, state: str, *words: str) -> bool:
    """Whether it is of this state, says what is wrong and, where something is, what to do."""
    said = f"{finding.told} {finding.remedy}"
    return finding.state == state and bool(finding.remedy) == (state != OK) and all(word in said for word in words)


def test_here_nothing_fails_and_a_flow_has_answered(tmp_path: Path) -> None:
    findings = list(examine())
    assert [finding for finding in findings if finding.state == FAIL] == []
    assert len({finding.name for finding in findings}) == len(findings)
    assert findings[-1].name == "a Flow" and "was ready in" in findings[-1].told


@pytest.mark.parametrize(
    ("lacks", "state", "word"),
    [
        ({"is_new_enough": False}, FAIL, "zflow needs libzmq 4.2 or newer"),
        ({"has_ipc": False}, FAIL, "with ipc"),
        ({"has_curve": False}, WARN, "without CURVE there are no keys"),
        ({"is_compiled": False}, WARN, "as a wheel"),
        ({"has_draft": True}, OK, "which are not used"),
    ],
)
def test_a_libzmq_that_lacks_something(
    monkeypatch: pytest.MonkeyPatch, lacks: dict[str, Any], state: str, word: str
) -> None:
    found = doctor.libzmq()
    monkeypatch.setattr(doctor, "libzmq", lambda: found._replace(**lacks))
    assert is_well(doctor._libzmq(), state, word)


def test_a_package_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name == "click":
            raise metadata.PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr(doctor.metadata, "version", version)
    assert is_well(doctor._packages(), FAIL, "click missing", "pip install click")


def test_a_msgpack_that_is_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    assert is_well(doctor._msgpack(), WARN, "pure Python")


@pytest.mark.parametrize(("soft", "state"), [(200, FAIL), (500, WARN), (1024, OK)])
def test_a_limit_on_descriptors(limit: Callable[[int, int], None], soft: int, state: str) -> None:
    limit(resource.RLIMIT_NOFILE, soft)
    assert is_well(doctor._descriptors(), state, f"{soft} open files", *(["ulimit -n"] if state != OK else []))


def test_a_limit_on_processes(limit: Callable[[int, int], None]) -> None:
    limit(resource.RLIMIT_NPROC, 50)
    assert is_well(doctor._processes(), WARN, "50 processes", "ulimit -u")


def test_shared_memory_that_is_nearly_full(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = doctor.shutil.disk_usage("/")
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: usage._replace(free=1 << 20))
    assert is_well(doctor._shared_memory(), WARN, "1 MB free", "--shm-size")


def test_a_place_for_sockets_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere-that-is")
    assert is_well(doctor._ipc_folder(), FAIL, "no socket can be made", "TMPDIR")


def test_nothing_is_left_where_sockets_are_tried(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert is_well(doctor._ipc_folder(), OK, "mode 700")
    assert list(tmp_path.iterdir()) == [] == list(Path("/tmp").glob(f"zflow-{os.getpid()}-*"))


def test_a_clock_that_was_never_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.time, "gmtime", lambda *seconds: time.struct_time((1970, 1, 1, 0, 0, 0, 3, 1, 0)))
    assert is_well(doctor._clock(), WARN, "1970-01-01", "NTP")


def test_a_localhost_that_is_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.socket, "getaddrinfo", lambda *asked: [(0, 0, 0, "", ("10.0.0.1", 0))])
    assert is_well(doctor._localhost(), WARN, "10.0.0.1", "/etc/hosts")


def test_variables_that_are_misspelled_or_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_well(doctor._variables(), OK, "none of ZFLOW_* is set")
    monkeypatch.setenv("ZFLOW_LOG_LEVEL", "LOUD")
    assert is_well(doctor._variables(), FAIL, "LOUD")
    monkeypatch.setenv("ZFLOW_LOGLEVEL", "INFO")
    assert is_well(doctor._variables(), WARN, "ZFLOW_LOGLEVEL: did you mean 'ZFLOW_LOG_LEVEL'?")


def test_keys_that_are_not_there_or_that_others_can_read(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    assert is_well(doctor._keys(str(folder)), FAIL, "there is no folder", "zflow keygen --keys")
    made: Identity = new_identity()
    keys.create(folder, made)
    keys.allow(folder, "robot", new_identity().public)
    assert is_well(doctor._keys(str(folder)), OK, made.public, "1 on the list")
    (folder / keys.ALLOWED).chmod(0o600)
    (folder / keys.ALLOWED).write_text("robot nonsense\n")
    assert is_well(doctor._keys(str(folder)), FAIL, "allowed")
    (folder / keys.SECRET).chmod(0o644)
    assert is_well(doctor._keys(str(folder)), FAIL, "others can read it")


@pytest.mark.parametrize(
    ("script", "state", "word"),
    [
        (None, OK, "not installed"),
        ("echo 27.0", OK, "engine 27.0"),
        ("echo 'Cannot connect to the daemon' >&2; exit 1", WARN, "Cannot connect to the daemon"),
    ],
)
def test_an_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str | None, state: str, word: str) -> None:
    if script is not None:
        (tmp_path / "docker").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert is_well(doctor._docker(), state, word)


def test_a_port_that_is_taken_and_by_whom() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        assert is_well(doctor._port(port), FAIL, "holds it", "another port")
    assert is_well(doctor._port(port), OK, "free")
    assert is_well(doctor._port(0), OK, "free ones on loopback")


def test_a_flow_that_cannot_start(monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing:
        def __init__(self, **options: Any) -> None: ...

        def add(self) -> Failing:
            return self

        def __enter__(self) -> Failing:
            raise StartError("no process can be started here")

        def __exit__(self, *error: object) -> None: ...

    monkeypatch.setattr(doctor, "Flow", Failing)
    assert is_well(doctor._a_flow(), FAIL, "no process can be started here")
