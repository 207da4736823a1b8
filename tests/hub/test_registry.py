"""One registry: who it lets in, what it is told, what is believed of it, how long it is waited for."""

from __future__ import annotations

import base64
import hashlib
import http.server
import io
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.registry import SECRET, USER, RegistryServer, registry
from zflow.config.references import Home, parse_reference
from zflow.errors import AuthError, ConfigError, HubError, Unavailable
from zflow.hub import registry as asked
from zflow.hub.fetching import fetch
from zflow.hub.pushing import push
from zflow.hub.registry import Missing, Registry


def log_in(host: str, user: str, secret: str) -> None:
    from zflow.config.environment import foreign

    folder = Path(foreign("DOCKER_CONFIG") or "")
    folder.mkdir(exist_ok=True)
    auth = base64.b64encode(f"{user}:{secret}".encode()).decode()
    (folder / "config.json").write_text(json.dumps({"auths": {host: {"auth": auth}}}))


def home(host: str, *, secure: bool = False) -> Home:
    return Home(host, "", secure)


# -- the real one ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    with registry(tmp_path_factory.mktemp("closed"), users=True) as started:
        yield started


def test_who_is_logged_in_pushes_and_fetches(closed: RegistryServer, folder: Path) -> None:
    log_in(closed.host, USER, SECRET)
    (folder / "large.bin").write_bytes(bytes(5 << 20))  # in pieces, each of which must say who we are
    reference = push(folder, parse_reference(f"hub://{closed.host}/private")).reference
    assert fetch(reference).about.name == "shout"


def test_who_is_not_is_told_how_to(closed: RegistryServer, folder: Path) -> None:
    with pytest.raises(AuthError, match=f"wants to know who you are.*; log in: docker login {closed.host}"):
        fetch(parse_reference(f"hub://{closed.host}/private"))
    with pytest.raises(AuthError, match="docker login"):
        push(folder, parse_reference(f"hub://{closed.host}/private"))


def test_wrong_credentials_are_told_with_who_knew_them(closed: RegistryServer) -> None:
    log_in(closed.host, USER, "guessed")
    with pytest.raises(AuthError, match="does not let 'me' in.*, whom .*config.json names; log in again") as caught:
        fetch(parse_reference(f"hub://{closed.host}/private"))
    assert "guessed" not in str(caught.value) and caught.value.exit_code == 77


def test_what_it_has_is_listed(server: RegistryServer, folder: Path) -> None:
    push(folder, parse_reference(f"hub://{server.host}/listed:1"), ["2"])
    with Registry(home(server.host)) as opened:
        assert "listed" in opened.names()
        assert sorted(opened.tags("listed")) == ["1", "2"]
        with pytest.raises(Missing):
            opened.tags("absent")
        with pytest.raises(Missing):
            opened.blob("listed", "sha256:" + "0" * 64, 1, io.BytesIO())


def test_one_that_speaks_no_tls_is_told_so(server: RegistryServer) -> None:
    with Registry(home(server.host, secure=True)) as opened:
        with pytest.raises(AuthError, match=f"cannot be trusted: .*ZFLOW_HUB=http://{server.host}"):
            opened.tags("x")


def test_one_with_tls_is_asked_by_it_and_only_if_its_certificate_is_trusted(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed, to make a certificate")
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    words = ["-nodes", "-newkey", "rsa:2048", "-subj", "/CN=zflow-test", "-addext", "subjectAltName=IP:127.0.0.1"]
    words += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", "req", "-x509", *words], check=True, capture_output=True, timeout=60)
    with registry(tmp_path / "secure", users=True, tls=(certificate, key)) as secure:
        log_in(secure.host, USER, SECRET)
        monkeypatch.setenv("ZFLOW_HUB", f"https://{secure.host}")
        with pytest.raises(AuthError, match="cannot be trusted: .*certificate"):
            push(folder, parse_reference("hub://secured"))
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        pushed = push(folder, parse_reference("hub://secured"))
        assert fetch(pushed.reference).digest == pushed.reference.digest
        monkeypatch.setenv("ZFLOW_HUB", f"http://{secure.host}")
        with pytest.raises(HubError, match="answers 400"):
            fetch(parse_reference("hub://secured"))


# -- hostile ones ------------------------------------------------------------------------------------------------------


class Scripted(http.server.BaseHTTPRequestHandler):
    """Answers each path, or each path and who asks, as `answers` says: code, headers, body. heard: paths with the
    Authorization they came with.
    """

    answers: dict[str, tuple[int, dict[str, str], bytes]]
    heard: list[tuple[str, str | None]]

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        type(self).heard.append((path, self.headers.get("Authorization")))
        known = f"{path} {self.headers.get('Authorization')}"
        code, headers, body = self.answers.get(known if known in self.answers else path, (404, {}, b""))
        self.send_response(code)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: Any) -> None:
        pass


