"""The Executors that zflow serves in the measurements: what the floor's workers do, written as a user writes it."""

from __future__ import annotations

from zflow import DocumentArray, Executor, requests


class Upper(Executor):
    """Sets every text, one document after the other."""

    @requests
    def upper(self, docs: DocumentArray, **_: object) -> None:
        for doc in docs:
            doc.text = doc.text.upper()


class Echo(Executor):
    """Gives back what it gets."""

    @requests
    def echo(self, docs: DocumentArray, **_: object) -> DocumentArray:
        return docs
