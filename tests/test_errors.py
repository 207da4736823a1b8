"""Every exception says whose fault it is, whether asking again can help, and how a command that meets it ends."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
from typing import Any

import pytest

from zflow import errors
from zflow.errors import (
    BY_CODE,
    CallbackError,
    Cancelled,
    ConfigError,
    DeadlineExceeded,
    ExecutorError,
    InvalidDocument,
    InvalidRequest,
    PortInUse,
    RemoteError,
    ResourceExhausted,
    StartError,
    TopologyError,
    Unavailable,
    WorkspaceError,
    ZflowError,
    nearest,
)

ALL: list[Any] = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if kind.__module__ == errors.__name__]
TRAVELLING = [pytest.param(kind, id=kind.__name__) for kind in BY_CODE.values()]


def test_the_tree_in_the_docstring_shows_every_exception() -> None:
    drawn = set(re.findall(r"-- ([A-Z]\w+)", errors.__doc__ or ""))

    assert drawn | {"RemoteError", "ZflowError"} == {kind.__name__ for kind in ALL}


def test_everything_can_be_caught_as_a_zflow_error() -> None:
    assert all(issubclass(kind, ZflowError) for kind in ALL)


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (ConfigError, ValueError),
        (TopologyError, ConfigError),
        (PortInUse, ConfigError),
        (InvalidDocument, ValueError),
        (InvalidRequest, ValueError),
        (DeadlineExceeded, TimeoutError),
    ],
)
def test_who_does_not_know_zflow_catches_them_by_their_usual_names(kind: type, builtin: type) -> None:
    assert issubclass(kind, builtin)


# -- codes -------------------------------------------------------------------------------------------------------------


def test_what_travels_has_a_code_of_its_own_and_can_be_found_by_it() -> None:
    travelling = [kind for kind in ALL if issubclass(kind, RemoteError) and kind is not RemoteError]

    assert sorted(kind.code for kind in travelling) == list(range(1, len(travelling) + 1))
    assert BY_CODE == {kind.code: kind for kind in travelling}


def test_an_invalid_document_is_an_invalid_request_to_others() -> None:
    assert InvalidDocument("no").code == InvalidRequest.code


def test_what_stays_at_home_has_no_code() -> None:
    for kind in (ZflowError, ConfigError, TopologyError, PortInUse, CallbackError, StartError, RemoteError):
        assert kind.code == 0


def test_asking_again_helps_only_where_nobody_was_there_or_something_was_full() -> None:
    assert {kind for kind in ALL if kind.retryable} == {Unavailable, ResourceExhausted}


@pytest.mark.parametrize(
    ("kind", "exit_code"),
    [
        (ZflowError, 1),
        (ExecutorError, 1),
        (Cancelled, 1),
        (ConfigError, 2),
        (TopologyError, 2),
        (PortInUse, 2),
        (StartError, 3),
        (WorkspaceError, 74),
        (Unavailable, 69),
        (ResourceExhausted, 75),
        (DeadlineExceeded, 75),
        (errors.AuthError, 77),
        (errors.HubError, 65),
    ],
)
def test_a_command_ends_with_a_code_that_says_what_to_do(kind: type[ZflowError], exit_code: int) -> None:
    assert kind.exit_code == exit_code


# -- what they tell ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", TRAVELLING)
def test_what_travels_tells_where_it_comes_from_and_whether_the_request_may_have_run(kind: type[RemoteError]) -> None:
    told = kind("it failed", node="encoder", peer="encoder/rep-0", maybe_executed=True)

    assert (str(told), told.node, told.peer, told.maybe_executed) == ("it failed", "encoder", "encoder/rep-0", True)
    assert told.call_id == b""


@pytest.mark.parametrize("kind", TRAVELLING)
def test_nothing_is_claimed_that_was_not_told(kind: type[RemoteError]) -> None:
    told = kind("it failed")

    assert (told.node, told.peer) == ("", "")
    assert told.maybe_executed is (kind is ExecutorError)  # a method that raised has run


def test_an_executors_error_shows_its_own_traceback() -> None:
    told = ExecutorError(
        "encoder raised", name="ValueError", description="ValueError('no')", traceback="Traceback\n  here\n"
    )

    assert str(told) == "encoder raised\n\nThe Executor's own traceback:\nTraceback\n  here"
    assert (told.name, told.description) == ("ValueError", "ValueError('no')")


def test_an_executors_error_without_traceback_or_description_says_what_it_knows() -> None:
    told = ExecutorError("encoder raised")

    assert (str(told), told.description) == ("encoder raised", "encoder raised")


def test_a_start_error_shows_what_the_process_said_last() -> None:
    told = StartError("encoder/rep-0 did not start", peer="encoder/rep-0", traceback="ImportError: torch\n")

    assert str(told) == "encoder/rep-0 did not start\n\nIts own traceback:\nImportError: torch"
    assert str(StartError("it did not start")) == "it did not start"


def test_a_full_queue_tells_when_to_ask_again() -> None:
    assert ResourceExhausted("full", retry_after=0.5).retry_after == 0.5
    assert ResourceExhausted("full").retry_after == 0.0


def test_an_invalid_document_tells_the_field() -> None:
    assert InvalidDocument("no", field="chunks[2].tensor").field == "chunks[2].tensor"


@pytest.mark.parametrize("kind", TRAVELLING)
def test_they_survive_being_handed_to_another_process(kind: type[RemoteError]) -> None:
    told = kind("it failed", node="encoder", peer="encoder/rep-0", maybe_executed=True)

    for other in (pickle.loads(pickle.dumps(told)), copy.copy(told)):
        assert type(other) is kind
        assert (str(other), other.node, other.peer, other.maybe_executed) == (
            str(told),
            "encoder",
            "encoder/rep-0",
            True,
        )


# -- nearest -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "known", "hint"),
    [
        ("replcas", ["replicas", "name"], "did you mean 'replicas'?"),
        ("zzz", ["replicas", "name"], "known: name, replicas"),
        ("zzz", [], "none is known here"),
        ("encodr", {"encoder": 1, "indexer": 2}, "did you mean 'encoder'?"),
    ],
)
def test_the_nearest_known_word_is_named(word: str, known: list[str], hint: str) -> None:
    assert nearest(word, known) == hint


def test_a_workspace_error_is_an_os_error_that_says_which_file_and_why() -> None:
    told = WorkspaceError("/w/index.bin cannot be saved", 28, "/w/index.bin")
    assert isinstance(told, OSError) and (told.errno, told.filename) == (28, "/w/index.bin")
    assert str(told) == "/w/index.bin cannot be saved"
    assert repr(told) == "WorkspaceError('/w/index.bin cannot be saved')"
