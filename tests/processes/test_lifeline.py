"""The ways in which a process ends, each in a process of its own that tells what happens to it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.support.processes import read_until
from zflow.processes.channel import Channel
from zflow.processes.lifeline import TERMINATED, at_work

PROGRAM = """
import os, signal, sys, threading, time
from zflow.processes.channel import Channel
from zflow.processes.lifeline import Lifeline
from zflow.processes.logs import Log

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())  # whole, whatever other threads say
channel = Channel.of_descriptor(int(sys.argv[1])) if len(sys.argv) > 1 else None
heard = threading.Event()
{before}
lifeline = Lifeline(channel, Log("me"), hear=lambda words: (say("heard", words), heard.set()),
                    leave=lambda: say("left"))
stopped = threading.Event()
def stop(grace):
    say("stop")
    stopped.set()
def close():
    say("close")
{body}
"""
SERVING = """
lifeline.keep(close)
lifeline.serve(stop)
say("serving")
stopped.wait(20)
lifeline.end()
lifeline.leave()
say("abandoned" if lifeline.was_abandoned() else "done")
"""
BORN_BY_ANOTHER = """
if os.fork():
    time.sleep(60)  # until it is killed
"""
DEAF = SERVING.replace("stopped.wait(20)", "time.sleep(20)")

Begin = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def begin() -> Iterator[Begin]:
    started: list[subprocess.Popen[str]] = []

    def run(body: str, channel: socket.socket | None = None, before: str = "") -> subprocess.Popen[str]:
        source = PROGRAM.format(body=textwrap.dedent(body), before=before)
        fds = [channel.fileno()] if channel is not None else []
        started.append(
            subprocess.Popen(
                [sys.executable, "-c", source, *map(str, fds)],
                pass_fds=fds,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
        )
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


@pytest.fixture
def ends() -> Iterator[tuple[Channel, socket.socket]]:
    ours, theirs = socket.socketpair()
    channel = Channel(ours)
    yield channel, theirs
    channel.close()
    theirs.close()


def rest(process: subprocess.Popen[str]) -> list[str]:
    return process.communicate(timeout=20)[0].splitlines()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_without_a_supervisor_both_signals_end_it(begin: Begin, number: int) -> None:
    process = begin(SERVING)
    read_until(process, "serving")
    process.send_signal(number)
    assert rest(process) == ["stop", "close", "left", "done"]
    assert process.returncode == 0


def test_a_supervised_process_leaves_ctrl_c_to_the_flow(begin: Begin, ends: tuple[Channel, socket.socket]) -> None:
    channel, theirs = ends
    process = begin(SERVING, theirs)
    read_until(process, "serving")
    process.send_signal(signal.SIGINT)
    channel.send({"address": ["x", None]})
    read_until(process, "heard {'address': \\['x', None\\]}")
    process.send_signal(signal.SIGTERM)
    assert rest(process) == ["stop", "close", "left", "done"]


def test_the_supervisors_word_ends_it(begin: Begin, ends: tuple[Channel, socket.socket]) -> None:
    channel, theirs = ends
    process = begin(SERVING, theirs)
    read_until(process, "serving")
    channel.send({"stop": 5.0})
    assert rest(process) == ["stop", "close", "left", "done"]


def test_words_that_came_early_are_heard(begin: Begin, ends: tuple[Channel, socket.socket]) -> None:
    channel, theirs = ends
    channel.send({"plan": "the first"})
    channel.send({"address": ["came", "early"]})
    process = begin("heard.wait(20)", theirs, before="first = channel.receive(most=1)")
    assert rest(process) == ["heard {'address': ['came', 'early']}"]


def test_the_end_of_the_supervisor_ends_it(begin: Begin, ends: tuple[Channel, socket.socket]) -> None:
    channel, theirs = ends
    process = begin(SERVING, theirs)
    read_until(process, "serving")
    theirs.close()
    channel.close()
    assert rest(process) == ["stop", "close", "left", "abandoned"]


def test_an_orphan_whose_supervisor_ends_a_moment_later_was_abandoned(
    begin: Begin, ends: tuple[Channel, socket.socket]
) -> None:
    """Whoever kills a family kills its processes one after another."""
    channel, theirs = ends
    process = begin(SERVING, theirs, before=BORN_BY_ANOTHER)
    read_until(process, "serving")
    theirs.close()
    process.kill()
    read_until(process, "left")
    channel.close()
    assert rest(process) == ["abandoned"]


def test_an_orphan_whose_supervisor_lives_was_not_abandoned(begin: Begin, ends: tuple[Channel, socket.socket]) -> None:
    channel, theirs = ends
    process = begin(SERVING, theirs, before=BORN_BY_ANOTHER)
    read_until(process, "serving")
    process.kill()
    assert rest(process) == ["stop", "close", "left", "done"]


def test_an_orphan_whose_user_code_does_not_end_is_gone_in_time(
    begin: Begin, ends: tuple[Channel, socket.socket]
) -> None:
    channel, theirs = ends
    process = begin(DEAF, theirs)
    read_until(process, "serving")
    began = time.monotonic()
    theirs.close()
    channel.close()
    told = rest(process)
    assert time.monotonic() - began < 1.0
    assert told[0] == "stop" and told[-2:] == ["close", "left"]
    assert "its time is over: ended by force" in told[1]
    assert process.returncode == TERMINATED


def test_the_end_of_its_grace_ends_it_by_force(begin: Begin, ends: tuple[Channel, socket.socket]) -> None:
    channel, theirs = ends
    process = begin(DEAF, theirs)
    read_until(process, "serving")
    began = time.monotonic()
    channel.send({"stop": 0.2})
    told = rest(process)
    assert 0.2 <= time.monotonic() - began < 2.0
    assert told[0] == "stop" and told[-2:] == ["close", "left"]
    assert process.returncode == TERMINATED


def test_a_second_signal_ends_it_by_force(begin: Begin) -> None:
    process = begin(DEAF)
    read_until(process, "serving")
    process.terminate()
    read_until(process, "stop")
    process.terminate()
    told = rest(process)
    assert "it was asked twice: ended by force" in told[0]
    assert told[-2:] == ["close", "left"]
    assert process.returncode == TERMINATED


def test_so_it_does_where_user_code_has_taken_the_wake_up_descriptor(begin: Begin) -> None:
    body = """
    lifeline.keep(close)
    lifeline.serve(stop)
    signal.set_wakeup_fd(-1)
    say("serving")
    while True:
        time.sleep(0.01)
    """
    process = begin(body)
    read_until(process, "serving")
    process.terminate()
    read_until(process, "stop")
    process.terminate()
    assert rest(process)[-2:] == ["close", "left"]
    assert process.returncode == TERMINATED


def test_a_signal_is_noticed_while_c_code_runs(begin: Begin) -> None:
    """Python's own handler would run only when the call returns."""
    body = """
    lifeline.serve(stop)
    say("serving")
    lock = threading.Lock()
    lock.acquire()
    signal.signal(signal.SIGTERM, lambda number, frame: None)  # so that Python's half tells nobody
    lock.acquire(timeout=20)
    """
    process = begin(body)
    read_until(process, "serving")
    time.sleep(0.1)  # until it is inside
    process.terminate()
    assert read_until(process, "stop").endswith("stop\n")


