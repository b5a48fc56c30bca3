"""The language of each text, and the filter that keeps some languages.

The classifier is py3langid's: naive Bayes on byte n-grams, 139 languages (after Lui and Baldwin, ACL 2012).
It goes byte by byte at some 2 MB/s, so of a long text it sees a sample: 300 characters in the middle of each third.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from exnihilo.core.config import Config, nearest, why
from exnihilo.core.errors import ConfigError
from exnihilo.corpus.checks import Check

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

UNDETERMINED = "und"
NOT_A_LANGUAGE = "zxx"

_WINDOWS, _WINDOW = 3, 300
_GUESS = 0.05  # what wins with less is no finding: of 139 languages several are as likely
# Varieties that are written so much alike that a short text of the one is taken for the other.
_MACROLANGUAGE = {"wuu": "zh", "yue": "zh", "ary": "ar", "arz": "ar"}


class LanguageConfig(Config):
    """Which languages are kept; null turns a rule off."""

    keep: list[str] | None = Field(
        default=None,
        description="languages that are kept, as ISO 639 codes",
        json_schema_extra=why(
            "null keeps them all and writes down which: a filter needs to know what is wanted",
            example="de,en",
        ),
    )
    min_confidence: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="least probability of the most probable language",
        json_schema_extra=why(
            "null, since titles and verses are short and so uncertain; FineWeb asks 0.65 of a web page"
            " (arXiv 2406.17557)",
            example="0.65",
        ),
    )


def identify(texts: Sequence[str]) -> list[tuple[str, float]]:
    """Of each text the most probable language and its probability among all, in [0, 1].

    Languages are ISO 639 codes: `zh` stands for Mandarin, Cantonese and Wu, `ar` for all Arabic. `zxx` is no language
    (numbers, markup), `und` a text in which nothing speaks for any.
    """
    return [_identified(sample(text)) for text in texts]


def language_checks(identified: Sequence[tuple[str, float]], config: LanguageConfig) -> list[Check]:
    """The checks on what `identify` found. Raises ConfigError for a language that it does not know."""
    checks = []
    if config.keep is not None:
        for language in sorted(set(config.keep) - set(languages())):
            near = nearest(language, languages())
            raise ConfigError(
                f"keep: no language '{language}' is known; give ISO 639 codes such as de, en, zh"
                + (f" (did you mean '{near}'?)" if near else "")
            )
        others = np.array([language not in config.keep for language, _ in identified], dtype=np.float64)
        checks.append(Check("language: not one of those kept", others, 0))
    if config.min_confidence is not None:
        confidence = np.array([confidence for _, confidence in identified], dtype=np.float64)
        checks.append(Check("language: uncertain", confidence, config.min_confidence, is_minimum=True))
    return checks


def languages() -> list[str]:
    """The codes that `identify` may give, sorted."""
    return sorted({_MACROLANGUAGE.get(label, label) for label in _identifier().labels} | {UNDETERMINED})


def sample(text: str) -> str:
    """What is looked at: a text of up to 900 characters whole, of a longer one the middle of each third."""
    if len(text) <= _WINDOWS * _WINDOW:
        return text
    starts = [(2 * k + 1) * len(text) // (2 * _WINDOWS) - _WINDOW // 2 for k in range(_WINDOWS)]
    return "\n".join(text[start : start + _WINDOW] for start in starts)


def _identified(text: str) -> tuple[str, float]:
    probability: dict[str, float] = {}
    for label, share in _identifier().rank(text):
        language = _MACROLANGUAGE.get(label, label)
        probability[language] = probability.get(language, 0.0) + share
    best = max(probability, key=lambda language: (probability[language], language))
    confidence = min(probability[best], 1.0)
    return (best if confidence >= _GUESS else UNDETERMINED), confidence


@lru_cache(maxsize=1)
def _identifier() -> LanguageIdentifier:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
