"""The resolver: what a name stands for are the replicas, and who has left is never given again."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from tests.support.processes import wait_for
from zflow.config.plan import NodePlan, ReplicaPlan, ShardingPlan
from zflow.drivers.directory import Directory
from zflow.drivers.resolver import Resolver, addresses_of
from zflow.drivers.sockets import new_identity

HERE = ["tcp://10.0.0.1:5000"]
BOTH = ["tcp://10.0.0.1:5000", "tcp://10.0.0.2:5000"]
THERE = ["tcp://10.0.0.2:5000"]


class Names:
    """What a name server says; a name that it does not have cannot be looked up."""

    def __init__(self, **names: Sequence[str]) -> None:
        self.names = names
        self.asked: list[str] = []

    def __call__(self, host: str, port: int) -> Sequence[str]:
        assert port == 5000
        self.asked.append(host)
        if host not in self.names:
            raise OSError(f"{host} is not known")
        return self.names[host]


def node(*hosts: str) -> NodePlan:
    replicas = [ReplicaPlan(f"far/rep-{number}", f"tcp://{host}:5000") for number, host in enumerate(hosts)]
    return NodePlan("far", tuple(replicas))


def directory_of(told: NodePlan) -> Directory:
    return Directory({replica.link: str(replica.address) for replica in told.replicas})


class Looking:
    """A resolver of one node, whose name server and directory are at hand."""

    def __init__(self, told: NodePlan, **names: Sequence[str]) -> None:
        self.names = Names(**names)
        self.directory = directory_of(told)
        self.resolver = Resolver(self.directory, [told], lookup=self.names)

    def look_up(self, **names: Sequence[str]) -> dict[str, str | None]:
        """The ways to the node after another look at what the name server says, by link."""
        self.names.names.update(names)
        self.resolver.look_up()
        links = self.directory.replicas().get("far", ())
        return {link: self.directory.get(link) for link in links}


def test_a_name_with_one_address_changes_nothing():
    looking = Looking(node("encoder"), encoder=HERE)
    version = looking.directory.version
    assert looking.look_up() == looking.look_up() == {}
    assert looking.directory.version == version
    assert looking.directory.get("far/rep-0") == "tcp://encoder:5000"


def test_a_name_with_several_addresses_is_several_replicas():
    looking = Looking(node("encoder"), encoder=BOTH)
    assert looking.look_up() == {"far/rep-0.1": BOTH[0], "far/rep-0.2": BOTH[1]}
    assert looking.directory.get("far/rep-0") is None


def test_who_is_still_there_keeps_its_way_when_another_comes_or_goes():
    looking = Looking(node("encoder"), encoder=HERE)
    looking.look_up()
    assert looking.look_up(encoder=BOTH) == {"far/rep-0": "tcp://encoder:5000", "far/rep-0.1": BOTH[1]}
    assert looking.look_up(encoder=THERE) == {"far/rep-0.1": BOTH[1]}


def test_who_comes_back_gets_another_way():
    looking = Looking(node("encoder"), encoder=BOTH)
    first = looking.look_up()
    looking.look_up(encoder=HERE)
    again = looking.look_up(encoder=BOTH)
    assert list(again.values()) == BOTH
    assert again.keys() & first.keys() == {"far/rep-0.1"}
    assert looking.directory.get("far/rep-0.2") is None


def test_a_name_that_moves_is_followed():
    looking = Looking(node("encoder"), encoder=HERE)
    looking.look_up()
    assert looking.look_up(encoder=THERE) == {"far/rep-0.1": THERE[0]}


def test_the_last_known_addresses_stay_while_a_name_cannot_be_looked_up():
    looking = Looking(node("encoder"), encoder=BOTH)
    found = looking.look_up()
    del looking.names.names["encoder"]
    version = looking.directory.version
    assert looking.look_up() == found
    assert looking.look_up(encoder=[]) == found
    assert looking.directory.version == version


def test_a_name_that_is_not_known_yet_stays_as_it_was_planned():
    looking = Looking(node("encoder"))
    assert looking.look_up() == {}
    assert looking.directory.get("far/rep-0") == "tcp://encoder:5000"
    assert list(looking.look_up(encoder=BOTH).values()) == BOTH


def test_names_and_addresses_stand_beside_each_other():
    looking = Looking(node("10.9.9.9", "encoder"), encoder=BOTH)
    assert looking.look_up() == {
        "far/rep-0": "tcp://10.9.9.9:5000",
        "far/rep-1.1": BOTH[0],
        "far/rep-1.2": BOTH[1],
    }
    assert looking.names.asked == ["encoder"]


@pytest.mark.parametrize("host", ["10.0.0.1", "[::1]", "localhost"])
def test_what_is_no_name_is_not_looked_up(host: str):
    looking = Looking(node(host))
    before = threading.active_count()
    looking.resolver.start()
    assert looking.look_up() == {}
    assert looking.names.asked == []
    assert threading.active_count() == before


def test_all_addresses_of_a_name_are_known_by_its_key():
    looking = Looking(node("encoder"), encoder=BOTH)
    looking.directory.trust(new_identity(), {"far/rep-0": "k" * 40})
    for link in looking.look_up():
        curve = looking.directory.curve(link)
        assert curve is not None and curve.server_key == "k" * 40


def test_a_loss_makes_it_look_again_and_one_of_others_does_not():
    looking = Looking(node("encoder"), encoder=HERE)
    looking.resolver.start()
    try:
        wait_for(lambda: looking.names.asked, "the first look")
        looking.directory.lost("other/rep-0")
        looking.names.names["encoder"] = BOTH
        looking.directory.lost("far/rep-0")
        wait_for(lambda: "far" in looking.directory.replicas(), "the second look", timeout=3.0)
    finally:
        looking.resolver.close()
    wait_for(lambda: "zflow-resolver" not in [thread.name for thread in threading.enumerate()], "its thread to end")


def test_the_system_knows_this_host():
    assert addresses_of("localhost", 5000) == ["tcp://127.0.0.1:5000"]


def test_a_name_that_nobody_can_have_is_an_os_error():
    with pytest.raises(OSError, match="too long"):
        addresses_of("n" * 64, 5000)


# -- another graph -----------------------------------------------------------------------------------------------------


def test_what_is_known_of_a_node_that_stays_is_kept():
    looking = Looking(node("encoder"), encoder=BOTH)
    before = looking.look_up()
    looking.resolver.close()
    looking.resolver.follow([node("encoder")])
    assert looking.directory.replicas() == {"far": ("far/rep-0.1", "far/rep-0.2")}
    assert set(before) == set(looking.directory.replicas()["far"])


@pytest.mark.parametrize("nodes", [[], [node("10.0.0.3")]], ids=["gone", "an-address-now"])
def test_of_a_node_that_goes_or_changes_nothing_is_kept(nodes: list[NodePlan]):
    looking = Looking(node("encoder"), encoder=BOTH)
    looking.look_up()
    looking.resolver.follow(nodes)
    assert looking.directory.replicas() == {}
    assert looking.look_up(encoder=HERE) == {}


def test_a_way_is_not_given_again_when_a_node_has_another_name():
    looking = Looking(node("encoder"), encoder=BOTH, ranker=BOTH)
    looking.look_up()
    looking.resolver.follow([node("ranker")])
    wait_for(lambda: looking.directory.replicas(), "the new name to be looked up")
    looking.resolver.close()
    assert looking.directory.replicas() == {"far": ("far/rep-0.3", "far/rep-0.4")}


def test_each_shard_behind_a_name_is_a_group_and_what_is_around_them_too():
    shards = tuple(ReplicaPlan(f"far/shard-{n}/rep-0", f"tcp://shard-{n}:5000", n) for n in (0, 1))
    before = ReplicaPlan("far/uses-before/rep-0", "tcp://before:5000")
    sharding = ShardingPlan(2, {"*": "ALL"}, before=before.link, around=(before,))
    told = NodePlan("far", shards, sharding=sharding)
    directory = Directory({way.link: str(way.address) for way in told.ways})
    names = Names(**{"shard-0": BOTH, "shard-1": THERE, "before": BOTH})
    Resolver(directory, [told], lookup=names).look_up()
    assert {group: len(links) for group, links in directory.replicas().items()} == {
        "far/shard-0": 2,
        "far/uses-before": 2,
    }
