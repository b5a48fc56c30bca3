"""The toxicity filter: by lists of words, as C4 (arXiv 1910.10683), or by the score of a trained classifier.

Either costs something: what names a thing is taken out with what wallows in it, and a model that never saw toxic text
recognises it worse (arXiv 2305.13169). So a share of what the lists would reject can be kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xxhash
from pydantic import Field

from exnihilo.core.config import Config, why
from exnihilo.core.seeds import derive
from exnihilo.corpus.bad_words import BadWords
from exnihilo.corpus.checks import Bools, Check
from exnihilo.corpus.linear_classifier import Classifier


class ToxicityConfig(Config):
    """Lists by language, a classifier, or both."""

    words: dict[str, Path] = Field(
        default={},
        description="by language (ISO 639), a file of words, one of which rejects a text of that language",
        json_schema_extra=why(
            "none: we ship no lists, since which words are unwanted depends on what the model is for",
            example="en=./bad-words-en.txt",
        ),
    )
    allowed: dict[str, Path] = Field(
        default={},
        description="by language, a file of words that are taken off that language's list, and off no other",
        json_schema_extra=why(
            "none; for words that a list has and that a text may well need", example="en=./medical.txt"
        ),
    )
    keep: float = Field(
        default=0,
        ge=0,
        le=1,
        description="share of the texts with such words that stays, chosen by hash",
        json_schema_extra=why(
            "0, as C4 has it; a tenth lets a model know what it should not say", example="0.1"
        ),
    )
    classifier: Path | None = Field(
        default=None,
        description="folder of a classifier that was trained on toxic texts against others",
        json_schema_extra=why(
            "null: it takes texts that people have labelled, which we do not have", example="./toxicity"
        ),
    )
    max_score: float = Field(
        default=0.9,
        ge=0,
        le=1,
        description="largest score of that classifier",
        json_schema_extra=why(
            "0.9: scores are probabilities if half of all texts were toxic, and far fewer are", example="0.5"
        ),
    )


class ToxicityFilter:
    """The lists and the classifier of a config, read once. Raises what reading them does."""

    def __init__(self, config: ToxicityConfig, seed: int) -> None:
        self._config = config
        self._words = BadWords(config.words, config.allowed)
        self._classifier = Classifier.load(config.classifier) if config.classifier else None
        self._seed = derive(seed, "bad words")

    def checks(self, texts: Sequence[str], languages: Sequence[str]) -> list[Check]:
        """The checks of texts in these languages."""
        bad = self._words.found(texts, languages) & ~self._spared(texts)
        checks = [Check("toxicity: bad words", bad.astype(np.float64), 0)]
        if self._classifier:
            scores = self._classifier.score(texts)
            checks.append(Check("toxicity: score", scores, self._config.max_score))
        return checks

    def _spared(self, texts: Sequence[str]) -> Bools:
        drawn = [
            xxhash.xxh3_64_intdigest(text.encode("utf-8", "surrogatepass"), self._seed) for text in texts
        ]
        return np.array([number < self._config.keep * 2.0**64 for number in drawn], dtype=bool)
