"""What a hub:// name names, in all of its spellings, and where the registry is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zflow.config.references import (
    Home,
    Reference,
    everywhere,
    home_of,
    is_image_reference,
    is_reference,
    parse_reference,
)
from zflow.errors import ConfigError

DIGEST = "sha256:" + "0a" * 32


@pytest.fixture(autouse=True)
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ZFLOW_HUB", raising=False)


@pytest.mark.parametrize(
    ("uses", "reference"),
    [
        ("hub://encoder", Reference("", "encoder", "latest")),
        ("hub://me/encoder:1.0", Reference("", "me/encoder", "1.0")),
        ("hub://localhost/encoder", Reference("localhost", "encoder")),
        ("hub://localhost:5000/me/encoder:v2", Reference("localhost:5000", "me/encoder", "v2")),
        ("hub://[::1]:5000/encoder", Reference("[::1]:5000", "encoder")),
        ("hub://registry.example.org/my.team/encoder", Reference("registry.example.org", "my.team/encoder")),
        (f"hub://encoder@{DIGEST}", Reference("", "encoder", "", DIGEST)),
        (f"hub://encoder:1@{DIGEST}", Reference("", "encoder", "1", DIGEST)),
        ("jinahub://CLIPTextEncoder", Reference("", "cliptextencoder")),
        ("jinahub://CLIPTextEncoder/v0.1", Reference("", "cliptextencoder", "v0.1")),
        ("jinahub://CLIPTextEncoder:v0.1", Reference("", "cliptextencoder", "v0.1")),
        ("jinaai://jina-ai/CLIPTextEncoder:Latest", Reference("", "jina-ai/cliptextencoder", "Latest")),
        ("jinaai://jina-ai/CLIPTextEncoder", Reference("", "jina-ai/cliptextencoder")),
        ("hub+docker://me/encoder:1", Reference("", "me/encoder", "1", image=True)),
        ("jinahub+docker://Name/tag", Reference("", "name", "tag", image=True)),
        ("localhost:5000/encoder:1", Reference("localhost:5000", "encoder", "1")),
        ("encoder", Reference("", "encoder")),
    ],
)
def test_a_name_in_a_registry(uses: str, reference: Reference) -> None:
    assert parse_reference(uses) == reference
    assert parse_reference(str(reference)) == reference


@pytest.mark.parametrize(
    ("uses", "told"),
    [
        ("hub://", "'' is no name"),
        ("hub://a b", "'a b' is no name"),
        ("hub://../x", r"'\.\.' is no host"),
        ("hub://me/../x", r"'me/\.\./x' is no name"),
        ("hub://encoder:", ""),
        ("hub://encoder:-x", "'-x' is no tag"),
        ("hub://encoder@sha256:12", "'sha256:12' is no digest"),
        ("hub://encoder@md5:" + "0" * 32, "is no digest"),
        ("hub://user:pass@host.org/encoder", "is no digest"),
        ("hub://a.org:port/x", "'a.org:port' is no host"),
        ("hub://" + "a" * 201, "is no name"),
        ("hub://a/b/c:1:2", "'1:2' is no tag"),
        ("hub://a?x=1", "is no name"),
    ],
)
def test_what_names_nothing_is_refused_with_the_way_to_write_it(uses: str, told: str) -> None:
    if not told:
        assert parse_reference(uses).tag == "latest"
        return
    with pytest.raises(ConfigError, match=f"{told}.*write hub://registry/name:tag"):
        parse_reference(uses)


def test_only_what_shall_run_natively_is_for_this_machine() -> None:
    assert is_reference("hub://x") and is_reference("jinaai://a/b") and is_reference("jinahub://X/1")
    assert is_image_reference("jinaai+docker://a/b") and not is_image_reference("docker://x")
    assert not any(is_reference(uses) for uses in ("hub+docker://x", "docker://x", "x", "hubs://x", None, 3))


def test_a_lock_file_knows_it_by_its_tag_and_it_is_fetched_by_its_digest() -> None:
    reference = parse_reference(f"hub://localhost:5000/encoder:1@{DIGEST}")
    assert reference.key == "hub://localhost:5000/encoder:1"
    assert reference.pinned == f"hub://localhost:5000/encoder@{DIGEST}"


@pytest.mark.parametrize(
    ("hub", "uses", "home"),
    [
        ("", "hub://localhost:5000/x", Home("localhost:5000", "", False)),
        ("", "hub://127.0.0.1:5000/x", Home("127.0.0.1:5000", "", False)),
        ("", "hub://[::1]:5000/x", Home("[::1]:5000", "", False)),
        ("", "hub://registry.example.org/x", Home("registry.example.org", "", True)),
        ("registry.example.org", "hub://x", Home("registry.example.org", "", True)),
        ("registry.example.org/team/", "hub://x", Home("registry.example.org", "team/", True)),
        ("registry.example.org/team", "hub://other.org/x", Home("other.org", "", True)),
        ("http://lan:5000", "hub://x", Home("lan:5000", "", False)),
        ("http://lan:5000", "hub://lan:5000/x", Home("lan:5000", "", False)),
        ("http://lan:5000", "hub://other.org/x", Home("other.org", "", True)),
        ("https://localhost:5000", "hub://x", Home("localhost:5000", "", True)),
    ],
)
def test_where_it_is(hub: str, uses: str, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZFLOW_HUB", hub)
    assert home_of(parse_reference(uses)) == home


def test_it_is_named_so_that_it_means_the_same_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZFLOW_HUB", "registry.example.org/team")
    assert str(everywhere(parse_reference("hub://x:1"))) == "hub://registry.example.org/team/x:1"
    assert str(everywhere(parse_reference("hub://a.org/x"))) == "hub://a.org/x:latest"


def test_without_any_registry_the_error_says_where_to_name_one() -> None:
    with pytest.raises(ConfigError, match="names no registry; write hub://registry/encoder, or set ZFLOW_HUB"):
        home_of(parse_reference("hub://encoder"))


@pytest.mark.parametrize("hub", ["ftp://x", "a b", "http://", "http://user:pass@host"])
def test_a_hub_that_is_none_is_refused(hub: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZFLOW_HUB", hub)
    with pytest.raises(ConfigError, match="ZFLOW_HUB: expected registry"):
        home_of(parse_reference("hub://x"))


@given(st.text(st.sampled_from("ab.:/@-_A1[]% "), max_size=30))
def test_any_text_is_a_name_that_comes_back_or_refused(text: str) -> None:
    try:
        reference = parse_reference(f"hub://{text}")
    except ConfigError:
        return
    assert parse_reference(str(reference)) == reference
    assert ".." not in reference.name and not reference.name.startswith("/")
