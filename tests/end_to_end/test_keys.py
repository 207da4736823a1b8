"""Who gets in, with real processes: keys are made, peers demand them, callers whose keys do not fit hear why."""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.processes import descendants_of, read_until
from zflow import AsyncClient, AuthError, Client, ConfigError, Deployment, Document, Executor, Flow, requests
from zflow.config import keys as key_files


class Shout(Executor):
    @requests
    def shout(self, docs, **kwargs):
        docs.texts = [text.upper() for text in docs.texts]


class Keys(NamedTuple):
    """A folder, and the public key that `zflow keygen` printed."""

    folder: Path
    public: str


class Peer(NamedTuple):
    """An Executor that stands alone."""

    process: subprocess.Popen[str]
    port: int


Command = Callable[..., str]


@pytest.fixture
def command(zflow_command) -> Command:
    """Runs ``zflow`` with these words; what it printed comes back."""

    def run(*words: str | Path) -> str:
        done = subprocess.run([*zflow_command, *map(str, words)], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run


@pytest.fixture
def server(command: Command, tmp_path: Path) -> Keys:
    return Keys(tmp_path / "server", command("keygen", "--keys", tmp_path / "server"))


@pytest.fixture
def caller(command: Command, tmp_path: Path, server: Keys) -> Keys:
    """Keys that the server's list has."""
    made = Keys(tmp_path / "caller", command("keygen", "--keys", tmp_path / "caller"))
    command("keys", "allow", "caller", made.public, "--keys", server.folder)
    return made


@pytest.fixture
def stranger(command: Command, tmp_path: Path) -> Keys:
    return Keys(tmp_path / "stranger", command("keygen", "--keys", tmp_path / "stranger"))


@pytest.fixture
def serve(start, zflow_command) -> Callable[..., Peer]:
    """Starts an Executor that gives documents back as they came."""

    def begin(*words: str | Path) -> Peer:
        process = start(*zflow_command, "executor", "--name", "echo", *map(str, words))
        told = read_until(process, "serving at|Local access")
        return Peer(process, int(told.strip().rpartition(":")[2]))

    return begin


@pytest.fixture
def peer(serve, server: Keys, caller: Keys) -> Peer:
    """It demands keys, and has the caller's on its list."""
    return serve("--keys", server.folder)


def ask(port: int, **options: object) -> list[str]:
    with Client(port=port, **options) as client:
        return client.post("/", Document(text="in")).texts


def test_a_key_on_the_list_is_served(peer: Peer, server: Keys, caller: Keys) -> None:
    assert ask(peer.port, keys=caller.folder, server_key=server.public) == ["in"]


# -- the five mismatches ---------------------------------------------------------------------------------------------


def test_row_47_unknown_key(peer: Peer, server: Keys, stranger: Keys) -> None:
    with pytest.raises(AuthError, match=f"127.0.0.1:{peer.port}: it does not let us in: .*zflow keys allow NAME KEY"):
        ask(peer.port, keys=stranger.folder, server_key=server.public)


def test_row_47_revoked_key(peer: Peer, server: Keys, caller: Keys, command: Command) -> None:
    command("keys", "revoke", "caller", "--keys", server.folder)
    with pytest.raises(AuthError, match="it does not let us in"):
        ask(peer.port, keys=caller.folder, server_key=server.public)


def test_row_47_wrong_server_key(peer: Peer, caller: Keys, stranger: Keys) -> None:
    with pytest.raises(AuthError, match="did not prove .*; compare server_key with what its public.key holds"):
        ask(peer.port, keys=caller.folder, server_key=stranger.public)


def test_row_47_no_keys_where_some_are_needed(peer: Peer) -> None:
    with pytest.raises(AuthError, match="it needs keys, and we have used none; give server_key"):
        ask(peer.port)


def test_row_47_keys_where_none_are_known(serve, server: Keys, caller: Keys) -> None:
    with pytest.raises(AuthError, match="it has no keys, so that anybody could be it"):
        ask(serve().port, keys=caller.folder, server_key=server.public)


def test_row_47_with_asyncio(peer: Peer, server: Keys, caller: Keys, stranger: Keys) -> None:
    async def talk(folder: Path) -> list[str]:
        async with AsyncClient(port=peer.port, keys=folder, server_key=server.public) as client:
            return (await client.post("/", Document(text="in"))).texts

    assert asyncio.run(talk(caller.folder)) == ["in"]
    with pytest.raises(AuthError, match="it does not let us in"):
        asyncio.run(talk(stranger.folder))


def test_row_47_revoked_while_it_is_connected(peer: Peer, server: Keys, caller: Keys, command: Command) -> None:
    with Client(port=peer.port, keys=caller.folder, server_key=server.public) as client:
        assert client.post("/", Document(text="in")).texts == ["in"]
        command("keys", "revoke", "caller", "--keys", server.folder)
        with pytest.raises(AuthError, match="does not hear us any more"):
            client.post("/", Document(text="in"))
        command("keys", "allow", "caller", caller.public, "--keys", server.folder)
        assert client.post("/", Document(text="in")).texts == ["in"]


# -- Flows -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def flow(server: Keys) -> Iterator[Flow]:
    """Its gateway demands keys, its first Executor too, and all of them are reached by whoever asks the Flow."""
    with Flow(quiet=True, keys=server.folder).add(uses=Shout, port_in=0).add(uses=Shout) as opened:
        yield opened


def test_a_gateway_demands_keys_and_the_flow_itself_has_them(flow: Flow, server, caller, stranger) -> None:
    assert flow.post("/", Document(text="in")).texts == ["IN"]
    assert ask(flow.port, keys=caller.folder, server_key=server.public) == ["IN"]
    with pytest.raises(AuthError):
        ask(flow.port, keys=stranger.folder, server_key=server.public)
    with pytest.raises(AuthError):
        ask(flow.port)


def test_a_flow_calls_an_external_executor_with_its_keys(
    peer: Peer, server: Keys, caller: Keys, stranger: Keys, command: Command
) -> None:
    described = {"name": "far", "port_in": peer.port, "external": True, "server_key": server.public}
    with Flow(quiet=True, keys=caller.folder).add(**described) as flow:
        assert flow.post("/", Document(text="in")).texts == ["in"]
        assert ask(flow.port, keys=caller.folder, server_key=caller.public) == ["in"]
    with Flow(quiet=True, keys=stranger.folder).add(**described) as flow:
        with pytest.raises(AuthError, match=f"far: tcp://127.0.0.1:{peer.port}: it does not let us in"):
            flow.post("/", Document(text="in"))
        with pytest.raises(AuthError, match="far: "):
            ask(flow.port, keys=stranger.folder, server_key=stranger.public)
        command("keys", "allow", "late", stranger.public, "--keys", server.folder)
        assert flow.post("/", Document(text="in")).texts == ["in"]


def test_a_floating_executor_is_asked_through_the_gateway_with_keys(server: Keys) -> None:
    flow = Flow(quiet=True, keys=server.folder).add(uses=Shout).add(uses=Shout, floating=True)
    with flow:
        assert flow.post("/", Document(text="in")).texts == ["IN"]


@pytest.mark.parametrize("scaling", [{}, {"replicas": 2}], ids=["one process", "a head and its replicas"])
def test_a_deployment_demands_keys_and_has_them_itself(
    server: Keys, caller: Keys, stranger: Keys, scaling: dict[str, int]
) -> None:
    with Deployment(uses=Shout, quiet=True, keys=server.folder, **scaling) as deployment:
        assert deployment.post("/", Document(text="in")).texts == ["IN"]
        assert ask(deployment.port, keys=caller.folder, server_key=server.public) == ["IN"]
        with pytest.raises(AuthError):
            ask(deployment.port, keys=stranger.folder, server_key=server.public)
        with pytest.raises(AuthError):
            ask(deployment.port)


def test_an_executor_with_replicas_that_stands_alone_demands_keys(
    serve, server: Keys, caller: Keys, stranger: Keys
) -> None:
    head = serve("--keys", server.folder, "--replicas", "2")
    assert ask(head.port, keys=caller.folder, server_key=server.public) == ["in"]
    with pytest.raises(AuthError):
        ask(head.port, keys=stranger.folder, server_key=server.public)


def test_one_with_a_port_of_its_own_and_keys_is_not_renewed_but_the_others_are(flow: Flow) -> None:
    with pytest.raises(ConfigError, match="executor0 has a port of its own and keys: close the Flow and start it"):
        flow.rolling_update("executor0")
    assert flow.post("/", Document(text="in")).texts == ["IN"]
    flow.rolling_update("executor1")
    assert flow.post("/", Document(text="in")).texts == ["IN"]


def test_keys_in_yaml(server: Keys, caller: Keys, peer: Peer, tmp_path: Path) -> None:
    path = tmp_path / "flow.yml"
    described = f"- name: far\n  port_in: {peer.port}\n  external: true\n  server_key: '{server.public}'\n"
    path.write_text(f"jtype: Flow\nwith:\n  quiet: true\n  keys: {caller.folder}\nexecutors:\n{described}")
    with Flow.load_config(path) as flow:
        assert flow.post("/", Document(text="in")).texts == ["in"]


def test_keys_are_in_no_argument_and_in_no_environment(flow: Flow, server: Keys) -> None:
    secret = key_files.load(server.folder).secret.encode()
    children = descendants_of(os.getpid())
    assert {status.pid for status in flow.status()} <= set(children)
    for pid in children:
        for source in ("cmdline", "environ"):
            assert secret not in Path(f"/proc/{pid}/{source}").read_bytes()
    assert secret.decode() not in f"{flow!r} {flow._spec!r} {flow.status()}"


# -- hostile callers -------------------------------------------------------------------------------------------------


def test_row_49_strangers_in_a_loop_while_a_good_one_is_served(
    peer: Peer, server: Keys, caller: Keys, stranger: Keys
) -> None:
    over = threading.Event()
    refused: list[str] = []

    def knock() -> None:
        while not over.is_set():
            try:
                ask(peer.port, keys=stranger.folder, server_key=server.public)
                refused.append("let in")
            except AuthError:
                refused.append("refused")

    threads = [threading.Thread(target=knock) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        with Client(port=peer.port, keys=caller.folder, server_key=server.public) as client:
            for number in range(300):
                assert client.post("/", Document(text=str(number))).texts == [str(number)]
        assert ask(peer.port, keys=caller.folder, server_key=server.public) == ["in"]
    finally:
        over.set()
        for thread in threads:
            thread.join(30)
    assert set(refused) == {"refused"}
    assert peer.process.poll() is None


# -- the command line ------------------------------------------------------------------------------------------------


def test_keygen_prints_the_public_key_only(server: Keys) -> None:
    assert server.public == (server.folder / "public.key").read_text().strip()
    assert len(server.public) == 40


def test_the_list_is_shown_and_tells_no_secret(command: Command, server: Keys, caller: Keys) -> None:
    assert command("keys", "list", "--keys", server.folder) == f"caller {caller.public}"


def test_ping_describe_and_call_take_keys(command: Command, peer: Peer, server: Keys, caller: Keys) -> None:
    where, ways = f"127.0.0.1:{peer.port}", ("--keys", caller.folder, "--server-key", server.public)
    assert "serving" in command("ping", where, *ways)
    assert '"endpoints"' in command("client", "describe", where, *ways)
    assert '"in"' in command("client", "call", where, "/", "--text", "in", *ways)


def test_the_exit_code_says_that_it_is_for_keys(zflow_command, peer: Peer, server: Keys, stranger: Keys) -> None:
    ways = ["--keys", str(stranger.folder), "--server-key", server.public]
    for words in (["ping", f"127.0.0.1:{peer.port}"], ["client", "call", f"127.0.0.1:{peer.port}", "/", "--text", "a"]):
        done = subprocess.run([*zflow_command, *words, *ways], capture_output=True, text=True, timeout=60)
        assert done.returncode == AuthError.exit_code
        assert "it does not let us in" in done.stderr


def test_an_open_address_takes_keys_or_a_word(zflow_command, serve, server: Keys, caller: Keys) -> None:
    bare = subprocess.run([*zflow_command, "executor", "--host", "0.0.0.0"], capture_output=True, text=True, timeout=60)
    assert bare.returncode == ConfigError.exit_code
    assert "zflow keygen" in bare.stderr and "--insecure" in bare.stderr
    peer = serve("--host", "0.0.0.0", "--keys", server.folder)
    assert ask(peer.port, keys=caller.folder, server_key=server.public) == ["in"]
    with pytest.raises(AuthError):
        ask(peer.port)


def test_the_folder_may_come_from_the_environment(
    server: Keys, caller: Keys, start, zflow_command, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = start(*zflow_command, "executor", env={**os.environ, "ZFLOW_KEYS": str(server.folder)})
    port = int(read_until(process, "serving at").strip().rpartition(":")[2])
    with pytest.raises(AuthError, match="it needs keys"):
        ask(port)
    monkeypatch.setenv("ZFLOW_KEYS", str(caller.folder))
    assert ask(port, server_key=server.public) == ["in"]
