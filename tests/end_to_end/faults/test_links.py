"""Links that break, are long or are slow: rows 15 and 16 of docs/reliability.md.

The Executors stand alone, each behind a link of its own (tests/support/link.py), and a Flow taps them.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.link import HOST, Link
from tests.support.rush import Diarist, Rush, runs
from zflow import Client, Deployment, Document, Executor, Flow, requests

MEGA = 1_000_000
counts = pytest.mark.parametrize(
    "many", [400, pytest.param(10_000, marks=[pytest.mark.full, pytest.mark.time_limit(400)])]
)
durations = pytest.mark.parametrize(
    "seconds", [5.0, pytest.param(60.0, marks=[pytest.mark.full, pytest.mark.time_limit(150)])]
)


class Weigher(Executor):
    """Writes down what each blob weighs, and sends none back."""

    def __init__(self, diary: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._diary = os.open(diary, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    @requests
    def weigh(self, docs, **kwargs):
        for doc in docs:
            os.write(self._diary, f"{doc.text} of {len(doc.blob)}\n".encode())
            doc.blob = b""


def standing_alone(uses: type, diary: Path) -> Deployment:
    return Deployment(uses=uses, uses_with={"diary": str(diary)}, name=uses.__name__.lower(), quiet=True)


def tapping(*links: Link, **options: Any) -> Flow:
    where = [f"{HOST}:{link.port}" for link in links]
    return Flow(quiet=True).add(host=where, external=True, name="far", **options)


@counts
def test_row_15_connections_are_reset_at_random_and_no_idempotent_request_is_lost(diary: Path, many: int) -> None:
    with ExitStack() as opened:
        served = [opened.enter_context(standing_alone(Diarist, diary)) for _ in range(4)]
        links = [opened.enter_context(Link(each.port or 0, breaks=0.01, seed=seed)) for seed, each in enumerate(served)]
        flow = opened.enter_context(tapping(*links, retries=5))
        rush = Rush(opened.enter_context(Client(port=flow.port)), many, on="/again").run()
    broken, again = sum(link.broken for link in links), runs(diary).total() - many
    print(rush.told(f"{broken} connections reset, {again} requests run again"))
    rush.check()
    assert rush.errors == {}
    assert broken >= many // 200, "the links have held"
    assert again <= many // 10


def ask_for(seconds: float, link: Link) -> int:
    """Ask so long, without a break; the connections that there are must last. Returns how many times."""
    answered, until = 0, time.monotonic() + seconds
    with tapping(link) as flow, Client(port=flow.port) as client:
        client.post("/", Document(text="first"))
        made = link.made
        while time.monotonic() < until:
            rush = Rush(client, 20, outstanding=8).run()
            rush.check()
            assert rush.errors == {}
            answered += rush.many
        assert link.made == made, "its silence was taken for its death"
    print(f"{answered} requests in {seconds:g} s")
    return answered


@durations
def test_row_16_of_a_link_that_is_long_nobody_is_taken_for_lost(diary: Path, seconds: float) -> None:
    with standing_alone(Diarist, diary) as served, Link(served.port or 0, delay=0.2, jitter=0.05) as link:
        answered = ask_for(seconds, link)
    assert runs(diary).total() == answered + 1


@durations
def test_row_16_of_a_link_that_is_slow_nobody_is_taken_for_lost(diary: Path, seconds: float) -> None:
    with standing_alone(Diarist, diary) as served, Link(served.port or 0, rate=MEGA / 8) as link:
        answered = ask_for(seconds, link)
    assert runs(diary).total() == answered + 1


@pytest.mark.parametrize(
    "size", [20 * MEGA, pytest.param(200 * MEGA, marks=[pytest.mark.full, pytest.mark.time_limit(200)])]
)
def test_row_16_what_takes_a_slow_link_long_arrives_once(diary: Path, size: int) -> None:
    with standing_alone(Weigher, diary) as served, Link(served.port or 0, rate=10 * MEGA) as link:
        with tapping(link) as flow, Client(port=flow.port) as client:
            client.post("/", Document(text="first"))
            made, began, blob = link.made, time.monotonic(), bytes(size)
            for number in range(3):
                client.post("/", Document(text=str(number), blob=blob))
            took = time.monotonic() - began
            assert link.made == made, "it was taken for lost while it was busy"
    assert runs(diary) == {"first of 0": 1, **{f"{number} of {size}": 1 for number in range(3)}}
    assert took > 3 * size / (10 * MEGA), "the link was not slow"
