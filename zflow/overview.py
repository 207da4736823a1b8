"""How a peer and its nodes stand, as a table for people: `zflow status` shows it once, `zflow top` again and again.

Rates and times of `zflow top` are those since the last look, from two statuses of the same process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

_HEADS = ("NODE", "QUEUED", "REPLICA", "STATE", "RUNNING", "CREDIT", "DONE", "RATE", "MEAN", "")
_LEFT = {"NODE", "REPLICA", "STATE", ""}
_MOST_OF_A_CAUSE = 60


class Look(NamedTuple):
    """A status, and when it came, in seconds of whatever clock."""

    status: Mapping[str, Any]
    at: float


def overview(look: Look, before: Look | None = None) -> str:
    """The status of `look`, as a line and a table of its nodes, if it has any. before: an earlier look at the same."""
    status = look.status
    nodes: Mapping[str, Any] = status.get("nodes") or {}
    lines = [headline(status, _rate_of_all(look, before))]
    if nodes:
        rows = [row for name, node in nodes.items() for row in _rows(name, node, _node_before(name, look, before))]
        lines += ["", *_aligned([_HEADS, *rows])]
    return "\n".join(lines)


def headline(status: Mapping[str, Any], rate: str = "") -> str:
    """Who it is and how it is, in one line."""
    counts = [
        f"{status['inflight']} in flight",
        f"{status['queued']} queued",
        *(f"{status[key]} {word}" for key, word in _MORE.items() if status.get(key)),
        *([f"{rate} calls/s"] if rate else []),
        *([f"answered in {status['took'] * 1000:.1f} ms"] if "took" in status else []),
    ]
    return f"{status['name']} ({status['role']}, {status['software']}): {status['state']}, {', '.join(counts)}"


_MORE = {"floating": "floating", "floating_failed": "floating failed", "survived": "failures survived"}


class _Before(NamedTuple):
    """What a node had done at an earlier look, so many seconds ago."""

    replicas: Mapping[str, Mapping[str, Any]]
    ago: float


def _node_before(name: str, look: Look, before: Look | None) -> _Before | None:
    if before is None or look.at <= before.at:
        return None
    node = (before.status.get("nodes") or {}).get(name) or {}
    return _Before(node.get("replicas") or {}, look.at - before.at)


def _rows(name: str, node: Mapping[str, Any], before: _Before | None) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for link, replica in (node.get("replicas") or {}).items():
        first = (name, str(node.get("queued", 0))) if not rows else ("", "")
        rows.append((*first, *_cells(link, replica, before)))
    return rows or [(name, str(node.get("queued", 0)), "none", *[""] * 7)]


def _cells(link: str, replica: Mapping[str, Any], before: _Before | None) -> tuple[str, ...]:
    done, took = _since(link, replica, before)
    return (
        link,
        str(replica.get("state", "?")),
        str(replica.get("inflight", 0)),
        str(replica.get("credit", 0)),
        str(replica.get("done", 0)),
        f"{done / before.ago:.1f}/s" if before is not None else "",
        f"{took / done / 1000:.1f} ms" if done else "-",
        str(replica.get("cause", ""))[:_MOST_OF_A_CAUSE],
    )


def _since(link: str, replica: Mapping[str, Any], before: _Before | None) -> tuple[int, int]:
    """How many calls have ended since the earlier look, if there is one, and their microseconds.

    A process that has started anew meanwhile counts from 0 again, which cannot be compared.
    """
    earlier = before.replicas.get(link, {}) if before is not None else {}
    done, took = (int(replica.get(key, 0)) - int(earlier.get(key, 0)) for key in ("done", "took"))
    return (done, took) if done >= 0 and took >= 0 else (0, 0)


def _rate_of_all(look: Look, before: Look | None) -> str:
    """Calls of all nodes per second."""
    done, ago = 0, 0.0
    for name, node in (look.status.get("nodes") or {}).items():
        earlier = _node_before(name, look, before)
        if earlier is not None:
            ago = earlier.ago
            done += sum(_since(link, replica, earlier)[0] for link, replica in (node.get("replicas") or {}).items())
    return f"{done / ago:.1f}" if ago else ""


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    shown = [index for index, head in enumerate(_HEADS) if any(row[index] for row in rows[1:])]
    widths = {index: max(len(row[index]) for row in rows) for index in shown}
    lines = []
    for row in rows:
        cells = (
            row[index].ljust(widths[index]) if _HEADS[index] in _LEFT else row[index].rjust(widths[index])
            for index in shown
        )
        lines.append("  ".join(cells).rstrip())
    return lines
