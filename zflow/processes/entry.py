"""main() of every process of a plan, on a laptop and in a container alike: plan in, exit code out.

A supervised child hears its plan by its channel, makes its peer, says ``ready`` with the address it has really bound,
serves until it is asked to end, and says ``failed`` when it could not come so far. `serve_worker`, `serve_head` and
`serve_gateway` do the same in the foreground of a process that nobody supervises, or only systemd.
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import logging
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from zflow.config.log_config import LogConfig, Voice
from zflow.config.plan import GatewayPlan, HeadPlan, NodePlan, WorkerPlan
from zflow.drivers.assembly import external_addresses, gateway_role, head_peer_role, trust, worker_role
from zflow.drivers.batch_code import local_end
from zflow.drivers.directory import Directory
from zflow.drivers.note import Note, note_at
from zflow.drivers.notifying import Notifier
from zflow.drivers.reactor import Reactor
from zflow.drivers.resolver import Resolver
from zflow.drivers.user_code import UserCode
from zflow.errors import ProtocolError, StartError, ZflowError
from zflow.executor import Executor
from zflow.loading import ExecutorDescription
from zflow.preloading import has_preload
from zflow.processes import logs, parcel
from zflow.processes.channel import Channel, Words
from zflow.processes.hearing import Hearing
from zflow.processes.lifeline import TERMINATED, Lifeline
from zflow.processes.logs import Log
from zflow.processes.placement import Placement, common_env, keep_on, lines_about, placement_of
from zflow.processes.socket_directory import box_of, remove_box, remove_if_left
from zflow.processes.sources import sources_of
from zflow.processes.thread_limits import limit_loaded
from zflow.response import error_of
from zflow.roles.front_door import FrontDoor
from zflow.tracebacks import of_the_user
from zflow.wire.header import Message

DONE = 0
NOT_STARTED = StartError.exit_code
BROKEN = 70  # EX_SOFTWARE of sysexits.h: serving ended by an exception that nobody expected
_PATIENCE = 2.0  # seconds for a supervisor to hear the last words

PeerPlan = WorkerPlan | GatewayPlan | HeadPlan


def run(descriptor: int) -> int:
    """The life of a supervised child; `descriptor` is its end of the channel. Returns its exit code."""
    return live(Channel.of_descriptor(descriptor))


def live(channel: Channel, description: ExecutorDescription | None = None) -> int:
    """The same. description: of its Executor, where its parent has loaded that already."""
    try:
        words = first_words(channel)
    except EOFError:
        return DONE  # nobody wants us any more

    def plan_of() -> PeerPlan:
        plan: PeerPlan = parcel.unpack(words["plan"])
        if isinstance(plan, WorkerPlan) and (description is not None or words["executor"]):
            plan = plan._replace(description=description or parcel.unpack(words["executor"]))
        return plan

    return live_as(words, channel, plan_of)


def live_as(words: Words, channel: Channel, plan_of: Callable[[], PeerPlan]) -> int:
    """The same for who has heard `words`, and can say by which plan it shall live."""
    log = _take_place(words)
    directory = Directory(words["addresses"], words["replicas"])
    hearing = Hearing(channel, directory, log)
    lifeline = Lifeline(channel, log, hear=hearing.hear)
    lifeline.leave = lambda: _remove_socket(words["bind"], lifeline.was_abandoned)
    try:
        plan = plan_of()
        if isinstance(plan, WorkerPlan) and plan.container is not None:
            return _attend(plan, words, channel, lifeline, log)
        if isinstance(plan, WorkerPlan) and words["may_join"] and has_preload(plan.description.find_class()):
            return _ask_to_come_again(lifeline, channel)
        reactor = _make_peer(plan, words["bind"], directory, lifeline, log, words["note"])
    except BaseException as error:
        code = _tell_failure(error, lifeline, channel)
    else:
        hearing.reactor = reactor
        made_of = {"sources": sources_of(plan.description)} if isinstance(plan, WorkerPlan) and plan.reload else {}
        if words["is_shared"]:
            os.chmod(words["bind"].removeprefix("ipc://"), 0o666)  # callers may be somebody else outside
        log.debug("serving at %s", reactor.address)  # before anybody can say that the Flow is ready
        channel.send({"ready": reactor.address, "pid": os.getpid(), **made_of})
        code = _serve(reactor, log)
        log.debug("ending, with the exit code %d", code)
    lifeline.end()
    lifeline.leave()
    return code


def _attend(plan: WorkerPlan, words: Words, channel: Channel, lifeline: Lifeline, log: Log) -> int:
    from zflow.processes.attendant import attend  # few need it, and all children share what is imported above

    return attend(plan, words, channel, lifeline, log)


def _ask_to_come_again(lifeline: Lifeline, channel: Channel) -> int:
    """Nobody knew before it was imported that this class has a `preload`: it is for a process to be born after that."""
    channel.send({"again": "family", "because": ""})
    channel.flush(_PATIENCE)
    lifeline.end()
    lifeline.leave()
    return DONE


def serve_worker(plan: WorkerPlan, *, log: Log | None = None) -> int:
    """Serve one Executor in the foreground until SIGTERM or SIGINT. Returns an exit code.

    plan.bind: where; None for a loopback port that the kernel chooses. Raises PortInUse, ConfigError, and whatever
    the Executor raises while it is made.
    """
    return _serve_in_foreground(plan, plan.bind or "tcp://127.0.0.1:0", log)


def serve_gateway(plan: GatewayPlan, *, log: Log | None = None) -> int:
    """Serve a gateway to external Executors in the foreground until SIGTERM or SIGINT. Returns an exit code."""
    return _serve_in_foreground(plan, plan.bind, log)


def serve_head(plan: HeadPlan, *, log: Log | None = None) -> int:
    """Serve a head before processes that run elsewhere, as `serve_gateway` does a gateway."""
    return _serve_in_foreground(plan, plan.bind, log)


def _serve_in_foreground(plan: PeerPlan, bind: str, log: Log | None) -> int:
    log = log or logs.take_over(plan.name, plan.voice)
    placement = placement_of(plan)
    os.environ.update(common_env(plan))  # before user code and what it imports; an interpreter has read its own already
    for line in lines_about([plan]):
        log.info("%s", line)
    notifier = Notifier.of_environment()
    _settle(placement)
    lifeline = Lifeline(None, log)
    try:
        reactor = _make_peer(plan, bind, Directory(), lifeline, log)
        lifeline.serve(partial(_stop, notifier, reactor))
        log.info("serving at %s", reactor.address)
        notifier.ready(f"serving at {reactor.address}")
        notifier.watch(reactor.ask)
        return _serve(reactor, log)
    finally:
        notifier.close()
        lifeline.end()


def _stop(notifier: Notifier, reactor: Reactor, grace: float) -> None:
    notifier.stopping()
    reactor.stop(grace)


# -- a peer --------------------------------------------------------------------------------------------------------


def _make_peer(
    plan: PeerPlan, bind: str, directory: Directory, lifeline: Lifeline, log: Log, note: str = ""
) -> Reactor:
    """The peer of `plan`, built and bound, ready to run. note: the path where a worker notes what it runs."""
    if isinstance(plan, WorkerPlan):
        reactor = _make_worker(plan, bind, lifeline, log, note)
    elif isinstance(plan, HeadPlan):
        _find([plan.node], plan.identity, directory)
        head = head_peer_role(plan.node, name=plan.name, bind=bind, has_keys=bool(plan.keys))
        tell_of_strangers = partial(log.warning, "%s")
        _let_tell(head.door, log)
        reactor = Reactor(head, bind=bind, directory=directory, keys=plan.keys, report=tell_of_strangers)
    else:
        _find(plan.nodes, plan.identity, directory)
        tell = partial(_tell_floating, log)
        role = gateway_role(
            plan.topology,
            plan.nodes,
            name=plan.name,
            bind=bind,
            has_keys=bool(plan.keys),
            on_floating_failure=tell,
        )
        _let_tell(role.door, log)
        reactor = Reactor(role, bind=bind, directory=directory, keys=plan.keys, report=partial(log.warning, "%s"))
    lifeline.serve(reactor.stop)
    return reactor


def _find(nodes: Sequence[NodePlan], identity: str, directory: Directory) -> None:
    """Have `directory` know where those of `nodes` are that run elsewhere, from now on."""
    for link, address in external_addresses(nodes).all().items():
        directory.set(link, address)
    trust(directory, nodes, identity)
    Resolver(directory, nodes).start()


def _make_worker(plan: WorkerPlan, bind: str, lifeline: Lifeline, log: Log, note: str) -> Reactor:
    # First the Executor, then the sockets: what its __init__ forks must not inherit them.
    executor = plan.description.build(plan.runtime_args)
    lifeline.keep(executor.close)
    noted = note_at(note)  # not before the Executor is made: one that cannot be must leave what the last one noted
    tell = partial(log.info, "%s")
    user_code = local_end(executor, name=plan.name, report=log.failure, remark=tell, noted=noted)
    lifeline.keep(lambda: _close(user_code, executor, noted))
    role = worker_role(
        plan.name,
        executor,
        bind=plan.bind or bind,  # a port may be bound later than a private path: strangers will come by it all the same
        has_keys=bool(plan.keys),
        idempotent=plan.idempotent,
        max_concurrency=plan.max_concurrency,
        deaths=noted.deaths if noted is not None else None,
        weigh=user_code.weigh,
    )
    _let_tell(role.door, log, {"of": plan.name})
    return Reactor(
        role,
        bind=bind,
        executor=user_code,
        has_porter=user_code.has_porter,
        keys=plan.keys,
        report=partial(log.warning, "%s"),
    )


def _let_tell(door: FrontDoor, log: Log, only: Mapping[str, Any] = {}) -> None:
    """Have a peer tell the latest log lines of its family; a worker only its own."""
    book = log.book
    if book is not None:
        door.tell_log = lambda asked: book.read({**asked, **only})


def _close(user_code: UserCode, executor: Executor, noted: Note | None) -> None:
    """What methods left running ends first: it may still use what `close` takes apart."""
    try:
        user_code.close()
    finally:
        if noted is not None:
            noted.close()
        executor.close()


def _tell_floating(log: Log, node: str, outcome: Message) -> None:
    """Nobody waits for `node`, so that its failure is told here or nowhere."""
    try:
        log.error("%s, which is floating, failed: %s", node, error_of(outcome).args[0])
    except ProtocolError as error:
        log.error("%s, which is floating, failed, and its reason cannot be read: %s", node, error)


def _serve(reactor: Reactor, log: Log) -> int:
    try:
        reactor.run()
        return DONE
    except SystemExit as leaving:
        log.error("user code ended the process: %r", leaving)
        return leaving.code if isinstance(leaving.code, int) else 0 if leaving.code is None else 1
    except BaseException as error:
        log.failure(error)
        return BROKEN


# -- a child -------------------------------------------------------------------------------------------------------


def first_words(channel: Channel) -> Words:
    while True:
        for words in channel.receive(most=1):  # they may have been heard before we were born
            return words
        channel.wait()


def become(words: Words, name: str) -> Log:
    """Take the place that the Flow's own process asked for, as far as all processes of an Executor share it: its paths,
    its arguments, its variables. name: to be called by. Returns what it logs by."""
    os.environ.update(words["env"])
    sys.path[:] = words["sys_path"]
    sys.argv[:] = words["argv"]
    quiet, quiet_error, config = words["voice"]
    log = logs.take_over(name, Voice(quiet, quiet_error, LogConfig(**config)), words["level"], words["log_folder"])
    logging.captureWarnings(True)
    threading.excepthook = partial(_tell_of_thread, log)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # a print must be seen when it is made, into a pipe as well
    with contextlib.suppress(RuntimeError, ValueError):  # without a stderr
        faulthandler.enable()  # a crash in C code shows the line of Python that led to it
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text(name[:15])
    return log


def _tell_of_thread(log: Log, ended: threading.ExceptHookArgs) -> None:
    """A thread that user code has started ended by an exception."""
    if ended.exc_value is not None and ended.exc_type is not SystemExit:
        log.failure(ended.exc_value)


def _take_place(words: Words) -> Log:
    """Become this very process."""
    log = become(words, words["name"])
    _settle(Placement(words["own_env"], tuple(words["cores"])))
    random = sys.modules.get("numpy.random")
    if random is not None:
        random.seed()  # siblings forked from one state would all draw the same numbers
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(words["oom_score_adj"]))
    return log


def _settle(placement: Placement) -> None:
    """Before there is a thread: they stay where the first one is."""
    os.environ.update(placement.env)
    keep_on(placement.cores)
    if placement.cores:
        limit_loaded(len(placement.cores))


def _tell_failure(error: BaseException, lifeline: Lifeline, channel: Channel) -> int:
    if isinstance(error, SystemExit) and lifeline.is_asked:
        return TERMINATED
    channel.send(last_words(error))
    channel.flush(_PATIENCE)
    return error.exit_code if isinstance(error, ZflowError) else NOT_STARTED


def last_words(error: BaseException) -> Words:
    """What a child says that cannot start."""
    return {"failed": type(error).__name__, "message": str(error), "traceback": of_the_user(error)}


def _remove_socket(bind: str, was_abandoned: Callable[[], bool]) -> None:
    """A socket file outlives its socket. A directory without an owner is removed by the last one to leave."""
    if bind.startswith("ipc://"):
        path = bind.removeprefix("ipc://")
        with contextlib.suppress(OSError):
            os.unlink(path)
        remove_box(box_of(bind))
        if was_abandoned():
            remove_if_left(os.path.dirname(path))
