"""All segmentations of a text into a Unigram vocabulary's pieces: the best one, and samples (arXiv 1804.10959)."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from pathlib import Path

import tokenizers

from exnihilo.core.errors import Refused
from exnihilo.tokenizer.folder import read_json
from exnihilo.tokenizer.tokenizer import bytes_of_piece

_UNKNOWN_PENALTY = 10.0
"""How far below the worst piece a character is that has none, as in SentencePiece."""


class UnigramLattice:
    """A path through the lattice of a text is a segmentation; its score is the sum of its pieces' log-probabilities.

    `tokenizers` can sample as well, but from a generator that can't be seeded.
    """

    def __init__(self, scores: Mapping[str, float]) -> None:
        """`scores` are the log-probabilities of the pieces that text is made of, special tokens and bytes left out."""
        self.scores = dict(scores)
        self.longest = max(map(len, self.scores))
        self.unknown = min(self.scores.values()) - _UNKNOWN_PENALTY

    def best(self, text: str) -> list[str]:
        """The pieces with the highest score (Viterbi); of equal ones, that whose last pieces are longest."""
        score, start_of = [0.0], [0]
        for end in range(1, len(text) + 1):
            best, chosen = -math.inf, end
            for start, own in self._pieces_before(text, end):
                if score[start] + own > best:
                    best, chosen = score[start] + own, start
            score.append(best)
            start_of.append(chosen)
        return _path(text, start_of)

    def sample(self, text: str, alpha: float, rng: random.Random) -> list[str]:
        """Pieces drawn with probability proportional to P ** alpha over all segmentations: 0 is uniform, 1 the model's
        own, more is closer to the best. Sums forward, draws backward."""
        total = self._sums(text, alpha)
        start_of = [0] * (len(text) + 1)
        end = len(text)
        while end:
            edges = list(self._pieces_before(text, end))
            weights = [math.exp(total[start] + alpha * own - total[end]) for start, own in edges]
            start_of[end] = rng.choices([start for start, _ in edges], weights)[0]
            end = start_of[end]
        return _path(text, start_of)

    def log_total(self, text: str) -> float:
        """log P(text), summed over all segmentations."""
        return self._sums(text, 1.0)[-1]

    def _sums(self, text: str, alpha: float) -> list[float]:
        total = [0.0]
        for end in range(1, len(text) + 1):
            terms = [total[start] + alpha * own for start, own in self._pieces_before(text, end)]
            most = max(terms)
            total.append(most + math.log(sum(math.exp(term - most) for term in terms)))
        return total

    def _pieces_before(self, text: str, end: int) -> list[tuple[int, float]]:
        """(start, score) of the pieces that end at `end`, the longest first."""
        scores = self.scores
        found = [
            (start, scores[text[start:end]])
            for start in range(max(0, end - self.longest), end)
            if text[start:end] in scores
        ]
        if not found or found[-1][0] != end - 1:
            found.append((end - 1, self.unknown))
        return found


class SegmentationSampler:
    """Ids of texts with sampled segmentations, for training on more than one spelling of the same words."""

    def __init__(self, folder: Path) -> None:
        """Reads a saved tokenizer. Raises Refused if it is not Unigram with bytes."""
        path = folder / "tokenizer.json"
        data = read_json(path, "give the folder of a tokenizer")
        model = data.get("model", {})
        if model.get("type") != "Unigram" or not model.get("byte_fallback"):
            raise Refused(f"{path}: only Unigram tokenizers with bytes have segmentations to sample from")
        pieces: list[tuple[str, float]] = [(piece, score) for piece, score in model["vocab"]]
        added = {token["content"] for token in data.get("added_tokens", [])}
        self._ids = {piece: i for i, (piece, _) in enumerate(pieces)}
        self._byte_ids = [self._ids[f"<0x{byte:02X}>"] for byte in range(256)]
        bytes_ = {f"<0x{byte:02X}>" for byte in range(256)}
        self.lattice = UnigramLattice(
            {piece: score for piece, score in pieces if piece not in added and piece not in bytes_}
        )
        self._normalizer = tokenizers.Tokenizer.from_str(path.read_text(encoding="utf-8")).normalizer

    def encode(self, text: str, alpha: float, rng: random.Random) -> list[int]:
        """Ids of one segmentation drawn; what has no piece is bytes."""
        return self._of(self.lattice.sample(self._normalizer.normalize_str(text), alpha, rng))

    def encode_best(self, text: str) -> list[int]:
        """Ids of the best segmentation: those of `Tokenizer.encode`."""
        return self._of(self.lattice.best(self._normalizer.normalize_str(text)))

    def _of(self, pieces: list[str]) -> list[int]:
        ids: list[int] = []
        for piece in pieces:
            if piece in self.lattice.scores:
                ids.append(self._ids[piece])
            else:
                ids += [self._byte_ids[byte] for byte in bytes_of_piece(piece)]
        return ids


def _path(text: str, start_of: list[int]) -> list[str]:
    pieces, end = [], len(text)
    while end:
        pieces.append(text[start_of[end] : end])
        end = start_of[end]
    return pieces[::-1]
