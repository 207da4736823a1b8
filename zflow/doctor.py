"""What of this machine keeps zflow from working, or from working well: `zflow doctor`.

Each check looks at one thing and says how it is; what is not well comes with what to do. Nothing is changed, and what
is tried (a socket, a Flow of one Executor) is gone afterwards.
"""

from __future__ import annotations

import os
import platform
import resource
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from zflow.config import environment
from zflow.config import keys as key_files
from zflow.documents import Document
from zflow.drivers.libzmq import LEAST, libzmq
from zflow.drivers.port_holder import holder_of
from zflow.errors import ConfigError, ZflowError, nearest
from zflow.flow import Flow
from zflow.processes.errand import run
from zflow.processes.socket_directory import SocketDirectory

OK, WARN, FAIL = "ok", "warn", "fail"

_PACKAGES = ("pyzmq", "msgpack", "pyyaml", "click", "numpy", "cloudpickle", "watchfiles")
_DESCRIPTORS = (256, 1024)  # below the first nothing of any size runs, below the second few clients fit
_PROCESSES = 100
_MEMORY = 64 << 20  # bytes of /dev/shm: what a container has when nobody says more
_BACKLOG = 1024
_PATIENCE = 10.0  # seconds for the engine, and for a Flow to start
_A_PAST_YEAR = 2024  # no clock that is right says less


class Finding(NamedTuple):
    """How one thing is. state: "ok", "warn" or "fail". remedy: what to do; empty where nothing is."""

    name: str
    state: str
    told: str
    remedy: str = ""


def examine(*, keys: str = "", ports: Sequence[int] = ()) -> Iterator[Finding]:
    """Every finding, one after the other. keys: the folder to look at, instead of the usual one. ports: which shall be
    free."""
    checks: list[Callable[[], Finding]] = [
        *(_python, _libzmq, _packages, _msgpack, _descriptors, _processes, _shared_memory, _ipc_folder, _backlog),
        *(_clock, _localhost, _variables, lambda: _keys(keys), _docker),
        *((lambda port=port: _port(port)) for port in ports or (0,)),
        _a_flow,
    ]
    for check in checks:
        yield check()


# -- what is installed -------------------------------------------------------------------------------------------------


def _python() -> Finding:
    told = f"{platform.python_version()} ({platform.python_implementation()}) at {sys.executable}"
    if sys.version_info < (3, 10):  # noqa: UP036  what pip refuses can be run from a checkout
        return Finding("python", FAIL, told, "install Python 3.10 or newer")
    return Finding("python", OK, told)


def _libzmq() -> Finding:
    found = libzmq()
    drafts = "with drafts, which are not used" if found.has_draft else "no drafts, and none are needed"
    told = f"{found.version} (pyzmq {found.pyzmq}), {'CURVE' if found.has_curve else 'no CURVE'}, {drafts}"
    if not found.is_new_enough or not found.has_ipc:
        wanted = f"{LEAST[0]}.{LEAST[1]} or newer, with ipc"
        return Finding("libzmq", FAIL, told, f"zflow needs libzmq {wanted}: pip install --force-reinstall pyzmq")
    if not found.has_curve:
        remedy = "without CURVE there are no keys: install pyzmq as a wheel, or build libzmq with libsodium"
        return Finding("libzmq", WARN, told, remedy)
    if not found.is_compiled:
        return Finding("libzmq", WARN, f"{told}; the binding is not compiled", "install pyzmq as a wheel for CPython")
    return Finding("libzmq", OK, told)


def _packages() -> Finding:
    versions, missing = {}, []
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            missing.append(name)
    told = ", ".join(f"{name} {version}" for name, version in versions.items())
    if missing:
        return Finding("packages", FAIL, f"{', '.join(missing)} missing; {told}", f"pip install {' '.join(missing)}")
    return Finding("packages", OK, told)


