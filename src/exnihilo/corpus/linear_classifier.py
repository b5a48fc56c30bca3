"""A linear classifier of texts: is this more like the curated texts, or more like the others?

Logistic regression on hashed n-grams, as GPT-3's quality filter (arXiv 2005.14165, appendix A). The features of a text
are its folded words and pairs of words in 2**18 buckets; of n of them each counts 1 / sqrt(n), which gives texts of any
length features of about the same length. Both classes weigh the same however many texts they have: a score is the
probability that a text is a curated one if half of all were.

The order of the texts changes nothing: training goes through them in the order of their hashes, which also say which
ones are held out, a tenth to calibrate (Platt's logistic fit) and a tenth to measure.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xxhash
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from exnihilo.core.errors import Refused
from exnihilo.core.files import write_atomic, write_json
from exnihilo.corpus.checks import Float64
from exnihilo.corpus.folded import NAME, fold
from exnihilo.corpus.minhash import shingles
from exnihilo.corpus.text_batch import Int64, TextBatch

BITS = 18
EPOCHS = 5
_LEARNING_RATE = 0.1
_TEXTS, _CHARACTERS = 64, 1 << 20  # of one update, and of what is scored at once
_FEATURES = f"{NAME}, words and pairs of words, {BITS} bits"
_LEAST = 20  # texts of each class: of fewer none may be held out


@dataclass(frozen=True)
class Classifier:
    """What was trained.

    Attributes:
        weights: float32[2**18], of each bucket, calibrated.
        bias: the logit of a text without words.
        measures: `auc` (area under the ROC curve), `calibration_error` (expected, over ten bins) and `texts`, on the
            texts that were held out to measure.
    """

    weights: np.ndarray[tuple[int], np.dtype[np.float32]]
    bias: float
    measures: dict[str, float]

    def score(self, texts: Sequence[str]) -> Float64:
        """The probability of each text that it is a curated one, float64[n]."""
        logits = [_Features.of(texts[low:high]).products(self.weights) for low, high in _pieces(texts)]
        return _logistic(np.concatenate([np.zeros(0), *logits]) + self.bias)

    def save(self, folder: Path) -> None:
        """Write `classifier.safetensors` and `classifier.json`."""
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / "classifier.safetensors", save({"weights": self.weights}))
        stated = {"features": _FEATURES, "bias": self.bias, "measures": self.measures}
        write_json(folder / "classifier.json", stated)

    @classmethod
    def load(cls, folder: Path) -> Classifier:
        """What `save` wrote. Raises Refused where it is not whole, or was made of other features."""
        try:
            stated = json.loads((folder / "classifier.json").read_text("utf-8"))
            weights = load_file(folder / "classifier.safetensors")["weights"]
            features, bias, measures = stated["features"], float(stated["bias"]), stated["measures"]
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise Refused(f"{folder}: no whole classifier ({error}); train it again") from error
        if features != _FEATURES or weights.shape != (1 << BITS,):
            raise Refused(f"{folder}: made of other features ({features}); train it again")
        return cls(weights, bias, measures)


def train(positive: Sequence[str], negative: Sequence[str]) -> Classifier:
    """Train on curated texts and others. Raises Refused with fewer than 20 of either, repeated ones not counted."""
    positive, negative = sorted(set(positive)), sorted(set(negative))
    for name, some in (("curated", positive), ("other", negative)):
        if len(some) < _LEAST:
            raise Refused(
                f"{len(some)} {name} texts are too few to train a classifier; give {_LEAST} or more"
            )
    label = np.repeat([1.0, 0.0], [len(positive), len(negative)])
    texts = [*positive, *negative]
    drawn = np.array([xxhash.xxh3_64_intdigest(text.encode("utf-8", "surrogatepass")) for text in texts])
    order = np.argsort(drawn, kind="stable")
    # Tenths of each class by rank, so that none is without a text.
    tenth = np.empty(len(texts), dtype=np.int64)
    for value in (0.0, 1.0):
        ranked = order[label[order] == value]
        tenth[ranked] = np.arange(len(ranked)) % 10

    weights, bias = _fitted(texts, label, order[tenth[order] > 1])
    raw = Classifier(weights.astype(np.float32), bias, {})
    first, second = np.flatnonzero(tenth == 0), np.flatnonzero(tenth == 1)
    slope, shift = _platt(_logits(raw.score([texts[i] for i in first])), label[first])
    calibrated = Classifier((slope * weights).astype(np.float32), slope * bias + shift, {})
    scores, labels = calibrated.score([texts[i] for i in second]), label[second]
    measures = {
        "auc": roc_auc(scores[labels == 1], scores[labels == 0]),
        "calibration_error": calibration_error(scores, labels),
        "texts": len(second),
    }
    return Classifier(calibrated.weights, calibrated.bias, measures)


def roc_auc(positive: Float64, negative: Float64) -> float:
    """The probability that a positive one scores higher than a negative one; ties count half."""
    ranked = np.sort(negative)
    below = np.searchsorted(ranked, positive, "left") + np.searchsorted(ranked, positive, "right")
    return float(below.mean() / 2 / len(negative))


def calibration_error(scores: Float64, labels: Float64, bins: int = 10) -> float:
    """The mean, over bins of equal width weighted by what falls into them, of |mean score - share of ones|; both
    classes weigh the same."""
    weight = _balanced(labels)
    place = np.minimum((scores * bins).astype(np.int64), bins - 1)
    error = np.abs(np.bincount(place, weight * (scores - labels), bins))
    return float(error.sum() / weight.sum())


@dataclass(frozen=True)
class _Features:
    """Of each feature its text and its bucket, int64[F], and of each text what a feature counts, float64[n]."""

    text: Int64
    bucket: Int64
    scale: Float64

    @classmethod
    def of(cls, texts: Sequence[str]) -> _Features:
        folded = fold(TextBatch.of(texts)).batch
        parts = [shingles(folded, words) for words in (1, 2)]
        text = np.concatenate([np.repeat(np.arange(len(texts)), np.diff(first)) for _, first in parts])
        bucket = np.concatenate([hashes >> np.uint64(64 - BITS) for hashes, _ in parts]).astype(np.int64)
        count = np.bincount(text, minlength=len(texts))
        return cls(text, bucket, 1 / np.sqrt(np.maximum(count, 1)))

    def products(self, weights: np.ndarray[tuple[int], np.dtype[np.floating]]) -> Float64:
        """The features of each text times the weights. Each text's are summed alone, in its own order."""
        return np.bincount(self.text, weights[self.bucket], len(self.scale)) * self.scale

    def gradient(self, errors: Float64) -> Float64:
        """The features times what each text gives them, summed by bucket."""
        return np.bincount(self.bucket, (errors * self.scale)[self.text], 1 << BITS).astype(np.float64)


