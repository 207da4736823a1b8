"""What goes into a bundle, what stays at home, and that the same makes the same. Wheels are played by empty ones."""

from __future__ import annotations

import hashlib
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.support.wheelhouse import write_wheel
from zflow import bundling
from zflow.bundling import Bundle, Wishes, bundle
from zflow.config import keys
from zflow.config.yaml_file import load_flow
from zflow.drivers.sockets import new_identity
from zflow.errors import ConfigError

FLOW = """
jtype: Flow
with: {name: marks, port: 12345}
executors:
- {name: first, uses: mark/mark.yml}
"""


@pytest.fixture
def flow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a Flow; pip finds what is in a house of wheels beside it."""
    folder, house = tmp_path / "flow", tmp_path / "house"
    (folder / "mark").mkdir(parents=True)
    (folder / "flow.yml").write_text(FLOW)
    (folder / "mark" / "mark.yml").write_text("jtype: Mark\nmetas: {py_modules: [mark.py]}\n")
    (folder / "mark" / "mark.py").write_text("class Mark: pass\n")
    (folder / "mark" / "requirements.txt").write_text("model\n")
    for name in ("zflow", "pip", "model", "extra"):
        write_wheel(house, name)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(house))
    monkeypatch.setattr(bundling, "zflow_wheel", lambda folder: "zflow")
    return folder


def pack(where: Path, name: str = "marks.tar.gz", **wishes: Any) -> Bundle:
    return bundle(load_flow(where / "flow.yml"), where / "flow.yml", where / name, Wishes(**wishes))


def members(made: Bundle) -> dict[str, bytes]:
    with tarfile.open(made.path) as packed:
        found = [(member.name, packed.extractfile(member)) for member in packed]
        return {name.removeprefix("marks/"): file.read() for name, file in found if file is not None}


def test_a_bundle_has_the_folder_wheels_units_sums_and_a_script(flow: Path) -> None:
    made = pack(flow)
    found = members(made)
    assert set(found) == {
        *("install.sh", "SHA256SUMS", "files/flow.yml", "files/mark/mark.yml", "files/mark/mark.py"),
        *("files/mark/requirements.txt", "wheels/pip-1.0-py3-none-any.whl", "wheels/zflow-1.0-py3-none-any.whl"),
        *("units/marks.target", "units/marks-first.service", "units/marks-gateway.service", "units/marks-flow.yml"),
    }
    sums = dict(reversed(line.split("  ")) for line in found["SHA256SUMS"].decode().splitlines())
    assert set(sums) == set(found) - {"install.sh", "SHA256SUMS"}
    assert all(hashlib.sha256(found[name]).hexdigest() == digest for name, digest in sums.items())
    assert made.digest == hashlib.sha256(made.path.read_bytes()).hexdigest()
    unit = found["units/marks-first.service"].decode()
    assert "ExecStart=/opt/marks/current/venv/bin/zflow executor" in unit
    assert "WorkingDirectory=/opt/marks/current/files" in unit


def test_the_same_is_packed_to_the_same_bytes(flow: Path) -> None:
    first = pack(flow)
    kept = first.path.read_bytes()
    (flow / "flow.yml").touch()
    assert pack(flow).path.read_bytes() == kept
    assert pack(flow, "marks.tar").digest == pack(flow, "marks.tar").digest


def test_requirements_of_executors_are_packed_where_that_is_asked(flow: Path) -> None:
    asked = pack(flow, with_requirements=True, require=("extra",))
    assert [name.partition("-")[0] for name in asked.wheels] == ["extra", "model", "pip", "zflow"]


def test_what_is_nobody_elses_business_stays_at_home(flow: Path) -> None:
    keys.create(flow / "keys", new_identity())
    (flow / ".env").write_text("SECRET=1")
    (flow / "env").mkdir()
    (flow / "env" / "pyvenv.cfg").write_text("")
    (flow / "data.bin").write_text("1")
    (flow / "run.sh").write_text("#!/bin/sh\n")
    (flow / "run.sh").chmod(0o755)
    made = pack(flow, leave_out=("data*",))
    assert not any("key" in name or "env" in name or "data" in name for name in made.files)
    assert sorted(made.left_out) == [
        "data.bin: left out",
        "env: an environment of this machine's Python",
        "keys: holds a secret key",
    ]
    with tarfile.open(made.path) as packed:
        assert packed.getmember("marks/files/run.sh").mode == 0o755
        assert packed.getmember("marks/files/flow.yml").mode == 0o644


def test_a_flow_with_keys_expects_those_of_the_other_machine(flow: Path) -> None:
    keys.create(flow / "keys", new_identity())
    (flow / "flow.yml").write_text(FLOW.replace("port: 12345", f"keys: {flow}/keys, host: 0.0.0.0"))
    found = members(pack(flow))
    assert b"LoadCredential=secret.key:/etc/zflow/marks-keys/secret.key" in found["units/marks-gateway.service"]
    assert b"keys='/etc/zflow/marks-keys'" in found["install.sh"]
    assert not any(name.endswith("secret.key") for name in found)


def test_what_would_not_run_there_is_refused_and_nothing_is_written(flow: Path) -> None:
    (flow / "out.py").symlink_to("/etc/hostname")
    with pytest.raises(ConfigError, match="out.py leads out of"):
        pack(flow)
    (flow / "out.py").unlink()
    with pytest.raises(ConfigError, match="(?s)what is packed would not run: .*mark.yml"):
        pack(flow, leave_out=("mark/*",))
    with pytest.raises(ConfigError, match="end its name with one of .tar.gz"):
        pack(flow, "marks.zip")
    with pytest.raises(ConfigError, match="folder: .* a unit cannot name this path"):
        pack(flow, folder="/opt/it's")
    with pytest.raises(ConfigError, match="cannot be written: No such file"):
        pack(flow, "nowhere/marks.tar")
    (flow / "flow.yml").write_text(FLOW.replace("mark/mark.yml", "'hub://a.org/mark:1'"))
    with pytest.raises(ConfigError, match="first: hub://a.org/mark:1 is in a registry, .*zflow hub pull .*--to FOLDER"):
        pack(flow)
    assert {path.name for path in flow.iterdir()} == {"flow.yml", "mark"}


def test_the_script_is_what_a_shell_can_read(flow: Path, tmp_path: Path) -> None:
    script = tmp_path / "install.sh"
    script.write_bytes(members(pack(flow, folder="/opt/a b"))["install.sh"])
    assert subprocess.run(["sh", "-n", str(script)]).returncode == 0
    told = subprocess.run(["sh", str(script), "--help"], capture_output=True, text=True)
    assert "into /opt/a b" in told.stdout
    assert "@" not in script.read_text().replace("$@", "")
