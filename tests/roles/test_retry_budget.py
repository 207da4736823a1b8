"""Retries are a share of what goes well."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from zflow.roles.retry_budget import EARNED, STORE, RetryBudget


def replicas(*done: int) -> Any:
    return [SimpleNamespace(done=number) for number in done]


def draw_all(budget: RetryBudget, done: int) -> int:
    """How many retries there are after lost connections, with no further outcome."""
    count = 0
    while budget.draw(replicas(done), is_refusal=False):
        count += 1
        assert count < 1000
    return count


def test_it_begins_with_a_full_store():
    assert draw_all(RetryBudget(), 0) == STORE


@pytest.mark.parametrize(("outcomes", "retries"), [(5, 0), (10, 1), (19, 1), (45, 4), (100_000, STORE)])
def test_outcomes_earn_retries_up_to_the_store(outcomes: int, retries: int):
    budget = RetryBudget()
    draw_all(budget, 0)
    assert draw_all(budget, outcomes) == retries


def test_the_outcomes_of_all_replicas_count():
    budget = RetryBudget()
    draw_all(budget, 0)
    assert budget.draw(replicas(4, 4, 4), is_refusal=False)
    assert not budget.draw(replicas(4, 4, 4), is_refusal=False)


def test_a_storm_of_refusals_earns_nothing():
    budget = RetryBudget()
    done = allowed = 0
    for _ in range(1000):
        done += 1  # the refusal itself
        allowed += budget.draw(replicas(done), is_refusal=True)
    assert allowed == STORE


def test_a_replica_that_leaves_with_its_number_takes_nothing():
    budget = RetryBudget()
    assert budget.draw(replicas(1000, 1000), is_refusal=False)
    assert budget.draw(replicas(1000), is_refusal=False)
    draw_all(budget, 1000)
    assert not budget.draw(replicas(1005), is_refusal=False)
    assert budget.draw(replicas(1010 + int(1 / EARNED)), is_refusal=False)
