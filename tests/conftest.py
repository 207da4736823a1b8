"""What every test can rely on: a time limit, a temporary directory of its own, and that nobody before it left anything.

A test that leaves a child process or a directory of sockets behind fails itself, not one after it.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import secrets
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import psutil
import pytest
from hypothesis import settings

from tests.support.network import Network

TIME_LIMIT = 30.0  # seconds for each of set-up, test and tear-down; generous, because two cores are shared
_LAST_RESORT = 60.0  # seconds more until a process that does not even react to a signal is ended
_GONE_WITHIN = 2.0  # seconds that children have to end after their test
_MARK = "TESTS_OF_ZFLOW"  # in the environment of every process that descends from this session
_BY_DESIGN = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")  # live as long as their parent

settings.register_profile("quick", deadline=None, derandomize=True, database=None, max_examples=50)
settings.register_profile("full", deadline=None, print_blob=True, database=None, max_examples=1000)

_session = pytest.StashKey["_Session"]()


class _Session:
    """The mark of this session (each xdist worker is one), and its own place for temporary files."""

    def __init__(self, config: pytest.Config) -> None:
        self.mark = secrets.token_hex(8)
        outer = os.environ.get("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())  # set by the session above, with xdist
        self.folder = Path(tempfile.mkdtemp(prefix="zt-", dir=outer))  # short: socket paths have 107 bytes
        os.environ[_MARK] = self.mark
        os.environ["TMPDIR"] = str(self.folder)
        os.environ["PYTEST_DEBUG_TEMPROOT"] = outer  # tmp_path stays where pytest would put it
        tempfile.tempdir = None
        capture = config.pluginmanager.getplugin("capturemanager")
        with capture.global_and_fixture_disabled() if capture is not None else contextlib.nullcontext():
            self.stderr = os.dup(2)  # the real one: what is captured is lost when a process is ended

    def survivors(self) -> list[psutil.Process]:
        """Processes of this session that still run, also those whose parents are gone."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.pid != os.getpid() and process.environ().get(_MARK) == self.mark and _is_leak(process):
                    found.append(process)
        return found


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="also run the tests that take long (marker full)")


def _hear_the_terminal() -> None:
    """Who is started in the background, or by nohup, ignores Ctrl-C and hang-ups, and so would all that tests start."""
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN and threading.current_thread() is threading.main_thread():
            signal.signal(number, handler)


def pytest_configure(config: pytest.Config) -> None:
    _hear_the_terminal()
    config.addinivalue_line("markers", "full: takes long or needs many processes; runs with --full only")
    config.addinivalue_line("markers", f"time_limit(seconds): how long the test may take, instead of {TIME_LIMIT:g} s")
    config.stash[_session] = _Session(config)
    settings.load_profile("full" if config.getoption("--full") else "quick")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--full"):
        return
    left_out = [item for item in items if item.get_closest_marker("full")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def pytest_unconfigure(config: pytest.Config) -> None:
    own = config.stash[_session]
    os.close(own.stderr)
    shutil.rmtree(own.folder, ignore_errors=True)


# -- time --------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _within_its_time(item: pytest.Item) -> Iterator[None]:
    """End what takes too long by a signal, with the stacks of all threads; and the process, if it does not react."""
    marker = item.get_closest_marker("time_limit")
    limit = float(marker.args[0]) if marker is not None else TIME_LIMIT
    if threading.current_thread() is not threading.main_thread():
        yield  # no signals here
        return

    def too_late(number: int, frame: FrameType | None) -> None:
        faulthandler.dump_traceback(item.config.stash[_session].stderr)
        pytest.fail(f"took longer than {limit:g} s (raise it with @pytest.mark.time_limit(seconds))")

    before = signal.signal(signal.SIGALRM, too_late)
    signal.setitimer(signal.ITIMER_REAL, limit)
    faulthandler.dump_traceback_later(limit + _LAST_RESORT, exit=True, file=item.config.stash[_session].stderr)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    with _within_its_time(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    with _within_its_time(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    with _within_its_time(item):
        return (yield)


# -- leaks -------------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def nothing_is_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Children and directories of sockets that the test made must be gone after it."""
    folder = request.config.stash[_session].folder
    children, directories = _children(), _socket_directories(folder)
    yield
    left = _children() - children
    left_directories = _socket_directories(folder) - directories
    if left or left_directories:
        _blame(left, left_directories)


@pytest.fixture(autouse=True, scope="session")
def nobody_outlives_the_tests(request: pytest.FixtureRequest) -> Iterator[None]:
    """What no single test can be blamed for: grandchildren, and what wider fixtures left. Told with the last test."""
    yield
    survivors = request.config.stash[_session].survivors()
    if survivors:
        told = "; ".join(_told(process) for process in survivors)
        _end(survivors)
        pytest.fail(f"processes that outlived the tests of this session: {told}")


def _blame(pids: set[int], directories: set[Path]) -> None:
    """Give them the time to go, then fail and clear away what stayed."""
    processes = []
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            processes.append(psutil.Process(pid))
    gone, staying = psutil.wait_procs([process for process in processes if _is_leak(process)], timeout=_GONE_WITHIN)
    told = [f"the process {_told(process)}" for process in staying]
    _end(staying)
    for directory in sorted(directories):
        if directory.exists():
            told.append(f"the directory {directory.name} with {sorted(entry.name for entry in directory.iterdir())}")
            shutil.rmtree(directory, ignore_errors=True)
    if told:
        pytest.fail(f"left behind: {', '.join(told)}")


def _children() -> set[int]:
    """The children of this process; /proc tells them without looking at every process of the system."""
    try:
        tasks = Path("/proc/self/task")
        return {int(pid) for task in tasks.iterdir() for pid in (task / "children").read_text().split()}
    except OSError:
        return {process.pid for process in psutil.Process().children()}


def _socket_directories(folder: Path) -> set[Path]:
    return set(folder.glob("zflow-*"))


def _is_leak(process: psutil.Process) -> bool:
    """A child that ended is none, although its parent has not asked for its exit code yet."""
    try:
        command = " ".join(process.cmdline())
        return process.status() != psutil.STATUS_ZOMBIE and not any(known in command for known in _BY_DESIGN)
    except psutil.Error:
        return False


def _told(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return f"{process.pid} ({' '.join(process.cmdline())[:200]})"
    return str(process.pid)


def _end(processes: list[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(processes, timeout=0.5)  # an orphan may stay a zombie for ever where nobody reaps


# -- fixtures ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def network() -> Network:
    """An empty network of roles without sockets."""
    return Network()


@pytest.fixture
def ipc_directory() -> Iterator[Path]:
    """A private directory whose path is short enough for sockets, as tmp_path is not."""
    folder = Path(tempfile.mkdtemp(prefix="ipc-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
