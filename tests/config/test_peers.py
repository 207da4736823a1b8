"""Where processes run that somebody else has started: which groups there are, and which are known."""

from __future__ import annotations

import pytest

from zflow.config.peers import group_of_shard, groups_around, groups_of, missing_peers, refuse_peers
from zflow.config.spec import ExecutorSpec, FlowSpec
from zflow.errors import ConfigError

PLAIN = ExecutorSpec.from_options(name="encoder", replicas=3)
SHARDED = ExecutorSpec.from_options(name="indexer", shards=2, uses_before="Executor", uses_after="Ranker")


def test_the_replicas_of_one_shard_are_a_group():
    assert groups_of(PLAIN) == [group_of_shard(PLAIN, 0)] == ["encoder"]
    assert group_of_shard(SHARDED, 1) == "indexer/shard-1"


def test_what_stands_around_the_shards_is_a_group_of_its_own():
    assert groups_around(PLAIN) == []
    assert groups_around(SHARDED) == ["indexer/uses-after"]  # `Executor` passes documents through: there is none
    assert groups_of(SHARDED) == ["indexer/shard-0", "indexer/shard-1", "indexer/uses-after"]


def test_what_nobody_has_named_is_missing():
    front = FlowSpec.from_options(peers={"encoder": "a:1", "indexer/shard-0": ["b:1", "c:1"]})
    assert missing_peers(front, [PLAIN, SHARDED]) == ["indexer/shard-1", "indexer/uses-after"]


def test_a_group_that_nobody_has_is_refused_with_the_nearest():
    front = FlowSpec.from_options(peers={"encodr": "a:1"})
    with pytest.raises(ConfigError, match="peers: nothing here is called 'encodr'.*encoder"):
        missing_peers(front, [PLAIN])


def test_who_starts_processes_wants_no_peers():
    refuse_peers(FlowSpec.from_options(), "head")
    with pytest.raises(ConfigError, match="would be started once more; use `zflow head`"):
        refuse_peers(FlowSpec.from_options(peers={"encoder": "a:1"}), "head")
