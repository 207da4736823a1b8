"""The inputs that are kept: for each target a file of bytes as Python writes them, one input a line, ``#`` for remarks.

They are small valid ones, those that were bugs once, and what the fuzzer found to lead further in.
"""

from __future__ import annotations

import ast
from pathlib import Path

FOLDER = Path(__file__).parent / "corpus"


def read(name: str) -> list[bytes]:
    """The inputs that are kept for the target called `name`."""
    lines = (FOLDER / f"{name}.txt").read_text("ascii").splitlines()
    return [ast.literal_eval(line) for line in lines if line and not line.startswith("#")]


def add(name: str, found: list[bytes]) -> int:
    """Keep `found` as well, as far as it is new. Returns how many were."""
    known = set(read(name))
    new = [data for data in dict.fromkeys(found) if data not in known]
    with (FOLDER / f"{name}.txt").open("a", encoding="ascii") as file:
        file.writelines(f"{data!r}\n" for data in new)
    return len(new)
