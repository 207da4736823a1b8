"""How close MiniLM is to the model it stands for: published similarities, and PyTorch where it is installed.

    python check_model.py            compares with the similarities that sentence-transformers' documentation prints
    python check_model.py --torch    runs the same weights in PyTorch, too (pip install torch transformers)

Both read the same folder; nothing is downloaded. The exit code is 1 if a published digit or the tolerance is missed.
"""

from __future__ import annotations

import argparse
import importlib
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from minilm import Floats, MiniLM, model_folder

# What the documentation of sentence-transformers prints for all-MiniLM-L6-v2, to four digits:
# (source, texts on the left, texts on the right, similarities).
PUBLISHED: list[tuple[str, list[str], list[str], list[list[float]]]] = [
    (
        "sbert.net/docs/sentence_transformer/usage/usage.html",
        ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."],
        ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."],
        [[1.0, 0.6660, 0.1046], [0.6660, 1.0, 0.1411], [0.1046, 0.1411, 1.0]],
    ),
    (
        "sbert.net/docs/sentence_transformer/usage/semantic_textual_similarity.html",
        ["The new movie is awesome", "The cat sits outside", "A man is playing guitar"],
        ["The dog plays in the garden", "The new movie is so great", "A woman watches TV"],
        [[0.0543, 0.8939, -0.0502], [0.2838, -0.0029, 0.1310], [0.2277, -0.0136, -0.0327]],
    ),
]
LAST_DIGIT = 0.5e-4 + 1e-6  # half a unit of the fourth digit, and float32's rounding
TORCH_TOLERANCE = 1e-5
WORDS = (
    "a search engine finds text by meaning and not by the words it is written with so that naïve café 東京 "
    "numbers like 3.14159 and code such as os.path.join() all have a place near what they are about"
).split()


def varied_texts() -> list[str]:
    """Fifty texts of none to 400 words; the longest are cut by the model."""
    lengths = [*range(40), 50, 60, 80, 100, 120, 150, 200, 250, 300, 400]
    return [
        " ".join(WORDS[(start + place) % len(WORDS)] for place in range(length)) for start, length in enumerate(lengths)
    ]


def published_difference(model: MiniLM) -> float:
    """The largest difference from the published similarities; each source is printed with its own."""
    worst = 0.0
    for source, left, right, expected in PUBLISHED:
        difference = float(np.abs(model.encode(left) @ model.encode(right).T - np.array(expected)).max())
        print(f"{source}: {len(left) * len(right)} similarities, largest difference {difference:.6f}")
        worst = max(worst, difference)
    return worst


def torch_embeddings(texts: Sequence[str]) -> Floats:
    """What transformers gives for the same folder, one text at a time, with the pooling of the model's own README."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    torch: Any = importlib.import_module("torch")  # this way nothing asks for it unless --torch does
    transformers: Any = importlib.import_module("transformers")
    folder = str(model_folder())
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    rows = []
    with torch.no_grad():
        for text in texts:
            tokens = tokenizer(text, truncation=True, max_length=256, return_tensors="pt")
            mean = model(**tokens)[0].mean(dim=1)
            rows.append(torch.nn.functional.normalize(mean, p=2, dim=1)[0].numpy())
    return np.stack(rows)


def torch_difference(model: MiniLM) -> float:
    """The largest difference of any embedding number and of any similarity between fifty texts."""
    texts = varied_texts()
    ours, theirs = model.encode(texts), torch_embeddings(texts)
    numbers, similarities = np.abs(ours - theirs).max(), np.abs(ours @ ours.T - theirs @ theirs.T).max()
    print(
        f"PyTorch: {len(texts)} texts; largest difference of a number {numbers:.1e}, of a similarity {similarities:.1e}"
    )
    return float(max(numbers, similarities))


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare the numpy MiniLM with the published one.")
    parser.add_argument("--torch", action="store_true", help="run the weights in PyTorch too")
    wanted = parser.parse_args()
    model = MiniLM.load()
    close = published_difference(model) <= LAST_DIGIT
    if wanted.torch:
        close = torch_difference(model) <= TORCH_TOLERANCE and close
    print("as close as float32 allows" if close else "NOT the same model")
    return 0 if close else 1


if __name__ == "__main__":
    raise SystemExit(main())
