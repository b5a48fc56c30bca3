"""Exact-substring deduplication against brute force, on planted repeats, and across seams."""

from __future__ import annotations

import gzip
import itertools
import json
import random
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from exnihilo.core.errors import ConfigError
from exnihilo.corpus import equal_windows
from exnihilo.corpus.equal_windows import Integers, Symbols
from exnihilo.corpus.substrings import (
    by_document,
    cut,
    deduplicate,
    encoded,
    ranges_in,
    repeated_ranges,
)

# Characters of one to four bytes; those of one length begin alike, so matches begin and end inside characters.
CHARACTERS = "aéè中丮😀😁"


def tokens(documents: list[list[int]]) -> tuple[Symbols, Integers]:
    """Documents of token ids as one array with offsets."""
    sizes = np.array([0, *map(len, documents)], dtype=np.int64)
    return np.array([token for document in documents for token in document], dtype=np.uint16), np.cumsum(
        sizes
    )


def brute_force(
    symbols: Symbols, offsets: Integers, length: int, *, strike_all: bool = False, held_out_ends: int = 0
) -> set[int]:
    """Places to cut, window by window from a dictionary.

    With `held_out_ends`, what stands before that place is held-out text, and only what occurs in it is cut.
    """
    data, size = symbols.tobytes(), symbols.itemsize
    if symbols.dtype == np.uint8:
        begins, place = set(), 0
        for character in data.decode("utf-8"):
            begins.add(place)
            place += len(character.encode("utf-8"))
    else:
        begins = set(range(len(symbols)))
    begins.add(len(symbols))

    def whole(place: int) -> int:
        return max(begin for begin in range(place - 3, place + 1) if begin in begins)

    first: dict[bytes, int] = {}
    places: set[int] = set()
    for low, high in itertools.pairwise(offsets.tolist()):
        for start in range(low, high - length + 1):
            if start not in begins:
                continue
            earliest = first.setdefault(data[start * size : (start + length) * size], start)
            if earliest == start:
                continue
            if held_out_ends:
                if earliest < held_out_ends <= start:
                    places.update(range(start, whole(start + length)))
            else:
                stays = 0 if strike_all else whole(earliest + length)
                places.update(range(max(start, stays), whole(start + length)))
                if strike_all:
                    places.update(range(earliest, whole(earliest + length)))
    return places


def places(ranges: Integers, offsets: Integers) -> set[int]:
    """The places in ranges that are as they should be: none empty, sorted, apart, each within a document."""
    borders = set(offsets.tolist())
    for (_, end), (start, _) in itertools.pairwise(ranges.tolist()):
        assert end < start or (end == start and start in borders)
    for start, end in ranges.tolist():
        assert start < end and not borders & set(range(start + 1, end))
    assert ranges.dtype == np.int64
    return {place for start, end in ranges.tolist() for place in range(start, end)}


def random_tokens(seed: int) -> tuple[Symbols, Integers, int]:
    """A few documents, some empty, over an alphabet of one to three symbols, and a length."""
    source = random.Random(seed)
    kinds = source.randint(1, 3)
    documents = [
        [source.randrange(kinds) for _ in range(source.choice([0, 1, 5, 30, 90]))]
        for _ in range(source.randint(1, 6))
    ]
    return *tokens(documents), source.randint(1, 12)


def random_text(seed: int) -> tuple[Symbols, Integers, int]:
    source = random.Random(seed)
    alphabet = source.sample(CHARACTERS, source.randint(1, 4))
    texts = ["".join(source.choices(alphabet, k=source.choice([0, 1, 9, 60]))) for _ in range(5)]
    return *encoded(texts), source.randint(4, 20)


