"""The held-out split and the limits."""

from __future__ import annotations

import random

from exnihilo.core.documents import Document
from exnihilo.corpus.split import candidate, cut_end, group_of, head, limit, split


def document(identity: str, text: str = "text", **meta: object) -> Document:
    return Document(identity, text, "s", "l", "", meta)


def candidates(count: int, text: str = "0123456789") -> list:  # type: ignore[type-arg]
    return [candidate(i, document(f"{i:05d}", text), None) for i in range(count)]


def test_groups() -> None:
    assert group_of(document("1"), None) == "1"
    assert group_of(document("1", path="json/decoder.py"), None) == "json/decoder.py"
    assert group_of(document("1", path="rows.jsonl", row=7), None) == "rows.jsonl#7"
    assert group_of(document("1", path="rows.jsonl", row=7), "path") == "rows.jsonl"
    assert group_of(document("1", path="rows.jsonl", author="Ann"), "author") == "Ann"
    assert group_of(document("1", path="a.txt"), "author") == "a.txt"


def test_the_share_is_held_out_and_a_larger_share_holds_the_smaller() -> None:
    every = candidates(4000)
    train, few = split(every, 0.05)
    _, many = split(every, 0.2)
    # Binomial standard deviations: 14 and 25 documents.
    assert abs(len(few) - 200) < 56 and abs(len(many) - 800) < 100
    assert set(few) < set(many)
    assert set(train) | set(few) == set(every) and not set(train) & set(few)
    assert split(every, 0) == (every, [])


def test_a_documents_side_does_not_depend_on_the_others() -> None:
    every = candidates(1000)
    held_out = set(split(every, 0.1)[1])
    shuffled = random.Random(0).sample(every, 500)
    assert set(split(shuffled, 0.1)[1]) == held_out & set(shuffled)


def test_a_few_documents_still_leave_one_held_out_that_is_no_more_than_half() -> None:
    for count in (2, 3, 10):
        train, held_out = split(candidates(count), 0.0001)
        assert (len(train), len(held_out)) == (count - 1, 1)
    sizes = [candidate(i, document(f"{i}", "x" * size), None) for i, size in enumerate((1000, 10, 10))]
    assert split(sizes, 1e-9)[1][0].size == 10
    one_group = [candidate(i, document(f"{i}", path="same"), None) for i in range(3)]
    assert split(one_group, 1e-9) == (one_group, [])


def test_limit_takes_by_hash_and_keeps_the_order() -> None:
    every = candidates(100)
    taken = limit(every, 250)
    assert len(taken) == 25 and [one.number for one in taken] == sorted(one.number for one in taken)
    assert taken != every[:25]
    shuffled = random.Random(0).sample(every, 100)
    assert set(limit(shuffled, 250)) == set(taken)
    assert set(limit(every, 100)) < set(taken)
    assert limit(every, None) == every
    assert len(limit(every, None, 3)) == 3
    assert len(limit(every, 25, 3)) == 2


def test_limit_takes_whole_groups_before_others() -> None:
    pairs = [candidate(i, document(f"{i}", "0123456789", path=f"{i // 2}"), None) for i in range(40)]
    taken = limit(pairs, 200)
    groups = [one.number // 2 for one in taken]
    assert sorted(groups) == sorted(group for group in set(groups) for _ in range(2))


def test_the_end_is_cut_at_a_line_else_at_a_word() -> None:
    lines = "".join(f"line {i}\n" for i in range(1000))
    start, end = cut_end(lines, 0.1)
    assert start + end == lines and end.startswith("line ") and 0.08 < len(end) / len(lines) <= 0.1
    words = "word " * 1000
    start, end = cut_end(words, 0.1)
    assert start + end == words and end.startswith("word ") and start.endswith(" ")
    start, end = cut_end("河" * 1000, 0.1)
    assert (len(start), len(end)) == (900, 100)


def test_head_keeps_whole_characters() -> None:
    assert head("河水", 5) == "河"
    assert head("河水", 6) == "河水"
    assert head("河水", None) == "河水"
