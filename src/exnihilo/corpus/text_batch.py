"""A batch of texts as arrays, for rules that look at every character, word and line of millions of documents.

Python objects for single words cost more than any rule does. Here a word or a line is a pair of numbers, its start and
its end, and has a 64-bit hash; how long it is, or how many of its characters are letters, are differences of sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt

from exnihilo.corpus.character_classes import IDEOGRAPH, LINE_END, SPACE, WORD, classes

Int64 = npt.NDArray[np.int64]
UInt64 = npt.NDArray[np.uint64]
Bools = npt.NDArray[np.bool_]

_BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2**64
_BASE_INVERSE = pow(_BASE, -1, 1 << 64)


@dataclass(frozen=True)
class Spans:
    """Stretches of the batch in order, none across a text's border: `[start, end)` in characters.

    Attributes:
        start, end: int64[S].
        first: int64[n + 1]: the spans of text i are `first[i]` to `first[i + 1]`.
    """

    start: Int64
    end: Int64
    first: Int64

    @cached_property
    def text(self) -> Int64:
        """The text that each span is of, int64[S]."""
        return np.repeat(np.arange(len(self.first) - 1), self.count)

    @property
    def count(self) -> Int64:
        """How many each text has, int64[n]."""
        return np.diff(self.first)

    @cached_property
    def length(self) -> Int64:
        """Characters, int64[S]."""
        return self.end - self.start

    def where(self, chosen: Bools) -> Spans:
        """Only those that are chosen (bool[S])."""
        return Spans(self.start[chosen], self.end[chosen], np.append(0, np.cumsum(chosen))[self.first])

    def total(self, values: npt.NDArray[np.generic]) -> Int64:
        """The sum of `values` [S] (numbers or bools) over the spans of each text, int64[n]."""
        return np.diff(_cumulative(values)[self.first])


class TextBatch:
    """Texts as one array of code points, each followed by a NUL, which belongs to none of them.

    About 40 bytes are held for a character while all that it offers is in use: give it a few megabytes at a time.
    """

    def __init__(self, codes: npt.NDArray[np.uint32], start: Int64, end: Int64) -> None:
        self.codes = codes
        self.start = start
        self.end = end

    @classmethod
    def of(cls, texts: Sequence[str]) -> TextBatch:
        """The batch of these texts. None holds a NUL, which `collect` takes for binary data."""
        joined = "".join(text + "\0" for text in texts)
        codes = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
        length = np.fromiter(map(len, texts), np.int64, len(texts))
        end: Int64 = np.cumsum(length + 1) - 1
        return cls(codes, end - length, end)

    def __len__(self) -> int:
        return len(self.start)

    @cached_property
    def length(self) -> Int64:
        """Characters of each text, int64[n]."""
        return self.end - self.start

    @cached_property
    def joined(self) -> str:
        """All texts, each followed by a NUL: what a search for a phrase goes through at once."""
        return self.codes.tobytes().decode("utf-32-le", "surrogatepass")

    @cached_property
    def lowered(self) -> str:
        """`joined` in lower case, character by character: those whose lower case is longer stay as they are."""
        lowered = self.joined.lower()
        if len(lowered) == len(self.codes):
            return lowered
        return "".join(low if len(low := character.lower()) == 1 else character for character in self.joined)

    @cached_property
    def classes(self) -> npt.NDArray[np.uint8]:
        """The bits of `character_classes` of each character, uint8[N]. A NUL is a line end and a space here."""
        bits = classes(self.codes)
        bits[self.end] = LINE_END | SPACE
        return bits

    def has(self, bit: int) -> Bools:
        """Which characters have a class, bool[N]."""
        return (self.classes & bit) > 0

    @cached_property
    def words(self) -> Spans:
        """Runs of letters, digits and marks, an ideograph by itself, and every other sign that is no white space by
        itself: in English what `\\w+|[^\\w\\s]` finds."""
        bits = self.classes
        word, alone = (bits & WORD) > 0, ((bits & IDEOGRAPH) > 0) | ((bits & (WORD | SPACE)) == 0)
        run = word & ~alone
        start, end = run | alone, run | alone
        start[1:] &= ~(run[1:] & run[:-1])
        end[:-1] &= ~(run[1:] & run[:-1])
        return self._spans(np.flatnonzero(start), np.flatnonzero(end) + 1)

    @cached_property
    def chunks(self) -> Spans:
        """What white space parts: the words of `str.split`."""
        solid = ~self.has(SPACE)
        edges = np.flatnonzero(np.diff(solid, prepend=False))
        return self._spans(edges[0::2], edges[1::2])

    @cached_property
    def lines(self) -> Spans:
        """What line feeds part, with its white space; lines of white space alone are none."""
        every = self.lines_and_blanks
        return every.where(self._solid_before(every.end) > self._solid_before(every.start))

    @cached_property
    def lines_and_blanks(self) -> Spans:
        """What line feeds part, with its white space, and lines of nothing else; empty lines are none."""
        breaks = np.flatnonzero(self.has(LINE_END))
        every = self._spans(np.append(0, breaks + 1)[:-1], breaks)
        return every.where(every.length > 0)

    @cached_property
    def paragraphs(self) -> Spans:
        """What two or more line feeds part, of the text without white space at its ends; line feeds that have blanks
        between them part nothing."""
        breaks = np.flatnonzero(self.codes == ord("\n"))
        follows = np.diff(breaks, append=-1) == 1
        first = breaks[follows & ~np.append(False, follows[:-1])]
        last = breaks[~follows & np.append(False, follows[:-1])]
        edge = np.concatenate([self.start, last + 1])
        stop = np.concatenate([first, self.end])
        spans = self._spans(np.sort(edge), np.sort(stop))
        return spans.where(self._solid_before(spans.end) > self._solid_before(spans.start))

    def stripped(self, spans: Spans) -> Spans:
        """Spans without the white space at both ends. Each holds something else."""
        first = self._solid[self._solid_before(spans.start)]
        last = self._solid[self._solid_before(spans.end) - 1]
        return Spans(first, last + 1, spans.first)

    def hashes(self, spans: Spans) -> UInt64:
        """A 64-bit hash of the characters of each span, uint64[S]: equal for equal ones."""
        raised = self._prefix[spans.end] - self._prefix[spans.start]
        return mixed(raised * _powers(_BASE_INVERSE, len(self.codes) + 1)[spans.start])

    def within(self, bit: int, spans: Spans) -> Int64:
        """How many characters of a class each span has, int64[S]."""
        upto = _cumulative(self.has(bit))
        return upto[spans.end] - upto[spans.start]

    @cached_property
    def _solid(self) -> Int64:
        return np.flatnonzero(~self.has(SPACE))

    def _solid_before(self, places: Int64) -> Int64:
        """How many characters before each place are no white space."""
        return np.searchsorted(self._solid, places)

    @cached_property
    def _prefix(self) -> UInt64:
        """Of each place i the sum of `code * base ** j` over the characters j before it, modulo 2**64."""
        weighted = self.codes * _powers(_BASE, len(self.codes))
        return np.concatenate([np.zeros(1, np.uint64), np.cumsum(weighted, dtype=np.uint64)])

    def _spans(self, start: Int64, end: Int64) -> Spans:
        return Spans(start, end, np.append(np.searchsorted(start, self.start), len(start)))


def string_hash(text: str) -> np.uint64:
    """What `TextBatch.hashes` gives for a span that holds this text."""
    batch = TextBatch.of([text])
    hashed: np.uint64 = batch.hashes(Spans(batch.start, batch.end, np.array([0, 1])))[0]
    return hashed


def mixed(values: UInt64) -> UInt64:
    """A bijection of 64 bits after which every bit depends on every bit (the finaliser of MurmurHash3)."""
    for constant in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        values = (values ^ (values >> np.uint64(33))) * np.uint64(constant)
    return values ^ (values >> np.uint64(33))


def _cumulative(values: npt.NDArray[np.generic]) -> Int64:
    sums = np.zeros(len(values) + 1, dtype=np.int64)
    np.cumsum(values, out=sums[1:])
    return sums


def _powers(base: int, count: int) -> UInt64:
    """`base ** i` modulo 2**64 for i below `count`, uint64[count]."""
    return _power_table(base, 1 << max(count - 1, 1).bit_length())[:count]


@lru_cache(maxsize=4)
def _power_table(base: int, count: int) -> UInt64:
    powers = np.full(count, base, dtype=np.uint64)
    powers[0] = 1
    return np.cumprod(powers, dtype=np.uint64)
