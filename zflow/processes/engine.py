"""Docker, as far as we need it: the words that run a container, and what it means when that fails.

The program ``docker`` is called, with lists of words and never by a shell. It knows where the engine is, who may use it
and which registries it is logged in to.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from zflow.config import environment
from zflow.config.containers import WORKSPACE, ContainerPlan
from zflow.version import __version__

BOX = "/run/zflow"  # where a container sees the folder of its sockets
ATTENDANT = "attendant"
SOCKET = "s"  # short: the path of a socket has 107 bytes
_WORDS = ("executor", "--uses", "config.yml", "--attended", f"{BOX}/{ATTENDANT}")
_OF_THE_PROGRAM = re.compile(
    r"PATH|HOME|TMPDIR|GO(DEBUG|GC|MAXPROCS|MEMLIMIT|TRACEBACK)|(https?|no|all)_proxy|(LD|DOCKER|BUILDKIT|XDG|SSH)_.*",
    re.IGNORECASE,
)
_NOT_STARTED, _NO_PROGRAM = 125, (126, 127)  # Docker gives 126 to who may not use the engine, too
_NO_ZFLOW = "no program zflow is in it: begin its Dockerfile with FROM zflow, or say in entrypoint how zflow is started"
_BUILD = "build it (`docker build -t {image} .`)"
# What Docker says, in small letters, and what that means to who wants to serve an image.
_REMEDIES = {
    "permission denied while trying to connect": "this user may not use the engine: `sudo usermod -aG docker $USER`, "
    "then log in again",
    "cannot connect to the docker daemon": "no engine runs here: start it (`sudo systemctl start docker`), or say in "
    "DOCKER_HOST where it listens",
    "pull access denied": f"it is not here, and its registry does not give it to this user: {_BUILD}, correct the "
    "name, or `docker login`",
    "manifest unknown": f"its registry has no such tag: correct it, or {_BUILD}",
    "no such image": f"it is not here: {_BUILD}, or correct the name",
    "unable to find image": f"it is not here, and cannot be fetched: {_BUILD}, or see to the network",
    "could not select device driver": "the engine has no GPUs to give: install the NVIDIA Container Toolkit, or leave "
    "gpus out",
    "bind source path does not exist": "the engine cannot see a folder of this machine: it must run on the same host, "
    "and see the same files",
    "exec format error": "it was built for another kind of processor: build it for this one",
}


def run_words(
    plan: ContainerPlan, name: str, node: str, box: str, env: Mapping[str, str], cores: Sequence[int]
) -> list[str]:
    """``docker run`` for a container called `name` that serves `node`. box: the folder of its sockets here. env: of
    the container; what `run_environment` has is passed on and not seen by who lists processes."""
    words = ["docker", "run", "--rm", "--sig-proxy=false", f"--name={name}", f"--label=zflow={node}"]
    words += ["--mount", _mount(box, BOX)]
    for volume in plan.volumes:
        words += ["--mount", _mount(volume.source, volume.target, volume.read_only)]
    words += ["--mount", _mount(plan.workspace, WORKSPACE)] if plan.workspace else []
    words += _tmpfs(plan)
    for variable, value in {"ZFLOW_WORKSPACE": WORKSPACE, **env}.items():
        words += ["--env", variable if variable in run_environment(env) else f"{variable}={value}"]
    words += [f"--cpuset-cpus={','.join(map(str, cores))}"] if cores else []
    words += [f"--gpus={_quoted(plan.gpus)}"] if plan.gpus else []
    program, *arguments = plan.entrypoint or ("zflow",)  # whatever its image starts: exports do so as well
    words.append(f"--entrypoint={program}")
    for option, value in plan.options.items():
        words += [] if option == "tmpfs" else _flags(option, value)
    return [*words, plan.image, *arguments, *_WORDS]


def run_environment(env: Mapping[str, str]) -> dict[str, str]:
    """What of `env` the program itself does not care for, so that it can have it to pass on."""
    return {name: value for name, value in env.items() if not _OF_THE_PROGRAM.fullmatch(name)}


def _flags(option: str, value: Any) -> Iterator[str]:
    flag = f"--{option.replace('_', '-')}"
    if isinstance(value, bool):
        yield f"{flag}={'true' if value else 'false'}"
        return
    for item in value if isinstance(value, list) else [value]:
        yield f"{flag}={item}"


def _tmpfs(plan: ContainerPlan) -> Iterator[str]:
    """Where it may write into memory: in /tmp, and in its workspace where it has none of this machine."""
    given = plan.options.get("tmpfs", [])
    taken = {item.partition(":")[0] for item in given} | {volume.target for volume in plan.volumes}
    own = ["/tmp"] if plan.workspace else ["/tmp", _scratch(str(plan.options.get("user", "")))]
    for item in [*given, *(item for item in own if item.partition(":")[0] not in taken)]:
        yield f"--tmpfs={item}"


def _scratch(user: str) -> str:
    """A workspace that is forgotten. Its owner is named: an image that has the folder gives its mode to what is mounted
    there, whatever mode is asked for (runc), but not its owner."""
    uid, colon, gid = user.partition(":")
    owner = f",uid={uid},gid={gid}" if uid.isdecimal() and gid.isdecimal() else ""
    return f"{WORKSPACE}:mode=1777{owner}"


def _mount(source: str, target: str, read_only: bool = False) -> str:
    """One line of CSV, as Docker wants it: a path may hold a comma."""
    made = io.StringIO()
    csv.writer(made, lineterminator="").writerow(
        ["type=bind", f"source={source}", f"target={target}", *(["readonly"] if read_only else [])]
    )
    return made.getvalue()


def _quoted(gpus: str) -> str:
    return f'"{gpus}"' if "," in gpus else gpus


def why_not_here() -> str:
    """Why no container that shares a folder with us can be run; empty where nothing speaks against it."""
    host = environment.foreign("DOCKER_HOST") or ""
    if host and not host.startswith("unix://"):
        return f"DOCKER_HOST={host}: that engine is on another host and shares no folder with this; start zflow there"
    return ""


def explain(image: str, code: int, said: Sequence[str]) -> str:
    """Why a container of `image` ended before it reported, and what to do. said: its last lines, and Docker's."""
    told = "\n".join(said)
    return f"image {image}: {_meaning(code, told.lower()).format(image=image, code=code)}\n{told}".rstrip()


def _meaning(code: int, told: str) -> str:
    if code == _NOT_STARTED or code in _NO_PROGRAM:
        otherwise = "Docker could not run it:" if code == _NOT_STARTED else f"{_NO_ZFLOW} (exit code {{code}})"
        return next((remedy for sign, remedy in _REMEDIES.items() if sign in told), otherwise)
    if "no such option: --attended" in told:
        return f"its zflow is older than this one ({__version__}): build it anew from an image of this version"
    return "it ended with exit code {code} before it reported; its last lines:"
