"""What the tests of faults share: a diary, and a Flow of four replicas that keep it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.rush import Diarist
from zflow import Flow

REPLICAS = 4


@pytest.fixture
def diary(tmp_path: Path) -> Path:
    return tmp_path / "diary"


@pytest.fixture
def replicated(diary: Path) -> Callable[..., Flow]:
    """Makes a Flow of one Executor with four replicas, and whatever else is asked for."""

    def make(**options: Any) -> Flow:
        with_diary = {"diary": str(diary)}
        return Flow(quiet=True).add(
            **{"uses": Diarist, "uses_with": with_diary, "name": "diarist", "replicas": REPLICAS, **options}
        )

    return make