def _msgpack() -> Finding:
    if find_spec("msgpack._cmsgpack") is None:
        told = "msgpack is pure Python here: everything that is sent takes many times longer"
        return Finding("msgpack", WARN, told, "install it as a wheel: pip install --force-reinstall msgpack")
    return Finding("msgpack", OK, "compiled")


# -- what the system allows --------------------------------------------------------------------------------------------


def _descriptors() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return Finding("descriptors", OK, "no limit")
    told = f"{soft} open files at most"
    fewest, fair = _DESCRIPTORS
    if soft >= fair:
        return Finding("descriptors", OK, told)
    more = "" if hard == resource.RLIM_INFINITY or hard >= 4 * fair else f" (the hard limit is {hard})"
    remedy = f"each connection takes one or more: ulimit -n {4 * fair}, or LimitNOFILE= in a unit{more}"
    return Finding("descriptors", FAIL if soft < fewest else WARN, told, remedy)


def _processes() -> Finding:
    soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    if soft == resource.RLIM_INFINITY or soft >= _PROCESSES:
        return Finding("processes", OK, "no limit" if soft == resource.RLIM_INFINITY else f"{soft} at most")
    remedy = f"each replica is one, and has threads: ulimit -u {10 * _PROCESSES}, or TasksMax= in a unit"
    return Finding("processes", WARN, f"{soft} processes and threads of this user at most", remedy)


def _shared_memory() -> Finding:
    folder = "/dev/shm"
    if not os.path.isdir(folder):
        return Finding("shared memory", OK, f"there is no {folder} on this system")
    if not os.access(folder, os.W_OK):
        return Finding("shared memory", WARN, f"{folder} cannot be written", f"chmod 1777 {folder}, or mount it rw")
    free = shutil.disk_usage(folder).free
    told = f"{free >> 20} MB free at {folder}"
    if free < _MEMORY // 2:
        return Finding("shared memory", WARN, told, "remove what is left there; in a container give --shm-size=1g")
    return Finding("shared memory", OK, told)


def _ipc_folder() -> Finding:
    """The private directory of a Flow, made as a Flow makes it, with a socket in it."""
    where = tempfile.gettempdir()
    try:
        directory = SocketDirectory()
        try:
            path = directory.address("doctor", 1).removeprefix("ipc://")
            with socket.socket(socket.AF_UNIX) as probe:
                probe.bind(path)
            mode = os.stat(directory.path).st_mode & 0o777
            where = os.path.dirname(directory.path)  # another one where that of temporary files has too long a path
        finally:
            directory.close()
    except (OSError, ConfigError) as error:
        remedy = "set TMPDIR to a folder on a local disk that this user can write, with a short path"
        return Finding("ipc folder", FAIL, f"no socket can be made in {where}: {error}", remedy)
    if mode & 0o077:
        remedy = "others could ask its processes: set TMPDIR to a file system that knows modes"
        return Finding("ipc folder", FAIL, f"a private folder in {where} has mode {mode:o}", remedy)
    return Finding("ipc folder", OK, f"sockets of a Flow are in {where}, mode {mode:o}")


def _backlog() -> Finding:
    try:
        most = int(Path("/proc/sys/net/core/somaxconn").read_text())
    except (OSError, ValueError):
        return Finding("backlog", OK, "this system does not tell")
    if most < _BACKLOG:
        remedy = f"many clients that connect at once have to wait: sysctl -w net.core.somaxconn={4 * _BACKLOG}"
        return Finding("backlog", WARN, f"{most} connections may wait to be accepted", remedy)
    return Finding("backlog", OK, f"{most} connections may wait to be accepted")


def _clock() -> Finding:
    year, info = time.gmtime().tm_year, time.get_clock_info("monotonic")
    told = f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}, deadlines by {info.implementation}"
    if year < _A_PAST_YEAR:
        remedy = "set it, by NTP if possible: logs of several hosts cannot be put in order (deadlines are not affected)"
        return Finding("clock", WARN, told, remedy)
    if not info.monotonic or info.resolution > 0.001:
        return Finding("clock", WARN, f"{told}, in steps of {info.resolution:g} s", "deadlines will be that inexact")
    return Finding("clock", OK, told)


