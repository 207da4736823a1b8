"""The questions of questions.yml, and whether a list of matches answers one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

QUESTIONS = Path(__file__).with_name("questions.yml")


@dataclass(frozen=True)
class Question:
    ask: str
    accept: frozenset[str]  # names of functions, each a full answer

    def answered_by(self, names: Iterable[str]) -> bool:
        return not self.accept.isdisjoint(names)


def load_questions(path: Path = QUESTIONS) -> list[Question]:
    """The questions in the file's order; ValueError names the entry that lacks `ask` or `accept`."""
    questions = []
    for number, entry in enumerate(yaml.safe_load(path.read_text("utf-8")), 1):
        if not (isinstance(entry, dict) and set(entry) == {"ask", "accept"} and entry["ask"] and entry["accept"]):
            raise ValueError(
                f"{path.name}, question {number}: expected `ask: text` and `accept: [name, ...]`, got {entry!r}"
            )
        questions.append(Question(entry["ask"], frozenset(entry["accept"])))
    return questions
