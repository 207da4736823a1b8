"""What is measured and what it shall cost: every case of the suite once, its targets as data, no measured figures.

The targets are those of the design. Where the design names an absolute time, it was measured on one machine only; what
carries over is the ratio between that time and the floor measured beside it, so that ratio is what a case is compared
with. `limit` keeps the absolute figure where the design demands it of any machine (import, start, memory).
"""

from __future__ import annotations

from dataclasses import dataclass

TEXT = "a text of 20 letters"
UPPER_TEXT = TEXT.upper()
IN_FLIGHT = 64
MANY_DOCUMENTS = 1_000
MEBIBYTE = 1 << 20
REPLICAS = 4
NAP_S = 0.005
BATCH = 32
PER_DOCUMENT_S = 0.0001
CLIENTS = 16
EXECUTORS_AT_ONCE = 20
WEIGHTS_MB = 200
# The graphs: each Executor with what it needs.
SHAPES: dict[str, tuple[tuple[str, tuple[str, ...]], ...]] = {
    "one": (("first", ("gateway",)),),
    "row": (("first", ("gateway",)), ("second", ("first",)), ("third", ("second",))),
    "branches": (("first", ("gateway",)), ("second", ("gateway",)), ("join", ("first", "second"))),
}


@dataclass(frozen=True)
class Case:
    """One line of the table.

    `floor` says what zflow is compared with; empty where there is nothing to compare. `ratio` is the target for zflow
    divided by the floor of the same run, `limit` an absolute target in `unit`. `block` is how many questions are asked
    on one side before the other has its turn.
    """

    key: str
    title: str
    floor: str
    unit: str = "us"
    more_is_better: bool = False
    ratio: float | None = None
    limit: float | None = None
    block: int = 200

    @property
    def workload(self) -> str:
        """The name to select it by: W1, W2 ... start, codec."""
        return self.key.split("-")[0]


CASES = {
    case.key: case
    for case in (
        Case("W1-inline", "W1 one document, Flow.post", "ipc, one hop", ratio=1.25),
        Case("W1-gateway", "W1 one document, Client through the gateway", "tcp then ipc, two hops", ratio=1.25),
        Case("W2-gateway", "W2 documents per second, 64 in flight, through the gateway", "tcp then ipc, two hops",
             unit="/s", more_is_better=True, ratio=0.75, block=1_000),
        Case("stream-gateway", "items per second of one streamed answer, through the gateway", "no back-pressure",
             unit="/s", more_is_better=True, ratio=0.5, block=10_000),
        # 2 ms with a loop over the documents in user code, where the floor's columns needed 0.76 ms.
        Case("W3-gateway", "W3 1000 documents in one request, through the gateway", "columns; tcp then ipc",
             ratio=2.6, block=40),
        # The design's targets (0.5 and 7 ms) are a third of what frames cost it: they ask for shared memory.
        Case("W4-1MiB", "W4 array of 1 MiB, through the gateway", "frames by reference; tcp then ipc",
             ratio=0.35, block=40),
        Case("W4-16MiB", "W4 array of 16 MiB, through the gateway", "frames by reference; tcp then ipc",
             ratio=0.35, block=5),
        Case("W7-inline", "W7 requests per second, 4 replicas of a 5 ms sleep (ideal: 800), 16 in flight",
             "two in flight per replica", unit="/s", more_is_better=True, ratio=0.97, limit=740.0, block=1_200),
        Case("W7-limping", "W7 where one of the 4 replicas takes 500 ms instead of 5 (ideal: 600)", "", unit="/s",
             more_is_better=True, limit=420.0, block=400),
        # The ideal is a model that never waits: 32 documents in 5 ms + 32 x 0.1 ms. Where there is an ideal, a block is
        # long: it begins and ends with nothing in flight, which is not what is to be measured.
        Case("batch-gateway", "documents per second, batched by 32 for a model of 5 ms + 0.1 ms each (ideal: 3902)",
             "two in flight per batch; tcp then ipc", unit="/s", more_is_better=True, limit=3512.0, block=6_000),
        Case("W5-inline", "W5 three Executors in a row, Flow.post", "ipc, a star by the caller", ratio=1.25, block=100),
        Case("W6-inline", "W6 two branches and a join, Flow.post", "ipc, a star by the caller", ratio=1.25, block=100),
        Case("start-import", "import zflow", "import numpy", unit="ms", limit=60.0, ratio=0.56, block=1),
        Case("start-answer", "start of a Flow to its first answer", "one fresh process, one question", unit="ms",
             limit=350.0, block=1),
        Case("start-twenty", "start of 20 Executors until all are ready", "20 forks of a process with all imports",
             unit="ms", limit=600.0, block=1),
        Case("start-memory", "memory of each further worker (PSS)", "the same forks", unit="MB", limit=5.0, block=1),
        Case("weights-memory", "memory of 4 replicas that share 200 MB of weights (PSS of all processes)",
             "one replica that has loaded them itself", unit="MB", ratio=1.3, block=1),
        Case("weights-start", "start of 4 replicas that share 200 MB of weights", "one replica that loads them itself",
             unit="ms", ratio=1.3, block=1),
        Case("codec-header", "codec: header of a request, encode, decode", "msgpack array", block=1_000),
        Case("codec-one", "codec: one document, encode, decode, read", "msgpack columns", block=500),
        Case("codec-many", "codec: 1000 documents, encode, decode, all texts", "msgpack columns", block=20),
        Case("codec-loop", "codec: 1000 documents, encode, decode, loop, set, encode", "msgpack columns", block=20),
        Case("codec-array", "codec: array of 1 MiB, encode, decode", "msgpack and numpy.frombuffer", block=200),
        Case("roles-one", "roles: one Executor, without sockets", "", block=500),
        Case("roles-row", "roles: three Executors in a row, without sockets", "", block=200),
        Case("roles-branches", "roles: two branches and a join, without sockets", "", block=200),
    )
}  # fmt: skip


def select(names: list[str]) -> list[Case]:
    """The cases whose workload or key is in `names`, in any case; all for none. LookupError names an unknown one."""
    if not names:
        return list(CASES.values())
    wanted = {name.lower() for name in names}
    known = {case.workload.lower() for case in CASES.values()} | {key.lower() for key in CASES}
    if unknown := sorted(wanted - known):
        workloads = dict.fromkeys(case.workload for case in CASES.values())
        raise LookupError(f"there is no workload {', '.join(unknown)}; the workloads are {', '.join(workloads)}")
    return [case for key, case in CASES.items() if {key.lower(), case.workload.lower()} & wanted]
