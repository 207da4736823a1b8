"""How an Executor that is exported alone is reached: users know this as ``Executor.StandaloneExecutorType``."""

from __future__ import annotations

from enum import Enum


class StandaloneExecutorType(Enum):
    """EXTERNAL: behind a gateway, for Clients and other Flows. SHARED: by itself, for other Flows, one hop less."""

    EXTERNAL = "external"
    SHARED = "shared"
