"""Gopher's rules for quality and repetition (arXiv 2112.11446, Table A1), over a batch of texts.

What the paper leaves open is settled here. Words are those of `TextBatch.words`, punctuation marks among them where
the share of words with a letter is taken. Stop words count in either case. An n-gram that occurs once repeats nothing,
however short the text. Occurrences of the most frequent n-gram that overlap ("a a a") count their characters once. Of
duplicates the first copy is not counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from exnihilo.corpus.character_classes import ALPHABETIC, SYMBOL
from exnihilo.corpus.checks import Check, Float64, share
from exnihilo.corpus.copies import earlier_copies
from exnihilo.corpus.gopher_config import QualityLimits, RepetitionLimits
from exnihilo.corpus.ngrams import Repeated, repeated_ngrams
from exnihilo.corpus.text_batch import Bools, Int64, Spans, TextBatch, string_hash


def gopher_quality(batch: TextBatch, limits: QualityLimits) -> list[Check]:
    """The checks of quality, in the table's order."""
    words = batch.words
    solid = words.where(batch.within(SYMBOL, words) < words.length)
    ellipses = _sum_in(batch, _phrase(batch, "...")) + _sum_in(batch, _phrase(batch, "…"))
    lines = batch.stripped(batch.lines)
    first, last = batch.codes[lines.start], batch.codes[lines.end - 1]
    dots = (last == ord("…")) | ((lines.length > 2) & (_trailing_dots(batch, lines)))
    bullets = (first == ord("•")) | (first == ord("-"))
    measured = (
        ("gopher: too few words", solid.count, limits.min_words, True),
        ("gopher: too many words", solid.count, limits.max_words, False),
        (
            "gopher: words too short",
            share(solid.total(solid.length), solid.count),
            limits.min_mean_word,
            True,
        ),
        (
            "gopher: words too long",
            share(solid.total(solid.length), solid.count),
            limits.max_mean_word,
            False,
        ),
        (
            "gopher: hash signs",
            share(_sum_in(batch, _phrase(batch, "#")), words.count),
            limits.max_hashes,
            False,
        ),
        ("gopher: ellipses", share(ellipses, words.count), limits.max_ellipses, False),
        ("gopher: bullet lines", share(lines.total(bullets), lines.count), limits.max_bullet_lines, False),
        ("gopher: lines cut short", share(lines.total(dots), lines.count), limits.max_ellipsis_lines, False),
        (
            "gopher: words without letters",
            share(words.total(batch.within(ALPHABETIC, words) > 0), words.count),
            limits.min_alphabetic_words,
            True,
        ),
        (
            "gopher: too few stop words",
            _distinct(batch, words, limits.stop_words),
            limits.min_stop_words,
            True,
        ),
    )
    return [
        Check(reason, value.astype(np.float64), limit, is_minimum)
        for reason, value, limit, is_minimum in measured
        if limit is not None
    ]


def gopher_repetition(batch: TextBatch, limits: RepetitionLimits, live: Bools | None = None) -> list[Check]:
    """The checks of repetition, in the table's order.

    What is cheap to bound is measured no further: the share of characters in duplicate n-grams is at most the value
    given wherever that is within the limit. n-grams are looked for only in texts that are `live` (bool[n]) and that
    no check before has rejected; the others have 0.
    """
    checks = []
    live = np.ones(len(batch), dtype=bool) if live is None else live
    lines = batch.lines_and_blanks if limits.as_datatrove else batch.lines
    for name, spans, most, most_characters in (
        ("paragraphs", batch.paragraphs, limits.duplicate_paragraphs, limits.duplicate_paragraph_characters),
        ("lines", lines, limits.duplicate_lines, limits.duplicate_line_characters),
    ):
        copies = earlier_copies(batch, spans)
        characters = spans.total(np.where(copies, spans.length, 0))
        checks += [
            Check(f"gopher: repeated {name}", share(spans.total(copies), spans.count), most),
            Check(f"gopher: characters of repeated {name}", share(characters, batch.length), most_characters),
        ]
    for check in checks:
        live = live & ~check.rejects
    return checks + list(_ngram_checks(batch, limits, live))


