"""The encoder as `zflow executor --uses encoder.yml` finds it, and what it does to Documents."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tokenizers", reason="examples/stdlib_search/requirements.txt is not installed")
pytest.importorskip("safetensors", reason="examples/stdlib_search/requirements.txt is not installed")

import encoder
import minilm

from zflow import Document, DocumentArray, Executor

YAML = Path(encoder.__file__).with_name("encoder.yml")


@pytest.fixture(scope="module")
def loaded() -> Executor:
    try:
        minilm.model_folder()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    return Executor.load_config(str(YAML))


def test_every_document_gets_the_embedding_of_its_text(loaded: Executor) -> None:
    docs = DocumentArray([Document(text="copy a file"), Document(text="")])
    loaded.encode(docs)
    assert docs.embeddings.shape == (2, 384)
    assert np.allclose(np.linalg.norm(docs.embeddings, axis=1), 1, atol=1e-6)
    assert np.allclose(docs[0].embedding, loaded.model.encode(["copy a file"])[0], atol=1e-6)


def test_no_documents_are_no_fault(loaded: Executor) -> None:
    loaded.encode(DocumentArray())


def test_the_yaml_names_this_class(loaded: Executor) -> None:
    assert type(loaded).__name__ == "TextEncoder"
    assert loaded.metas.name == "encoder"
