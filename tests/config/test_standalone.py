"""How an Executor is exported alone has the names that users know."""

from __future__ import annotations

from zflow import Executor
from zflow.config.standalone import StandaloneExecutorType


def test_users_find_it_at_the_executor() -> None:
    assert Executor.StandaloneExecutorType is StandaloneExecutorType
    assert [kind.name for kind in StandaloneExecutorType] == ["EXTERNAL", "SHARED"]
