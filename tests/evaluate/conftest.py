"""A tokenizer, two small random models in folders, a corpus and questions, made once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from exnihilo.core.documents import CorpusWriter, Document
from exnihilo.model.decoder import Decoder
from exnihilo.model.folder import save_model
from exnihilo.tokenizer.bpe import train_tokenizer
from exnihilo.tokenizer.tokenizer import Tokenizer
from random_decoder import random_decoder

torch.set_num_threads(1)

TEXTS = [
    "def add(left, right):\n    return left + right\n",
    "A question, an answer; a question, an answer. `1 + 2` is `3`.\n",
    "床前明月光 疑是地上霜 naïve café\n",
]


def build_model(vocab_size: int, *, max_length: int = 48, seed: int = 0) -> Decoder:
    shape = {"width": 16, "kv_heads": 1, "head_dim": 8, "hidden": 24, "max_length": max_length}
    return random_decoder(vocab_size, noise=0.4, seed=seed, **shape).eval()


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return train_tokenizer(TEXTS * 3, 300)


@pytest.fixture(scope="session")
def model(tokenizer: Tokenizer) -> Decoder:
    return build_model(tokenizer.vocab_size)


@pytest.fixture(scope="session")
def broken_model(tokenizer: Tokenizer) -> Decoder:
    """One whose logits are all NaN."""
    broken = build_model(tokenizer.vocab_size)
    with torch.no_grad():
        broken.norm.weight.fill_(float("nan"))
    return broken


@pytest.fixture(scope="session")
def folders(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two model folders, `first` and `second`."""
    root = tmp_path_factory.mktemp("models")
    tokenizer.save(root / "tokenizer")
    for seed, name in enumerate(("first", "second")):
        save_model(build_model(tokenizer.vocab_size, seed=seed), root / "tokenizer", root / name)
    return {name: root / name for name in ("first", "second")}


@pytest.fixture(scope="session")
def documents() -> list[Document]:
    return [
        Document(f"d{i}", TEXTS[i % 3] * (i + 1), "code" if i % 3 == 0 else "prose", "CC0-1.0")
        for i in range(7)
    ]


@pytest.fixture(scope="session")
def corpus(documents: list[Document], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    with CorpusWriter(folder / "held_out") as writer:
        for document in documents:
            writer.write(document)
    return folder


def build_item(index: int, family: str, answer: str, question: str | None = None) -> dict[str, Any]:
    return {
        "id": f"{family}-{index}",
        "family": family,
        "messages": [{"role": "user", "content": question or f"What is `{index} + 1`?"}],
        "answer": answer,
        "verifier": {"kind": "code", "value": answer},
        "meta": {"family": family, "answer": answer},
    }


@pytest.fixture(scope="session")
def item() -> Callable[..., dict[str, Any]]:
    """`item(index, family, answer, question=None)`: a row of held_out.jsonl."""
    return build_item


@pytest.fixture(scope="session")
def write_items(tmp_path_factory: pytest.TempPathFactory) -> Callable[[list[dict[str, Any]]], Path]:
    """Writes rows as the held_out.jsonl of a new Examples folder."""

    def write(rows: list[dict[str, Any]]) -> Path:
        folder = tmp_path_factory.mktemp("items")
        write_rows(folder / "held_out.jsonl", rows)
        return folder

    return write


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture(scope="session")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 items of two families; in training "2" is the commonest answer to sums and "None" to the others."""
    folder = tmp_path_factory.mktemp("examples")
    held_out = [
        build_item(i, "sum" if i % 2 else "other", str(i + 1) if i % 2 else "None") for i in range(24)
    ]
    write_rows(folder / "held_out.jsonl", held_out)
    train = [("sum", "2"), ("sum", "2"), ("sum", "10"), ("sum", "10"), ("other", "True"), ("other", "None")]
    train += [("other", "None")]
    write_rows(
        folder / "train.jsonl",
        [{"messages": [], "meta": {"family": family, "answer": answer}} for family, answer in train],
    )
    return folder
