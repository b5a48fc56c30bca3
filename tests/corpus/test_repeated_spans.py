"""Lines, paragraphs and three-sentence spans that a corpus repeats go, and nothing else does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from exnihilo.core.errors import Refused
from exnihilo.corpus import key_runs
from exnihilo.corpus.key_runs import KeyCounts, frequent, merged, write_run
from exnihilo.corpus.repeated_spans import counted_spans, without_repeats
from exnihilo.corpus.sentences import in_a_row, sentences
from exnihilo.corpus.text_batch import Spans, TextBatch, mixed

Kind = Callable[[TextBatch], Spans]


def lines(batch: TextBatch) -> Spans:
    return batch.lines


def paragraphs(batch: TextBatch) -> Spans:
    return batch.paragraphs


def threes(batch: TextBatch) -> Spans:
    return in_a_row(sentences(batch), 3)


def deduplicated(
    folder: Path,
    texts: list[str],
    kind: Kind,
    more_than: int,
    *,
    keep_first: bool,
    part: int = 3,
    least: int = 16,
) -> list[str]:
    """Both passes over a corpus in parts of `part` texts. The last text has the least rank."""
    parts = [(i, TextBatch.of(texts[i : i + part])) for i in range(0, len(texts), part)]
    paths = []
    for i, batch in parts:
        rank = np.arange(len(texts) - i, len(texts) - i - len(batch), -1).astype(np.uint64)
        counts = counted_spans(batch, kind(batch), rank, least, every_copy=keep_first)
        paths.append(folder / f"{i}.npy")
        write_run(paths[-1], counts)
    often = frequent(paths, more_than)
    left = []
    for i, batch in parts:
        rank = np.arange(len(texts) - i, len(texts) - i - len(batch), -1).astype(np.uint64)
        left += without_repeats(batch, kind(batch), often, least, rank if keep_first else None)
    return left


def test_lines_of_many_texts_go_from_all(tmp_path: Path) -> None:
    footer = "Subscribe to our newsletter!"
    texts = [
        f"Page {i}: some words of its own.\n{footer.upper() if i % 2 else footer}\nEnd {i}" for i in range(7)
    ]
    texts += ["Six times only, this line here\nx"] * 6
    left = deduplicated(tmp_path, texts, lines, 6, keep_first=False)
    assert left[:7] == [f"Page {i}: some words of its own.\nEnd {i}" for i in range(7)]
    assert left[7:] == texts[7:]


def test_a_line_that_one_text_repeats_is_no_boilerplate(tmp_path: Path) -> None:
    song = "\n".join(["The refrain of a song, again", "and a verse"] * 9)
    assert deduplicated(tmp_path, [song, "other"], lines, 6, keep_first=False) == [song, "other"]


def test_source_code_stays(tmp_path: Path) -> None:
    code = (
        "def {0}():\n    return some_function_of(argument, other)\n\nreturn x\n}}\n-----------------------\n"
    )
    texts = [code.format(f"f{i}") for i in range(20)]
    assert deduplicated(tmp_path, texts, lines, 6, keep_first=False) == texts
    control = [text.replace("    return", "return") for text in texts]
    assert deduplicated(tmp_path, control, lines, 6, keep_first=False) != control


def test_numbers_make_other_lines(tmp_path: Path) -> None:
    texts = [f"Published on day {i} of the year\nsame" for i in range(20)]
    assert deduplicated(tmp_path, texts, lines, 6, keep_first=False) == texts


@pytest.mark.parametrize("part", [1, 2, 5, 100])
def test_one_of_each_paragraph_stays_in_the_first_text(tmp_path: Path, part: int) -> None:
    same = "A paragraph that\nis in all of them."
    texts = [f"Own {i} words.\n\n{same if i else same.upper()}\n\nMore {i} words." for i in range(5)]
    left = deduplicated(tmp_path, texts, paragraphs, 1, keep_first=True, part=part)
    assert left == [f"Own {i} words.\n\nMore {i} words." for i in range(4)] + [texts[4]]


def test_one_of_any_three_sentences_stays(tmp_path: Path) -> None:
    same = 'First of all this. Then there is that! "Is there a third?"'
    texts = [
        f"Alone here. {same} And an end.",
        f"{same}\nAnother line.",
        "First of all this. Then there is that! But no third.",
        f"It is here twice. {same} {same} Done.",
    ]
    left = deduplicated(tmp_path, texts, threes, 1, keep_first=True)
    assert left[0] == "Alone here. And an end."
    assert left[1] == "Another line."
    assert left[2] == texts[2]
    assert left[3] == f"It is here twice. {same} Done."


def test_overlapping_spans_leave_one_whole_copy(tmp_path: Path) -> None:
    sentence = "All of it is the same sentence. "
    left = deduplicated(tmp_path, [sentence * 6], threes, 1, keep_first=True)
    assert left[0].strip() == (sentence * 3).strip()


def test_sentences_end_at_marks_and_lines() -> None:
    batch = TextBatch.of(
        ['He said: "Go." Then (so it was!) 3.5 went. Off\n\n No. end', "", "白日。依山盡！", " "]
    )
    spans = sentences(batch)
    assert [batch.joined[a:b] for a, b in zip(spans.start, spans.end, strict=True)] == [
        'He said: "Go."', "Then (so it was!)", "3.5 went.", "Off", "No.", "end", "白日。", "依山盡！",
    ]  # fmt: skip
    assert spans.count.tolist() == [6, 0, 2, 0]
    assert in_a_row(spans, 3).count.tolist() == [4, 0, 0, 0]


def test_merging_in_ranges_equals_counting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(1)
    monkeypatch.setattr(key_runs, "_AT_ONCE", 50)
    total: Counter[int] = Counter()
    first: dict[int, int] = {}
    paths = []
    for run in range(7):
        keys = mixed(random.integers(0, 300, size=run * 40).astype(np.uint64))
        text = random.integers(0, 9, size=len(keys))
        rank = random.permutation(9).astype(np.uint64) + np.uint64(10 * run)
        for key, number in set(zip(keys.tolist(), text.tolist(), strict=True)):
            total[key] += 1
            first[key] = min(first.get(key, 99), int(rank[number]))
        paths.append(tmp_path / f"{run}.npy")
        write_run(paths[-1], key_runs.counted(keys, text, rank))
    for order in (paths, paths[::-1]):
        parts = list(merged(order))
        assert len(parts) > 10
        found = KeyCounts(
            *(np.concatenate([getattr(p, n) for p in parts]) for n in ("keys", "count", "first"))
        )
        assert found.keys.tolist() == sorted(total)
        assert found.count.tolist() == [total[key] for key in sorted(total)]
        assert found.first.tolist() == [first[key] for key in sorted(total)]
    assert frequent(paths, 3).keys.tolist() == sorted(key for key in total if total[key] > 3)


def test_a_file_that_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "bad.npy").write_bytes(b"nothing")
    np.save(tmp_path / "other.npy", np.zeros(4))
    for name in ("bad.npy", "other.npy", "missing.npy"):
        with pytest.raises(Refused, match=f"{name}: not a run of keys"):
            frequent([tmp_path / name], 1)
    assert len(frequent([], 1).keys) == 0
