"""A language model of three words: interpolated Kneser-Ney smoothing (Chen and Goodman 1999), one discount an order.

It is what CCNet judges a crawl by (arXiv 1911.00359): text that is nothing like good text has a high perplexity. Words
are folded, so case and punctuation count for nothing. All words that were never seen share what is left for one word.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from exnihilo.core.errors import Refused
from exnihilo.core.files import write_atomic
from exnihilo.corpus.checks import Float64
from exnihilo.corpus.folded import NAME
from exnihilo.corpus.ngram_counts import Counts, Table, Triples, count, in_pieces
from exnihilo.corpus.text_batch import Int64

_FEATURES = f"{NAME}, three words"
_TABLES = ("triples", "pairs", "words")


@dataclass(frozen=True)
class NgramModel:
    """Counts, and what they are discounted by."""

    counts: Counts

    @classmethod
    def of(cls, texts: Iterable[str]) -> NgramModel:
        """Count texts. Raises Refused where there is no word in them."""
        counts = count(texts)
        if not len(counts.triples.keys):
            raise Refused("no words to make a language model of; give texts")
        return cls(counts)

    def perplexity(self, texts: Sequence[str]) -> Float64:
        """The perplexity of each text, by word, float64[n]; infinite without words."""
        found = [np.zeros(0)]
        for piece in in_pieces(texts):
            triples = Triples.of(piece)
            words = np.bincount(triples.text, minlength=len(piece))
            surprise = np.bincount(triples.text, -np.log(self.probability(triples)), len(piece))
            mean = np.divide(surprise, words, out=np.full(len(piece), np.inf), where=words > 0)
            found.append(np.exp(mean))
        return np.concatenate(found)

    def probability(self, triples: Triples) -> Float64:
        """Of each word after the two before it, float64[N]."""
        counts = self.counts
        word = counts.words.look_up(triples.word)[:, 0]
        one = counts.words.look_up(triples.last_before)
        pair = counts.pairs.look_up(triples.pair)[:, 0]
        two = counts.pairs.look_up(triples.before)
        triple = counts.triples.look_up(triples.triple)[:, 0]
        known = counts.words.counts[:, 0]
        vocabulary, total = int((known > 0).sum()), int(known.sum(dtype=np.int64))
        chance = np.full(len(word), 1 / (vocabulary + 1))
        for often, (all_, different), discount in (
            (word, (np.full(len(word), total), np.full(len(word), vocabulary)), self._discounts[0]),
            (pair, one[:, 1:].T, self._discounts[1]),
            (triple, two[:, 1:].T, self._discounts[2]),
        ):
            chance = _interpolated(often, all_, different, discount, chance)
        return chance

    @property
    def _discounts(self) -> tuple[float, float, float]:
        """Of one word, two, three: n1 / (n1 + 2 n2), of how many were seen once and twice."""
        counts = self.counts
        found = []
        for table in (counts.words, counts.pairs, counts.triples):
            once, twice = (int((table.counts[:, 0] == times).sum()) for times in (1, 2))
            found.append(once / (once + 2 * twice) if once and twice else 0.75)
        return found[0], found[1], found[2]

    def save(self, path: Path, **stated: Any) -> None:
        """Write one file; `stated` (JSON values) goes into its header."""
        tensors = {
            f"{name}.{part}": np.ascontiguousarray(getattr(getattr(self.counts, name), part))
            for name in _TABLES
            for part in ("keys", "counts")
        }
        # One entry: safetensors writes several in no order.
        header = {"model": json.dumps({"features": _FEATURES, "stated": stated}, sort_keys=True)}
        write_atomic(path, save(tensors, metadata=header))

    @classmethod
    def load(cls, path: Path) -> tuple[NgramModel, dict[str, Any]]:
        """The model, its tables left on disk and mapped, and what was stated. Raises Refused for any other file."""
        try:
            with path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                header = json.loads(file.read(length)) if length < 1 << 20 else {}
            model = json.loads(header["__metadata__"]["model"])
            if model["features"] != _FEATURES:
                raise Refused(f"{path}: made of other features ({model['features']}); train it again")
            tables = {
                name: Table(
                    *(_mapped(path, 8 + length, header[f"{name}.{part}"]) for part in ("keys", "counts"))
                )
                for name in _TABLES
            }
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Refused(f"{path}: no whole language model ({error}); train it again") from error
        return cls(Counts(**tables)), model["stated"]


def _interpolated(often: Int64, total: Int64, different: Int64, discount: float, lower: Float64) -> Float64:
    """What was seen, discounted, and what that leaves given out as the lower order has it; that alone where nothing
    was seen."""
    seen = np.maximum(total, 1)
    mixture = np.maximum(often - discount, 0) / seen + discount * different / seen * lower
    chance: Float64 = np.where(total > 0, mixture, lower)
    return chance


def _mapped(path: Path, base: int, entry: dict[str, Any]) -> Any:
    kind = {"U64": np.uint64, "U32": np.uint32}[entry["dtype"]]
    return np.memmap(path, kind, "r", base + entry["data_offsets"][0], tuple(entry["shape"]))
