"""What a head tells of a request that came to no answer of a replica's: what happened, and what helps."""

from __future__ import annotations

from collections.abc import Iterable

from zflow.errors import DeadlineExceeded, InvalidRequest, RemoteError, ResourceExhausted, Unavailable
from zflow.roles.backlog import RETRY_AFTER
from zflow.roles.call import Call
from zflow.roles.contract import failure
from zflow.roles.liveness import Neighbour, causes_of
from zflow.wire.header import Kind, Message

MAX_PATH = 16  # heads that a FAILURE tells to have come by


def ended(call: Call, name: str, error: RemoteError) -> Message:
    """The FAILURE by which the head `name` ends `call`."""
    return located(failure(call.call_id, error, not_started=not error.maybe_executed), call, name)


def located(outcome: Message, call: Call, name: str) -> Message:
    """`outcome` of `call`: a FAILURE with where it came to be, and at which attempt, before what is told from further
    in. name: of the head, for a call that no replica has."""
    if outcome.kind is Kind.FAILURE:
        where = call.neighbour.link if call.neighbour is not None else name
        outcome.extra["path"] = [[where, call.sent], *outcome.extra.get("path", ())][:MAX_PATH]
    return outcome


def too_large(name: str, node: str, too_much: str) -> InvalidRequest:
    """No replica would accept it."""
    return InvalidRequest(f"{name}: {too_much}; send fewer Documents at once", node=node)


def full(name: str, node: str, why: str) -> ResourceExhausted:
    """It would have to wait, and must not."""
    told = f"{name}: {why}; ask again in {RETRY_AFTER:g} s, ask for less at once, or give it more replicas"
    return ResourceExhausted(told, node=node, retry_after=RETRY_AFTER)


def lost(neighbour: Neighbour, node: str, *, is_unpaid: bool) -> Unavailable:
    """Its replica is gone with it. is_unpaid: it would be sent again, if only less had failed."""
    told = f"{neighbour.link} was lost while it had the request ({neighbour.cause}); the request may have run"
    if is_unpaid:
        told = f"{told}, and is not sent again because too much fails just now; ask again later"
    return Unavailable(told, node=node, peer=neighbour.link, maybe_executed=True)


def late(name: str, node: str, call: Call, unreached: Iterable[Neighbour]) -> DeadlineExceeded:
    """Its time is over. unreached: all replicas, where none of them is ready."""
    neighbour = call.neighbour
    where = f"while {neighbour.link} worked on it" if neighbour else "while it waited for a free replica"
    if neighbour is None and (who := list(unreached)):
        where = f"before it was reached ({causes_of(who)})"
    may_have_run = neighbour is not None or call.may_have_run
    return DeadlineExceeded(f"{name}: the deadline passed {where}", node=node, maybe_executed=may_have_run)