class Script:
    """A server of which each test writes the answers."""

    def __init__(self) -> None:
        self.handler = type("Handler", (Scripted,), {"answers": {}, "heard": []})
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self.handler)
        self.host = f"127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def answer(self, path: str, code: int = 200, body: bytes = b"", **headers: str) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.handler.answers[path] = (code, named, body)  # type: ignore[attr-defined]

    @property
    def heard(self) -> list[tuple[str, str | None]]:
        return self.handler.heard  # type: ignore[attr-defined, no-any-return]


@pytest.fixture
def script() -> Iterator[Script]:
    made = Script()
    yield made
    made.server.shutdown()
    made.thread.join(10)
    made.server.server_close()


def test_who_has_no_account_gets_a_token_for_everybody(script: Script) -> None:
    realm = f'Bearer realm="http://{script.host}/token",service="r",scope="repository:x:pull"'
    script.answer("/v2/x/tags/list", 401, WWW_Authenticate=realm)
    script.answer("/v2/x/tags/list Bearer t0", 200, b'{"tags": ["1"]}')
    script.answer("/token", 200, b'{"access_token": "t0"}')
    with Registry(home(script.host)) as opened:
        assert opened.tags("x") == ["1"] == opened.tags("x")
    assert [path for path, _ in script.heard] == ["/v2/x/tags/list", "/token", "/v2/x/tags/list", "/v2/x/tags/list"]


def test_a_token_is_fetched_with_our_secret_and_used_for_the_registry_alone(script: Script) -> None:
    log_in(script.host, USER, SECRET)
    realm = f'Bearer realm="http://{script.host}/token",service="r",scope="repository:x:pull"'
    script.answer("/v2/x/tags/list", 401, WWW_Authenticate=realm)
    script.answer("/token", 200, b'{"token": "t0"}')
    with Registry(home(script.host)) as opened, pytest.raises(AuthError, match="does not let 'me' in"):
        opened.tags("x")
    assert [path for path, _ in script.heard] == ["/v2/x/tags/list", "/token", "/v2/x/tags/list"]
    assert script.heard[1][1] is not None and script.heard[1][1].startswith("Basic ")
    assert script.heard[2][1] == "Bearer t0"


@pytest.mark.parametrize("realm", ["http://elsewhere.example.org/token", "ftp://x", ""])
def test_a_secret_is_not_sent_in_the_clear_to_somebody_else(script: Script, realm: str) -> None:
    log_in(script.host, USER, SECRET)
    script.answer("/v2/x/tags/list", 401, WWW_Authenticate=f'Bearer realm="{realm}"')
    with Registry(home(script.host)) as opened, pytest.raises(AuthError, match="without TLS; it was not sent"):
        opened.tags("x")
    assert [path for path, _ in script.heard] == ["/v2/x/tags/list"]


def test_an_upload_is_not_sent_in_the_clear_where_the_registry_has_tls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "blob").write_bytes(b"x")
    asked_for: list[str] = []

    def answer(method: str, url: str, **words: Any) -> requests.Response:
        asked_for.append(f"{method} {url}")
        made = requests.Response()
        made.status_code = 404 if method == "HEAD" else 202
        made.headers["Location"] = "http://a.org/v2/x/blobs/uploads/1"
        return made

    with Registry(home("a.org", secure=True)) as opened:
        monkeypatch.setattr(opened._session, "request", answer)
        with pytest.raises(AuthError, match="wants an upload to go to http://a.org/.* without TLS; it was not sent"):
            opened.put_blob("x", tmp_path / "blob", "sha256:" + "0" * 64, 1)
    assert [line.partition(" ")[0] for line in asked_for] == ["HEAD", "POST"]


def test_ways_to_say_who_we_are_that_we_do_not_know_are_not_tried(script: Script) -> None:
    log_in(script.host, USER, SECRET)
    script.answer("/v2/x/tags/list", 401, WWW_Authenticate="Negotiate")
    with Registry(home(script.host)) as opened, pytest.raises(AuthError, match="does not let 'me' in"):
        opened.tags("x")
    assert script.heard == [("/v2/x/tags/list", None)]


