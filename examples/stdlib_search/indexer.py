"""An Executor that keeps Documents in memory and finds the nearest ones, exactly."""

from __future__ import annotations

from typing import Any

from zflow import DocumentArray, Executor, requests


class Indexer(Executor):
    """A few thousand embeddings are one small matrix: comparing a question with each takes a millisecond."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._stored = DocumentArray()

    @requests(on="/index")
    def index(self, docs: DocumentArray, **kwargs: object) -> None:
        """Keeps the Documents; they need an embedding."""
        self._stored.extend(docs)

    @requests(on="/search")
    def search(self, docs: DocumentArray, parameters: dict[str, Any], **kwargs: object) -> None:
        """Gives each Document its `top_k` (3) nearest stored ones as `matches`, with the distance (0 to 2) as score."""
        if docs:
            docs.match(self._stored, limit=parameters.get("top_k", 3), metric="cosine")

    @requests(on="/status")
    def status(self, **kwargs: object) -> dict[str, int]:
        return {"count": len(self._stored)}
