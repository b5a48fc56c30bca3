"""Comparisons of random answers, for tests of objectives on them."""

from __future__ import annotations

import torch

from exnihilo.examples.preferences import Pair
from exnihilo.model.config import DecoderConfig
from exnihilo.tokens.comparisons import Comparison

CONFIG = DecoderConfig(
    vocab_size=64, width=24, depth=2, heads=2, kv_heads=2, head_dim=12, hidden=32, tied=True, max_length=64
)
END = 7


def make_comparisons(count: int = 7) -> list[Comparison]:
    generator = torch.Generator().manual_seed(1)

    def ids(n: int) -> list[int]:
        return torch.randint(8, 64, (n,), generator=generator).tolist()

    found = []
    for i in range(count):
        prompt, sizes = ids(4), [2 + (i + k) % 5 for k in range(2 + i % 3)]
        answers = tuple(([*prompt, *ids(n), END], [False] * 4 + [True] * (n + 1)) for n in sizes)
        pairs = tuple(
            Pair(a, b, margin=0.1 * a, certainty=0.9, aspect=i % 2)
            for b in range(len(sizes))
            for a in range(b)
        )
        found.append(Comparison(answers, pairs))
    return found
