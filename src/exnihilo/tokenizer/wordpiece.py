"""Training of a WordPiece vocabulary: pairs are merged by how much more often they meet than chance would have it."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Literal

import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers

from exnihilo.core.errors import ConfigError, Refused
from exnihilo.tokenizer.bpe import new_tokenizer
from exnihilo.tokenizer.pairs import Pair, Pairs
from exnihilo.tokenizer.special import SPECIALS
from exnihilo.tokenizer.tokenizer import Tokenizer
from exnihilo.tokenizer.words import UNKNOWN

LONGEST_WORD = 100
"""Longer words are unknown, as in BERT's code."""

Score = Literal["ratio", "likelihood"]


def train_wordpiece(
    texts: Iterable[str],
    vocabulary: int,
    *,
    score: Score = "ratio",
    min_count: int = 2,
    coverage: float = 1.0,
    lowercase: bool = True,
) -> Tokenizer:
    """Learn pieces until there are `vocabulary` ids: special tokens, the unknown token, characters, merges.

    Texts are cut as BERT cuts them (arXiv 1810.04805): control characters out, space around Han characters and
    punctuation, and where `lowercase`, lower case without accents. A word is then its longest pieces from left
    to right, or the unknown token as a whole.

    score: "ratio" is count(ab) / (count(a) count(b)), what WordPiece is known by. It favours rare pairs of rare
        pieces, and needs a `min_count` that grows with the text. "likelihood" is by how much the merge raises
        the text's likelihood under a unigram model of the pieces, as the method was published (Schuster and
        Nakajima 2012).
    min_count: a pair seen less often is not merged; the vocabulary may end up smaller.
    coverage: the share of all characters that the vocabulary knows, the most frequent ones first.

    Ties go to the more frequent pair, then to that whose first, then second piece comes first in code points. The
    same texts, in any order, give the same file, byte for byte.

    Raises ConfigError where the characters alone do not fit the vocabulary, Refused for no text.
    """
    normalizer, cutter = normalizers.BertNormalizer(lowercase=lowercase), pre_tokenizers.BertPreTokenizer()
    words: Counter[str] = Counter()
    for text in texts:
        words.update(word for word, _ in cutter.pre_tokenize_str(normalizer.normalize_str(text)))
    room = vocabulary - len(SPECIALS) - 1
    pieces = learn_pieces(words, room, score=score, min_count=min_count, coverage=coverage)
    names = [*SPECIALS, UNKNOWN, *pieces]
    backend = tokenizers.Tokenizer(
        models.WordPiece(
            {name: i for i, name in enumerate(names)},
            unk_token=UNKNOWN,
            max_input_chars_per_word=LONGEST_WORD,
        )
    )
    backend.normalizer, backend.pre_tokenizer = normalizer, cutter
    backend.decoder = decoders.WordPiece()
    backend.add_special_tokens(
        [AddedToken(name, special=True, normalized=False) for name in (*SPECIALS, UNKNOWN)]
    )
    return new_tokenizer(backend, UNKNOWN)


def learn_pieces(
    words: Mapping[str, int],
    room: int,
    *,
    score: Score = "ratio",
    min_count: int = 2,
    coverage: float = 1.0,
) -> list[str]:
    """At most `room` pieces of words, each with how often it occurs; see `train_wordpiece`. Counts may be any size."""
    known = _covered(words, coverage)
    spelled = {
        word: [word[0], *("##" + character for character in word[1:])]
        for word in sorted(words)
        if 0 < len(word) <= LONGEST_WORD and known.issuperset(word)
    }
    names = sorted({piece for pieces in spelled.values() for piece in pieces}, key=_in_code_points)
    if not names:
        raise Refused("no text to train a tokenizer on; look at what the corpus holds")
    if len(names) > room:
        fixed = len(SPECIALS) + 1
        raise ConfigError(
            f"vocabulary: {room + fixed} is too small; special tokens and the characters of this text, at the "
            f"start of words and within them, are {len(names) + fixed}; give more, or a coverage under {coverage}"
        )
    ids = {name: i for i, name in enumerate(names)}
    pairs = Pairs(([ids[piece] for piece in pieces], words[word]) for word, pieces in spelled.items())
    gain = _likelihood if score == "likelihood" else _ratio

    def entry(pair: Pair) -> tuple[float, int, str, str, Pair]:
        return -gain(pairs, pair), -pairs.counts[pair], names[pair[0]], names[pair[1]], pair

    queued = {pair: entry(pair) for pair, count in pairs.counts.items() if count >= min_count}
    heap = list(queued.values())
    heapq.heapify(heap)

    def queue(pair: Pair) -> None:
        now = entry(pair)
        if queued.get(pair) != now and pairs.counts[pair] >= min_count:
            queued[pair] = now
            heapq.heappush(heap, now)

    while heap and len(names) < room:
        best = heapq.heappop(heap)
        pair = best[-1]
        if pair not in pairs.counts:
            continue
        if entry(pair) != best:
            # A pair whose own counts changed was queued again then. Likelihood also falls for all others as the text
            # gets shorter, so that what stands in the heap is too high, never too low: look again here.
            queue(pair)
            continue
        if best[0] >= 0:
            break  # this merge would make the text less likely, and so would all others
        merged = names[pair[0]] + names[pair[1]][2:]
        if merged not in ids:  # two pairs may spell the same piece
            ids[merged] = len(names)
            names.append(merged)
        for other in pairs.merge(pair, ids[merged]):
            queue(other)
    return names


def _ratio(pairs: Pairs, pair: Pair) -> float:
    return pairs.counts[pair] / (pairs.symbols[pair[0]] * pairs.symbols[pair[1]])


def _likelihood(pairs: Pairs, pair: Pair) -> float:
    """By how many nats the merge raises the log-likelihood: the sum of n log n over pieces, less that of the total."""
    first, second = pair
    n, total = pairs.counts[pair], pairs.total
    gain = _n_log_n(n) + _n_log_n(total) - _n_log_n(total - n)
    taken = 2 * n if first == second else n
    for symbol in {first, second}:
        gain += _n_log_n(pairs.symbols[symbol] - taken) - _n_log_n(pairs.symbols[symbol])
    return gain


@lru_cache(maxsize=1 << 20)  # few counts are new from one merge to the next
def _n_log_n(n: int) -> float:
    return n * math.log(n) if n > 0 else 0.0


def _covered(words: Mapping[str, int], coverage: float) -> set[str]:
    """The most frequent characters, as many as make up the share `coverage` of all."""
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for character in word:
            counts[character] += count
    wanted = coverage * counts.total()
    known: set[str] = set()
    reached = 0
    for character, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        if reached >= wanted:
            break
        known.add(character)
        reached += count
    return known


def _in_code_points(piece: str) -> tuple[bool, str]:
    return piece.startswith("##") and len(piece) > 2, piece