def real_texts(data: Path, names: list[str], size: int) -> list[str]:
    """`size` bytes of each file, at least, in documents."""
    texts = []
    for name in names:
        left = size
        with gzip.open(data / "text" / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
            while left > 0 and (line := next(lines, None)):
                texts.append(json.loads(line)["text"])
                left -= len(texts[-1].encode("utf-8"))
    return texts


@pytest.mark.parametrize("strike_all", [False, True], ids=["keep-one", "strike-all"])
def test_equals_brute_force_on_random_documents(strike_all: bool) -> None:
    cut_something = 0
    for seed in range(300):
        for make in (random_tokens, random_text):
            symbols, offsets, length = make(seed)
            found = places(repeated_ranges(symbols, offsets, length, strike_all=strike_all), offsets)
            assert found == brute_force(symbols, offsets, length, strike_all=strike_all), (make, seed)
            cut_something += 0 < len(found) < len(symbols)
    assert cut_something > 300


@pytest.mark.parametrize("strike_all", [False, True], ids=["keep-one", "strike-all"])
@pytest.mark.parametrize("names", [["peps"], ["tang-poems-zh", "arabic"]], ids=["English", "Chinese, Arabic"])
def test_corpus_10_equals_brute_force_on_200_kilobytes(
    data: Path, names: list[str], strike_all: bool
) -> None:
    texts = real_texts(data, names, 200_000 // len(names))
    texts += [texts[3][len(texts[3]) // 4 :], texts[5]]  # and something to find
    symbols, offsets = encoded(texts)
    found = places(repeated_ranges(symbols, offsets, strike_all=strike_all), offsets)
    assert found == brute_force(symbols, offsets, 100, strike_all=strike_all)
    assert 500 < len(found) < len(symbols) / 2
    # What is left is text, and as much shorter as ranges are long.
    ranges = dict(by_document(repeated_ranges(symbols, offsets, strike_all=strike_all), offsets))
    left = [cut(text, ranges[i]) if i in ranges else text for i, text in enumerate(texts)]
    assert sum(len(text.encode("utf-8")) for text in left) == len(symbols) - len(found)


@pytest.mark.parametrize("constant", ["_PART", "_CHUNK", "_COMPARED"])
def test_how_the_work_is_parted_does_not_matter(constant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(equal_windows, constant, 7)
    for seed in range(60):
        symbols, offsets, length = random_tokens(seed)
        found = places(repeated_ranges(symbols, offsets, length), offsets)
        assert found == brute_force(symbols, offsets, length), seed


def test_fingerprints_that_collide_cut_nothing_wrong_and_miss_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    full = equal_windows._fingerprints
    monkeypatch.setattr(
        equal_windows, "_fingerprints", lambda symbols, length: full(symbols, length) % np.uint64(3)
    )
    for seed in range(60):
        for make in (random_tokens, random_text):
            symbols, offsets, length = make(seed)
            found = places(repeated_ranges(symbols, offsets, length), offsets)
            assert found == brute_force(symbols, offsets, length), (make, seed)


def test_fingerprints_of_different_windows_differ() -> None:
    # Counting numbers, and one 1 among zeros: what sums and polynomials confuse.
    for symbols in (np.arange(100_000, dtype=np.uint32), np.eye(120, dtype=np.uint32).reshape(-1)):
        values = equal_windows._fingerprints(symbols, 50)
        windows = len({row.tobytes() for row in np.lib.stride_tricks.sliding_window_view(symbols, 50)})
        assert len(np.unique(values)) == windows
        # Sorted are the low bits, 39 of them in a full part.
        assert len(np.unique(values << np.uint64(25))) == windows


@pytest.mark.parametrize("strike_all", [False, True], ids=["keep-one", "strike-all"])
@pytest.mark.parametrize("planted", [49, 50, 51, 173])
def test_corpus_10_planted_repeats_of_50_tokens_go_and_those_of_49_stay(
    planted: int, strike_all: bool
) -> None:
    source = np.random.default_rng(planted)
    fresh = iter(source.permutation(65_536).tolist() * 4)  # neighbours of two copies never agree by chance

    def some(count: int) -> list[int]:
        return [next(fresh) for _ in range(count)]

    passages = [some(planted) for _ in range(50)]
    documents = [[*some(20), *passage, *some(20)] for passage in [*passages, *passages]]
    symbols, offsets = tokens(documents)
    ranges = repeated_ranges(symbols, offsets, strike_all=strike_all)
    if planted < 50:
        assert not len(ranges)
    else:
        low = 0 if strike_all else 50
        expected = [[offsets[i] + 20, offsets[i] + 20 + planted] for i in range(low, 100)]
        assert ranges.tolist() == np.array(expected).tolist()


def test_corpus_10_a_shorter_repeat_elsewhere_in_the_document_stays() -> None:
    phrase = "the licence is that of the Python documentation"
    passage = (
        f"{phrase}, and every example in it may be used under the terms of the BSD licence as well, {phrase}"
    )
    texts = [f"1:{passage}.", f"{phrase}: see below. {passage}; and again, {phrase}"]
    symbols, offsets = encoded(texts)
    ((number, ranges),) = by_document(repeated_ranges(symbols, offsets), offsets)
    assert number == 1
    assert cut(texts[1], ranges) == f"{phrase}: see below. ; and again, {phrase}"
    # The control: cutting by content takes what was no repeat of 100 bytes.
    assert texts[1].replace(phrase, "").count(phrase) == 0


def test_corpus_10_a_repeat_across_a_documents_border_is_none() -> None:
    passage = list(range(60))
    apart = tokens([passage, [], passage[:30], passage[30:]])
    assert not len(repeated_ranges(*apart))
    together = tokens([passage, [], passage])
    assert repeated_ranges(*together).tolist() == [[60, 120]]
    # Documents that are cut whole, side by side, keep the border between them.
    assert repeated_ranges(*tokens([passage, passage, passage])).tolist() == [[60, 120], [120, 180]]


def test_corpus_10_places_beyond_4_gibibytes(tmp_path: Path) -> None:
    symbols, offsets = encoded(
        ["x" * 40 + "repeated passage " * 9, "é" * 90, "repeated passage " * 9 + "é" * 90]
    )
    for shift in (1 << 32, (1 << 32) - 150):
        with (tmp_path / "symbols").open("wb") as file:  # a sparse file: what stands before takes no room
            file.seek(shift)
            file.write(symbols.tobytes())
        far = np.memmap(tmp_path / "symbols", dtype=np.uint8, mode="r")
        for strike_all in (False, True):
            near = repeated_ranges(symbols, offsets, strike_all=strike_all)
            assert (
                repeated_ranges(far, offsets + shift, strike_all=strike_all).tolist()
                == (near + shift).tolist()
            )
            done = deduplicate(far, offsets + shift, strike_all=strike_all)
            assert done.ranges.max() > 1 << 32
            assert (done.ranges - shift).tolist() == deduplicate(
                symbols, offsets, strike_all=strike_all
            ).ranges.tolist()
        assert [
            (number, ranges.tolist())
            for number, ranges in by_document(repeated_ranges(far, offsets + shift), offsets + shift)
        ] == [(n, r.tolist()) for n, r in by_document(repeated_ranges(symbols, offsets), offsets)]
        leaks = ranges_in(far, offsets[1:] + shift, symbols, offsets[:2])
        assert leaks.tolist() == [[offsets[2] + shift, offsets[2] + shift + 153]]
        del far


def test_a_run_keeps_its_first_window() -> None:
    symbols, offsets = encoded(["=" * 1000, "-" * 100, "中" * 50, "中" * 33 + "丮"])
    # Of 100 equal bytes 99 are whole characters; after the last window that fits, 3 bytes are left.
    assert repeated_ranges(symbols, offsets).tolist() == [[100, 1000], [1199, 1247], [1250, 1349]]
    symbols, offsets = tokens([list(range(30)) * 20])
    assert repeated_ranges(symbols, offsets).tolist() == [[50, 600]]


def test_the_order_of_documents_is_the_callers_and_sorted_it_does_not_matter() -> None:
    source = random.Random(1)
    passages = ["".join(source.choices("abcdefgh ", k=150)) for _ in range(6)]
    texts = {
        f"doc-{i}": "".join(source.choices("xyz", k=80)) + source.choice(passages) + source.choice(passages)
        for i in range(40)
    }

    def survivors(identities: list[str]) -> dict[str, str]:
        symbols, offsets = encoded(texts[identity] for identity in identities)
        ranges = dict(by_document(deduplicate(symbols, offsets).ranges, offsets))
        empty = np.empty((0, 2), dtype=np.int64)
        return {name: cut(texts[name], ranges.get(i, empty)) for i, name in enumerate(identities)}

    orders = [source.sample(list(texts), len(texts)) for _ in range(5)]
    expected = survivors(sorted(texts))
    assert sum(map(len, expected.values())) < sum(map(len, texts.values())) / 2
    assert all(survivors(sorted(order)) == expected for order in orders)
    # The control: without sorting, others survive.
    assert all(survivors(order) != expected for order in orders)


def test_one_round_leaves_no_repeat_in_pieces_kept_apart() -> None:
    for seed in range(200):
        for strike_all in (False, True):
            symbols, offsets, length = (random_tokens, random_text)[seed % 2](seed)
            gone = places(repeated_ranges(symbols, offsets, length, strike_all=strike_all), offsets)
            edges = {place for place in range(1, len(symbols)) if (place in gone) != (place - 1 in gone)}
            pieces = sorted({*offsets.tolist(), *edges})
            left = [
                symbols[low:high]
                for low, high in itertools.pairwise(pieces)
                if low < high and low not in gone
            ]
            sizes = np.array([0, *map(len, left)], dtype=np.int64)
            apart = np.concatenate([symbols[:0], *left])
            assert not len(repeated_ranges(apart, np.cumsum(sizes), length)), seed


def test_cutting_brings_new_repeats_together_and_the_next_round_finds_them() -> None:
    numbers = iter(range(1000))

    def some(count: int) -> list[int]:
        return [next(numbers) for _ in range(count)]

    before, after, one, other = some(30), some(30), some(60), some(60)
    symbols, offsets = tokens([[*one, *some(5), *other], [*before, *one, *after], [*before, *other, *after]])
    done = deduplicate(symbols, offsets)
    assert done.rounds == [120, 60]
    # In the second document its middle, and of the third all: the seam of the first round lies inside.
    assert done.ranges.tolist() == [[155, 215], [245, 365]]
    assert repeated_ranges(symbols, offsets).tolist() == [[155, 215], [275, 335]]


@pytest.mark.parametrize("strike_all", [False, True], ids=["keep-one", "strike-all"])
def test_corpus_10_at_the_fixpoint_nothing_repeats(strike_all: bool) -> None:
    rounds = []
    for seed in range(200):
        for make in (random_tokens, random_text):
            symbols, offsets, length = make(seed)
            done = deduplicate(symbols, offsets, length, strike_all=strike_all)
            gone = places(done.ranges, offsets)
            assert sum(done.rounds) == len(gone) and min(done.rounds, default=1) > 0
            left = [
                [int(symbols[place]) for place in range(low, high) if place not in gone]
                for low, high in itertools.pairwise(offsets.tolist())
            ]
            joined, borders = tokens(left)
            assert not brute_force(joined.astype(symbols.dtype), borders, length), (make, seed)
            rounds.append(len(done.rounds))
    assert max(rounds) > 2


def test_held_out_text_is_cut_from_training_text_and_other_repeats_stay() -> None:
    for seed in range(200):
        make = (random_tokens, random_text)[seed % 2]
        (train, offsets, _), (held, held_offsets, length) = make(seed), make(seed + 2000)
        both = np.concatenate((held, train))
        borders = np.concatenate((held_offsets, offsets[1:] + len(held)))
        expected = brute_force(both, borders, length, held_out_ends=len(held)) if len(held) else set()
        found = places(ranges_in(train, offsets, held, held_offsets, length), offsets)
        assert found == {place - len(held) for place in expected}, seed
    passage, leaked = list(range(60)), list(range(100, 160))
    train, offsets = tokens([[*passage, 7, *passage], [1, *leaked[:55], 2, 3], leaked[:49]])
    held, held_offsets = tokens([[5], [6, *leaked]])
    assert ranges_in(train, offsets, held, held_offsets).tolist() == [[122, 177]]
    # Offsets may begin later: what stands before is no document.
    assert ranges_in(train, offsets[1:], held, held_offsets).tolist() == [[122, 177]]
    assert not len(ranges_in(train, offsets, held, held_offsets[:2]))


def test_a_text_is_cut_by_place_and_never_within_a_character() -> None:
    text = "añ中😀z" * 3
    size = len(text.encode("utf-8"))
    for low in range(size):
        for high in range(low, size):
            inside = text.encode("utf-8")[low:high].decode("utf-8", errors="ignore")
            left = cut(text, np.array([[low, high]]))
            assert len(left) == len(text) - len(inside)
    assert cut(text, np.empty((0, 2), dtype=np.int64)) == text
    assert cut("abcabc", np.array([[0, 1], [4, 6]])) == "bca"


def test_ranges_by_document_skip_empty_documents() -> None:
    offsets = np.array([0, 0, 5, 5, 5, 9, 9])
    found = [(n, r.tolist()) for n, r in by_document(np.array([[0, 2], [3, 5], [5, 9]]), offsets)]
    assert found == [(1, [[0, 2], [3, 5]]), (4, [[0, 4]])]
    assert not list(by_document(np.empty((0, 2), dtype=np.int64), offsets))


def test_nothing_gives_nothing() -> None:
    for texts in ([], [""], ["short"], ["", "short", ""]):
        symbols, offsets = encoded(texts)
        assert deduplicate(symbols, offsets).rounds == []
        assert ranges_in(symbols, offsets, symbols, offsets).shape == (0, 2)


GOOD, BORDERS = np.zeros(9, dtype=np.uint16), np.array([0, 4, 9])


@pytest.mark.parametrize(
    ("symbols", "offsets", "length", "problem"),
    [
        (GOOD.astype(np.int64), BORDERS, 5, "symbols: int64 .*give one dimension of uint8, uint16 or uint32"),
        (GOOD.reshape(3, 3), BORDERS, 5, "symbols: uint16 of 2 dimensions"),
        (GOOD, BORDERS.astype(np.uint32), 5, "offsets: give int64"),
        (GOOD, BORDERS[:0], 5, "offsets: give int64"),
        (GOOD, np.array([0, 5, 4]), 5, "offsets: give int64, .*none smaller than the one before"),
        (GOOD, np.array([0, 10]), 5, "offsets: 0 to 10 do not lie within 9 symbols"),
        (GOOD, np.array([-1, 9]), 5, "offsets: -1 to 9 do not lie"),
        (GOOD, BORDERS, 0, "length: 0; give at least 1 for uint16"),
        (GOOD.astype(np.uint8), BORDERS, 3, "length: 3; give at least 4 for uint8"),
    ],
)
def test_bad_input_is_named(symbols: Symbols, offsets: Integers, length: int, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        repeated_ranges(symbols, offsets, length)


def test_bytes_and_tokens_are_not_compared() -> None:
    with pytest.raises(ConfigError, match="uint16 and uint8"):
        ranges_in(GOOD, BORDERS, GOOD.astype(np.uint8), BORDERS)


@pytest.mark.slow
def test_20_megabytes_take_under_5_minutes(data: Path) -> None:
    texts = real_texts(data, ["peps", "brown"], 15_000_000)
    symbols, offsets = encoded(texts)
    assert len(symbols) > 20_000_000
    tracemalloc.start()
    began = time.process_time()
    done = deduplicate(symbols, offsets)
    seconds = time.process_time() - began
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    print(f"{len(symbols):,} bytes: {seconds:.1f} s of one core, {peak / 1e6:.0f} MB, rounds {done.rounds}")
    assert seconds < 300 and peak < 32 * len(symbols)
