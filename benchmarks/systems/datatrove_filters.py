"""datatrove's filters: as it ships, or with our word and sentence splitters written as regular expressions."""

from __future__ import annotations

import re
import time
from typing import Any

import datatrove.utils.word_tokenizers as word_tokenizers
from datatrove.data import Document

from benchmarks.systems.corpus_texts import english

_WORD = re.compile(r"\w+|[^\w\s]")
_SENTENCE = re.compile(r".+?(?:[.?!…]+[\"')\]»”’]{0,2}(?=\s|$)|$)", re.DOTALL)


class RegularExpressions(word_tokenizers.WordTokenizer):  # type: ignore[misc]
    """What our splitters do to English, for datatrove."""

    def word_tokenize(self, text: str) -> list[str]:
        return _WORD.findall(text)

    def sent_tokenize(self, text: str) -> list[str]:
        return [match.group().strip() for match in _SENTENCE.finditer(text)]

    def span_tokenize(self, text: str) -> list[tuple[int, int]]:
        return [match.span() for match in _SENTENCE.finditer(text)]


_texts: list[str] = []
_filters: dict[str, Any] = {}


def prepare(documents: int | None, same_splitter: bool) -> dict[str, Any]:
    """Read the texts, make the filters, and filter some once so that splitters are loaded."""
    if same_splitter:
        splitter = RegularExpressions()
        word_tokenizers.load_word_tokenizer = lambda language: splitter
    from datatrove.pipeline.filters.c4_filters import C4QualityFilter
    from datatrove.pipeline.filters.fineweb_quality_filter import FineWebQualityFilter
    from datatrove.pipeline.filters.gopher_quality_filter import GopherQualityFilter
    from datatrove.pipeline.filters.gopher_repetition_filter import GopherRepetitionFilter

    _filters.update(
        repetition=GopherRepetitionFilter(),
        quality=GopherQualityFilter(),
        c4=C4QualityFilter(filter_no_terminal_punct=False),
        fineweb=FineWebQualityFilter(),
    )
    _texts.extend(english(documents))
    _filtered(_texts[:20])
    return {"documents": len(_texts), "bytes": sum(len(text.encode()) for text in _texts)}


def measure() -> dict[str, Any]:
    """Seconds for all rules on all texts, and the reason by rule set and text (None: it stays)."""
    started = time.perf_counter()
    reasons = _filtered(_texts)
    return {"seconds": time.perf_counter() - started, "reasons": reasons}


def _filtered(texts: list[str]) -> dict[str, list[str | None]]:
    found: dict[str, list[str | None]] = {rule: [] for rule in _filters}
    for number, text in enumerate(texts):
        for rule, rules in _filters.items():
            # A document of its own, since C4's filter alters it; words are split once for all filters (its cache).
            answer = rules.filter(Document(text=text, id=str(number)))
            found[rule].append(None if answer is True else answer[1])
    return found
