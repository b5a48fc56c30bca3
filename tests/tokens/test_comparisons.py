"""Rows of comparisons: whole, each once an epoch, and the same however they are split."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from exnihilo.core.errors import Refused
from exnihilo.examples.preferences import Pair
from exnihilo.tokens.batch import SOURCE
from exnihilo.tokens.comparisons import (
    ANSWER,
    ASPECT,
    BETTER,
    CERTAINTY,
    DESIRABLE,
    MARGIN,
    PAIR_WEIGHT,
    UNDESIRABLE,
    WORSE,
    Comparison,
    ComparisonRows,
)


def comparison(first: int, sizes: tuple[int, ...], pairs: tuple[Pair, ...], source: str = "") -> Comparison:
    """A prompt of three ids and answers of `sizes` ids, all of them different."""
    answers, fresh = [], first + 3
    for size in sizes:
        answers.append(
            ([first, first + 1, first + 2, *range(fresh, fresh + size)], [False] * 3 + [True] * size)
        )
        fresh += size
    return Comparison(tuple(answers), pairs, source)


@pytest.fixture
def comparisons() -> list[Comparison]:
    generator = np.random.default_rng(0)
    found = []
    for i in range(30):
        sizes = tuple(generator.integers(1, 9, size=2 + i % 3).tolist())
        pairs = tuple(Pair(a, b, margin=i / 2, certainty=0.75) for b in range(len(sizes)) for a in range(b))
        found.append(comparison(100 * i, sizes, pairs, "even" if i % 2 == 0 else "odd"))
    return found


def test_rm_5_every_pair_of_a_prompt_is_in_one_row_and_the_prompt_counts_once(
    comparisons: list[Comparison],
) -> None:
    source = ComparisonRows(comparisons, 2, 48, seed=1, pad=9)
    batch = source.pack(range(source.rows_per_epoch))
    seen: dict[int, float] = {}
    answers = {}
    first = np.cumsum([0] + [len(one.answers) for one in comparisons]).tolist()
    numbers = {ids[0] // 100: i for i, one in enumerate(comparisons) for ids, _ in one.answers[:1]}
    for row in range(len(batch)):
        segments = batch.segments[row]
        spans = [(segments == s).nonzero()[:, 0] for s in range(int(segments.max()) + 1)]
        ids = [batch.tokens[row][span].tolist() for span in spans]
        for span, one in zip(spans, ids, strict=True):
            which = numbers[one[0] // 100]
            answer = [a for a, _ in comparisons[which].answers].index(one)
            assert set(batch.extra[ANSWER][row][span].tolist()) == {first[which] + answer}
            answers[which, answer] = one
            assert batch.positions[row][span].tolist() == list(range(len(one)))
            # Each target is the next id, and nothing follows the last.
            assert batch.targets[row][span].tolist() == [*one[1:], 0]
            assert batch.weights[row][span].tolist() == [0.0, 0.0] + [1.0] * (len(one) - 3) + [0.0]
            assert batch.extra[SOURCE][row][span].unique().tolist() == [which % 2]
        for pair in range(batch.extra[BETTER].shape[1]):
            weight = float(batch.extra[PAIR_WEIGHT][row, pair])
            if not weight:
                continue
            better, worse = (ids[int(batch.extra[name][row, pair])] for name in (BETTER, WORSE))
            which = numbers[better[0] // 100]
            assert numbers[worse[0] // 100] == which
            given = [
                (comparisons[which].answers[p.better][0], comparisons[which].answers[p.worse][0])
                for p in comparisons[which].pairs
            ]
            assert (better, worse) in given
            assert float(batch.extra[MARGIN][row, pair]) == which / 2
            assert (
                float(batch.extra[CERTAINTY][row, pair]) == 0.75 and int(batch.extra[ASPECT][row, pair]) == 0
            )
            seen[which] = seen.get(which, 0.0) + weight
    assert len(answers) == sum(len(one.answers) for one in comparisons), "each answer is read once"
    assert seen.keys() == set(range(30)) and all(abs(total - 1) < 1e-6 for total in seen.values())
    assert source.sources == ["even", "odd"]


def test_a_pair_is_an_answer_of_either_kind_and_a_label_one_of_its_own() -> None:
    pairs = (Pair(0, 1), Pair(2, 1, certainty=0.75))
    both = [
        comparison(0, (2, 3, 4), pairs),
        replace(comparison(100, (2,), ()), label=True),
        replace(comparison(200, (3,), ()), label=False),
        comparison(300, (2,), ()),
    ]
    batch = ComparisonRows(both, 1, 48, seed=0, pad=9).pack([0, 1])
    found = {}
    for row in range(len(batch)):
        for segment in range(int(batch.segments[row].max()) + 1):
            answer = int(batch.extra[ANSWER][row][batch.segments[row] == segment][0])
            found[answer] = tuple(float(batch.extra[kind][row, segment]) for kind in (DESIRABLE, UNDESIRABLE))
    assert found == {
        0: (0.5, 0.0), 1: (0.125, 0.875), 2: (0.375, 0.125), 3: (1.0, 0.0), 4: (0.0, 1.0), 5: (0.0, 0.0)
    }  # fmt: skip


def test_parts_of_a_batch_are_the_batch(comparisons: list[Comparison]) -> None:
    source = ComparisonRows(comparisons, 6, 48, seed=1, pad=9)
    whole = source.next(0)
    assert torch.equal(whole.tokens, source.pack(range(6)).tokens)
    parts = whole.split(3)
    assert [len(part.extra[BETTER]) for part in parts] == [2, 2, 2]
    again = type(whole).cat(parts)
    for name, tensor in whole.fields().items():
        assert torch.equal(again.fields()[name], tensor), name


def test_the_order_is_the_seeds_and_a_resumed_source_is_checked(comparisons: list[Comparison]) -> None:
    a, b = (ComparisonRows(comparisons, 2, 48, seed=seed, pad=9) for seed in (1, 2))
    assert not torch.equal(a.next(0).tokens, b.next(0).tokens)
    a.resume(a.state())
    with pytest.raises(Refused):
        a.resume(b.state())
    with pytest.raises(Refused):
        a.resume(ComparisonRows(comparisons[1:], 2, 48, seed=1, pad=9).state())
    assert a.epochs(a.rows_per_epoch) == 2


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ([], "no comparisons"),
        ([comparison(0, (2, 2), ())], "no pairs"),
        ([comparison(0, (20, 20), (Pair(0, 1),))], "46 tokens in 2 answers, a row has 32"),
        ([comparison(0, (2, 2), (Pair(0, 2),))], "compares answers 0 and 2 of 2"),
        ([comparison(0, (2, 2), (Pair(1, 1),))], "compares answers 1 and 1 of 2"),
        ([comparison(0, (2, 2), (Pair(0, 1, certainty=1.5),))], "certainty of 1.5"),
        ([Comparison((([1], [True]), ([1, 2], [False, True])), (Pair(0, 1),))], "an answer of no tokens"),
    ],
)
def test_what_can_not_be_packed_is_refused(bad: list[Comparison], reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        ComparisonRows(bad, 1, 32, seed=0, pad=9)
