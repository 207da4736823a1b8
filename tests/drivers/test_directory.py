"""The directory: what is written by one thread is read by others, and every change can be seen."""

from __future__ import annotations

import threading

from zflow.drivers.directory import Directory
from zflow.drivers.sockets import Curve, new_identity


def test_it_knows_what_it_was_given_and_nobody_else():
    given = {"a": "ipc:///a"}
    directory = Directory(given)
    given["b"] = "ipc:///b"
    assert directory.get("a") == "ipc:///a"
    assert directory.get("b") is None
    assert directory.all() == {"a": "ipc:///a"}
    assert Directory().all() == {}


def test_an_address_can_be_set_and_replaced_and_removed():
    directory = Directory()
    directory.set("a", "ipc:///1")
    directory.set("a", "ipc:///2")
    assert directory.get("a") == "ipc:///2"
    directory.remove("a")
    assert directory.get("a") is None


def test_each_change_makes_the_version_grow_and_nothing_else_does():
    directory = Directory({"a": "ipc:///1"})
    versions = [directory.version]
    for change in (
        lambda: directory.set("a", "ipc:///2"),
        lambda: directory.set("a", "ipc:///2"),  # a process may come back at the place it had
        lambda: directory.remove("a"),
    ):
        change()
        versions.append(directory.version)
    assert versions == sorted(set(versions))
    directory.remove("a")
    directory.get("a")
    directory.all()
    assert directory.version == versions[-1]


def test_what_was_told_is_a_copy():
    directory = Directory({"a": "ipc:///1"})
    directory.all()["a"] = "elsewhere"
    assert directory.get("a") == "ipc:///1"


def test_a_group_has_the_replicas_that_it_was_given_last():
    directory = Directory(replicas={"a": ["a/rep-0", "a/rep-1"]})
    assert directory.replicas() == {"a": ("a/rep-0", "a/rep-1")}
    version = directory.version
    directory.set_replicas("a", ["a/rep-0"], {"a/rep-0": "ipc:///0"})
    assert directory.replicas() == {"a": ("a/rep-0",)}
    assert directory.get("a/rep-0") == "ipc:///0"
    assert directory.version == version + 1  # one change, that nobody sees half of


def test_who_wants_to_hear_of_changes_hears_of_each():
    directory = Directory()
    heard: list[int] = []
    directory.on_change(lambda: heard.append(directory.version))
    directory.set("a", "ipc:///1")
    directory.set_replicas("b", [])
    directory.remove("a")
    directory.remove("a")
    assert heard == [1, 2, 3]


def test_who_wants_to_hear_of_losses_hears_the_link():
    directory = Directory({"a": "ipc:///1"})
    heard: list[str] = []
    directory.on_loss(heard.append)
    directory.lost("a")
    assert heard == ["a"] and directory.get("a") == "ipc:///1"


def test_no_change_is_lost_among_threads():
    directory = Directory()
    threads = [
        threading.Thread(target=lambda own=own: [directory.set(f"{own}/{number}", "x") for number in range(500)])
        for own in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(directory.all()) == 2000
    assert directory.version == 2000


def test_it_knows_by_which_key_a_peer_is_known():
    directory = Directory({"a": "tcp://a:1", "b": "tcp://b:1"})
    assert directory.curve("a") is None
    ours, theirs = new_identity(), new_identity().public
    directory.trust(ours, {"a": theirs})
    assert directory.curve("a") == Curve(ours, theirs)
    assert directory.curve("b") is None


def test_replicas_that_are_forgotten_are_the_planned_ones_again():
    directory = Directory({}, {"a": ["a/rep-0", "a/rep-1"]})
    heard = []
    directory.on_change(lambda: heard.append(directory.replicas()))
    directory.forget_replicas("a")
    version = directory.version
    directory.forget_replicas("a")
    assert (heard, directory.version) == ([{}], version)


def test_who_is_given_up_has_no_address_until_it_is_set_again():
    directory = Directory({"a/rep-0": "ipc:///0"})
    heard = []
    directory.on_change(lambda: heard.append(directory.given_up()))
    directory.give_up("a/rep-0", "it failed")
    assert (directory.get("a/rep-0"), directory.version) == (None, 1)
    directory.set("a/rep-0", "ipc:///1")
    assert heard == [{"a/rep-0": "it failed"}, {}]