def test_a_close_that_hangs_is_given_up(begin: Begin, ends: tuple[Channel, socket.socket]) -> None:
    channel, theirs = ends
    process = begin(SERVING.replace("lifeline.keep(close)", "lifeline.keep(lambda: (close(), time.sleep(60)))"), theirs)
    read_until(process, "serving")
    began = time.monotonic()
    channel.send({"stop": 0.2})
    told = rest(process)
    assert time.monotonic() - began < 0.2 + 2.0 + 1.0
    assert told.count("close") == 1 and told[-1] == "left"
    assert process.returncode == TERMINATED


def test_a_signal_while_it_closes_changes_nothing(begin: Begin) -> None:
    body = """
    def slowly():
        say("closing")
        time.sleep(0.3)
        close()
    lifeline.keep(slowly)
    lifeline.end()
    say("done")
    """
    process = begin(body)
    read_until(process, "closing")
    process.terminate()
    assert rest(process) == ["close", "done"]
    assert process.returncode == 0


def test_what_stops_it_is_told_how_long_there_is(begin: Begin, ends: tuple[Channel, socket.socket]) -> None:
    channel, theirs = ends
    body = """
    lifeline.serve(lambda grace: (say("grace", grace), stopped.set()))
    say("serving")
    stopped.wait(20)
    """
    process = begin(body, theirs)
    read_until(process, "serving")
    channel.send({"stop": 7.5})
    assert rest(process) == ["grace 7.5"]


