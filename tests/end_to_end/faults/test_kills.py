"""Processes that are killed while requests are on their way: rows 1, 2, 8 and 10 of docs/reliability.md.

A replica, all of them at once, and the process in front of them. How many requests is a parameter: those of the
ordinary run are few, and ``--full`` takes 10,000.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.rush import Diarist, Rush, Victims, runs
from zflow import Client, Deployment, Flow
from zflow.errors import RemoteError, Unavailable

Replicated = Callable[..., Flow]

REPLICAS = 4
CREDIT = 4  # requests that a replica may have at once
counts = pytest.mark.parametrize(
    ("many", "every"), [(300, 100), pytest.param(10_000, 500, marks=[pytest.mark.full, pytest.mark.time_limit(300)])]
)


@counts
def test_row_1_replicas_are_killed_and_no_idempotent_request_notices(
    replicated: Replicated, many: int, every: int
) -> None:
    with replicated() as flow, Client(port=flow.port) as client:
        undisturbed = Rush(client, many, on="/again").run()
        victims = Victims(flow)
        rush = Rush(client, many, on="/again").run(every=every, deed=victims.kill)
        victims.wait()
    print(undisturbed.told("no fault"), rush.told(f"{victims.count} replicas killed"), sep="\n")
    rush.check()
    assert rush.errors == {}
    assert victims.count >= 2


@counts
def test_row_2_of_what_is_not_idempotent_nothing_runs_twice_and_each_error_says_it_may_have_run(
    replicated: Replicated, diary: Path, many: int, every: int
) -> None:
    with replicated() as flow, Client(port=flow.port) as client:
        victims = Victims(flow)
        rush = Rush(client, many).run(every=every, deed=victims.kill)
        victims.wait()
    print(rush.told(f"{victims.count} replicas killed"))
    rush.check()
    assert victims.count >= 2
    assert len(rush.errors) <= victims.count * CREDIT
    assert all(has_been_told_of(error) for error in rush.errors.values())
    ran = runs(diary)
    assert set(ran.values()) == {1}
    assert many - len(rush.errors) <= len(ran) <= many


def has_been_told_of(error: RemoteError) -> bool:
    """Whether it is what is promised for a request that may have run."""
    return isinstance(error, Unavailable) and error.maybe_executed


@pytest.mark.parametrize("on", ["/", "/again"])
def test_row_8_all_replicas_are_killed_at_once(replicated: Replicated, diary: Path, on: str) -> None:
    with replicated() as flow, Client(port=flow.port) as client:
        victims = Victims(flow)

        def kill_all() -> bool:
            if victims.count:
                return True
            for pid in victims.pids().values():
                os.kill(pid, signal.SIGKILL)
                victims.count += 1
            return True

        rush = Rush(client, 300, on=on).run(every=100, deed=kill_all)
    rush.check()
    assert victims.count == REPLICAS
    assert all(has_been_told_of(error) for error in rush.errors.values())
    assert len(rush.errors) <= (REPLICAS * CREDIT if on == "/" else 0)
    if on == "/":
        assert set(runs(diary).values()) == {1}


@counts
@pytest.mark.parametrize("on", ["/", "/again"])
def test_row_10_the_head_is_killed(diary: Path, many: int, every: int, on: str) -> None:
    options = {"uses_with": {"diary": str(diary)}, "replicas": REPLICAS, "quiet": True}
    with Deployment(uses=Diarist, **options) as deployment, Client(port=deployment.port) as client:
        victims = Victims(deployment, "/head", least=1)
        rush = Rush(client, many, on=on).run(every=max(every, many // 4), deed=victims.kill)
        victims.wait()
    print(rush.told(f"the head killed {victims.count} times"))
    rush.check()
    assert victims.count >= 2
    assert all(has_been_told_of(error) for error in rush.errors.values())
    assert len(rush.errors) <= (victims.count * 64 if on == "/" else 0)
    if on == "/":
        assert set(runs(diary).values()) == {1}
