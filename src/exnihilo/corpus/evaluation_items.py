"""Items of evaluation sets as what decontamination looks for, and the words that GPT-3 asked two texts to share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from exnihilo.core.errors import Refused
from exnihilo.corpus.deduplicate import text_digest
from exnihilo.corpus.text_batch import Int64


@dataclass(frozen=True)
class EvaluationItem:
    """An item of an evaluation set.

    Attributes:
        set: the name of its set.
        texts: the ways in which it may be written: the question alone, the question with its choices, with its answer.
            Any of them that is found is the item. Leave out what items of a set share, such as "Question:".

    Raises Refused where there is no text.
    """

    set: str
    texts: tuple[str, ...]

    def __post_init__(self) -> None:
        if not any(text.strip() for text in self.texts):
            raise Refused(f"{self.set}: an item without text can't be looked for; give its question")

    @property
    def id(self) -> str:
        """32 hexadecimal digits of a hash of its texts, white space aside: the same wherever the item is read."""
        return text_digest("\n".join(self.texts)).hex()


def gpt3_words(words: Int64) -> int:
    """The n of the n-grams for a set whose items have `words` int64[items]: the 5th percentile, but 8 to 13
    (arXiv 2005.14165, appendix C)."""
    return int(np.clip(np.percentile(words, 5), 8, 13)) if len(words) else 13