def test_a_secret_does_not_follow_to_another_host(script: Script) -> None:
    other = Script()
    try:
        log_in(script.host, USER, SECRET)
        script.answer("/v2/x/tags/list", 401, WWW_Authenticate='Basic realm="r"')
        body = b"x"
        with Registry(home(script.host)) as opened:
            with pytest.raises(AuthError):
                opened.tags("x")  # it knows the secret from now on
            moved = f"http://localhost:{other.host.partition(':')[2]}/elsewhere"
            digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
            script.answer(f"/v2/x/blobs/{digest}", 307, Location=moved)
            other.answer("/elsewhere", 200, body)
            opened.blob("x", digest, 1, held := io.BytesIO())
        assert held.getvalue() == b"x"
        assert other.heard == [("/elsewhere", None)]
    finally:
        other.server.shutdown()
        other.thread.join(10)
        other.server.server_close()


@pytest.mark.parametrize(
    ("code", "body", "kind", "told"),
    [
        (503, b"", Unavailable, "answers 503 Service Unavailable; try again later"),
        (429, b'{"errors": [{"code": "TOOMANYREQUESTS", "message": "slow"}]}', Unavailable, "TOOMANYREQUESTS: slow"),
        (403, b'{"errors": [{"code": "DENIED", "message": "no"}]}', AuthError, r"who you are \(DENIED: no\)"),
        (400, b"[" * 10_000, HubError, "answers 400 Bad Request to GET /v2/x/tags/list"),
        (200, b"<html>", HubError, "answers what no registry would; is it one?"),
        (200, b"[]", HubError, "answers what no registry would"),
    ],
)
def test_other_answers_are_told_in_our_words(
    script: Script, code: int, body: bytes, kind: type[Exception], told: str
) -> None:
    script.answer("/v2/x/tags/list", code, body)
    with Registry(home(script.host)) as opened, pytest.raises(kind, match=told):
        opened.tags("x")


def test_tags_that_are_none_are_left_out(script: Script) -> None:
    script.answer("/v2/x/tags/list", 200, b'{"tags": ["1", 2, null]}')
    script.answer("/v2/y/tags/list", 200, b'{"tags": null}')
    with Registry(home(script.host)) as opened:
        assert (opened.tags("x"), opened.tags("y")) == (["1"], [])


def test_a_list_without_an_end_is_not_followed_for_ever(script: Script) -> None:
    script.answer("/v2/x/tags/list", 200, b'{"tags": ["1"]}', Link='</v2/x/tags/list?n=1>; rel="next"')
    with Registry(home(script.host)) as opened:
        assert opened.tags("x") == ["1"] * 50


def test_a_packed_answer_is_not_unpacked(script: Script) -> None:
    script.answer("/v2/x/manifests/1", 200, b"\x1f\x8b", Content_Encoding="gzip")
    with Registry(home(script.host)) as opened, pytest.raises(HubError, match="sends it packed"):
        opened.manifest("x", "1")


def test_another_manifest_than_the_one_of_the_digest_is_refused(script: Script) -> None:
    script.answer(f"/v2/x/manifests/sha256:{'0' * 64}", 200, b"{}")
    with Registry(home(script.host)) as opened, pytest.raises(HubError, match="gives something else for sha256:000"):
        opened.manifest("x", f"sha256:{'0' * 64}")


def test_a_manifest_without_end_is_cut_off(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asked, "MANIFEST_SIZE", 1000)
    script.answer("/v2/x/manifests/1", 200, bytes(5000))
    with Registry(home(script.host)) as opened, pytest.raises(HubError, match="more than the 1000 bytes"):
        opened.manifest("x", "1")


def test_one_that_says_nothing_is_not_waited_for_for_ever(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asked, "_TIMEOUTS", (1.0, 0.2))
    script.answer("/v2/x/manifests/1", 200, b"x", Content_Length="100")
    script.handler.protocol_version = "HTTP/1.1"  # type: ignore[attr-defined]  # it keeps the connection, and is silent
    with Registry(home(script.host)) as opened, pytest.raises(Unavailable, match="cannot be reached"):
        opened.manifest("x", "1")


def test_one_that_wants_to_be_asked_tomorrow_is_given_up(script: Script) -> None:
    script.answer("/v2/x/manifests/1", 503, b"", Retry_After="86400")
    with Registry(home(script.host)) as opened, pytest.raises(Unavailable, match="answers 503"):
        opened.manifest("x", "1")
    assert len(script.heard) == 3


def test_without_the_library_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "oras", None)
    monkeypatch.setitem(sys.modules, "oras.logger", None)
    with pytest.raises(ConfigError, match=r"registries need the extra `hub` .*pip install 'zflow\[hub\]'"):
        Registry(home("localhost:1"))


def test_one_that_is_too_slow_is_given_up(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asked, "_PATIENCE", -1e9)
    script.answer("/v2/x/manifests/1", 200, b"x")
    with Registry(home(script.host)) as opened, pytest.raises(Unavailable, match="is too slow"):
        opened.manifest("x", "1")
