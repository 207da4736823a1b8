"""A bundle on a machine without a network: installed, run, refused when it was touched, and replaced by a newer one."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.engine import base_image, docker, engine_fault

EXECUTOR = """
from model import answer
from zflow import Executor, requests
class Mark(Executor):
    @requests
    def tell(self, docs, **kwargs):
        docs.texts = [answer(text) for text in docs.texts]
"""
FLOW = """
jtype: Flow
with: {name: marks}
executors:
- {name: first, uses: mark.yml}
- {name: second, uses: mark.yml, shards: 2, polling: ALL}
"""
MODEL = "def answer(text): return text + '!'\n"
SETUP = "from setuptools import setup\nsetup(name='model', version='1.0', py_modules=['model'])\n"
ASK = """
from zflow import Document, Flow
with Flow.load_config('files/flow.yml', quiet=True) as flow:
    print('heard', flow.post('/', Document(text='a')).texts)
"""
ALONE = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "alone"]

pytestmark = pytest.mark.time_limit(900)  # wheels are fetched, and an image may have to be made


def _no_net_can_be_taken_away() -> str:
    """Why a process cannot be cut off here; empty where it can."""
    for program in ("unshare", "ip", "sha256sum"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    done = subprocess.run([*ALONE, "true"], capture_output=True, text=True)
    return f"no network namespaces here: {done.stderr.strip()}" if done.returncode else ""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A Flow whose Executors import a library of their own, which requirements.txt names."""
    folder = tmp_path / "flow"
    folder.mkdir()
    (folder / "mark.py").write_text(EXECUTOR)
    (folder / "mark.yml").write_text("jtype: Mark\nmetas: {py_modules: [mark.py]}\n")
    (folder / "flow.yml").write_text(FLOW)
    (folder / "ask.py").write_text(ASK)
    library = tmp_path / "library"
    library.mkdir()
    (library / "model.py").write_text(MODEL)
    (library / "setup.py").write_text(SETUP)
    wheels = ["wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path / "house"), str(library)]
    subprocess.run([sys.executable, "-m", "pip", *wheels], check=True)
    (folder / "requirements.txt").write_text(f"--find-links {tmp_path / 'house'}\nmodel>=1\n")
    return folder


def pack(source: Path, *words: str) -> Path:
    """What the command line makes of it, unpacked."""
    archive = source.parent / "marks.tar.gz"
    command = [sys.executable, "-m", "zflow", "bundle", "flow.yml", str(archive), "--requirements", *words]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    shutil.rmtree(source.parent / "marks", ignore_errors=True)
    subprocess.run(["tar", "--extract", "--file", str(archive)], cwd=source.parent, check=True)
    return source.parent / "marks"


def install(bundle: Path) -> subprocess.CompletedProcess[str]:
    """Where there is no network."""
    words = ["sh", str(bundle / "install.sh"), "--no-units"]
    return subprocess.run([*ALONE, *words], capture_output=True, text=True)


def ask(folder: Path) -> str:
    words = [*ALONE, str(folder / "current/venv/bin/python"), "files/ask.py"]
    done = subprocess.run(words, cwd=folder / "current", capture_output=True, text=True, timeout=120)
    return done.stdout + done.stderr


@pytest.mark.skipif(bool(_no_net_can_be_taken_away()), reason=_no_net_can_be_taken_away())
def test_a_bundle_is_installed_and_replaced_without_a_network(source: Path, tmp_path: Path) -> None:
    there = tmp_path / "opt"
    bundle = pack(source, "--folder", str(there))
    assert "installed in" in install(bundle).stdout
    assert "heard ['a!!']" in ask(there)
    first = (there / "current").resolve()
    units_are_taken_by_systemd(bundle)

    (source / "mark.py").write_text(EXECUTOR.replace("answer(text)", "answer(text.upper())"))
    newer = pack(source, "--folder", str(there))
    (newer / "files" / "mark.py").write_text("raise SystemExit('touched')")
    refused = install(newer)
    assert refused.returncode == 1
    assert "these files are not those that were packed; nothing is installed" in refused.stderr
    assert (there / "current").resolve() == first

    assert install(pack(source, "--folder", str(there))).returncode == 0
    assert "heard ['A!!']" in ask(there)
    assert {path.name for path in there.iterdir()} == {"current", first.name, (there / "current").resolve().name}


def units_are_taken_by_systemd(bundle: Path) -> None:
    """It also looks for the program that they start."""
    if shutil.which("systemd-analyze") is None:
        return
    units = [str(path) for path in (bundle / "units").iterdir() if path.suffix in (".service", ".target")]
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True)
    assert [line for line in done.stderr.splitlines() if "marks" in line] == []
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(bool(engine_fault()), reason=engine_fault())
def test_a_bundle_for_another_python_runs_where_there_is_nothing_but_that(source: Path, tmp_path: Path) -> None:
    tag = f"manylinux_2_36_{platform.machine()}"
    pack(source, "--python", "3.11", "--platform", tag)
    told = docker(
        *("run", "--rm", "--network=none", f"--volume={tmp_path / 'marks.tar.gz'}:/marks.tar.gz:ro", base_image()),
        *("sh", "-ec", "cd /tmp; tar xf /marks.tar.gz; sh marks/install.sh; cd /opt/marks/current"
          "; venv/bin/python files/ask.py 2>&1"),
        timeout=300,
    )  # fmt: skip
    assert "installed in /opt/marks/" in told
    assert "heard ['a!!']" in told
