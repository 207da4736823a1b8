"""ZFLOW_* variables and ``${{ ... }}``."""

import copy
import logging
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zflow.config import environment
from zflow.config.environment import is_template, log_level, substitute, variable, with_changes
from zflow.errors import ConfigError


@pytest.fixture(autouse=True)
def a_known_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in environment.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(environment, "_warned", set())


def test_a_variable_is_read_when_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert log_level() == "INFO"
    monkeypatch.setenv("ZFLOW_LOG_LEVEL", "debug")
    assert log_level() == "DEBUG"
    monkeypatch.setenv("ZFLOW_LOG_LEVEL", "")
    assert log_level() == "INFO"


def test_a_wrong_log_level_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZFLOW_LOG_LEVEL", "LOUD")
    with pytest.raises(ConfigError, match="ZFLOW_LOG_LEVEL: expected one of DEBUG, INFO.*got 'LOUD'"):
        log_level()


def test_how_large_a_package_may_be_is_told_in_megabytes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert environment.hub_size() == 500 << 20
    monkeypatch.setenv("ZFLOW_HUB_SIZE", "2000")
    assert environment.hub_size() == 2_000_000_000
    for wrong in ("0", "8001", "2G", "-1", "99999", "1e3"):
        monkeypatch.setenv("ZFLOW_HUB_SIZE", wrong)
        with pytest.raises(ConfigError, match="ZFLOW_HUB_SIZE: expected a whole number of MB, up to 8000"):
            environment.hub_size()


def test_a_misspelled_variable_is_warned_of_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("ZFLOW_LOG_LEVLE", "DEBUG")
    with caplog.at_level(logging.WARNING, "zflow"):
        log_level(), variable("ZFLOW_WORKSPACE")
    assert caplog.messages == [
        "the environment has ZFLOW_LOG_LEVLE, which zflow does not know: did you mean 'ZFLOW_LOG_LEVEL'?"
    ]


def test_the_environment_of_a_child_is_ours_with_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEPT", "1")
    monkeypatch.setenv("CHANGED", "1")
    child = with_changes({"CHANGED": "2", "ADDED": "3"})
    assert [child[name] for name in ("KEPT", "CHANGED", "ADDED")] == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("plain", "plain"),
        ("$HOME and ${HOME}", "$HOME and ${HOME}"),
        ("${{ ENV.PORT }}", 8080),
        ("${{ env.PORT }}", 8080),
        ("${{ENV.PORT}}", 8080),
        (" ${{ ENV.PORT }} ", 8080),
        ("port-${{ ENV.PORT }}", "port-8080"),
        ("${{ ENV.PORT }}${{ ENV.PORT }}", "80808080"),
        ("${{ ENV.FLAG }}", True),
        ("${{ ENV.RATIO }}", 0.5),
        ("${{ ENV.ZEROS }}", "007"),
        ("${{ ENV.EMPTY }}", ""),
        ("${{ ENV.WORD }}", "no"),
        ("${{ CONTEXT.items }}", [1, 2]),
        ("${{ items }}", [1, 2]),
        ("${{ digits }}", "8080"),
        ("a${{ number }}b", "a3b"),
    ],
)
def test_substitution(text: str, value: object, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, given_text in {"PORT": "8080", "FLAG": "true", "RATIO": "0.5", "ZEROS": "007", "WORD": "no"}.items():
        monkeypatch.setenv(name, given_text)
    monkeypatch.setenv("EMPTY", "")
    found = substitute(text, {"items": [1, 2], "digits": "8080", "number": 3})
    assert found == value and isinstance(found, type(value)) and isinstance(found, bool) == isinstance(value, bool)


def test_what_was_put_in_is_not_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLY", "${{ ENV.SECRET }}")
    monkeypatch.setenv("SECRET", "x")
    assert substitute("${{ ENV.SLY }}") == "${{ ENV.SECRET }}"
    assert substitute("a ${{ ENV.SLY }}") == "a ${{ ENV.SECRET }}"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("${{ ENV.NO_SUCH_THING }}", "the environment has no variable 'NO_SUCH_THING'; set it"),
        ("a ${{ ENV.NO_SUCH_THING }}", "the environment has no variable 'NO_SUCH_THING'"),
        ("${{ CONTEXT.colour }}", r"the context has no value 'colour'.*did you mean 'color'\?"),
        ("${{ other }}", "the context has no value 'other'"),
        ("${{ root.a }}", "'.*root.a.*' is not understood"),
        ("${{ 1 + 1 }}", "is not understood: write"),
        ("${{ }}", "is not understood"),
        ("${{ ENV.A", "without '}}'"),
        ("${{ color }} ${{", "without '}}'"),
        ("${{ ${{ color }} }}", "without|not understood"),
    ],
)
def test_what_cannot_be_replaced_is_refused_by_name(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        substitute(text, {"color": "red"})


@given(st.text(st.sampled_from("${} ENV.ax"), max_size=20))
def test_any_text_is_replaced_or_refused(text: str) -> None:
    try:
        found = substitute(text, {"a": "A"})
    except ConfigError:
        assert is_template(text)
    else:
        assert found == text or is_template(text)


def test_variables_that_are_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_VARIABLE", "value")
    assert environment.foreign("SOME_VARIABLE") == "value"
    monkeypatch.setenv("SOME_VARIABLE", "")
    assert environment.foreign("SOME_VARIABLE") is None


def test_what_was_meant_for_this_process_alone_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/notify")
    assert environment.take("NOTIFY_SOCKET", "WATCHDOG_USEC") == {"NOTIFY_SOCKET": "/run/notify"}
    assert environment.take("NOTIFY_SOCKET") == {}


# -- what remembers where it comes from --------------------------------------------------------------------------------


def test_text_and_whole_numbers_that_variables_have_made_remember_their_template(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WHO", "me")
    monkeypatch.setenv("MANY", "3")
    for text, value in (("${{ ENV.WHO }}", "me"), ("${{env.MANY}}", 3), ("a ${{ ENV.WHO }}/${{ ENV.MANY }}", "a me/3")):
        made = substitute(text)
        assert made == value and made.template == text
        travelled = pickle.loads(pickle.dumps([made, copy.copy(made)]))
        assert travelled == [value, value] and {type(item) for item in travelled} == {type(value)}
    for text in ("${{ CONTEXT.x }}", "${{ CONTEXT.x }} of ${{ ENV.WHO }}"):
        assert type(substitute(text, {"x": "y"})) is str, "nobody but this caller has the context"
    monkeypatch.setenv("FLAG", "true")
    assert substitute("${{ ENV.FLAG }}") is True
