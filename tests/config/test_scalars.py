"""What a plain word of YAML means."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zflow.config.scalars import MAX_DIGITS, scalar_of
from zflow.errors import ConfigError


@pytest.mark.parametrize(
    ("word", "value"),
    [
        *((word, None) for word in ("", "~", "null", "Null", "NULL")),
        *((word, True) for word in ("true", "True", "TRUE")),
        *((word, False) for word in ("false", "False", "FALSE")),
        ("12", 12),
        ("-3", -3),
        ("+4", 4),
        ("017", 17),
        ("0o17", 15),
        ("0x1F", 31),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1.", 1.0),
        ("1e3", 1000.0),
        ("-1.5E-3", -0.0015),
        (".inf", math.inf),
        ("-.INF", -math.inf),
    ],
)
def test_what_the_core_schema_knows(word: str, value: object) -> None:
    found = scalar_of(word)
    assert (found, type(found)) == (value, type(value))


def test_nan() -> None:
    found = scalar_of(".nan")
    assert isinstance(found, float) and math.isnan(found)


@pytest.mark.parametrize(
    "word",
    # fmt: off
    [
        "on",
        "off",
        "On",
        "yes",
        "no",
        "NO",
        "y",
        "n",
        "22:22",
        "1:30:00",
        "2020-01-01",
        "1_000",
        "0b11",
        "0o8",
        "0xg",
        "-0o7",
        "1e",
        "e3",
        ".",
        "-",
        "+",
        "--1",
        "1.2.3",
        "12a",
        "tRUE",
        "nan",
        "inf",
        "=",
        "<<",
        "０",
        "１２",
    ],
    # fmt: on
)
def test_everything_else_stays_text(word: str) -> None:
    assert scalar_of(word) == word


def test_an_endless_number_is_refused_at_once() -> None:
    assert scalar_of("9" * MAX_DIGITS) == int("9" * MAX_DIGITS)
    for word in ("1" * 100_000, "0x" + "f" * 1000, "1." + "0" * 1000):
        with pytest.raises(ConfigError, match=f"a number of {len(word)} characters"):
            scalar_of(word)


@given(st.text(st.sampled_from("0123456789+-.eExo_:~truefalsnN"), max_size=8) | st.text(max_size=8))
def test_any_word_has_a_value(word: str) -> None:
    found = scalar_of(word)
    assert found == word or not isinstance(found, str)


@given(st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_as_python_writes_them_keep_their_value_and_type(number: int | float) -> None:
    found = scalar_of(repr(number))
    assert (found, type(found)) == (number, type(number))
