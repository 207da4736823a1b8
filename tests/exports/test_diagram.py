"""The graph of a Flow as text."""

from __future__ import annotations

from textwrap import dedent

import pytest

from zflow.config.spec import FlowSpec
from zflow.exports.diagram import Served, diagram, standing_alone

SERVED = {"encoder": Served("Encoder", ("/index", "/search")), "tagger": Served("Tagger", ("/default",))}


def drawn(spec: FlowSpec, **options: bool) -> str:
    return diagram(spec, SERVED, **options) + "\n"


def expected(text: str) -> str:
    return dedent(text).lstrip("\n")


def test_a_chain() -> None:
    spec = FlowSpec.from_options(port=12345).add(name="encoder", uses="Encoder", replicas=3).add(name="b")
    assert drawn(spec) == expected("""
        ○  gateway  127.0.0.1, port 12345
        ●  encoder  Encoder, 3 replicas       /index  /search
        ●  b        passes documents through
        ○  reply
    """)


def test_branches_and_a_join() -> None:
    spec = (
        FlowSpec()
        .add(name="encoder", uses="Encoder", shards=2, replicas=3)
        .add(name="tagger", uses="Tagger", needs="gateway", when={"text": {"$exists": True}})
        .needs(["encoder", "tagger"], name="joined", quorum=1)
    )
    assert drawn(spec).replace("┴", "┴") == expected("""
        ○    gateway  127.0.0.1, a port that the system chooses
        ├─╮
        ● │  encoder  Encoder, 2 shards x 3 replicas             /index  /search
        │ ●  tagger   Tagger                                     /default  some documents only
        ├─╯
        ●    joined   passes documents through                   needs encoder, tagger, any 1
        ○    reply
    """)


def test_lanes_that_cross() -> None:
    spec = FlowSpec()
    for name in ("a", "b", "c"):
        spec = spec.add(name=name, needs="gateway")
    spec = spec.add(name="ac", needs=["a", "c"]).add(name="last", needs=["ac", "b"])
    lines = [line[:8].rstrip() for line in drawn(spec).splitlines()]
    assert lines == [
        "○      g",
        "├─┬─╮",
        "● │ │  a",
        "│ ● │  b",
        "│ │ ●  c",
        "├─┼─╯",
        "● │    a",
        "├─╯",
        "●      l",
        "○      r",
    ]


def test_who_floats_ends_and_who_is_needed_by_nobody_is_awaited() -> None:
    spec = FlowSpec().add(name="a").add(name="log", floating=True).add(name="side", needs="a").add(name="b", needs="a")
    assert [line[:8].rstrip() for line in drawn(spec).splitlines()] == [
        "○      g",
        "●      a",
        "├─┬─╮",
        "○ │ │  l",
        "  ● │  s",
        "  │ ●  b",
        "  ├─╯",
        "  ○    r",
    ]
    assert "nobody waits" in drawn(spec)


def test_what_runs_elsewhere_and_what_stands_around_shards() -> None:
    spec = (
        FlowSpec()
        .add(name="far", external=True, host=["a:1", "b:2"])
        .add(name="encoder", uses="Encoder", shards=2, uses_before="X", uses_after="Y")
    )
    assert "◆  far      external at a:1, b:2" in drawn(spec)
    assert "Encoder (with an Executor before and after), 2 shards" in drawn(spec)


def test_an_empty_flow_and_one_whose_last_floats() -> None:
    assert drawn(FlowSpec()).splitlines()[-1] == "○  reply    the request itself"
    assert "the request itself" in drawn(FlowSpec().add(name="log", floating=True))


@pytest.mark.parametrize("count", [1, 2, 7])
def test_every_executor_has_one_line_below_those_that_it_needs(count: int) -> None:
    spec = FlowSpec()
    for number in range(count):
        spec = spec.add(name=f"n{number}", needs=[f"n{other}" for other in range(number)] or "gateway")
    names = [line.split()[-1 - line.endswith("through")] for line in drawn(spec).splitlines()]
    placed = [line for line in drawn(spec).splitlines() if "●" in line]
    assert len(placed) == count and names
    assert [f"n{number} " in line for number, line in enumerate(placed)] == [True] * count


def test_where_the_terminal_has_only_ascii() -> None:
    spec = FlowSpec().add(name="a").add(name="b", needs="gateway").needs_all()
    assert drawn(spec, is_plain=True).isascii()


def test_an_executor_that_stands_alone() -> None:
    spec = FlowSpec.from_options(port=5).add(name="encoder", uses="Encoder", replicas=2)
    text = standing_alone(spec, SERVED)
    assert text == "●  encoder  Encoder, 2 replicas  /index  /search\n            127.0.0.1, port 5"
    assert standing_alone(spec, SERVED, is_plain=True).isascii()