def _localhost() -> Finding:
    try:
        addresses = sorted({str(found[4][0]) for found in socket.getaddrinfo("localhost", None)})
    except OSError as error:
        return Finding("localhost", WARN, f"it has no address: {error}", "add '127.0.0.1 localhost' to /etc/hosts")
    if not any(address.startswith("127.") for address in addresses):
        told = f"it is {', '.join(addresses)}, where nothing of ours is bound"
        return Finding("localhost", WARN, told, "add '127.0.0.1 localhost' to /etc/hosts, or say 127.0.0.1")
    return Finding("localhost", OK, ", ".join(addresses))


# -- what the user has set ---------------------------------------------------------------------------------------------


def _variables() -> Finding:
    known, unknown = environment.our_variables()
    if unknown:
        told = "; ".join(f"{name}: {nearest(name, environment.VARIABLES)}" for name in unknown)
        return Finding("variables", WARN, f"zflow does not know {told}", "correct the name, or unset it")
    try:
        environment.log_level()
    except ConfigError as error:
        return Finding("variables", FAIL, str(error), "correct it, or unset it")
    return Finding("variables", OK, ", ".join(known) or "none of ZFLOW_* is set")


def _keys(folder: str) -> Finding:
    where = folder or key_files.default_folder()
    if not os.path.isdir(where):
        if folder:
            return Finding("keys", FAIL, f"there is no folder {where}", f"make it: zflow keygen --keys {where}")
        told = f"none at {where}: this host is reached, and reaches others, by loopback only"
        return Finding("keys", OK, f"{told}, unless a folder is named")
    try:
        public = key_files.load(where).public
        allowed = key_files.read_allowed(where)
    except ConfigError as error:
        return Finding("keys", FAIL, str(error), "see the message; zflow keygen makes a new pair in another folder")
    if allowed.faults:
        return Finding("keys", FAIL, "; ".join(allowed.faults), f"correct {where}/{key_files.ALLOWED}")
    count = len(allowed.entries)
    return Finding("keys", OK, f"{where}: public key {public}, {count} on the list")


def _docker() -> Finding:
    if shutil.which("docker") is None:
        return Finding("docker", OK, "not installed; it is needed for Executors in images (docker://) only")
    try:
        answer = run(["docker", "version", "--format", "{{.Server.Version}}"], patience=_PATIENCE)
    except ZflowError as error:
        return Finding("docker", WARN, str(error), "see whether its engine runs: docker info")
    if answer.code:
        lines = answer.err.strip().splitlines() or ["it gives no reason"]
        remedy = "start the engine, or let this user use it: systemctl start docker; usermod -aG docker USER"
        return Finding("docker", WARN, f"its engine does not answer: {lines[-1]:.200}", remedy)
    return Finding("docker", OK, f"engine {answer.out.strip()}")


def _port(port: int) -> Finding:
    name = f"port {port}" if port else "ports"
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            holder = holder_of(port)
            told = f"{holder or 'somebody'} holds it" if port and error.errno != 13 else str(error)
            return Finding(name, FAIL, told, "end that process, or take another port")
    return Finding(name, OK, "free" if port else f"free ones on loopback{_range()}")


def _range() -> str:
    try:
        first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    except (OSError, ValueError):
        return ""
    return f", {first} to {last} are given out"


def _a_flow() -> Finding:
    """Whether all of it works together."""
    began = time.monotonic()
    try:
        with Flow(quiet=True, timeout_ready=int(_PATIENCE * 1000)).add() as flow:
            ready = time.monotonic() - began
            flow.post("/", Document(text="are you there?"), timeout=_PATIENCE)
    except (ZflowError, OSError) as error:
        lines = str(error).strip().splitlines()
        return Finding("a Flow", FAIL, f"could not serve: {' '.join(lines)[:500]}", "correct what failed above, first")
    return Finding("a Flow", OK, f"of one Executor was ready in {ready:.2f} s and answered")
