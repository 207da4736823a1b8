"""What is found of the standard library, that finding it leaves no trace, and the text it is searched by."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import functions
import pytest
from functions import Function, public_functions

COLLECT = "import functions; print(*(function.name for function in functions.public_functions()[0]))"


@pytest.fixture(scope="module")
def collected() -> list[Function]:
    return public_functions()[0]


def collect_elsewhere(hash_seed: str, code: str = COLLECT) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(Path(functions.__file__).parent)}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=True
    )


def test_there_are_thousands_each_under_one_name(collected: list[Function]) -> None:
    names = [function.name for function in collected]
    assert len(names) > 2500
    assert len(set(names)) == len(names)
    assert all(function.doc for function in collected)


def test_the_order_is_the_same_in_every_process_and_nothing_is_printed() -> None:
    one, other = collect_elsewhere("1"), collect_elsewhere("2")
    assert one.stdout == other.stdout
    assert len(one.stdout.splitlines()) == 1
    assert one.stderr == ""


def test_collecting_starts_no_thread_and_needs_no_display() -> None:
    code = "import functions, sys, threading; functions.public_functions(); "
    code += "print(threading.active_count(), 'tkinter' in sys.modules)"
    assert collect_elsewhere("0", code).stdout.split() == ["1", "False"]


AS_IN_THE_MANUAL = """
zip str.split os.listdir os.path.join math.isclose itertools.permutations pathlib.Path.glob random.choice
urllib.parse.urlsplit xml.etree.ElementTree.parse datetime.date.fromisoformat
"""


@pytest.mark.parametrize("name", AS_IN_THE_MANUAL.split())
def test_functions_are_listed_as_in_the_manual(collected: list[Function], name: str) -> None:
    assert name in {function.name for function in collected}


@pytest.mark.parametrize(
    "name", ["posixpath.join", "random.Random.choice", "bisect.insort", "json.decoder.JSONDecoder.decode", "zip.zip"]
)
def test_second_names_of_a_function_are_not_listed(collected: list[Function], name: str) -> None:
    assert name not in {function.name for function in collected}


def test_nothing_private_is_listed(collected: list[Function]) -> None:
    assert not [
        function.name for function in collected if any(part.startswith("_") for part in function.name.split("."))
    ]


def test_text_is_the_name_in_words_and_the_purpose() -> None:
    function = Function(
        "pathlib.PurePath.with_name",
        "with_name(name) -> path\n\nReturn a new path with the file name\nchanged.\n\nDetails.",
    )
    assert function.text == "pathlib Pure Path with name: Return a new path with the file name changed."


def test_a_first_paragraph_that_says_little_is_followed_by_the_next() -> None:
    assert (
        Function("f", "Compress data.\n\nReturns bytes that zlib reads.\n\nMore.").text
        == "f: Compress data. Returns bytes that zlib reads. More."
    )


def test_long_texts_are_cut() -> None:
    assert len(Function("f", "word " * 500).text.split()) == 1 + functions.MOST
