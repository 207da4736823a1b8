"""What must not stand in a file is told by its name or its shape, and nothing else is."""

from __future__ import annotations

import pytest

from zflow.config.places import Place
from zflow.errors import ConfigError
from zflow.exports.secrets import check_arguments, is_secret, variables_of

PLACE = Place("encoder", ("uses_with",))


@pytest.mark.parametrize("name", ["PASSWORD", "db_password", "API_KEY", "apikey", "HF_TOKEN", "token", "CREDENTIALS"])
def test_a_secret_is_told_by_its_name(name: str) -> None:
    assert is_secret(name, "x")
    assert not is_secret(name, "")
    assert not is_secret(name, 5)


@pytest.mark.parametrize("name", ["MODEL", "max_tokens", "pad_token", "TOKENIZERS_PARALLELISM", "keyword", "KEY_NAME"])
def test_other_names_are_none(name: str) -> None:
    assert not is_secret(name, "x")


def test_a_password_in_an_address_is_a_secret() -> None:
    assert is_secret("DATABASE", "postgres://me:s3cret@host/db")
    assert not is_secret("DATABASE", "postgres://host:5432/db")


def test_variables_are_divided_and_in_order() -> None:
    shown, secret = variables_of({"Z": "1", "B_TOKEN": "x", "A": "2", "A_SECRET": "y"})
    assert list(shown.items()) == [("A", "2"), ("Z", "1")]
    assert secret == ("A_SECRET", "B_TOKEN")


def test_an_argument_that_is_a_secret_is_refused_without_being_told() -> None:
    check_arguments({"model": "small", "deep": {"pad_token": "<pad>"}}, PLACE)
    with pytest.raises(ConfigError) as caught:
        check_arguments({"store": {"api_key": "s3cr3t-value"}}, PLACE)
    assert str(caught.value).startswith("encoder uses_with.store.api_key: this looks like a secret")
    assert "env (API_KEY=...)" in str(caught.value)
    assert "s3cr3t" not in str(caught.value)
