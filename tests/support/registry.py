"""A real registry for tests: Debian's docker-registry on a port of loopback, with a folder of its own."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.processes import wait_for

_PROGRAM = "docker-registry"
_HOST = re.compile(r"listening on (127\.0\.0\.1:\d+)")
# "hush", as bcrypt spells it: htpasswd -nbB me hush
_USERS = "me:$2b$05$5lDx28JYDIofKOWMpTLR5.zgTOxnFvgkmFjstGUKTpaPaCrxO1Z4.\n"
USER, SECRET = "me", "hush"


class RegistryServer(NamedTuple):
    """host: as a reference names it. folder: where it keeps what it has."""

    host: str
    folder: Path

    def blob(self, digest: str) -> Path:
        """The file that holds what has `digest`."""
        kind, _, hexadecimal = digest.partition(":")
        return self.folder / "docker/registry/v2/blobs" / kind / hexadecimal[:2] / hexadecimal / "data"


@contextlib.contextmanager
def registry(folder: Path, *, users: bool = False, tls: tuple[Path, Path] | None = None) -> Iterator[RegistryServer]:
    """One that runs until the end of the block. users: it lets only USER in, by SECRET. tls: certificate and key."""
    if shutil.which(_PROGRAM) is None:
        pytest.skip(f"{_PROGRAM} is not installed")
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        "version: 0.1",
        f"storage: {{filesystem: {{rootdirectory: {folder}}}, delete: {{enabled: true}}}}",
        f"http: {{addr: '127.0.0.1:0', secret: test{_tls(tls)}}}",
    ]
    if users:
        (folder / "users").write_text(_USERS)
        lines.append(f"auth: {{htpasswd: {{realm: tests, path: {folder / 'users'}}}}}")
    (folder / "registry.yml").write_text("\n".join(lines))
    log = folder / "log"
    with open(log, "w") as printed:
        process = subprocess.Popen(
            [_PROGRAM, "serve", str(folder / "registry.yml")], stdout=printed, stderr=subprocess.STDOUT
        )
    try:
        wait_for(lambda: _HOST.search(log.read_text()) or process.poll() is not None, "the registry")
        found = _HOST.search(log.read_text())
        assert found is not None, log.read_text()
        yield RegistryServer(found[1], folder)
    finally:
        process.terminate()
        process.wait(20)


def _tls(files: tuple[Path, Path] | None) -> str:
    return f", tls: {{certificate: {files[0]}, key: {files[1]}}}" if files else ""


def push_image(server: RegistryServer, name: str, folder: Path) -> str:
    """An image without layers, by the tag "image"; its digest. folder: for what is on its way."""
    from zflow.config.references import Home
    from zflow.hub.registry import MANIFEST, Registry, digest_of

    config = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest_of(b"{}"), "size": 2}
    body = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": []}).encode()
    (folder / "config").write_bytes(b"{}")
    with Registry(Home(server.host, "", False)) as opened:
        opened.put_blob(name, folder / "config", digest_of(b"{}"), 2)
        opened.put_manifest(name, "image", body)
    (folder / "config").unlink()
    return digest_of(body)
