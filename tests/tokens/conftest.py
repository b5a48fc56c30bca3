from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exnihilo.tokens.shards import TokenSet
from exnihilo.tokens.writer import TokenSetWriter

BOS, EOS = 0, 1


@pytest.fixture
def make_tokens(tmp_path: Path) -> Callable[..., TokenSet]:
    """make_tokens(lengths, name=…): documents `bos content… eos`, their content `first`, `first + 1`, …"""

    def make(
        lengths: list[int],
        name: str = "tokens",
        *,
        first: int = 2,
        vocab_size: int = 1 << 20,
        fingerprint: str = "f" * 64,
        shard_tokens: int = 1 << 27,
    ) -> TokenSet:
        fresh = first
        with TokenSetWriter(
            tmp_path / name, vocab_size=vocab_size, tokenizer=fingerprint, shard_tokens=shard_tokens
        ) as writer:
            for length in lengths:
                ids = [BOS, *range(fresh, fresh + length - 2), EOS]
                fresh += length - 2
                writer.write("train", ids, 3 * length, "made up")
        return TokenSet.open(tmp_path / name)

    return make


@pytest.fixture
def ragged() -> list[int]:
    """Lengths of 60 documents, from 2 to 90 tokens."""
    return np.random.default_rng(0).integers(2, 91, size=60).tolist()


def forked(function: Callable[[], Any]) -> Any:
    """What `function` returns in a process of its own."""
    import multiprocessing

    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=lambda: sender.send(function()))
    process.start()
    sender.close()
    try:
        return receiver.recv()
    finally:
        process.join(20)


@pytest.fixture
def in_process() -> Callable[[Callable[[], Any]], Any]:
    return forked
