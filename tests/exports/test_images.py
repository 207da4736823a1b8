"""Which image serves an Executor, and by which words it is named in there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.exports.shapes import HERE, IMAGES, Echo
from zflow.config.spec import ExecutorSpec
from zflow.errors import ConfigError
from zflow.exports.images import Images, words_of

NONE = Images("", {}, "zflow:1", HERE)


def spec(**options: Any) -> ExecutorSpec:
    return ExecutorSpec.from_options(name="encoder", **options)


def test_an_image_serves_what_names_it() -> None:
    asked = spec(uses="docker://registry.example.org:5000/me/encoder:1.0")
    assert NONE.of(asked, asked.uses) == "registry.example.org:5000/me/encoder:1.0"


def test_code_needs_an_image_and_the_error_says_how() -> None:
    with pytest.raises(ConfigError) as caught:
        NONE.of(spec(uses=Echo), Echo)
    assert str(caught.value).startswith("encoder: ")
    assert "uses='docker://image:tag'" in str(caught.value)
    assert "--image" in str(caught.value)
    assert IMAGES.of(spec(uses=Echo), Echo) == "me/app:1"
    assert Images("", {"encoder": "me/own:2"}, "zflow:1", HERE).of(spec(uses=Echo), Echo) == "me/own:2"


def test_a_package_is_no_image_but_may_have_one() -> None:
    with pytest.raises(ConfigError, match=r"hub://me/x:latest is a package; push it with its image .*hub\+docker://"):
        NONE.of(spec(uses="hub://me/x"), "hub://me/x:latest")
    assert IMAGES.of(spec(uses="hub://me/x"), "hub://me/x:latest") == "me/app:1"


def test_what_only_passes_documents_on_needs_no_image_of_its_own() -> None:
    assert NONE.of(spec(), None) == "zflow:1"


def test_programs_come_from_no_image() -> None:
    native = Images("", {}, "", HERE, native=True)
    assert native.of(spec(uses=Echo), Echo) == ""
    with pytest.raises(ConfigError, match="is an image, and programs are wanted"):
        native.of(spec(uses="docker://x"), "docker://x")


def words(**options: Any) -> list[str]:
    asked = spec(**options)
    return words_of(asked, asked.uses, HERE)


def test_an_executor_is_named_by_what_can_be_found_in_the_image() -> None:
    assert words(uses="docker://x") == ["--uses", "config.yml"]
    assert words(uses=Echo) == ["--uses", "tests.exports.shapes:Echo"]
    assert words() == []
    assert words(uses="hub://a.org/Me/X") == ["--uses", "hub://a.org/me/x:latest"]


def test_paths_are_relative_to_where_the_image_starts(tmp_path: Path) -> None:
    (tmp_path / "x.py").touch()
    asked = spec(uses=str(tmp_path / "sub" / "e.yml"), py_modules=str(tmp_path / "x.py"))
    assert words_of(asked, asked.uses, tmp_path) == ["--uses", "sub/e.yml", "--py-modules", "x.py"]
    with pytest.raises(ConfigError, match="lies outside of"):
        words_of(asked, asked.uses, tmp_path / "sub" / "deeper")


def test_arguments_are_json_and_switches_are_flags() -> None:
    assert words(uses="docker://x", uses_with={"a": [1, "ä"]}, idempotent=True, max_concurrency=3) == [
        *("--uses", "config.yml", "--uses-with", '{"a": [1, "ä"]}', "--max-concurrency", "3", "--idempotent"),
    ]


def test_what_cannot_be_written_is_refused() -> None:
    with pytest.raises(ConfigError, match="cannot be written to a file"):
        words(uses="docker://x", uses_with={"a": object()})
    with pytest.raises(ConfigError, match="looks like a secret"):
        words(uses="docker://x", uses_with={"api_key": "x"})


def test_a_class_of_the_running_script_cannot_be_found_there() -> None:
    class Here(Echo):
        """Nobody else can import it."""

    with pytest.raises(ConfigError):
        words(uses=Here)
