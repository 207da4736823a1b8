"""Search the Python standard library by meaning: a standalone encoder, tapped by a Flow that adds an Indexer.

    python main.py [--port-in 12345]

starts `zflow executor --uses encoder.yml --port-in 12345`, waits until it answers a ping, indexes the docstrings of
the running Python through `encoder -> indexer`, asks the questions of questions.yml, prints what came back and the
share answered in the first three, and ends the encoder however the demo itself ends. The exit code is 1 if fewer than
FLOOR questions were answered.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from functions import Function, public_functions
from indexer import Indexer
from questions import Question, load_questions

from zflow import Document, DocumentArray, Flow

HERE = Path(__file__).resolve().parent
TOP = 3
FLOOR = 8  # of 20; with the docstrings of Pythons 3.10 to 3.13 it is 9 to 12, so that fewer means a fault
READY_WITHIN = 60.0  # seconds to start a Python, load 90 MB of weights and bind the port
GONE_WITHIN = 10.0  # seconds from SIGTERM to SIGKILL
PYTHON = f"Python {sys.version.split()[0]}"

Matches = list[tuple[str, float]]  # (name, cosine similarity), nearest first


class Stages:
    """Prints what each stage took."""

    def __init__(self) -> None:
        self._since = self._started = time.monotonic()

    def done(self, what: str) -> None:
        now = time.monotonic()
        print(f"{now - self._since:6.1f} s  {what}", flush=True)
        self._since = now

    def total(self) -> float:
        return time.monotonic() - self._started


@contextmanager
def encoder(port: int) -> Iterator[subprocess.Popen[bytes]]:
    """The standalone encoder, starting; gone when the block is left. SystemExit if the port is taken."""
    if is_taken(port):
        raise SystemExit(f"port {port} is taken; end what listens there, or choose another one with --port-in")
    # The model works on as many packs of text at once as there are cores; each product is to stay on its own core
    # (see minilm.py).
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "zflow", "executor", "--uses", str(HERE / "encoder.yml"), "--port-in", str(port)]
    process = subprocess.Popen(command, env=environment)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(GONE_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def is_taken(port: int) -> bool:
    """Whether somebody accepts connections on the port; then a ping would be answered, but not by our encoder."""
    try:
        socket.create_connection(("localhost", port), timeout=1).close()
    except OSError:
        return False
    return True


def wait_until_ready(process: subprocess.Popen[bytes], port: int) -> None:
    """Returns when the encoder answers a ping; SystemExit when it has ended or READY_WITHIN is over."""
    deadline = time.monotonic() + READY_WITHIN
    ping = [sys.executable, "-m", "zflow", "ping", f"localhost:{port}", "--attempts", "1"]
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"the encoder ended with exit code {process.returncode}; it said why above")
        # A ping that fails is expected until the last one, and what it says is no news.
        answer = subprocess.run(ping, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        if answer.returncode == 0:
            return
    raise SystemExit(f"the encoder did not answer a ping on port {port} within {READY_WITHIN:.0f} s")


def documents(functions: Sequence[Function]) -> DocumentArray:
    return DocumentArray([Document(text=function.text, tags={"name": function.name}) for function in functions])


def matches_of(query: Document) -> Matches:
    return [(match.tags["name"], 1 - match.scores["cosine"].value) for match in query.matches]


def row(question: Question, matches: Matches) -> str:
    """Two lines: the question with its mark, and the matches with their similarity; a star marks an answer."""
    mark = "+" if question.answered_by(name for name, _ in matches) else "-"
    cells = [f"{similarity:.2f} {name}{'*' if name in question.accept else ''}" for name, similarity in matches]
    return f"{mark} {question.ask}\n      {'   '.join(cells)}"


def report(questions: Sequence[Question], found: Sequence[Matches]) -> int:
    """Prints the table and the share; the number of questions answered."""
    hits = sum(
        question.answered_by(name for name, _ in matches) for question, matches in zip(questions, found, strict=True)
    )
    print(f"\n+ answered in the first {TOP}, - not; * a function that answers\n")
    print("\n".join(row(question, matches) for question, matches in zip(questions, found, strict=True)))
    print(f"\n{hits} of {len(questions)} questions answered in the first {TOP}: {hits / len(questions):.0%}")
    return hits


def search(port: int) -> int:
    """The whole demo; the number of questions answered."""
    stages, questions = Stages(), load_questions()
    with encoder(port) as process:
        functions, modules = public_functions()  # while the encoder starts
        stages.done(f"collected {len(functions)} documented public functions from {modules} modules of {PYTHON}")
        wait_until_ready(process, port)
        stages.done(f"waited for the encoder on port {port}")
        flow = Flow().add(name="encoder", host="localhost", port_in=port, external=True)
        with flow.add(name="indexer", uses=Indexer) as flow:
            stages.done("started the Flow")
            flow.index(inputs=documents(functions), request_size=64, show_progress=True)
            [status] = flow.post("/status", target_executor="indexer", return_responses=True)
            [counted] = status.results.values()
            stages.done(f"indexed {counted['count']} docstrings")
            queries = DocumentArray([Document(text=question.ask) for question in questions])
            answers = flow.search(inputs=queries, parameters={"top_k": TOP}, results_in_order=True)
            stages.done(f"answered {len(answers)} questions")
        found = [matches_of(answer) for answer in answers]
    stages.done("ended the Flow and the encoder")
    hits = report(questions, found)
    print(f"{stages.total():.1f} s in all")
    return hits


def main() -> int:
    parser = argparse.ArgumentParser(description="Search the Python standard library by meaning.")
    parser.add_argument("--port-in", type=int, default=12345, help="the port the encoder is started on (12345)")
    port = parser.parse_args().port_in
    # SIGTERM alone would end Python on the spot and leave the encoder behind.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    return 0 if search(port) >= FLOOR else 1


if __name__ == "__main__":
    raise SystemExit(main())
