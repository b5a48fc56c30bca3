"""Names of where tokens come from, few enough to tell the loss of each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from exnihilo.tokens.shards import TokenSet

MOST = 24
"""Sources that are told apart: each is two numbers of every step, and a line in a chart."""
OTHER = "other"
SAMPLE = 2_000_000

Int64Array = npt.NDArray[np.int64]


def by_amount(labels: Sequence[str], amounts: Sequence[float]) -> tuple[list[str], Int64Array]:
    """(names, index of each label's name): the `MOST` with the largest amounts in the order of their names,
    and `OTHER` for the rest."""
    totals: dict[str, float] = {}
    for label, amount in zip(labels, amounts, strict=True):
        totals[label] = totals.get(label, 0.0) + amount
    largest = sorted(totals, key=lambda label: (-totals[label], label))[:MOST]
    names = sorted(largest)
    place = {name: i for i, name in enumerate(names)}
    if len(totals) > len(names) and OTHER not in place:
        place[OTHER] = len(names)
        names.append(OTHER)
    return names, np.array([place.get(label, place.get(OTHER, 0)) for label in labels], dtype=np.int64)


def unigram_nats(sets: Sequence[TokenSet]) -> float:
    """Entropy of single tokens in nats: the loss of a model that knows how often each token occurs, and nothing
    else. Taken from the first two million tokens of each set."""
    counts = np.zeros(max(tokens.vocab_size for tokens in sets))
    for tokens in sets:
        ids = tokens.take(np.arange(min(tokens.tokens, SAMPLE)))
        counts += np.bincount(ids, minlength=len(counts))
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())
