"""The Executors that zflow serves in the measurements: what the floor's workers do, written as a user writes it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from bench.workloads import BATCH, NAP_S, PER_DOCUMENT_S, UPPER_TEXT, WEIGHTS_MB
from zflow import Document, DocumentArray, Executor, dynamic_batching, requests


class Upper(Executor):
    """Sets every text, one document after the other."""

    @requests
    def upper(self, docs: DocumentArray, **_: object) -> None:
        for doc in docs:
            doc.text = doc.text.upper()


class Repeatable(Executor):
    """As Upper, and harmless to run twice. work_ms: how long a call does nothing besides."""

    def __init__(self, work_ms: float = 0.0, **more: Any) -> None:
        super().__init__(**more)
        self._work = work_ms / 1000

    @requests(idempotent=True)
    def upper(self, docs: DocumentArray, **_: object) -> None:
        if self._work:
            time.sleep(self._work)
        docs.texts = [text.upper() for text in docs.texts]


class Items(Executor):
    """Yields as many documents as it is asked for."""

    @requests
    def items(self, parameters: dict[str, Any], **_: object) -> Iterator[Document]:
        for number in range(parameters["count"]):
            yield Document(id=f"{number:032x}", text=UPPER_TEXT)


class Nap(Executor):
    """Does nothing for a while."""

    @requests
    def nap(self, **_: object) -> None:
        time.sleep(NAP_S)


class Limping(Executor):
    """Its first replica is 100 times slower than the others."""

    @requests
    def nap(self, **_: object) -> None:
        time.sleep(NAP_S if self.runtime_args.replica_id else 100 * NAP_S)


class Model(Executor):
    """Costs as much for a batch as for one, nearly; sets the text of each."""

    @dynamic_batching(preferred_batch_size=BATCH, timeout=20)
    @requests
    def run(self, docs: DocumentArray, **_: object) -> None:
        time.sleep(NAP_S + PER_DOCUMENT_S * len(docs))
        docs.texts = [text.upper() for text in docs.texts]


class Echo(Executor):
    """Gives back what it gets."""

    @requests
    def echo(self, docs: DocumentArray, **_: object) -> DocumentArray:
        return docs


def weights() -> Any:
    """What a model brings: made, not read, so that no disk is measured."""
    import numpy  # no other workload needs it here

    return numpy.arange(WEIGHTS_MB * 1_000_000 // 8, dtype=numpy.float64)


class Shares(Upper):
    """Loads its weights once for all replicas."""

    @classmethod
    def preload(cls) -> None:
        cls.weights = weights()


class Owns(Upper):
    """Loads its weights in every replica."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.weights = weights()
