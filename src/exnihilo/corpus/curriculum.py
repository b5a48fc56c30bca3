"""Documents ordered by their ids, by chance, or by a score, from easy to hard or the other way round.

Every order is a permutation, int64 [documents]: which of the documents given comes first, second and so on. It depends
on ids, scores and seed, never on the order in which documents are given.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from exnihilo.core.errors import ConfigError, Refused
from exnihilo.core.seeds import derive
from exnihilo.tokens.order import Permutation

Int64Array = npt.NDArray[np.int64]


def by_id(ids: Sequence[str]) -> Int64Array:
    """The documents by their ids, compared by code points.

    Raises:
        Refused: two documents have one id, so that nothing would say which comes first.
    """
    order = sorted(range(len(ids)), key=ids.__getitem__)
    for one, other in itertools.pairwise(order):
        if ids[one] == ids[other]:
            raise Refused(f"documents {one} and {other} have the same id {ids[one]!r}; give each its own")
    return np.array(order, dtype=np.int64)


def shuffled(ids: Sequence[str], seed: int) -> Int64Array:
    """The documents in random order.

    Raises:
        Refused: as `by_id`.
    """
    return _shuffle(by_id(ids), derive(seed, "shuffled"))


def by_score(ids: Sequence[str], scores: npt.ArrayLike, *, descending: bool = False) -> Int64Array:
    """The documents by their scores, float [documents]; those with one score by their ids, ascending.

    Raises:
        Refused: as `by_id`; as many scores as there are not documents; or a score that is not a number.
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.shape != (len(ids),):
        raise Refused(f"scores of shape {values.shape} for {len(ids)} documents; give one for each")
    if np.isnan(values).any():
        bad = int(np.isnan(values).argmax())
        raise Refused(f"document {ids[bad]!r} has the score nan; score it, or leave it out")
    order = by_id(ids)
    return order[np.argsort(-values[order] if descending else values[order], kind="stable")]


def in_buckets(
    ids: Sequence[str], scores: npt.ArrayLike, buckets: int, seed: int, *, descending: bool = False
) -> Int64Array:
    """The documents by the quantile of their scores, in random order within each of `buckets` equal parts.

    The parts differ by one document at most; the border may fall among equal scores, which `by_score` orders.

    Raises:
        ConfigError: no bucket, or more than documents.
        Refused: as `by_score`.
    """
    if not 1 <= buckets <= len(ids):
        raise ConfigError(f"buckets = {buckets} for {len(ids)} documents: from 1 to as many as documents")
    parts = np.array_split(by_score(ids, scores, descending=descending), buckets)
    return np.concatenate([_shuffle(part, derive(seed, "bucket", i)) for i, part in enumerate(parts)])


def _shuffle(order: Int64Array, seed: int) -> Int64Array:
    return order[Permutation(len(order), seed).all()] if len(order) else order