def test_close_runs_once_however_many_ask(begin: Begin) -> None:
    body = """
    def slowly():
        close()
        time.sleep(0.3)
    lifeline.keep(slowly)
    threads = [threading.Thread(target=lambda: (lifeline.end(), say("ended"))) for _ in range(3)]
    for thread in threads:
        thread.start()
    """
    process = begin(body)
    assert rest(process) == ["close", "ended", "ended", "ended"]  # nobody goes on before it is closed


@pytest.mark.parametrize("raised", ["ValueError('mine')", "SystemExit(5)", "KeyboardInterrupt()"])
def test_what_close_raises_is_logged_and_does_not_change_the_end(begin: Begin, raised: str) -> None:
    body = f"""
    def fails():
        raise {raised}
    lifeline.keep(fails)
    lifeline.end()
    say("done")
    """
    process = begin(body)
    told = rest(process)
    assert told[-1] == "done" and process.returncode == 0
    assert f"[E]:{raised}" in told[0]


def test_an_ask_while_something_is_made_interrupts_it(begin: Begin, ends: tuple[Channel, socket.socket]) -> None:
    channel, theirs = ends
    body = """
    try:
        say("making")
        time.sleep(20)
    except SystemExit as leaving:
        say("interrupted", leaving.code, lifeline.is_asked)
    lifeline.end()
    """
    process = begin(body, theirs)
    read_until(process, "making")
    channel.send({"stop": 5.0})
    assert rest(process) == [f"interrupted {TERMINATED} True"]
    assert process.returncode == 0


def test_an_ask_that_making_has_swallowed_is_not_forgotten(begin: Begin) -> None:
    body = """
    try:
        say("making")
        time.sleep(20)
    except BaseException:
        pass
    lifeline.serve(stop)
    """
    process = begin(body)
    read_until(process, "making")
    process.terminate()
    assert rest(process) == ["stop"]


def test_it_tells_what_the_main_thread_does(begin: Begin, ends: tuple[Channel, socket.socket]) -> None:
    channel, theirs = ends
    process = begin("def work():\n    say('at work')\n    time.sleep(20)\nwork()\n", theirs)
    read_until(process, "at work")
    channel.send({"where": True})
    assert channel.wait(5.0)
    [told] = channel.receive()
    assert ", in work" in told["where"] or told["where"] == ""


def test_it_can_be_made_where_no_signals_may_be_handled(begin: Begin) -> None:
    body = """
    made = []
    thread = threading.Thread(target=lambda: made.append(Lifeline(None, Log("other"))))
    thread.start()
    thread.join()
    made[0].keep(close)
    made[0].end()
    """
    assert rest(begin(body)) == ["close"]


def test_what_a_thread_is_doing_is_told_from_the_users_code_on() -> None:
    assert "test_what_a_thread_is_doing" in at_work(threading.get_ident())
    assert at_work(-1) == ""
