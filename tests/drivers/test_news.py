"""Of a directory only what has changed is told, and once."""

from __future__ import annotations

from zflow.drivers.directory import Directory
from zflow.drivers.news import News


def test_other_replicas_are_told_once() -> None:
    directory = Directory(replicas={"a": ["a/rep-0"], "b": ["b/rep-0"]})
    news = News(directory)
    assert news.replicas() == {"a": ("a/rep-0",), "b": ("b/rep-0",)}
    assert news.replicas() == {}
    directory.set_replicas("b", ["b/rep-0", "b/rep-1"])
    assert news.replicas() == {"b": ("b/rep-0", "b/rep-1")}
    assert news.version != directory.version  # until whoever has looked says so


def test_one_that_is_given_up_is_told_once_for_each_reason() -> None:
    directory = Directory()
    news = News(directory)
    directory.give_up("a/rep-0", "it cannot start")
    assert news.given_up() == {"a/rep-0": "it cannot start"}
    assert news.given_up() == {}
    directory.give_up("a/rep-0", "its file is gone")
    assert news.given_up() == {"a/rep-0": "its file is gone"}
    directory.set("a/rep-0", "ipc:///a")  # it is back
    assert news.given_up() == {}
    directory.give_up("a/rep-0", "its file is gone")
    assert news.given_up() == {"a/rep-0": "its file is gone"}


def test_who_is_no_replica_any_more_is_left() -> None:
    directory = Directory(replicas={"a": ["a/rep-0"]})
    news = News(directory)
    news.replicas()
    directory.set_replicas("a", ["a/rep-1"])
    assert not news.is_left("a/rep-0"), "as long as nobody has been told"
    news.replicas()
    assert news.is_left("a/rep-0") and not news.is_left("a/rep-1")
    assert not news.is_left("gateway"), "which has no replicas"
