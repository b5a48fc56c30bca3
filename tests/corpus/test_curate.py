"""Curation of whole corpora."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from exnihilo.core.artifact import Artifact
from exnihilo.core.documents import Document, read_documents, splits
from exnihilo.core.errors import ConfigError, Refused

Run = Callable[..., Artifact]

RANDOM = random.Random(7)
VOCABULARY = ["".join(RANDOM.choices("abcdefghijklmnopqrstuvwxyz", k=6)) for _ in range(2000)]


def text(seed: int, words: int = 40) -> str:
    return " ".join(random.Random(seed).choices(VOCABULARY, k=words)) + "\n"


def corpus(count: int) -> list[Document]:
    return [Document(f"{i:04d}", text(i), "notes", "CC0-1.0", "", {"path": f"{i}.txt"}) for i in range(count)]


def ids(artifact: Artifact, split: str) -> list[str]:
    return [one.id for one in read_documents(artifact.path, split)]


def report(artifact: Artifact) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((artifact.path / "curation.json").read_text())
    return found


def test_every_document_has_one_fate(run_curate: Run) -> None:
    documents = corpus(300)
    documents[5] = Document("0005", documents[4].text + "  \r\n", "notes", "CC0-1.0")  # longer: survives
    documents[6] = Document("0006", "short", "notes", "CC0-1.0")
    documents[7] = Document("0007", "1.25 " * 40, "notes", "CC0-1.0")
    artifact = run_curate(documents, held_out=0.1)
    train, held_out = ids(artifact, "train"), ids(artifact, "held_out")
    assert 15 < len(held_out) < 45
    assert sorted(train + held_out) == sorted(
        one.id for one in documents if one.id not in ("0004", "0006", "0007")
    )
    found = report(artifact)
    assert found["removed"] == {
        "exact duplicate": {"count": 1, "examples": ["0004"]},
        "mostly digits": {"count": 1, "examples": ["0007"]},
        "too short": {"count": 1, "examples": ["0006"]},
    }
    assert found["read"] == 300 and found["train"]["documents"] == len(train)
    assert artifact.manifest["metrics"]["held_out_documents"] == len(held_out)
    train_bytes = sum(len(one.text.encode()) for one in read_documents(artifact.path))
    assert found["train"]["bytes"] == train_bytes
    assert artifact.manifest["provenance"][0]["amount"] == train_bytes
    assert "left out 1: too short (0006)" in artifact.manifest["lines"]


def test_text_is_normalised_and_otherwise_untouched(run_curate: Run) -> None:
    odd = "\u0065\u0301 and \u00e9 stay apart;\r\nold\rlines \0and NUL go.\n" + text(1)
    artifact = run_curate([Document("a", odd, "s", "l"), *corpus(30)])
    kept = {
        one.id: one.text for split in splits(artifact.path) for one in read_documents(artifact.path, split)
    }
    assert kept["a"] == "\u0065\u0301 and \u00e9 stay apart;\nold\nlines and NUL go.\n" + text(1)


def test_corpus_8_the_fate_of_a_document_does_not_depend_on_order(run_curate: Run) -> None:
    documents = corpus(120)
    for i in range(10):
        documents.append(Document(f"copy{i}", documents[i].text.replace(" ", "  "), "copies", "l"))
        documents.append(Document(f"twin{i}", documents[i].text.replace(" ", "  "), "copies", "l"))
    artifacts = []
    for name, seed in (("one", 1), ("two", 2)):
        shuffled = random.Random(seed).sample(documents, len(documents))
        artifacts.append(
            run_curate(shuffled, name=name, held_out=0.2, limit_bytes=15_000, held_out_bytes=4_000)
        )
    for split in ("train", "held_out"):
        assert sorted(ids(artifacts[0], split)) == sorted(ids(artifacts[1], split))
    assert report(artifacts[0]) == report(artifacts[1])
    kept = set(ids(artifacts[0], "train") + ids(artifacts[0], "held_out"))
    assert not any(one.startswith("twin") or one in {f"{i:04d}" for i in range(10)} for one in kept)
    assert report(artifacts[0])["train"]["bytes"] <= 15_000
    assert 3_000 < report(artifacts[0])["held_out"]["bytes"] <= 4_000


def test_corpus_5_the_same_input_gives_the_same_artifact(run_curate: Run) -> None:
    assert run_curate(corpus(60), name="one").content == run_curate(corpus(60), name="two").content


def test_near_duplicates_of_training_text_are_in_neither_split(run_curate: Run) -> None:
    clean = run_curate(corpus(200), name="clean", held_out=0.1)
    held_out, trained = ids(clean, "held_out"), ids(clean, "train")
    documents = {one.id: one for one in corpus(200)}
    half, most = held_out[0], held_out[1]
    words = {one: documents[one].text.split() for one in (half, most)}
    # 33 shingles of 8 words in 40: the first 20 words hold 13 (0.39), the first 35 hold 28 (0.85).
    documents[trained[0]].text += " ".join(words[half][:20])
    documents[trained[1]].text += " ".join(words[most][:35])
    artifact = run_curate(list(documents.values()), held_out=0.1)
    assert ids(artifact, "train") == trained
    assert ids(artifact, "held_out") == [one for one in held_out if one != most]
    assert report(artifact)["removed"]["held-out near-duplicate of training text"]["examples"] == [most]
    strict = run_curate(list(documents.values()), name="strict", held_out=0.1, near_duplicate=0)
    assert ids(strict, "held_out") == [one for one in held_out if one not in (half, most)]
    off = run_curate(list(documents.values()), name="off", held_out=0.1, near_duplicate=None)
    assert ids(off, "held_out") == held_out


def test_of_two_held_out_texts_that_repeat_each_other_the_larger_stays(run_curate: Run) -> None:
    clean = run_curate(corpus(200), name="clean", held_out=0.1)
    group = ids(clean, "held_out")[0]
    documents = corpus(200)
    path = f"{int(group)}.txt"
    copy = Document(
        "extract", text(int(group)).removesuffix("\n")[:-30], "notes", "CC0-1.0", "", {"path": path}
    )
    artifact = run_curate([copy, *documents], held_out=0.1)
    assert group in ids(artifact, "held_out")
    assert report(artifact)["removed"] == {
        "held-out near-duplicate of held-out text": {"count": 1, "examples": ["extract"]}
    }


def test_a_group_stays_on_one_side(run_curate: Run) -> None:
    documents = corpus(200)
    for i, one in enumerate(documents):
        one.meta["author"] = f"author {i % 20}"
    artifact = run_curate(documents, held_out=0.2, group="author")
    sides = [{one.meta["author"] for one in read_documents(artifact.path, s)} for s in ("train", "held_out")]
    assert not sides[0] & sides[1] and len(sides[0] | sides[1]) == 20
    with pytest.raises(ConfigError, match="no document has 'writer' in its meta; allowed: author, path"):
        run_curate(documents, name="wrong", group="writer")


def test_python_source_and_documentation_stay_together(run_collect: Run, run_curate: Run) -> None:
    artifact = run_curate(
        run_collect({"python": True, "modules": ["json", "email", "xml", "asyncio"]}),
        held_out=0.2,
        near_duplicate=None,
    )
    paths = [{one.meta["path"] for one in read_documents(artifact.path, s)} for s in ("train", "held_out")]
    assert paths[0] and paths[1] and not paths[0] & paths[1]
    both = [one.source for one in read_documents(artifact.path, "held_out")]
    assert {"python-source", "python-docs"} == set(both)


def test_the_end_of_an_only_document_is_held_out(run_curate: Run) -> None:
    book = "".join(text(i, 12) for i in range(500))
    artifact = run_curate([Document("book", book, "book", "l")], held_out=0.1)
    (train,), (held_out,) = (list(read_documents(artifact.path, s)) for s in ("train", "held_out"))
    assert train.text + held_out.text == book
    assert 0.08 < len(held_out.text) / len(book) <= 0.1
    assert train.id != held_out.id
    assert any("the end of the only document" in line for line in artifact.manifest["lines"])
    limited = run_curate(
        [Document("book", book, "book", "l")], name="limited", limit_bytes=1000, held_out_bytes=100
    )
    assert report(limited)["train"]["bytes"] == 1000 and report(limited)["held_out"]["bytes"] == 100


def test_held_out_0_holds_nothing_out(run_curate: Run) -> None:
    artifact = run_curate(corpus(50), held_out=0)
    assert splits(artifact.path) == ["train"] and len(ids(artifact, "train")) == 50
    assert report(artifact)["held_out"] == {"documents": 0, "bytes": 0}


@pytest.mark.parametrize(
    ("documents", "values", "message"),
    [
        (
            [Document("a", "tiny", "s", "l")],
            {},
            r"no document is left; left out 1: too short \(a\); relax filters",
        ),
        ([Document("a", "x" * 30, "s", "l")], {}, "the only document has 30 bytes"),
        (corpus(5), {"limit_bytes": 10}, "limit_bytes 10: the smallest of 4 documents has"),
        (corpus(5), {"held_out_bytes": 10}, "held_out_bytes 10: all held-out documents are larger"),
        (corpus(5), {"held_out": 0.999999999}, "nothing is left to train on"),
        (
            [Document(str(i), text(i), "s", "l", "", {"path": "a"}) for i in range(3)],
            {},
            "all 3 documents are of one group",
        ),
        (
            [Document(str(i), text(0) + text(i, 3), "s", "l", "", {"path": str(i)}) for i in range(9)],
            {},
            "other text holds over 0.5 of each of 1 held-out documents",
        ),
    ],
)
def test_what_cannot_be_curated_is_refused(
    run_curate: Run, documents: list[Document], values: dict[str, Any], message: str
) -> None:
    with pytest.raises(Refused, match=message):
        run_curate(documents, **values)


def test_thresholds_come_from_the_config(run_curate: Run) -> None:
    documents = [*corpus(20), Document("tiny", "tiny", "s", "l")]
    artifact = run_curate(documents, filters={"min_bytes": None}, held_out=0)
    assert "tiny" in ids(artifact, "train")


def test_real_poems(run_collect: Run, run_curate: Run, data: Path) -> None:
    collected = run_collect({"path": str(data / "text" / "tang-poems-zh.jsonl.gz")})
    artifact = run_curate(collected, limit_bytes="200k", held_out_documents=40, yardstick=True)
    found = report(artifact)
    assert found["held_out"]["documents"] == 40
    assert 195_000 < found["train"]["bytes"] <= 200_000
    assert not set(found["removed"]) & {"too few letters", "too short", "repeated lines", "mostly digits"}
    assert found["yardstick"]["xz_primed_bits_per_byte"] < found["yardstick"]["xz_bits_per_byte"] < 8
    assert artifact.manifest["metrics"]["xz_bits_per_byte"] == found["yardstick"]["xz_bits_per_byte"]
