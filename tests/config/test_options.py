"""One declaration per option, and what is collected by it."""

from dataclasses import dataclass, field, fields
from typing import Any

import pytest

from zflow.config import environment
from zflow.config.kinds import FLAG, MILLISECONDS, NEEDS, VARIABLES, one_of, whole
from zflow.config.options import EVERYWHERE, IN_FLOWS, Surface, collect, option, options_of
from zflow.config.places import Place
from zflow.errors import ConfigError

HERE = Place()


@dataclass(frozen=True)
class Sample:
    count: int = option(whole(1, 9), 3, "how many", unit="pieces", aliases=("number",))
    wait: int = option(MILLISECONDS, 50, "how long", variable="ZFLOW_TIMEOUT_READY")
    no_reduce: bool = option(FLAG, False, "whether", surfaces=IN_FLOWS)
    env: dict[str, str] = option(VARIABLES, {}, "what")
    mode: str = option(one_of("warm", "spawn"), "warm", "which")
    given: Any = field(default=None)


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in environment.VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_an_option_tells_everything_that_surfaces_need() -> None:
    count, wait, no_reduce, env, mode = options_of(Sample)
    assert (count.name, count.default, count.help, count.unit, count.aliases) == (
        *("count", 3, "how many", "pieces"),
        ("number",),
    )
    assert (count.flag, no_reduce.flag, count.metavar, no_reduce.metavar) == ("--count", "--no-reduce", "N", "")
    assert (mode.choices, count.choices) == (("warm", "spawn"), ())
    assert (count.surfaces, no_reduce.surfaces & Surface.CLI) == (EVERYWHERE, Surface(0))
    assert [item.name for item in fields(Sample)][-1] == "given"
    assert (Sample().count, Sample().env, env.default, wait.variable) == (3, {}, {}, "ZFLOW_TIMEOUT_READY")


def test_what_was_given_is_checked_and_called_by_its_own_name() -> None:
    given, values = collect(Sample, {"number": 5, "mode": None}, HERE, Surface.PYTHON)
    assert given == values == {"count": 5}


def test_an_unknown_option_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"^cuont: unknown option \"cuont\": did you mean 'count'\?"):
        collect(Sample, {"cuont": 5}, HERE, Surface.PYTHON)


def test_an_option_is_unknown_where_it_cannot_be_given() -> None:
    assert collect(Sample, {"no_reduce": True}, HERE, Surface.YAML)[0] == {"no_reduce": True}
    with pytest.raises(ConfigError, match="unknown option"):
        collect(Sample, {"no_reduce": True}, HERE, Surface.CLI)


def test_an_option_and_its_alias_together_are_refused() -> None:
    with pytest.raises(ConfigError, match="count and number are one option; give it once"):
        collect(Sample, {"count": 1, "number": 1}, HERE, Surface.PYTHON)


def test_the_environment_gives_what_nobody_else_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZFLOW_TIMEOUT_READY", "-1")
    assert collect(Sample, {}, HERE, Surface.PYTHON) == ({}, {"wait": -1})
    assert collect(Sample, {"wait": 7}, HERE, Surface.PYTHON)[1] == {"wait": 7}
    monkeypatch.setenv("ZFLOW_TIMEOUT_READY", "soon")
    with pytest.raises(ConfigError, match='^ZFLOW_TIMEOUT_READY: expected a whole number, got "soon"'):
        collect(Sample, {}, HERE, Surface.PYTHON)


def test_words_of_the_command_line_are_read_by_the_same_kind() -> None:
    count, wait, no_reduce, env, mode = options_of(Sample)
    assert count.check(count.read("4"), HERE) == 4
    assert env.check(env.read(["A=1", "B=x"]), HERE) == {"A": "1", "B": "x"}
    with pytest.raises(ConfigError, match='expected a whole number, got "two"'):
        count.check(count.read("two"), Place("", ("--count",)))


def test_an_option_that_may_be_repeated_takes_words_and_lists() -> None:
    needs = option(NEEDS, (), "names").metadata["option"](name="needs")
    assert needs.check(needs.read(["a", "b,c"]), HERE) == ("a", "b", "c")
    assert needs.check(needs.read("a"), HERE) == ("a",)