def _ngram_checks(batch: TextBatch, limits: RepetitionLimits, live: Bools) -> Iterator[Check]:
    words = batch.words
    upto = np.append(0, np.cumsum(words.length))  # characters of the words before each
    top, duplicate = dict(enumerate(limits.top_ngrams, 2)), dict(enumerate(limits.duplicate_ngrams, 5))
    wanted = max([*top, *duplicate], default=0)
    length: Float64 = np.maximum(batch.length, 1).astype(np.float64)
    for found in repeated_ngrams(words, batch.hashes(words), live):
        if found.n in top:
            most = length * (np.inf if limits.as_datatrove else top[found.n])
            value = _top(found, words, upto, most) / length
            yield Check(f"gopher: one {found.n}-gram again and again", value, top[found.n])
        if found.n in duplicate:
            value = _duplicate(found, words, upto, duplicate[found.n] * length) / length
            yield Check(f"gopher: repeated {found.n}-grams", value, duplicate[found.n])
        if found.n >= wanted:
            return


def _top(found: Repeated, words: Spans, upto: Int64, most: Float64) -> Float64:
    """Characters of each text in its most frequent n-gram, spaces between its words included: float64[n]."""
    characters = np.zeros(len(words.first) - 1)
    first = found.place[~found.earlier]
    if not len(first):
        return characters
    count = np.bincount(found.group)[first]
    # The most frequent of each text, and of equally frequent ones the first.
    text = words.text[first]
    begins = np.flatnonzero(np.append(True, np.diff(text) != 0))
    score = count * len(first) - np.arange(len(first))
    best = np.flatnonzero(
        score == np.repeat(np.maximum.reduceat(score, begins), np.diff(begins, append=len(first)))
    )
    length = upto[first[best] + found.n] - upto[first[best]] + found.n - 1
    characters[text[best]] = length * count[best]
    for i in best[characters[text[best]] > most[text[best]]]:
        places = found.place[found.group == first[i]]
        if (np.diff(places) < found.n).any():
            covered = _covered(places, found.n, len(words.start))
            characters[text[i]] = upto[covered + 1].sum() - upto[covered].sum() + len(covered) - 1
    return characters


def _duplicate(found: Repeated, words: Spans, upto: Int64, most: Float64) -> Float64:
    """Characters of each text in n-grams that stand before in it, at most: float64[n]."""
    characters = np.zeros(len(words.first) - 1)
    covered = _covered(found.place[found.earlier], found.n, len(words.start))
    characters += np.bincount(words.text[covered], words.length[covered], len(characters))
    for text in np.flatnonzero(characters > most):
        low, high = np.searchsorted(found.place, words.first[text : text + 2])
        characters[text] = _scanned(found.place[low:high], found.group[low:high], found.n, upto)
    return characters


def _scanned(places: Int64, groups: Int64, n: int, upto: Int64) -> int:
    """From the first word to the last: an n-gram that was seen is counted and passed over whole, any other is seen."""
    seen: set[int] = set()
    free = characters = 0
    for place, group in zip(places.tolist(), groups.tolist(), strict=True):
        if place < free:
            continue
        if group in seen:
            characters += int(upto[place + n] - upto[place])
            free = place + n
        else:
            seen.add(group)
    return characters


def _covered(places: Int64, n: int, words: int) -> Int64:
    """The words, of so many, that n-grams starting at `places` hold, each once, ascending."""
    held = np.zeros(words, dtype=bool)
    for further in range(n):
        held[places + further] = True
    return np.flatnonzero(held)


def _distinct(batch: TextBatch, words: Spans, wanted: Sequence[str]) -> Int64:
    """How many of a few words, in either case, each text has, int64[n]."""
    spellings = {form: i for i, word in enumerate(wanted) for form in (word, word.capitalize(), word.upper())}
    hashes = batch.hashes(words)
    found = np.zeros((len(wanted), len(batch)), dtype=bool)
    for spelling, i in spellings.items():
        found[i, words.text[hashes == string_hash(spelling)]] = True
    count: Int64 = found.sum(axis=0)
    return count


def _phrase(batch: TextBatch, phrase: str) -> Int64:
    """Where a phrase begins, no two overlapping."""
    places, at = [], batch.joined.find(phrase)
    while at >= 0:
        places.append(at)
        at = batch.joined.find(phrase, at + len(phrase))
    return np.asarray(places, dtype=np.int64)


def _sum_in(batch: TextBatch, places: Int64) -> Int64:
    """How many of `places` (ascending) are in each text, int64[n]."""
    return np.searchsorted(places, batch.end) - np.searchsorted(places, batch.start)


def _trailing_dots(batch: TextBatch, lines: Spans) -> Bools:
    dot = batch.codes == ord(".")
    back = np.maximum(lines.end - 1, 2)
    dots: Bools = dot[back] & dot[back - 1] & dot[back - 2]
    return dots
