"""One Executor as files for whoever else starts processes: these are static methods of `Executor`."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Any


class StandaloneExecutorType(Enum):
    """EXTERNAL: behind a gateway, for Clients and other Flows. SHARED: by itself, for other Flows, one hop less."""

    EXTERNAL = "external"
    SHARED = "shared"


def to_docker_compose_yaml(
    uses: Any,
    output_path: str | Path = "docker-compose.yml",
    network_name: str | None = None,
    executor_type: StandaloneExecutorType = StandaloneExecutorType.EXTERNAL,
    **options: Any,
) -> None:
    """Write a file for ``docker compose -f FILE up`` that serves `uses`, such as ``docker://me/encoder:1``.

    options: as of `Flow.to_docker_compose_yaml`, and of the Flow and the Executor. Raises ConfigError.
    """
    from zflow.exporting import export_executor, to_docker_compose  # few need it

    options["network_name"] = network_name
    export_executor(to_docker_compose, output_path, uses, executor_type, options)


def to_kubernetes_yaml(
    uses: Any,
    output_base_path: str | Path,
    k8s_namespace: str | None = None,
    executor_type: StandaloneExecutorType = StandaloneExecutorType.EXTERNAL,
    **options: Any,
) -> None:
    """Write a folder for ``kubectl apply -R -f FOLDER`` that serves `uses`. The rest is as for Compose."""
    from zflow.exporting import export_executor, to_kubernetes  # few need it

    options["k8s_namespace"] = k8s_namespace
    export_executor(to_kubernetes, output_base_path, uses, executor_type, options)
