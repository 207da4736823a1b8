"""`zflow hub`, as it is typed, with a real registry."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.support.registry import RegistryServer, registry
from zflow.cli import main


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    with registry(tmp_path_factory.mktemp("registry")) as started:
        yield started


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZFLOW_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.delenv("ZFLOW_HUB", raising=False)
    return tmp_path


def run(*words: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, ["hub", *words])
    assert result.exit_code == code, result.output
    return result


def test_from_a_new_executor_to_a_copy_of_it(server: RegistryServer, here: Path) -> None:
    name = f"hub://{server.host}/me/shout:1.0"
    assert "zflow executor --uses config.yml" in run("new", "Shout").stdout
    pushed = run("push", "Shout", name, "--tag", "latest")
    assert pushed.stdout.startswith(f"{name}@sha256:") and "pushed: 5 files, 0.0 MB" in pushed.stderr
    digest = pushed.stdout.strip().partition("@")[2]
    assert "there already" in run("push", "Shout", name).stderr
    pulled = run("pull", name, "--to", "copy")
    assert (pulled.stdout, pulled.stderr) == ("copy\n", f"fetched: {digest}\n")
    assert (here / "copy" / "executor.py").read_text() == (here / "Shout" / "executor.py").read_text()
    again = run("pull", name)
    assert again.stderr == f"here already: {digest}\n" and Path(again.stdout.strip(), "config.yml").is_file()
    assert "copy is there already" in run("pull", name, "--to", "copy", code=2).stderr


def test_without_a_name_it_is_called_as_its_config_says(
    server: RegistryServer, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZFLOW_HUB", f"{server.host}/team")
    run("new", "TextCleaner")
    assert run("push", "TextCleaner").stdout.startswith("hub://text_cleaner:latest@sha256:")
    assert run("list").stdout == "text_cleaner\n"
    assert json.loads(run("list", "--json").stdout) == ["text_cleaner"]
    assert "fetched" in run("pull", "TEXT_cleaner").stderr


def test_what_is_there_is_listed_and_told(server: RegistryServer, here: Path) -> None:
    name = f"{server.host}/told:1"
    run("new", "Told")
    (here / "Told" / "requirements.txt").write_text("numpy\nno-such-thing\n")
    digest = run("push", "Told", name, "-t", "2").stdout.strip().partition("@")[2]
    assert "told\n" in run("list", "--registry", server.host).stdout
    assert run("list", name).stdout == "".join(f"{tag}  {digest}  Say here what it does\n" for tag in "12")
    assert [item["digest"] for item in json.loads(run("list", name, "--json").stdout)] == [digest] * 2
    told = run("status", name).stdout
    for words in (
        "told (Told): Say here what it does",
        digest,
        "not locked",
        "not here",
        "no-such-thing: not installed",
    ):
        assert words in told
    run("pull", name)
    assert f": {run('lock', name).stdout.partition(': ')[2]}" == f": hub://{name}@{digest}  (new)\n"
    told = run("status", name).stdout
    assert "\n  locked\n" in told and "\n  here: " in told
    value = json.loads(run("status", name, "--json").stdout)
    assert (value["digest"], value["locked"], value["jtype"]) == (digest, digest, "Told")
    assert value["requirements"]["no-such-thing"] is None


def test_a_flow_is_locked_beside_its_file(server: RegistryServer, here: Path) -> None:
    run("new", "Locked")
    digest = run("push", "Locked", f"{server.host}/locked").stdout.strip().partition("@")[2]
    (here / "flow.yml").write_text("jtype: Flow\nexecutors:\n- uses: ${{ CONTEXT.it }}\n")
    told = run("lock", "flow.yml", "--context", f"it=hub://{server.host}/locked").stdout
    assert told == f"zflow.lock: hub://{server.host}/locked:latest@{digest}  (new)\n"
    told = run("lock", "flow.yml", "--context", f"it=hub://{server.host}/locked").stdout
    assert told == f"zflow.lock: hub://{server.host}/locked:latest@{digest}\n"


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("push", "absent", "hub://localhost:1/x"), 2, "absent is no folder"),
        (("push", ".", "hub://localhost:1/x"), 2, "has no config.yml; `zflow hub new NAME` writes one"),
        (("pull", "x"), 2, "set ZFLOW_HUB"),
        (("pull", "hub://X Y"), 2, "is no name in a registry"),
        (("pull", "hub://localhost:1/x"), 69, "localhost:1 cannot be reached"),
        (("list", "x", "--registry", "y"), 2, "a NAME says itself where it is"),
        (("pul", "x"), 2, "did you mean 'pull'?"),
    ],
)
def test_what_goes_wrong_is_told_and_has_its_code(words: tuple[str, ...], code: int, told: str) -> None:
    assert told in run(*words, code=code).output


def test_a_tag_that_is_none_is_refused_before_anything_is_sent(here: Path) -> None:
    run("new", "Shout")
    assert "is no tag" in run("push", "Shout", "hub://localhost:1/x", "--tag", "a b", code=2).stderr
