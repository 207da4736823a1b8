"""A Flow or Deployment as files for whoever else starts processes: Compose, Kubernetes, systemd."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zflow.developing import Developing


class Elsewhere(Developing):
    """What is served here can be had elsewhere. Paths in it are relative to the file that it was read from."""

    _spec: Any

    def to_docker_compose_yaml(
        self,
        output_path: str | Path = "docker-compose.yml",
        network_name: str | None = None,
        include_gateway: bool = True,
        **options: Any,
    ) -> None:
        """Write a file for ``docker compose -f FILE up``. options: of `zflow.exporting.to_docker_compose`, such as
        ``image='me/app:1'``, which holds zflow and the code of the Executors. Raises ConfigError."""
        from zflow.exporting import to_docker_compose  # few need it

        given = {"network_name": network_name, "include_gateway": include_gateway, **options}
        to_docker_compose(self._spec, output_path, **self._where(given))

    def to_kubernetes_yaml(
        self,
        output_base_path: str | Path,
        k8s_namespace: str | None = None,
        include_gateway: bool = True,
        **options: Any,
    ) -> None:
        """Write a folder for ``kubectl apply -R -f FOLDER``. options: of `zflow.exporting.to_kubernetes`, such as
        ``image``, ``gpus`` and ``max_replicas``. Raises ConfigError."""
        from zflow.exporting import to_kubernetes  # few need it

        given = {"k8s_namespace": k8s_namespace, "include_gateway": include_gateway, **options}
        to_kubernetes(self._spec, output_base_path, **self._where(given))

    to_k8s_yaml = to_kubernetes_yaml

    def to_systemd_units(self, output_base_path: str | Path, **options: Any) -> None:
        """Write units for /etc/systemd/system. options: of `zflow.exporting.to_systemd`. Raises ConfigError."""
        from zflow.exporting import to_systemd  # few need it

        to_systemd(self._spec, output_base_path, **self._where(options))

    def _where(self, options: dict[str, Any]) -> dict[str, Any]:
        return {"folder": self._origin.file.parent if self._origin is not None else None, **options}
