"""Credentials are those of ``docker login``: stored in its file, or with a helper."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from zflow.errors import ConfigError
from zflow.hub.credentials import credentials_for

HOST = "registry.example.org:5000"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("DOCKER_CONFIG", raising=False)
    (tmp_path / ".docker").mkdir()
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    return tmp_path / ".docker"


def write(folder: Path, **config: Any) -> None:
    (folder / "config.json").write_text(json.dumps(config))


def stored(text: str) -> dict[str, str]:
    return {"auth": base64.b64encode(text.encode()).decode()}


def helper(folder: Path, name: str, script: str) -> None:
    program = folder.parent / "bin" / f"docker-credential-{name}"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_nobody_who_never_logged_in_has_any(folder: Path) -> None:
    assert credentials_for(HOST) is None
    write(folder)
    assert credentials_for(HOST) is None


@pytest.mark.parametrize("spelling", [HOST, f"https://{HOST}", f"https://{HOST}/v2/"])
def test_they_are_in_the_file_and_the_secret_may_have_colons(folder: Path, spelling: str) -> None:
    write(folder, auths={spelling: stored("me:a:b"), "other.org": stored("you:x")})
    found = credentials_for(HOST)
    assert found is not None and (found.user, found.secret) == ("me", "a:b")
    assert credentials_for("example.org") is None


def test_the_secret_is_not_shown(folder: Path) -> None:
    write(folder, auths={HOST: stored("me:hush")})
    assert "hush" not in repr(credentials_for(HOST)) and "'me'" in repr(credentials_for(HOST))


def test_who_logged_out_has_none(folder: Path) -> None:
    write(folder, auths={HOST: {}})
    assert credentials_for(HOST) is None


def test_the_folder_may_be_another(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder, auths={HOST: stored("me:x")})
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "other"))
    assert credentials_for(HOST) is None


@pytest.mark.parametrize("config", [{"credHelpers": {HOST: "vault"}}, {"credsStore": "vault"}])
def test_a_helper_is_asked_for_the_host(folder: Path, config: dict[str, Any]) -> None:
    helper(folder, "vault", 'read host; printf \'{"Username": "%s", "Secret": "s"}\' "$1-$host"')
    write(folder, auths={HOST: {}}, **config)
    found = credentials_for(HOST)
    assert found is not None
    assert (found.user, found.secret, found.source) == (f"get-{HOST}", "s", "docker-credential-vault")


def test_a_helper_that_knows_none_is_no_fault(folder: Path) -> None:
    helper(folder, "vault", "echo credentials not found in native keychain; exit 1")
    write(folder, credsStore="vault")
    assert credentials_for(HOST) is None


@pytest.mark.parametrize(
    ("script", "told"),
    [
        (
            "echo the keychain is locked >&2; exit 1",
            "docker-credential-vault knows nothing of .*: the keychain is locked",
        ),
        ("echo hello", "docker-credential-vault answers .* what is no user and secret"),
        ("echo '{}'", "what is no user and secret"),
    ],
)
def test_a_helper_that_fails_is_named(folder: Path, script: str, told: str) -> None:
    helper(folder, "vault", script)
    write(folder, credsStore="vault")
    with pytest.raises(ConfigError, match=told):
        credentials_for(HOST)


def test_a_helper_that_is_not_there_is_named(folder: Path) -> None:
    write(folder, credsStore="no-such")
    with pytest.raises(ConfigError, match="there is no program 'docker-credential-no-such'"):
        credentials_for(HOST)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "config.json, where docker login stores credentials, cannot be read"),
        ("[]", "holds no map"),
        ('{"auths": []}', ""),
        ('{"auths": 3}', "auths: expected a map"),
        (json.dumps({"auths": {HOST: {"auth": "%%%"}}}), f"`docker login {HOST}` writes it"),
        (json.dumps({"auths": {HOST: stored("nocolon")}}), "is no user and secret"),
        ('{"credsStore": "../x"}', "cannot name a credential helper"),
    ],
)
def test_a_store_that_is_broken_is_named(folder: Path, text: str, told: str) -> None:
    (folder / "config.json").write_text(text)
    if not told:
        assert credentials_for(HOST) is None
        return
    with pytest.raises(ConfigError, match=told):
        credentials_for(HOST)
