"""The order of In-Context Pretraining."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from exnihilo.core.errors import Refused
from exnihilo.corpus.contexts import contexts, shuffled_contexts
from exnihilo.corpus.curriculum import shuffled
from exnihilo.corpus.embedding import Vectors, embed
from exnihilo.corpus.in_context_order import cover, in_context_paths
from exnihilo.corpus.neighbours import Neighbours

SOURCES = ("brown", "peps", "rust-rfcs", "movie-reviews")
Int64Array = npt.NDArray[np.int64]


@dataclass
class Corpus:
    ids: list[str]
    texts: list[str]
    vectors: Vectors

    def adjacent(self, order: Int64Array) -> float:
        return float((self.vectors[order[:-1]] * self.vectors[order[1:]]).sum(axis=1).mean())

    def same_source(self, order: Int64Array) -> float:
        sources = np.array([self.ids[i].split("/")[0] for i in order])
        return float((sources[:-1] == sources[1:]).mean())


@pytest.fixture(scope="module")
def corpus(data: Path) -> Corpus:
    """The beginnings of 2,000 real documents, 500 from each of four sources."""
    ids, texts = [], []
    for source in SOURCES:
        with gzip.open(data / "text" / f"{source}.jsonl.gz", "rt", encoding="utf-8") as file:
            rows = [json.loads(line) for _, line in zip(range(500), file, strict=False)]
        ids += [f"{source}/{row['id']}" for row in rows]
        texts += [row["text"][:2500] for row in rows]
    assert len(ids) == 2000
    return Corpus(ids, texts, embed(texts, 128))


@pytest.fixture(scope="module")
def order(corpus: Corpus) -> Int64Array:
    return np.concatenate(in_context_paths(corpus.ids, corpus.texts, corpus.vectors))


def _two_opt(order: Int64Array, cosines: Vectors) -> Int64Array:
    """A path from which no reversal of a stretch makes a better one."""
    path, improved = order.copy(), True
    while improved:
        improved = False
        for i in range(len(path) - 3):
            a, b, c, d = path[i], path[i + 1], path[i + 2 : -1], path[i + 3 :]
            gain = cosines[a, c] + cosines[b, d] - cosines[a, b] - cosines[c, d]
            best = int(gain.argmax())
            if gain[best] > 1e-6:
                path[i + 1 : i + 3 + best] = path[i + 1 : i + 3 + best][::-1]
                improved = True
    return path


def test_neighbours_on_the_path_are_related(corpus: Corpus, order: Int64Array) -> None:
    assert len(order) > 1900  # few near-duplicates are in these sources
    chance = shuffled(corpus.ids, 1)
    assert corpus.adjacent(order) >= 3 * corpus.adjacent(chance)
    # A witness that the vectors know nothing of: where a document comes from.
    assert corpus.same_source(chance) < 0.3 and corpus.same_source(order) > 0.85
    # Of what a tour reaches that looks at all pairs and is improved until no reversal helps.
    cosines = corpus.vectors @ corpus.vectors.T
    bound = max(
        corpus.adjacent(_two_opt(start, cosines)) for start in (order, chance[np.isin(chance, order)])
    )
    assert bound > 1.005 * corpus.adjacent(order)
    assert corpus.adjacent(order) >= 0.8 * bound


def test_inside_contexts_related_and_between_them_not(corpus: Corpus, order: Int64Array) -> None:
    sizes = np.array([len(text) // 4 for text in corpus.texts], dtype=np.int64)
    cut = contexts([order], sizes, 4096)
    placed = shuffled_contexts(cut, 1)
    inside = np.mean([corpus.adjacent(context) for context in placed if len(context) > 1])

    def between(contexts: list[Int64Array]) -> float:
        borders = [np.array([one[-1], other[0]]) for one, other in itertools.pairwise(contexts)]
        return float(np.mean([corpus.adjacent(border) for border in borders]))

    chance = corpus.adjacent(shuffled(corpus.ids, 2))
    assert inside > 3 * chance
    assert between(placed) < 1.5 * chance
    assert between(cut) > 3 * chance  # without the shuffle


def test_corpus_15_order_is_a_permutation_and_one_for_every_hash_seed(corpus: Corpus, tmp_path: Path) -> None:
    chosen = list(range(0, 2000, 10))
    program = """
