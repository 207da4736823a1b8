"""Flows of every shape that is exported: the six of which all exports are tested."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zflow.config import keys
from zflow.config.spec import FlowSpec
from zflow.drivers.sockets import new_identity
from zflow.executor import Executor
from zflow.exports.images import Images
from zflow.exports.parts import Application, parts_of_flow

HERE = Path(__file__).parent
IMAGES = Images("me/app:1", {}, "zflow:1", HERE)


class Echo(Executor):
    """Code on this machine, which can be imported."""


def one() -> FlowSpec:
    """One Executor."""
    return FlowSpec.from_options(name="small", port=12345).add(name="encoder", uses="docker://me/encoder:1")


def row() -> FlowSpec:
    """One after the other, with replicas and variables."""
    spec = FlowSpec.from_options(name="row", env={"MODE": "a$b %h", "API_TOKEN": "s3cr3t-value"})
    spec = spec.add(name="encoder", uses="docker://me/encoder:1", replicas=3, uses_with={"model": "it's $(HOME) $X\n"})
    return spec.add(name="ranker", uses="docker://me/ranker:1", timeout_send=5000, cpus=2, env={"MORE": "1"})


def join() -> FlowSpec:
    """Two branches and what joins them, and one for which nobody waits."""
    spec = FlowSpec.from_options(name="join").add(name="text", uses="docker://me/a:1")
    spec = spec.add(name="image", uses="docker://me/b:1", needs="gateway", when={"text": {"$exists": True}})
    spec = spec.needs_all(name="both", quorum=1, no_reduce=True)
    return spec.add(name="log", uses="docker://me/log:1", floating=True)


def shards() -> FlowSpec:
    """Shards with replicas, data of their own and something around them."""
    return FlowSpec.from_options(name="shards").add(
        name="my_indexer",
        uses="docker://me/indexer:1",
        shards=2,
        replicas=2,
        polling={"/index": "ANY", "*": "ALL"},
        workspace="data",
        uses_before="docker://me/before:1",
        uses_after="docker://me/after:1",
        timeout_ready=-1,
    )


def around() -> FlowSpec:
    """Before and after those that run elsewhere."""
    spec = FlowSpec.from_options(name="around", insecure=True)
    spec = spec.add(name="first", uses="docker://me/first@sha256:" + "0" * 64)
    spec = spec.add(name="far", external=True, host=["a.example.org:5", "b.example.org:6"])
    return spec.add(name="last", uses="docker://me/last:1", allow_partial=True, idempotent=True)


def safe(folder: Path) -> FlowSpec:
    """With keys, and a workspace."""
    if not (folder / "keys").exists():
        keys.create(folder / "keys", new_identity())
    spec = FlowSpec.from_options(name="safe", keys=folder / "keys", host="0.0.0.0", port=7000)
    return spec.add(name="store", uses="docker://me/store:1", workspace="data", replicas=2, max_concurrency=8)


SHAPES = (one, row, join, shards, around, safe)


def spec_of(shape: Any, folder: Path) -> FlowSpec:
    """The Flow of that shape; files that it wants are in `folder`."""
    return safe(folder) if shape is safe else shape()


def application_of(shape: Any, folder: Path) -> Application:
    """Its parts."""
    return parts_of_flow(spec_of(shape, folder), IMAGES)


def processes(spec: FlowSpec) -> FlowSpec:
    """The same without images: Executors that are classes which can be imported."""
    for executor in spec.executors:
        changes = dict.fromkeys(("uses", "uses_before", "uses_after"), "tests.exports.shapes:Echo")
        given = {name: changes[name] for name in changes if executor.given.get(name)}
        spec = spec.change(executor.name, **given) if given else spec
    return spec
