"""Deployment as a value: made of options or YAML, saved, compared; and what it plans. That it serves: end_to_end/."""

from __future__ import annotations

from pathlib import Path

import pytest

from zflow import Deployment
from zflow.asynchronous import AsyncDeployment
from zflow.errors import ConfigError


def test_options_are_refused_when_it_is_made() -> None:
    with pytest.raises(ConfigError, match="did you mean 'shards'"):
        Deployment(shard=2)
    with pytest.raises(ConfigError, match="needs: this is for an Executor in a Flow"):
        Deployment(needs="gateway")


def test_it_knows_where_it_will_be() -> None:
    assert (Deployment(port=12345).port, Deployment(port_in=12345).port) == (12345, 12345)
    assert Deployment(host="127.0.0.2").host == "127.0.0.2"
    with pytest.raises(ConfigError, match="the Deployment has no port before it is open"):
        _ = Deployment().port
    with pytest.raises(ConfigError, match="use it inside `with deployment:`"):
        Deployment().post("/")


def test_it_is_compared_and_shown_by_what_was_asked() -> None:
    assert Deployment(name="a", replicas=2) == Deployment(name="a", replicas=2) != Deployment(name="a")
    assert repr(Deployment(name="a")) == "<Deployment a, not open>"
    assert repr(Deployment(asyncio=True)) == "<AsyncDeployment (unnamed), not open>"
    assert len({Deployment(), Deployment()}) == 2


def test_asyncio_makes_an_async_one() -> None:
    assert isinstance(Deployment(asyncio=True), AsyncDeployment)
    assert not isinstance(Deployment(), AsyncDeployment)


def test_yaml_there_and_back(tmp_path: Path) -> None:
    path = tmp_path / "deployment.yml"
    deployment = Deployment(name="a", shards=2, port=12345, asyncio=True, polling={"/x": "ALL"})
    deployment.save_config(path)
    assert "replicas" not in path.read_text()  # only what was given
    loaded = Deployment.load_config(path)
    assert loaded == deployment and isinstance(loaded, AsyncDeployment)
    assert Deployment.load_config({"jtype": "Deployment", "with": {"name": "b"}}) == Deployment(name="b")