import json, sys
import numpy as np
from exnihilo.corpus.embedding import embed
from exnihilo.corpus.in_context_order import in_context_paths

documents = dict(json.load(open(sys.argv[1])))
assert len({"a", "b", "c", "d"}) == 4
paths = in_context_paths(list(documents), list(documents.values()), embed(documents.values(), 64), k=8)
ids = list(documents)
print(json.dumps([list({"a", "b", "c", "d", "e", "f"}), [[ids[i] for i in path] for path in paths]]))
"""
    file = tmp_path / "documents.json"
    file.write_text(json.dumps([(corpus.ids[i], corpus.texts[i]) for i in chosen]))
    sets, results = [], []
    for seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-c", program, str(file)], env=environment, capture_output=True, check=True
        )
        names, paths = json.loads(done.stdout)
        sets.append(names)
        results.append(paths)
    assert sets[0] != sets[1]  # the seeds do change the order of sets
    assert results[0] == results[1]
    placed = [identity for path in results[0] for identity in path]
    assert len(set(placed)) == len(placed) > 190 and set(placed) <= {corpus.ids[i] for i in chosen}


def test_the_order_in_which_documents_are_given_plays_no_part(corpus: Corpus) -> None:
    given = list(range(0, 2000, 4))
    expected = in_context_paths(
        [corpus.ids[i] for i in given], [corpus.texts[i] for i in given], corpus.vectors[given]
    )
    names = [[corpus.ids[given[i]] for i in path] for path in expected]
    for seed in range(3):
        random.Random(seed).shuffle(given)
        paths = in_context_paths(
            [corpus.ids[i] for i in given], [corpus.texts[i] for i in given], corpus.vectors[given]
        )
        assert [[corpus.ids[given[i]] for i in path] for path in paths] == names


def _topics(topics: int, each: int, seed: int = 0) -> Corpus:
    """Texts of 60 words, a third of them from the 30 of their topic; `id` tells nothing of the topic."""
    source = random.Random(seed)
    texts = []
    for number in range(topics * each):
        own = [f"topic{number % topics}word{source.randrange(30)}" for _ in range(20)]
        texts.append(" ".join(source.sample(own + [f"word{source.randrange(500)}" for _ in range(40)], 60)))
    return Corpus([f"{i:05}" for i in range(len(texts))], texts, embed(texts, 64))


def test_planted_topics_are_recovered() -> None:
    planted = _topics(12, 40)
    order = np.concatenate(in_context_paths(planted.ids, planted.texts, planted.vectors, k=10))
    assert sorted(order.tolist()) == list(range(480))
    changes = int((np.diff(order % 12) != 0).sum())
    assert changes <= 5 * 11  # at least 11, by chance 440
    assert int((np.diff(shuffled(planted.ids, 1) % 12) != 0).sum()) > 400


def _edges(count: int, edges: dict[tuple[int, int], float]) -> Neighbours:
    """As found from the first end of each edge; for what is missing, each stands beside itself at weight 0."""
    k = max(sum(one == i for one, _ in edges) for i in range(count))
    ids = np.repeat(np.arange(count), k).reshape(count, k)
    cosines = np.zeros((count, k), dtype=np.float32)
    for i in range(count):
        for place, ((_, other), weight) in enumerate([e for e in edges.items() if e[0][0] == i]):
            ids[i, place], cosines[i, place] = other, weight
    return Neighbours(ids, cosines)


def _paths(count: int, edges: dict[tuple[int, int], float]) -> list[list[int]]:
    return [path.tolist() for path in cover(_edges(count, edges))]


def test_a_path_begins_at_the_smallest_degree_and_goes_on_by_weight() -> None:
    # 4 - 0 - 1, 0 - 2, 1 - 2, 2 - 3: nodes 3 and 4 have one edge. Found from one end, edges go both ways.
    edges = {(0, 4): 0.1, (0, 1): 0.2, (0, 2): 0.9, (1, 2): 0.5, (3, 2): 0.3}
    assert _paths(5, edges) == [[3, 2, 0, 1], [4]]
    # Weight decides: without the strong edge the walk goes another way, and reaches all.
    assert _paths(5, edges | {(0, 2): 0.4}) == [[3, 2, 1, 0, 4]]
    # An edge found from both ends is one; of equal weights the smaller number; nothing is no edge.
    assert _paths(4, {(2, 1): 0.5, (1, 2): 0.5, (2, 0): 0.5, (0, 1): 0.5, (3, 0): -0.1}) == [[3], [0, 1, 2]]
    assert cover(Neighbours(np.empty((0, 0), np.int64), np.empty((0, 0), np.float32))) == []
    assert [
        p.tolist() for p in cover(Neighbours(np.empty((1, 0), np.int64), np.empty((1, 0), np.float32)))
    ] == [[0]]


def test_of_near_duplicates_the_longest_stays_and_what_they_hid_is_found() -> None:
    planted = _topics(4, 12)
    source = random.Random(3)
    texts, ids = list(planted.texts), list(planted.ids)
    for number in range(30):  # more copies of document 5 than anything has neighbours
        words = planted.texts[5].split()
        source.shuffle(words)  # other openings, and the same words
        texts.append(" ".join(words) + " " * (number == 17))
        ids.append(f"copy{number}")
    paths = in_context_paths(ids, texts, embed(texts, 64), k=6)
    order = np.concatenate(paths)
    assert sorted(order.tolist()) == [i for i in range(48) if i != 5] + [48 + 17]
    place = order.tolist().index(48 + 17)
    beside = [int(order[i]) for i in (place - 1, place + 1) if 0 <= i < len(order)]
    assert any(number % 4 == 5 % 4 for number in beside)
    everything = in_context_paths(ids, texts, embed(texts, 64), k=6, max_cosine=1.1)
    assert len(np.concatenate(everything)) == 78


def test_a_document_that_opens_like_the_one_before_is_left_out() -> None:
    opening = (
        "Copyright by the authors, who grant to everybody the right to copy this text as it stands here: all."
    )
    assert len(opening) == 100
    texts = [f"{opening} river{i} " + " ".join(f"w{i}x{j}" for j in range(20)) for i in range(3)]
    texts += ["all the text " + texts[0][::-1], "", ""]
    ids = ["a", "b", "c", "d", "e", "f"]
    order = np.concatenate(in_context_paths(ids, texts, embed(texts, 8)))
    assert len([i for i in order if i < 3]) == 1 and {3, 4, 5} <= set(order.tolist())
    # Of 98 3-grams 5 differ, and 93 of 103 are shared: 0.90. Where 11 differ, it is 87 of 109: 0.80.
    for word, left in (("who", 1), ("everybody", 3)):
        signs = ["".join(chr(0x4E00 + 16 * i + j) for j in range(len(word))) for i in range(3)]
        other = [text.replace(word, sign) for text, sign in zip(texts[:3], signs, strict=True)]
        assert len(np.concatenate(in_context_paths(ids[:3], other, embed(other, 8)))) == left


def test_bad_input_is_refused() -> None:
    vectors = embed(["a", "b"], 4)
    with pytest.raises(Refused, match="have the same id 'x'"):
        in_context_paths(["x", "x"], ["a", "b"], vectors)
    with pytest.raises(Refused, match="1 ids, 2 texts and 2 vectors"):
        in_context_paths(["x"], ["a", "b"], vectors)
    assert in_context_paths([], [], embed([])) == []
