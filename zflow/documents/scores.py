"""Scores: what a Document's `scores` hold, a number with a name and, where somebody cares, how it came about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zflow.errors import InvalidDocument, nearest

_PARTS = ("value", "op_name", "description", "ref_id")


class NamedScore:
    """One score: its `value`, the operation it came from, a description, the id of the document it refers to."""

    __slots__ = _PARTS

    def __init__(self, value: float = 0.0, op_name: str = "", description: str = "", ref_id: str = "") -> None:
        self.value = value
        self.op_name = op_name
        self.description = description
        self.ref_id = ref_id

    def plain(self) -> float | list[Any]:
        """The number alone where there is nothing else to tell, else all four parts in order."""
        parts = [self.value, self.op_name, self.description, self.ref_id]
        return parts if any(parts[1:]) else self.value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, NamedScore):
            return NotImplemented
        return all(getattr(self, part) == getattr(other, part) for part in _PARTS)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        told = ", ".join(f"{part}={getattr(self, part)!r}" for part in _PARTS if part == "value" or getattr(self, part))
        return f"NamedScore({told})"


class Scores(dict[str, NamedScore]):
    """name -> NamedScore. Takes a bare number for one, and makes one where a name is first read, so that
    ``doc.scores["cosine"] = 0.3`` and ``doc.scores["cosine"].value = 0.3`` say the same."""

    __slots__ = ()

    def __init__(self, scores: Mapping[str, Any] = {}) -> None:
        super().__init__()
        for name, score in scores.items():
            self[name] = score

    def __missing__(self, name: str) -> NamedScore:
        self[name] = made = NamedScore()
        return made

    def __setitem__(self, name: str, score: Any) -> None:
        if not isinstance(name, str):
            raise InvalidDocument(f"scores has the key {name!r}, but keys are str", field=f"scores[{name!r}]")
        super().__setitem__(name, _as_score(name, score))

    def copy(self) -> Scores:
        return Scores({name: NamedScore(*(getattr(score, part) for part in _PARTS)) for name, score in self.items()})

    def plain(self) -> dict[str, float | list[Any]]:
        """The scores as JSON and the wire have them."""
        return {name: score.plain() for name, score in self.items()}


def _as_score(name: str, score: Any) -> NamedScore:
    field = f"scores[{name!r}]"
    if isinstance(score, NamedScore):
        made = score
    elif isinstance(score, Mapping):
        for part in score:
            if part not in _PARTS:
                raise InvalidDocument(f"{field} has no part {part!r}; {nearest(str(part), _PARTS)}", field=field)
        made = NamedScore(**score)
    elif isinstance(score, (list, tuple)) and len(score) == len(_PARTS):
        made = NamedScore(*score)
    else:
        made = NamedScore(score)
    if isinstance(made.value, bool) or not hasattr(made.value, "__float__"):
        raise InvalidDocument(f"{field} is {type(made.value).__name__}, not a number or NamedScore", field=field)
    if type(made.value) not in (int, float):
        made.value = float(made.value)
    for part in _PARTS[1:]:
        if not isinstance(getattr(made, part), str):
            raise InvalidDocument(f"{field}.{part} is {type(getattr(made, part)).__name__}, not a str", field=field)
    return made
