"""An Executor that gives every Document the embedding of its text."""

from __future__ import annotations

from typing import Any

from minilm import MiniLM

from zflow import DocumentArray, Executor, requests


class TextEncoder(Executor):
    """Loads the model once, when the process starts; `max_tokens` and `threads` are those of MiniLM.load."""

    def __init__(self, max_tokens: int | None = None, threads: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model = MiniLM.load(max_tokens=max_tokens, threads=threads)

    @requests
    def encode(self, docs: DocumentArray, **kwargs: object) -> None:
        """Sets `embedding` (384 float32) of every Document; `/index` and `/search` alike come here."""
        docs.embeddings = self.model.encode(docs.texts)
