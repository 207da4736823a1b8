"""Inputs 74 and 76 to 83, and 88: files that somebody was sent, and starts a Flow or loads keys from.

Each is refused by one ConfigError that names the place, before anything runs; 66 to 73 and 75 are in
tests/config/test_plain_yaml.py.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.hostile.door import rows
from zflow import Executor
from zflow.config import keys
from zflow.config.plan import Plan, plan_flow
from zflow.config.yaml_file import load_flow
from zflow.drivers.sockets import new_identity
from zflow.errors import ConfigError

RAN = "RAN"  # the file that a module of these tests would leave
MODULE = f"open({RAN!r}, 'w')\nfrom zflow import Executor\nclass Mine(Executor): pass\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the files were unpacked: below it all is theirs, above it all is ours."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    (tmp_path / "ours.py").write_text(MODULE)
    (folder / "link.py").symlink_to(tmp_path / "ours.py")
    (folder / "away").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe.py")
    (folder / "file").write_text("text")
    monkeypatch.chdir(folder)
    return folder


def planned(here: Path, executors: str) -> Plan:
    """What would be started by a YAML file with these Executors."""
    (here / "flow.yml").write_text(f"jtype: Flow\nexecutors:\n{executors}\n")
    return plan_flow(load_flow(here / "flow.yml"))


def is_refused(act: Callable[[], object], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        act()
    assert not Path(RAN).exists()


@pytest.mark.parametrize(
    ("executors", "told"),
    rows(
        ("76 a circle", "- {name: a, needs: b}\n- {name: b, needs: a}", "in a circle: a, b"),
        ("76 one that needs itself", "- {name: a, needs: a}", "flow.yml:3 .*'?a'? "),
        ("76 needs of nobody", "- {name: a, needs: zz}", "'a' needs 'zz', which is not in the Flow"),
        ("76 two of one name", "- {name: a}\n- {name: a}", "two Executors are named 'a'"),
        ("76 the name of the gateway", "- {name: gateway}", "gateway"),
        (
            "77 no replicas",
            "- {replicas: 0}",
            r"executors\[0\].replicas: expected a whole number from 1 to 1024, got 0",
        ),
        ("77 less than no replicas", "- {replicas: -1}", "from 1 to 1024, got -1"),
        ("77 10^9 replicas", "- {replicas: 1000000000}", "from 1 to 1024, got 1000000000"),
        ("77 10^9 shards", "- {shards: 1000000000}", r"executors\[0\].shards: expected a whole number from 1 to"),
        ("77 many by many", "- {replicas: 1024, shards: 1024}", "1024"),
        ("77 replicas in words", "- {replicas: two}", 'expected a whole number, got "two"'),
        ("78 port -1", "- {port_in: -1}", "from 0 to 65535, got -1"),
        ("78 port 65536", "- {port_in: 65536}", "from 0 to 65535, got 65536"),
        ("78 a port and a command", "- {port_in: '12345; rm'}", 'expected a whole number, got "12345; rm"'),
        ("78 a host and a command", "- {host: 'a; rm', port_in: 1, external: true}", "host"),
        ("79 a name that leads up", "- {name: ../x}", "'../x' cannot name an Executor"),
        ("79 a name and a command", "- {name: 'a;b'}", "'a;b' cannot name an Executor"),
        ("79 a name of 300 characters", f"- {{name: {'a' * 300}}}", "at most 64"),
        ("79 a name with a newline", '- {name: "a\\n"}', "cannot name an Executor"),
        ("79 no name", "- {name: ''}", "cannot name an Executor"),
        ("82 a dotted jtype", "- {uses: {jtype: os.system}}", "expected the bare name of an Executor class"),
        ("83 metas among the arguments", "- {uses: {jtype: A, with: {metas: {}}}}", "metas is no argument of your"),
        (
            "83 run-time arguments",
            "- {uses: {jtype: A, with: {runtime_args: 3}}}",
            "runtime_args is no argument of your",
        ),
    ),
)
def test_a_file_that_describes_what_cannot_be(here: Path, executors: str, told: str) -> None:
    is_refused(lambda: planned(here, executors), told)


@pytest.mark.parametrize(
    "words", rows(("74 sexagesimal", "22:22"), ("74 no", "no"), ("74 a date", "2020-01-01"), ("74 old octal", "0x"))
)
def test_words_of_yaml_1_1_stay_words(here: Path, words: str) -> None:
    spec = load_flow(f"jtype: Flow\nexecutors:\n- uses_with: {{x: {words}}}\n")
    assert spec.executors[0].uses_with == {"x": words}


def test_a_new_octal_is_a_number_of_yaml_1_2(here: Path) -> None:
    assert load_flow("jtype: Flow\nexecutors:\n- uses_with: {x: 0o17}\n").executors[0].uses_with == {"x": 15}


@pytest.mark.parametrize(
    ("module", "told"),
    rows(
        ("80 above", "../ours.py", "lies outside of"),
        ("80 absolute", "/usr/lib/os.py", "lies outside of"),
        ("80 a link that leads out", "link.py", "lies outside of"),
        ("80 a folder that leads out", "away/ours.py", "lies outside of"),
        ("80 a FIFO", "pipe.py", "is no regular file"),
        ("80 a device", "/dev/stdin", "lies outside of"),
        ("80 home", "~/ours.py", "does not exist"),
        ("80 NUL", '"ours\\0.py"', "holds a NUL"),
    ),
)
def test_modules_are_only_those_beside_the_file(here: Path, module: str, told: str) -> None:
    (here / "mine.yml").write_text(f"jtype: Mine\npy_modules: {module}\n")
    is_refused(lambda: Executor.load_config(here / "mine.yml"), told)


@pytest.mark.parametrize(
    ("workspace", "told"),
    rows(
        ("81 the root", "/", "is the root of the file system"),
        ("81 a file", "file", "Not a directory"),
        ("81 where nobody can write", "/proc/nobody", "cannot be used"),
        ("81 NUL", "a\0b", "cannot be used"),
    ),
)
def test_a_workspace_is_a_folder_of_its_own(here: Path, workspace: str, told: str) -> None:
    is_refused(lambda: Executor(workspace=workspace, runtime_args={"name": "mine"}).workspace, told)


@pytest.mark.parametrize(
    "name", rows(("82 a builtin", "dict"), ("82 nobody's", "Nobody"), ("82 one of ours that is none", "Document"))
)
def test_a_class_is_one_that_was_registered(here: Path, name: str) -> None:
    (here / "mine.yml").write_text(f"jtype: {name}\n")
    is_refused(lambda: Executor.load_config(here / "mine.yml"), f"no Executor class '{name}' is known")


@pytest.mark.parametrize(
    ("text", "mode", "told"),
    rows(
        ("88 readable for all", None, 0o644, "others"),
        ("88 empty", "", 0o600, "holds no key pair"),
        ("88 39 characters", "public: {public}\nsecret: {short}\n", 0o600, "holds no key pair"),
        ("88 bad Z85", "public: {public}\nsecret: " + "~" * 40 + "\n", 0o600, "holds no key pair"),
        ("88 secret in the place of public", "public: {secret}\nsecret: {secret}\n", 0o600, "holds no key pair|belong"),
    ),
)
def test_a_key_file_that_cannot_be_trusted(tmp_path: Path, text: str | None, mode: int, told: str) -> None:
    folder, pair = tmp_path / "keys", new_identity()
    keys.create(folder, pair)
    file = folder / "secret.key"
    if text is not None:
        file.write_text(text.format(public=pair.public, secret=pair.secret, short=pair.secret[:-1]))
    file.chmod(mode)
    with pytest.raises(ConfigError, match=told) as caught:
        keys.load(folder)
    assert pair.secret[:-1] not in str(caught.value)
