"""Values that say what an Executor is, in their normal form; test_spec.py has them as options."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from zflow.config.executor_kinds import FOLDER, METAS, SERVER_KEY, USES, WHEN
from zflow.config.places import Place
from zflow.errors import ConfigError

_HERE = Place("x")


def test_a_folder_is_a_whole_path_whatever_the_working_directory_will_be() -> None:
    assert FOLDER.checked("k", _HERE) == os.path.abspath("k")
    assert FOLDER.checked(Path("a/b"), _HERE) == os.path.abspath("a/b")
    assert FOLDER.checked("~/k", _HERE) == os.path.expanduser("~/k")
    assert FOLDER.checked("", _HERE) == ""


def test_a_condition_arrives_as_plain_values() -> None:
    assert WHEN.checked({"tags__a": {"$in": ("x",)}}, _HERE) == {"tags__a": {"$in": ["x"]}}
    with pytest.raises(ConfigError, match="^x: "):
        WHEN.checked({"tags__a": {"$nearly": 1}}, _HERE)


def test_what_names_no_class_no_key_and_no_meta_is_refused_at_its_place() -> None:
    for kind, wrong in ((USES, "a b"), (SERVER_KEY, "short"), (METAS, {"nmae": "x"})):
        with pytest.raises(ConfigError, match="^x: "):
            kind.checked(wrong, _HERE)
