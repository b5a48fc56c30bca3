"""Which source each position is from, and the loss of a model that only counts."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from exnihilo.tokens.batch import SOURCE, Batch
from exnihilo.tokens.packing import ConversationRows
from exnihilo.tokens.sampler import DocumentRows
from exnihilo.tokens.shards import TokenSet
from exnihilo.tokens.sources import MOST, OTHER, by_amount, unigram_nats
from exnihilo.tokens.writer import TokenSetWriter

PAD = 2


def token_set(folder: Path, documents: list[tuple[str, list[int]]], vocabulary: int = 1000) -> TokenSet:
    with TokenSetWriter(folder, vocab_size=vocabulary, tokenizer="f" * 64) as writer:
        for source, ids in documents:
            writer.write("train", ids, 3 * len(ids), source)
    return TokenSet.open(folder)


def by_hundreds(source_of: dict[int, str]) -> list[tuple[str, list[int]]]:
    """Five documents a source, whose ids beside bos and eos say which source they are from."""
    return [
        (source, [0, *[100 * n + i for i in range(9 + i_th)], 1])
        for n, source in source_of.items()
        for i_th in range(5)
    ]


def test_the_largest_are_named_in_order_and_the_rest_are_others() -> None:
    names, index = by_amount(["b", "a", "b"], [1, 5, 2])
    assert names == ["a", "b"] and index.tolist() == [1, 0, 1]
    labels = [f"s{i:03d}" for i in range(MOST + 3)]
    names, index = by_amount(labels, list(range(MOST + 3)))
    assert names == [*labels[3:], OTHER] and index.tolist() == [MOST] * 3 + list(range(MOST))
    assert by_amount(["one"], [1])[0] == ["one"]


def test_each_position_of_a_row_says_its_source(tmp_path: Path) -> None:
    tokens = token_set(tmp_path / "t", by_hundreds({1: "code", 2: "prose", 3: "verse"}))
    rows = DocumentRows([tokens], None, rows=3, length=16, seed=0)
    assert rows.sources == ["code", "prose", "verse"]
    for step in range(6):
        batch = rows.next(step)
        inner = batch.targets >= 100
        assert (batch.extra[SOURCE][inner] == batch.targets[inner] // 100 - 1).all() and inner.any()
        # A document's borders are its own: bos stands before its first token, eos is predicted by its last.
        starts = batch.tokens == 0
        assert (batch.extra[SOURCE][starts] == batch.targets[starts] // 100 - 1).all()


def test_sets_are_named_and_their_sources_after_them(tmp_path: Path) -> None:
    first = token_set(tmp_path / "mine", by_hundreds({1: "code", 2: "prose"}))
    second = token_set(tmp_path / "world", by_hundreds({3: "prose"}))
    rows = DocumentRows([first, second], [0.5, 0.5], rows=4, length=16, seed=0)
    assert rows.sources == ["mine/code", "mine/prose", "world"]
    batch = rows.next(0)
    inner = batch.targets >= 100
    assert (batch.extra[SOURCE][inner] == batch.targets[inner] // 100 - 1).all()
    assert set(batch.extra[SOURCE].unique().tolist()) <= {0, 1, 2}
    assert {
        source for b in (rows.next(s) for s in range(9)) for source in b.extra[SOURCE].unique().tolist()
    } == {0, 1, 2}


def test_one_source_costs_no_field_and_changes_nothing(tmp_path: Path) -> None:
    one = token_set(tmp_path / "one", [("a", ids) for _, ids in by_hundreds({1: "a", 2: "b"})])
    two = token_set(tmp_path / "two", by_hundreds({1: "a", 2: "b"}))
    alone, named = (DocumentRows([tokens], None, rows=2, length=16, seed=0) for tokens in (one, two))
    assert alone.sources == ["a"] and alone.next(0).extra == {}
    for step in range(4):
        ours, theirs = alone.next(step), named.next(step)
        for name, tensor in ours.fields().items():
            assert (tensor == theirs.fields()[name]).all()
    # The order is a matter of seed and step, not of names: a run under way may go on.
    assert {k: v for k, v in alone.state().items() if k != "fingerprint"} == {
        k: v for k, v in named.state().items() if k != "fingerprint"
    }


@pytest.fixture
def encoded() -> list[tuple[list[int], list[bool]]]:
    """Conversations whose ids say which family they are of."""
    return [([0, *[100 * (1 + n % 3)] * (4 + n), 7], [False] * 3 + [True] * (3 + n)) for n in range(9)]


def test_conversations_are_told_by_family_and_replay_by_itself(
    encoded: list[tuple[list[int], list[bool]]], tmp_path: Path
) -> None:
    labels = ["sums", "", "names"] * 3
    text = token_set(tmp_path / "t", by_hundreds({1: "code", 2: "prose"}))
    replay = DocumentRows([text], None, rows=2, length=32, seed=3)
    rows = ConversationRows(encoded, 3, 32, 0, pad=PAD, replay=replay, labels=labels)
    assert rows.sources == ["conversations", "names", "sums", "replay"]
    place = {100: 2, 200: 0, 300: 1}
    batch = rows.next(1)
    mine, theirs = batch.rows(0, 3), batch.rows(3, 5)
    for id_, source in place.items():
        here = mine.targets == id_
        assert (mine.extra[SOURCE][here] == source).all() and here.any()
    assert (theirs.extra[SOURCE] == 3).all() and set(batch.extra) == {SOURCE}
    plain = ConversationRows(encoded, 3, 32, 0, pad=PAD)
    assert plain.sources == ["conversations"] and plain.next(1).extra == {}
    assert isinstance(Batch.cat([plain.next(0), plain.next(1)]), Batch)


def test_entropy_of_single_tokens(tmp_path: Path) -> None:
    uniform = token_set(tmp_path / "u", [("a", list(range(64)))], vocabulary=64)
    assert unigram_nats([uniform]) == pytest.approx(math.log(64))
    halves = token_set(tmp_path / "h", [("a", [0] * 32 + [1] * 32)], vocabulary=64)
    assert unigram_nats([halves]) == pytest.approx(math.log(2))
    counts = np.bincount([*range(64), *[0] * 32, *[1] * 32])
    shares = counts / counts.sum()
    assert unigram_nats([uniform, halves]) == pytest.approx(float(-(shares * np.log(shares)).sum()))
