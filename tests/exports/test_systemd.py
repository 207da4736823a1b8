"""A Flow as units of systemd: by the text of a small one, by what each unit must say, and by systemd-analyze."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.exports.shapes import HERE, SHAPES, around, one, processes, row, safe, shards, spec_of
from zflow.config.spec import FlowSpec
from zflow.config.yaml_file import load_flow
from zflow.exports.images import Images
from zflow.exports.parts import Application, parts_of_flow
from zflow.exports.systemd import SystemdWishes, quoted, systemd_notes, units

EXPECTED = Path(__file__).parent / "expected"
WISHES = SystemdWishes("/opt/zflow/bin/zflow", "/opt/app")
NATIVE = Images("", {}, "", HERE, native=True)


def application(shape: Any, folder: Path) -> Application:
    return parts_of_flow(processes(spec_of(shape, folder)), NATIVE)


def files(shape: Any, folder: Path, wishes: SystemdWishes = WISHES) -> dict[str, str]:
    return units(application(shape, folder), wishes)


def services(shape: Any, folder: Path) -> dict[str, list[str]]:
    return {name: text.splitlines() for name, text in files(shape, folder).items() if name.endswith(".service")}


def command(lines: list[str]) -> list[str]:
    [line] = [line for line in lines if line.startswith("ExecStart=")]
    return shlex.split(line.removeprefix("ExecStart=").replace("$$", "$").replace("%%", "%"))


def port(lines: list[str]) -> str:
    words = command(lines)
    return words[words.index("--port-in" if "--port-in" in words else "--port") + 1]


def test_a_small_flow_is_this_text(tmp_path: Path) -> None:
    text = "".join(f"### {name}\n{text}" for name, text in files(one, tmp_path).items())
    assert text == (EXPECTED / "systemd.txt").read_text()


@pytest.mark.parametrize("shape", SHAPES)
def test_the_same_flow_is_the_same_text(shape: Any, tmp_path: Path) -> None:
    assert files(shape, tmp_path) == files(shape, tmp_path)


@pytest.mark.parametrize("shape", SHAPES)
def test_each_process_is_a_unit_with_a_port_of_its_own(shape: Any, tmp_path: Path) -> None:
    made = application(shape, tmp_path)
    found = services(shape, tmp_path)
    assert len(found) == sum(part.replicas for part in made.parts)
    ports = list(map(port, found.values()))
    assert len(set(ports)) == len(ports)
    assert str(made.port) in ports
    for lines in found.values():
        words = command(lines)
        assert words[words.index("--host") + 1] == "127.0.0.1"


def test_only_the_entrance_binds_what_the_flow_says_and_says_that_it_is_insecure(tmp_path: Path) -> None:
    wishes = WISHES._replace(host="0.0.0.0")
    made = {name: text for name, text in files(around, tmp_path, wishes).items() if name.endswith(".service")}
    words = {name: command(text.splitlines()) for name, text in made.items()}
    assert "0.0.0.0" in words["around-gateway.service"] and "--insecure" in words["around-gateway.service"]
    others = [word for name, line in words.items() if "gateway" not in name for word in line]
    assert "0.0.0.0" not in others and "--insecure" not in others
    assert "--insecure" not in command(services(safe, tmp_path)["safe-gateway.service"])


@pytest.mark.parametrize("shape", SHAPES)
def test_every_unit_is_told_apart_watched_and_hardened(shape: Any, tmp_path: Path) -> None:
    for name, lines in services(shape, tmp_path).items():
        for wanted in (
            *("Type=notify", "Restart=always", "TimeoutStopSec=30", "DynamicUser=yes", "NoNewPrivileges=yes"),
            *("ProtectSystem=strict", "CapabilityBoundingSet=", "SystemCallFilter=@system-service"),
            *("StartLimitIntervalSec=0", f"RuntimeDirectory=zflow/{name.removesuffix('.service')}"),
        ):
            assert wanted in lines


def test_the_front_is_watched_and_so_is_a_worker_whose_calls_have_an_end(tmp_path: Path) -> None:
    found = services(row, tmp_path)
    assert "WatchdogSec=30" in found["row-gateway.service"]
    assert "WatchdogSec=35" in found["row-ranker.service"]
    assert not any(line.startswith("WatchdogSec") for line in found["row-encoder-0.service"])
    assert "CPUQuota=200%" in found["row-ranker.service"]


def test_the_gateway_is_told_where_everybody_is(tmp_path: Path) -> None:
    made = files(shards, tmp_path)
    flow = load_flow(made["shards-flow.yml"])
    assert {group: len(hosts) for group, hosts in flow.peers.items()} == {
        "my_indexer/shard-0": 2,
        "my_indexer/shard-1": 2,
        "my_indexer/uses-before": 1,
        "my_indexer/uses-after": 1,
    }
    ports = {host for hosts in flow.peers.values() for host in hosts}
    assert ports == {
        f"127.0.0.1:{port(lines)}" for name, lines in services(shards, tmp_path).items() if "gateway" not in name
    }
    assert "TimeoutStartSec=infinity" in made["shards-my-indexer-shard-0-0.service"].splitlines()


def test_words_reach_the_process_as_they_are(tmp_path: Path) -> None:
    [arguments] = [word for word in command(services(row, tmp_path)["row-encoder-0.service"]) if "model" in word]
    assert arguments.replace("\\\\n", "\\n") == '{"model": "it\'s $(HOME) $X\\n"}'
    assert quoted("plain-word_1") == "plain-word_1"
    assert quoted('a "b" \\ $c %d') == '"a \\"b\\" \\\\ $$c %%d"'
    assert quoted("a\nb") == '"a\\nb"'


def test_secrets_come_from_a_file_that_is_not_written(tmp_path: Path) -> None:
    text = "".join(files(row, tmp_path).values())
    assert "s3cr3t-value" not in text
    assert "EnvironmentFile=/etc/zflow/row.env" in text
    assert 'Environment="MODE=a$b %%h"' in text
    notes = systemd_notes(application(row, tmp_path), WISHES, list(files(row, tmp_path)))
    assert "API_TOKEN" in notes
    assert "systemctl enable --now row.target" in notes


def test_what_is_fetched_from_a_registry_has_a_place_that_can_be_written(tmp_path: Path) -> None:
    spec = FlowSpec.from_options(name="hub").add(name="a", uses="hub://a.org/a:1").add(name="b", uses="b:B")
    made = units(parts_of_flow(spec, NATIVE), WISHES)
    assert command(made["hub-a.service"].splitlines())[4:6] == ["--uses", "hub://a.org/a:1"]
    assert 'Environment="ZFLOW_HUB_CACHE=/var/lib/zflow/hub/.hub"' in made["hub-a.service"]
    assert "ZFLOW_HUB_CACHE" not in made["hub-b.service"]


def test_keys_are_credentials(tmp_path: Path) -> None:
    text = files(safe, tmp_path)["safe-gateway.service"]
    assert f"LoadCredential=secret.key:{tmp_path}/keys/secret.key" in text
    assert "--keys ${CREDENTIALS_DIRECTORY}" in text
    secret = (tmp_path / "keys" / "secret.key").read_text().rpartition("secret:")[2].strip()
    assert secret not in text


def test_one_target_starts_them_all(tmp_path: Path) -> None:
    made = files(around, tmp_path)
    wanted = {line.removeprefix("Wants=") for line in made["around.target"].splitlines() if line.startswith("Wants=")}
    assert wanted == set(services(around, tmp_path))
    assert "PartOf=around.target" in made["around-first.service"].splitlines()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("shape", SHAPES)
def test_systemd_itself_takes_them(shape: Any, tmp_path: Path) -> None:
    wishes = WISHES._replace(program=sys.executable, folder=str(tmp_path))
    folder = tmp_path / "units"
    folder.mkdir()
    names = []
    for name, text in files(shape, tmp_path, wishes).items():
        (folder / name).write_text(text)
        names += [str(folder / name)] if name.endswith((".service", ".target")) else []
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *names], capture_output=True, text=True)
    about_ours = [line for line in done.stderr.splitlines() if str(folder) in line or shape.__name__ in line]
    assert about_ours == []
    assert done.returncode == 0, done.stderr