def _fitted(texts: Sequence[str], label: Float64, order: Int64) -> tuple[Float64, float]:
    """Weights and bias by Adagrad, over the texts in this order, `EPOCHS` times."""
    groups = [order[low : low + _TEXTS] for low in range(0, len(order), _TEXTS)]
    features = [_Features.of([texts[i] for i in group]) for group in groups]
    weight = np.zeros(len(texts))
    weight[order] = _balanced(label[order])
    parameters, squares = np.zeros((1 << BITS) + 1), np.full((1 << BITS) + 1, 1e-8)
    for _ in range(EPOCHS):
        for group, some in zip(groups, features, strict=True):
            errors = _logistic(some.products(parameters[:-1]) + parameters[-1]) - label[group]
            errors *= weight[group] / len(group)
            gradient = np.append(some.gradient(errors), errors.sum())
            touched = np.flatnonzero(gradient)
            squares[touched] += gradient[touched] ** 2
            parameters[touched] -= _LEARNING_RATE * gradient[touched] / np.sqrt(squares[touched])
    return parameters[:-1], float(parameters[-1])


def _platt(logits: Float64, labels: Float64) -> tuple[float, float]:
    """Slope and shift by which the logits are probable, by Newton's method; the targets are Platt's, which no finite
    number of texts drives to certainty."""
    weight = _balanced(labels)
    ones, zeros = labels.sum(), (1 - labels).sum()
    target = np.where(labels == 1, (ones + 1) / (ones + 2), 1 / (zeros + 2))
    columns = np.stack([logits, np.ones_like(logits)])
    fit = np.array([0.0, 0.0])
    for _ in range(100):
        chance = _logistic(fit @ columns)
        hessian = (columns * (weight * chance * (1 - chance))) @ columns.T + 1e-9 * np.eye(2)
        step = np.linalg.solve(hessian, columns @ (weight * (chance - target)))
        fit = fit - step / max(1.0, float(np.abs(step).max()))
    return float(fit[0]), float(fit[1])


def _balanced(labels: Float64) -> Float64:
    """What each text weighs: n / 2 for each class in all."""
    share = labels.mean()
    weights: Float64 = np.where(labels == 1, 0.5 / max(share, 1e-12), 0.5 / max(1 - share, 1e-12))
    return weights


def _logistic(logits: Float64) -> Float64:
    chances: Float64 = 1 / (1 + np.exp(-np.clip(logits, -30, 30)))
    return chances


def _logits(chances: Float64) -> Float64:
    logits: Float64 = np.log(chances) - np.log1p(-chances)
    return logits


def _pieces(texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Consecutive texts, so many at once that they have a million characters."""
    low = size = 0
    for i, text in enumerate(texts):
        size += len(text)
        if size >= _CHARACTERS or i + 1 == len(texts):
            yield low, i + 1
            low, size = i + 1, 0
