"""An order of documents cut into contexts, the texts that a model reads at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from exnihilo.core.seeds import derive
from exnihilo.corpus.neighbours import Neighbours
from exnihilo.tokens.order import Permutation

Int64Array = npt.NDArray[np.int64]


def contexts(paths: Sequence[Int64Array], sizes: Int64Array, budget: int) -> list[Int64Array]:
    """The paths one after another, cut into contexts of at most `budget` tokens.

    Documents stay whole: a context ends before the document that it doesn't hold, and a document above the budget has
    one of its own. A path's end ends no context, as in the paper, where a jump is an edge of weight 0.

    Args:
        paths: numbers of documents, such as from `in_context_paths`, or one random order.
        sizes: int64 [documents], tokens of each document.
    """
    return list(_filled((document for path in paths for document in path.tolist()), sizes, budget))


def nearest_contexts(found: Neighbours, sizes: Int64Array, budget: int, seed: int) -> list[Int64Array]:
    """The paper's baseline with repetition: a document, then its neighbours, the nearest first, as the budget allows.

    The documents that contexts begin with come in random order, until contexts hold as many tokens as all documents
    together. So some documents stand in many contexts and some in none.
    """
    result: list[Int64Array] = []
    wanted = int(sizes.sum())
    for document in Permutation(len(sizes), derive(seed, "nearest")).all() if len(sizes) else []:
        if wanted <= 0:
            break
        context = next(_filled([int(document), *found.ids[document].tolist()], sizes, budget))
        result.append(context)
        wanted -= int(sizes[context].sum())
    return result


def shuffled_contexts(contexts: Sequence[Int64Array], seed: int) -> list[Int64Array]:
    """The contexts in random order, each as it is: what is related stands in one context, not in one batch."""
    if not contexts:
        return []
    return [contexts[i] for i in Permutation(len(contexts), derive(seed, "contexts")).all()]


def _filled(documents: Iterable[int], sizes: Int64Array, budget: int) -> Iterator[Int64Array]:
    context: list[int] = []
    filled = 0
    for document in documents:
        size = int(sizes[document])
        if context and filled + size > budget:
            yield np.array(context, dtype=np.int64)
            context, filled = [], 0
        context.append(document)
        filled += size
    if context:
        yield np.array(context, dtype=np.int64)
