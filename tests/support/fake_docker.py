"""A program that takes the words of `docker` and runs the worker of a container as a process of this machine.

What an image does stands in its name: `serves` is a worker; `exits` says what FAKE_SAYS holds and ends with the code
FAKE_CODE; `silent` says nothing; `old` speaks another version of the protocol; `liar` sends what is no message; `thief`
is ready behind a link to a socket that is not its own. What it was told to run stands in `run.json` beside it.
"""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import pytest

import zflow

_PROGRAM = """
import json, os, signal, socket, subprocess, sys, time
HERE = os.path.dirname(os.path.abspath(__file__))
words = sys.argv[1:]

def option(name):
    return next((word.partition("=")[2] for word in words if word.startswith(f"--{name}=")), "")

def remove(name):
    try:
        os.kill(int(open(f"{HERE}/{name}.pid").read()), signal.SIGKILL)
        os.unlink(f"{HERE}/{name}.pid")
    except (OSError, ValueError):
        sys.exit("Error: No such container: " + name)

def run():
    json.dump(words, open(f"{HERE}/run.json", "w"))
    [box] = [word.split("source=")[1].split(",")[0] for word in words if word.endswith("target=/run/zflow")]
    image = next(word for word in words if word.endswith(":1") and not word.startswith("-"))
    config = os.environ.get("FAKE_CONFIG", "config.yml")
    worker = [sys.executable, "-m", "zflow", "executor", "--uses", config, "--attended", f"{box}/attendant"]
    kinds = {"serves": worker, "exits": [sys.executable, __file__, "exits"],
             "silent": [sys.executable, "-c", "import time; print('looking around', flush=True); time.sleep(60)"],
             **{kind: [sys.executable, __file__, kind, box] for kind in ("old", "liar", "thief")}}
    worker = subprocess.Popen(kinds[image.partition(":")[0]])
    open(f"{HERE}/{option('name')}.pid", "w").write(str(worker.pid))
    code = worker.wait()
    return 128 - code if code < 0 else code

def speak(box, data):
    end = socket.socket(socket.AF_UNIX)
    end.connect(f"{box}/attendant")
    end.sendall(data)
    time.sleep(60)

if words[0] == "rm":
    remove(words[-1])
elif words[0] == "run":
    sys.exit(run())
elif words[0] == "exits":
    sys.stderr.write(os.environ["FAKE_SAYS"])
    sys.exit(int(os.environ["FAKE_CODE"]))
elif words[0] == "old":
    import msgpack
    body = msgpack.packb({"protocol": 99, "software": "zflow 99.0"})
    speak(words[1], len(body).to_bytes(4, "big") + body)
elif words[0] == "thief":
    import msgpack
    os.symlink(words[1] + "/attendant", words[1] + "/s")
    bodies = [msgpack.packb(said) for said in ({"protocol": 1, "software": "x"}, {"ready": "ipc:///x", "pid": 1})]
    speak(words[1], b"".join(len(body).to_bytes(4, "big") + body for body in bodies))
elif words[0] == "liar":
    speak(words[1], b"\\xff" * 4096)
"""


def install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put it where `docker` is looked for, in `folder`, which is returned."""
    program = folder / "docker"
    program.write_text(f"#!{sys.executable}\n{textwrap.dedent(_PROGRAM)}")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setenv("PYTHONPATH", str(Path(zflow.__file__).parents[1]))
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    return folder
