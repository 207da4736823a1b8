"""docs/reliability.md and the tests agree: each row is there once, and each test that it names exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "reliability.md").read_text("utf-8")
ROWS = 53
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)


def functions(path: Path) -> set[str]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.parse(path.read_text("utf-8")).body if isinstance(node, kinds)}


def test_each_row_is_there_once() -> None:
    assert sorted(map(int, re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE))) == list(range(1, ROWS + 1))


def test_each_test_that_it_names_exists() -> None:
    assert NAMED
    assert [(path, name) for path, name in NAMED if name not in functions(ROOT / path)] == []


def test_what_is_shown_names_a_test() -> None:
    shown = PAGE.partition("## What is not shown")[0]
    assert [line for line in shown.splitlines() if re.match(r"\| \d+ ", line) and "`tests/" not in line] == []


def test_each_test_of_a_row_is_named_there() -> None:
    written = {
        (str(path.relative_to(ROOT)), name, int(number))
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in functions(path)
        for number in re.findall(r"(?<=_)\d+(?=_)", name.partition("_row")[2][:20] if "test_row" in name[:8] else "")
    }
    rows = {int(number) for number in re.findall(r"^\| (\d+) \|.*`tests/", PAGE, re.MULTILINE)}
    assert {number for _, _, number in written if number <= ROWS} <= rows
