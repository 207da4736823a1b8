"""Which image a name stands for, and what the Executor in it is called."""

from __future__ import annotations

import pytest

from zflow.config.images import checked_image, image_of, name_of
from zflow.errors import ConfigError


@pytest.mark.parametrize(
    "image", ["Upper/case:1", "a b", "-x", "$(id)", "a;b", "a\nb", "", "x:", "x@sha256:12", None, "https://x/y"]
)
def test_what_is_no_image_is_refused(image: object) -> None:
    with pytest.raises(ConfigError, match="is no image"):
        checked_image(image)


def test_hub_names_are_in_the_registry_that_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ZFLOW_HUB", raising=False)
    assert image_of("jinaai+docker://jina-ai/DummyHubExecutor:latest") == "jina-ai/dummyhubexecutor:latest"
    monkeypatch.setenv("ZFLOW_HUB", "registry.example.org")
    assert image_of("hub+docker://me/Encoder") == "registry.example.org/me/encoder:latest"
    assert image_of("hub+docker://other.example.org/me/encoder:1") == "other.example.org/me/encoder:1"
    assert image_of("jinahub+docker://Encoder/v1") == "registry.example.org/encoder:v1"
    monkeypatch.setenv("ZFLOW_HUB", "http://lan:5000/team")
    digest = "sha256:" + "0" * 64
    assert image_of(f"hub+docker://encoder:1@{digest}") == f"lan:5000/team/encoder@{digest}"


def test_an_executor_without_a_name_takes_its_images() -> None:
    assert name_of("registry.example.org:5000/me/my-encoder:1.0") == "my_encoder"
    assert name_of("encoder@sha256:" + "0" * 64) == "encoder"
    assert name_of("7up") == "x7up"
