"""Words of the user's lists, one list a language, in texts of that language.

Words are compared in lower case and whole; an entry of several words stands for them in a row. Languages that are
written without spaces have no whole words to compare: there an entry counts wherever it stands. Accents count:
without them the Spanish year would be on every list.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from exnihilo.corpus.block_list import block_list
from exnihilo.corpus.checks import Bools
from exnihilo.corpus.text_batch import Spans, TextBatch, UInt64

_WITHOUT_SPACES = frozenset({"zh", "ja", "th", "lo", "km", "my"})


class BadWords:
    """Lists by language, less what is allowed in the same language and in no other.

    Raises ConfigError for a file that can't be read.
    """

    def __init__(self, lists: Mapping[str, Path], allowed: Mapping[str, Path]) -> None:
        self._entries = {
            language: sorted(
                block_list(path, "word", _form)
                - (block_list(allowed[language], "word", _form) if language in allowed else frozenset())
            )
            for language, path in lists.items()
        }
        self._phrases = {
            language: _Phrases(entries)
            for language, entries in self._entries.items()
            if language not in _WITHOUT_SPACES
        }

    def found(self, texts: Sequence[str], languages: Sequence[str]) -> Bools:
        """Whether each text has an entry of its language's list, bool[n]; never where its language has none."""
        found = np.zeros(len(texts), dtype=bool)
        for language, entries in self._entries.items():
            chosen = [i for i, one in enumerate(languages) if one == language]
            forms = [_form(texts[i]) for i in chosen]
            if language in self._phrases:
                found[chosen] = self._phrases[language].found(TextBatch.of(forms))
            else:
                found[chosen] = [any(entry in form for entry in entries) for form in forms]
        return found


class _Phrases:
    """Words, and words in a row, as hashes, by the first one's."""

    def __init__(self, entries: Sequence[str]) -> None:
        batch = TextBatch.of(entries)
        hashes, first = batch.hashes(batch.words), batch.words.first
        self._by_first: dict[int, list[UInt64]] = {}
        for low, high in pairwise(first.tolist()):
            if high > low:
                self._by_first.setdefault(int(hashes[low]), []).append(hashes[low:high])
        self._first: UInt64 = np.array(sorted(self._by_first), dtype=np.uint64)

    def found(self, batch: TextBatch) -> Bools:
        found = np.zeros(len(batch), dtype=bool)
        words: Spans = batch.words
        if not len(self._first) or not len(words.start):
            return found
        hashes = batch.hashes(words)
        place = np.minimum(np.searchsorted(self._first, hashes), len(self._first) - 1)
        for i in np.flatnonzero(self._first[place] == hashes).tolist():
            text = int(words.text[i])
            if not found[text]:
                rest = hashes[i : words.first[text + 1]]
                found[text] = any(
                    np.array_equal(rest[: len(phrase)], phrase) for phrase in self._by_first[int(hashes[i])]
                )
        return found


def _form(text: str) -> str:
    return unicodedata.normalize("NFC", text).lower()
