"""The repository's Dockerfile: its image serves an Executor as nobody, with a root that it cannot write to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.engine import docker, engine_fault, zflow_image
from zflow import Client, Document

pytestmark = [
    pytest.mark.skipif(bool(engine_fault()), reason=engine_fault()),
    pytest.mark.time_limit(900),  # whoever comes first makes the image, and a mirror may be slow
]

EXECUTOR = """
import os
from pathlib import Path
from zflow import Executor, requests
class Where(Executor):
    @requests
    def tell(self, docs, **kwargs):
        Path(self.workspace, 'seen').write_text('x')
        docs[0].tags = {'user': os.getuid(), 'may_write': os.access('/opt/zflow', os.W_OK)}
    def close(self):
        print('closed')
"""


SAFE = [
    "--read-only",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--tmpfs=/tmp",
    "--tmpfs=/workspace:mode=1777",
]


@pytest.fixture
def container(tmp_path: Path) -> Iterator[str]:
    tmp_path.chmod(0o755)
    (tmp_path / "where.py").write_text(EXECUTOR)
    (tmp_path / "config.yml").write_text("jtype: Where\nmetas: {py_modules: [where.py]}\n")
    places = ["--publish=127.0.0.1::5000", f"--volume={tmp_path}:/executor:ro"]
    words = ["executor", "--uses", "config.yml", "--host", "0.0.0.0", "--insecure", "--port-in", "5000"]
    name = docker("run", "--detach", *SAFE, *places, zflow_image(), *words)
    yield name
    docker("rm", "--force", name)


def test_an_executor_answers_from_a_read_only_container_as_nobody_and_ends_well(container: str) -> None:
    port = docker("port", container, "5000").rpartition(":")[2]
    answered = Client(port=int(port)).post("/", Document(), timeout=30)
    assert answered[0].tags == {"user": 65532, "may_write": False}
    docker("stop", container)
    assert docker("inspect", "--format={{.State.ExitCode}}", container) == "0"
    assert "closed" in docker("logs", container)
