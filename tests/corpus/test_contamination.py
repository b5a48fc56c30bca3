"""Items of evaluation sets, planted in real documents, are found however they are written; nothing else is."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exnihilo.core.errors import ConfigError, Refused
from exnihilo.corpus.contamination import Index
from exnihilo.corpus.evaluation_items import EvaluationItem, gpt3_words
from exnihilo.corpus.text_batch import TextBatch

HOSTS = ("movie-reviews", "brown", "rust-rfcs")
SETS = {
    "gsm8k": "gsm8k-test-first600",
    "mmlu": "mmlu-test-29-subjects",
    "arc-easy": "arc-easy",
    "arc-challenge": "arc-challenge",
    "humaneval": "humaneval-first100",
}


def rows(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]


def texts_of(row: dict[str, Any]) -> tuple[str, ...]:
    question = (row.get("question") or row.get("prompt") or row["query"]).removeprefix("Question: ")
    if "choices" not in row:
        return (question,)
    return (question, "\n".join([question, *map(str, row["choices"])]))


@pytest.fixture(scope="module")
def items(data: Path) -> list[EvaluationItem]:
    return [
        EvaluationItem(name, texts_of(row))
        for name, file in SETS.items()
        for row in rows(data / "eval" / f"{file}.jsonl.gz")
    ]


@pytest.fixture(scope="module")
def index(items: list[EvaluationItem]) -> Index:
    return Index(items)


@pytest.fixture(scope="module")
def hosts(data: Path) -> list[str]:
    return [row["text"] for name in HOSTS for row in rows(data / "text" / f"{name}.jsonl.gz")]


def batches(texts: list[str], size: int = 4_000_000) -> Iterator[list[str]]:
    some: list[str] = []
    held = 0
    for text in texts:
        some.append(text)
        held += len(text)
        if held > size:
            yield some
            some, held = [], 0
    yield some


def respaced(text: str, chance: random.Random) -> str:
    """Line feeds, tabs and several spaces where there was space."""
    return "".join(chance.choice(["\n", "  ", " \t", "\n\n    "]) if c == " " else c for c in text)


def repunctuated(text: str, chance: random.Random) -> str:
    """Other signs for those that were there, and new ones between words."""
    signs = "—“”’;:…·*_|#"
    other = [chance.choice(signs) if c.isascii() and not (c.isalnum() or c.isspace()) else c for c in text]
    return "".join(f"{chance.choice([' ', ', ', ' – ', ' *'])}" if c == " " else c for c in other)


def reworded(text: str, chance: random.Random, words: list[str], share: float = 0.1) -> str:
    """With a tenth of the words replaced by words of other texts."""
    parts = text.split()
    for place in chance.sample(range(len(parts)), max(1, round(share * len(parts)))):
        parts[place] = chance.choice(words)
    return " ".join(parts)


def planted(text: str, host: str, chance: random.Random, between: str) -> str:
    """`text` in the middle of `host`, at a space."""
    at = host.find(" ", chance.randrange(len(host)))
    at = at if at >= 0 else len(host)
    return f"{host[:at]}{between}{text}{between}{host[at + 1 :]}"


def found(index: Index, texts: list[str], numbers: list[int]) -> list[bool]:
    """Of each text whether item `numbers[i]` was found in it."""
    hits = index.search(TextBatch.of(texts))
    pairs = set(zip(hits.text.tolist(), hits.item.tolist(), strict=True))
    return [(i, number) in pairs for i, number in enumerate(numbers)]


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(
    "change",
    [
        lambda text, chance: text,
        lambda text, chance: text.upper(),
        lambda text, chance: text.title(),
        lambda text, chance: text.swapcase(),
        respaced,
        repunctuated,
    ],
    ids=["verbatim", "upper", "title", "swapped case", "spaces", "signs"],
)
def test_planted_items_are_found(
    index: Index, hosts: list[str], seed: int, change: Callable[[str, random.Random], str]
) -> None:
    chance = random.Random(seed)
    numbers = chance.sample(range(len(index.items)), 200)
    texts = [
        planted(change(index.items[n].texts[-1], chance), chance.choice(hosts), chance, "\n") for n in numbers
    ]
    assert all(found(index, texts, numbers))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_items_with_a_tenth_of_their_words_changed(index: Index, hosts: list[str], seed: int) -> None:
    chance = random.Random(seed)
    words = " ".join(hosts[:20]).split()
    long = [n for n, one in enumerate(index.items) if len(one.texts[-1].split()) > 25]
    numbers = chance.sample(long, 200)
    texts = [
        planted(reworded(index.items[n].texts[-1], chance, words), chance.choice(hosts), chance, " ")
        for n in numbers
    ]
    assert np.mean(found(index, texts, numbers)) >= 0.99
    half = [reworded(index.items[n].texts[-1], chance, words, share=0.5) for n in numbers]
    assert (
        np.mean(found(index, half, numbers)) < 0.05
    )  # another text with some words of the item is not the item


@pytest.mark.slow
def test_documents_without_items_are_left_alone(index: Index, hosts: list[str]) -> None:
    hit = sum(len(np.unique(index.search(TextBatch.of(some)).text)) for some in batches(hosts))
    assert hit / len(hosts) < 0.001


def test_control_13_grams_alone_miss_changed_items(index: Index, hosts: list[str]) -> None:
    chance = random.Random(4)
    words = " ".join(hosts[:20]).split()
    long = [n for n, one in enumerate(index.items) if 25 < len(one.texts[-1].split()) < 50]
    numbers = chance.sample(long, 200)
    hits = index.search(TextBatch.of([reworded(index.items[n].texts[-1], chance, words) for n in numbers]))
    verbatim = {(t, i) for t, i, a in zip(hits.text, hits.item, hits.altered, strict=True) if not a}
    assert np.mean([pair in verbatim for pair in enumerate(numbers)]) < 0.9


def test_short_items_are_whole_lines() -> None:
    index = Index([EvaluationItem("s", ("What is it?",)), EvaluationItem("s", ("Water",))])
    alone = ["Ask:\nWhat\n  IS it\nGo on.", "what is it", "x\n- Water.\n"]
    inside = ["I asked him what is it that you want", "What is it, then?\n", "Water is wet.\nThe water"]
    assert index.search(TextBatch.of([*alone, *inside])).text.tolist() == [0, 1, 2]


def test_where_an_item_stands_and_how_much_of_it() -> None:
    words = " ".join(f"w{i}" for i in range(40))
    index = Index(
        [
            EvaluationItem("s", ("other " * 3 + "text of nine words, more or less.",)),
            EvaluationItem("s", (words,)),
        ]
    )
    text = f"Before it, {words.upper().replace(' ', '  ')}. And after."
    hits = index.search(TextBatch.of(["nothing", text, "w0 w1 w2 w3 w4 w5 w6 w7 w8 w9 w10 w11 w12"]))
    assert hits.item.tolist() == [1, 1, 1]
    assert hits.altered.tolist() == [False, True, False]
    whole = hits.text == 1
    joined = TextBatch.of(["nothing", text]).joined
    assert {joined[a:b] for a, b in zip(hits.start[whole], hits.end[whole], strict=True)} == {
        words.upper().replace(" ", "  ")
    }
    assert hits.share.tolist() == [1.0, 1.0, 13 / 40]


def test_words_apart_are_no_altered_item() -> None:
    words = [f"w{i}" for i in range(60)]
    index = Index([EvaluationItem("s", (" ".join(words),))])
    pieces = [" ".join(words[i : i + 6]) for i in range(0, 60, 6)]
    close = " so ".join(pieces)
    apart = (" so " + "many other words " * 40).join(pieces)
    assert index.search(TextBatch.of([close, apart])).text.tolist() == [0]


def test_hits_do_not_depend_on_batches(index: Index, hosts: list[str]) -> None:
    chance = random.Random(5)
    texts = [planted(index.items[7 * n].texts[0], hosts[n][:3000], chance, "\n\n") for n in range(40)]
    together = index.search(TextBatch.of(texts))
    alone = [index.search(TextBatch.of([text])) for text in texts]
    assert together.item.tolist() == [item for one in alone for item in one.item.tolist()]
    assert together.share.tolist() == [share for one in alone for share in one.share.tolist()]
    lengths = (together.end - together.start).tolist()
    assert lengths == [n for one in alone for n in (one.end - one.start).tolist()]


def test_n_grams_of_many_documents_are_ignored() -> None:
    phrase = "we hold these truths to be self evident that all men are created equal and free"
    own = "a question of which nobody has ever asked the like before in all of these texts"
    index = Index([EvaluationItem("s", (phrase,)), EvaluationItem("s", (own,))])
    texts = [f"{phrase} {phrase} {i}" for i in range(11)] + [own]
    documents = sum(index.documents(TextBatch.of(texts[i : i + 5])) for i in range(0, 12, 5))
    assert sorted(np.unique(documents).tolist()) == [1, 11]
    rare = index.without(documents > 10).search(TextBatch.of(texts))
    assert set(rare.text[~rare.altered].tolist()) == {11}
    assert set(index.search(TextBatch.of(texts)).text.tolist()) == set(range(12))


def test_the_n_of_a_set_is_the_5th_percentile_of_its_lengths() -> None:
    assert gpt3_words(np.array([3] * 10 + [40] * 90)) == 8
    assert gpt3_words(np.array([11] * 10 + [40] * 90)) == 11
    assert gpt3_words(np.array([30] * 100)) == 13
    nine = " ".join(f"w{i}" for i in range(9))
    sets = [EvaluationItem("short", (f"{nine} x{i}",)) for i in range(20)]
    text = TextBatch.of([f"so {nine} and"])
    assert len(Index(sets, ngram=13).search(text).item) == 0
    assert len(Index([*sets, EvaluationItem("long", ("z " * 50,))], ngram=None).search(text).item) == 0
    ten = TextBatch.of([f"so {nine} x3"])
    assert set(Index(sets, ngram=None).search(ten).item.tolist()) == {3}


def test_what_all_items_of_a_set_say_is_no_item() -> None:
    manner = "read the passage below with care and then choose the one answer that is best of all"
    sets = [EvaluationItem("s", (f"{' '.join(f'{i}x{k}' for k in range(8))} {manner}",)) for i in range(60)]
    index = Index(sets)
    changed = manner.replace("one", "single")
    assert index.search(TextBatch.of([changed])).item.tolist() == []
    assert set(Index(sets[:40]).search(TextBatch.of([changed])).item.tolist()) == set(
        range(40)
    )  # the control


def test_nothing_to_look_for_and_nowhere_to_look() -> None:
    assert len(Index([]).search(TextBatch.of(["some text of no interest at all"])).item) == 0
    assert len(Index([EvaluationItem("s", ("???",))]).search(TextBatch.of(["???", "", "!"])).item) == 0
    with pytest.raises(Refused, match="s: an item without text"):
        EvaluationItem("s", ("", " \n"))
    with pytest.raises(ConfigError, match="ngram 3: so few words"):
        Index([], ngram=3)
