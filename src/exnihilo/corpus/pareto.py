"""GPT-3's soft threshold (arXiv 2005.14165, appendix A): the better a text scores, the more probably it stays.

A text stays where a draw from a Lomax distribution is above 1 - score: with probability (2 - score) ** -shape, which is
1 of the best and, at the shape 9, 0.026 at a score of 0.5 and 0.002 at 0. So what the classifier doesn't know keeps a
chance. The draw is a hash of the document's id and the seed: no counter, so no order, shard or worker changes it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xxhash

from exnihilo.core.seeds import derive
from exnihilo.corpus.checks import Bools, Float64

SHAPE = 9.0


def pareto_keeps(ids: Sequence[str], scores: Float64, seed: int, shape: float = SHAPE) -> Bools:
    """Which documents stay, bool[n], by their scores in [0, 1]."""
    kept: Bools = draws(ids, seed, shape) > 1 - scores
    return kept


def draws(ids: Sequence[str], seed: int, shape: float = SHAPE) -> Float64:
    """The Lomax draw of each document, float64[n]."""
    stream = derive(seed, "pareto")
    hashed = [xxhash.xxh3_64_intdigest(identity.encode("utf-8"), stream) for identity in ids]
    uniform = (np.array(hashed, dtype=np.uint64).astype(np.float64) + 0.5) / 2.0**64
    lomax: Float64 = uniform ** (-1 / shape) - 1
    return lomax
