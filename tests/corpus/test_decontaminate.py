"""What is done with contaminated texts, and what the evaluation is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from exnihilo.core.errors import Refused
from exnihilo.corpus.contamination import Index
from exnihilo.corpus.contamination_flags import Flags, flagged_ids
from exnihilo.corpus.decontaminate import AROUND, MOST_PIECES, cut, marks
from exnihilo.corpus.evaluation_items import EvaluationItem
from exnihilo.corpus.text_batch import TextBatch

ITEMS = [
    EvaluationItem("set-a", (" ".join(f"alpha{i}" for i in range(20)),)),
    EvaluationItem("set-b", (" ".join(f"beta{i}" for i in range(20)),)),
    EvaluationItem("set-b", (" ".join(f"gamma{i}" for i in range(20)),)),
]
INDEX = Index(ITEMS)


def prose(letter: str, length: int) -> str:
    return ("|" + (letter * 4 + " ") * length)[: length - 1] + "|"


def test_a_window_is_cut_and_the_rest_stays() -> None:
    item = ITEMS[0].texts[0].upper()
    before, after = prose("x", 700), prose("y", 500)
    batch = TextBatch.of(["short", f"{before}{item}\n{after}", f"{prose('x', 390)}{item}{after}", ""])
    left = cut(batch, INDEX.search(batch))
    assert left[0] == ["short"] and left[3] == [""]
    assert left[1] == [before[: 700 - AROUND], ("\n" + after)[AROUND:]]
    assert left[2] == [after[AROUND:]]  # of 390 characters less than 200 are left
    assert "ALPHA" not in str(left)


@pytest.mark.parametrize(("items", "pieces"), [(1, 2), (MOST_PIECES - 1, MOST_PIECES), (MOST_PIECES, 0)])
def test_a_text_in_more_than_ten_pieces_goes_whole(items: int, pieces: int) -> None:
    text = prose("x", 700) + "".join(ITEMS[1].texts[0] + prose("x", 700) for _ in range(items))
    batch = TextBatch.of(["other words", text])
    assert len(cut(batch, INDEX.search(batch))[1]) == pieces


def test_windows_that_meet_are_one() -> None:
    text = prose("x", 500) + ITEMS[0].texts[0] + prose("z", 300) + ITEMS[1].texts[0] + prose("y", 500)
    batch = TextBatch.of([text])
    assert cut(batch, INDEX.search(batch))[0] == [prose("x", 500)[:300], prose("y", 500)[AROUND:]]


def test_marks() -> None:
    batch = TextBatch.of([f"{ITEMS[2].texts[0]}\n{ITEMS[0].texts[0]}\n{ITEMS[1].texts[0]}", "clean"])
    assert marks(INDEX, INDEX.search(batch), 2) == [
        {"set-a": [ITEMS[0].id], "set-b": sorted([ITEMS[1].id, ITEMS[2].id])},
        {},
    ]


def test_flags_travel(tmp_path: Path) -> None:
    words = ITEMS[1].texts[0].split()
    texts = [
        f"so {ITEMS[0].texts[0]} and",
        "nothing",
        f"again {ITEMS[0].texts[0]}",
        " ".join(words[:13]),
        " ".join([*words[:9], "other", *words[10:]]),
    ]
    one = Flags(INDEX)
    one.add(INDEX.search(TextBatch.of(texts)))
    parts = [Flags(INDEX) for _ in texts]
    for flags, text in zip(parts, texts, strict=True):
        flags.add(INDEX.search(TextBatch.of([text])))
    joined = Flags(INDEX)
    for flags in reversed(parts):
        joined.merge(flags)
    assert joined.as_dict() == one.as_dict()
    one.write(tmp_path / "flags.json")
    told = json.loads((tmp_path / "flags.json").read_text())["sets"]
    assert told["set-a"] == {
        "items": 1,
        "flagged": {ITEMS[0].id: {"documents": 2, "verbatim": 1.0, "altered": 1.0}},
    }
    assert told["set-b"]["items"] == 2
    assert told["set-b"]["flagged"] == {ITEMS[1].id: {"documents": 2, "verbatim": 0.65, "altered": 11 / 16}}
    assert flagged_ids(tmp_path / "flags.json", "set-b") == {ITEMS[1].id}
    with pytest.raises(Refused, match="set-c was not looked for, only set-a, set-b"):
        flagged_ids(tmp_path / "flags.json", "set-c")
    (tmp_path / "flags.json").write_text('{"normalisation": "folded-0", "sets": {}}')
    with pytest.raises(Refused, match="made with folded-0"):
        flagged_ids(tmp_path / "flags.json", "set-a")
    (tmp_path / "flags.json").write_text("[]")
    with pytest.raises(Refused, match="not a file of contamination flags"):
        flagged_ids(tmp_path / "flags.json", "set-a")


def test_an_id_is_of_the_text_and_not_of_its_white_space() -> None:
    assert EvaluationItem("s", ("What  is it?\n",)).id == EvaluationItem("t", ("What is it?",)).id
    assert EvaluationItem("s", ("What is it?",)).id != EvaluationItem("s", ("What is It?",)).id
