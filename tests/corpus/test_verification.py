"""Near-duplicates in real documents: found, verified exactly, and the same ones in whatever order."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import numpy as np
import pytest

from exnihilo.corpus.clusters import components
from exnihilo.corpus.folded import fold
from exnihilo.corpus.minhash import band_keys, shingles, signatures
from exnihilo.corpus.text_batch import Int64, TextBatch, UInt64, mixed
from exnihilo.corpus.verification import (
    candidate_pairs,
    contents,
    distinct_shingles,
    jaccard,
    near_duplicates,
)

BANDS, ROWS = 20, 8
WORDS = 200


def prepared(texts: list[str]) -> tuple[UInt64, UInt64, Int64]:
    """Band keys, and distinct shingles with where each text's begin."""
    hashes, first = shingles(fold(TextBatch.of(texts)).batch, 5)
    return band_keys(signatures(hashes, first, BANDS * ROWS), BANDS), *distinct_shingles(hashes, first)


def sets(hashes: UInt64, first: Int64) -> list[set[int]]:
    return [set(part.tolist()) for part in np.split(hashes, first[1:-1])]


def exact(a: set[int], b: set[int]) -> float:
    return len(a & b) / len(a | b) if a | b else 0.0


def stretches(data: Path, count: int) -> list[str]:
    """The first 200 words of real documents."""
    texts = []
    with gzip.open(data / "text" / "movie-reviews.jsonl.gz", "rt", encoding="utf-8") as stream:
        for line in stream:
            texts.append(" ".join(json.loads(line)["text"].split()[:WORDS]))
            if len(texts) == count:
                break
    return texts


def changed(text: str, words: int, chance: random.Random) -> str:
    parts = text.split(" ")
    for place in chance.sample(range(len(parts)), words):
        parts[place] = f"changed{chance.randrange(10**9)}"
    return " ".join(parts)


def found_pairs(keys: UInt64, hashes: UInt64, first: Int64) -> set[tuple[int, int]]:
    content = contents(hashes, first)
    return {
        (a, b)
        for band in range(keys.shape[1])
        for a, b in candidate_pairs(keys[:, band], keys[:, (band + 1) % keys.shape[1]], content).tolist()
    }


def test_planted_near_duplicates_are_found_and_others_not(data: Path) -> None:
    chance = random.Random(1)
    originals = stretches(data, 400)
    texts = [text for one in originals for text in (one, changed(one, chance.randrange(1, 8), chance))]
    keys, hashes, first = prepared(texts)
    shingled = sets(hashes, first)
    alike = {i for i in range(400) if exact(shingled[2 * i], shingled[2 * i + 1]) >= 0.8}
    unlike = set(range(400)) - alike
    assert len(alike) > 150 and len(unlike) > 50  # the control: changed more than the threshold allows
    stay = near_duplicates(keys, hashes, first, [(f"{i:04}",) for i in range(len(texts))])
    dropped = {i // 2 for i in np.flatnonzero(~stay).tolist()}
    assert len(dropped & alike) / len(alike) >= 0.95
    assert len(dropped & alike) / len(dropped) >= 0.99
    candidates = {a // 2 for a, b in found_pairs(keys, hashes, first) if a // 2 == b // 2}
    assert len(candidates & unlike) > 20  # which verification turns away


def test_against_all_pairs(data: Path) -> None:
    chance = random.Random(2)
    texts = stretches(data, 180)
    texts += [changed(chance.choice(texts), chance.randrange(0, 12), chance) for _ in range(120)]
    keys, hashes, first = prepared(texts)
    shingled = sets(hashes, first)
    everyone = np.array([(a, b) for a in range(300) for b in range(a + 1, 300)])
    measured = jaccard(everyone, hashes, first)
    some = chance.sample(range(len(everyone)), 500) + np.flatnonzero(measured > 0.3).tolist()
    assert all(measured[i] == exact(shingled[everyone[i][0]], shingled[everyone[i][1]]) for i in some)
    alike = everyone[measured >= 0.8]
    label = components(alike, 300)
    by_bands = {tuple(pair) for pair in alike.tolist()} & found_pairs(keys, hashes, first)
    assert len(by_bands) >= 0.95 * len(alike)
    reached = components(np.array(sorted(by_bands)), 300)
    stay = near_duplicates(keys, hashes, first, [(i,) for i in range(300)])
    assert np.array_equal(stay, reached == np.arange(300))
    assert set(np.flatnonzero(label == np.arange(300)).tolist()) <= set(np.flatnonzero(stay).tolist())


def test_the_order_of_texts_does_not_count(data: Path) -> None:
    chance = random.Random(3)
    originals = stretches(data, 60)
    texts = (
        originals + [changed(originals[i % 4], i % 9, chance) for i in range(240)] + ["", "!", originals[0]]
    )
    kept = []
    for seed in (0, 1, 2):
        numbers = list(range(len(texts)))
        random.Random(seed).shuffle(numbers)
        keys, hashes, first = prepared([texts[n] for n in numbers])
        stay = near_duplicates(keys, hashes, first, [(n,) for n in numbers])
        kept.append({numbers[i] for i in np.flatnonzero(stay).tolist()})
    assert kept[0] == kept[1] == kept[2]
    assert {300, 301} <= kept[0] and 302 not in kept[0]  # texts without words are nobody's duplicates
    assert len(kept[0]) < 180  # of 303


def test_large_groups_have_few_pairs_and_stay_whole() -> None:
    size = 3000
    same = np.zeros(size, np.uint64)
    beside = mixed(np.arange(size).astype(np.uint64) % np.uint64(5))
    pairs = candidate_pairs(same, beside, mixed(np.arange(size).astype(np.uint64)))
    assert len(pairs) == 2 * (size - 1) - 1
    assert len(np.unique(pairs, axis=0)) == len(pairs)
    assert (components(pairs, size) == 0).all()
    within = pairs[beside[pairs[:, 0]] == beside[pairs[:, 1]]]
    assert len(np.unique(components(within, size))) == 5  # each kind hangs together by itself
    fifty = candidate_pairs(same[:50], beside[:50], beside[:50])
    assert len(fifty) == 50 * 49 // 2
    assert candidate_pairs(same[:0], same[:0], same[:0]).shape == (0, 2)


def test_shingles_from_a_memory_map_and_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random_numbers = np.random.default_rng(4)
    parts = [np.unique(random_numbers.integers(0, 50, size=n).astype(np.uint64)) for n in (30, 0, 40, 10, 60)]
    hashes, first = mixed(np.concatenate(parts)), np.cumsum([0, *map(len, parts)])
    hashes, first = distinct_shingles(np.append(hashes, hashes[-3:]), np.append(first[:-1], len(hashes) + 3))
    hashes.tofile(tmp_path / "shingles.u64")
    mapped = np.memmap(tmp_path / "shingles.u64", dtype=np.uint64, mode="r")
    pairs = np.array([(a, b) for a in range(5) for b in range(5)])
    shingled = sets(hashes, first)
    expected = [exact(shingled[a], shingled[b]) for a, b in pairs]
    assert jaccard(pairs, mapped, first).tolist() == expected
    monkeypatch.setattr("exnihilo.corpus.verification._AT_ONCE", 20)
    assert jaccard(pairs, mapped, first).tolist() == expected
    assert max(expected) == 1.0 and len(set(expected)) > 5
